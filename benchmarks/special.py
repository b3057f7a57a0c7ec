"""Pictures that a correction must not spoil: each is corrected and measured against what is wanted of it.

    python -m benchmarks.special OUT [--weights W]

They are drawn, or made from photographs that ship with scikit-image (CC0 or in the public domain). Prints a table,
writes the contact sheet OUT/special.png (before and after, side by side), and fails if anything is not as wanted.
Values are 0..1; a cast is the mean chroma (largest minus smallest channel).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from skimage import data
from torch import Tensor

from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import luma
from expcorr_core.image.exposure import shift_exposure
from expcorr_core.photos.photo import Photo

Box = tuple[slice, slice]  # rows and columns
WHOLE: Box = (slice(None), slice(None))
CELL, LABEL, ACROSS = 200, 14, 3  # contact sheet: side of a thumbnail, height of a label, pairs in a row


class Check(NamedTuple):
    """One thing that is wanted of a result: a figure from picture and result ``(1, 3, H, W)``, and its bounds."""

    name: str
    measure: Callable[[Tensor, Tensor], float]
    lowest: float
    highest: float


class Case(NamedTuple):
    """A picture ``(1, 3, H, W)``, 0..1, and what is wanted of its correction."""

    name: str
    image: Tensor
    checks: tuple[Check, ...]


class Verdict(NamedTuple):
    """A figure of one result, and whether it is within its bounds."""

    check: Check
    value: float
    ok: bool


def photograph(name: str) -> Tensor:
    """A photograph of scikit-image, ``(1, 3, H, W)``; grey ones in three equal channels."""
    pixels = torch.from_numpy(np.array(getattr(data, name)())).float() / 255
    return (pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels.expand(3, -1, -1))[None]


def framed(image: Tensor, rows: int, columns: int, value: float) -> tuple[Tensor, Box, Box]:
    """The picture with bars above and below and at the sides; where the upper bar is, and where the picture is."""
    result = torch.nn.functional.pad(image, (columns, columns, rows, rows), value=value)
    inside = (slice(rows, result.shape[2] - rows), slice(columns, result.shape[3] - columns))
    return result, (slice(rows), slice(None)), inside


def screen(paper: int, ink: int) -> tuple[Tensor, Box]:
    """Lines of text below a blue title, and where there is only paper."""
    picture = Image.new("RGB", (480, 320), (paper,) * 3)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 480, 24), fill=(40, 90, 200))
    draw.text((8, 6), "Notes", fill=(255, 255, 255))
    for line in range(14):
        draw.text((16, 40 + 18 * line), "The quick brown fox jumps over the lazy dog. " * 2, fill=(ink,) * 3)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255, (slice(300, 320), slice(None))


def silhouette() -> tuple[Tensor, Box]:
    """A black hill below an evening sky; where the hill is."""
    y = torch.linspace(0, 1, 300).view(1, 1, -1, 1)
    low, high = torch.tensor([0.15, 0.25, 0.55]), torch.tensor([0.98, 0.6, 0.25])
    sky = torch.lerp(low.view(1, 3, 1, 1), high.view(1, 3, 1, 1), y).expand(-1, -1, -1, 400)
    x = torch.linspace(-1, 1, 400)
    return torch.where(y > 0.55 + 0.4 * x.square(), torch.tensor(0.01), sky), (slice(270, 300), slice(150, 250))


def highlight() -> tuple[Tensor, Box]:
    """A dark photo of a brown disc with highlights so small that they vanish when reduced; where one is."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 300), torch.linspace(-1, 1, 400), indexing="ij")
    disc, wall, spot = torch.tensor([[0.34, 0.22, 0.14], [0.06, 0.18, 0.26], [0.62, 0.56, 0.5]]).view(3, 3, 1, 1)
    picture = torch.where(x.square() + y.square() < 0.4, disc * (1 - 0.5 * x), wall * (1 - 0.3 * y))
    for left in (148, 196, 244):
        picture[:, 112:119, left : left + 7] = spot
    return picture[None], (slice(112, 119), slice(196, 203))


def chroma(image: Tensor) -> Tensor:
    return image.amax(1) - image.amin(1)


def level(name: str, lowest: float, highest: float, box: Box = WHOLE) -> Check:
    """The mean of a part."""
    return Check(name, lambda _, after: float(after[..., box[0], box[1]].mean()), lowest, highest)


def cast(highest: float = 0.02, box: Box = WHOLE) -> Check:
    """The mean chroma of a part that has none."""
    return Check("cast", lambda _, after: float(chroma(after[..., box[0], box[1]]).mean()), 0, highest)


def like(lowest: float, wanted: Tensor | None = None, box: Box = WHOLE) -> Check:
    """PSNR in dB of a part against the picture as it was, or as wanted."""

    def psnr(before: Tensor, after: Tensor) -> float:
        target = before[..., box[0], box[1]] if wanted is None else wanted
        return -10 * math.log10(float((after[..., box[0], box[1]] - target).square().mean()) + 1e-12)

    return Check("PSNR to input" if wanted is None else "PSNR to original", psnr, lowest, math.inf)


def turn(highest: float, box: Box = WHOLE) -> Check:
    """How far the hue of a part's mean turns, degrees."""

    def angle(image: Tensor) -> float:
        red, green, blue = image[..., box[0], box[1]].mean((0, 2, 3)).tolist()
        return math.degrees(math.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue))

    return Check("turn of hue", lambda old, new: abs((angle(new) - angle(old) + 180) % 360 - 180), 0, highest)


def spread(name: str, lowest: float, highest: float) -> Check:
    """Standard deviation of luma, as a multiple of the picture's."""
    return Check(name, lambda before, after: float(luma(after).std() / luma(before).std()), lowest, highest)


UNEVEN = Check("unevenness", lambda _, after: float((after.amax((2, 3)) - after.amin((2, 3))).amax()), 0, 0.01)
MOST = Check("largest change", lambda before, after: float((after - before).abs().amax()), 0, 0.1)
COLOUR = Check("colour, times", lambda before, after: float(chroma(after).mean() / chroma(before).mean()), 0.5, 1.6)
FALL = Check("steepest fall", lambda _, after: float(after.diff(dim=3).amin().neg().clamp_min(0)), 0, 0.004)


def framed_cases() -> Iterable[Case]:
    astronaut, coffee = photograph("astronaut"), photograph("coffee")
    image, bar, inside = framed(astronaut, 64, 0, 0)
    yield Case("letterbox", image, (level("bars", 0, 0.02, bar), like(20, box=inside)))
    dark, bar, inside = framed(shift_exposure(astronaut, -2), 64, 0, 0)
    yield Case("letterbox, dark photo", dark, (level("bars", 0, 0.02, bar), like(18, astronaut, inside)))
    image, border, inside = framed(coffee, 40, 40, 1)
    yield Case("white border", image, (level("border", 0.98, 1, border), cast(0.01, border), like(20, box=inside)))


def document_cases() -> Iterable[Case]:
    image, paper = screen(255, 20)
    yield Case("screenshot", image, (level("paper", 0.98, 1, paper), cast(0.01, paper), like(25)))
    image, paper = screen(30, 220)
    yield Case("screenshot, dark mode", image, (level("paper", 0.02, 0.2, paper), cast(0.02, paper), like(20)))
    checks = (level("mean", 0.45, 0.9), spread("contrast, times", 0.9, 2), cast())
    yield Case("scan of text", photograph("text"), checks)


def toned_cases() -> Iterable[Case]:
    camera, cat = photograph("camera"), photograph("cat")
    yield Case("monochrome", camera, (cast(), like(20)))
    yield Case("monochrome, dark", shift_exposure(camera, -2), (cast(), spread("contrast, times", 1.2, 4)))
    sepia = luma(cat) ** torch.tensor([0.7, 1.0, 1.5]).view(1, 3, 1, 1)
    yield Case("sepia", sepia, (turn(10), COLOUR, like(20)))


def light_cases() -> Iterable[Case]:
    fog = torch.lerp(torch.tensor(0.7), photograph("cat"), 0.25)
    yield Case("fog", fog, (level("mean", 0.45, 0.9), spread("contrast, times", 0.9, 4), turn(10)))
    snow = 0.78 + 0.2 * luma(photograph("coffee")).expand(-1, 3, -1, -1)
    yield Case("snow", snow, (level("mean", 0.7, 1), cast()))
    yield Case("night", photograph("rocket"), (level("mean", 0.2, 0.4), like(18)))  # 0.26 as it is
    yield Case("stars", photograph("hubble_deep_field"), (level("mean", 0.02, 0.2), like(18)))
    image, spot = highlight()
    yield Case("small highlights", image, (level("highlight", 0.8, 1, spot), turn(20, spot)))
    image, hill = silhouette()
    yield Case("silhouette", image, (level("hill", 0, 0.08, hill), like(18)))


def flat_cases() -> Iterable[Case]:
    for name, value, lowest, highest in (("black", 0.0, 0.0, 0.02), ("white", 1.0, 0.98, 1.0), ("grey", 0.5, 0.4, 0.6)):
        frame = torch.full((1, 3, 240, 320), value)
        yield Case(f"flat {name}", frame, (level("level", lowest, highest), cast(), UNEVEN))
    noise = 0.05 + 0.02 * torch.randn(1, 3, 240, 320, generator=torch.Generator().manual_seed(0))
    noise = (noise.clamp(0, 1) * 255).round() / 255
    yield Case("noise in the dark", noise, (level("mean", 0, 0.25), spread("noise, times", 0, 3)))
    ramp = (torch.linspace(0, 255, 320).round() / 255).expand(1, 3, 240, 320)
    first, last = (slice(None), slice(4)), (slice(None), slice(-4, None))
    ends = (level("dark end", 0, 0.05, first), level("light end", 0.95, 1, last))
    yield Case("gradient", ramp, (*ends, FALL, cast(), like(20)))
    yield Case("one pixel", torch.tensor([0.8, 0.4, 0.2]).view(1, 3, 1, 1), (MOST,))


def cases() -> list[Case]:
    """All pictures, small enough to be corrected in a second or less."""
    return [*framed_cases(), *document_cases(), *toned_cases(), *light_cases(), *flat_cases()]


def judge(case: Case, result: Tensor) -> list[Verdict]:
    """Measure a result; one that is no picture of the same shape within 0..1 fails every check."""
    valid = result.shape == case.image.shape and bool(((result >= 0) & (result <= 1)).all())
    values = [check.measure(case.image, result) if valid else math.nan for check in case.checks]
    return [Verdict(c, value, c.lowest <= value <= c.highest) for c, value in zip(case.checks, values, strict=True)]


def contact_sheet(rows: list[tuple[Case, Tensor, list[Verdict]]]) -> Image.Image:
    """All pictures before and after, with what is wrong written above."""
    height = CELL + LABEL
    sheet = Image.new("RGB", (2 * CELL * ACROSS, height * -(-len(rows) // ACROSS)), (96, 96, 96))
    draw = ImageDraw.Draw(sheet)
    for number, (case, result, verdicts) in enumerate(rows):
        left, top = 2 * CELL * (number % ACROSS), height * (number // ACROSS)
        wrong = [f"{check.name} {value:.3g}" for check, value, ok in verdicts if not ok]
        text = f"{case.name}: {', '.join(wrong) or 'ok'}"
        draw.text((left + 2, top + 1), text, fill=(255, 200, 120) if wrong else (200, 255, 200))
        for side, picture in enumerate((case.image, result)):
            fitted = ImageOps.contain(Image.fromarray(Photo.from_tensor(picture).eight_bit()), (CELL - 4, CELL - 4))
            sheet.paste(fitted, (left + side * CELL + 2, top + LABEL + 2))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the contact sheet")
    parser.add_argument("--weights", help="file of weights, or paper (default: the bundled default)")
    args = parser.parse_args()
    corrector = Corrector.load(args.weights)
    rows = [(case, result := corrector(case.image), judge(case, result)) for case in cases()]
    for case, _, verdicts in rows:
        for check, value, ok in verdicts:
            wanted = f"{check.lowest:.3g} to {check.highest:.3g}"
            print(f"{case.name:22} {check.name:17} {value:8.3f}  {wanted:14} {'ok' if ok else 'not ok'}")
    found_ok = [verdict.ok for _, _, verdicts in rows for verdict in verdicts]
    print(f"{found_ok.count(False)} of {len(found_ok)} not ok")
    args.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows).save(args.out / "special.png")
    sys.exit(0 if all(found_ok) else 1)


if __name__ == "__main__":
    main()
