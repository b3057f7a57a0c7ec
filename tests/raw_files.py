"""Small raw files: a picture as seen by a sensor with a Bayer mosaic, in a DNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from expcorr_core.image.colour import srgb_to_linear

BLACK, WHITE = 512, 15000
NEUTRAL = (0.5, 1.0, 0.625)  # what the sensor's channels see of white
# From CIE XYZ (D65) to a camera whose primaries are those of sRGB.
XYZ_TO_SRGB = (3.2405, -1.5371, -0.4985, -0.9693, 1.876, 0.0416, 0.0556, -0.204, 1.0572)
_SHORT, _LONG, _RATIONAL, _BYTE, _ASCII, _SIGNED, _FLOAT = 3, 4, 5, 1, 2, 10, 11  # TIFF types


def mosaic(light: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Sensor values of linear light, ``(H, W, 3)``; white saturates green at 1; RGGB."""
    seen = (light * NEUTRAL).clip(0, 1) * (WHITE - BLACK) + BLACK
    sensor = seen[..., 1].copy()
    sensor[::2, ::2], sensor[1::2, 1::2] = seen[::2, ::2, 0], seen[1::2, 1::2, 2]
    return sensor.round().astype(np.uint16)


def write_dng(
    path: Path,
    light: NDArray[np.floating],
    exposure: float = 0.0,
    curve: tuple[float, ...] | None = None,
    with_mosaic: bool = True,
) -> Path:
    """Write linear light, ``(H, W, 3)`` in sRGB primaries, as a DNG with a baseline exposure and a tone curve.

    Without a mosaic it has three colours per pixel, as written by converters and some cameras.
    """
    rationals = [int(x * 10**4) for value in XYZ_TO_SRGB for x in (value, 1)]
    pattern = [
        (33421, _SHORT, 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, _BYTE, 4, bytes([0, 1, 1, 2]), True),  # CFAPattern
    ]
    tags = [
        (50706, _BYTE, 4, bytes([1, 4, 0, 0]), True),  # DNGVersion
        (50707, _BYTE, 4, bytes([1, 1, 0, 0]), True),  # DNGBackwardVersion
        (50708, _ASCII, 0, "Test Camera", True),  # UniqueCameraModel
        (50714, _LONG, 1, BLACK, True),  # BlackLevel
        (50717, _LONG, 1, WHITE, True),  # WhiteLevel
        (50721, _SIGNED, 9, rationals, True),  # ColorMatrix1
        (50728, _RATIONAL, 3, [int(x) for value in NEUTRAL for x in (value * 1000, 1000)], True),  # AsShotNeutral
        (50730, _SIGNED, 1, (int(exposure * 100), 100), True),  # BaselineExposure
        (50778, _SHORT, 1, 21, True),  # CalibrationIlluminant1: D65
    ]
    if curve:
        tags.append((50940, _FLOAT, len(curve), curve, True))  # ProfileToneCurve
    path.parent.mkdir(parents=True, exist_ok=True)
    if with_mosaic:
        tifffile.imwrite(path, mosaic(light), photometric=32803, metadata=None, extratags=sorted(tags + pattern))
    else:
        seen = ((light * NEUTRAL).clip(0, 1) * WHITE).round().astype(np.uint16)  # black is 0 in such files
        levels = {50714: (50714, _LONG, 3, (0, 0, 0), True), 50717: (50717, _LONG, 3, (WHITE,) * 3, True)}
        tags = [levels.get(tag[0], tag) for tag in tags]
        tifffile.imwrite(path, seen, photometric=34892, planarconfig=1, metadata=None, extratags=sorted(tags))
    return path


def light_of(pixels: NDArray[np.uint8], stops: float = -1.5) -> NDArray[np.float32]:
    """Linear light of an sRGB picture, darker by some stops so that nothing clips."""
    light: NDArray[np.float32] = srgb_to_linear(torch.from_numpy(pixels / np.float32(255))).numpy()
    return light * np.float32(2**stops)
