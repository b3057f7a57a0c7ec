"""Slicing of a bilateral grid by an image, by whichever of three paths is available (Chen et al. 2016).

``numba``: fused and multi-threaded, on CPUs with the ``fast`` extra. ``triton``: fused, on CUDA where Triton is
installed, as it is with PyTorch for Linux. ``torch``: everywhere, differentiable, tile by tile.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..image.arrays import Floats, array_of
from ..image.colour import luminance
from .energy import hat, lower_nodes
from .nodes import runs

NEEDS = {"numba": "numba, from the extra fast", "triton": "Triton, which comes with PyTorch for CUDA"}
# Most rows and columns of a tile on the torch path. Smaller tiles would fit into a core's own cache, but leave each
# operation too little work to share among threads: on two cores they take twice as long.
TILE = {"cpu": (512, 512), "other": (512, 1024)}
_failed: set[str] = set()  # fused paths that can be imported but not run


@cache
def _module(name: str) -> Any:
    """The module of a fused path, or None where what it needs is missing."""
    try:
        if name == "numba":
            from . import slicing_numba

            return slicing_numba
        from . import slicing_triton

        return slicing_triton
    # RuntimeError: numba finds no folder for its cache.
    except (ImportError, RuntimeError):
        return None


def choose_path(grid: Tensor, image: Tensor) -> str:
    """The fastest path that can slice these: ``numba``, ``triton`` or ``torch``."""
    gradients = torch.is_grad_enabled() and (grid.requires_grad or image.requires_grad)
    if gradients or image.dtype == torch.float64:
        return "torch"
    fused = {"cpu": "numba", "cuda": "triton"}.get(image.device.type)
    return fused if fused and fused not in _failed and _module(fused) else "torch"


def slice_image(grid: Tensor, image: Tensor, out: Tensor, clamp: bool, path: str | None = None) -> bool:
    """Apply to each pixel of one image the transform at its position and luminance.

    Args:
        grid: ``(GH, GW, GD, 3, 4)``; float32, or float64 on the torch path.
        image: ``(3, H, W)``, any floating-point type and strides; values beyond 0..1 are clamped.
        out: ``(3, H, W)``, written to.
        clamp: limit the result to 0..1.
        path: ``numba``, ``triton`` or ``torch``; None takes the fastest available, and PyTorch's own where that fails.

    Returns:
        Whether all values of ``image`` are finite; if not, ``out`` holds no result.

    Raises:
        ValueError: the path is not available.
    """
    chosen = path or choose_path(grid, image)
    if chosen == "torch":
        return _slice_by_tiles(grid, image, out, clamp)
    if chosen not in NEEDS:
        raise ValueError(f"path must be torch, {' or '.join(NEEDS)}, got {chosen!r}")
    if not (module := _module(chosen)):
        raise ValueError(f"the {chosen} path needs {NEEDS[chosen]}, which cannot be imported; leave path out")
    try:
        slice_image = _slice_by_numba if chosen == "numba" else module.slice_image
        return bool(slice_image(grid, image, out, clamp))
    except (torch.cuda.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # e.g. no C compiler: what can fail differs from machine to machine
        if path:
            raise
        _failed.add(chosen)
        reason = str(error).partition("\n")[0] or type(error).__name__
        warnings.warn(f"{chosen} cannot slice here ({reason}); using PyTorch instead, which is slower", stacklevel=2)
        return _slice_by_tiles(grid, image, out, clamp)


def _slice_by_numba(grid: Tensor, image: Tensor, out: Tensor, clamp: bool) -> bool:
    """By the kernels for arrays; what is not float32, which these take, block by block."""
    by_numba, values = _module("numba"), grid.detach().numpy()
    if image.dtype == out.dtype == torch.float32:
        return bool(by_numba.slice_image(values, _array(image), _array(out), clamp))
    height, finite = image.shape[1], True
    step = max(1, by_numba.BLOCK // image.shape[2])
    for top in range(0, height, step):
        block = image[:, top : top + step].detach().float().contiguous()
        result = torch.empty_like(block)
        finite &= by_numba.slice_image(values, block.numpy(), result.numpy(), clamp, (top, height))
        out[:, top : top + step] = result
    return finite


def _array(image: Tensor) -> Floats:
    """A tensor ``(3, H, W)`` as an array that knows of a fourth channel between the pixels, if there is one."""
    height, width = image.shape[1:]
    held = image.untyped_storage().nbytes() // 4 - image.storage_offset()
    if image.stride() == (1, 4 * width, 4) and held >= 4 * height * width:
        whole: Floats = image.detach().as_strided((height, width, 4), (4 * width, 4, 1)).numpy()
        return whole[..., :3].transpose(2, 0, 1)
    return array_of(image)


def _slice_by_tiles(grid: Tensor, image: Tensor, out: Tensor, clamp: bool) -> bool:
    height, width = image.shape[1:]
    rows, columns = TILE["cpu" if image.device.type == "cpu" else "other"]
    dtype = torch.promote_types(image.dtype, torch.float32)
    y_node, y_fraction = (t.to(image.device) for t in lower_nodes(height, grid.shape[0], dtype))
    x_node, x_fraction = lower_nodes(width, grid.shape[1], dtype)
    x_fraction = x_fraction.to(image.device)
    segments = runs(x_node.numpy(), columns)
    for top in range(0, height, rows):
        lower = y_node[top : top + rows]
        fraction = y_fraction[top : top + rows, None, None, None, None]
        row_grid = torch.lerp(grid[lower].to(dtype), grid[lower + 1].to(dtype), fraction)  # (R, GW, GD, 3, 4)
        for node, left, right in segments:
            tile = image[:, top : top + rows, left:right].transpose(0, 1)
            colours = torch.ones(len(tile), 4, right - left, dtype=dtype, device=image.device)
            colours[:, :3] = tile
            # NaN and infinity survive a sum, which is cheaper than testing each value.
            if not colours.detach().sum().isfinite():
                return False
            value = _slice_tile(row_grid[:, node : node + 2], colours.clamp_(0, 1), x_fraction[left:right])
            out[:, top : top + rows, left:right] = value.clamp_(0, 1) if clamp else value
    return True


def _slice_tile(nodes: Tensor, colours: Tensor, fraction: Tensor) -> Tensor:
    """Slice one tile that lies between two grid columns.

    Within a tile each row has two constant 3 x (4 GD) matrices, so that slicing is a small matrix product of them
    with the features (luminance weight x colour), and a linear interpolation along x.

    Args:
        nodes: ``(R, 2, GD, 3, 4)``, already interpolated along y.
        colours: ``(R, 4, C)``, 0..1, the last one 1.
        fraction: ``(C,)``, position between the two columns.

    Returns:
        ``(3, R, C)``.
    """
    rows, _, columns = colours.shape
    depth = nodes.shape[2]
    levels = luminance(colours.transpose(0, 1)[:3]) * (depth - 1)
    lowest, highest = levels.detach().aminmax()
    first = min(int(lowest), depth - 2)
    last = max(min(int(highest) + 1, depth - 1), first + 1)
    weights = hat(levels, first, last, dim=1)  # (R, K, C)
    features = (weights[:, :, None] * colours[:, None]).view(rows, -1, columns)
    matrices = nodes[:, :, first : last + 1].permute(0, 1, 3, 2, 4).reshape(rows, 6, -1)
    left, right = torch.bmm(matrices, features).view(rows, 2, 3, columns).unbind(1)
    return torch.lerp(left, right, fraction).transpose(0, 1)
