"""The bilateral grid on NumPy arrays, for where there is no PyTorch; it slices as :mod:`~expcorr_core.bilateral.grid`.

Slicing is done by numba's kernels where numba is installed, else by NumPy, tile by tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..image.arrays import Floats, lerp
from ..image.checks import NOT_FINITE, check_shape
from ..image.colour import luminance
from ..image.limits import Limits
from ..machine import threads
from .nodes import DEFAULT_SIZE, lower_nodes, runs, strips_of

ROWS, COLUMNS = 32, 256  # of a tile, whose intermediate values stay in a core's cache


class Grid(Protocol):
    """A grid of arrays or of tensors, and what both can do; see :class:`.grid.BilateralGrid`."""

    @property
    def coefficients(self) -> Any:
        """Tensor or array."""

    def blend(self, strength: float) -> Grid:
        """Interpolate between the identity (0) and this grid (1)."""

    def within(self, limits: Limits | None) -> Grid:
        """The same grid with other limits."""

    def slice(self, image: Any) -> Any:
        """The grid applied to images, tensors or arrays."""

    def slice_array(self, image: Floats) -> Floats:
        """The grid applied to an image that is an array, ``(1, 3, H, W)``, 0..1, which may be written over."""

    def strips(self, height: int, most_rows: int) -> Iterator[tuple[int, int, Grid]]:
        """The grid in parts, for images that are not entirely in memory."""


@dataclass(frozen=True, eq=False)  # arrays have no equality that a dataclass could use
class ArrayGrid:
    """Affine colour transforms over (y, x, luminance).

    Attributes:
        coefficients: ``(1, GH, GW, GD, 3, 4)`` float32; the last axis weighs R, G, B and 1.
        limits: what slicing may not do to any pixel; None for no limits.
    """

    coefficients: Floats
    limits: Limits | None = None

    @classmethod
    def identity(cls) -> ArrayGrid:
        """The grid that changes nothing."""
        return cls(np.broadcast_to(np.eye(3, 4, dtype=np.float32), (1, *DEFAULT_SIZE, 3, 4)))

    def blend(self, strength: float) -> ArrayGrid:
        """Interpolate between the identity (0) and this grid (1); slicing is linear in the grid."""
        return replace(self, coefficients=lerp(np.eye(3, 4, dtype=np.float32), self.coefficients, np.float32(strength)))

    def within(self, limits: Limits | None) -> ArrayGrid:
        """The same grid with other limits."""
        return replace(self, limits=limits)

    def slice(self, image: Floats) -> Floats:
        """Apply the grid to an image of any size, in bounded memory.

        Args:
            image: ``(1, 3, H, W)`` float32, 0..1 (values beyond are clamped), any strides.

        Returns:
            An array of the same shape and strides, 0..1.

        Raises:
            ValueError: it has another shape, or a value is not finite.
        """
        check_shape(image, arrays=True)
        if len(image) > 1:
            raise ValueError(f"the grid is for one image, but {len(image)} were given to slice")
        out = np.empty_like(image)
        by_numba = _numba()
        slice_image = by_numba.slice_image if by_numba else slice_by_tiles
        if not slice_image(self.coefficients[0], image[0], out[0], True):
            raise ValueError(NOT_FINITE.format("image"))
        if self.limits:
            self.limits.apply(image, out)
        return out

    slice_array = slice

    def strips(self, height: int, most_rows: int) -> Iterator[tuple[int, int, ArrayGrid]]:
        """The grid in parts, for images that are not entirely in memory; see :meth:`.grid.BilateralGrid.strips`."""
        for top, bottom, node, edges in strips_of(height, self.coefficients.shape[1], most_rows):
            below, above = self.coefficients[:, node], self.coefficients[:, node + 1]
            rows = [lerp(below, above, np.float32(edge)) for edge in edges]
            yield top, bottom, replace(self, coefficients=np.stack(rows, 1))


@cache
def _numba() -> Any:
    """The module that slices by numba's kernels, or None where numba is missing."""
    try:
        from . import slicing_numba
    except (ImportError, RuntimeError):  # RuntimeError: it finds no folder for its cache
        return None
    return slicing_numba


def slice_by_tiles(grid: Floats, image: Floats, out: Floats, clamp: bool) -> bool:
    """Slice one image with NumPy only; arguments and result as in :func:`.slicing_numba.slice_image`."""
    height, width = image.shape[1:]
    (y_node, y_share), (x_node, x_share) = (
        lower_nodes(pixels, nodes) for pixels, nodes in ((height, grid.shape[0]), (width, grid.shape[1]))
    )
    segments = runs(x_node, COLUMNS)

    def slice_rows(top: int) -> bool:
        rows = slice(top, top + ROWS)
        lower, share = y_node[rows], y_share[rows, None, None, None, None].astype(np.float32)
        row_grid = lerp(grid[lower], grid[lower + 1], share)  # (R, GW, GD, 3, 4)
        for node, left, right in segments:
            columns = slice(left, right)
            colours = np.ones((len(lower), 4, right - left), np.float32)
            colours[:, :3] = image[:, rows, columns].transpose(1, 0, 2)
            if not np.isfinite(colours.sum()):
                return False
            colours.clip(0, 1, out=colours)
            value = _slice_tile(row_grid[:, node : node + 2], colours, x_share[columns].astype(np.float32))
            out[:, rows, columns] = value.clip(0, 1, out=value) if clamp else value
        return True

    with ThreadPoolExecutor(threads()) as pool:  # NumPy's loops let other threads run
        return all(pool.map(slice_rows, range(0, height, ROWS)))


def _slice_tile(nodes: Floats, colours: Floats, share: NDArray[np.float32]) -> Floats:
    """Slice one tile that lies between two grid columns; arguments and result as in :mod:`.slicing`."""
    rows, _, columns = colours.shape
    depth = nodes.shape[2]
    levels = luminance(colours[:, :3, None])[:, 0] * np.float32(depth - 1)  # (R, C)
    first = min(int(levels.min()), depth - 2)
    last = max(min(int(levels.max()) + 1, depth - 1), first + 1)
    weights = np.abs(levels[:, None] - np.arange(first, last + 1, dtype=np.float32)[:, None])  # (R, K, C)
    np.maximum(np.subtract(1, weights, out=weights), 0, out=weights)
    features = (weights[:, :, None] * colours[:, None]).reshape(rows, -1, columns)
    matrices = nodes[:, :, first : last + 1].transpose(0, 1, 3, 2, 4).reshape(rows, 6, -1)
    made = (matrices @ features).reshape(rows, 2, 3, columns)
    return lerp(made[:, 0], made[:, 1], share).transpose(1, 0, 2)
