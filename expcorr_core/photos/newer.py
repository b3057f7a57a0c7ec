"""The pixels of HEIC, AVIF and JPEG XL files.

HEIC goes through pillow-heif and JPEG XL through pyjpegxl (the ``heif`` extra). AVIF needs nothing beside Pillow with 8
bits; with 10 and 12, which Pillow reduces to 8, it goes through pyvips as other deep files do (the ``deep`` extra).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from . import heif, jxl
from .icc import colour_space, tone_of
from .metadata import Metadata
from .photo import Photo, divided
from .png import HLG, PQ
from .reading import ImageError, check_claim, module_for, pyvips_for

# About as close to the picture as JPEG at quality 95 without subsampling, by PSNR of photos, with chroma at full size.
HEIC_QUALITY, AVIF_QUALITY, JXL_DISTANCE = 70, 93, 0.15
# The encoders' own presets take minutes for a photo of 24 megapixels, for files that are little smaller.
_HEIC_PRESET, _AVIF_SPEED, _JXL_SPEED = "ultrafast", 8, "Falcon"
_NEW_BITS = 10  # of photos with 16, where the format has no more than 12: what most programs can read
_MODES = {1: ("L", "I;16"), 2: ("LA", "LA;16"), 3: ("RGB", "RGB;16"), 4: ("RGBA", "RGBA;16")}


def decode(content: bytes, path: Path, kind: str) -> tuple[Photo, bool]:
    """The photo in a file of a kind, ``HEIC``, ``AVIF`` or ``JXL``, and whether it was turned as its container says.

    Raises:
        ImageError: it is HDR, of another kind of samples, too large, or needs a package that is missing.
        Exception: it is damaged.
    """
    if kind == "JXL":
        told = jxl.header_of(content)
        _check(path, told.width, told.height, 8, len(content), kind, told.transfer)
        if told.floats or told.cmyk:
            what = "CMYK" if told.cmyk else "samples of floating-point numbers"
            raise ImageError(f"{path} has {what}, which is not supported in JPEG XL; convert it first")
        return _decode_jxl(content, path, told), True
    try:
        header, metadata = heif.read(content, kind)
    except heif.NoPictureError as error:
        raise ImageError(f"{path} holds a sequence, but no still picture; convert it first") from error
    _check(path, header.width, header.height, 4 + 4 * (header.bits > 8), len(content), kind, header.transfer)
    if header.coding != b"av01":
        return _decode_heic(content, path, header, metadata), True
    if header.bits > 8 or header.cropped:
        return _decode_deep_avif(content, path, header, metadata), True
    require("AVIF", path)
    # Pillow would look at the EXIF block, which may be damaged.
    with Image.open(io.BytesIO(heif.without_exif(content)), formats=["AVIF"]) as image:
        return _photo(np.asarray(image), 8, header.grey, metadata), False


def _check(path: Path, width: int, height: int, pixel: int, size: int, kind: str, transfer: int) -> None:
    """Refuse HDR, and what claims too many pixels of ``pixel`` bytes."""
    if name := {PQ: "PQ", HLG: "HLG"}.get(transfer):
        raise ImageError(f"{path} is an HDR picture ({name}); convert it to SDR first")
    if Image.MAX_IMAGE_PIXELS and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{width}x{height}")
    check_claim(path, size, width, height, width * height * pixel, kind)


def pixels_of(content: bytes, kind: str) -> int:
    """Pixels that a file says that it has; raises any Exception if it is damaged."""
    header = jxl.header_of(content) if kind == "JXL" else heif.header_of(content)
    return header.width * header.height


def _decode_heic(content: bytes, path: Path, header: heif.Header, metadata: Metadata) -> Photo:
    pillow_heif = module_for("HEIC", path)
    opened = pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=False)
    photo = _photo(np.asarray(opened), opened.info["bit_depth"], header.grey, metadata)
    return divided(photo) if opened.premultiplied_alpha else photo


def _decode_deep_avif(content: bytes, path: Path, header: heif.Header, metadata: Metadata) -> Photo:
    vips = pyvips_for(path)
    image = vips.Image.new_from_buffer(content, "", access="sequential", fail_on="error").copy_memory()
    return _photo(image.numpy(), header.bits, header.grey, metadata)


def _decode_jxl(content: bytes, path: Path, header: jxl.Header) -> Photo:
    pyjpegxl = module_for("JXL", path)
    try:
        found, pixels = pyjpegxl.decode_to_numpy(content)
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # what the decoder's own mistakes raise
        raise ValueError("its decoder gave up") from error
    names = [*header.left_out]
    profile = b"" if header.srgb else found.icc or b""
    if header.profile and header.xyb:  # from its own space, the decoder converts only to spaces that it knows
        profile = b""
        names.append("the colour profile (the colours are sRGB now)")
    exif = found.exif or b""
    exif = exif[4 + int.from_bytes(exif[:4], "big") :].removeprefix(b"Exif\0\0")
    metadata = Metadata(
        kind="JXL",
        exif=exif,
        xmp=found.xmp or b"",
        icc_profile=profile,
        left_out=tuple(names),
        container=header.orientation,
    )
    photo = _photo(pixels, 8 * pixels.itemsize, pixels.shape[2] < 3, metadata, lossless=header.lossless)
    return divided(photo) if header.premultiplied else photo


def _photo(values: NDArray[Any], bits: int, grey: bool, metadata: Metadata, lossless: bool = False) -> Photo:
    """A photo of decoded channels, whose upper ``bits`` bits count."""
    values = values.reshape(*values.shape[:2], -1)
    if values.dtype == np.uint16 and bits < 16:
        peak = (1 << bits) - 1
        scale = (np.arange(peak + 1) * 65535 / peak).round().astype(np.uint16)
        values = scale[values >> 16 - bits]
    count = values.shape[2]
    rgb = np.repeat(values[..., :1], 3, 2) if count < 3 else values[..., :3]
    return Photo(
        np.array(rgb, order="C"),  # decoders' own arrays may be read-only
        np.array(values[..., -1], order="C") if count in (2, 4) else None,
        grey,
        metadata,
        tone=tone_of(metadata.icc_profile, rgb.dtype),
        lossless=lossless,
        bits=bits if 8 < bits < 16 else 0,
    )


def require(kind: str, name: object) -> None:
    """Raise ImageError where a format cannot be written here because a package is missing."""
    if kind in ("HEIC", "JXL"):
        module_for(kind, name)
    if kind == "AVIF" and not features.check("avif"):
        raise ImageError(f"{name} is AVIF, which this Pillow was built without: pip install --upgrade pillow")


def bits_of(photo: Photo) -> int:
    """Bits per channel with which a photo is written to HEIC and AVIF."""
    return (photo.bits or _NEW_BITS) if photo.deep else 8


def encode_heif(kind: str, photo: Photo, channels: NDArray[Any], metadata: Metadata) -> bytes:
    """A HEIC or AVIF file.

    Args:
        kind: ``HEIC`` or ``AVIF``.
        photo: the photo.
        channels: its 1 to 4 channels, ``(H, W, C)``.
        metadata: what of its metadata the format can hold.
    """
    bits = bits_of(photo)
    if bits > 8:
        levels = (channels * (((1 << bits) - 1) / 65535)).round().astype(np.uint16)
        channels = levels << 16 - bits
    channels = np.ascontiguousarray(channels)
    if kind == "HEIC":
        encoded = _heic(channels, bits, metadata.icc_profile)
    elif bits > 8:
        encoded = _deep_avif(channels, bits, metadata.icc_profile)
    else:
        encoded = _avif(channels, metadata.icc_profile)
    return heif.with_metadata(encoded, metadata)


def _heic(channels: NDArray[Any], bits: int, profile: bytes) -> bytes:
    pillow_heif = module_for("HEIC", "a HEIC file")
    file = io.BytesIO()
    # With a profile, the coded colours are unspecified, except the matrix.
    colours = (2, 2) if profile else (1, 13)
    pillow_heif.encode(
        _MODES[channels.shape[2]][bits > 8],
        (channels.shape[1], channels.shape[0]),
        channels.tobytes(),
        file,
        quality=HEIC_QUALITY,
        chroma="444",
        enc_params={"preset": _HEIC_PRESET},
        bit_depth=bits,
        color_primaries=colours[0],
        transfer_characteristics=colours[1],
        matrix_coefficients=6,
        full_range_flag=1,
        **({"icc_profile": profile} if profile else {}),
    )
    return file.getvalue()


def _avif(channels: NDArray[Any], profile: bytes) -> bytes:
    require("AVIF", "the file to write")
    file = io.BytesIO()
    grey = channels.shape[2] == 1
    Image.fromarray(channels[..., 0] if grey else channels).save(
        file,
        "AVIF",
        quality=AVIF_QUALITY,
        subsampling="4:0:0" if grey else "4:4:4",
        speed=_AVIF_SPEED,
        icc_profile=profile,
    )
    return file.getvalue()


def _deep_avif(channels: NDArray[Any], bits: int, profile: bytes) -> bytes:
    vips = pyvips_for("an AVIF file")
    image = vips.Image.new_from_array(channels)
    image = image.copy(interpretation="grey16" if channels.shape[2] < 3 else "rgb16")
    if profile:
        image.set_type(vips.GValue.blob_type, "icc-profile-data", profile)
    try:
        data: bytes = image.heifsave_buffer(
            compression="av1",
            bitdepth=bits,
            Q=AVIF_QUALITY,
            subsample_mode="off",
            effort=9 - _AVIF_SPEED,
            keep="icc",
        )
    except vips.Error as error:
        raise OSError(str(error).splitlines()[0]) from error
    return data


def encode_jxl(photo: Photo, channels: NDArray[Any], metadata: Metadata) -> bytes:
    """A JPEG XL file: without loss if the photo's was so, or has another colour profile than sRGB; see :mod:`.jxl`."""
    pyjpegxl = module_for("JXL", "a JPEG XL file")
    profile = metadata.icc_profile
    grey = profile[16:20] == b"GRAY"
    if profile and not grey and not photo.lossless and colour_space(profile) is None:
        profile = b""  # sRGB, which the codestream says by itself
    if profile and not grey and channels.shape[2] < 3:  # a profile must be of the same kind as the pixels
        channels = np.concatenate([channels[..., :1]] * 3 + [channels[..., 1:]], 2)
    lossless = photo.lossless or bool(profile)
    encoded = pyjpegxl.encode_from_numpy(
        np.ascontiguousarray(channels),
        lossless=lossless,
        quality=JXL_DISTANCE,
        speed=getattr(pyjpegxl.EncoderSpeed, _JXL_SPEED),
    )
    codestream, level = jxl.bare(encoded)
    if profile:
        codestream = jxl.with_profile(codestream, profile)
    return jxl.write(codestream, level, metadata.exif, metadata.xmp)
