"""The files beside a result that hold its correction: for other programs, and for later."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..corrections.camera_raw import camera_raw_settings
from ..corrections.grid_file import Correction, write_grid
from ..corrections.lut import Lut
from ..image.resize import reduce_to, sample
from ..photos.icc import ColourSpace, tone_of
from ..photos.metadata import Metadata
from ..photos.photo import Photo
from ..photos.reading import ImageError

if TYPE_CHECKING:
    from ..image.arrays import Floats

ENDINGS = {"cube": ".cube", "hald": "_hald.png", "xmp": ".xmp", "grid": ".safetensors"}  # of names, by kind
COMPARE_SIDE = 1600  # larger side of each half of a before-and-after picture
CONVERTED_SIDE = 512  # height and width of the grid of pixels that are converted to sRGB

Sidecars = tuple[tuple[str, Path], ...]


def sidecars_of(target: Path, kinds: Collection[str]) -> Sidecars:
    """The kinds and names of the files beside a result."""
    return tuple((kind, target.with_name(target.stem + ending)) for kind, ending in ENDINGS.items() if kind in kinds)


def profile_of(icc_profile: bytes, space: ColourSpace | None) -> str:
    """The name of a photo's colour space in a :class:`~..corrections.grid_file.Correction`."""
    return hashlib.sha256(icc_profile).hexdigest() if space else ""


@dataclass(frozen=True, eq=False)
class Corrected:
    """What was done to a photo.

    Attributes:
        before, after: ``(1, 3, H, W)``, 0..1, in its own colour space.
        space: that; None for sRGB.
        correction: the full correction.
    """

    before: Floats
    after: Floats
    space: ColourSpace | None
    correction: Correction

    def in_srgb(self) -> tuple[Floats, Floats]:
        """Before and after in sRGB; some of the pixels, where they had to be converted."""
        if not self.space:
            return self.before, self.after
        size = (min(CONVERTED_SIDE, side) for side in self.before.shape[2:])
        height, width = size
        before, after = (self.space.to_srgb(sample(image, height, width)) for image in (self.before, self.after))
        return before, after


def comparison(before: Photo, after: Photo) -> Photo:
    """Before and after side by side, 8-bit, each at most 1600 pixels."""
    halves = [reduce_to(photo.to_array(), COMPARE_SIDE) for photo in (before, after)]
    height, width = halves[0].shape[2:]
    gap = np.ones((1, 3, height, max(4, width // 100)), np.float32)
    profile = before.metadata.icc_profile
    empty = np.zeros((1, 1, 3), np.uint8)
    base = Photo(empty, grey=before.grey, metadata=Metadata(icc_profile=profile), tone=tone_of(profile, empty.dtype))
    return base.with_array(np.concatenate((halves[0], gap, halves[1]), 3))


def write_sidecar(path: Path, kind: str, name: str, corrected: Corrected, place: Path) -> float | None:
    """Write a sidecar over a file.

    Args:
        path: the file.
        kind: of :data:`ENDINGS`.
        name: of the photo.
        corrected: what was done to it.
        place: where the file will be moved to. Of an XMP sidecar that is there, all but Camera Raw settings is kept.

    Returns:
        How close it comes to the result: PSNR in dB. None for the grid, which is the correction itself.

    Raises:
        ImageError: an existing XMP sidecar is damaged.
        OSError: it cannot be written.
    """
    if kind == "grid":
        write_grid(path, corrected.correction)
        return None
    before, after = corrected.in_srgb()
    if kind == "xmp":
        try:
            content, error = camera_raw_settings(before, after, place.read_bytes() if place.is_file() else b"")
        except ValueError as damaged:
            raise ImageError(f"{place} exists and {damaged}; move it away") from damaged
    else:
        lut = Lut.fit(before, after)
        error = lut.error(before, after)
        said = (f"sRGB in, sRGB out; {error:.1f} dB PSNR from the corrected photo",)
        content = lut.cube(f"expcorr: {name}", said) if kind == "cube" else lut.hald()
    path.write_bytes(content)
    return error
