"""sRGB and linear light, and the luma of both; of tensors and arrays alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import library_of, like

if TYPE_CHECKING:
    from .arrays import Image

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709
LUMINANCE = (0.25, 0.5, 0.25)  # of the bilateral grid (reference program) and of the statistics: exact in 8 bits


def srgb_to_linear(image: Image) -> Image:
    """sRGB display values to linear light, white at 1 (IEC 61966-2-1), and on above it."""
    light: Image = library_of(image).where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    return light


def linear_to_srgb(light: Image) -> Image:
    """Linear light to sRGB display values, white at 1 (IEC 61966-2-1), and on above it."""
    curve = 1.055 * light.clip(0, None) ** (1 / 2.4) - 0.055
    display: Image = library_of(light).where(light <= 0.0031308, light * 12.92, curve)
    return display


def luma(image: Image) -> Image:
    """Rec. 709 luminance: ``(..., 3, H, W)`` to ``(..., 1, H, W)``."""
    weighted: Any = image * like(np.array(LUMA, np.float32).reshape(3, 1, 1), image)
    found: Image = weighted.sum(-3)[..., None, :, :]
    return found


def luminance(image: Image) -> Image:
    """Grid coordinate of a colour: ``(..., 3, H, W)`` to ``(..., H, W)``, same range."""
    r, g, b = (image[..., channel, :, :] for channel in range(3))
    found: Image = LUMINANCE[0] * r + LUMINANCE[1] * g + LUMINANCE[2] * b
    return found
