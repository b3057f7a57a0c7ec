"""Make the example photos, the pictures of the README and the weights' card, and those of the example workflows.

    export PYTHONPATH=.:tests
    python docs/pictures.py                    # examples/, docs/*.jpg, docs/*.png and example_workflows/*.jpg
    python docs/pictures.py --workflows        # example_workflows/*.jpg only
    python docs/pictures.py --log run/log.csv  # also the training curves
    python docs/pictures.py --adversarial WITHOUT WITH  # also what the adversarial loss changed

The photographs ship with scikit-image under CC0 or in the public domain: astronaut and rocket (NASA), coffee
(Rachel Michetti), cat (Stefan van der Walt).
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from skimage import data
from torch import Tensor

from benchmarks.gain_maps import with_map
from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import linear_to_srgb, srgb_to_linear
from expcorr_core.image.exposure import CameraCurve, gain_exposure, shift_exposure
from expcorr_core.image.masking import limit_change, soften
from expcorr_core.image.report import histogram_picture, over_exposed
from expcorr_core.image.resize import reduce_to
from expcorr_core.method.pyramid import laplacian_pyramid, reconstruct, scale_bands
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import read_photo
from expcorr_core.series.corrector import SeriesCorrector
from expcorr_core.video.sequence import SequenceCorrector
from tests.raw_files import write_dng
from training.rendering.colour import to_prophoto
from training.rendering.tone import Scene, render

ROOT = Path(__file__).parent.parent
# name in scikit-image, exposure error in stops
EXAMPLES = (("coffee", -2.0), ("astronaut", -1.5), ("cat", 1.5), ("rocket", 1.5))
# Photos of one scene: the photograph, and of each photo its top, left, bottom and right edges as shares of the
# photograph's sides, and its exposure error in stops.
SERIES = ("cat", ((0.0, 0.0, 0.8, 0.8, -2.0), (0.1, 0.15, 0.9, 1.0, 0.0), (0.05, 0.2, 1.0, 0.85, 1.5)))
RAW = (("coffee", 1.5), ("cat", 1.5))  # as raw files
HEADROOM = 2.0  # stops that their sensor holds above the JPEG's white
HARD_CLIP = CameraCurve(gamma=2.2, shoulder=0.0, slope=1.0)  # a gain in linear light that clips
ROW = 230  # height of a row of pictures
QUALITY = 90


def photograph(name: str) -> Tensor:
    """One of scikit-image's photographs, ``(1, 3, H, W)``, 0..1."""
    return to_tensor(getattr(data, name)())


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    return Photo.from_tensor(image).eight_bit()


def histogram(image: Tensor, size: tuple[int, int]) -> Image.Image:
    """Histograms of R, G and B as filled curves on black."""
    width, height = size
    return Image.fromarray(to_pixels(histogram_picture(image[0], height, width)[None]))


def sheet(rows: list[list[tuple[str, Tensor]]], path: Path) -> None:
    """Rows of captioned pictures of equal height, a histogram below each."""
    font = ImageFont.load_default(15)
    gap, caption, curve = 6, 22, 44
    step = ROW + caption + curve + gap
    widths = [[round(i.shape[3] * ROW / i.shape[2]) for _, i in row] for row in rows]
    canvas = Image.new("RGB", (max(sum(w) + gap * (len(w) - 1) for w in widths), step * len(rows) - gap), "white")
    draw = ImageDraw.Draw(canvas)
    for index, row in enumerate(rows):
        x, y = 0, index * step
        for (text, image), width in zip(row, widths[index], strict=True):
            picture = Image.fromarray(to_pixels(image)).resize((width, ROW), Image.Resampling.LANCZOS)
            draw.text((x + 2, y + 2), text, "black", font)
            canvas.paste(picture, (x, y + caption))
            canvas.paste(histogram(image, (width, curve)), (x, y + caption + ROW))
            x += width + gap
    canvas.save(path, quality=QUALITY)


def plot_log(log: Path, path: Path) -> None:
    """Loss and validation PSNR of a training run over its hours."""
    import matplotlib.pyplot as plt

    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    stages = sorted({int(row["stage"]) for row in rows})
    for axis, key, title in zip(
        axes, ("loss", "validation_psnr"), ("training loss", "validation PSNR at the stage's size, dB"), strict=True
    ):
        for stage in stages:
            part = [row for row in rows if int(row["stage"]) == stage and row[key]]
            minutes = [float(row["seconds"]) / 60 for row in part]
            axis.plot(minutes, [float(row[key]) for row in part], marker=".", label=f"stage {stage + 1}")
        axis.set(xlabel="minutes", title=title)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=90)


def plot_front(path: Path) -> None:
    """Real against synthetic pairs of the experiments with the global network, by what it was trained on."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    text = (ROOT / "training" / "EXPERIMENTS.md").read_text("utf-8")
    parts = text.partition("## The global level")[2].split("\n###")
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    kinds = ((parts[0], "photos only", "o"), (next(p for p in parts if p.startswith(" Scenes")), "and HDR scenes", "^"))
    for part, label, marker in kinds:
        points = []
        columns: list[str] = []
        for line in part.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if cells[0] == "run":
                columns = cells
            elif columns and len(cells) == len(columns) and "---" not in cells[0]:
                pairs = [cells[columns.index(name)].split("/")[0].split(",")[0] for name in ("synthetic", "real")]
                points.append([float(value.strip("* ")) for value in pairs])
        axes.scatter(*zip(*points, strict=True), marker=marker, label=label, alpha=0.8)
    axes.plot(25.2, 19.4, "k+", markersize=12, label="goal")
    axes.plot(23.76, 18.84, "kx", label="the paper's network")
    axes.set(xlabel="synthetic pairs, PSNR in dB", ylabel="real pairs, PSNR in dB")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def clip_sheet(corrector: Corrector, path: Path) -> None:
    """A pan whose exposure jumps: input, and corrected as a clip, every sixth frame."""
    still = photograph("coffee")[0]
    exposures = [-2.0] * 9 + [-0.5] * 9
    frames = [
        shift_exposure(still[None, :, 40:340, 8 * i : 8 * i + 400], ev, HARD_CLIP)[0] for i, ev in enumerate(exposures)
    ]
    results = list(SequenceCorrector(corrector)(frames))
    shown = (0, 6, 9, 15)
    rows = [
        [(f"{name}, frame {i}", part[i][None]) for i in shown]
        for name, part in (("input", frames), ("corrected", results))
    ]
    sheet(rows, path)


def series_sheet(corrector: Corrector, path: Path) -> None:
    """Overlapping parts of a photograph at four exposures: input, corrected one by one, and as a series."""
    still = photograph("coffee")
    parts = ((0, 0, -2.0), (30, 90, -0.7), (10, 160, 0.6), (50, 120, 1.5))  # y, x, EV
    photos = [shift_exposure(still[..., y : y + 340, x : x + 420], ev, HARD_CLIP) for y, x, ev in parts]
    photos = [(photo * 255).round() / 255 for photo in photos]
    rows = [
        [(f"photo, {ev:+.1f} EV", photo) for photo, (_, _, ev) in zip(photos, parts, strict=True)],
        [("one by one", corrector(photo)) for photo in photos],
        [("as a series", result) for result in SeriesCorrector(corrector)(photos)],
    ]
    sheet(rows, path)


def raw_sheet(corrector: Corrector, path: Path) -> None:
    """Photographs as a sensor saw them that was exposed too long: the JPEG corrected, and the raw file."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, ev in RAW:
            original = photograph(name)
            light = srgb_to_linear(original)[0].permute(1, 2, 0).numpy() * 2**ev
            file = write_dng(Path(folder) / f"{name}.dng", light / 2**HEADROOM, HEADROOM)
            wrong = gain_exposure(original, ev)
            shown = [(f"JPEG, {ev:+.1f} EV", wrong), ("JPEG, corrected", corrector(wrong))]
            rows.append(
                [*shown, ("raw file, corrected", corrector(read_photo(file).to_tensor())), ("original", original)]
            )
    sheet(rows, path)


def darker_rendition(photo: Photo) -> Tensor:
    """The HDR rendition of a photo with a gain map, two stops darker, as an SDR picture."""
    gain_map = photo.metadata.gain_map
    assert gain_map
    base, offset = srgb_to_linear(photo.to_tensor()), 1 / 64
    gains = F.interpolate(torch.from_numpy(gain_map.gains())[None], base.shape[2:], mode="bilinear")
    return linear_to_srgb((((base + offset) * 2**gains - offset) / 4).clamp(0, 1))


def gain_map_sheet(corrector: Corrector, path: Path) -> None:
    """An over-exposed HDR photo made of a photograph, before and after, and what lies above white."""
    light = srgb_to_linear(photograph("coffee"))[0].permute(1, 2, 0).numpy()
    photo = with_map(((light + 3 * light**3) * 2**1.5).clip(0, 8))
    result = corrector.correct_photo(photo)
    rows = [
        [(f"{name}: the photo", part.to_tensor()), ("its HDR rendition, two stops darker", darker_rendition(part))]
        for name, part in (("input", photo), ("corrected", result))
    ]
    sheet(rows, path)


def series_examples() -> None:
    """Write the photos of one scene to ``examples/series``."""
    name, parts = SERIES
    photo = photograph(name)
    height, width = photo.shape[2:]
    (ROOT / "examples" / "series").mkdir(exist_ok=True)
    for number, (top, left, bottom, right, ev) in enumerate(parts, 1):
        part = photo[..., round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
        path = ROOT / "examples" / "series" / f"{name}_{number}.jpg"
        Image.fromarray(to_pixels(shift_exposure(part, ev, HARD_CLIP))).save(path, quality=92)


def before_and_after(before: Tensor, after: Tensor, size: tuple[int, int]) -> Image.Image:
    """The middle of a photo, cut to a size: its left half as it was, its right half changed, a line between them."""
    halves = [
        ImageOps.fit(Image.fromarray(to_pixels(image)), size, Image.Resampling.LANCZOS) for image in (before, after)
    ]
    width, height = size
    whole, middle = halves[1], width // 2
    whole.paste(halves[0].crop((0, 0, middle, height)), (0, 0))
    ImageDraw.Draw(whole).line((middle, 0, middle, height), "white", max(2, width // 128))
    return whole


def film(picture: Image.Image) -> Image.Image:
    """A picture as a frame of a film: holes along its upper and its lower edge."""
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    band, hole = height // 9, height // 18
    for top in (0, height - band):
        draw.rectangle((0, top, width, top + band), "black")
        for left in range(hole // 2, width, 2 * hole):
            y = top + (band - hole) // 2
            draw.rounded_rectangle((left, y, left + hole, y + hole), hole // 4, "white")
    return picture


def series_picture(corrector: Corrector, photos: list[Tensor]) -> Image.Image:
    """What ComfyUI's template browser shows of a series: the photos in a row, and below them their results."""
    side, gap = 512, 12
    width = (side - gap * (len(photos) - 1)) // len(photos)
    height = width * 4 // 3
    top = (side - gap) // 2 - height
    picture = Image.new("RGB", (side, side), "white")
    for row, images in enumerate((photos, SeriesCorrector(corrector)(photos))):
        for column, image in enumerate(images):
            part = ImageOps.fit(Image.fromarray(to_pixels(image)), (width, height), Image.Resampling.LANCZOS)
            picture.paste(part, (column * (width + gap), top + row * (height + gap)))
    return picture


def workflow_pictures(corrector: Corrector) -> None:
    """What ComfyUI's template browser shows of each example workflow: its photo before and after."""
    side = 512
    photos = {}
    for path in sorted((ROOT / "examples").glob("*.jpg")):
        with Image.open(path) as image:
            photos[path.stem.partition("_")[0]] = to_tensor(np.array(image))
    corrected = {name: corrector(photo) for name, photo in photos.items()}
    series = []
    for path in sorted((ROOT / "examples" / "series").glob("*.jpg")):
        with Image.open(path) as image:
            series.append(to_tensor(np.array(image)))

    def picture(name: str, after: Tensor, size: int = side) -> Image.Image:
        return before_and_after(photos[name], after, (size, size))

    folder = Image.new("RGB", (side, side), "white")
    for place, name in enumerate(photos):
        part = picture(name, corrected[name], side // 2 - 2)
        folder.paste(part, (place % 2 * (side // 2 + 2), place // 2 * (side // 2 + 2)))
    # What the workflows of these names do.
    rows = torch.minimum(torch.arange(512) / 60, torch.arange(511, -1, -1) / 120).clamp(max=1)
    columns = torch.minimum(torch.arange(512) / 150, torch.arange(511, -1, -1) / 150).clamp(max=1)
    masked = limit_change(photos["coffee"], corrected["coffee"], (rows[:, None] * columns)[None, None], 0.01)
    bands = laplacian_pyramid(photos["cat"], 5)
    details = reconstruct(scale_bands(bands, [1.5, 1.5, 1.3, 1.1, 1])).clamp(0, 1)
    small = reduce_to(photos["astronaut"], 256)
    screened = BilateralGrid.fit_reduced(small, 1 - (1 - small) ** 2).slice(photos["astronaut"])
    # The mask, in magenta; what will be painted there nobody knows.
    lost = soften(F.max_pool2d(over_exposed(photos["cat"])[:, None], 5, 1, 2), 3)
    marked = torch.lerp(photos["cat"], torch.tensor([0.9, 0.1, 0.7]).reshape(1, 3, 1, 1), lost)
    pictures = {
        "Auto Exposure": picture("coffee", corrected["coffee"]),
        "Auto Exposure - Folder of Photos": folder,
        "Auto Exposure - Part of a Photo": picture("coffee", masked),
        "Auto Exposure - Series of Photos": series_picture(corrector, series),
        "Auto Exposure - Video": film(picture("astronaut", corrected["astronaut"])),
        "Exposure Tools - Local Details": picture("cat", details),
        "Exposure Tools - Full Size": picture("astronaut", screened),
        "Exposure Tools - Lost Highlights": picture("cat", marked),
    }
    for name, shown in pictures.items():
        shown.save(ROOT / "example_workflows" / f"{name}.jpg", quality=QUALITY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, help="log.csv of the training run")
    parser.add_argument("--workflows", action="store_true", help="only the pictures of the example workflows")
    parser.add_argument("--adversarial", type=Path, nargs=2, metavar="WEIGHTS", help="trained without it, and with it")
    args = parser.parse_args()
    corrector = Corrector.load()
    if args.workflows:
        workflow_pictures(corrector)
        return
    (ROOT / "examples").mkdir(exist_ok=True)
    rows = []
    for name, ev in EXAMPLES:
        original = photograph(name)
        wrong = shift_exposure(original, ev, HARD_CLIP)
        path = ROOT / "examples" / f"{name}_{'over' if ev > 0 else 'under'}.jpg"
        Image.fromarray(to_pixels(wrong)).save(path, quality=92)
        with Image.open(path) as image:
            wrong = to_tensor(np.array(image))
        rows.append([(f"input, {ev:+.1f} EV", wrong), ("corrected", corrector(wrong)), ("original", original)])
    sheet(rows[:2], ROOT / "docs" / "under.jpg")
    sheet(rows[2:], ROOT / "docs" / "over.jpg")

    series_examples()
    workflow_pictures(corrector)
    clip_sheet(corrector, ROOT / "docs" / "clip.jpg")
    series_sheet(corrector, ROOT / "docs" / "series.jpg")
    plot_front(ROOT / "docs" / "front.png")
    gain_map_sheet(corrector, ROOT / "docs" / "gain_map.jpg")
    good = photograph("astronaut")
    sheet([[("well exposed", good), ("corrected", corrector(good))]], ROOT / "docs" / "well_exposed.jpg")
    bands = laplacian_pyramid(photograph("coffee"), 4)
    shown = [(f"band {i}", (b * 2 + 0.5).clamp(0, 1)) for i, b in enumerate(bands[:-1], 1)]
    sheet([shown[:2], [*shown[2:], ("residual", bands[-1])]], ROOT / "docs" / "pyramid.jpg")
    rendered = [(f"EV {ev:+g}", shift_exposure(good, ev)) for ev in (-1.5, -1.0, 0.0, 1.0, 1.5)]
    sheet([rendered], ROOT / "docs" / "exposures.jpg")
    # As if a sensor had seen what the photograph shows, one stop darker.
    light = to_prophoto(srgb_to_linear(photograph("coffee"))[0].permute(1, 2, 0).numpy())
    scene = Scene(light / 2)
    shown = [(f"EV {ev:+g}", to_tensor(render(scene, ev))) for ev in (-1.5, -1.0, 0.0, 1.0, 1.5)]
    sheet([shown], ROOT / "docs" / "raw.jpg")
    raw_sheet(corrector, ROOT / "docs" / "raw_highlights.jpg")
    if args.adversarial:
        wrong = shift_exposure(photograph("cat"), 1.5, HARD_CLIP)
        without, having = (Corrector.load(path)(wrong) for path in args.adversarial)
        difference = ((having - without) * 20 + 0.5).clamp(0, 1)
        row = [("without", without), ("with", having), ("difference, 20 times", difference)]
        sheet([row], ROOT / "docs" / "adversarial.jpg")
    if args.log:
        plot_log(args.log, ROOT / "docs" / "training.png")


if __name__ == "__main__":
    main()
