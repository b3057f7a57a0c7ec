"""Writing photos to files with their metadata, and reporting what was left out."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..files import replacing
from . import exif, jpeg, newer, png, tiff
from .directories import Block, ExifError
from .icc import is_usable
from .iptc import IPTC, records_of, resource
from .metadata import Metadata
from .photo import Photo, to_eight_bit
from .reading import FORMATS, SUFFIXES, ImageError, pyvips_for
from .xmp import joined

DEEP_FORMATS = ("PNG", "TIFF", "JXL")
JPEG_QUALITY = 95
# White, red, green, blue: x and y, times 100,000.
_SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_MOST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "HEIC": 16_384, "AVIF": 16_384}  # pixels
_THUMBNAIL_SIDE = 160  # pixels, as EXIF asks for
_COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"sBIT", b"mDCV", b"cLLI", b"pHYs")


def format_of(path: Path) -> str:
    """The format of a file name.

    Raises:
        ImageError: the suffix is not known.
    """
    for name, suffixes in FORMATS.items():
        if path.suffix.lower() in suffixes:
            return name
    raise ImageError(f"{path} has no suffix of a known format; use one of {', '.join(SUFFIXES)}")


def write_photo(path: str | Path, photo: Photo, overwrite: bool = False) -> tuple[str, ...]:
    """Write a photo in the format of its name, completely or not at all; see :func:`save_photo`.

    Raises:
        ImageError: the file exists and ``overwrite`` is False, or it cannot be written.
    """
    path = Path(path)
    kind = format_of(path)
    if path.exists() and not overwrite:
        raise ImageError(f"{path} exists; choose another name, or pass overwrite=True")
    try:
        with replacing(path, overwrite) as temporary:
            return save_photo(temporary, photo, kind)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be written ({error}); nothing was left behind") from error


def save_photo(path: Path, photo: Photo, kind: str) -> tuple[str, ...]:
    """Write a photo over a file; see :func:`encode_photo`."""
    with path.open("wb") as file:
        return encode_photo(file, photo, kind)


def encode_photo(file: BinaryIO, photo: Photo, kind: str) -> tuple[str, ...]:
    """Write a photo. JPEG drops alpha; JPEG and WebP reduce 16 bits to 8, HEIC and AVIF to 10 or the photo's own bits.

    Args:
        file: what to write to, from its beginning.
        photo: what to write.
        kind: a key of :data:`FORMATS`.

    Returns:
        Names of what the photo's file had and this one lacks: what could not be read, and what the format cannot hold.

    Raises:
        OSError, ValueError: it cannot be written; the file may be incomplete.
    """
    if photo.tone and not photo.metadata.icc_profile and (kind, photo.metadata.kind) != ("PNG", "PNG"):
        # Only PNG's own chunks specified its tone curve.
        photo = replace(photo, tone=None).with_tensor(photo.to_tensor())
    most = _MOST_SIDE.get(kind)
    if most and max(photo.pixels.shape[:2]) > most:
        raise ValueError(f"{kind} holds at most {most} pixels per side; write it as TIFF or PNG")
    metadata = _for_format(photo.metadata, kind)
    if metadata.exif:
        metadata = _with_thumbnail(metadata, photo, kind)
    if photo.alpha is not None and kind == "JPEG":
        metadata = metadata.without("alpha")
    if kind in ("HEIC", "AVIF"):
        if photo.deep and not photo.bits:
            metadata = metadata.without(f"16 bits per channel ({newer.bits_of(photo)} are written)")
    elif photo.deep and kind not in DEEP_FORMATS:
        metadata = metadata.without(f"{photo.bits or 16} bits per channel (8 are written)")
        alpha = None if photo.alpha is None else to_eight_bit(photo.alpha)
        photo = replace(photo, pixels=photo.eight_bit(), alpha=alpha)
    if kind == "TIFF":
        channels = _channels(photo, with_alpha=True)
        left_out = tiff.write(file, [channels], channels.shape, channels.dtype, metadata)
        return metadata.without(*left_out).left_out
    left_out = []
    if kind in ("HEIC", "AVIF"):
        data = newer.encode_heif(kind, photo, _channels(photo, with_alpha=True), metadata)
    elif kind == "JXL":
        data = newer.encode_jxl(photo, _channels(photo, with_alpha=True), metadata)
    elif kind == "WEBP":
        data = _encoded(photo, kind, **_webp_options(photo, metadata))
    elif kind == "JPEG":
        data, left_out = jpeg.write(_encoded(photo, kind, quality=JPEG_QUALITY, subsampling=0), metadata)
    else:
        data = png.write(_deep_png(photo) if photo.deep else _encoded(photo, kind, compress_level=4), metadata)
    file.write(data)
    return metadata.without(*left_out).left_out


def _for_format(metadata: Metadata, kind: str) -> Metadata:
    """The metadata that a format can hold, in its own form."""
    if metadata.kind != kind:
        carried = [own for own in metadata.own if own.mark in _COLOUR_CHUNKS or own.name == "the text 'Comment'"]
        gone = [own.name for own in metadata.own if own not in carried]
        if _has_own_primaries(metadata):
            gone.append("the colour space of PNG's cHRM")
        if any(own.mark == b"pHYs" and own.data[8:] == b"\0" and own.data[:4] != own.data[4:8] for own in metadata.own):
            gone.append("the aspect ratio of its pixels, which are not square")
        if any(own.mark == b"cICP" and own.data[:1] != b"\1" for own in metadata.own) and not metadata.icc_profile:
            gone.append("the colour space of PNG's cICP")
        metadata = replace(metadata, own=()).without(*gone)
    if kind != "JPEG":
        gone = ["the gain map"] if metadata.gain_map else []
        gone += ["the video after the picture"] if metadata.video else []
        metadata = replace(metadata, gain_map=None, video=None).without(*gone)
    if kind != "TIFF" and metadata.iptc:
        if not records_of(metadata.photoshop):
            metadata = replace(metadata, photoshop=metadata.photoshop + resource(IPTC, metadata.iptc))
        metadata = replace(metadata, iptc=b"")
    if kind != "JPEG" and metadata.extended_xmp:
        both = joined(metadata.xmp, metadata.extended_xmp)
        metadata = replace(metadata, xmp=both or metadata.xmp, extended_xmp=b"")
        if not both:
            metadata = metadata.without("extended XMP, which is damaged")
    if kind == "TIFF" != metadata.kind and not metadata.iptc:
        metadata = replace(metadata, iptc=records_of(metadata.photoshop))  # where most programs look for it
    if kind not in ("JPEG", "PNG") and metadata.comments:
        metadata = replace(metadata, comments=()).without("the comment")
    if kind in ("WEBP", "HEIC", "AVIF", "JXL"):
        names = ["IPTC and image resources"] if metadata.photoshop else []
        if metadata.icc_profile[16:20] == b"GRAY" and kind != "JXL":  # WebP is always RGB, and deep AVIF here
            names.append("the grey profile")
            metadata = replace(metadata, icc_profile=b"")
        if kind == "JXL" and metadata.icc_profile and not is_usable(metadata.icc_profile):  # decoders would refuse it
            names.append("the colour profile, which is damaged")
            metadata = replace(metadata, icc_profile=b"")
        names += ["the resolution"] if metadata.resolution and not _tells_resolution(metadata.exif) else []
        metadata = replace(metadata, photoshop=b"", resolution=None).without(*names)
    return metadata


def _has_own_primaries(metadata: Metadata) -> bool:
    """Whether only PNG's cHRM chunk specifies the colour space, and it is not sRGB's."""
    chunks = {own.mark: own.data for own in metadata.own}
    found = chunks.get(b"cHRM", b"")
    if metadata.icc_profile or len(found) != 32 or b"sRGB" in chunks or b"cICP" in chunks:
        return False
    return any(abs(a - b) > 1000 for a, b in zip(struct.unpack(">8I", found), _SRGB_PRIMARIES, strict=True))


def _tells_resolution(block: bytes) -> bool:
    try:
        found = Block(block)
        return exif.resolution_of(found, found.directory(found.first)) is not None
    except ExifError:
        return False


def _with_thumbnail(metadata: Metadata, photo: Photo, kind: str) -> Metadata:
    """Metadata whose thumbnail shows the photo as it is now; a thumbnail that is not JPEG is removed."""
    try:
        if not exif.has_thumbnail(metadata.exif):
            return metadata
        # In a TIFF file it would be a second page.
        thumbnail = _thumbnail(photo) if kind != "TIFF" and exif.thumbnail_size(metadata.exif) else b""
        changed = replace(metadata, exif=exif.with_thumbnail(metadata.exif, thumbnail))
        return changed if thumbnail else changed.without("the thumbnail")
    except ExifError:
        return replace(metadata, exif=b"").without("EXIF, which is damaged")


def _thumbnail(photo: Photo) -> bytes:
    """A small JPEG file."""
    step = max(1, min(photo.pixels.shape[:2]) // (4 * _THUMBNAIL_SIDE))  # a full copy would take time
    small = photo.pixels[::step, ::step]
    shown = (photo.tone.display(small) * 255).round().astype(np.uint8) if photo.tone else to_eight_bit(small)
    image = Image.fromarray(shown)
    image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def _channels(photo: Photo, with_alpha: bool) -> NDArray[Any]:
    """Interleaved channels: grey or RGB, with alpha where there is one and the format can hold it."""
    pixels = photo.pixels
    if photo.grey:  # the correction of a grey photo is almost neutral; the mean removes any remaining colour
        pixels = pixels.mean(axis=2, keepdims=True).round().astype(pixels.dtype)
    if with_alpha and photo.alpha is not None:
        return np.concatenate((pixels, photo.alpha[..., None]), axis=2)
    return pixels


def _encoded(photo: Photo, kind: str, **options: Any) -> bytes:
    """Encode 8-bit pixels, into memory first: on a full disk, Pillow does not notice an incomplete file."""
    channels = _channels(photo, with_alpha=kind != "JPEG")
    encoded = io.BytesIO()
    Image.fromarray(channels[..., 0] if channels.shape[2] == 1 else channels).save(encoded, kind, **options)
    return encoded.getvalue()


def _webp_options(photo: Photo, metadata: Metadata) -> dict[str, Any]:
    quality = {"lossless": True, "exact": True} if photo.lossless else {"quality": JPEG_QUALITY}
    held = {"exif": metadata.exif, "xmp": metadata.xmp, "icc_profile": metadata.icc_profile}
    return {**quality, **{key: value for key, value in held.items() if value}}


def _deep_png(photo: Photo) -> bytes:
    vips = pyvips_for("a PNG file")
    image = vips.Image.new_from_array(_channels(photo, with_alpha=True))
    image = image.copy(interpretation="grey16" if photo.grey else "rgb16")
    try:
        data: bytes = image.pngsave_buffer(compression=4)
    except vips.Error as error:
        raise OSError(str(error).splitlines()[0]) from error
    return png.read(data)[1]  # libvips invents EXIF and a resolution
