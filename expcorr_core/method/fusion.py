"""Exposure fusion (Mertens, Kautz & Van Reeth, Pacific Graphics 2007): one picture from several exposures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

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
    saturation = (_square_distance(image, grey) / 3).sqrt()
    exposedness = (_square_distance(image, 0.5) / (-2 * WELL_EXPOSED_SIGMA**2)).exp()
    return contrast * saturation * exposedness + 1e-12


def _square_distance(image: Tensor, centre: Tensor | float) -> Tensor:
    """Of each pixel's colour from a grey, ``(B, 1, H, W)``; channel by channel, in a third of the memory."""
    squares = [(image[:, channel : channel + 1] - centre).square() for channel in range(3)]
    return squares[0].add_(squares[1]).add_(squares[2])


def fuse_exposures(
    images: Sequence[Tensor],
    progress: Callable[[], None] | None = None,
    weights: Sequence[Tensor] | None = None,
) -> Tensor:
    """Fuse exposures of one scene: Laplacian pyramids blended by Gaussian pyramids of the quality.

    Args:
        images: one or more floating-point ``(B, 3, H, W)`` of equal shape, 0..1 (values beyond are clamped).
        progress: called four times per image, after steps that take about the same time.
        weights: how much each image counts beside its quality, ``(B, 1, H, W)``, from 0 up; some image's is above 0 in
            every pixel.

    Returns:
        ``(B, 3, H, W)``, at least float32, clamped to 0..1.

    Raises:
        ValueError: no images, or shapes that differ.
    """
    if not images:
        raise ValueError("exposure fusion needs at least one image")
    if any(image.shape != images[0].shape for image in images):
        raise ValueError(f"exposure fusion needs images of one shape, got {[tuple(i.shape) for i in images]}")
    levels = max(1, min(images[0].shape[2:]).bit_length() - 1)
    dtype = torch.promote_types(images[0].dtype, torch.float32)
    progress = progress or (lambda: None)
    qualities = []
    for number, image in enumerate(images):
        qualities.append(quality(image.to(dtype).clamp(0, 1)))
        if weights:
            qualities[-1].mul_(weights[number])
        progress()
    total = reduce(torch.add, qualities)
    shares = [gaussian_pyramid(value.div_(total), levels) for value in qualities]
    result = torch.empty_like(images[0], dtype=dtype)
    for channel in range(3):  # one by one, in a third of the memory
        fused: list[Tensor] = []
        for image, share in zip(images, shares, strict=True):
            bands = laplacian_pyramid(image[:, channel : channel + 1].to(dtype).clamp(0, 1), levels)
            blended = [band * part for band, part in zip(bands, share, strict=True)]
            fused = [before.add_(band) for before, band in zip(fused, blended, strict=True)] if fused else blended
            progress()
        result[:, channel : channel + 1] = reconstruct(fused)
    return result.clamp_(0, 1)
