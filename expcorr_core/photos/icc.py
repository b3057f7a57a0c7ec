"""Colour spaces and tone curves of ICC profiles: to sRGB for the network, and back.

The network expects sRGB. A photo in a wider space keeps its space: only the small pair of images that the correction is
fitted to is converted to sRGB and back, so that no colour of the full-size photo is clipped or rounded. A photo with a
very different tone curve, such as a linear one, gets sRGB's curve as a whole, and its own again at the end, because the
resolution of the correction's grid in luminance follows perception.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ..image.arrays import Floats as Singles
from ..image.arrays import array_of, like
from ..image.colour import linear_to_srgb

if TYPE_CHECKING:
    from ..image.arrays import Image as Images

STEPS = 9  # per axis of the colours that are tested to see whether a space is sRGB
NEAR = 2  # of 255: profiles of sRGB itself differ by rounding
TONE_NEAR = 0.05  # of 1: tone curves that differ less from sRGB's, such as Adobe RGB's, count as sRGB's
_CURVES = {"RGB": (b"rTRC", b"gTRC", b"bTRC"), "GRAY": (b"kTRC",)}
_SRGB_CURVE = b"para" + bytes(4) + struct.pack(
    ">H2x5i", 3, *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)  # fmt: skip
_D65, _C, _P3 = (0.3127, 0.329), (0.31, 0.316), (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
# Spaces by the colour primaries of ITU-T H.273: white, red, green and blue, and their name.
PRIMARIES = {
    1: ((*_D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06), "BT.709"),
    4: ((*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08), "BT.470 System M"),
    5: ((*_D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06), "BT.601 625 lines"),
    6: ((*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07), "BT.601 525 lines"),
    7: ((*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07), "SMPTE 240M"),
    8: ((*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049), "Film"),
    9: ((*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046), "BT.2020"),
    11: ((0.314, 0.351, *_P3), "DCI-P3"),
    12: ((*_D65, *_P3), "Display P3"),
    22: ((*_D65, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077), "EBU Tech. 3213"),
}
_D50 = np.array([0.9642, 1, 0.8249])
Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC


def _matrix_profile(name: str, columns: tuple[tuple[float, float, float], ...], gamma: float) -> bytes:
    """A profile (ICC version 2) of three primaries and one gamma.

    Args:
        name: its description.
        columns: XYZ of white, and of red, green and blue as seen under D50.
        gamma: exponent, rounded to 1/256.
    """
    text = name.encode() + b"\0"
    held = [b"desc" + struct.pack(">4xI", len(text)) + text + bytes(78), b"text" + bytes(4) + b"No copyright\0"]
    held += [b"XYZ " + struct.pack(">4x3i", *(round(value * 65536) for value in column)) for column in columns]
    held += [b"curv" + struct.pack(">4xIH", 1, round(gamma * 256))]
    names = (b"desc", b"cprt", b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")
    table, body, places = b"", b"", []
    for data in held:
        places.append((132 + 12 * len(names) + len(body), len(data)))
        body += data + bytes(-len(data) % 4)
    for tag, place in zip(names, (*places, *places[-1:] * 2), strict=True):
        table += struct.pack(">4sII", tag, *place)
    white = struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))  # of the space between
    head = struct.pack(">8xI4s4s4s12x4s28x", 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp") + white + bytes(48)
    return struct.pack(">I", len(head) + 4 + len(table) + len(body)) + head[4:] + struct.pack(">I", 9) + table + body


# Adobe RGB (1998), specification of May 2005: primaries, adapted from D65 to D50 by Bradford's matrix, and gamma 2.2.
ADOBE_RGB = _matrix_profile(
    "Compatible with Adobe RGB (1998)",
    ((0.95046, 1.0, 1.08906), (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
    2.19921875,
)


@dataclass(frozen=True)
class ColourSpace:
    """The space of an RGB profile, with LittleCMS's transforms from and to sRGB."""

    _to_srgb: Any
    _from_srgb: Any

    def to_srgb(self, image: Images) -> Images:
        """``(B, 3, H, W)``, 0..1, tensors or arrays, to 8-bit sRGB; colours outside it are clipped."""
        return _apply(self._to_srgb, image)

    def from_srgb(self, image: Images) -> Images:
        """The inverse of :meth:`to_srgb`."""
        return _apply(self._from_srgb, image)

    def carry_back(self, before: Images, corrected: Images) -> Images:
        """Convert a correction that was made in sRGB to this space.

        Args:
            before: photos in this space, ``(B, 3, H, W)``, 0..1.
            corrected: their :meth:`to_srgb` after correction, same shape.

        Returns:
            The corrected photos in this space. Colours outside sRGB keep their distance from it, so that photos that
            were not changed come back as they were.
        """
        outside = before - self.from_srgb(self.to_srgb(before))
        found: Images = (self.from_srgb(corrected) + outside).clip(0, 1)
        return found


@dataclass(frozen=True, eq=False)
class Tone:
    """The tone curve of a file's values, where it is not sRGB's.

    Attributes:
        tables: for each channel, the sRGB display value of each possible pixel value; ``(3, 256 or 65536)``, 0..1,
            ascending.
    """

    tables: NDArray[np.float32]

    @classmethod
    def of(cls, curves: tuple[Curve, ...], dtype: np.dtype[Any]) -> Tone | None:
        """The tone of curves from values, 0..1, to light; None where they are close to sRGB's, or do not ascend."""
        numbers = np.linspace(0, 1, np.iinfo(dtype).max + 1)
        light = np.stack([curve(numbers) for curve in (curves * 3)[:3]]).clip(0, 1)
        tables = linear_to_srgb(light)
        if np.abs(tables - numbers).max() < TONE_NEAR or (np.diff(tables) < 0).any() or tables[:, -1].min() < 0.5:
            return None
        return cls(tables.astype(np.float32))

    def display(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixels, ``(..., 3)`` integers, as sRGB display values, 0..1."""
        return np.stack([table[pixels[..., channel]] for channel, table in enumerate(self.tables)], -1)

    def numbers(self, display: NDArray[np.float32]) -> NDArray[np.float32]:
        """Display values, ``(..., 3)``, as the file's values, not rounded."""
        numbers = np.arange(self.tables.shape[1], dtype=np.float32)
        channels = [np.interp(display[..., c], table, numbers) for c, table in enumerate(self.tables)]
        return np.stack(channels, -1).astype(np.float32)


def power(exponent: float) -> Curve:
    """A power curve from values to light."""
    return lambda numbers: numbers**exponent


def _tags_of(profile: bytes) -> dict[bytes, tuple[int, int, int]]:
    """For each tag, the offset of its entry, and the offset and size of its content."""
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = {}
    for place in range(132, 132 + 12 * min(count, 100), 12):
        name, start, size = struct.unpack_from(">4sII", profile, place)
        entries[name] = (place, start, size)
    return entries


def _curve_of(data: bytes) -> Curve:
    """The curve of a tag; ValueError or struct.error if it is damaged or of an unknown kind."""
    if data[:4] == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        if count == 0:
            return power(1)
        if count == 1:
            return power(struct.unpack_from(">H", data, 12)[0] / 256)
        values = np.frombuffer(data, ">u2", count, 12).astype(float) / 65535
        return lambda numbers: np.interp(numbers, np.linspace(0, 1, count), values)
    if data[:4] != b"para":
        raise ValueError("no curve")
    (kind,) = struct.unpack_from(">H", data, 8)
    if kind > 4:
        raise ValueError("no curve")
    given = [value / 65536 for value in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", data, 12)]
    missing = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0][len(given) :]
    g, a, b, c, d, e, f = given + missing
    if kind == 1:
        d = -b / a if a else math.inf
    if kind == 2:
        c, d, e, f = 0, -b / a if a else math.inf, c, c
    return lambda x: np.where(x >= d, (a * x + b).clip(0) ** g + e, c * x + f)


def profile_of(primaries: tuple[float, ...], name: str, exponent: float | None = None) -> bytes:
    """A profile of an RGB space.

    Args:
        primaries: x and y of white, red, green and blue.
        name: to show to users.
        exponent: of the curve from values to light; None for sRGB's curve.
    """
    xyz = np.array([(x / y, 1, (1 - x - y) / y) for x, y in zip(primaries[::2], primaries[1::2], strict=True)]).T
    cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])  # Bradford's
    adapted = np.linalg.inv(cone) @ np.diag(cone @ _D50 / (cone @ xyz[:, 0])) @ cone  # to the white of profiles
    colours = adapted @ xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], xyz[:, 0])

    def numbers(kind: bytes, values: Floats) -> bytes:
        return kind + bytes(4) + struct.pack(f">{values.size}i", *(values.ravel() * 65536).round().astype(int).tolist())

    def text(words: str) -> bytes:
        encoded = words.encode("utf-16-be")
        return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(encoded), 28) + encoded

    curve = _SRGB_CURVE if exponent is None else b"para" + bytes(4) + struct.pack(">H2xi", 0, round(exponent * 65536))
    tags = {
        b"desc": text(name),
        b"cprt": text("CC0"),
        b"wtpt": numbers(b"XYZ ", _D50),
        b"chad": numbers(b"sf32", adapted),
    }
    tags |= {
        mark + b"XYZ": numbers(b"XYZ ", colour) for mark, colour in zip((b"r", b"g", b"b"), colours.T, strict=True)
    }
    tags |= dict.fromkeys(_CURVES["RGB"], curve)
    table, area, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, start + len(area), len(data))
        area += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s28x3i48x", start + len(area), 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"acsp",
                       *(_D50 * 65536).round().astype(int).tolist())  # fmt: skip
    return head + table + area


DISPLAY_P3 = profile_of(*PRIMARIES[12])


def to_display_p3(image: Images, profile: bytes, toned: bool = False) -> Images:
    """Images as a screen of the widest usual space shows them: ``(B, 3, H, W)``, 0..1, to 8-bit Display P3.

    Args:
        image: in the space of a usable RGB profile.
        profile, toned: see :func:`colour_space`.
    """
    own = ImageCms.ImageCmsProfile(io.BytesIO(with_srgb_tone(profile) if toned else profile))
    shown = ImageCms.ImageCmsProfile(io.BytesIO(DISPLAY_P3))
    return _apply(ImageCms.buildTransform(own, shown, "RGB", "RGB", _INTENT), image)


def tone_of(profile: bytes, dtype: np.dtype[Any]) -> Tone | None:
    """The tone of a matrix/curve profile; None if it is close to sRGB's, or the profile is of another kind."""
    try:
        tags = _tags_of(profile)
        names = _CURVES.get(profile[16:20].decode("latin-1").strip(), ())
        if b"A2B0" in tags or not names:
            return None
        curves = tuple(_curve_of(profile[start : start + size]) for _, start, size in map(tags.__getitem__, names))
        return Tone.of(curves, dtype)
    except (ValueError, KeyError, struct.error):
        return None  # an unusable profile is not a reason to refuse the photo


def with_srgb_tone(profile: bytes) -> bytes:
    """A matrix/curve profile with sRGB's curve in place of its own."""
    changed = bytearray(profile)
    for name, (place, _, _) in _tags_of(profile).items():
        if name in _CURVES["RGB"]:
            struct.pack_into(">II", changed, place + 4, len(profile), len(_SRGB_CURVE))
    changed += _SRGB_CURVE
    struct.pack_into(">I", changed, 0, len(changed))
    return bytes(changed)


def is_usable(profile: bytes) -> bool:
    """Whether a profile can be read, and is one of RGB or grey."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return opened.profile.xcolor_space.strip() in ("RGB", "GRAY")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return False


def colour_space(profile: bytes, toned: bool = False) -> ColourSpace | None:
    """The space of a profile; None if it is sRGB, not RGB, damaged, or empty.

    Args:
        profile: ICC profile.
        toned: whether the photo was given sRGB's tone curve instead of the profile's.
    """
    if not profile:
        return None
    try:
        profile = with_srgb_tone(profile) if toned else profile
        own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        if own.profile.xcolor_space.strip() != "RGB":
            return None
        to_srgb, from_srgb = (
            ImageCms.buildTransform(source, target, "RGB", "RGB", _INTENT)
            for source, target in ((own, srgb), (srgb, own))
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, struct.error):
        return None  # an unusable profile is not a reason to refuse the photo
    levels = np.linspace(0, 1, STEPS, dtype=np.float32)
    colours: Singles = np.stack(np.meshgrid(levels, levels, levels, indexing="ij")).reshape(1, 3, -1, STEPS)
    space = ColourSpace(to_srgb, from_srgb)
    return space if np.abs(space.to_srgb(colours) - colours).max() * 255 > NEAR else None


def _apply(transform: Any, image: Images) -> Images:
    converted = []
    for photo in array_of(image):
        pixels = np.ascontiguousarray((photo.transpose(1, 2, 0) * 255).round().clip(0, 255).astype(np.uint8))
        result = ImageCms.applyTransform(Image.fromarray(pixels), transform)
        assert result is not None
        converted.append(np.array(result).transpose(2, 0, 1))
    return like(np.stack(converted).astype(np.float32) / 255, image)
