"""The table of docs/files.md: what happens to everything in a file, in each format."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import photo_files as make
import pytest
from PIL import Image, features

from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import read_photo
from expcorr_core.photos.writing import write_photo

SUFFIXES = ("jpg", "png", "tif", "webp", "heic", "avif", "jxl")
PACKAGES = {"heic": "pillow_heif", "jxl": "pyjpegxl"}  # of the heif extra
EXIF, XMP_SEGMENT = (0xE1, b"Exif\0\0"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0")
EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
DEEP = make.gradient().astype(np.uint16) * 257 + 3
MOTION = b' xmlns:G="http://ns.google.com/photos/1.0/camera/" G:MicroVideo="1" G:MicroVideoOffset="24"'
MORE_XMP = (make.XMP % (b' xmp:Label="%s"' % (b"long " * 20_000))).replace(b"xmp:Rating", b"xmp:Nickname")
LONG_XMP = make.XMP % (b' xmp:Label="%s"' % (b"long " * 20_000))


def named(path: Path, suffix: str) -> Path:
    return path.with_suffix(f".{suffix}")


def jpeg_exif(path: Path, **options: Any) -> Path:
    return make.jpeg(named(path, "jpg"), (EXIF[0], EXIF[1] + make.exif_block(**options)))


def long_exif(path: Path) -> Path:
    block = make.exif_block(comment=b"x" * 80_000)
    parts = [block[at : at + 60_000] for at in range(0, len(block), 60_000)]
    return make.jpeg(named(path, "jpg"), *[(EXIF[0], EXIF[1] + part) for part in parts])


def jpeg_xmp(path: Path, attributes: bytes) -> Path:
    return make.jpeg(named(path, "jpg"), (XMP_SEGMENT[0], XMP_SEGMENT[1] + make.XMP % attributes))


def extended_xmp(path: Path) -> Path:
    more = MORE_XMP
    guid = hashlib.md5(more).hexdigest().upper().encode()
    main = make.XMP % (b' xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="%s"' % guid)
    parts = [(at, more[at : at + 60_000]) for at in range(0, len(more), 60_000)]
    held = [(0xE1, EXTENSION + guid + struct.pack(">II", len(more), at) + part) for at, part in parts]
    return make.jpeg(named(path, "jpg"), (XMP_SEGMENT[0], XMP_SEGMENT[1] + main), *held)


def text(keyword: bytes) -> bytes:
    return make.chunk(b"tEXt", keyword + b"\0masterpiece\nSteps: 20")


SOURCES: dict[str, Callable[[Path], Path]] = {
    "EXIF": jpeg_exif,
    "maker notes": lambda path: jpeg_exif(path, order=">"),
    "EXIF orientation": lambda path: jpeg_exif(path, orientation=6),
    "EXIF thumbnail": jpeg_exif,
    "EXIF over 64 KB": long_exif,
    "XMP": lambda path: jpeg_xmp(path, b""),
    "XMP orientation": lambda path: jpeg_xmp(
        path, b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" tiff:ImageWidth="96"'
    ),
    "XMP over 64 KB": lambda path: make.png(
        named(path, "png"), make.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LONG_XMP)
    ),
    "extended XMP": extended_xmp,
    "IPTC, image resources": lambda path: make.jpeg(
        named(path, "jpg"), *[(0xED, b"Photoshop 3.0\0" + part) for part in (make.iptc()[:50], make.iptc()[50:])]
    ),
    "Photoshop's thumbnail": lambda path: make.jpeg(named(path, "jpg"), (0xED, b"Photoshop 3.0\0" + make.iptc())),
    "ICC profile": lambda path: make.jpeg(named(path, "jpg"), (0xE2, b"ICC_PROFILE\0\1\1" + make.SRGB)),
    "resolution": lambda path: make.png(
        named(path, "png"), make.chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1))
    ),
    "JPEG comment": lambda path: make.jpeg(named(path, "jpg"), (0xFE, b"a comment")),
    "JPEG's other segments": lambda path: make.jpeg(named(path, "jpg"), (0xEC, b"Ducky\0odd bytes")),
    "PNG text before the pixels": lambda path: make.png(named(path, "png"), text(b"parameters")),
    "PNG text behind the pixels": lambda path: make.png(named(path, "png"), after=text(b"workflow")),
    "PNG gamma": lambda path: make.png(named(path, "png"), make.chunk(b"gAMA", struct.pack(">I", 100_000))),
    "PNG's other chunks": lambda path: make.png(named(path, "png"), make.chunk(b"abCd", b"odd bytes")),
    "TIFF tags": lambda path: make.tiff(named(path, "tif"), (269, 2, 5, b"Name\0"), (65_001, 7, 9, b"odd bytes")),
    "TIFF's IPTC": lambda path: make.tiff(named(path, "tif"), (33723, 7, 10, b"\x1c\2\x19\0\5night")),
    "16 bits a channel": lambda path: make.png(named(path, "png"), pixels=DEEP),
    "alpha": lambda path: with_alpha(named(path, "png")),
    "further pictures": lambda path: make.jpeg(named(path, "jpg"), (0xE2, b"MPF\0II*\0"), after=make.PICTURE),
    "video of a motion photo": lambda path: make.jpeg(
        named(path, "jpg"),
        (XMP_SEGMENT[0], XMP_SEGMENT[1] + make.XMP % MOTION),
        after=b"\0\0\0\x18ftypmp42" + bytes(12),
    ),
    "gain map": lambda path: make.ultra_hdr(named(path, "jpg")),
    "Adobe RGB that only EXIF names": lambda path: in_adobe_rgb(named(path, "jpg")),
    "layers": lambda path: make.tiff(named(path, "tif"), (37724, 7, 40, b"Adobe Photoshop Document Data Block\0layr")),
    "content credentials": lambda path: make.jpeg(named(path, "jpg"), (0xEB, b"JP\0\1\0\0\0\1" + b"jumbc2pa")),
}  # fmt: skip


def in_adobe_rgb(path: Path) -> Path:
    exif = Image.Exif()
    exif.get_ifd(34665).update({40961: 65535, 40965: {1: "R03"}})
    Image.fromarray(make.gradient()).save(path, exif=exif, quality=95, subsampling=0)
    return path


def with_alpha(path: Path) -> Path:
    image = Image.fromarray(make.gradient())
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(path)
    return path


def needs_package(suffix: str) -> None:
    if suffix in PACKAGES:
        pytest.importorskip(PACKAGES[suffix], reason=f".{suffix} needs the heif extra")
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")


def opened(path: Path) -> tuple[Image.Exif, dict[str, Any], tuple[int, int]]:
    """EXIF, other metadata and size, as another reader sees them."""
    if path.suffix == ".jxl":
        import pyjpegxl

        told, exif = pyjpegxl.probe(path.read_bytes()), Image.Exif()
        if told.exif:
            exif.load(told.exif[4:])
        info = {"xmp": told.xmp, "icc_profile": told.icc}
        return exif, {name: value for name, value in info.items() if value}, (told.width, told.height)
    if path.suffix == ".heic":
        import pillow_heif

        found = pillow_heif.open_heif(path)
        exif = Image.Exif()
        exif.load(found.info["exif"] or b"")
        return exif, found.info, found.size
    with Image.open(path) as image:
        exif = image.getexif()
        for directory in (34665, 34853):  # read while the file is open
            exif.get_ifd(directory)
        return exif, image.info, image.size


def carried(path: Path, photo: Photo) -> dict[str, Any]:
    """What a file contains, by the rows of the table, read from its bytes or by Pillow."""
    content = path.read_bytes()
    found = photo.metadata
    exif, info, _ = opened(path)
    plain = b"".join(_texts(content)) if path.suffix == ".png" else content
    return {
        "EXIF": (exif.get(315) == make.AUTHOR.decode("latin-1") or make.AUTHOR in content)
        and dict(exif.get_ifd(34853)) == {1: "N", 2: (52.0, 30.0, 0.0)},
        "maker notes": _noted(content) and _noted(found.exif),
        "EXIF over 64 KB": b"x" * 80_000 in content,
        "XMP": info.get("xmp") == make.XMP % b"",
        "XMP over 64 KB": info.get("xmp") == LONG_XMP,
        "extended XMP": EXTENSION in content and found.extended_xmp == MORE_XMP,
        "IPTC, image resources": b"\x1c\2\x78\0\6S\xc3\xbcden" in plain and b"8BIM\x10\x92\0\0\0\0\0\3odd" in plain,
        "Photoshop's thumbnail": b"old picture" in plain,
        "ICC profile": info.get("icc_profile") == make.SRGB,
        "resolution": [round(float(v)) for v in info.get("dpi", ())] == [300, 300],
        "JPEG comment": b"\xff\xfe\0\x0ba comment" in content,
        "JPEG's other segments": b"Ducky\0odd bytes" in content,
        "PNG text before the pixels": text(b"parameters") in content,
        "PNG text behind the pixels": text(b"workflow") in content,
        "PNG gamma": b"gAMA\0\1\x86\xa0" in content,
        "PNG's other chunks": b"abCdodd bytes" in content,
        "TIFF tags": exif.get(269) == "Name" and exif.get(65_001) == b"odd bytes",
        "TIFF's IPTC": b"\x1c\2\x19\0\5night" in plain,
        "16 bits a channel": photo.deep and (path.suffix == ".jxl" or bool((photo.pixels % 257 == 3).all())),
        "alpha": photo.alpha is not None and photo.alpha[0, 0] < 5 and photo.alpha[-1, -1] > 250,
        "further pictures": b"MPF\0" in content or b"old picture" in content,
        "video of a motion photo": b"ftypmp42" in content and b'MicroVideoOffset="24"' in content,
        "gain map": b"hdr-gain-map" in content and b"21496" in content and found.gain_map is not None,
        "Adobe RGB that only EXIF names": b"Adobe RGB (1998)" in (info.get("icc_profile") or b""),
        "layers": b"layr" in content,
        "content credentials": b"jumb" in content,
    }  # fmt: skip


def _texts(content: bytes) -> list[bytes]:
    """The text in chunks of PNG files, unpacked."""
    place, found = 8, []
    while place < len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + size]
        if kind == b"zTXt":
            unpacked = zlib.decompress(data.partition(b"\0")[2][1:]).split(b"\n", 3)[-1]
            found.append(bytes.fromhex(unpacked.decode()))
        found.append(data)
        place += 12 + size
    return found


def _noted(content: bytes) -> bool:
    """Whether the addresses in maker notes, counted from the block's beginning, point to the right data."""
    begins = [at for at in range(len(content) - 8) if content[at : at + 4] in (b"II*\0", b"MM\0*")]
    for begin in begins:
        order = "<" if content[begin : begin + 1] == b"I" else ">"
        at = content.find(b"MAKER\0\0\0", begin)
        if at > 0 and content.startswith(b"Canon EF 34mm", begin + struct.unpack_from(order + "I", content, at + 8)[0]):
            return True
    return False


def adapted(row: str, path: Path, photo: Photo, source: Photo) -> bool:
    """Whether what was adapted is right."""
    content = path.read_bytes()
    exif, info, size = opened(path)
    if row in ("EXIF orientation", "XMP orientation"):
        told = b"Orientation" in info.get("xmp", b"") or exif.get(274, 1) != 1
        swapped = row[0] == "E" or b'ImageLength="96"' in info["xmp"]
        wide = exif.get_ifd(34665).get(40962, 64)
        return size == (64, 96) and not told and swapped and wide == 64
    if row == "EXIF thumbnail":
        content = photo.metadata.exif if path.suffix in (".heic", ".avif", ".jxl") else content
        small = Image.open(io.BytesIO(content[content.rindex(b"\xff\xd8\xff", 0, content.index(b"\xff\xd9")) :]))
        wanted = np.asarray(Image.fromarray(source.pixels).resize(small.size)).astype(float)
        return b"old picture" not in content and float(np.abs(np.asarray(small) - wanted).mean()) < 8
    if row in ("XMP over 64 KB", "extended XMP"):
        both = photo.metadata.extended_xmp if path.suffix == ".jpg" else info["xmp"]
        return b"long long" in both and (b"Nickname" in both) == (row[0] == "e") and b"HasExt" not in both
    if row == "JPEG comment":
        return info["Comment"] == "a comment"
    shown = source.to_tensor() if row == "PNG gamma" else photo.to_tensor()
    return "gamma" not in info and float((photo.to_tensor() - shown).abs().mean()) < 0.01


def table() -> list[tuple[str, str, str]]:
    lines = (Path(__file__).parent.parent / "docs" / "files.md").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| from"))
    table = lines[first + 2 : lines.index("", first)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return [(row, suffix, cell) for row, *cells in rows for suffix, cell in zip(SUFFIXES, cells, strict=True)]


def test_every_row_has_a_file() -> None:
    assert {row for row, _, _ in table()} == SOURCES.keys()


@pytest.mark.parametrize(("row", "suffix", "cell"), table())
def test_cell(tmp_path: Path, row: str, suffix: str, cell: str) -> None:
    if row.startswith("16 bits"):
        pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    needs_package(suffix)
    source = read_photo(SOURCES[row](tmp_path / "source"))
    path = tmp_path / f"result.{suffix}"
    left_out = write_photo(path, source)
    again = read_photo(path)
    if cell == "kept":
        assert carried(path, again)[row]
        assert not left_out or row.startswith(("EXIF", "maker notes", "IPTC"))  # their thumbnails
    elif cell == "adapted":
        assert adapted(row, path, again, source)
        assert not left_out or (suffix == "tif" and left_out == ("the thumbnail",))
    else:
        assert cell == "left out"
        assert not carried(path, again).get(row)
        assert left_out
    # Once more, nothing changes, and nothing is lost that was kept.
    second = tmp_path / f"second.{suffix}"
    write_photo(second, again)
    assert carried(second, read_photo(second)) == carried(path, again)
    assert read_photo(second).pixels.shape == again.pixels.shape


@pytest.mark.skipif(not shutil.which("exiftool"), reason="ExifTool is not installed")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exiftool_sees_the_same(tmp_path: Path, order: str, suffix: str) -> None:
    needs_package(suffix)
    packet = make.XMP % b' xmp:Label="label"'
    source = make.jpeg(
        tmp_path / "a.jpg",
        (0xE1, EXIF[1] + make.exif_block(order)),
        (0xE1, XMP_SEGMENT[1] + packet),
        (0xED, b"Photoshop 3.0\0" + make.iptc()),
    )
    write_photo(tmp_path / f"b.{suffix}", read_photo(source))
    command = ["exiftool", "-a", "-s", "-j", "-EXIF:All", "-XMP:All", "-IPTC:All"]
    both = [
        json.loads(subprocess.run([*command, str(path)], capture_output=True, check=False).stdout)[0]
        for path in (source, tmp_path / f"b.{suffix}")
    ]
    left = {
        "SourceFile",
        "ThumbnailOffset",
        "ThumbnailLength",
        "ThumbnailImage",
        "Orientation",
        "Compression",
        "Validate",
        "Warning",
    }
    left |= {"Keywords", "Caption-Abstract"} if suffix not in ("jpg", "png", "tif") else set()
    before = {name: value for name, value in both[0].items() if name not in left}
    assert before == {name: both[1].get(name) for name in before}
