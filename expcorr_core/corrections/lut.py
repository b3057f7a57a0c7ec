"""A correction as a three-dimensional look-up table (LUT), for programs that know nothing of this one.

A LUT changes equal colours equally, wherever they are. It holds what a correction does to the whole photo; of what it
does to one place only, the mean over all places.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..image.arrays import Floats, array_of, like
from ..image.checks import check_image, check_same_shape
from ..image.resize import sample
from ..photos.png import SIGNATURE, chunk
from .curves import apply_curves, ascending, fit_curves

if TYPE_CHECKING:
    from ..image.arrays import AnyImage, Image

NODES = 33  # along each of red, green and blue
HALD_LEVEL = 8  # a HaldCLUT of 512 x 512 pixels, with 64 values along each of red, green and blue
SIDE = 256  # height and width of the grid of pixels that a table is fitted to
OTHER_SIDE = 219  # and of those that its error is measured on
# Weights, relative to the mean squared error, of the squared differences between neighbouring nodes and of the squared
# distance from the curves: they decide where the photo has no colours.
FLATNESS, NEARNESS = 3e-6, 1e-8
ITERATIONS = 30


@dataclass(frozen=True, eq=False)  # tensors have no equality that a dataclass could use
class Lut:
    """A table of colours; display-referred sRGB before and after.

    Attributes:
        table: ``(N, N, N, 3)`` float32, 0..1, by red, green and blue; a tensor or array, as what it was fitted to.
    """

    table: AnyImage

    @classmethod
    def fit(cls, before: Image, after: Image, nodes: int = NODES) -> Lut:
        """The table that comes closest to a change of a photo, by least squares over its pixels.

        Colours that the photo does not have go on from those that it has: smoothly, towards tone curves that are fitted
        to the whole photo. More red never gives less red, and likewise for green and blue.

        Args:
            before, after: the photo before and after, ``(1, 3, H, W)``, sRGB, 0..1, tensors or arrays; some 65,000
                pixels are used.
            nodes: along each of red, green and blue, at least 2.

        Raises:
            ValueError: the shapes differ, or a value is not finite.
        """
        colours, wanted = pixels_of(before, after, SIDE)
        curves = fit_curves(colours, wanted, nodes).astype(np.float32)
        axes = [curve.reshape([-1 if axis == k else 1 for k in range(3)]) for axis, curve in enumerate(curves)]
        base = np.stack(np.broadcast_arrays(*axes), 3)
        rest = wanted - apply_curves(curves, colours)
        change = _fit_rest(colours, rest, nodes)
        table = base + change.reshape(base.shape)
        table = np.stack([ascending(table[..., axis], axis) for axis in range(3)], 3).clip(0, 1)
        return cls(like(table, before))

    def apply(self, image: Image) -> Image:
        """Images ``(B, 3, H, W)``, 0..1, with their colours changed, by tetrahedral interpolation."""
        colours = array_of(image).transpose(0, 2, 3, 1)
        found = self._changed(colours.reshape(-1, 3)).reshape(colours.shape).transpose(0, 3, 1, 2)
        return found if isinstance(image, np.ndarray) else like(found, image).to(image.dtype)

    def _changed(self, colours: Floats) -> Floats:
        index, weight = _corners(colours, len(self.table))
        found: Floats = (array_of(self.table).reshape(-1, 3)[index] * weight[..., None]).sum(1)
        return found

    def error(self, before: AnyImage, after: AnyImage) -> float:
        """PSNR in dB between this table's result and another, of other pixels than the fit's; 100 where they are equal.

        Args and errors as in :meth:`fit`.
        """
        colours, wanted = pixels_of(before, after, OTHER_SIDE)
        return decibels(self._changed(colours), wanted)

    def cube(self, title: str, comments: Sequence[str] = ()) -> bytes:
        """The content of a ``.cube`` file.

        Args:
            title: what programs may show.
            comments: lines, plain text.
        """
        plain = [re.sub(r"[^ !#-~]", "_", text) for text in (title, *comments)]
        lines = [f'TITLE "{plain[0]}"', *(f"# {comment}" for comment in plain[1:])]
        lines += [f"LUT_3D_SIZE {len(self.table)}", "DOMAIN_MIN 0.0 0.0 0.0", "DOMAIN_MAX 1.0 1.0 1.0"]
        rows = array_of(self.table).transpose(2, 1, 0, 3).reshape(-1, 3).tolist()
        lines += [f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in rows]
        return "\n".join((*lines, "")).encode("ascii")

    def hald(self, level: int = HALD_LEVEL) -> bytes:
        """The content of a HaldCLUT: a PNG file with 16 bits per channel, ``level ** 3`` pixels high and wide."""
        side, values = level**3, np.linspace(0, 1, level**2, dtype=np.float32)
        blue, green, red = np.meshgrid(values, values, values, indexing="ij")
        colours = self._changed(np.stack((red, green, blue), 3).reshape(-1, 3))
        rows = (colours * 65535).round().reshape(side, -1).astype(">u2")
        header = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
        content = b"".join(b"\0" + row.tobytes() for row in rows)
        parts = ((b"IHDR", header), (b"sRGB", b"\0"), (b"IDAT", zlib.compress(content)), (b"IEND", b""))
        return SIGNATURE + b"".join(chunk(*part) for part in parts)


def pixels_of(before: AnyImage, after: AnyImage, side: int) -> tuple[Floats, Floats]:
    """Up to ``side`` x ``side`` pixels of a photo before and after, each ``(P, 3)`` float32.

    Raises:
        ValueError: the shapes differ, or a value is not finite.
    """
    check_same_shape(after, "after", before, "before")
    size = min(side, before.shape[2]), min(side, before.shape[3])
    chosen = [sample(array_of(image), *size) for image in (before, after)]
    check_image(chosen[0], "before", arrays=True)
    check_image(chosen[1], "after", arrays=True)
    first, second = (image.transpose(0, 2, 3, 1).reshape(-1, 3).clip(0, 1) for image in chosen)
    return first, second


def decibels(result: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """PSNR of values in 0..1; at most 100."""
    return min(100.0, -10 * math.log10(max(1e-10, np.square((result - wanted).astype(float)).mean())))


def _corners(colours: Floats, nodes: int) -> tuple[NDArray[np.int64], Floats]:
    """The four nodes of the tetrahedron around each colour ``(P, 3)``: their places in the table and their weights."""
    place = colours.clip(0, 1) * (nodes - 1)
    below = np.floor(place).clip(None, nodes - 2)
    share = place - below
    order = np.argsort(-share, 1)
    strides = np.array((nodes * nodes, nodes, 1))
    steps = np.concatenate(((below.astype(np.int64) @ strides)[:, None], strides[order]), 1)
    edges = np.pad(np.take_along_axis(share, order, 1), ((0, 0), (1, 1)))
    edges[:, 0] = 1
    return steps.cumsum(1), edges[:, :-1] - edges[:, 1:]


def _fit_rest(colours: Floats, rest: Floats, nodes: int) -> Floats:
    """The table ``(N ** 3, 3)`` that comes closest to what the curves leave, by conjugate gradients."""
    index, weight = _corners(colours, nodes)
    flat, count = index.ravel(), nodes**3

    def sums(values: Floats) -> Floats:
        return np.bincount(flat, values.ravel(), count).astype(np.float32)

    def spread(values: Floats) -> Floats:
        return np.stack([sums(channel[:, None] * weight) for channel in values.T], 1)

    def matrix(table: Floats) -> Floats:
        result = spread((table[index] * weight[..., None]).sum(1))
        cube = table.reshape(nodes, nodes, nodes, 3)
        smooth = np.zeros_like(cube)
        for axis in range(3):
            step, along = np.diff(cube, axis=axis), np.moveaxis(smooth, axis, 0)
            along[1:] += np.moveaxis(step, axis, 0)
            along[:-1] -= np.moveaxis(step, axis, 0)
        return (
            np.float32(FLATNESS * len(colours)) * smooth.reshape(-1, 3)
            + np.float32(NEARNESS * len(colours)) * table
            + result
        )

    data = sums(np.square(weight))
    scale: Floats = np.float32(1) / (data + np.float32(len(colours) * (6 * FLATNESS + NEARNESS)))[:, None]
    found = np.zeros((count, 3), np.float32)
    left = spread(rest)
    direction = scale * left
    size = (left * direction).sum(0)
    for _ in range(ITERATIONS):
        moved = matrix(direction)
        step = size / (direction * moved).sum(0).clip(1e-30, None)
        found += step * direction
        left -= step * moved
        scaled = scale * left
        size, before = (left * scaled).sum(0), size
        direction = scaled + size / before.clip(1e-30, None) * direction
    return found
