"""HDR renditions of corrected photos: how near they are to the scene, with the new map, the old one, and none.

usage: python -m benchmarks.gain_maps FOLDER [--ev -2 0 2]

Each Radiance picture of the folder is exposed to a mean of 18 % and by the given error. Its SDR photo is the same up to
0.7 of white, with a shoulder above, as cameras make it; the map has half its size. The file is corrected and decoded by
libultrahdr (imagecodecs). Errors are in dB: of stops over nine stops (1/64 to 8 times white), and of PU21 (banding and
glare, white at 200 cd/m2).
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import linear_to_srgb, srgb_to_linear
from expcorr_core.photos.gain_map import GainMap, Recipe
from expcorr_core.photos.metadata import Metadata
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import read_photo
from expcorr_core.photos.writing import write_photo

Floats = NDArray[np.floating]
NEAR_BLACK, BRIGHTEST, WHITE = 1 / 64, 8.0, 200.0
STEP = 4  # of how many pixels one is taken
PU21 = (0.353487901, 0.3734658629, 8.277049286e-05, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142)


def stops(light: Floats) -> Floats:
    return np.asarray(np.log2(np.maximum(light, 0) + NEAR_BLACK))


def pu21(light: Floats) -> Floats:
    a, b, c, d, e, f, g = PU21
    power = np.clip(light * WHITE, 0.005, 10_000) ** d
    return np.asarray(g * (((a + b * power) / (1 + c * power)) ** e - f))


def decibels(scale: Callable[[Floats], Floats], found: Floats, wanted: Floats, span: float) -> float:
    return float(20 * np.log10(span / np.sqrt(np.mean((scale(found) - scale(wanted)) ** 2))))


def scene_of(path: Path) -> Floats:
    """A Radiance picture whose mean (of logarithms) is 18 % of white, up to 8 times white; ``(H, W, 3)``."""
    light = imagecodecs.rgbe_decode(path.read_bytes(), header=True)[::STEP, ::STEP].astype(np.float64)
    light = light[: len(light) // 2 * 2, : light.shape[1] // 2 * 2].clip(0, None)
    grey = np.exp(np.log(light.mean(2) + 1e-5).mean())
    return np.asarray(light * 0.18 / grey)


def with_map(seen: Floats) -> Photo:
    """The SDR photo of an HDR picture, with a map of half its size that leads back to it."""
    shoulder = 0.7 + 0.3 * (1 - np.exp(-(seen - 0.7).clip(0) / 0.3))
    shown = linear_to_srgb(torch.from_numpy(np.where(seen < 0.7, seen, shoulder))).permute(2, 0, 1)[None]
    photo = Photo.from_tensor(shown)
    base = srgb_to_linear(photo.to_tensor())[0].permute(1, 2, 0).numpy()
    height, width = (side // 2 for side in seen.shape[:2])
    gains = (stops(seen) - stops(base)).reshape(height, 2, width, 2, 3).mean((1, 3))
    highest = max(float(gains.max()), 0.01)
    file = io.BytesIO()
    Image.fromarray((gains / highest * 255).round().clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=95)
    recipe = Recipe(
        lowest=(0.0,) * 3,
        highest=(highest,) * 3,
        gamma=(1.0,) * 3,
        offset_sdr=(NEAR_BLACK,) * 3,
        offset_hdr=(NEAR_BLACK,) * 3,
        capacity=(0.0, float(np.log2(BRIGHTEST))),
    )
    gain_map = GainMap(picture=file.getvalue(), recipe=recipe, in_iso=True)
    return replace(photo, metadata=Metadata(kind="JPEG", gain_map=gain_map))


def rendition(path: Path) -> Floats:
    return np.asarray(imagecodecs.ultrahdr_decode(path.read_bytes())[..., :3], np.float64)


def measured(corrector: Corrector, scene: Floats, ev: float, folder: Path) -> list[float]:
    """Decibels by stops, then by PU21: of the file as it was, of no map, the old map, and the new one."""
    seen = (scene * 2**ev).clip(0, BRIGHTEST)
    write_photo(folder / "a.jpg", with_map(seen), overwrite=True)
    photo = read_photo(folder / "a.jpg")
    result = corrector.correct_photo(photo)
    write_photo(folder / "new.jpg", result, overwrite=True)
    old = replace(result, metadata=replace(result.metadata, gain_map=photo.metadata.gain_map))
    write_photo(folder / "old.jpg", old, overwrite=True)
    base = srgb_to_linear(read_photo(folder / "new.jpg").to_tensor())[0].permute(1, 2, 0).numpy()
    found = [rendition(folder / "a.jpg"), base, *(rendition(folder / f"{name}.jpg") for name in ("old", "new"))]
    wanted = scene.clip(0, BRIGHTEST)
    by_stops = [decibels(stops, part, wanted, np.log2(BRIGHTEST / NEAR_BLACK)) for part in found]
    span = float(np.ptp(pu21(np.array([0, BRIGHTEST]))))
    return by_stops + [decibels(pu21, part, wanted, span) for part in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ev", type=float, nargs="+", default=[-2.0, 0.0, 2.0], help="exposure errors, stops")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    corrector, paths = Corrector.load(), sorted(args.folder.glob("*.hdr"))
    scenes = [scene_of(path) for path in paths]
    print(f"{len(scenes)} scenes" + f"{'stops: input':>15}{'no map':>8}{'old':>8}{'new':>8}{'PU21: input':>14}")
    with tempfile.TemporaryDirectory() as folder:
        for ev in args.ev:
            rows = [measured(corrector, scene, ev, Path(folder)) for scene in scenes]
            print(f"{ev:+5.1f} EV  " + "".join(f"{value:9.2f}" for value in np.mean(rows, 0)))


if __name__ == "__main__":
    main()
