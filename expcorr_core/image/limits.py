"""What a correction may not do to any pixel: change its brightness by too much, or clip what was not clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .arrays import lerp, library_of, single
from .colour import linear_to_srgb, luma, srgb_to_linear

if TYPE_CHECKING:
    from .arrays import Image

UNCLIPPED = 253 / 255  # the brightest value that the reports do not count as clipped
BLOCK = 2**16  # pixels worked on at a time


@dataclass(frozen=True)
class Limits:
    """Limits to a correction, pixel by pixel, so that there are neither edges nor haloes where they begin to hold.

    Attributes:
        max_stops: by how many stops the luminance in linear light may change; None for no limit. Where the result goes
            beyond, it is mixed with the input, in linear light, until it is within.
        keep_highlights: no channel gets brighter than 253/255, or than the pixel's brightest channel where that was
            brighter. So nothing is clipped that was not, and white stays white.
    """

    max_stops: float | None = None
    keep_highlights: bool = True

    @classmethod
    def of(cls, max_stops: float | None, keep_highlights: bool) -> Limits | None:
        """The limits; None where nothing is limited."""
        return cls(max_stops, keep_highlights) if keep_highlights or max_stops is not None else None

    def apply(self, before: Image, after: Image) -> None:
        """Change a correction's result where it goes beyond the limits.

        Args:
            before: images ``(B, 3, H, W)``, tensors or arrays; values beyond 0..1 are clamped.
            after: the same images corrected, 0..1, changed in place.
        """
        rows = max(1, BLOCK // before.shape[3])
        for top in range(0, before.shape[2], rows):
            shown, made = before[:, :, top : top + rows], after[:, :, top : top + rows]
            if self.max_stops is not None or library_of(made).amax(made) > UNCLIPPED:
                if not isinstance(made, np.ndarray) and made.requires_grad:
                    made = made.clone()  # autograd needs what it computes with
                after[:, :, top : top + rows] = self._limited(shown, made)

    def _limited(self, before: Image, after: Image) -> Image:
        library = library_of(after)
        if self.keep_highlights:
            after = library.minimum(after, library.amax(before, 1)[:, None].clip(UNCLIPPED, None))
        if self.max_stops is None:
            return after
        light, made = srgb_to_linear(single(before).clip(0, 1)), srgb_to_linear(single(after))
        was, now = luma(light), luma(made)
        most = 2.0**self.max_stops
        beyond = now - library.clip(now, was / most, was * most)
        if not beyond.any():
            return after
        share = beyond / library.where(beyond == 0, 1.0, now - was)
        mixed = lerp(made, light, share).clip(1e-9, 1)  # at 0 the slope of sRGB's power law is infinite
        shown = linear_to_srgb(mixed)
        if not isinstance(shown, np.ndarray):
            shown = shown.to(after.dtype)
        found: Image = library.where(beyond == 0, after, shown)
        return found
