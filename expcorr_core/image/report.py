"""A report on a photo's exposure: histogram, lost shadows and highlights, the error in stops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import library_of, single
from .checks import check_image, check_same_shape
from .colour import luma, srgb_to_linear

if TYPE_CHECKING:
    from torch import Tensor

    from .arrays import Image

BLACK, WHITE = 1.5 / 255, 253.5 / 255  # 8-bit values up to 1 and from 254 count as lost
DIM, BRIGHT = 0.05, 0.95  # where soft masks of lost shadows and highlights end
ABOVE = 255.5 / 255  # more than rounding and resizing make of white


def clipped_shadows(image: Image) -> Image:
    """Where all channels are black: ``(B, 3, H, W)``, 0..1, to bool ``(B, H, W)``."""
    black: Image = library_of(image).amax(image, 1) < BLACK
    return black


def clipped_highlights(image: Image) -> Image:
    """Where a channel is clipped to white, not :func:`above_white`: ``(B, 3, H, W)`` to bool ``(B, H, W)``."""
    brightest = library_of(image).amax(image, 1)
    white: Image = (brightest > WHITE) & (brightest <= ABOVE)
    return white


def above_white(image: Tensor) -> Tensor:
    """Where a channel is above 1, light that is still there: ``(B, 3, H, W)`` to bool ``(B, H, W)``."""
    return image.amax(1) > ABOVE


def under_exposed(image: Tensor, up_to: float = DIM) -> Tensor:
    """A soft mask of lost shadows: 1 where they are :func:`clipped_shadows`, fading to 0 towards lighter values.

    Args:
        image: ``(B, 3, H, W)``, 0..1.
        up_to: value of the brightest channel from which on the mask is 0, 0.01..1.

    Returns:
        ``(B, H, W)``, 0..1, in the image's type.

    Raises:
        ValueError: `up_to` is out of range.
    """
    if not 0.01 <= up_to <= 1:
        raise ValueError(f"up_to must be in 0.01..1, got {up_to}")
    return ((up_to - image.amax(1)) / (up_to - BLACK)).clamp(0, 1)


def over_exposed(image: Tensor, start: float = BRIGHT) -> Tensor:
    """A soft mask of lost highlights: 1 where all channels are clipped to white, fading to 0 towards darker values.

    Where only some are clipped, as :func:`clipped_highlights` counts it, the others still hold the details.

    Args:
        image: ``(B, 3, H, W)``; where a channel is :func:`above_white`, the light is still there and the mask is 0.
        start: value of the darkest channel up to which the mask is 0, 0..0.99.

    Returns:
        ``(B, H, W)``, 0..1, in the image's type.

    Raises:
        ValueError: `start` is out of range.
    """
    if not 0 <= start <= 0.99:
        raise ValueError(f"start must be in 0..0.99, got {start}")
    return ((image.amin(1) - start) / (WHITE - start)).clamp(0, 1).where(~above_white(image), 0)


def exposure_error(image: Image, corrected: Image) -> Image:
    """How far photos are from their corrections: the median change of luminance in linear light.

    Args:
        image, corrected: ``(B, 3, H, W)``, 0..1, tensors or arrays. Pixels that are lost in one of
            the two do not count.

    Returns:
        ``(B,)``, stops; positive where the photo is too bright, 0 where no pixel counts.

    Raises:
        ValueError: shapes do not match.
    """
    return _medians(_stops(image, corrected), 0.0)


def exposure_in_words(error: float, within: float, well_exposed: float | None = None) -> str:
    """An :func:`exposure_error` in words, such as ``1.6 stops too dark (97 % sure)``.

    Args:
        error: stops.
        within: so many stops are none.
        well_exposed: probability that the photo is well exposed; None says nothing on how sure that is.
    """
    wrong = abs(error) >= within
    words = f"{abs(error):.1f} stops too {'bright' if error > 0 else 'dark'}" if wrong else "well exposed on the whole"
    if well_exposed is None:
        return words
    sure = 1 - well_exposed if wrong else well_exposed
    return f"{words} ({min(99, round(100 * sure))} % sure)"


def exposure_change(image: Image, corrected: Image) -> Image:
    """By how much photos get brighter or darker in most places: the median amount of the change of luminance.

    Args and errors as in :func:`exposure_error`, which changes in both directions may leave at 0.

    Returns:
        ``(B,)``, stops, 0 and up; infinite where no pixel counts, of which nothing can be said.
    """
    return _medians([abs(found) for found in _stops(image, corrected)], math.inf)


def _medians(photos: list[Image], none: float) -> Image:
    """The lower median of each photo's values, ``(B,)``; ``none`` where there are none."""
    found: Any = []
    for values in photos:
        middle = (len(values) - 1) // 2
        if not len(values):
            found.append(library_of(values).full_like(values.sum(), none))
        elif isinstance(values, np.ndarray):
            found.append(np.partition(values, middle)[middle])
        else:
            found.append(values.median())
    stacked: Image = library_of(photos[0]).stack(found)
    return stacked


def _stops(image: Image, corrected: Image) -> list[Image]:
    """By how many stops each pixel that counts is too bright, photo by photo."""
    check_image(image, arrays=True)
    check_same_shape(corrected, "corrected", image, "image")
    light, wanted = (luma(srgb_to_linear(single(x)))[:, 0] for x in (image, corrected))
    counts = ~(
        clipped_shadows(image) | clipped_highlights(image) | clipped_shadows(corrected) | clipped_highlights(corrected)
    )
    log2 = library_of(image).log2
    return [log2(a[chosen] / b[chosen]) for a, b, chosen in zip(light, wanted, counts, strict=True)]


def histogram(image: Tensor) -> Tensor:
    """How often each 8-bit value occurs in a photo, the mean of its channels.

    Args:
        image: one photo, ``(3, H, W)``, 0..1; values beyond count as black and white.

    Returns:
        ``(256,)`` int64 on the CPU.
    """
    import torch

    counts = [torch.bincount((x.float() * 255).round().clamp(0, 255).byte().flatten(), minlength=256) for x in image]
    return torch.stack(counts).sum(0).cpu() // len(counts)


def histogram_picture(image: Tensor, height: int, width: int) -> Tensor:
    """Histograms of R, G and B as filled curves on black, where two overlap in their mixed colour.

    Args:
        image: one photo, ``(3, H, W)``, 0..1; values beyond count as black and white.
        height, width: of the picture, pixels.

    Returns:
        ``(3, height, width)`` float32, 0..1, on the CPU.
    """
    import torch

    counts = torch.stack([torch.histc(channel.float().cpu().clamp(0, 1), 64, 0, 1) for channel in image]).sqrt()
    counts = torch.nn.functional.interpolate(counts[None], width, mode="linear", align_corners=True)[0]
    heights = counts / counts.amax(1, keepdim=True).clamp_min(1) * height
    rows = torch.arange(height - 1, -1, -1)[:, None]
    return (rows < heights[:, None]) * 0.82
