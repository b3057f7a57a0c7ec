"""Exposure fusion (Mertens, Kautz & Van Reeth, Pacific Graphics 2007): one picture from several exposures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .pyramid import gaussian_pyramid, laplacian_pyramid, reconstruct

WELL_EXPOSED_SIGMA = 0.2  # width of the well-exposedness curve around 0.5 (Mertens et al., section 3.1)


def quality(image: Tensor) -> Tensor:
    """Product of contrast, saturation and well-exposedness, all exponents 1.

    Args:
        image: ``(B, 3, H, W)``, 0..1.

    Returns:
        ``(B, 1, H, W)``, positive.
    """
    grey = image.mean(1, keepdim=True)
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=image.dtype, device=image.device)
    contrast = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernel[None, None]).abs()
    saturation = image.std(1, keepdim=True, correction=0)
    exposedness = (-((image - 0.5) ** 2) / (2 * WELL_EXPOSED_SIGMA**2)).exp().prod(1, keepdim=True)
    return contrast * saturation * exposedness + 1e-12


def fuse_exposures(images: Sequence[Tensor]) -> Tensor:
    """Fuse exposures of one scene: Laplacian pyramids blended by Gaussian pyramids of the quality.

    Args:
        images: one or more ``(B, 3, H, W)`` of equal shape, 0..1.

    Returns:
        ``(B, 3, H, W)``, clamped to 0..1.

    Raises:
        ValueError: no images, or shapes that differ.
    """
    if not images:
        raise ValueError("exposure fusion needs at least one image")
    if any(image.shape != images[0].shape for image in images):
        raise ValueError(f"exposure fusion needs images of one shape, got {[tuple(i.shape) for i in images]}")
    levels = max(1, min(images[0].shape[2:]).bit_length() - 1)
    weights = torch.stack([quality(image) for image in images])
    weights = weights / weights.sum(0)
    fused: list[Tensor] = []
    for image, weight in zip(images, weights, strict=True):
        blended = [
            band * share
            for band, share in zip(laplacian_pyramid(image, levels), gaussian_pyramid(weight, levels), strict=True)
        ]
        fused = [total + band for total, band in zip(fused, blended, strict=True)] if fused else blended
    return reconstruct(fused).clamp(0, 1)
