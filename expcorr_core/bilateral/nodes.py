"""Where pixels lie among the nodes of a bilateral grid; without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

DEFAULT_SIZE = (22, 22, 8)  # cells of a grid along y, x and luminance (reference program)


def lower_nodes(pixels: int, nodes: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Lower node and fraction of each pixel along one axis: coordinate ``(i + 0.5) * (nodes - 1) / pixels``."""
    position = (np.arange(pixels) + 0.5) * (nodes - 1) / pixels
    lower = np.floor(position).clip(0, nodes - 2)
    return lower.astype(np.int64), position - lower


def runs(lower: NDArray[np.int64], longest: int) -> list[tuple[int, int, int]]:
    """Runs of pixels between the same two nodes: (lower node, first pixel, end pixel)."""
    values, starts, counts = np.unique(lower, return_index=True, return_counts=True)  # they ascend
    return [
        (value, first, min(first + longest, start + count))
        for value, start, count in zip(values.tolist(), starts.tolist(), counts.tolist(), strict=True)
        for first in range(start, start + count, longest)
    ]


def strips_of(height: int, nodes: int, most_rows: int) -> Iterator[tuple[int, int, int, tuple[float, float]]]:
    """Strips of an image that each lie between two rows of nodes.

    Args:
        height: rows of the image.
        nodes: rows of nodes.
        most_rows: most rows of a strip; one begins at each multiple of this and at every row of nodes.

    Yields:
        First row and end row, the lower node, and where between it and the next these two are.
    """
    for node, start, end in runs(lower_nodes(height, nodes)[0], height):
        top = start
        while top < end:
            bottom = min(end, (top // most_rows + 1) * most_rows)
            above, below = (edge * (nodes - 1) / height - node for edge in (top, bottom))
            yield top, bottom, node, (above, below)
            top = bottom
