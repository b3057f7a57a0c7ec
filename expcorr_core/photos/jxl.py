"""JPEG XL files: the header of the picture, what else there is, and writing a file around an encoded picture.

The encoder knows nothing of colour profiles: it calls everything sRGB. So the profile is put into the header of what it
has coded without loss, where the pixels are the file's own values whatever they mean.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .boxes import boxes
from .png import LINEAR

SIGNATURES = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_SRGB_CURVE, _BT709 = 13, 1
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}  # width to height
_ALPHA, _SPOT, _BLACK, _COLOUR_FILTER = 0, 2, 4, 5  # kinds of extra channels
_GREY, _XYB = 1, 2  # colour spaces
_MOST = 4096  # bytes; headers have some ten
_NAMES = {b"jumb": "content credentials", b"jhgm": "the gain map"}


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its picture.

    Attributes:
        width, height: in pixels, as stored: before turning.
        floats: samples are floating-point numbers.
        orientation: 1 to 8, which decoders apply.
        animated: there may be more than one frame.
        cmyk: there is a channel of black.
        premultiplied: colours are multiplied by alpha.
        lossless: the picture was coded without loss, as far as that can be known: in the file's own colours, and not
            as a JPEG file.
        profile: whether the colours are specified by an ICC profile.
        srgb: whether they are sRGB's, or grey with its curve.
        transfer: transfer characteristic of ITU-T H.273; 0 if an ICC profile or an exponent specifies it.
        xyb: whether it was coded in a space of its own, from which decoders convert.
        left_out: names of what there is beside the picture.
        colours: where the header specifies the colours: first and last bit after the signature.
    """

    width: int
    height: int
    floats: bool
    orientation: int
    animated: bool
    cmyk: bool
    premultiplied: bool
    lossless: bool
    profile: bool
    srgb: bool
    transfer: int
    xyb: bool
    left_out: tuple[str, ...]
    colours: tuple[int, int]


class _Bits:
    """Reads numbers bit by bit, lowest first; ValueError at the end."""

    def __init__(self, content: bytes) -> None:
        self._value, self._count, self.place = int.from_bytes(content, "little"), 8 * len(content), 0

    def take(self, count: int) -> int:
        self.place += count
        if self.place > self._count:
            raise ValueError("its header is cut off")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value

    def flag(self) -> bool:
        return bool(self.take(1))

    def choice(self, *ways: tuple[int, int]) -> int:
        """A number of one of four kinds, each an offset and a count of bits."""
        offset, count = ways[self.take(2)]
        return offset + self.take(count)

    def code(self) -> int:
        return self.choice((0, 0), (1, 0), (2, 4), (18, 6))


def header_of(content: bytes) -> Header:
    """The header of a file. ValueError if it is damaged."""
    if content.startswith(SIGNATURES[0]):
        return _header_of(content[:_MOST], ())
    kinds, start = [], b""
    for kind, first, last in boxes(content, 0, len(content), cut=True):
        kinds.append(content[first : first + 4] if kind == b"brob" else kind)  # compressed boxes name what they hold
        if kind in (b"jxlc", b"jxlp") and not start:
            start = content[first + 4 * (kind == b"jxlp") : last][:_MOST]
    return _header_of(start, tuple(kinds))


def _header_of(start: bytes, kinds: tuple[bytes, ...]) -> Header:
    if not start.startswith(SIGNATURES[0]):
        raise ValueError("its beginning cannot be read")
    bits = _Bits(start[2:])
    width, height = _size(bits)
    orientation, animated, floats, xyb = 1, False, False, True
    channels = list[tuple[int, bool]]()
    icc, srgb, transfer, place = False, True, _SRGB_CURVE, bits.place
    if not bits.flag():
        if bits.flag():
            orientation = 1 + bits.take(3)
            if bits.flag():  # a size to show it at
                _size(bits)
            if bits.flag():
                _skip_preview(bits)
            animated = bits.flag()
            if animated:
                bits.choice((100, 0), (1000, 0), (1, 10), (1, 30))
                bits.choice((1, 0), (1001, 0), (1, 8), (1, 10))
                bits.choice((0, 0), (0, 3), (0, 16), (0, 32))
                bits.flag()
        floats = _floats(bits)
        bits.flag()
        channels = [_channel(bits) for _ in range(bits.choice((0, 0), (1, 0), (2, 4), (1, 12)))]
        xyb = bits.flag()
        place = bits.place
        if not bits.flag():
            icc, srgb, transfer = _colours(bits)
    names = [_NAMES[kind] for kind in kinds if kind in _NAMES]
    names += ["further frames"] if animated else []
    of_channels = [kind for kind, _ in channels]
    names += ["further channels"] if len(channels) > (_ALPHA in of_channels) else []
    return Header(
        width=width,
        height=height,
        floats=floats,
        orientation=orientation,
        animated=animated,
        cmyk=_BLACK in of_channels,
        premultiplied=(_ALPHA, True) in channels,
        lossless=not xyb and b"jbrd" not in kinds,
        profile=icc,
        srgb=srgb,
        transfer=transfer,
        xyb=xyb,
        left_out=tuple(dict.fromkeys(names)),
        colours=(place, bits.place),
    )


def _size(bits: _Bits) -> tuple[int, int]:
    """Width and height."""
    small = bits.flag()

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choice((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    above, below = _RATIOS[ratio]
    return height * above // below, height


def _skip_preview(bits: _Bits) -> None:
    ways = ((16, 0), (32, 0), (1, 5), (33, 9)) if bits.flag() else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.choice(*ways)
    if not bits.take(3):
        bits.choice(*ways)


def _floats(bits: _Bits) -> bool:
    if bits.flag():
        bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
        return True
    bits.choice((8, 0), (10, 0), (12, 0), (1, 6))
    return False


def _channel(bits: _Bits) -> tuple[int, bool]:
    """The kind of an extra channel, and whether colours are multiplied by it."""
    if bits.flag():
        return _ALPHA, False
    kind = bits.code()
    _floats(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    for _ in range(bits.choice((0, 0), (0, 4), (16, 5), (48, 10))):
        bits.take(8)
    multiplied = kind == _ALPHA and bits.flag()
    if kind == _SPOT:
        bits.take(64)
    if kind == _COLOUR_FILTER:
        bits.choice((1, 0), (0, 2), (3, 4), (19, 8))
    return kind, multiplied


def _colours(bits: _Bits) -> tuple[bool, bool, int]:
    """Whether there is an ICC profile, whether the colours are sRGB's, and the transfer characteristic."""
    if bits.flag():
        return True, False, 0
    space = bits.code()
    white, primaries = 1, 1
    if space != _XYB:
        white = bits.code()
        if white == 2:
            _skip_places(bits, 1)
        if space != _GREY:
            primaries = bits.code()
            if primaries == 2:
                _skip_places(bits, 3)
    transfer = 0
    if bits.flag():
        exponent = bits.take(24) / 10_000_000
        transfer = LINEAR if exponent == 1 else 0
    else:
        transfer = bits.code()
    bits.code()  # the rendering intent
    return False, (white, primaries) == (1, 1) and transfer in (_SRGB_CURVE, _BT709), transfer


def _skip_places(bits: _Bits, count: int) -> None:
    for _ in range(2 * count):
        bits.choice((0, 19), (524_288, 19), (1_048_576, 20), (2_097_152, 21))


class _Written:
    """Numbers written bit by bit, lowest first."""

    def __init__(self) -> None:
        self.value, self.count = 0, 0

    def put(self, value: int, count: int) -> None:
        self.value |= value << self.count
        self.count += count


def with_profile(encoded: bytes, profile: bytes) -> bytes:
    """A picture that was coded without loss, with an ICC profile for its colours.

    Args:
        encoded: the bare codestream, with a header that says sRGB.
        profile: the profile, of RGB or grey as the picture is.
    """
    header = _header_of(encoded[:_MOST], ())
    first, last = header.colours
    told = int.from_bytes(encoded[2 : 2 + _MOST], "little")
    out = _Written()
    out.put(told & ((1 << first) - 1), first)
    out.put(0b10, 2)  # not the default, but a profile
    out.put(_GREY if profile[16:20] == b"GRAY" else 0, 2)
    rest = 3  # no extensions, no other transform
    out.put(told >> last & ((1 << rest) - 1), rest)
    _put_profile(out, profile)
    pixels = 2 + (last + rest + 7) // 8
    return encoded[:2] + out.value.to_bytes((out.count + 7) // 8, "little") + encoded[pixels:]


def _put_profile(out: _Written, profile: bytes) -> None:
    """A profile in the coding of JPEG XL, with a code of 8 bits for each byte."""
    data = _predicted(profile)
    out.put(3, 2)
    out.put(len(data) & 4095, 12)
    more = len(data) >> 12
    while more:
        out.put(1 | (more & 255) << 1, 9)
        more >>= 8
    out.put(0, 1)
    out.put(0, 1)  # no references to what was before
    out.put(0b001, 3)  # one code for everything
    out.put(1, 1)  # a prefix code
    out.put(8, 4 + 4 + 4)  # of whole bytes
    out.put(1 | 7 << 1 | 127 << 5, 12)  # 256 symbols
    out.put(0, 2)
    for length in (1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15):
        out.put(1 if length == 8 else 0, 2)  # each symbol has 8 bits
    value = int.from_bytes(bytes(int(f"{byte:08b}"[::-1], 2) for byte in data), "little")
    out.put(value, 8 * len(data))


def _predicted(profile: bytes) -> bytes:
    """What is coded of a profile: its size, the difference of its header from a usual one, and the rest as it is."""
    usual = bytearray(128)
    struct.pack_into(">I4xI", usual, 0, len(profile), 0x04000000)
    usual[12:24], usual[36:40] = b"mntrRGB XYZ ", b"acsp"
    struct.pack_into(">III", usual, 68, 0xF6D6, 0x10000, 0xD32D)
    usual[80:84] = profile[4:8]
    if whole := {b"A": b"APPL", b"M": b"MSFT"}.get(profile[40:41]):
        usual[41:44] = whole[1:]
    if whole := {b"SG": b"SGI ", b"SU": b"SUNW"}.get(profile[40:42]):
        usual[42:44] = whole[2:]
    head = bytes((a - b) & 255 for a, b in zip(profile, usual, strict=False))
    orders = b"\0\1" + _varying(len(profile) - 128)  # no list of tags; the rest as it is
    return _varying(len(profile)) + _varying(len(orders)) + orders + head + profile[128:]


def _varying(number: int) -> bytes:
    """A number in as many bytes as it needs, each with 7 bits."""
    parts = [number & 127]
    while number := number >> 7:
        parts[-1] |= 128
        parts.append(number & 127)
    return bytes(parts)


def bare(encoded: bytes) -> tuple[bytes, bytes]:
    """The codestream of an encoded picture, and the level of decoder that it asks for, if it is not the usual one."""
    if encoded.startswith(SIGNATURES[0]):
        return encoded, b""
    parts = {kind: encoded[start:end] for kind, start, end in boxes(encoded, 0, len(encoded), cut=True)}
    return parts[b"jxlc"], parts.get(b"jxll", b"")


def write(codestream: bytes, level: bytes, exif: bytes, xmp: bytes) -> bytes:
    """A file of a codestream and metadata."""
    if not (level or exif or xmp):
        return codestream
    parts = [(b"JXL ", b"\r\n\x87\n"), (b"ftyp", b"jxl \0\0\0\0jxl ")]
    parts += [(b"jxll", level)] if level else []
    parts += [(b"Exif", bytes(4) + exif)] if exif else []
    parts += [(b"xml ", xmp)] if xmp else []
    parts.append((b"jxlc", codestream))
    return b"".join(struct.pack(">I4s", len(data) + 8, kind) + data for kind, data in parts)
