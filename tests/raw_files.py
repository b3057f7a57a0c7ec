"""Small raw files: a picture as seen by a sensor with a Bayer mosaic, in a DNG."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.image.colour import srgb_to_linear
from expcorr_core.photos import exif, tiff
from expcorr_core.photos.directories import LONG, SHORT, Block, Layout, Tree, Value

BLACK, WHITE = 512, 15000
NEUTRAL = (0.5, 1.0, 0.625)  # what the sensor's channels see of white
# From CIE XYZ (D65) to a camera whose primaries are those of sRGB.
XYZ_TO_SRGB = (3.2405, -1.5371, -0.4985, -0.9693, 1.876, 0.0416, 0.0556, -0.204, 1.0572)
Tag = tuple[int, int, int, object, bool]  # of tifffile: code, type, count, value, whether on the first page only
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
    exposure: float | None = 0.0,
    curve: tuple[float, ...] | None = None,
    with_mosaic: bool = True,
) -> Path:
    """Write linear light, ``(H, W, 3)`` in sRGB primaries, as a DNG with a baseline exposure and a tone curve.

    Without a mosaic it has three colours per pixel, as written by converters and some cameras.
    """
    rationals = [int(x * 10**4) for value in XYZ_TO_SRGB for x in (value, 1)]
    pattern: list[Tag] = [
        (33421, _SHORT, 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, _BYTE, 4, bytes([0, 1, 1, 2]), True),  # CFAPattern
    ]
    tags: list[Tag] = [
        (50706, _BYTE, 4, bytes([1, 4, 0, 0]), True),  # DNGVersion
        (50707, _BYTE, 4, bytes([1, 1, 0, 0]), True),  # DNGBackwardVersion
        (50708, _ASCII, 0, "Test Camera", True),  # UniqueCameraModel
        (50714, _LONG, 1, BLACK, True),  # BlackLevel
        (50717, _LONG, 1, WHITE, True),  # WhiteLevel
        (50721, _SIGNED, 9, rationals, True),  # ColorMatrix1
        (50728, _RATIONAL, 3, [int(x) for value in NEUTRAL for x in (value * 1000, 1000)], True),  # AsShotNeutral
        (50778, _SHORT, 1, 21, True),  # CalibrationIlluminant1: D65
    ]
    if exposure is not None:
        tags.append((50730, _SIGNED, 1, (int(exposure * 100), 100), True))  # BaselineExposure
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


def with_tags(path: Path, tags: Tree) -> Path:
    """Add tags to the first directory of a DNG, laid out anew behind its pixels; those without values are removed."""
    content = path.read_bytes()
    block = Block(content)
    tree = {**exif.tree_of(block, block.directory(block.first)), **tags}
    return _rewritten(path, content, {tag: value for tag, value in tree.items() if value.count})


def with_preview(path: Path, preview: NDArray[np.uint8]) -> Path:
    """Put a JPEG preview into the first directory of a DNG, and the sensor's values below it, as cameras do."""
    file = io.BytesIO()
    Image.fromarray(preview).save(file, "JPEG", quality=95)
    content = path.read_bytes()
    block = Block(content)
    held = exif.tree_of(block, block.directory(block.first))
    structure = {tag: value for tag, value in held.items() if tag in (*tiff.STRUCTURE, 33421, 33422, 50714, 50717)}
    shown = {tag: value for tag, value in held.items() if tag not in structure}
    height, width = preview.shape[:2]
    numbers = {254: 1, 256: width, 257: height, 259: 7, 262: 6, 273: len(content), 277: 3, 278: height}
    numbers[279] = len(file.getvalue())
    first = {tag: Value(LONG, 1, struct.pack("<I", number)) for tag, number in numbers.items()}
    below = {330: Value(LONG, 1, structure), 258: Value(SHORT, 3, struct.pack("<3H", 8, 8, 8))}
    return _rewritten(path, content + file.getvalue(), {**shown, **first, **below})


def compressed(path: Path) -> Path:
    """Store the sensor's values of a DNG as lossless JPEG."""
    with tifffile.TiffFile(path) as file:
        data = imagecodecs.ljpeg_encode(file.pages.first.asarray(), bitspersample=16)
    content = path.read_bytes()
    block = Block(content)
    numbers = {259: 7, 273: len(content), 279: len(data)}
    tree = exif.tree_of(block, block.directory(block.first))
    changed = {tag: Value(LONG, 1, struct.pack("<I", number)) for tag, number in numbers.items()}
    return _rewritten(path, content + data, {**tree, **changed})


def _rewritten(path: Path, content: bytes, tree: Tree) -> Path:
    layout = Layout("<", len(content) + len(content) % 2)
    place = layout.put(layout.directory(tree))
    parts = (b"II*\0", struct.pack("<I", place), content[8:], bytes(len(content) % 2), layout.area)
    path.write_bytes(b"".join(parts))
    return path
