"""How well photos of one scene are put together, whatever their exposure and framing.

usage: python -m benchmarks.grouping FOLDER [--half tuning|final|both] [--seeds 0 1 2] [--sheet OUT.png]

Each of 40 photos of the folder becomes 3 to 9 files without EXIF: exposed by -3 to +3 EV, by the fitted curve of
raw-converter renderings or a measured camera curve, with noise, in 8 bits, as JPEG. Of three quarters of the scenes
each file is a crop of 75 to 100 % of each side. Photos are split in two halves by the order of their names: constants
were chosen with one, the other is for the final figures. Where the folder holds several photos of one scene, leave out
all but one (--different finds them). Prints pairs put together wrongly, as a share of all pairs of different scenes and
of all pairs put together, and the share of pairs of one scene that are missed. The contact sheet shows every wrong
group in a row.

With --different, the photos of the folder themselves are grouped, and those put together are named.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from expcorr_core.data.simulator import measured_display, measured_stops
from expcorr_core.image.exposure import shift_exposure
from expcorr_core.image.resize import reduce_to
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import find_photos, read_photo
from expcorr_core.series.grouping import Group, find_groups
from expcorr_core.series.shot import Shot

SCENES = 40
LARGEST_EV, SMALLEST_CROP, MOST_NOISE = 3.0, 0.75, 0.02
SIDES = (384, 640)  # range of the larger side of the files, pixels
THUMBNAIL = 96


class Errors(NamedTuple):
    """Pairs: of different scenes but put together, of different scenes, put together, missed, of one scene."""

    wrong: int
    different: int
    together: int
    missed: int
    same: int

    def __str__(self) -> str:
        shares = (
            self.wrong / max(1, self.different),
            self.wrong / max(1, self.together),
            self.missed / max(1, self.same),
        )
        return "".join(f"{share:>12.3%}" for share in shares)


def errors(groups: Sequence[Group], scenes: Sequence[int]) -> Errors:
    """Errors of groups, given the scene of each photo."""

    def pairs(counts: Counter[object]) -> int:
        return sum(count * (count - 1) // 2 for count in counts.values())

    group_of = {member: number for number, group in enumerate(groups) for member in group.members}
    together = pairs(Counter(group_of.values()))
    same = pairs(Counter(scenes))
    right = pairs(Counter((group_of[k], scene) for k, scene in enumerate(scenes)))
    count = len(scenes) * (len(scenes) - 1) // 2
    return Errors(together - right, count - same, together, same - right, same)


def taken(photo: Tensor, rng: np.random.Generator, cropped: bool) -> Shot:
    """One file of a scene ``(3, H, W)``."""
    if cropped:
        sizes = [round(side * float(rng.uniform(SMALLEST_CROP, 1))) for side in photo.shape[1:]]
        y, x = (int(rng.integers(0, side - size + 1)) for side, size in zip(photo.shape[1:], sizes, strict=True))
        photo = photo[:, y : y + sizes[0], x : x + sizes[1]]
    ev = float(rng.uniform(-LARGEST_EV, LARGEST_EV))
    small = reduce_to(photo[None], int(rng.integers(*SIDES)))
    exposed = shift_exposure(small, ev) if rng.random() < 0.5 else measured_display(measured_stops(small) + ev)
    noise = torch.from_numpy(rng.standard_normal(tuple(exposed.shape))).float()
    noisy = (exposed + float(rng.uniform(0, MOST_NOISE)) * noise).clamp(0, 1)
    file = io.BytesIO()
    Image.fromarray(Photo.from_tensor(noisy).eight_bit()).save(file, "JPEG", quality=int(rng.integers(70, 96)))
    decoded = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None].float() / 255
    return Shot.of(decoded)


def made(paths: Sequence[Path], seed: int) -> tuple[list[Shot], list[int]]:
    """Files of some scenes, and the scene of each."""
    rng = np.random.default_rng(seed)
    chosen = [paths[k] for k in rng.permutation(len(paths))[:SCENES]]
    shots, scenes = list[Shot](), list[int]()
    for scene, path in enumerate(chosen):
        photo = reduce_to(read_photo(path).to_tensor(), 1024)[0]
        cropped = bool(rng.random() < 0.75)
        for _ in range(int(rng.integers(3, 10))):
            shots.append(taken(photo, rng, cropped))
            scenes.append(scene)
    return shots, scenes


def sheet(rows: Sequence[Sequence[Shot]]) -> Image.Image:
    """Looks, a group in each row."""
    size = (THUMBNAIL * max(map(len, rows), default=1), THUMBNAIL * max(1, len(rows)))
    picture = Image.new("RGB", size)
    for y, row in enumerate(rows):
        for x, shot in enumerate(row):
            picture.paste(Image.fromarray(shot.look.transpose(1, 2, 0)), (x * THUMBNAIL, y * THUMBNAIL))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=("tuning", "final", "both"), default="both")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--different", action="store_true", help="group the photos of the folder as they are")
    parser.add_argument("--without", nargs="+", default=[], help="names of photos to leave out")
    parser.add_argument("--sheet", type=Path, help="contact sheet of the wrong groups")
    args = parser.parse_args()
    paths = [path for path in find_photos(args.folder) if path.name not in args.without]
    wrong = list[list[Shot]]()
    if args.different:
        shots = [Shot.of(read_photo(path).to_tensor()) for path in paths]
        groups = [group for group in find_groups(shots) if len(group.members) > 1]
        for group in groups:
            print(*(paths[member].name for member in group.members))
        wrong = [[shots[member] for member in group.members] for group in groups]
    else:
        print(f"{'half':<8}{'seed':>5}{'photos':>8}{'s':>7}{'wrong':>12}{'of joined':>12}{'missed':>12}")
        for number, half in enumerate(("tuning", "final")):
            total = Errors(0, 0, 0, 0, 0)
            for seed in args.seeds if args.half in (half, "both") else ():
                shots, scenes = made(paths[number::2], seed)
                start = time.perf_counter()
                groups = find_groups(shots)
                seconds = time.perf_counter() - start
                found = errors(groups, scenes)
                total = Errors(*(a + b for a, b in zip(total, found, strict=True)))
                print(f"{half:<8}{seed:>5}{len(shots):>8}{seconds:>7.1f}{found}", flush=True)
                mixed = [group for group in groups if len({scenes[member] for member in group.members}) > 1]
                wrong += [[shots[member] for member in group.members] for group in mixed]
            if total.same:
                print(f"{half:<8}{'all':>5}{'':>15}{total}", flush=True)
    if args.sheet:
        sheet(wrong).save(args.sheet)


if __name__ == "__main__":
    main()
