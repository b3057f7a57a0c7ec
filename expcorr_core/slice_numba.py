"""Slicing on CPUs: one fused pass over the image by all threads, compiled by numba (the ``fast`` extra).

Each row interpolates the grid along y once. Between two grid columns the transform of a pixel is linear along x, so
that short segments of a row are worked on luminance node by luminance node: the loop over their pixels has neither
branches nor gathers, which lets the compiler use vectors; nodes that no pixel of a segment touches are skipped.
"""

from __future__ import annotations

import threading
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from .bilateral_energy import LUMINANCE

SEGMENT = 128  # pixels worked on at a time; their values stay in the first-level cache
BAND = 16  # rows that a thread takes at a time
MOST_THREADS = numba.get_num_threads()  # that numba has been told to use
BLOCK = 2**20  # pixels of a block, where an image has to be copied
RED, GREEN, BLUE = (np.float32(weight) for weight in LUMINANCE)
ZERO, ONE = np.float32(0), np.float32(1)
# Places in a segment's buffer: its colours, luminance and position along x, then the three sums. One buffer at constant
# offsets lets the compiler see that its parts do not overlap.
R, G, B, Z, X, SUM_R, SUM_G, SUM_B = (SEGMENT * part for part in range(8))
NOT_FINITE = 0x7F800000  # bits of a float32, without its sign, from which on it is infinite or NaN
# numba's simplest thread pool ends the process when it is entered by two threads at a time.
_lock = threading.Lock()

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
def _prepare(buffer: Any, bits: Any, count: int, position: Any, scale: Any, top: Any) -> Any:
    """Clamp the colours, find luminances and positions; gives the largest bits, lowest and highest luminance."""
    largest = np.int32(0)
    for i in range(R, B + SEGMENT):
        largest = max(largest, np.int32(bits[i] & np.int32(0x7FFFFFFF)))
    for i in range(count):
        r = min(max(buffer[R + i], ZERO), ONE)
        g = min(max(buffer[G + i], ZERO), ONE)
        b = min(max(buffer[B + i], ZERO), ONE)
        buffer[R + i], buffer[G + i], buffer[B + i] = r, g, b
        buffer[Z + i] = (RED * r + GREEN * g + BLUE * b) * top
        buffer[X + i] = position + scale * np.float32(i)
        buffer[SUM_R + i] = buffer[SUM_G + i] = buffer[SUM_B + i] = ZERO
    lowest = highest = buffer[Z]
    for i in range(count):
        lowest = min(lowest, buffer[Z + i])
        highest = max(highest, buffer[Z + i])
    return largest, lowest, highest


@_compile
def _add_node(buffer: Any, count: int, node: Any, c: Any, d: Any, o: int) -> None:
    """Add what one luminance node gives to each pixel; ``c`` and ``d`` hold coefficients from place ``o`` on."""
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
    grid: Any, depth: int, image: Any, out: Any, planes: Any, aparts: Any, size: Any, rows: Any, clamp: bool
) -> Any:
    """Slice the rows of one band; gives the largest bits that were met.

    ``size`` is the height of the whole image, the number of the first row at hand, and the width.
    """
    height, offset_y, width = size
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
            met, lowest, highest = _prepare(buffer, bits, count, position, np.float32(scale), np.float32(depth - 1))
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
def _slice_bands(
    grid: Any, depth: int, image: Any, out: Any, planes: Any, aparts: Any, size: Any, count: int, clamp: bool
) -> Any:
    bands = (count + BAND - 1) // BAND
    largest = np.zeros(bands, np.int32)
    for band in numba.prange(bands):
        rows = band * BAND, min((band + 1) * BAND, count)
        largest[band] = _slice_rows(grid, depth, image, out, planes, aparts, size, rows, clamp)
    return largest.max()


def _in_rows(image: Tensor) -> tuple[Tensor, int, int] | None:
    """An image ``(3, H, W)`` as contiguous rows, where its strides allow it without a copy.

    Returns:
        The rows, the number of rows from colour to colour (0: interleaved), and the values from pixel to pixel.
    """
    _, height, width = image.shape
    if image.dtype != torch.float32:
        return None
    if image.is_contiguous():
        return image.view(3 * height, width), height, 1
    apart = image.stride(2)
    held = image.untyped_storage().nbytes() // 4 - image.storage_offset()
    if apart in (3, 4) and image.stride() == (1, apart * width, apart) and held >= height * width * apart:
        return image.as_strided((height, apart * width), (apart * width, 1)), 0, apart
    return None


def slice_image(grid: Tensor, image: Tensor, out: Tensor, clamp: bool) -> bool:
    """Slice one image on the CPU.

    Args:
        grid: ``(GH, GW, GD, 3, 4)`` float32.
        image: ``(3, H, W)``, of a floating-point type; packed float32 (planar or interleaved, with or without alpha
            between) is not copied, others block by block.
        out: ``(3, H, W)``, written to.
        clamp: limit the result to 0..1.

    Returns:
        Whether all values of ``image`` are finite; if not, ``out`` holds no result.
    """
    height, width = image.shape[1:]
    flat = grid.reshape(len(grid), -1).contiguous().numpy()
    arrays = [_in_rows(image), _in_rows(out)]
    whole = None not in arrays
    step = height if whole else max(1, BLOCK // width)
    largest = 0
    with _lock:
        numba.set_num_threads(max(1, min(torch.get_num_threads(), MOST_THREADS)))
        for top in range(0, height, step):
            block = image[:, top : top + step]
            if not whole:
                block = block.float().contiguous()
                result = torch.empty_like(block)
                arrays = [_in_rows(block), _in_rows(result)]
            (given, planes, apart), (made, made_planes, made_apart) = arrays  # type: ignore[misc]
            size, places = (height, top, width), ((planes, made_planes), (apart, made_apart))
            met = _slice_bands(flat, grid.shape[2], given.numpy(), made.numpy(), *places, size, block.shape[1], clamp)
            largest = max(largest, int(met))
            if not whole:
                out[:, top : top + step] = result
    return largest < NOT_FINITE
