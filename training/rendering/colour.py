"""Colour management with ICC profiles, through LittleCMS (imagecodecs), at 16 bits."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

from expcorr_core.photos.reading import ImageError

from .extras import extra

# ROMM RGB (ISO 22028-2): white (D50) and primaries, CIE xy; without the linear toe, as in the profile in common use.
ROMM_WHITE = (0.3457, 0.3585)
ROMM_PRIMARIES = (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
ROMM_GAMMA = 1.8


@functools.cache
def prophoto_profile() -> bytes:
    """An ICC profile of ProPhoto RGB."""
    profile: bytes = extra("imagecodecs").cms_profile(
        "rgb", whitepoint=ROMM_WHITE, primaries=ROMM_PRIMARIES, gamma=ROMM_GAMMA
    )
    return profile


def to_prophoto(light: NDArray[np.float32], profile: bytes | None = None) -> NDArray[np.float32]:
    """Linear light in the primaries of an ICC profile (without one: of sRGB) to linear ProPhoto RGB; ``(..., 3)``."""
    # The profiles' colorants refer to the same space, CIE XYZ under D50.
    own, wide = (_colorants(p) for p in (profile or extra("imagecodecs").cms_profile("srgb"), prophoto_profile()))
    return light @ np.linalg.solve(wide, own).T.astype(np.float32)


def _colorants(profile: bytes) -> NDArray[np.float64]:
    """CIE XYZ (D50) of a profile's red, green and blue, in columns."""
    core = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    colorants = (core.red_colorant, core.green_colorant, core.blue_colorant)
    return np.array([colorant[0] for colorant in colorants if colorant]).T


def to_srgb_light(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear ProPhoto RGB to linear sRGB, ``(..., 3)``; colours outside of sRGB are clipped at 0."""
    own, wide = (_colorants(p) for p in (extra("imagecodecs").cms_profile("srgb"), prophoto_profile()))
    converted: NDArray[np.float32] = light @ np.linalg.solve(own, wide).T.astype(np.float32)
    return converted.clip(0)


def luminance(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luminance (CIE Y) of linear ProPhoto RGB; ``(..., 3)`` to ``(...)``."""
    weighted: NDArray[np.float32] = light @ _colorants(prophoto_profile())[1].astype(np.float32)
    return weighted


def to_srgb(pixels: NDArray[Any], profile: bytes | None) -> NDArray[np.uint8]:
    """Convert to 8-bit sRGB, relative colorimetric; colours outside of sRGB are clipped.

    Args:
        pixels: ``(H, W, 3)``, uint8 or uint16.
        profile: ICC profile of the pixels, for RGB or, if the channels are equal, for grey; without one they are
            sRGB already.

    Raises:
        ImageError: the profile is damaged, or for other colour models.
    """
    if profile is None:
        return (pixels / 257).round().astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    cms = extra("imagecodecs")
    grey = profile[16:20] == b"GRAY"
    try:
        converted: NDArray[np.uint8] = cms.cms_transform(
            np.ascontiguousarray(pixels[..., 0] if grey else pixels),
            profile,
            cms.cms_profile("srgb"),
            colorspace="gray" if grey else "rgb",
            outcolorspace="rgb",
            outdtype="uint8",
            intent=cms.CMS.INTENT.RELATIVE_COLORIMETRIC,
            # LittleCMS would use a table of 33 steps for 16-bit pixels: off by up to 28 of 255 in ProPhoto RGB.
            flags=cms.CMS.FLAGS.NOOPTIMIZE,
        )
    except (cms.CmsError, ValueError) as error:
        raise ImageError(f"its ICC profile cannot be used ({error})") from error
    return converted
