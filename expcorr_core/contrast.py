"""Percentile contrast stretch."""

from __future__ import annotations

import torch
from torch import Tensor


def stretch_contrast(image: Tensor, percent: float = 1.0) -> Tensor:
    """Map the darkest and brightest ``percent`` of all values to 0 and 1, linearly, all channels alike.

    Args:
        image: ``(B, C, H, W)``, 0..1.
        percent: share clipped at each end, 0 to below 50.

    Returns:
        The same shape, clamped to 0..1; an image whose two percentiles are equal comes back unchanged.

    Raises:
        ValueError: ``percent`` is out of range.
    """
    if not 0 <= percent < 50:
        raise ValueError(f"percent must be from 0 to below 50, got {percent}")
    values = image.flatten(1).sort(1).values
    last = values.shape[1] - 1
    low, high = (values[:, round(last * share)].view(-1, 1, 1, 1) for share in (percent / 100, 1 - percent / 100))
    return torch.where(high > low, (image - low) / (high - low).clamp_min(1e-12), image).clamp(0, 1)
