"""How close LUTs come to corrections when FFmpeg applies them: PSNR of ten photos of a folder.

usage: python -m benchmarks.luts FOLDER [--count 10]

Photos are spread evenly over the folder. Both get the same PNG file; FFmpeg (which must be installed) applies NAME.cube
by its filter lut3d, with tetrahedral interpolation, and the HaldCLUT by haldclut. What remains is what corrections do
differently from place to place.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from expcorr_core.corrections.camera_raw import camera_raw_settings
from expcorr_core.corrections.lut import Lut
from expcorr_core.corrector import Corrector
from expcorr_core.image.metrics import EQUAL_PSNR, psnr
from expcorr_core.photos.reading import SUFFIXES, read_photo
from expcorr_core.photos.writing import write_photo

FILTERS = {
    "lut3d": "[0]format=gbrp,lut3d=file=a.cube:interp=tetrahedral",
    # In other formats, FFmpeg 5.1 takes colours for others here, even with an identity.
    "haldclut": "[0]format=rgb48[a];[1]format=rgb48[b];[a][b]haldclut",
}


def filtered(folder: Path, change: str) -> Path:
    """FFmpeg's result for ``before.png``."""
    made = folder / "made.png"
    named = ["-i", "a_hald.png"] if "[1]" in change else []
    command = ["ffmpeg", "-v", "error", "-y", "-i", "before.png", *named, "-filter_complex", change]
    subprocess.run([*command, "-frames:v", "1", "-pix_fmt", "rgb24", made.name], cwd=folder, check=True)
    return made


def measured(path: Path, corrector: Corrector) -> list[float]:
    """PSNR of FFmpeg's results, and those that fit and Camera Raw settings say of themselves."""
    photo = read_photo(path)
    before = photo.to_tensor()
    after = corrector(before)
    lut = Lut.fit(before, after)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photo(folder / "before.png", photo)
        (folder / "a.cube").write_bytes(lut.cube(path.stem))
        (folder / "a_hald.png").write_bytes(lut.hald())
        ours = photo.with_tensor(after).eight_bit()
        made = [np.asarray(Image.open(filtered(folder, change))) for change in FILTERS.values()]
    found = [min(psnr(result, ours), EQUAL_PSNR) for result in made]
    return [*found, lut.error(before, after), camera_raw_settings(before, after)[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=10)
    args = parser.parse_args()
    photos = sorted(path for path in args.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    chosen = [photos[len(photos) * k // args.count] for k in range(min(args.count, len(photos)))]
    corrector = Corrector.load()
    print(f"{'photo':<32}" + "".join(f"{name:>10}" for name in (*FILTERS, "LUT", "curves")))
    rows = []
    for path in chosen:
        rows.append(measured(path, corrector))
        print(f"{path.stem[:31]:<32}" + "".join(f"{value:>10.2f}" for value in rows[-1]), flush=True)
    print(f"{'mean':<32}" + "".join(f"{sum(column) / len(rows):>10.2f}" for column in zip(*rows, strict=True)))


if __name__ == "__main__":
    main()
