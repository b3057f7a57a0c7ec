"""Kernels that numba compiles: one fused pass over the image by all threads.

Each row interpolates the grid along y once. Between two grid columns the transform of a pixel is linear along x, so
short segments of a row are processed one luminance node at a time: the loop over their pixels has neither branches nor
gathers, so the compiler can vectorise it; nodes that no pixel of a segment touches are skipped.

numba caches compiled code under the module's name. The package has a different name in each host (in ComfyUI it is a
path), so this file is not a part of it: it imports nothing from it and is loaded by its path, under a fixed name.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

SEGMENT = 128  # pixels worked on at a time; their values stay in the first-level cache
BAND = 16  # rows that a thread takes at a time
ZERO, ONE = np.float32(0), np.float32(1)
# Places in a segment's buffer: its colours, luminance and position along x, then the three sums. One buffer at constant
# offsets lets the compiler see that its parts do not overlap.
R, G, B, Z, X, SUM_R, SUM_G, SUM_B = (SEGMENT * part for part in range(8))

_compile: Any = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
_compile_parallel: Any = numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)


@_compile
def _interpolate_row(grid: Any, lower: int, share: Any, row: Any, step: Any, stride: int) -> None:
    """The grid at one image row, and its differences from column to column."""
    for k in range(len(row)):
        row[k] = grid[lower, k] + share * (grid[lower + 1, k] - grid[lower, k])
    for k in range(len(row) - stride):
        step[k] = row[k + stride] - row[k]


@_compile
def _load(first: Any, second: Any, third: Any, apart: int, start: int, count: int, buffer: Any) -> None:
    if apart == 3:  # with a constant the compiler takes three colours apart by shuffles
        for i in range(count):
            buffer[R + i] = first[3 * (start + i)]
            buffer[G + i] = first[3 * (start + i) + 1]
            buffer[B + i] = first[3 * (start + i) + 2]
    else:
        for i in range(count):
            buffer[R + i] = first[apart * (start + i)]
            buffer[G + i] = second[apart * (start + i)]
            buffer[B + i] = third[apart * (start + i)]


@_compile
def _store(first: Any, second: Any, third: Any, apart: int, start: int, count: int, buffer: Any) -> None:
    if apart == 3:
        for i in range(count):
            first[3 * (start + i)] = buffer[SUM_R + i]
            first[3 * (start + i) + 1] = buffer[SUM_G + i]
            first[3 * (start + i) + 2] = buffer[SUM_B + i]
    else:
        for i in range(count):
            first[apart * (start + i)] = buffer[SUM_R + i]
            second[apart * (start + i)] = buffer[SUM_G + i]
            third[apart * (start + i)] = buffer[SUM_B + i]


@_compile
def _prepare(buffer: Any, bits: Any, count: int, position: Any, scale: Any, weights: Any) -> Any:
    """Clamp the colours, find luminances and positions; returns the largest bits, lowest and highest luminance."""
    red, green, blue = weights
    largest = np.int32(0)
    for i in range(R, B + SEGMENT):
        largest = max(largest, np.int32(bits[i] & np.int32(0x7FFFFFFF)))
    for i in range(count):
        r = min(max(buffer[R + i], ZERO), ONE)
        g = min(max(buffer[G + i], ZERO), ONE)
        b = min(max(buffer[B + i], ZERO), ONE)
        buffer[R + i], buffer[G + i], buffer[B + i] = r, g, b
        buffer[Z + i] = red * r + green * g + blue * b
        buffer[X + i] = position + scale * np.float32(i)
        buffer[SUM_R + i] = buffer[SUM_G + i] = buffer[SUM_B + i] = ZERO
    lowest = highest = buffer[Z]
    for i in range(count):
        lowest = min(lowest, buffer[Z + i])
        highest = max(highest, buffer[Z + i])
    return largest, lowest, highest


@_compile
def _add_node(buffer: Any, count: int, node: Any, c: Any, d: Any, o: int) -> None:
    """Add what one luminance node contributes to each pixel; the coefficients in ``c`` and ``d`` start at ``o``."""
    c0, c1, c2, c3, c4, c5 = c[o], c[o + 1], c[o + 2], c[o + 3], c[o + 4], c[o + 5]
    c6, c7, c8, c9, c10, c11 = c[o + 6], c[o + 7], c[o + 8], c[o + 9], c[o + 10], c[o + 11]
    d0, d1, d2, d3, d4, d5 = d[o], d[o + 1], d[o + 2], d[o + 3], d[o + 4], d[o + 5]
    d6, d7, d8, d9, d10, d11 = d[o + 6], d[o + 7], d[o + 8], d[o + 9], d[o + 10], d[o + 11]
    for i in range(count):
        r, g, b, x = buffer[R + i], buffer[G + i], buffer[B + i], buffer[X + i]
        weight = max(ONE - abs(buffer[Z + i] - node), ZERO)
        red = (c0 + x * d0) * r + (c1 + x * d1) * g + (c2 + x * d2) * b + (c3 + x * d3)
        green = (c4 + x * d4) * r + (c5 + x * d5) * g + (c6 + x * d6) * b + (c7 + x * d7)
        blue = (c8 + x * d8) * r + (c9 + x * d9) * g + (c10 + x * d10) * b + (c11 + x * d11)
        buffer[SUM_R + i] += weight * red
        buffer[SUM_G + i] += weight * green
        buffer[SUM_B + i] += weight * blue


@_compile
def _slice_rows(
    grid: Any, weights: Any, image: Any, out: Any, planes: Any, aparts: Any, size: Any, rows: Any, clamp: bool
) -> Any:
    """Slice the rows of one band; returns the largest bits found.

    ``size`` is the height of the whole image, the number of the first row at hand, the width, and the nodes along
    luminance; ``weights`` are those of the colours in a pixel's place among these nodes.
    """
    height, offset_y, width, depth = size
    stride = depth * 12
    columns = grid.shape[1] // stride
    scale = (columns - 1) / np.float64(width)
    row = np.empty(grid.shape[1], np.float32)
    step = np.empty(grid.shape[1] - stride, np.float32)
    buffer = np.zeros(8 * SEGMENT, np.float32)
    bits = buffer.view(np.int32)
    largest = np.int32(0)
    # Colour k of row y begins at image[y + k * plane, k * offset].
    plane, out_plane = planes
    offset, out_offset = (1 if plane == 0 else 0), (1 if out_plane == 0 else 0)
    for y in range(rows[0], rows[1]):
        place = (offset_y + y + 0.5) * (len(grid) - 1) / height
        lower = min(int(place), len(grid) - 2)
        _interpolate_row(grid, lower, np.float32(place - lower), row, step, stride)
        first, second, third = image[y], image[y + plane, offset:], image[y + 2 * plane, 2 * offset :]
        red, green, blue = out[y], out[y + out_plane, out_offset:], out[y + 2 * out_plane, 2 * out_offset :]
        start = 0
        while start < width:
            column = min(int((start + 0.5) * scale), columns - 2)
            # The first pixel whose coordinate reaches the next grid column.
            end = int(np.ceil((column + 1) / scale - 0.5))
            end = width if column == columns - 2 else max(end, start + 1)
            count = min(end - start, SEGMENT, width - start)
            _load(first, second, third, aparts[0], start, count, buffer)
            position = np.float32((start + 0.5) * scale - column)
            met, lowest, highest = _prepare(buffer, bits, count, position, np.float32(scale), weights)
            largest = max(largest, met)
            bottom = max(min(int(lowest), depth - 2), 0)
            top = max(min(int(highest) + 1, depth - 1), bottom + 1)
            for level in range(bottom, top + 1):
                _add_node(buffer, count, np.float32(level), row, step, column * stride + level * 12)
            if clamp:
                for i in range(SUM_R, SUM_B + SEGMENT):
                    buffer[i] = min(max(buffer[i], ZERO), ONE)
            _store(red, green, blue, aparts[1], start, count, buffer)
            start += count
    return largest


@_compile_parallel
def slice_bands(
    grid: Any, weights: Any, image: Any, out: Any, planes: Any, aparts: Any, size: Any, count: int, clamp: bool
) -> Any:
    """Slice ``count`` rows; returns the largest bits found, without signs."""
    bands = (count + BAND - 1) // BAND
    largest = np.zeros(bands, np.int32)
    for band in numba.prange(bands):
        rows = band * BAND, min((band + 1) * BAND, count)
        largest[band] = _slice_rows(grid, weights, image, out, planes, aparts, size, rows, clamp)
    return largest.max()
