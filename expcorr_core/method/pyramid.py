"""Gaussian and Laplacian pyramids (Burt & Adelson 1983), for any size and any level count.

Every function takes and returns float tensors of shape ``(B, C, H, W)``, runs on the tensor's own
device and is differentiable. The kernel and the border handling are those of the paper's reference program.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

# Separable 5-tap kernel of the reference program (a = 0.4 in Burt & Adelson's family).
KERNEL = (0.05, 0.25, 0.4, 0.25, 0.05)


def _reduce_axis(x: Tensor, dim: int) -> Tensor:
    """Filter and halve one axis, border mirrored with the edge sample repeated."""
    size = x.shape[dim]
    position = torch.arange(-2, size + 2, device=x.device)
    position = torch.maximum(position, -1 - position)
    padded = x.index_select(dim, torch.minimum(position, 2 * size - 1 - position).clamp_min(0)).movedim(dim, 0)
    taps = [padded[k : k + size : 2] for k in range(5)]
    # Symmetric pairs first: two multiplications fewer, and an exactly symmetric result.
    filtered = (taps[0] + taps[4]).mul_(KERNEL[0])
    filtered.add_(taps[1] + taps[3], alpha=KERNEL[1]).add_(taps[2], alpha=KERNEL[2])
    return filtered.movedim(0, dim)


def _expand_axis(x: Tensor, dim: int, size: int) -> Tensor:
    """Double one axis: zeros between the samples, filter with gain 2, edge replicated; crop to ``size``."""
    count = x.shape[dim]
    index = torch.arange(-1, count + 1, device=x.device).clamp_(0, count - 1)
    padded = x.index_select(dim, index)
    before, centre, after = (padded.narrow(dim, k, count) for k in range(3))
    even = (before + after).mul_(2 * KERNEL[0]).add_(centre, alpha=2 * KERNEL[2])
    odd = (centre + after).mul_(2 * KERNEL[1])
    return torch.stack((even, odd), dim + 1).flatten(dim, dim + 1).narrow(dim, 0, size)


def downsample(x: Tensor) -> Tensor:
    """Filter and keep every second sample (Burt & Adelson's REDUCE).

    Args:
        x: ``(B, C, H, W)``, any range.

    Returns:
        ``(B, C, ceil(H/2), ceil(W/2))``.
    """
    return _reduce_axis(_reduce_axis(x, 2), 3)


def upsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Double the size and filter (Burt & Adelson's EXPAND), then crop to ``size``.

    Args:
        x: ``(B, C, h, w)``, any range.
        size: ``(H, W)`` with ``h == ceil(H/2)`` and ``w == ceil(W/2)``.

    Raises:
        ValueError: ``size`` is not one that :func:`downsample` reduces to ``(h, w)``.
    """
    height, width = size
    if x.shape[2] != (height + 1) // 2 or x.shape[3] != (width + 1) // 2:
        raise ValueError(f"cannot upsample {tuple(x.shape[2:])} to {size}: the sizes are not a factor of two apart")
    return _expand_axis(_expand_axis(x, 2, height), 3, width)


def _check(x: Tensor, levels: int) -> None:
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"a pyramid needs a non-empty tensor of shape (B, C, H, W), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"a pyramid needs a floating-point tensor, got {x.dtype}")
    if levels < 1:
        raise ValueError(f"a pyramid needs at least one level, got {levels}")


def gaussian_pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """The image and its successive reductions, finest first.

    Args:
        x: ``(B, C, H, W)``, any range.
        levels: number of levels, at least 1 (an axis of one pixel stays one pixel).

    Returns:
        ``levels`` tensors; level ``l`` (from 0) is ``(B, C, ceil(H/2^l), ceil(W/2^l))``.
    """
    _check(x, levels)
    pyramid = [x]
    while len(pyramid) < levels:
        pyramid.append(downsample(pyramid[-1]))
    return pyramid


def laplacian_pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """Band-pass levels and the low-pass residual, finest first (paper section 3.2).

    ``X(l) = G(l) - upsample(G(l+1))`` and ``X(n) = G(n)``; :func:`reconstruct` is the exact inverse.

    Args:
        x: ``(B, C, H, W)``, any range.
        levels: number of levels ``n``, at least 1; the last one is the residual.

    Returns:
        ``n`` tensors of the sizes of :func:`gaussian_pyramid`; all but the last are signed.
    """
    gaussian = gaussian_pyramid(x, levels)
    bands = [fine - upsample(coarse, fine.shape[2:]) for fine, coarse in pairwise(gaussian)]
    return [*bands, gaussian[-1]]


def reconstruct(pyramid: Sequence[Tensor]) -> Tensor:
    """Invert :func:`laplacian_pyramid`.

    Args:
        pyramid: bands, finest first, residual last.

    Returns:
        ``(B, C, H, W)`` of the size of the first band; equal to the decomposed image up to rounding.

    Raises:
        ValueError: the pyramid is empty, or its sizes do not match.
    """
    if not pyramid:
        raise ValueError("cannot reconstruct an empty pyramid")
    x = pyramid[-1]
    for band in reversed(pyramid[:-1]):
        x = band + upsample(x, band.shape[2:])
    return x


def scale_bands(pyramid: Sequence[Tensor], gains: Sequence[float]) -> list[Tensor]:
    """Multiply each level by its gain S1..Sn, finest first (paper section 3.4).

    Raises:
        ValueError: the number of gains differs from the number of levels.
    """
    if len(gains) != len(pyramid):
        raise ValueError(f"the pyramid has {len(pyramid)} levels, but {len(gains)} gains were given")
    return [band * gain for band, gain in zip(pyramid, gains, strict=True)]
