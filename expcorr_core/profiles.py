"""Colour spaces of ICC profiles: to sRGB for the network, and back.

The network knows sRGB. A photo in a wider space keeps its space: only the small pair of pictures between which the
correction is found goes to sRGB and back, so that no colour of the full-size photo is clipped or rounded.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

STEPS = 9  # a side of the colours that tell whether a space is sRGB
NEAR = 2  # of 255: profiles of sRGB itself differ by rounding
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC


@dataclass(frozen=True)
class ColourSpace:
    """The space of an RGB profile, with LittleCMS's transforms from and to sRGB."""

    _to_srgb: Any
    _from_srgb: Any

    def to_srgb(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)``, 0..1, to 8-bit sRGB; colours outside are clipped."""
        return _apply(self._to_srgb, image)

    def from_srgb(self, image: Tensor) -> Tensor:
        """The same back."""
        return _apply(self._from_srgb, image)

    def carry_back(self, before: Tensor, corrected: Tensor) -> Tensor:
        """A correction that was made in sRGB, in this space.

        Args:
            before: photos in this space, ``(B, 3, H, W)``, 0..1.
            corrected: what became of their :meth:`to_srgb`, of the same shape.

        Returns:
            The corrected photos in this space. What lies outside of sRGB keeps its distance from it, so that photos
            that were not changed come back as they were.
        """
        outside = before - self.from_srgb(self.to_srgb(before))
        return (self.from_srgb(corrected) + outside).clamp(0, 1)


def colour_space(profile: bytes | None) -> ColourSpace | None:
    """The space of a profile; None where it is sRGB, not one of RGB, damaged, or not there."""
    if not profile:
        return None
    try:
        own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        if own.profile.xcolor_space.strip() != "RGB":
            return None
        to_srgb, from_srgb = (
            ImageCms.buildTransform(source, target, "RGB", "RGB", _INTENT)
            for source, target in ((own, srgb), (srgb, own))
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # an unusable profile is no reason to refuse the photo
    levels = torch.linspace(0, 1, STEPS)
    colours = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, -1, STEPS)
    space = ColourSpace(to_srgb, from_srgb)
    return space if (space.to_srgb(colours) - colours).abs().max() * 255 > NEAR else None


def _apply(transform: Any, image: Tensor) -> Tensor:
    converted = []
    for photo in image:
        pixels = photo.permute(1, 2, 0).mul(255).round().clamp(0, 255).byte().cpu().numpy()
        result = ImageCms.applyTransform(Image.fromarray(pixels), transform)
        assert result is not None
        converted.append(torch.from_numpy(np.array(result)).permute(2, 0, 1))
    return (torch.stack(converted).float() / 255).to(image.device)
