"""sRGB and linear light, and the luma of both."""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709
LUMINANCE = (0.25, 0.5, 0.25)  # of the bilateral grid (reference program) and of the statistics: exact in 8 bits


def srgb_to_linear(image: Tensor) -> Tensor:
    """sRGB display values to linear light, white at 1 (IEC 61966-2-1), and on above it."""
    return torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: Tensor) -> Tensor:
    """Linear light to sRGB display values, white at 1 (IEC 61966-2-1), and on above it."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp_min(0) ** (1 / 2.4) - 0.055)


def luma(image: Tensor) -> Tensor:
    """Rec. 709 luminance: ``(..., 3, H, W)`` to ``(..., 1, H, W)``."""
    return (image * torch.tensor(LUMA, device=image.device).view(3, 1, 1)).sum(-3, keepdim=True)


def luminance(image: Tensor) -> Tensor:
    """Grid coordinate of a colour: ``(..., 3, H, W)`` to ``(..., H, W)``, same range."""
    r, g, b = image.unbind(-3)
    return LUMINANCE[0] * r + LUMINANCE[1] * g + LUMINANCE[2] * b
