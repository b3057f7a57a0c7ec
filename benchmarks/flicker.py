"""Measure flicker of the sequence corrector, compared with correction frame by frame, and its scene detection.

    python -m benchmarks.flicker PHOTOS [PHOTO ...] --plot docs/flicker.png

Clips are made from stills: the view pans and zooms, the exposure drifts, jumps or breathes, and sensor noise is added,
so the true motion and the target are known. Prints for each kind of clip: flicker, which is the mean absolute change of
the result's local luminance from frame to frame, at fixed parts of the scene, beyond the change of the target, on a
scale of 255; and the PSNR in dB, from the mean squared error over all frames.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import luma
from expcorr_core.image.exposure import shift_exposure
from expcorr_core.image.motion import camera_motion
from expcorr_core.image.resize import reduce_to, resize
from expcorr_core.photos.reading import find_photos, read_photo
from expcorr_core.video.sequence import LOOK, SequenceCorrector, Smoothing, compare

HEIGHT, WIDTH = 360, 640
CELLS, POINTS = 12, 20  # parts of the scene per side whose luminance is followed, and points per side in each
PAIRS = 200  # pairs of photos that cuts are made from
NOISE = 0.01  # standard deviation, of display values


class View(NamedTuple):
    """The part of the still that a frame shows: its centre and half its size, -1..1."""

    x: float
    y: float
    half_width: float
    half_height: float


def view(time: float) -> View:
    """A slow pan with a zoom; ``time`` from 0 to 1."""
    size = 0.75 - 0.12 * math.sin(2 * math.pi * time)
    return View(0.2 * math.cos(2.5 * time), 0.15 * math.sin(3 * time), size, size)


def exposure(kind: str, index: int, count: int, rng: np.random.Generator) -> float:
    """EV of a frame."""
    time = index / count
    if kind == "drift":
        return -2 + 3 * time
    if kind == "jump":
        return (-1.5, 0.6, -0.8)[min(2, int(3 * time))]
    if kind == "breathing":
        return -0.8 + 0.5 * math.sin(2 * math.pi * index / 40) + 0.1 * float(rng.standard_normal())
    return -1.2  # steady


class Clip:
    """Frames ``(3, H, W)`` made from a still; each depends only on its number."""

    def __init__(self, still: Tensor, kind: str, count: int) -> None:
        self.still, self.kind, self.count = still, kind, count
        rng = np.random.default_rng(0)
        self.exposures = [exposure(kind, index, count, rng) for index in range(count)]

    def target(self, index: int) -> Tensor:
        x, y, w, h = view(index / self.count)
        theta = torch.tensor([[[w, 0, x], [0, h, y]]])
        grid = F.affine_grid(theta, [1, 3, HEIGHT, WIDTH], align_corners=False)
        return F.grid_sample(self.still, grid, align_corners=False, padding_mode="border")[0]

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.__getitem__, range(self.count))

    def clean(self, index: int) -> Tensor:
        return shift_exposure(self.target(index), self.exposures[index])

    def __getitem__(self, index: int) -> Tensor:
        clean = self.clean(index)
        noisy = clean + NOISE * torch.randn(clean.shape, generator=torch.Generator().manual_seed(index))
        return (noisy.clamp(0, 1) * 255).round() / 255


def local_luminance(frame: Tensor, index: int, count: int) -> Tensor:
    """Mean luminance of ``CELLS x CELLS`` parts of the scene; NaN where the frame does not show one as a whole."""
    x, y, w, h = view(index / count)
    ends = torch.linspace(-0.6, 0.6, CELLS * POINTS)
    py, px = torch.meshgrid(ends, ends, indexing="ij")
    places = torch.stack(((px - x) / w, (py - y) / h), -1)
    found = F.grid_sample(luma(frame[None]), places[None], align_corners=False)[0]
    return F.avg_pool2d(torch.where((places.abs() < 0.98).all(-1), found, torch.nan), POINTS)[0]


class Measured(NamedTuple):
    flicker: float
    psnr: float
    means: list[float]


def measure(clip: Clip, grids: Iterable[BilateralGrid], name: str) -> Measured:
    """Flicker on a scale of 255, PSNR in dB, and the mean luminance of each frame."""
    changes, errors, means = [], [], []
    before: Tensor | None = None
    for index, grid in enumerate(tqdm(grids, name, clip.count, leave=False)):
        target = clip.target(index)
        result = grid.slice(clip[index][None])[0]
        # Noise is not flicker: what counts is how the frame without noise is changed.
        clean = grid.slice(clip.clean(index)[None])[0]
        now = torch.stack([local_luminance(x, index, clip.count) for x in (clean, target)])
        if before is not None:
            change = now - before
            beyond = (change[0] - change[1]).abs()
            changes.append(float(beyond[~beyond.isnan()].mean()))
        before = now
        errors.append(float((result - target).square().mean()))
        means.append(float(luma(result[None]).mean()))
    psnr = -10 * math.log10(sum(errors) / len(errors))
    return Measured(255 * sum(changes) / len(changes), psnr, means)


def plot(curves: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Plot mean luminance over time: input, frame by frame, and smoothed; one column per kind of clip."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(4 * len(curves), 3.2), layout="constrained", sharey=True)
    for axis, (kind, lines) in zip(axes, curves.items(), strict=True):
        for name, line in lines.items():
            axis.plot(line, label=name, lw=1)
        axis.set(title=kind, xlabel="frame")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mean luminance")
    axes[0].legend()
    figure.savefig(path, dpi=100)


KINDS = ("steady", "drift", "jump", "breathing")
WAYS = {
    "frame by frame": Smoothing(0, 1),
    "every frame": Smoothing(every=1),
    "every 4th": Smoothing(every=4),
    "live": Smoothing(every=1, lookahead=False),
}


def flicker(corrector: Corrector, stills: Sequence[Tensor], frames: int, path: Path | None) -> None:
    curves: dict[str, dict[str, list[float]]] = {}
    print(f"{'clip':<12}{'way':<18}{'flicker':>9}{'PSNR':>8}")
    for kind in KINDS:
        found: dict[str, list[Measured]] = {name: [] for name in WAYS}
        for still in stills:
            clip = Clip(still, kind, frames)
            for name, smoothing in WAYS.items():
                grids = SequenceCorrector(corrector, smoothing=smoothing).corrections(clip)
                found[name].append(measure(clip, grids, f"{kind}, {name}"))
        curves[kind] = {name: found[name][0].means for name in ("frame by frame", "every 4th")}
        curves[kind]["input"] = measure(Clip(stills[0], kind, frames), [BilateralGrid.identity()] * frames, kind).means
        means = {name: np.mean([(row.flicker, row.psnr) for row in rows], 0) for name, rows in found.items()}
        for name, (mean, psnr) in means.items():
            ratio = means["frame by frame"][0] / mean
            print(f"{kind:<12}{name:<18}{mean:>9.3f}{psnr:>8.2f}   {ratio:.1f} times less", flush=True)
    if path:
        plot(curves, path)


def cuts(corrector: Corrector, stills: Sequence[Tensor]) -> None:
    """Compare the first frame after a cut with that of the scene by itself, and with its own still correction."""
    gains, smears = [], []
    for number, still in enumerate(stills):
        clips = [Clip(stills[number - 1], "steady", 60), Clip(still, "drift", 60)]
        scenes = [[clip[index] for index in range(20)] for clip in clips]
        first = scenes[1][0][None]
        after = list(SequenceCorrector(corrector).corrections(scenes[0] + scenes[1]))[20].slice(first)
        alone = next(SequenceCorrector(corrector).corrections(scenes[1])).slice(first)
        ours, own = (psnr(result, clips[1].target(0)) for result in (after, corrector(first)))
        smears.append(float((after - alone).abs().max()))
        gains.append(ours - own)
    print(f"first frame after a cut: {max(smears):.4f} different from that of the scene by itself ({len(gains)} cuts);")
    print(
        f"compared with its own still correction: {np.mean(gains):+.2f} dB, {min(gains):+.2f} to {max(gains):+.2f}",
        flush=True,
    )


def psnr(result: Tensor, target: Tensor) -> float:
    return -10 * math.log10(float((result - target).square().mean()))


def changes(stills: Sequence[Tensor]) -> None:
    """How often a cut is detected, and a jump of exposure further along the pan is mistaken for one."""
    threshold, counts = Smoothing().threshold, [0, 0]
    looks = [[resize(Clip(still, "jump", 30)[index][None], (LOOK, LOOK)) for index in (0, 5, 15)] for still in stills]
    rest = torch.eye(3, dtype=torch.float64)
    for number, (early, late, brighter) in enumerate(looks):
        pairs = ((looks[number - 1][0], late), (early, brighter))
        for place, (before, after) in enumerate(pairs):
            motion = camera_motion(luma(before)[0, 0], luma(after)[0, 0], rest)
            counts[place] += compare(before, after, motion)[0] > threshold
    print(f"cuts detected: {counts[0]} of {len(looks)}; jumps of 2 EV taken for cuts: {counts[1]} of {len(looks)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of well-exposed photos")
    parser.add_argument("more", type=Path, nargs="*", help="more photos, in addition to those of the folder")
    parser.add_argument(
        "--stills", type=int, default=4, help="number of photos from the folder that clips are made from (default 4)"
    )
    parser.add_argument("--frames", type=int, default=60, help="frames per clip (default 60)")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    paths = find_photos(args.photos)

    def still(path: Path) -> Tensor:
        return reduce_to(read_photo(path).to_tensor(), 2 * WIDTH)

    changes([still(path) for path in paths[:: max(1, len(paths) // PAIRS)]])
    stills = [still(path) for path in paths[:: max(1, len(paths) // args.stills)][: args.stills] + args.more]
    corrector = Corrector.load()
    cuts(corrector, stills)
    flicker(corrector, stills, args.frames, args.plot)


if __name__ == "__main__":
    main()
