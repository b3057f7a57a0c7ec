"""Reading photo files: their pixels, 8 and 16 bit, and their metadata.

Metadata are read from the file's own bytes (:mod:`.jpeg`, :mod:`.png`, :mod:`.heif` and so on), and the decoder
gets the file without them: damaged metadata cannot keep a photo from being read. 8-bit files go through Pillow. Pillow
has no 16-bit RGB, so 16-bit PNG and TIFF files go through pyvips (the ``deep`` extra). For HEIC, AVIF and JPEG XL see
:mod:`.newer`.
"""

from __future__ import annotations

import importlib
import io
import mmap
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from ..files import files_of
from ..machine import memory
from . import heif, jpeg, jxl, png, raw_metadata, tiff, webp
from .directories import Block
from .icc import Tone, power, tone_of
from .metadata import Metadata
from .photo import Photo, divided

# Only these decoders are ever tried: those of formats that nobody needs here have had security holes.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".mpo"),
    "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff", ".btf", ".tf8"),
    "WEBP": (".webp",),
    "HEIC": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
    "JXL": (".jxl",),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
_BY_PILLOW = ("JPEG", "PNG", "TIFF", "WEBP")


class _Extra(NamedTuple):
    """A package that reads a format: its module, its name, what needs it, and the extra that installs it."""

    module: str
    package: str
    known: str
    extra: str


_EXTRAS = {
    "HEIC": _Extra("pillow_heif", "pillow-heif", "HEIC", "heif"),
    "JXL": _Extra("pyjpegxl", "pyjpegxl (Python 3.11 or later)", "JPEG XL", "heif"),
    "RAW": _Extra("rawpy", "rawpy", "a raw photo", "raw"),
}
# Suffixes of unsupported picture formats, which are counted and reported where a folder contains them.
UNREAD = (
    ".jp2", ".j2k", ".jpx", ".bmp", ".dib", ".gif", ".psd", ".psb", ".xcf", ".svg", ".exr", ".hdr", ".pfm", ".ppm",
    ".pgm", ".pnm", ".pbm", ".tga", ".ico", ".pcx", ".raw", ".crw", ".x3f", ".mrw", ".kdc", ".dcr", ".gpr",
)  # fmt: skip
# Signatures of other formats: offset, signature, name.
_SIGNS = (
    (4, b"ftyp", "a video"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"BM", "a BMP picture"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"v/1\x01", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance picture"),
    (0, b"\x89JNG", "a JNG picture"),
    (0, b"%PDF", "a PDF file"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML file"),
    (0, b"<!DOCTYPE html", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"PK\x03\x04", "a ZIP archive"),
)
# Files that claim more bytes of pixels than this, and than this multiple of their own size, are refused: Deflate and
# LZW reach about a thousand, JPEG some hundred, the others with a single colour much more.
CLAIM_BYTES, CLAIM_RATIO = 2**25, 4000
CLAIM_RATIOS = {"WEBP": 80_000, "HEIC": 80_000, "AVIF": 80_000, "JXL": 2_000_000}
_TURNS = {  # by orientation, what turns ``(H, W, ...)`` upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


class ImageError(ValueError):
    """A photo cannot be read or written; the message names the file and says what to do."""


def suffix_of(kind: str) -> str:
    """The suffix of a result in a photo's format; raw files become TIFF."""
    return FORMATS["TIFF" if kind == "RAW" else kind][0]


def missing() -> dict[str, str]:
    """Suffixes of files that cannot be read because a package is missing, with its name and how to install it."""
    suffixes = FORMATS | {"RAW": raw_metadata.SUFFIXES}
    return {
        suffix: f"{needed.package}: pip install 'expcorr[{needed.extra}]'"
        for kind, needed in _EXTRAS.items()
        if find_spec(needed.module) is None
        for suffix in suffixes[kind]
    }


def readable() -> tuple[str, ...]:
    """The suffixes of files that can be read here."""
    lacking = missing()
    return tuple(suffix for suffix in (*SUFFIXES, *raw_metadata.SUFFIXES) if suffix not in lacking)


def find_photos(folder: Path, recursive: bool = False, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """All photos in a folder, and in its subfolders if ``recursive``, sorted; see :func:`~.files.files_of`.

    Raises:
        ImageError: the folder does not exist, cannot be read, or contains no photos.
    """

    def refuse(error: OSError) -> None:
        raise ImageError(f"{error.filename} cannot be read ({error.strerror}); check its permissions") from error

    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder; name a folder of photos")
    paths = sorted(files_of(folder, suffixes, below=recursive, onerror=refuse))
    if not paths:
        raise ImageError(f"{folder} holds no photos (looked for {', '.join(suffixes)})")
    return paths


def pyvips_for(name: object) -> Any:
    """pyvips; where it is missing, an ImageError that names what needs it."""
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise ImageError(f"{name} has 16 bits per channel, which needs pyvips: pip install 'expcorr[deep]'") from error
    return pyvips


def module_for(kind: str, name: object) -> Any:
    """The package that reads and writes a format; where it is missing, an ImageError that names what needs it."""
    module, package, known, extra = _EXTRAS[kind]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImageError(f"{name} is {known}, which needs {package}: pip install 'expcorr[{extra}]'") from error


@contextmanager
def _explained(path: Path, unusual: str = "") -> Iterator[None]:
    """Turn a decoder's exceptions into one sentence; ``unusual`` is a likely cause other than damage."""
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
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} claims more pixels than are safe to decode ({error}); reduce it first") from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory; reduce it first") from error
    except Exception as error:  # damaged files make decoders raise almost anything
        if unusual:
            raise ImageError(f"{path} {unusual}") from error
        reason = str(error).partition("\n")[0]
        raise ImageError(f"{path} is damaged or cut off ({reason}); copy it again or leave it out") from error


def read_photo(path: str | Path, at_least: int | None = None) -> Photo:
    """The photo in a file; see :func:`read_content` and :func:`decode_photo`."""
    path = Path(path)
    return decode_photo(read_content(path), path, at_least)


def _sniffed(beginning: bytes) -> str:
    """The format of a file by its first bytes; empty if it is not supported. Many raw files begin like TIFF."""
    if beginning.startswith(b"\xff\xd8"):
        return "JPEG"
    if beginning.startswith(png.SIGNATURE):
        return "PNG"
    if beginning[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if raw_metadata.is_raw(beginning):
        return "RAW"
    if beginning.startswith(jxl.SIGNATURES):
        return "JXL"
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "WEBP"
    return heif.sniffed(beginning)


def kind_of(beginning: bytes, path: Path) -> str:
    """The format of a file by its first 32 bytes; ImageError if it is not supported."""
    if kind := _sniffed(beginning):
        return kind
    if not beginning:
        raise ImageError(f"{path} is empty; leave it out or convert it")
    known = ", ".join(FORMATS)
    name = next((name for place, sign, name in _SIGNS if beginning.startswith(sign, place)), "")
    if name == "a video":
        raise ImageError(f"{path} is a video, not a photo; use: expcorr video")
    if name:
        raise ImageError(f"{path} is {name}, which is not supported ({known} are); convert it or leave it out")
    raise ImageError(f"{path} is not a photo in a known format ({known}); leave it out or convert it")


def read_content(path: Path) -> bytes:
    """The bytes of a photo's file, read at once, so that a file replaced meanwhile is not read half and half.

    Raises:
        ImageError: the file is missing, unreadable, in another format, or larger than memory.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ImageError(f"{path} is not a file but a pipe or device; leave it out")
    with _explained(path), path.open("rb") as file:
        kind_of(file.read(32), path)  # files that are not photos are not read entirely
        if file.seek(0, io.SEEK_END) > memory():
            raise MemoryError
        file.seek(0)
        return file.read()


def decode_photo(content: bytes, path: Path, at_least: int | None = None) -> Photo:
    """Decode a photo and turn it upright.

    Palette images become RGB and CMYK images are converted to sRGB through their profile. Of an animation, the first
    picture is read; of a file with several pages, the first that is not a reduced copy.

    Args:
        content: the bytes of the file.
        path: the file, for messages.
        at_least: a JPEG file may be decoded at a reduced size with both sides at least this many pixels, which is
            faster.

    Raises:
        ImageError: the file is damaged, in another format, HDR, or needs an extra that is missing.
    """
    kind = kind_of(content[:32], path)
    if kind in ("HEIC", "AVIF", "JXL"):
        from . import newer

        with _explained(path):
            return _upright(*newer.decode(content, path, kind))
    decode = {
        "JPEG": _decode_jpeg,
        "PNG": _decode_png,
        "TIFF": _decode_tiff,
        "WEBP": _decode_webp,
        "RAW": _decode_raw,
    }[kind]
    return _upright(decode(content, path, at_least))


def _upright(photo: Photo, turned: bool = False) -> Photo:
    """The photo with upright metadata, and pixels, unless the decoder has ``turned`` these."""
    metadata = photo.metadata.of_upright()
    turn = _TURNS.get(photo.metadata.orientation)
    if turn is None or turned:
        return replace(photo, metadata=metadata)
    if metadata.gain_map:
        metadata = replace(metadata, gain_map=metadata.gain_map.turned(turn))
    alpha = None if photo.alpha is None else np.ascontiguousarray(turn(photo.alpha))
    return replace(photo, pixels=np.ascontiguousarray(turn(photo.pixels)), alpha=alpha, metadata=metadata)


def _decode_jpeg(content: bytes, path: Path, at_least: int | None) -> Photo:
    try:
        metadata, picture = jpeg.read(content)
        refusal = jpeg.refusal(picture)
    except (struct.error, IndexError):  # cut off within the metadata; the decoder reports what is missing
        metadata, picture, refusal = Metadata(kind="JPEG"), content, ""
    with _explained(path, refusal):
        return _decoded(picture, path, metadata, len(content), at_least)


def _decode_png(content: bytes, path: Path, _: int | None) -> Photo:
    if content[12:16] == b"CgBI":
        raise ImageError(f"{path} is in Apple's own PNG variant (CgBI), which is not supported; convert it first")
    metadata, picture = png.read(content)
    transfer, exponent = png.transfer_of(metadata)
    if name := {png.PQ: "PQ", png.HLG: "HLG"}.get(transfer):
        raise ImageError(f"{path} is an HDR picture ({name}); convert it to SDR first")
    if png.narrow(metadata):
        raise ImageError(f"{path} has the narrow range of video (cICP chunk); convert it to full range first")
    with _explained(path):
        if picture[24:25] == b"\x10":  # bits per sample, in the header
            with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
                _check_claim(image, path, len(content))
            photo = _decode_deep(picture, path, metadata)
        else:
            photo = _decoded(picture, path, metadata, len(content))
    if exponent is None:
        return photo
    return replace(photo, tone=Tone.of((power(exponent),), photo.pixels.dtype))


def _decode_tiff(content: bytes, path: Path, _: int | None) -> Photo:
    with _explained(path):
        block = Block(content)
        page, directory, further = tiff.page_of(block)
    if page.raw or path.suffix.lower() in raw_metadata.SUFFIXES:
        return _decode_raw(content, path, None)
    if page.refusal:
        raise ImageError(f"{path} {page.refusal}")
    check_claim(path, len(content), page.width, page.height, page.claimed)
    metadata = tiff.read(block, page, directory, further)
    with _explained(path, page.unusual):
        if page.planes and page.bits in (8, 16) and page.photometric in (0, 1, 2):
            planes = []
            for part in tiff.planes_of(content, block, directory, page.bits):
                plane = (
                    _decoded(part, path, metadata, len(content))
                    if page.bits == 8
                    else _decode_deep(part, path, metadata)
                )
                planes.append(plane.pixels[..., 0])
            return _of_planes(planes, page, metadata)
        bare = tiff.bare(content, block, directory)
        if page.bits <= 8:
            try:
                return _decoded(bare, path, metadata, len(content))
            except (ImageError, MemoryError, Image.DecompressionBombError):
                raise
            except Exception as error:
                try:
                    return _decode_odd(bare, path, metadata, page)
                except Exception:
                    raise error from None
        return _decode_deep(bare, path, metadata, page)


def _decode_raw(content: bytes, path: Path, _: int | None) -> Photo:
    from .raw import develop

    with _explained(path):
        return develop(content, path)


def _of_planes(planes: list[NDArray[Any]], page: tiff.Page, metadata: Metadata) -> Photo:
    pixels = np.stack([planes[0]] * 3 if page.colours == 1 else planes[:3], 2)
    if not page.photometric:  # each was read as if black were 0
        pixels = np.iinfo(pixels.dtype).max - pixels
    alpha = None if page.alpha is None else planes[page.colours + page.alpha]
    photo = _photo(pixels, alpha, page.colours == 1, metadata)
    return divided(photo) if page.alpha is not None and page.extra[page.alpha] == 1 else photo


def _decode_odd(content: bytes, path: Path, metadata: Metadata, page: tiff.Page) -> Photo:
    """Decode through pyvips what Pillow does not support: inks, Lab, and extra samples of 8 bits."""
    vips = pyvips_for(path)
    image = vips.Image.new_from_buffer(content, "", access="sequential", fail_on="error").copy_memory()
    inks = {"cmyk": 4, "lab": 3, "b-w": 1, "srgb": 3, "rgb": 3}[image.interpretation]
    extra = image[inks:] if image.bands > inks else None
    colours = image[:inks].copy(interpretation=image.interpretation).colourspace("b-w" if inks == 1 else "srgb")
    pixels = colours.cast("uchar").numpy().reshape(image.height, image.width, -1)
    alpha = None
    if extra is not None and page.alpha is not None:
        alpha = np.ascontiguousarray(
            extra.cast("uchar").numpy().reshape(image.height, image.width, -1)[..., page.alpha]
        )
    converted = inks != 1 and image.interpretation not in ("srgb", "rgb")
    if metadata.icc_profile and converted:
        metadata = replace(metadata, icc_profile=b"").without("the CMYK or Lab profile (the colours are sRGB now)")
    rgb = np.repeat(pixels, 3, 2) if inks == 1 else pixels
    return _photo(np.ascontiguousarray(rgb), alpha, inks == 1, metadata, converted)


def _photo(
    pixels: NDArray[Any], alpha: NDArray[Any] | None, grey: bool, metadata: Metadata, converted: bool = False
) -> Photo:
    """A photo in the space of its profile or, unless it was ``converted`` to sRGB, the one that only EXIF names."""
    if not (grey or converted):
        metadata = metadata.with_space_of_exif()
    return Photo(pixels, alpha, grey, metadata, tone=tone_of(metadata.icc_profile, pixels.dtype))


def _decode_webp(content: bytes, path: Path, _: int | None) -> Photo:
    with _explained(path):
        metadata, lossless = webp.read(content), webp.is_lossless(content)
        return replace(_decoded(content, path, metadata, len(content)), lossless=lossless)


def _decoded(picture: bytes, path: Path, metadata: Metadata, size: int, at_least: int | None = None) -> Photo:
    """Decode through Pillow, with the pixels as stored in the file of ``size`` bytes."""
    try:
        image = Image.open(io.BytesIO(picture), formats=list(_BY_PILLOW))
    except UnidentifiedImageError as error:
        raise ValueError("its beginning cannot be read") from error
    with image:
        _check_claim(image, path, size)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        image.load()
        shown: Image.Image = image
        space = {"CMYK": "CMYK", "LAB": "Lab"}.get(image.mode)
        if space:
            shown = _cmyk_to_srgb(image, metadata.icc_profile) if space == "CMYK" else image.convert("RGB")
            if metadata.icc_profile:
                gone = f"the {space} profile (the colours are sRGB now)"
                metadata = replace(metadata, icc_profile=b"").without(gone)
        grey = shown.mode in ("1", "L", "LA", "La")
        has_alpha = shown.has_transparency_data
        rgba = np.array(shown.convert("RGBA" if has_alpha else "RGB"))
    pixels = np.ascontiguousarray(rgba[..., :3])
    alpha = np.ascontiguousarray(rgba[..., 3]) if has_alpha else None
    return _photo(pixels, alpha, grey, metadata, bool(space))


def photo_size(source: Path | io.BytesIO) -> int:
    """Pixels that a file, or its content, claims to have, from its header only; 0 where that cannot be read."""
    if isinstance(source, Path) and not source.is_file():  # reading a pipe would block
        return 0
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            file.seek(0)
            beginning = file.read(32)
            if beginning.startswith(png.SIGNATURE):  # Pillow looks at more, which may be damaged
                width, height = struct.unpack_from(">II", beginning, 16)
                return int(width * height)
            kind = _sniffed(beginning)
            if kind in ("TIFF", "RAW"):  # Pillow looks at the first page, which may be a preview
                with (
                    nullcontext(file.getvalue())
                    if isinstance(file, io.BytesIO)
                    else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                ) as content:
                    if kind == "TIFF":
                        page, _, _ = tiff.page_of(Block(content))
                        if not page.raw:
                            return page.width * page.height
                    width, height = raw_metadata.size_of(content)
                    check_claim(Path(), len(content), width, height, 2 * width * height)
                    return width * height
            file.seek(0)
            if kind in ("HEIC", "AVIF", "JXL"):
                from . import newer

                return newer.pixels_of(file.read(), kind)
            with Image.open(file, formats=list(_BY_PILLOW)) as image:
                return image.width * image.height
    except Exception:  # damaged files make decoders raise almost anything; reading the photo reports it
        return 0


def check_claim(path: Path, size: int, width: int, height: int, claimed: int, kind: str = "") -> None:
    """Refuse a file of ``size`` bytes that is far too small for the ``claimed`` bytes of pixels.

    Raises:
        ImageError: it claims more than a file of its ``kind`` can hold.
    """
    if claimed > max(CLAIM_BYTES, CLAIM_RATIOS.get(kind, CLAIM_RATIO) * size):
        raise ImageError(
            f"{path} claims {width}x{height} pixels, which its {size} bytes can hardly hold; "
            "copy it again or leave it out"
        )


def _check_claim(image: Image.Image, path: Path, size: int) -> None:
    """Refuse files that are far too small for the pixels they claim: decoders may spend minutes on nothing."""
    claimed = image.width * image.height * len(image.getbands()) // (8 if image.mode == "1" else 1)
    check_claim(path, size, image.width, image.height, claimed, image.format or "")


def _cmyk_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # an unusable profile is not a reason to refuse the photo
    return image.convert("RGB")


def _decode_deep(content: bytes, path: Path, metadata: Metadata, page: tiff.Page | None = None) -> Photo:
    """Decode a PNG file, or a page of a TIFF file, through pyvips, with the pixels as stored."""
    vips = pyvips_for(path)
    # Sequential loads are not kept in the cache of libvips, which would keep copies of the content.
    image = vips.Image.new_from_buffer(content, "", access="sequential", fail_on="error").copy_memory()
    pixels = image.numpy()
    if pixels.dtype != np.uint16:
        raise ImageError(f"{path} has samples of type {pixels.dtype}; convert it to 8 or 16 bits first")
    pixels = pixels.reshape(image.height, image.width, -1)
    if page:  # libvips takes whatever sample comes last as alpha
        colours = page.colours
        place = None if page.alpha is None else colours + page.alpha
    else:
        colours = pixels.shape[2] - bool(image.hasalpha())
        place = colours if image.hasalpha() else None
    rgb = pixels[..., :3] if colours >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    alpha = None if place is None else np.ascontiguousarray(pixels[..., place])
    return _photo(np.ascontiguousarray(rgb), alpha, colours < 3, metadata)
