"""Slicing on CPUs by kernels that numba compiles (the ``fast`` extra); see ``numba_kernels.py``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..image.arrays import Floats
from ..image.colour import LUMINANCE
from ..machine import threads

BLOCK = 2**20  # pixels of a block, where an image has to be copied
NOT_FINITE = 0x7F800000  # a float32 whose bits, without sign, are at least this is infinite or NaN
# numba's simplest thread pool aborts the process when two threads enter it at a time.
_lock = threading.Lock()


def _load_kernels() -> Any:
    """The kernels' module, loaded by path under a name that is the same in all hosts, as numba's cache requires."""
    spec = spec_from_file_location("expcorr_slice_kernels", Path(__file__).with_name("numba_kernels.py"))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_slice_bands = _load_kernels().slice_bands


@contextmanager
def _threads() -> Iterator[None]:
    """Use as many threads as PyTorch may, if it is there; afterwards restore both to what the caller has set."""
    torch = sys.modules.get("torch")
    allowed = torch.get_num_threads() if torch else threads()
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(allowed, before)))
    try:
        yield
    finally:
        numba.set_num_threads(before)
        # Where both share one OpenMP library, starting numba gives PyTorch all cores, in each process of a bulk run.
        if torch and torch.get_num_threads() != allowed:
            torch.set_num_threads(allowed)


def _in_rows(image: Floats) -> tuple[Floats, int, int] | None:
    """An image ``(3, H, W)`` as contiguous rows, where its strides allow this without a copy.

    Returns:
        The rows, the number of rows from colour to colour (0: interleaved), and of values from pixel to pixel.
    """
    _, height, width = image.shape
    if image.dtype != np.float32:
        return None
    if image.flags.c_contiguous:
        return image.reshape(3 * height, width), height, 1
    apart = image.strides[2] // 4
    whole = image.base if isinstance(image.base, np.ndarray) else image
    held = (whole.ctypes.data + whole.nbytes - image.ctypes.data) // 4
    if apart in (3, 4) and image.strides == (4, 4 * apart * width, 4 * apart) and held >= height * width * apart:
        return as_strided(image, (height, apart * width), (4 * apart * width, 4)), 0, apart
    return None


def slice_image(grid: Floats, image: Floats, out: Floats, clamp: bool, part: tuple[int, int] | None = None) -> bool:
    """Slice one image on the CPU.

    Args:
        grid: ``(GH, GW, GD, 3, 4)`` float32.
        image: ``(3, H, W)`` float32; where it is packed (planar or interleaved, with or without alpha between) it is
            not copied, else block by block.
        out: ``(3, H, W)`` float32, written to.
        clamp: limit the result to 0..1.
        part: where these are only some rows of an image: the number of the first, and how many it has.

    Returns:
        Whether all values of ``image`` are finite; if not, ``out`` holds no result.
    """
    rows, width = image.shape[1:]
    first, height = part or (0, rows)
    flat = np.ascontiguousarray(grid.reshape(len(grid), -1))
    weights = tuple(np.float32(weight * (grid.shape[2] - 1)) for weight in LUMINANCE)
    arrays = [_in_rows(image), _in_rows(out)]
    whole = None not in arrays
    step = rows if whole else max(1, BLOCK // width)
    largest = 0
    with _lock, _threads():
        for top in range(0, rows, step):
            block = image[:, top : top + step]
            if not whole:
                block = np.ascontiguousarray(block)
                result = np.empty_like(block)
                arrays = [_in_rows(block), _in_rows(result)]
            (given, planes, apart), (made, made_planes, made_apart) = arrays  # type: ignore[misc]
            size, places = (height, first + top, width, grid.shape[2]), ((planes, made_planes), (apart, made_apart))
            met = _slice_bands(flat, weights, given, made, *places, size, block.shape[1], clamp)
            largest = max(largest, int(met))
            if not whole:
                out[:, top : top + step] = result
    return largest < NOT_FINITE
