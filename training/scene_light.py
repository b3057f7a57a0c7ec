"""Scenes with their true light, for training, from HDR pictures and panoramas."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from expcorr_core.data.dataset import Scenes
from expcorr_core.data.simulator import measured_display
from expcorr_core.image.colour import luma
from expcorr_core.image.resize import sample
from expcorr_core.method.fusion import fuse_exposures
from expcorr_core.photos.reading import ImageError, find_photos

from .rendering.colour import to_srgb_light
from .rendering.radiance import SUFFIXES, is_panorama, read_radiance, views

SIDE = 160  # of the stored squares, pixels
DARKEST = 1e-9  # light of black pixels
FUSED_EVS = (-5.0, -3.5, -2.0, -0.7, 0.6, 1.8, 3.0)  # of the exposures that a target is fused from
CLIPPED, LEAST_RANGE = 0.003, 0.3  # the fusion is flat: its range is stretched, clipping this share at each end
MEAN, EXPONENTS, SATURATION = 0.47, (0.6, 1.5), 1.15  # brightness and colourfulness of the targets


def find_scenes(folder: Path) -> list[Path]:
    """HDR pictures in a folder and its subfolders.

    Raises:
        ImageError: there are none.
    """
    return find_photos(folder, recursive=True, suffixes=SUFFIXES)


def read_scenes(files: list[Path], count: int, quiet: bool = False) -> Scenes:
    """Read HDR pictures; panoramas (2 : 1) are split into views.

    Args:
        files: .hdr and .exr.
        count: views of a panorama.
        quiet: no progress bar.

    Raises:
        ImageError: a file is damaged or black.
        ModuleNotFoundError: the ``data`` extra is missing.
    """
    stops, targets = [], []
    for path in tqdm(files, "reading scenes", leave=False, disable=quiet, mininterval=1):
        light = read_radiance(path)
        if not light.any():
            raise ImageError(f"{path} is black; leave it out")
        # Views depend only on the file's name, not on the other files.
        rng = np.random.default_rng([*path.stem.encode()])
        pictures = views(light, count, round(SIDE * 4 / 3), rng) if is_panorama(light) else [light]
        squares = [
            sample(torch.from_numpy(to_srgb_light(picture)).permute(2, 0, 1)[None], SIDE, SIDE) for picture in pictures
        ]
        found = metered_stops(torch.cat(squares))
        stops.append(found.half())
        targets.append((_target(found) * 255).round().byte())
    return Scenes(torch.cat(stops), torch.cat(targets))


def metered_stops(light: Tensor) -> Tensor:
    """Stops from the log-average, which becomes middle grey."""
    mean = luma(light).clamp_min(DARKEST).log2().mean((1, 2, 3), keepdim=True)
    return light.clamp_min(DARKEST).log2() - mean


def _target(stops: Tensor) -> Tensor:
    """How scenes should look: an exposure fusion, stretched to the full range, as bright and colourful as a photo."""
    fused = fuse_exposures([measured_display(stops + ev) for ev in FUSED_EVS])
    low, high = (
        torch.stack([photo.quantile(q) for photo in fused.flatten(1)]).view(-1, 1, 1, 1) for q in (CLIPPED, 1 - CLIPPED)
    )
    stretched = ((fused - low) / (high - low).clamp_min(LEAST_RANGE)).clamp(0, 1)
    mean = stretched.mean((1, 2, 3), keepdim=True).clamp(0.05, 0.9)
    bright = stretched.pow((math.log(MEAN) / mean.log()).clamp(*EXPONENTS))
    grey = luma(bright)
    return (grey + (bright - grey) * SATURATION).clamp(0, 1)
