"""How far photos of a shoot look alike, corrected one by one and as a series, and how good they look.

    python -m benchmarks.series brackets FOLDER [--targets FOLDER]
    python -m benchmarks.series shoots PHOTOS
    python -m benchmarks.series lapses HDRS --plot docs/time_lapse.png

Each is corrected one by one and as a series, with the bundled weights.

Brackets: the exposures of each scene, named SCENE_N1.5 .. SCENE_P1.5, or SCENE-1, SCENE-2 and so on, the larger side
reduced to 512 pixels. Prints the mean PSNR between results of one scene, and that against the targets, which are named
as the inputs are.

Shoots: of each photo, six overlapping crops, exposed by -2.5 to 2.5 EV with errors of the white balance. Prints the
mean PSNR between results where they overlap, and that against the photo itself.

Time-lapses: of a view of each panorama, 600 frames in which the light falls by 8 stops and turns blue. The camera's
automatic exposure follows three quarters of it, and hunts by up to 1 EV. The reference is the same time-lapse without
the hunting, as it was taken. Prints

- flicker: the mean absolute change of local luminance from frame to frame, beyond the change of the reference, on a
  scale of 255;
- the course of the light: by how many stops the median luminance differs from the reference's, at most and on average,
  apart from what is the same for all frames;
  Both also where EXIF tells the time and the exposure of each frame;
- whether the time-lapse is recognised as one, by the order of its frames and by their EXIF;
- whether a lasting change of 3 stops is smeared, without hunting: of the whole view, where the exposure follows three
  quarters at once (the sun comes out), or of half of the view (a lamp is switched on): how far results of the ten
  frames at each side of it are on the way to the other side, 0 for not at all, 0.5 for half-way.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.corrector import Corrector
from expcorr_core.data.pairs import find_pairs, find_scenes, photos_by_stem
from expcorr_core.data.simulator import measured_display, measured_stops
from expcorr_core.image.colour import luma, srgb_to_linear
from expcorr_core.image.motion import warp
from expcorr_core.image.resize import reduce_to, resize
from expcorr_core.photos.reading import find_photos, read_photo
from expcorr_core.series.corrector import Part, Seen, SeriesCorrector, plan
from expcorr_core.series.shot import Shot
from training.rendering.colour import to_srgb_light
from training.rendering.radiance import read_radiance, views
from training.scene_light import find_scenes as find_panoramas
from training.scene_light import metered_stops

SIDE = 512  # larger side of photos, pixels
CROPS, SMALLEST_CROP = 6, 0.7  # of a photo; shortest side, as a share of the photo's
LARGEST_EV, LARGEST_TINT = 2.5, 0.08  # stops
CANVAS = 300  # larger side at which results of crops are compared, pixels
LEAST_SHARED = 100  # pixels of that
FRAMES, WIDTH = 600, 160  # of a time-lapse
FALL, FOLLOWED, HUNTING = 8.0, 0.75, 1.0  # stops; share; stops
BLUE = 0.3  # stops that red loses and blue gains
NOISE = 0.004  # standard deviation, of display values
INTERVAL = 30.0  # seconds
LASTING = 3.0  # stops of the change in the middle
CELLS = (12, 16)  # parts of the view whose luminance is followed
EVERY = 8  # of so many frames two neighbours are measured, and one is corrected for the reference
NEAR, FAR, LAST = 10, 50, 100  # frames from a lasting change: it must not reach them; they show one side; the last one

Course = NDArray[np.float64]


def decibels(one: Tensor, other: Tensor) -> float:
    return -10 * float((one - other).square().mean().clamp_min(1e-10).log10())


class Found(NamedTuple):
    """Mean PSNR between the results of each scene, and against their targets."""

    alike: list[float]
    target: list[float]

    def __str__(self) -> str:
        target = f"{np.mean(self.target):>10.2f}" if self.target else f"{'':>10}"
        return f"{np.mean(self.alike):>10.2f}{target}"


def both_ways(corrector: Corrector, scenes: Sequence[Sequence[Tensor]], judge: Callable[..., None]) -> None:
    """Correct the photos of each scene one by one and as a series, and print what ``judge`` finds."""
    print(f"{'':<14}{'alike, dB':>10}{'target, dB':>11}")
    found = {"one by one": Found([], []), "as a series": Found([], [])}
    series = SeriesCorrector(corrector)
    for number, photos in enumerate(tqdm(scenes, leave=False)):
        judge(number, [corrector(photo) for photo in photos], found["one by one"])
        judge(number, list(series(photos)), found["as a series"])
    for name, figures in found.items():
        print(f"{name:<14}{figures}  {len(scenes)} scenes", flush=True)


def read_small(path: Path) -> Tensor:
    return reduce_to(read_photo(path).to_tensor(), SIDE)


def brackets(corrector: Corrector, folder: Path, targets: Path | None) -> None:
    scenes: dict[str, list[Path]] = {}
    numbered = {
        stem: path for stem, path in photos_by_stem(folder).items() if stem[-2:-1] == "-" and stem[-1].isdigit()
    }
    for stem, path in numbered.items():
        scenes.setdefault(stem[:-2], []).append(path)
    if not numbered:
        scenes = {name: list(found.values()) for name, found in find_scenes(folder).items()}
    names = sorted(name for name, paths in scenes.items() if len(paths) > 1)
    wanted = {pair.name: pair.target for pair in find_pairs(folder, targets)} if targets else {}

    def judge(number: int, results: list[Tensor], found: Found) -> None:
        found.alike.append(float(np.mean([decibels(a, b) for a, b in combinations(results, 2)])))
        for path, result in zip(scenes[names[number]], results, strict=True):
            if wanted:
                found.target.append(
                    decibels(result, resize(read_small(wanted[path.stem]), (result.shape[2], result.shape[3])))
                )

    both_ways(corrector, [[read_small(path) for path in scenes[name]] for name in names], judge)


class Crop(NamedTuple):
    """A part of a photo: where it begins and its size, pixels."""

    y: int
    x: int
    height: int
    width: int

    def view(self, height: int, width: int) -> Tensor:
        """The map from positions in a photo of that size to positions in this part, ``(1, 3, 3)``."""
        scale_x, scale_y = width / self.width, height / self.height
        x, y = ((2 * self.x + self.width) / width - 1, (2 * self.y + self.height) / height - 1)
        return torch.tensor([[[scale_x, 0, -x * scale_x], [0, scale_y, -y * scale_y], [0, 0, 1]]])


def taken(photo: Tensor, rng: np.random.Generator) -> tuple[Tensor, Crop]:
    """One photo of a scene ``(1, 3, H, W)``, in 8 bits."""
    height, width = (round(side * float(rng.uniform(SMALLEST_CROP, 1))) for side in photo.shape[2:])
    y, x = (int(rng.integers(0, a - b + 1)) for a, b in zip(photo.shape[2:], (height, width), strict=True))
    tint = torch.from_numpy(rng.uniform(-LARGEST_TINT, LARGEST_TINT, (1, 3, 1, 1))).float()
    stops = measured_stops(photo[..., y : y + height, x : x + width]) + float(rng.uniform(-LARGEST_EV, LARGEST_EV))
    return (reduce_to(measured_display(stops + tint), SIDE) * 255).round() / 255, Crop(y, x, height, width)


def shoots(corrector: Corrector, folder: Path, count: int) -> None:
    paths = find_photos(folder, recursive=True)
    paths = paths[:: max(1, len(paths) // count)][:count]
    scenes = [reduce_to(read_photo(path).to_tensor(), 1200) for path in tqdm(paths, leave=False)]
    rngs = [np.random.default_rng(number) for number in range(len(scenes))]
    made = [[taken(scene, rng) for _ in range(CROPS)] for scene, rng in zip(scenes, rngs, strict=True)]

    def judge(number: int, results: list[Tensor], found: Found) -> None:
        scene = scenes[number]
        height, width = scene.shape[2:]
        wanted = reduce_to(scene, CANVAS)
        size = (wanted.shape[2], wanted.shape[3])
        views = [crop.view(height, width) for _, crop in made[number]]
        laid = [warp(result, view, size) for result, view in zip(results, views, strict=True)]
        shared = [(a, b, (m * n)[0, 0] > 0) for (a, m), (b, n) in combinations(laid, 2)]
        overlaps = [decibels(a[..., m], b[..., m]) for a, b, m in shared if m.sum() >= LEAST_SHARED]
        found.alike.append(float(np.mean(overlaps)))
        for result, inside in laid:
            found.target.append(decibels(result[..., inside[0, 0] > 0], wanted[..., inside[0, 0] > 0]))

    both_ways(corrector, [[photo for photo, _ in photos] for photos in made], judge)


class Lapse(NamedTuple):
    """A time-lapse; each frame depends only on its number.

    Attributes:
        scene: stops from middle grey, ``(1, 3, h, w)``.
        light: stops by which it changes, of each frame, ``(N, 1 or 3, 1, 1 or w)``.
        exposures: of the camera, stops, ``(N,)``.
    """

    scene: Tensor
    light: Tensor
    exposures: Course

    def clean(self, index: int) -> Tensor:
        """A frame without noise, ``(1, 3, h, w)``."""
        return measured_display(self.scene + self.light[index] + float(self.exposures[index]))

    def frame(self, index: int) -> Tensor:
        """A frame as of a file."""
        clean = self.clean(index)
        noise = NOISE * torch.randn(clean.shape, generator=torch.Generator().manual_seed(index))
        return ((clean + noise).clamp(0, 1) * 255).round() / 255


def hunting(rng: np.random.Generator) -> Course:
    """Errors of an automatic exposure: it stays for some frames, and jumps to another; with a jitter."""
    errors, held = np.zeros(FRAMES), 0.0
    for index in range(FRAMES):
        if rng.random() < 0.15:
            held = 0.7 * HUNTING * rng.uniform(-1, 1)
        errors[index] = np.clip(held + 0.15 * rng.standard_normal(), -HUNTING, HUNTING)
    return errors


def sunset(scene: Tensor) -> Lapse:
    """The light falls and turns blue; the exposure does not hunt."""
    time = np.linspace(0, 1, FRAMES)
    fallen = -FALL * (3 * time**2 - 2 * time**3)
    light = torch.from_numpy(np.stack([fallen + shift * BLUE * time for shift in (-1, 0, 1)], 1)).float()
    return Lapse(scene, light.view(FRAMES, 3, 1, 1), -FOLLOWED * fallen)


def switched(scene: Tensor, whole: bool) -> Lapse:
    """The light of the whole view, or of its left half, changes in the middle, and stays so."""
    late = (np.arange(2 * LAST) >= LAST).astype(np.float64)
    where = torch.ones(1, 1, 1, scene.shape[3])
    where[..., 0 if whole else scene.shape[3] // 2 :] = 1 if whole else 0
    light = LASTING * torch.from_numpy(late).float().view(-1, 1, 1, 1) * where
    return Lapse(scene, light, late * -LASTING * FOLLOWED * (1 if whole else 0.5))


def local_luminance(frame: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(luma(frame), CELLS)[0, 0]


class Followed(NamedTuple):
    """A time-lapse's results, frame by frame.

    Attributes:
        local: mean luminance of parts of the view, 0..255, ``(N, *CELLS)``.
        median: median luminance, stops.
    """

    local: Course
    median: Course

    @classmethod
    def of(cls, frames: Iterator[Tensor]) -> Followed:
        local, median = list[Tensor](), list[float]()
        for frame in frames:
            local.append(local_luminance(frame) * 255)
            median.append(float(luma(srgb_to_linear(frame)).clamp_min(1e-4).median().log2()))
        return cls(torch.stack(local).double().numpy(), np.array(median))

    def flicker(self, reference: Followed) -> float:
        """Of pairs of neighbours."""
        beyond = self.local - reference.local
        return float(np.abs(beyond[1::2] - beyond[::2]).mean())


def one_by_one(series: SeriesCorrector, lapse: Lapse, numbers: Sequence[int]) -> Followed:
    corrector, settings = series.corrector, series.settings
    shown = tqdm(numbers, "one by one", leave=False)
    # Noise is not flicker: what counts is how the frame without noise is changed.
    return Followed.of(corrector.estimate(lapse.frame(k), settings).slice(lapse.clean(k)) for k in shown)


def looked_at(series: SeriesCorrector, lapse: Lapse) -> list[Seen]:
    return [series.look(lapse.frame(k)) for k in tqdm(range(len(lapse.exposures)), "looked at", leave=False)]


def as_series(
    series: SeriesCorrector, lapse: Lapse, seen: Sequence[Seen], parts: Sequence[Part], numbers: Sequence[int]
) -> Followed:
    def grid(index: int) -> BilateralGrid:
        others = [seen[k] for k in parts[index].others]
        return series.correction(seen[index], others, parts[index], lapse.frame(index))[0]

    shown = tqdm(numbers, "as a series", leave=False)
    return Followed.of(grid(index).slice(lapse.clean(index)) for index in shown)


def with_exif(shots: Sequence[Shot], lapse: Lapse) -> list[Shot]:
    """With times and exposures, the latter in thirds of a stop, as cameras round them."""
    known = zip(shots, lapse.exposures, strict=True)
    return [
        replace(shot, taken=INTERVAL * index, stops=round(3 * float(stops)) / 3)
        for index, (shot, stops) in enumerate(known)
    ]


def smear(series: SeriesCorrector, lapse: Lapse) -> float:
    """How far results near a lasting change are on the way to its other side."""
    before = [*range(LAST - FAR, LAST - NEAR, 5), *range(LAST - NEAR, LAST)]
    seen = looked_at(series, lapse)
    numbers = [*before, *(2 * LAST - 1 - k for k in reversed(before))]
    followed = as_series(series, lapse, seen, plan([one.shot for one in seen]), numbers)
    sides = followed.local[: len(before)], followed.local[: len(before) - 1 : -1]
    far, near = ([side[part].mean(0) for side in sides] for part in (slice(0, -NEAR), slice(-NEAR, None)))
    way = far[1] - far[0]
    moved = ((near[0] - far[0]) * way).sum() + ((far[1] - near[1]) * way).sum()
    return float(moved / np.square(way).sum() / 2)


def plot(numbers: Sequence[int], lines: dict[str, Course], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for (name, line), width in zip(lines.items(), (0.6, 0.6, 1.6, 1.6, 1.0), strict=True):
        axis.plot(numbers, line, label=name, lw=width)
    axis.set(xlabel="frame", ylabel="median luminance, stops")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=100)


def lapses(corrector: Corrector, paths: Sequence[Path], path: Path | None) -> None:
    series = SeriesCorrector(corrector)
    for number, file in enumerate(paths):
        rng = np.random.default_rng(number)
        view = views(read_radiance(file), 1, WIDTH, rng)[0]
        scene = metered_stops(torch.from_numpy(to_srgb_light(view)).permute(2, 0, 1)[None])
        steady, measured = sunset(scene), [k + more for k in range(0, FRAMES, EVERY) for more in (0, 1)]
        lapse = steady._replace(exposures=steady.exposures + hunting(rng))
        reference = Followed.of(steady.clean(index) for index in measured)
        seen = looked_at(series, lapse)
        shots = [one.shot for one in seen]
        plans = [plan(shots), plan(with_exif(shots, lapse))]
        recognised = [all(part.time_lapse and part.size == FRAMES for part in parts) for parts in plans]
        alone = one_by_one(series, lapse, measured)
        together, told = (as_series(series, lapse, seen, parts, measured) for parts in plans)
        print(f"{file.stem}: recognised by order, by EXIF: {recognised}")
        for name, way in (("one by one", alone), ("as a series", together), ("with EXIF", told)):
            away = way.median - reference.median
            away = np.abs(away - np.median(away))  # one correction for all of it is none of its course
            flicker = way.flicker(reference)
            print(
                f"{name:<14}flicker {flicker:.2f}, {alone.flicker(reference) / flicker:.1f} times less, "
                f"off the course by {away.max():.2f} at most, {away.mean():.2f} mean"
            )
        smears = [smear(series, switched(scene, whole)) for whole in (True, False)]
        print(f"  changes of the whole, half smeared by {smears[0]:.2f}, {smears[1]:.2f}\n", flush=True)
        if path and not number:
            shown = Followed.of(lapse.clean(index) for index in measured).median
            names = ("photos", "one by one", "as a series", "as a series, EXIF", "photos without hunting")
            lines = (shown, alone.median, together.median, told.median, reference.median)
            plot(measured, dict(zip(names, lines, strict=True)), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("brackets", "shoots", "lapses"))
    parser.add_argument("folder", type=Path, help="of photos, or of HDR panoramas")
    parser.add_argument("--targets", type=Path, help="brackets: folder of targets")
    parser.add_argument("--count", type=int, help="photos (default 16) or panoramas (default 3) to take of the folder")
    parser.add_argument("--plot", type=Path, help="lapses: plot the course of the first one")
    args = parser.parse_args()
    corrector = Corrector.load()
    if args.what == "brackets":
        brackets(corrector, args.folder, args.targets)
    elif args.what == "shoots":
        shoots(corrector, args.folder, args.count or 16)
    else:
        paths = find_panoramas(args.folder)
        count = args.count or 3
        lapses(corrector, paths[:: max(1, len(paths) // count)][:count], args.plot)


if __name__ == "__main__":
    main()
