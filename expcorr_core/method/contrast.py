"""Percentile contrast stretch, and the input range that the network expects."""

from __future__ import annotations

import torch
from torch import Tensor

RANGE_CLIPPED = 0.1  # percent at each end
LEAST_RANGE = 0.1  # smaller ranges count as this, so that noise does not fill 0..1


def normalise_range(image: Tensor) -> Tensor:
    """Stretch each photo's range to 0..1, as networks with ``normalised`` inputs expect.

    How far a photo's brightest values are below white is the surest sign of how under-exposed it is, but U-Nets
    without global statistics hardly see it. Stretching restores a photo that was darkened by a gain.

    Args:
        image: ``(B, 3, H, W)``, 0..1.

    Returns:
        The same shape, 0..1.
    """
    return stretch_contrast(image, RANGE_CLIPPED, LEAST_RANGE)


def widened(low: Tensor, high: Tensor, least_range: float) -> tuple[Tensor, Tensor]:
    """Ranges within 0..1 that are smaller than ``least_range``, made as large within 0..1; any one shape."""
    lack = (least_range - (high - low)).clamp_min(0)
    low = low - lack * low / (1 - (high - low)).clamp_min(1e-12)
    return low, torch.maximum(high, low + least_range)


def stretch_contrast(image: Tensor, percent: float = 1.0, least_range: float = 0.0) -> Tensor:
    """Map the darkest and brightest ``percent`` of all values to 0 and 1, linearly, all channels alike.

    Args:
        image: ``(B, C, H, W)``, 0..1.
        percent: share clipped at each end, 0 to below 50.
        least_range: a smaller distance between the two percentiles is widened to this, within 0..1.

    Returns:
        The same shape, clamped to 0..1; an image whose two percentiles are equal comes back unchanged.

    Raises:
        ValueError: ``percent`` is out of range.
    """
    if not 0 <= percent < 50:
        raise ValueError(f"percent must be from 0 to below 50, got {percent}")
    values = image.flatten(1)
    last = values.shape[1] - 1
    clipped = (last * round(percent * 1e6) + 10**8 // 2) // 10**8  # in integers, which can also be exported
    low, high = (values.kthvalue(k, 1).values.view(-1, 1, 1, 1) for k in (1 + clipped, 1 + last - clipped))
    low, high = widened(low, high, least_range)
    return torch.where(high > low, (image - low) / (high - low).clamp_min(1e-12), image).clamp(0, 1)
