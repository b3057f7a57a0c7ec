"""What raw files give back: brackets of known light as raw files, against the JPEG that a camera would make of them.

    python -m benchmarks.raw HDRS                # views of HDR panoramas at EV -2..+2; prints a table
    python -m benchmarks.raw HDRS --sheet x.jpg  # and writes pictures of some of them

The sensor holds two stops above the JPEG's white. For each exposure the table has: the share of pixels that the JPEG
has lost to white and the sensor has not; Spearman's rank correlation with the true light there, of the corrected JPEG
and the corrected raw file, mean (and smallest) over the views that have lost at least one in 200; PSNR against the
JPEG at EV 0 where that clips nothing; and the luma of the brightest half percent.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import LUMA, linear_to_srgb
from expcorr_core.image.metrics import EQUAL_PSNR
from expcorr_core.photos.reading import find_photos, read_photo

Floats = NDArray[np.float32]
HEADROOM = 2.0  # stops
WEIGHTS = np.array(LUMA, np.float32)
EXPOSURES = (-2, -1, 0, 1, 2)
VIEWS, WIDTH, GREY = 2, 384, 0.18  # views of a panorama, pixels, log-average of light at EV 0
ROW = 200  # height of a row of the sheet, pixels


class Seen(NamedTuple):
    """One exposure of one view."""

    lost: float
    ranks: tuple[float, float]
    psnr: tuple[float, float]
    white: tuple[float, float]


def scenes(folder: Path) -> Iterator[Floats]:
    """Light of views, 1 is the JPEG's white at EV 0."""
    from training.rendering.radiance import read_radiance, views

    for path in find_photos(folder, suffixes=(".hdr",)):
        for view in views(read_radiance(path), VIEWS, WIDTH, np.random.default_rng(0)):
            average = np.exp(np.log((view @ WEIGHTS).clip(1e-6)).mean())
            yield view * np.float32(GREY / average)


def shown(light: Floats) -> Floats:
    """The camera's JPEG, in 8 bits."""
    values: Floats = linear_to_srgb(torch.from_numpy(light.clip(0, 1))).mul(255).round().div(255).numpy()
    return values


def corrected(corrector: Corrector, picture: Floats) -> Floats:
    values: Floats = corrector(torch.from_numpy(picture).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    return values


def compare(corrector: Corrector, scene: Floats, stops: int, path: Path) -> tuple[Seen, list[Floats]]:
    """Measure one exposure; also the JPEG, the raw file and what becomes of them."""
    from scipy.stats import spearmanr

    from tests.raw_files import write_dng

    light = scene * np.float32(2.0**stops)
    write_dng(path, light / 2**HEADROOM, HEADROOM)
    inputs = shown(light), read_photo(path).to_tensor()[0].permute(1, 2, 0).numpy()
    results = [corrected(corrector, picture) for picture in inputs]
    lost = (light.max(2) > 1.02) & (light.max(2) < 0.97 * 2**HEADROOM)
    truth, reference, fair = light @ WEIGHTS, shown(scene), scene.max(2) < 1
    lumas = [result @ WEIGHTS for result in results]
    enough = lost.mean() > 1 / 200
    ranks = [float(spearmanr(truth[lost], luma[lost]).statistic) if enough else np.nan for luma in lumas]
    errors = [float(np.mean((result - reference)[fair] ** 2)) for result in results]
    psnrs = [-10 * math.log10(max(error, 10 ** (-EQUAL_PSNR / 10))) for error in errors]
    whites = [float(np.quantile(luma, 0.995)) for luma in lumas]
    seen = Seen(float(lost.mean()), (ranks[0], ranks[1]), (psnrs[0], psnrs[1]), (whites[0], whites[1]))
    return seen, [inputs[0], results[0], inputs[1], results[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hdrs", type=Path, help="folder of HDR panoramas (.hdr)")
    parser.add_argument("--sheet", type=Path, help="picture to write: JPEG, corrected, raw file, corrected")
    args = parser.parse_args()
    corrector = Corrector.load()
    found: dict[int, list[Seen]] = {stops: [] for stops in EXPOSURES}
    rows: list[Image.Image] = []
    with tempfile.TemporaryDirectory() as folder:
        for scene in tqdm(scenes(args.hdrs), unit="view"):
            for stops in EXPOSURES:
                seen, pictures = compare(corrector, scene, stops, Path(folder) / "a.dng")
                found[stops].append(seen)
                if args.sheet and stops in (0, 2):
                    row = Image.fromarray((np.concatenate(pictures, 1) * 255).round().astype(np.uint8))
                    rows.append(row.resize((row.width * ROW // row.height, ROW)))
    titles = f"{'rank, JPEG':>16}{'rank, raw':>16}{'PSNR, JPEG':>12}{'raw':>8}{'white, JPEG':>13}{'raw':>7}"
    print(f"{'EV':>4}{'lost':>8}{titles}")
    for stops, part in found.items():
        ranks = np.array([seen.ranks for seen in part])
        told = [f"{np.nanmean(column):.3f} ({np.nanmin(column):.2f})" for column in ranks.T]
        lost, psnrs, whites = (np.mean([seen[k] for seen in part], 0) for k in (0, 2, 3))
        print(
            f"{stops:>+4}{lost:>8.1%}{told[0]:>16}{told[1]:>16}"
            f"{psnrs[0]:>12.2f}{psnrs[1]:>8.2f}{whites[0]:>13.3f}{whites[1]:>7.3f}"
        )
    if args.sheet:
        sheet = Image.new("RGB", (max(row.width for row in rows), ROW * len(rows)))
        for index, row in enumerate(rows):
            sheet.paste(row, (0, ROW * index))
        sheet.save(args.sheet, quality=90)


if __name__ == "__main__":
    main()
