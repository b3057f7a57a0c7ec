"""Photo files to tensors and back: JPEG, PNG, TIFF and WebP, 8 and 16 bit, with their EXIF, ICC profile and alpha.

8-bit files go through Pillow. Pillow has no 16-bit RGB, so 16-bit PNG and TIFF files go through pyvips (the
``deep`` extra).
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from .files import files_of, replacing
from .machine import memory
from .xmp import without_gain_map, without_places

# Only these decoders are ever tried: file formats nobody needs here have had holes.
FORMATS = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "TIFF": (".tif", ".tiff"), "WEBP": (".webp",)}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
DEEP_FORMATS = ("PNG", "TIFF")
JPEG_QUALITY = 95
# Files that claim more than so many bytes of pixels, and so many times their own size, are refused: Deflate and LZW
# reach some thousand, JPEG some hundred, WebP with a single colour much more.
CLAIM_BYTES, CLAIM_RATIO, WEBP_RATIO = 2**25, 4000, 80_000
_BITS_PER_SAMPLE = 258  # TIFF tag
_XMP = 700  # TIFF tag
_GPS = 34853  # TIFF tag
_SAMPLE_FORMAT = 339  # TIFF tag: 1 is unsigned integers
# Tags that say how a TIFF file is laid out, or that are carried in another way; orientation is applied, not kept.
_UNKEPT_TAGS = (
    *range(254, 270), 273, 274, 277, 278, 279, 284, 317, 318, 319, 320, *range(322, 326), 330, 338, 339, 347,
    *range(512, 533), _XMP, 34377, 34675,
)  # fmt: skip


class ImageError(ValueError):
    """A photo cannot be read or written; the message names the file and says what to do."""


def find_photos(folder: Path, recursive: bool = False, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """All photos of a folder, and of those below it where ``recursive``, sorted; see :func:`~.files.files_of`.

    Raises:
        ImageError: there is no such folder, it cannot be read, or there is no photo in it.
    """

    def refuse(error: OSError) -> None:
        raise ImageError(f"{error.filename} cannot be read ({error.strerror}); check its permissions") from error

    if not folder.is_dir():
        raise ImageError(f"{folder} is no folder; name a folder of photos")
    paths = sorted(files_of(folder, suffixes, below=recursive, onerror=refuse))
    if not paths:
        raise ImageError(f"{folder} holds no photos (looked for {', '.join(suffixes)})")
    return paths


@dataclass(frozen=True, eq=False)  # arrays have no equality that a dataclass could use
class Photo:
    """A decoded photo, upright.

    Attributes:
        pixels: ``(H, W, 3)``, uint8 or uint16, display RGB.
        alpha: ``(H, W)`` of the same type, or None.
        grey: the file held no colour; it is written without colour again.
        metadata: what is kept when the photo is written: ``exif``, ``icc_profile``, ``xmp`` as bytes, ``dpi``.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    grey: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def deep(self) -> bool:
        """16 bits a channel."""
        return self.pixels.dtype == np.uint16

    def eight_bit(self) -> NDArray[np.uint8]:
        """The pixels, rounded to 8 bits where there are more."""
        return _to_eight_bit(self.pixels)

    def to_tensor(self) -> Tensor:
        """``(1, 3, H, W)`` float32, 0..1."""
        scale = 1 / np.iinfo(self.pixels.dtype).max
        values = torch.from_numpy(self.pixels.astype(np.float32) if self.deep else self.pixels)
        return (values.float() * scale).permute(2, 0, 1)[None]

    def with_tensor(self, image: Tensor) -> Photo:
        """The same photo with other pixels, rounded to its own depth.

        Args:
            image: ``(1, 3, H, W)``, 0..1, on the CPU.
        """
        return replace(self, pixels=_quantise(image, self.pixels.dtype))

    def with_metadata(self, kept: str) -> Photo:
        """The same photo with ``all`` metadata, with all but places (``no-gps``), or with ``none`` but the profile."""
        return replace(self, metadata=kept_metadata(self.metadata, kept))

    @classmethod
    def from_tensor(cls, image: Tensor, **fields: Any) -> Photo:
        """A new 8-bit photo.

        Args:
            image: ``(1, 3, H, W)``, 0..1, on the CPU.
            fields: further attributes.
        """
        return cls(_quantise(image, np.dtype(np.uint8)), **fields)


def kept_metadata(metadata: Mapping[str, Any], kept: str) -> dict[str, Any]:
    """``all`` metadata, all but where the photo was taken (``no-gps``), or ``none`` but profile and resolution."""
    if kept == "none":
        return {key: value for key, value in metadata.items() if key in ("icc_profile", "dpi")}
    result = dict(metadata)
    if kept == "no-gps":
        if "exif" in result:
            exif = Image.Exif()
            exif.load(result["exif"])
            exif.pop(_GPS, None)
            result["exif"] = exif.tobytes()
        if "xmp" in result:
            result["xmp"] = without_places(result["xmp"])
    return {key: value for key, value in result.items() if value}


def _quantise(image: Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    """``(1, 3, H, W)``, 0..1, to ``(H, W, 3)`` integers, rounded."""
    peak = np.iinfo(dtype).max
    return image[0].permute(1, 2, 0).float().mul(peak).round_().clamp_(0, peak).numpy().astype(dtype)


def _to_eight_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    return (values / 257).round().astype(np.uint8) if values.dtype == np.uint16 else values


def _pyvips(path: Path) -> Any:
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise ImageError(f"{path} has 16 bits a channel, which needs pyvips: pip install 'expcorr[deep]'") from error
    return pyvips


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn a decoder's exceptions into one sentence."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist; check the name") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder, not a photo") from error
    except PermissionError as error:
        raise ImageError(f"{path} may not be read; check its permissions") from error
    except UnidentifiedImageError as error:
        reason = "is empty" if path.stat().st_size == 0 else f"is no photo in a known format ({', '.join(FORMATS)})"
        raise ImageError(f"{path} {reason}; leave it out or convert it") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} claims more pixels than are safe to decode ({error}); reduce it first") from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory; reduce it first") from error
    except Exception as error:  # damaged files make decoders raise nearly anything
        raise ImageError(f"{path} is damaged or cut off ({error}); copy it again or leave it out") from error


def read_photo(path: Path, at_least: int | None = None) -> Photo:
    """The photo that a file holds; see :func:`read_content` and :func:`decode_photo`."""
    return decode_photo(read_content(path), path, at_least)


def read_content(path: Path) -> bytes:
    """The bytes of a photo's file, read at once: whoever replaces the file meanwhile gets neither of two halves.

    Raises:
        ImageError: the file is missing, unreadable, in another format, or larger than memory.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ImageError(f"{path} is no file, but a pipe or device; leave it out")
    with _explained(path), path.open("rb") as file:
        Image.open(file, formats=list(FORMATS))  # what is no photo is not read as a whole
        if file.seek(0, io.SEEK_END) > memory():
            raise MemoryError
        file.seek(0)
        return file.read()


def decode_photo(content: bytes, path: Path, at_least: int | None = None) -> Photo:
    """Decode a photo and turn it upright.

    Palette images become RGB, CMYK images are converted through their profile to sRGB, of animations and multi-page
    files the first picture is taken.

    Args:
        content: the bytes of the file.
        path: the file, for messages.
        at_least: a JPEG file may be decoded at a reduced size of which both sides have at least so many pixels,
            which is faster.

    Raises:
        ImageError: the file is damaged, in another format, or needs an extra that is missing.
    """
    with _explained(path), Image.open(io.BytesIO(content), formats=list(FORMATS)) as image:
        _check_claim(image, path, len(content))
        if _is_deep(image, path, content):
            return _decode_deep(content, path, _metadata(image))
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        image.load()
        try:
            upright = ImageOps.exif_transpose(image)
        except Exception:  # a damaged EXIF block is no reason to refuse the photo
            upright = image
        metadata = _metadata(image)
        if upright.mode == "CMYK":
            upright = _cmyk_to_srgb(upright, metadata.pop("icc_profile", None))
        grey = upright.mode in ("1", "L", "LA")
        has_alpha = upright.has_transparency_data
        rgba = np.array(upright.convert("RGBA" if has_alpha else "RGB"))
        return Photo(
            np.ascontiguousarray(rgba[..., :3]),
            np.ascontiguousarray(rgba[..., 3]) if has_alpha else None,
            grey,
            metadata,
        )


def photo_size(source: Path | io.BytesIO) -> int:
    """Pixels that a file, or its content, claims to have, from its header alone; 0 where it cannot be read."""
    if isinstance(source, Path) and not source.is_file():  # a pipe would be waited for
        return 0
    try:
        with Image.open(source, formats=list(FORMATS)) as image:
            return image.width * image.height
    except Exception:  # damaged files make decoders raise nearly anything; reading the photo says what it is
        return 0


def check_claim(path: Path, size: int, width: int, height: int, claimed: int, ratio: int = CLAIM_RATIO) -> None:
    """Refuse a file of ``size`` bytes that is far too short for the ``claimed`` bytes of pixels.

    Raises:
        ImageError: it claims more than ``ratio`` times its size.
    """
    if claimed > max(CLAIM_BYTES, ratio * size):
        raise ImageError(
            f"{path} claims {width}x{height} pixels, which its {size} bytes can hardly hold; "
            "copy it again or leave it out"
        )


def _check_claim(image: Image.Image, path: Path, size: int) -> None:
    """Refuse files that are far too short for the pixels that they claim: decoders may spend minutes on nothing."""
    claimed = image.width * image.height * len(image.getbands()) // (8 if image.mode == "1" else 1)
    check_claim(path, size, image.width, image.height, claimed, WEBP_RATIO if image.format == "WEBP" else CLAIM_RATIO)


def _metadata(image: Image.Image) -> dict[str, Any]:
    """What is kept of a file's metadata; changes the image's EXIF."""
    metadata = {key: image.info[key] for key in ("icc_profile", "xmp", "dpi") if image.info.get(key)}
    if isinstance(metadata.get("xmp"), str):  # of a TIFF tag of the wrong type
        metadata["xmp"] = metadata["xmp"].encode("utf-8", "surrogateescape")
    if b"hdr-gain-map" in metadata.get("xmp", b""):
        metadata["xmp"] = without_gain_map(metadata["xmp"])
    try:
        exif = image.getexif()
        for tag in set(exif).intersection(_UNKEPT_TAGS):
            del exif[tag]
        if len(exif):
            metadata["exif"] = exif.tobytes()
    except Exception:  # a damaged block raises nearly anything; the photo goes on without it
        metadata.pop("exif", None)
    return metadata


def _is_deep(image: Image.Image, path: Path, content: bytes) -> bool:
    """Whether a just-opened file has 16 bits a channel; raises on sample types that are no display values."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits, kind = (image.tag_v2.get(tag, 1) for tag in (_BITS_PER_SAMPLE, _SAMPLE_FORMAT))
        bits, kind = (max(v) if isinstance(v, tuple) else v for v in (bits, kind))
        if kind != 1 or bits > 16:
            raise ImageError(f"{path} holds floating-point or 32-bit samples; convert it to 8 or 16 bits first")
        return bool(bits > 8)
    return isinstance(image, PngImagePlugin.PngImageFile) and content[24] == 16  # bit depth in the header chunk


def _cmyk_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # an unusable profile is no reason to refuse the photo
    return image.convert("RGB")


def _decode_deep(content: bytes, path: Path, metadata: dict[str, Any]) -> Photo:
    vips = _pyvips(path)
    try:
        # Sequential loads are not kept in the cache of libvips, which would hold copies of the content.
        image = vips.Image.new_from_buffer(content, "", access="sequential", fail_on="error").copy_memory().autorot()
        pixels = image.numpy()
    except vips.Error as error:
        raise ImageError(f"{path} is damaged or cut off ({str(error).splitlines()[0]}); copy it again") from error
    if pixels.dtype != np.uint16:
        raise ImageError(f"{path} holds samples of type {pixels.dtype}; convert it to 8 or 16 bits first")
    if image.interpretation == "cmyk":
        raise ImageError(f"{path} is a 16-bit CMYK file; convert it to RGB first")
    pixels = pixels.reshape(image.height, image.width, -1)
    colours = pixels.shape[2] - bool(image.hasalpha())
    rgb = pixels[..., :3] if colours >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    alpha = np.ascontiguousarray(pixels[..., colours]) if image.hasalpha() else None
    return Photo(np.ascontiguousarray(rgb), alpha, colours < 3, metadata)


def format_of(path: Path) -> str:
    """The format that a file name asks for.

    Raises:
        ImageError: the suffix is none of the known ones.
    """
    for name, suffixes in FORMATS.items():
        if path.suffix.lower() in suffixes:
            return name
    raise ImageError(f"{path} has no suffix of a known format; use one of {', '.join(SUFFIXES)}")


def write_photo(path: Path, photo: Photo, overwrite: bool = False) -> None:
    """Write a photo in the format that the name asks for, completely or not at all; see :func:`save_photo`.

    Raises:
        ImageError: the file exists and ``overwrite`` is False, or it cannot be written.
    """
    kind = format_of(path)
    if path.exists() and not overwrite:
        raise ImageError(f"{path} exists; choose another name or allow overwriting")
    try:
        with replacing(path, overwrite) as temporary:
            save_photo(temporary, photo, kind)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be written ({error}); no part of it was left") from error


def save_photo(path: Path, photo: Photo, kind: str) -> None:
    """Write a photo over a file. JPEG drops alpha; JPEG and WebP reduce 16 bits to 8.

    Args:
        path: the file.
        photo: what to write.
        kind: a key of :data:`FORMATS`.

    Raises:
        OSError, ValueError: it cannot be written; the file may hold a part.
    """
    if photo.deep and kind in DEEP_FORMATS:
        _write_deep(path, photo, kind)
    else:
        alpha = None if photo.alpha is None else _to_eight_bit(photo.alpha)
        _write_shallow(path, replace(photo, pixels=photo.eight_bit(), alpha=alpha), kind)


def _channels(photo: Photo, with_alpha: bool) -> NDArray[Any]:
    """Interleaved channels: grey or RGB, with alpha where there is one and the format can hold it."""
    pixels = photo.pixels
    if photo.grey:  # the correction is near neutral on a grey photo; the mean removes what is left of colour
        pixels = pixels.mean(axis=2, keepdims=True).round().astype(pixels.dtype)
    if with_alpha and photo.alpha is not None:
        return np.concatenate((pixels, photo.alpha[..., None]), axis=2)
    return pixels


def _write_shallow(path: Path, photo: Photo, kind: str) -> None:
    channels = _channels(photo, with_alpha=kind != "JPEG")
    image = Image.fromarray(channels[..., 0] if channels.shape[2] == 1 else channels)
    options: dict[str, Any] = dict(photo.metadata)
    if kind == "JPEG":
        options |= {"quality": JPEG_QUALITY, "subsampling": 0}
    elif kind == "WEBP":
        options |= {"quality": JPEG_QUALITY}
        options.pop("dpi", None)
    elif kind == "TIFF":
        if "exif" not in options:  # Pillow's compressed TIFF cannot hold an EXIF block
            options["compression"] = "tiff_adobe_deflate"
        if xmp := options.pop("xmp", None):
            exif = Image.Exif()
            exif.load(options.get("exif", b""))
            exif[_XMP] = xmp
            options["exif"] = exif
    elif kind == "PNG":
        options |= {"compress_level": 4}
        if xmp := options.pop("xmp", None):
            text = PngImagePlugin.PngInfo()
            text.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
            options["pnginfo"] = text
    # Into memory first: Pillow takes a part for the whole where a disk is full.
    encoded = io.BytesIO()
    image.save(encoded, kind, **options)
    path.write_bytes(encoded.getbuffer())


def _write_deep(path: Path, photo: Photo, kind: str) -> None:
    vips = _pyvips(path)
    image = vips.Image.new_from_array(_channels(photo, with_alpha=True))
    image = image.copy(interpretation="grey16" if photo.grey else "rgb16").copy()
    for name, key in (("icc_profile", "icc-profile-data"), ("exif", "exif-data"), ("xmp", "xmp-data")):
        if name in photo.metadata:
            image.set_type(vips.GValue.blob_type, key, photo.metadata[name])
    try:
        if kind == "TIFF":
            image.tiffsave(os.fsencode(path), compression="deflate", predictor="horizontal")
        else:
            image.pngsave(os.fsencode(path), compression=4)
    except vips.Error as error:
        raise OSError(str(error).splitlines()[0]) from error
