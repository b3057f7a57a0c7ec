"""Gain maps: the small picture with which an HDR screen brightens a photo, re-derived for the corrected photo.

With the photo S in linear light and the map's gain g in stops, the HDR rendition is ``(S + offset_sdr) * 2**g -
offset_hdr``. Where the correction multiplies S by a ratio, the rendition follows by the same ratio if g stays. Towards
white that is not enough: the corrected photo ends at 1, so that the ratio says little there. From there on the
rendition follows the ratio of the mid-tones. But it never becomes darker than the corrected photo unless it was darker
before, and g never exceeds what the file was made for.

Maps are read and written with Adobe's XMP properties (``hdrgm``), which Ultra HDR files have, and with the binary form
of ISO 21496-1.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..image.arrays import Floats
from ..image.colour import luminance, srgb_to_linear
from . import xmp

APPLE = b"http://ns.apple.com/HDRGainMap/"
SPACE = "http://ns.adobe.com/hdr-gain-map/1.0/"
ISO = b"urn:iso:std:iso:ts:21496:-1\0"
Three = tuple[float, float, float]
Rows = Callable[[slice], Floats]
_MULTICHANNEL, _BASE_SPACE, _FROM_HDR, _COMMON = 0x80, 0x40, 0x04, 0x08  # ISO's flags
_PARTS = 10**6  # denominator of ISO's fractions
_LARGEST = 100.0  # of any number: larger ones are damage
_LEAST_RANGE = 0.001  # stops
_NEAR_BLACK = 1 / 64  # light that is added before ratios are taken: near black they say nothing
_HIGHLIGHTS = (0.2, 1.0)  # HDR light between which the ratio of the mid-tones takes over
_STRIP = 2**18  # pixels of a map that are computed at once: as floating-point numbers, large maps take much memory
_QUALITY = 95
_MOST_PIXELS, _MOST_RATIO = 2**22, 1000  # a map that claims more pixels, and more per byte, is damaged


class GainMapError(ValueError):
    """A gain map cannot be used; the message follows "the gain map"."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How values of a map become gains. Gains are in stops.

    Attributes:
        lowest, highest: the gain where the map is 0 and where it is 1, for each channel.
        gamma: exponent of the map's values.
        offset_sdr, offset_hdr: light that is added to the photo and subtracted from the HDR rendition.
        capacity: stops by which a screen must exceed white for no gain and for the whole gain.
        base_space: whether the gains are for the photo's own primaries, not those of the map's profile.
    """

    lowest: Three
    highest: Three
    gamma: Three
    offset_sdr: Three
    offset_hdr: Three
    capacity: tuple[float, float]
    base_space: bool = True

    def __post_init__(self) -> None:
        numbers = [*self.lowest, *self.highest, *self.gamma, *self.offset_sdr, *self.offset_hdr, *self.capacity]
        ascending = all(low <= high for low, high in zip(self.lowest, self.highest, strict=True))
        # Not abs(x) > _LARGEST, which NaN passes.
        if not all(abs(number) <= _LARGEST for number in numbers) or not ascending or min(self.gamma) <= 0.01:
            raise GainMapError("which is damaged")
        if min(*self.offset_sdr, *self.offset_hdr, self.capacity[0]) < 0 or self.capacity[0] == self.capacity[1]:
            raise GainMapError("which is damaged")
        if self.capacity[0] > self.capacity[1]:
            raise GainMapError("which leads from HDR to SDR")

    @property
    def alike(self) -> bool:
        """Whether all channels have the same numbers."""
        return all(len(set(three)) == 1 for three in self._channels)

    @property
    def _channels(self) -> tuple[Three, ...]:
        return (self.lowest, self.highest, self.gamma, self.offset_sdr, self.offset_hdr)

    @classmethod
    def of_xmp(cls, packet: bytes) -> Recipe | None:
        """The recipe in a map's XMP; None if there is none. GainMapError if it is damaged or of another kind."""
        found = xmp.properties(packet, SPACE)
        if "GainMapMax" not in found:
            return None
        if found.get("BaseRenditionIsHDR", [""])[0].lower() == "true":
            raise GainMapError("which leads from HDR to SDR")

        def three(name: str, default: float) -> Three:
            values = [float(value) for value in found.get(name, [str(default)])]
            first, second, third = values * 3 if len(values) == 1 else values
            return first, second, third

        try:
            highest = three("GainMapMax", 1)
            return cls(
                lowest=three("GainMapMin", 0),
                highest=highest,
                gamma=three("Gamma", 1),
                offset_sdr=three("OffsetSDR", 1 / 64),
                offset_hdr=three("OffsetHDR", 1 / 64),
                capacity=(three("HDRCapacityMin", 0)[0], three("HDRCapacityMax", max(highest))[0]),
            )
        except GainMapError:
            raise
        except ValueError as error:
            raise GainMapError("which is damaged") from error

    @classmethod
    def of_iso(cls, data: bytes) -> Recipe:
        """The recipe in ISO 21496-1's form, without its name; GainMapError if it is damaged or of another kind."""
        try:
            least, _, flags = struct.unpack_from(">HHB", data)
            if least:
                raise GainMapError("which is of a newer kind")
            if flags & _FROM_HDR:
                raise GainMapError("which leads from HDR to SDR")
            channels = 3 if flags & _MULTICHANNEL else 1
            signs = "II" + "iiIii" * channels
            if flags & _COMMON:
                below, *above = struct.unpack_from(f">I{signs}", data, 5)
                numbers = [value / below for value in above]
            else:
                pairs = struct.unpack_from(">" + "".join(f"{sign}I" for sign in signs), data, 5)
                numbers = [value / below for value, below in zip(pairs[::2], pairs[1::2], strict=True)]
        except (struct.error, ZeroDivisionError) as error:
            raise GainMapError("which is damaged") from error
        rows = [numbers[at : at + 5] for at in range(2, len(numbers), 5)] * (4 - channels)
        lowest, highest, gamma, base, other = zip(*rows[:3], strict=True)
        return cls(
            lowest=lowest,
            highest=highest,
            gamma=gamma,
            offset_sdr=base,
            offset_hdr=other,
            capacity=(numbers[0], numbers[1]),
            base_space=bool(flags & _BASE_SPACE),
        )

    def to_xmp(self) -> bytes:
        """An XMP packet for the map's file."""
        names = ("GainMapMin", "GainMapMax", "Gamma", "OffsetSDR", "OffsetHDR")
        single, several = "", ""
        for name, three in zip(names, self._channels, strict=True):
            if len(set(three)) == 1:
                single += f' hdrgm:{name}="{three[0]:.6f}"'
            else:
                items = "".join(f"<rdf:li>{value:.6f}</rdf:li>" for value in three)
                several += f"<hdrgm:{name}><rdf:Seq>{items}</rdf:Seq></hdrgm:{name}>"
        for name, value in zip(("HDRCapacityMin", "HDRCapacityMax"), self.capacity, strict=True):
            single += f' hdrgm:{name}="{value:.6f}"'
        return xmp.packet_of(
            f'xmlns:hdrgm="{SPACE}" hdrgm:Version="1.0" hdrgm:BaseRenditionIsHDR="False"{single}', several
        )

    def to_iso(self) -> bytes:
        """ISO 21496-1's form, without its name."""
        several = not self.alike
        flags = several * _MULTICHANNEL | self.base_space * _BASE_SPACE
        numbers = [*self.capacity]
        for channel in range(3 if several else 1):
            numbers += [three[channel] for three in self._channels]
        return struct.pack(">HHB", 0, 0, flags) + b"".join(
            struct.pack(">iI", round(number * _PARTS), _PARTS) for number in numbers
        )


@dataclass(frozen=True, kw_only=True)
class GainMap:
    """The gain map of a JPEG file.

    Attributes:
        picture: JPEG file of the map's values, without metadata; grey or RGB, of any size.
        recipe: what its values mean.
        icc_profile: of the map; its primaries are those of the gains where the recipe says so.
        in_xmp, in_iso: which forms of the recipe the file has.
    """

    picture: bytes
    recipe: Recipe
    icc_profile: bytes = b""
    in_xmp: bool = True
    in_iso: bool = False

    @classmethod
    def of(cls, picture: bytes, packet: bytes, iso: bytes, icc_profile: bytes) -> GainMap | None:
        """The map in a further picture of a file; None if it is another picture.

        Args:
            picture: the picture, without metadata.
            packet: its XMP.
            iso: its metadata in ISO 21496-1's form.
            icc_profile: its profile.

        Raises:
            GainMapError: the map is damaged, or of a kind that is not supported.
        """
        if APPLE in packet:
            raise GainMapError("which is in Apple's form")
        in_xmp = Recipe.of_xmp(packet)
        recipe = Recipe.of_iso(iso) if iso else in_xmp
        if recipe is None:
            return None
        found = cls(picture=picture, recipe=recipe, icc_profile=icc_profile, in_xmp=bool(in_xmp), in_iso=bool(iso))
        found.values()
        return found

    def values(self) -> NDArray[np.uint8]:
        """``(H, W)`` or ``(H, W, 3)``; GainMapError if they cannot be decoded."""
        try:
            with Image.open(io.BytesIO(self.picture), formats=["JPEG"]) as image:
                if image.width * image.height > max(_MOST_PIXELS, _MOST_RATIO * len(self.picture)):
                    raise GainMapError("which is damaged")
                return np.array(image if image.mode == "L" else image.convert("RGB"))
        except Exception as error:  # damaged files make decoders raise almost anything
            raise GainMapError("which is damaged") from error

    def gains(self) -> Floats:
        """The gains in stops, ``(C, H, W)`` float32: one channel for all colours, or three."""
        return self._gains_of(self.values())

    def _gains_of(self, values: NDArray[np.uint8]) -> Floats:
        low, high, gamma = (_spread(three)[..., 0] for three in self.recipe._channels[:3])
        steps = low + (high - low) * (np.arange(256, dtype=np.float32) / 255) ** (1 / gamma)  # (1 or 3, 256)
        channels = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        count = max(len(steps), len(channels))
        return np.stack([steps[c % len(steps)][channels[c % len(channels)]] for c in range(count)])

    def turned(self, turn: Callable[[NDArray[Any]], NDArray[Any]]) -> GainMap:
        """The map, turned as the photo is."""
        return replace(self, picture=_encoded(np.ascontiguousarray(turn(self.values()))))

    def corrected(self, height: int, before: Rows, after: Rows) -> GainMap:
        """The map for the corrected photo; this one if the photo is unchanged.

        Args:
            height: rows of the photo.
            before: gives rows of the photo, ``(1, 3, rows, W)``, 0..1, with sRGB's tone curve.
            after: gives rows of the corrected photo.
        """
        values, recipe = self.values(), self.recipe
        size = values.shape[0], values.shape[1]
        shown, result = (_reduced(height, rows, size) for rows in (before, after))
        if np.array_equal(shown, result):
            return self
        strips = _strips(*size)
        total, weight = 0.0, 1e-12
        for rows in strips:
            middle = np.square(shown[rows] * (1 - shown[rows]))
            total += float((middle * _ratio(shown[rows], result[rows])).sum())
            weight += float(middle.sum())
        most = max(*recipe.highest, recipe.capacity[1])
        sdr, hdr = (sum(three) / 3 for three in (recipe.offset_sdr, recipe.offset_hdr))

        def changed(rows: slice) -> Floats:
            gains = self._gains_of(values[rows])
            light = (srgb_to_linear(shown[rows]) + sdr) * np.exp2(gains.mean(0)) - hdr
            step = ((light - _HIGHLIGHTS[0]) / (_HIGHLIGHTS[1] - _HIGHLIGHTS[0])).clip(0, 1)
            more = step * step * (3 - 2 * step) * (total / weight - _ratio(shown[rows], result[rows]))
            found: Floats = np.maximum(gains + more, np.minimum(gains, 0)).clip(None, most)
            return found

        limits = [(part.min((1, 2)), part.max((1, 2))) for part in map(changed, strips)]
        lowest, highest = np.min([low for low, _ in limits], 0), np.max([high for _, high in limits], 0)
        if recipe.alike:
            lowest, highest = lowest.min(keepdims=True), highest.max(keepdims=True)
        ends = _three(lowest), _three(np.maximum(highest, lowest + np.float32(_LEAST_RANGE)))
        low, high, gamma = map(_spread, (*ends, recipe.gamma))
        parts = [
            ((((changed(rows) - low) / (high - low)).clip(0, 1) ** gamma) * 255).round().astype(np.uint8)
            for rows in strips
        ]
        joined = np.concatenate(parts, 1)
        channels = joined[0] if len(joined) == 1 else np.ascontiguousarray(joined.transpose(1, 2, 0))
        return replace(self, picture=_encoded(channels), recipe=replace(recipe, lowest=ends[0], highest=ends[1]))


def _strips(height: int, width: int) -> list[slice]:
    """Rows of a map that are computed at once."""
    rows = max(1, _STRIP // width)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _reduced(height: int, image: Rows, size: tuple[int, int]) -> Floats:
    """The luminance of an image at a map's size, ``(H, W)`` float32, 0..1, strip by strip."""
    parts = []
    for strip in _strips(*size):
        seen = slice(strip.start * height // size[0], -(-strip.stop * height // size[0]))
        shown = luminance(image(seen))[0]
        parts.append(_means(_means(shown, strip.stop - strip.start, 0), size[1], 1))
    return np.concatenate(parts).clip(0, 1)


def _means(values: Floats, count: int, axis: int) -> Floats:
    """The means of so many parts of an axis, which cover it; parts that do not end at a pixel share it."""
    length, parts = values.shape[axis], np.arange(count)
    starts, ends = parts * length // count, -(-(parts + 1) * length // count)
    bounds = np.stack((starts, ends), 1).ravel()[:-1]  # the last part goes on to the end
    sums = np.add.reduceat(values, bounds, axis).take(np.arange(0, 2 * count, 2), axis)
    widths = (ends - starts).astype(np.float32)
    return np.asarray(sums / (widths if axis else widths[:, None]))


def _ratio(shown: Floats, result: Floats) -> Floats:
    """Stops by which a correction brightens, from display values."""
    before, after = (srgb_to_linear(values) + np.float32(_NEAR_BLACK) for values in (shown, result))
    stops: Floats = np.log2(after / before)
    return stops


def _three(limit: Floats) -> Three:
    """A number for each channel, rounded as files store it."""
    values = [round(float(value), 6) for value in limit]
    first, second, third = values * 3 if len(values) == 1 else values
    return first, second, third


def _spread(three: Three) -> Floats:
    """A number for each channel, or one for all if they are alike, to combine with ``(C, H, W)``."""
    return np.array(three[:1] if len(set(three)) == 1 else three, np.float32)[:, None, None]


def _encoded(values: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()
