"""Damaged and hostile files of photos and weights, as many as wanted; each depends only on its number.

    python tests/hostile_files.py --files 20000    # read all of them, on all cores; prints a table of the results

A file of some format is cut, its bits flipped, its bytes and whole fields overwritten, parts of it removed, doubled or
taken from another file; the checksums of most PNG files are corrected afterwards. "Read" means that the pixels or
weights were read, "refused" that there was a one-sentence message with the file's name. Anything else, or more than
ten seconds or two gigabytes of memory, is a failure.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import photo_files
import pillow_heif
import pyjpegxl
import pyvips
import raw_files
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from expcorr_core.batch.bulk import prepare
from expcorr_core.batch.pool import Task, spread
from expcorr_core.machine import cores
from expcorr_core.method.network import Architecture, ExposureNetwork
from expcorr_core.method.weights import WeightsError, load_weights, save_weights
from expcorr_core.photos.metadata import Metadata
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import ImageError, read_photo
from expcorr_core.photos.writing import encode_photo, write_photo

BATCH = 100
SECONDS, BYTES = 10.0, 2 * 2**30
PROFILE = imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.329), primaries=(0.64, 0.33, 0.21, 0.71, 0.15, 0.06))
SUFFIXES = {"jpeg": "jpg", "tiff": "tif", "weights": "safetensors", "raw": "dng"}
NUMBERS = (0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


FINE = ("read", "refused")


class Tried(NamedTuple):
    """What became of a file; ``how`` is ``read``, ``refused``, or what went wrong."""

    kind: str
    how: str
    seconds: float
    grown: int


@cache
def originals() -> dict[str, bytes]:
    """One whole file of each kind."""
    y, x = np.mgrid[0:48, 0:64]
    pixels = np.stack((4 * x, 5 * y, (x * y) % 256), -1).astype(np.uint8)
    pixels[::7] ^= 85
    photo, deep = Image.fromarray(pixels), pixels.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    exif.get_ifd(0x8825)[1] = "N"
    rich = {
        "exif": exif,
        "icc_profile": PROFILE,
        "xmp": b"<x xmlns:g='http://ns.adobe.com/hdr-gain-map/1.0/' g:Version='1' GPSLatitude='1'/>",
    }
    found = {
        "jpeg": saved(photo, "JPEG", **rich),
        "jpeg progressive": saved(photo, "JPEG", progressive=True, restart_marker_blocks=4),
        "jpeg cmyk": saved(photo.convert("CMYK"), "JPEG"),
        "jpeg gain map": with_gain_map(),
        "png": saved(photo, "PNG", **{**rich, "xmp": None}),
        "png palette": saved(photo.convert("P"), "PNG", transparency=3),
        "png alpha": saved(photo.convert("RGBA"), "PNG"),
        "png 16 bit": pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").pngsave_buffer(interlace=True),
        "webp": saved(photo, "WEBP", **rich),
        "webp lossless": saved(photo.convert("RGBA"), "WEBP", lossless=True),
        "webp animated": saved(photo, "WEBP", save_all=True, append_images=[photo.rotate(9)]),
        "tiff": saved(photo, "TIFF", exif=exif, icc_profile=PROFILE),
        "tiff group 4": saved(photo.convert("1"), "TIFF", compression="group4"),
    }
    for name in ("lzw", "deflate", "jpeg", "packbits"):
        found[f"tiff {name}"] = saved(photo, "TIFF", compression={"deflate": "tiff_adobe_deflate"}.get(name, name))
    tiled = {"tile": (16, 16), "compression": "zlib", "predictor": True}
    for name, options in {"tiff 16 bit": {}, "tiff tiled": tiled}.items():
        file = io.BytesIO()
        tifffile.imwrite(file, deep, photometric="rgb", metadata=None, iccprofile=PROFILE, **options)
        found[name] = file.getvalue()
    found |= newer_originals(photo, deep, exif)
    with tempfile.TemporaryDirectory() as folder:
        path = raw_files.write_dng(Path(folder) / "a.dng", raw_files.light_of(pixels), 1.0)
        found["raw"] = path.read_bytes()
        found["raw orf"] = b"IIRO" + found["raw"][4:]
        found["raw preview"] = raw_files.with_preview(path, pixels).read_bytes()
        path = raw_files.write_dng(Path(folder) / "a.dng", raw_files.light_of(pixels), None)
        found["raw compressed"] = raw_files.compressed(path).read_bytes()
        torch.manual_seed(0)
        save_weights(Path(folder) / "w", ExposureNetwork(Architecture((1, 1), (4, 4))), {})
        found["weights"] = (Path(folder) / "w").read_bytes()
    return found


def with_gain_map() -> bytes:
    """A motion photo with a gain map whose numbers differ by channel, in both forms."""
    values = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    rows = [(-0.5, 2.0 + n, 1.0, 1 / 64, 1 / 64) for n in range(3)]
    video = struct.pack(">I8s", 12, b"ftypmp42") + struct.pack(">I4s", 40, b"mdat") + bytes(32)
    camera = b' xmlns:G="http://ns.google.com/photos/1.0/camera/" G:MotionPhoto="1"'
    block = b"Exif\0\0" + photo_files.exif_block(orientation=6)
    with tempfile.TemporaryDirectory() as folder:
        path = photo_files.ultra_hdr(
            Path(folder) / "a.jpg",
            values,
            (rows, (0.0, 4.0)),
            (0xE1, block),
            after=video,
            listed=photo_files.container_item(b"MotionPhoto", b"video/mp4", len(video)),
            camera=camera,
        )
        return path.read_bytes()


def newer_originals(photo: Image.Image, deep: NDArray[np.uint16], exif: Image.Exif) -> dict[str, bytes]:
    """HEIC, AVIF and JPEG XL."""
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    metadata = Metadata(exif=block, xmp=b"<x GPSLatitude='1'/>", icc_profile=PROFILE)
    plain = np.asarray(photo)
    photos = {
        "heic": Photo(plain, metadata=metadata),
        "heic alpha": Photo(deep, deep[..., 0], metadata=metadata),
        "avif": Photo(plain, metadata=metadata),
        "avif alpha": Photo(plain, plain[..., 0]),
        "avif 10 bit": Photo(deep, metadata=metadata),
        "jxl": Photo(plain, plain[..., 0], metadata=replace(metadata, icc_profile=b"")),
        "jxl profile": Photo(deep, metadata=metadata, lossless=True),
    }
    found = {}
    for name, one in photos.items():
        file = io.BytesIO()
        encode_photo(file, one, name.split()[0].upper())
        found[name] = file.getvalue()
    file = io.BytesIO()
    more = {"tile_size": 32, "thumbnails": [16], "exif": exif.tobytes()}
    pillow_heif.encode("RGB", photo.size, photo.tobytes(), file, quality=60, **more)
    return {**found, "heic tiles": file.getvalue(), "jxl jpeg": pyjpegxl.jpeg_to_jxl(saved(photo, "JPEG"))}


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def mutant(number: int) -> tuple[str, bytes]:
    """The kind and the bytes of a damaged file."""
    rng = np.random.default_rng(number)
    kinds = list(originals())
    kind = kinds[number % len(kinds)]
    content = bytearray(originals()[kind])
    for _ in range(int(rng.integers(1, 5))):
        damage(content, rng)
    if kind.startswith("png") and rng.random() < 0.7:
        mend_checksums(content)
    return kind, bytes(content)


def mend_checksums(png: bytearray) -> None:
    """Correct the checksums, so that the damage is not found by the first check."""
    at = 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4], "big")
        if end + 4 > len(png):
            return
        png[end : end + 4] = struct.pack(">I", zlib.crc32(png[at + 4 : end]))
        at = end + 4


def damage(content: bytearray, rng: np.random.Generator) -> None:
    """Damage the bytes in one of several ways, in place."""
    # Headers matter most.
    reach = len(content) if rng.random() < 0.5 else min(len(content), 600)
    if not reach:
        return
    at = int(rng.integers(reach))
    length = int(rng.integers(1, 65))
    match int(rng.integers(8)):
        case 0:
            del content[at:]
        case 1:
            for place in rng.integers(reach, size=length):
                content[place] ^= 1 << int(rng.integers(8))
        case 2:
            content[at : at + length] = rng.bytes(len(content[at : at + length]))
        case 3:
            del content[at : at + length]
        case 4:
            content[at:at] = content[at : at + length]
        case 5:
            other = list(originals().values())[int(rng.integers(len(originals())))]
            start = int(rng.integers(len(other)))
            content[at : at + length] = other[start : start + length]
        case _:
            order, size = "<>"[int(rng.integers(2))], "BHI"[int(rng.integers(3))]
            number = int(rng.choice(NUMBERS)) % (1 << 8 * struct.calcsize(size))
            field = struct.pack(order + size, number)
            content[at : at + len(field)] = field


def peak() -> int:
    """The most memory that this process has held, bytes."""
    return int(Path("/proc/self/status").read_text("ascii").partition("VmHWM:")[2].split()[0]) * 1024


def attempt(path: Path) -> str:
    """Read and write a file as the program does: pixels, profile, metadata."""
    try:
        if path.suffix == ".safetensors":
            load_weights(path)
            return "read"
        photo = read_photo(path)
        assert photo.space is None or photo.to_tensor().isfinite().all()
        number = int(path.stem) if path.stem.isdecimal() else 0
        suffixes = ("jpg", "png", "tif", "webp", "heic", "avif", "jxl")[: 7 if photo.pixels.size < 10**7 else 3]  # slow
        suffix, kept = suffixes[number % len(suffixes)], ("all", "no-gps")[number // len(suffixes) % 2]
        if photo.metadata.gain_map:
            photo = photo.with_tensor(photo.to_tensor() ** 0.5)
        written = path.with_name(f"written.{suffix}")
        write_photo(written, photo.with_metadata(kept), overwrite=True)
        read_photo(written)
    except (ImageError, WeightsError) as error:
        return "refused" if str(path.parent) in str(error) and "\n" not in str(error) else f"unclear: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def try_batch(first: int, count: int) -> list[Tried]:
    """Mutants ``first ..`` through the reader."""
    prepare()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            kind, content = mutant(number)
            path = Path(folder) / f"{number}.{SUFFIXES.get(kind.split()[0], kind.split()[0])}"
            path.write_bytes(content)
            Path("/proc/self/clear_refs").write_text("5", "ascii")
            before, start = peak(), time.perf_counter()
            faulthandler.dump_traceback_later(6 * SECONDS, exit=True)  # hung in a decoder: the process ends
            how = attempt(path)
            faulthandler.cancel_dump_traceback_later()
            seconds, grown = time.perf_counter() - start, peak() - before
            path.unlink()
            if seconds > SECONDS or grown > BYTES:
                how = f"{seconds:.0f} s, {grown / 2**20:.0f} MiB"
            found.append(Tried(kind, how, seconds, grown))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    args = parser.parse_args()
    tasks = [
        Task((first, BATCH), [Tried("?", f"process died in {first} .. {first + BATCH - 1}", 0, 0)])
        for first in range(args.first, args.first + args.files, BATCH)
    ]
    tried: list[Tried] = []
    for batch in tqdm(spread(try_batch, tasks, cores()), total=len(tasks)):
        tried += batch
    print(table(tried))
    failed = [t for t in tried if t.how not in FINE]
    for t in failed[:20]:
        print(f"FAILED {t.kind}: {t.how}")
    sys.exit(1 if failed else 0)


def table(tried: Sequence[Tried]) -> str:
    """How often each kind was read and refused, and failed; the longest time, the most memory."""
    counts = Counter((t.kind, t.how if t.how in FINE else "failed") for t in tried)
    lines = []
    for kind in sorted({t.kind for t in tried}):
        read, refused, failed = (counts[kind, how] for how in (*FINE, "failed"))
        lines.append(f"{kind:<18}{read:>7} read{refused:>7} refused{failed:>7} failed")
    seconds, grown = max(t.seconds for t in tried), max(t.grown for t in tried) / 2**20
    return "\n".join((*lines, f"{len(tried)} files; at most {seconds:.2f} s and {grown:.0f} MiB"))


if __name__ == "__main__":
    main()
