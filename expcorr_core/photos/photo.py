"""A decoded photo: pixels with everything that is kept when they are written."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..image.arrays import Floats, array_of, tensor_of
from .icc import ColourSpace, Tone, colour_space
from .metadata import Metadata

if TYPE_CHECKING:
    from torch import Tensor

    from ..image.arrays import AnyImage

_STRIP = 2**16  # pixels that are rounded at once: their values stay in the cache


@dataclass(frozen=True, eq=False)  # arrays have no equality that a dataclass could use
class Photo:
    """A decoded photo, upright.

    Attributes:
        pixels: ``(H, W, 3)``, uint8 or uint16, RGB as the file has it.
        alpha: ``(H, W)`` of the same type, or None.
        grey: the file had no colour; it is written without colour again.
        metadata: metadata to keep when the photo is written.
        tone: tone curve of ``pixels``; None for that of sRGB.
        lossless: the file was lossless WebP or JPEG XL; it is written losslessly again.
        bits: bits per channel of the file, 9 to 15, where ``pixels`` have more: it is written with as many again.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    grey: bool = False
    metadata: Metadata = field(default_factory=Metadata)
    _: KW_ONLY
    tone: Tone | None = None
    lossless: bool = False
    bits: int = 0

    @property
    def deep(self) -> bool:
        """Whether there are 16 bits per channel."""
        return self.pixels.dtype == np.uint16

    @property
    def space(self) -> ColourSpace | None:
        """Colour space of :meth:`to_array`; None for sRGB."""
        return colour_space(self.metadata.icc_profile, self.tone is not None)

    def eight_bit(self) -> NDArray[np.uint8]:
        """The pixels, rounded to 8 bits where there are more."""
        return to_eight_bit(self.pixels)

    def to_array(self) -> Floats:
        """``(1, 3, H, W)`` float32, 0..1, with sRGB's tone curve; in memory pixel by pixel."""
        return to_display(self.pixels, self.tone)

    def to_tensor(self) -> Tensor:
        """What :meth:`to_array` returns, as a tensor."""
        return tensor_of(self.to_array())

    def with_array(self, image: Floats) -> Photo:
        """The same photo with other pixels, rounded to its own depth, and its gain map adapted to them.

        Args:
            image: ``(1, 3, H, W)`` float32, 0..1, with sRGB's tone curve.
        """
        metadata = self.metadata
        if metadata.gain_map:
            changed = metadata.gain_map.corrected(
                len(self.pixels),
                lambda rows: replace(self, pixels=self.pixels[rows]).to_array(),
                lambda rows: image[:, :, rows],
            )
            metadata = replace(metadata, gain_map=changed)
        if self.tone:
            numbers = self.tone.numbers(image[0].transpose(1, 2, 0).clip(0, 1))
            return replace(self, pixels=numbers.round().astype(self.pixels.dtype), metadata=metadata)
        return replace(self, pixels=_quantise(image, self.pixels.dtype), metadata=metadata)

    def with_tensor(self, image: Tensor) -> Photo:
        """The same as :meth:`with_array`, of a tensor on the CPU, of any floating-point type."""
        return self.with_array(array_of(image))

    def with_metadata(self, kept: str) -> Photo:
        """The same photo with ``all`` metadata, all but locations (``no-gps``), or ``none``: :meth:`.Metadata.kept`."""
        return replace(self, metadata=self.metadata.kept(kept))

    @classmethod
    def from_tensor(cls, image: AnyImage, **fields: Any) -> Photo:
        """A new 8-bit photo.

        Args:
            image: ``(1, 3, H, W)``, 0..1, a tensor on the CPU or an array.
            fields: further attributes.
        """
        return cls(_quantise(array_of(image), np.dtype(np.uint8)), **fields)


def to_display(pixels: NDArray[Any], tone: Tone | None) -> Floats:
    """Pixels ``(H, W, 3)`` with a tone curve as ``(1, 3, H, W)`` float32, 0..1, with sRGB's."""
    if tone:
        return tone.display(pixels).transpose(2, 0, 1)[None]
    scale = np.float32(1 / np.iinfo(pixels.dtype).max)
    values: Floats = np.multiply(pixels, scale, dtype=np.float32)
    return values.transpose(2, 0, 1)[None]


def _quantise(image: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """``(1, 3, H, W)``, 0..1, to ``(H, W, 3)`` integers, rounded."""
    peak, values = np.float32(np.iinfo(dtype).max), image[0].transpose(1, 2, 0)
    pixels = np.empty(values.shape, dtype)
    rows = max(1, _STRIP // max(1, values.shape[1]))
    for top in range(0, len(values), rows):
        part = values[top : top + rows] * peak
        np.clip(np.rint(part, out=part), 0, peak, out=part)
        pixels[top : top + rows] = part
    return pixels


def to_eight_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Rounded to 8 bits, where there are 16."""
    return (values / 257).round().astype(np.uint8) if values.dtype == np.uint16 else values


def divided(photo: Photo) -> Photo:
    """Undo the multiplication of a photo's colours by alpha."""
    if photo.alpha is None:
        return photo
    peak = np.iinfo(photo.pixels.dtype).max
    scale = peak / np.maximum(photo.alpha, 1)[..., None]
    return replace(photo, pixels=(photo.pixels * scale).round().clip(0, peak).astype(photo.pixels.dtype))
