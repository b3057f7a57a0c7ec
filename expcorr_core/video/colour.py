"""Colours of videos: matrices, ranges, pixel formats, and which of an encoder's formats loses least of the source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pyav import av

TAGS = ("color_primaries", "color_trc", "colorspace", "color_range")
# Format of unpacked pixels, by (alpha, more than 8 bits). Planar, because FFmpeg gets packed 16 bits wrong.
PIXELS = {(False, False): "gbrp", (True, False): "gbrap", (False, True): "gbrp16le", (True, True): "gbrap16le"}
HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of ITU-T H.273
RGB, UNSPECIFIED, BT709, BT601 = 0, 2, 1, 5  # its matrix coefficients
# Matrices that FFmpeg's scaler does not know, and would take for Rec. 601.
UNKNOWN_MATRICES = {
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "YDzDx",
    12: "chromaticity-derived",
    13: "chromaticity-derived",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
LIMITED, FULL = 1, 2  # FFmpeg's colour ranges
# FFmpeg's scaling methods, with flags that PyAV has no names for: accurate rounding, and full chroma.
BILINEAR, AREA = (way | 0x2000 | 0x4000 | 0x40000 for way in (0x2, 0x20))
HD_HEIGHT = 720  # untagged video of this height or more counts as Rec. 709


@dataclass(frozen=True)
class Layout:
    """What a pixel format can hold.

    Attributes:
        rgb: R'G'B' rather than Y'CbCr or grey.
        depth: bits per sample.
        alpha: whether there is transparency.
        chroma: width and height of the chroma planes as shares of the full size; (0, 0) for grey.
    """

    rgb: bool
    depth: int
    alpha: bool
    chroma: tuple[float, float]

    def __str__(self) -> str:
        names = {(1.0, 1.0): "4:4:4", (0.5, 1.0): "4:2:2", (0.5, 0.5): "4:2:0", (1.0, 0.5): "4:4:0", (0.0, 0.0): "grey"}
        names |= {(0.25, 1.0): "4:1:1", (0.25, 0.25): "4:1:0"}
        colours = "RGB" if self.rgb else names.get(self.chroma, "Y'CbCr")
        return f"{colours}, {self.depth} bits{', transparency' if self.alpha else ''}"


@cache
def layout_of(name: str) -> Layout:
    """The layout of FFmpeg's pixel format of this name."""
    side = 64
    form = av.VideoFormat(name, side, side)
    parts = form.components
    if form.has_palette:
        return Layout(True, 8, True, (1.0, 1.0))
    colours = [part for part in parts if not part.is_alpha]
    chroma = (colours[1].width / side, colours[1].height / side) if len(colours) > 1 else (0.0, 0.0)
    rgb = bool(form.is_rgb) or "xyz" in name or "bayer" in name
    # Some formats have fewer bits for alpha than for colour.
    depth = max(part.bits for part in colours)
    return Layout(rgb, depth, any(part.is_alpha for part in parts), (1.0, 1.0) if rgb else chroma)


def loss(wanted: Layout, name: str) -> tuple[float, ...]:
    """How much a pixel format loses of a layout, as tuples to sort by, most important first."""
    found = layout_of(name)
    coarse = sum(max(0.0, want / max(have, 0.1) - 1) for want, have in zip(wanted.chroma, found.chroma, strict=True))
    return (
        not found.rgb and wanted.chroma != (0.0, 0.0) and found.chroma == (0.0, 0.0),  # colour itself
        max(0, min(wanted.depth, 8) - found.depth),
        wanted.alpha and not found.alpha,
        max(0, wanted.depth - found.depth),
        coarse,
        wanted.rgb != found.rgb,
        found.alpha and not wanted.alpha,
        found.depth > wanted.depth,
        sum(found.chroma) - sum(wanted.chroma),
        found.depth,
        name.startswith("yuvj"),  # the same, with its own range
        "be" in name[-2:],
        name not in ("bgr0", "bgra", "rgb24", "gbrp", "gbrap") and not name.startswith(("yuv", "gray", "gbr")),
    )


def matrix_of(frame: Any, height: int) -> int:
    """The matrix between R'G'B' and Y'CbCr; if the frame does not specify it, by height, as players guess it."""
    if frame.colorspace in (RGB, UNSPECIFIED):
        return BT709 if height >= HD_HEIGHT else BT601
    return int(frame.colorspace)


def range_of(frame: Any) -> int:
    """FFmpeg's colour range; if the frame does not specify it, limited for Y'CbCr and full otherwise."""
    if always_full(frame.format.name):
        return FULL
    return int(frame.color_range) if frame.color_range in (LIMITED, FULL) else LIMITED


def always_full(pixels: str) -> bool:
    """Whether FFmpeg always treats a pixel format as full range: RGB, grey, and JPEG's own."""
    layout = layout_of(pixels)
    return layout.rgb or layout.chroma == (0.0, 0.0) or pixels.startswith("yuvj")


def side_data(frame: Any, *kinds: str) -> dict[str, Any]:
    """A frame's side data of these kinds, by FFmpeg's names."""
    try:
        found = {kind: frame.side_data.get(kind) for kind in kinds}
    except ValueError:  # PyAV before 19 fails on kinds of side data that it does not know, such as EXIF
        return {}
    return {kind: part for kind, part in found.items() if part is not None}


def orientation(frame: Any) -> tuple[int, bool]:
    """How to turn a frame upright: counter-clockwise quarter turns, and whether to flip it vertically first."""
    matrix = side_data(frame, "DISPLAYMATRIX").get("DISPLAYMATRIX")
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32) / (1 << 16) if matrix else (1, 0, 0, 0, 1)
    return round(frame.rotation / 90) % 4, bool(a * d < b * c)


def floats(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Integers as floats from 0 to 1."""
    values: NDArray[np.float32] = np.multiply(pixels, np.float32(1 / np.iinfo(pixels.dtype).max), dtype=np.float32)
    return values
