"""Photo files as they are found in the wild: previews first, selections, damaged blocks, second copies, odd types."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import photo_files as make
import pytest
import tifffile
from PIL import Image

from expcorr_core.photos import exif, iptc, xmp
from expcorr_core.photos.directories import ASCII, LONG, RATIONAL, SHORT, Block, Value
from expcorr_core.photos.metadata import Metadata
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import ImageError, photo_size, read_photo
from expcorr_core.photos.writing import write_photo

DEEP = make.gradient().astype(np.uint16) * 257
MASK = np.zeros((64, 96), np.uint16)
XMP = b"http://ns.adobe.com/xap/1.0/\0"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("kinds", [["unspecified"], ["unassalpha", "unspecified"], ["unspecified", "unassalpha"]])
def test_a_selection_is_no_transparency(tmp_path: Path, dtype: type, planes: bool, kinds: list[str]) -> None:
    pytest.importorskip("pyvips", reason="extra samples need the deep extra")
    colours = make.gradient().astype(dtype) * (np.iinfo(dtype).max // 255)
    extra = [MASK.astype(dtype) if kind == "unspecified" else colours[..., 0] for kind in kinds]
    pixels = np.concatenate((colours, *(e[..., None] for e in extra)), 2)
    options = {"planarconfig": "separate" if planes else "contig", "extrasamples": kinds, "photometric": "rgb"}
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(pixels, 2, 0) if planes else pixels, metadata=None, **options)
    photo = read_photo(tmp_path / "a.tif")
    assert np.array_equal(photo.pixels, colours)
    assert (photo.alpha is not None) == ("unassalpha" in kinds)
    assert photo.alpha is None or np.array_equal(photo.alpha, colours[..., 0])
    assert "further channels" in photo.metadata.left_out


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_grey_with_transparency(tmp_path: Path, dtype: type, planes: bool, photometric: str) -> None:
    pytest.importorskip("pyvips", reason="extra samples need the deep extra")
    grey, alpha = (make.gradient()[..., channel].astype(dtype) for channel in (0, 1))
    pixels = np.stack((grey, alpha), 0 if planes else 2)
    config = "separate" if planes else "contig"
    kinds = {"photometric": photometric, "planarconfig": config, "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=None, **kinds)
    photo = read_photo(tmp_path / "a.tif")
    wanted = grey if photometric == "minisblack" else np.iinfo(dtype).max - grey
    assert photo.grey
    assert np.array_equal(photo.pixels[..., 0], wanted)
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, alpha)


def with_preview(path: Path, below: bool, photometric: int = 2) -> Path:
    """A TIFF file whose first page is a preview with all metadata, and the photo behind or below it."""
    small = make.gradient(12, 16)
    with tifffile.TiffWriter(path) as file:
        tags = [(271, 2, 0, "Maker", True), (274, 3, 1, 6, True), (700, 1, len(PACKET), PACKET, True)]
        file.write(small, photometric="rgb", subfiletype=1, subifds=int(below), extratags=tags, metadata=None)
        file.write(make.gradient(), photometric="rgb", subfiletype=0, metadata=None)
    content = path.read_bytes()
    place = struct.pack("<HHII", 262, 3, 1, 2)
    at = content.rindex(place)  # of the photo
    path.write_bytes(content[:at] + struct.pack("<HHII", 262, 3, 1, photometric) + content[at + 12 :])
    return path


PACKET = make.XMP % b""


@pytest.mark.parametrize("below", [False, True])
def test_a_preview_is_not_taken_for_the_photo(tmp_path: Path, below: bool) -> None:
    photo = read_photo(with_preview(tmp_path / "a.tif", below))
    assert photo.pixels.shape == (96, 64, 3)  # turned, as the first page tells
    sources = (tmp_path / "a.tif", io.BytesIO((tmp_path / "a.tif").read_bytes()))
    assert [photo_size(source) for source in sources] == [96 * 64] * 2
    assert b"Maker\0" in photo.metadata.exif
    assert photo.metadata.xmp == PACKET
    with pytest.raises(ImageError, match="holds a raw photo"):
        read_photo(with_preview(tmp_path / "b.tif", below, photometric=32803))


def test_transparent_grey_of_few_bits(tmp_path: Path) -> None:
    for depth in (1, 2, 4, 8):
        value, levels = 1, 1 << depth
        row = np.arange(64) % levels
        packed = np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :].ravel())
        header = struct.pack(">IIBBBBB", 64, 1, depth, 0, 0, 0, 0)
        body = make.chunk(b"IHDR", header) + make.chunk(b"tRNS", struct.pack(">H", value))
        body += make.chunk(b"IDAT", zlib.compress(b"\0" + packed.tobytes())) + make.chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
        alpha = read_photo(tmp_path / "a.png").alpha
        assert alpha is not None
        assert np.array_equal(alpha[0] == 0, row == value), depth


def circle(tag: int) -> bytes:
    """A block with a directory that points to itself."""
    entries = struct.pack("<HHII", 271, 2, 4, 0x52414D) + struct.pack("<HHII", tag, 4, 1, 8)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4)


@pytest.mark.parametrize(
    "block",
    [
        b"II*\0\0\0\0\0",
        b"II*\0\x08\0\0\0\0\0\0\0\0\0",
        circle(34665),
        circle(34853),
        circle(40965),
        make.exif_block()[:60],
        b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\x0a\0\0\0",
    ],
)
def test_no_block_costs_the_photo(tmp_path: Path, block: bytes) -> None:
    source = make.jpeg(tmp_path / "a.jpg", (0xE1, b"Exif\0\0" + block))
    photo = read_photo(source)
    for suffix in ("jpg", "png", "tif", "webp"):
        for kept in ("all", "no-gps", "none"):
            write_photo(tmp_path / f"b.{suffix}", photo.with_metadata(kept), overwrite=True)


def test_deep_files_that_claim_too_much_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64, 3), np.uint16), photometric="rgb", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages.first.tags[name].overwrite(30_000)
    with pytest.raises(ImageError, match="claims 30000x30000"):
        read_photo(tmp_path / "a.tif")


def test_a_thumbnail_does_not_grow_the_block(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    path = make.jpeg(tmp_path / "a.jpg", (0xE1, b"Exif\0\0" + make.exif_block()))
    photo = Photo(noise, metadata=read_photo(path).metadata)
    sizes = []
    for number in range(12):
        assert not write_photo(tmp_path / f"{number}.jpg", photo)
        again = read_photo(tmp_path / f"{number}.jpg")
        sizes.append(len(again.metadata.exif))
        photo = Photo(np.roll(noise, number, 0), metadata=again.metadata)
    assert max(sizes[1:]) - min(sizes[1:]) < 2000
    assert exif.thumbnail_size(photo.metadata.exif)


@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
@pytest.mark.parametrize("count", [1, 2])
def test_orientation_of_any_type_is_reset(kind: int, count: int) -> None:
    form = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}[kind]
    data = struct.pack(f"<{count}{form}", *[6] * count)
    tree = {274: Value(kind, count, data), 271: Value(ASCII, 2, b"M\0")}
    block, _ = exif.block_of(tree, "<", b"")
    assert Metadata(exif=block).orientation == 6
    assert Block(exif.turned_upright(block, True)).orientation == 1


def test_sides_of_two_types_change_places() -> None:
    tree = {256: Value(LONG, 1, struct.pack("<I", 64)), 257: Value(SHORT, 1, struct.pack("<H", 48))}
    block, _ = exif.block_of(tree, "<", b"")
    turned = Block(exif.turned_upright(block, True))
    first = turned.directory(turned.first)
    assert [turned.numbers(first.entries[tag]) for tag in (256, 257)] == [(48,), (64,)]


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        (make.XMP % b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"', 6),
        (make.XMP % b' xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="6"', 6),
        (make.XMP % b' xmlns:tiff="elsewhere" tiff:Orientation="6"', 0),
        (make.XMP.replace(b"<rdf:Desc", b'<!-- tiff:Orientation="6" --><rdf:Desc') % b"", 0),
        ((make.XMP % b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"').decode().encode("utf-16"), 6),
    ],
)
def test_orientation_in_xmp(packet: bytes, wanted: int) -> None:
    assert xmp.orientation(packet) == wanted
    upright, _ = xmp.of_upright(packet, turned=wanted == 6, sideways=wanted == 6)
    assert xmp.orientation(upright) == 0
    if not wanted:
        assert upright == packet


PANTRY = (make.XMP % b"").replace(
    b'xmp:Rating="5"/>',
    b'xmp:Rating="5" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"%s><xmp:Pantry><rdf:Bag><rdf:li><rdf:Description '
    b'tiff:Orientation="6"/></rdf:li></rdf:Bag></xmp:Pantry></rdf:Description>',
)


def test_orientation_of_another_picture_within() -> None:
    assert xmp.orientation(PANTRY % b"") == 0
    assert xmp.of_upright(PANTRY % b"", turned=False, sideways=False) == (PANTRY % b"", [])
    element = PANTRY.replace(b"%s><xmp:Pantry>", b"><tiff:Orientation>6</tiff:Orientation><xmp:Pantry>")
    assert xmp.orientation(element) == 6


def test_a_packet_that_no_parser_reads_is_mended_in_place() -> None:
    packet = make.XMP % b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" xmp:Label="K\xf6ln & x"'
    upright, said = xmp.of_upright(packet, turned=True, sideways=True)
    assert upright == packet.replace(b'Orientation="6"', b'Orientation="1"')
    assert not said


def test_comments_in_all_languages(tmp_path: Path) -> None:
    text = "K\u00f6ln \u6771\u4eac"
    source = make.jpeg(tmp_path / "a.jpg", (0xFE, text.encode()))
    write_photo(tmp_path / "b.png", read_photo(source))
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["Comment"] == text
    write_photo(tmp_path / "c.jpg", read_photo(tmp_path / "b.png"))
    assert text.encode() in (tmp_path / "c.jpg").read_bytes()


def test_what_follows_a_picture_is_called_by_its_name(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(make.gradient(8, 8)).save(file, "JPEG")
    for after, name in (
        (file.getvalue(), "further pictures of the file"),
        (b"something else", "data after the picture"),
    ):
        assert read_photo(make.jpeg(tmp_path / "a.jpg", after=after)).metadata.left_out == (name,)
    assert not read_photo(make.jpeg(tmp_path / "a.jpg", after=bytes(9))).metadata.left_out


def test_second_copies_are_told(tmp_path: Path) -> None:
    packets = [
        make.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + make.XMP % label) for label in (b"", b' xmp:Label="b"')
    ]
    photo = read_photo(make.png(tmp_path / "a.png", packets[0] + packets[1]))
    assert photo.metadata.xmp == make.XMP % b""
    assert photo.metadata.left_out == ("a second XMP packet",)
    blocks = [make.chunk(b"eXIf", make.exif_block(comment=text)) for text in (b"1", b"2")]
    assert "a second EXIF block" in read_photo(make.png(tmp_path / "b.png", blocks[0] + blocks[1])).metadata.left_out
    two = [(0xE1, XMP + make.XMP % label) for label in (b"", b' xmp:Label="b"')]
    assert "a second XMP packet" in read_photo(make.jpeg(tmp_path / "c.jpg", *two)).metadata.left_out


def test_primaries_and_shapes_that_only_png_tells(tmp_path: Path) -> None:
    adobe = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    chunks = make.chunk(b"cHRM", adobe) + make.chunk(b"pHYs", struct.pack(">IIB", 1, 2, 0))
    photo = read_photo(make.png(tmp_path / "a.png", chunks))
    assert not write_photo(tmp_path / "b.png", photo)
    left_out = write_photo(tmp_path / "b.jpg", photo)
    assert "the colour space of PNG's cHRM" in left_out
    assert "the aspect ratio of its pixels, which are not square" in left_out
    srgb = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    assert not write_photo(tmp_path / "c.jpg", read_photo(make.png(tmp_path / "c.png", make.chunk(b"cHRM", srgb))))


@pytest.mark.parametrize(
    "space", [b"http://ns.google.com/photos/dd/1.0/container/", b"http://ns.google.com/photos/1.0/container/"]
)
def test_pointers_to_what_was_appended_go(space: bytes) -> None:
    packet = make.XMP % (b' xmlns:c="%s" c:Directory="2" xmlns:o="o" o:VideoLength="9" o:MotionPhotoOwner="x"' % space)
    upright, said = xmp.of_upright(packet, turned=False, sideways=False)
    assert b"Directory" not in upright
    assert b"VideoLength" not in upright
    assert b"MotionPhoto" not in upright
    assert said == ["the directory of appended files"]


def test_extended_xmp_by_any_name(tmp_path: Path) -> None:
    more = make.XMP % b' xmlns:g="g" g:GPSLatitude="52"'
    for guid in (b"0123456789abcdef" * 2, hashlib.md5(more).hexdigest().encode()):
        main = make.XMP % (b' xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%s"' % guid.lower())
        held = [
            (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + guid.upper() + struct.pack(">II", len(more), 0) + more)
        ]
        photo = read_photo(make.jpeg(tmp_path / "a.jpg", (0xE1, XMP + main), *held))
        assert photo.metadata.extended_xmp == more
        changed = photo.with_metadata("no-gps").metadata
        assert b"GPS" not in changed.extended_xmp
        assert xmp.guid(changed.extended_xmp).encode() in changed.xmp


def test_resolutions_of_other_types_are_kept(tmp_path: Path) -> None:
    tags = [(282, 3, 1, struct.pack("<H", 72)), (283, 3, 1, struct.pack("<H", 72)), (37393, 4, 1, struct.pack("<I", 7))]
    source = make.tiff(tmp_path / "a.tif", *tags)
    assert not write_photo(tmp_path / "b.tif", read_photo(source))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages.first.tags[282].value in (72, (72,))
        assert file.pages.first.tags[37393].value == 7


def test_none_keeps_the_resolution_that_only_exif_tells(tmp_path: Path) -> None:
    tree = {tag: Value(RATIONAL, 1, struct.pack("<II", 300, 1)) for tag in (282, 283)}
    block, _ = exif.block_of(tree, "<", b"")
    photo = Photo(make.gradient(), metadata=Metadata(exif=block)).with_metadata("none")
    write_photo(tmp_path / "a.png", photo)
    with Image.open(tmp_path / "a.png") as image:
        assert round(image.info["dpi"][0]) == 300


def test_chunks_of_other_channels_go(tmp_path: Path) -> None:
    grey = make.gradient()[..., 0]
    Image.fromarray(grey).convert("P").save(tmp_path / "a.png", transparency=0)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:33] + make.chunk(b"sBIT", b"\5\6\5") + content[33:])
    photo = read_photo(tmp_path / "a.png")
    assert photo.metadata.left_out == ("PNG's sBIT, since the channels have changed",)
    write_photo(tmp_path / "b.png", photo)
    assert b"sBIT" not in (tmp_path / "b.png").read_bytes()


def test_profiles_that_do_not_fit_are_told(tmp_path: Path) -> None:
    grey = bytearray(make.SRGB)
    grey[16:20] = b"GRAY"
    photo = Photo(make.gradient(), grey=True, metadata=Metadata(icc_profile=bytes(grey)))
    assert "the grey profile" in write_photo(tmp_path / "a.webp", photo)
    half = make.jpeg(tmp_path / "a.jpg", (0xE2, b"ICC_PROFILE\0\1\2" + make.SRGB[:200]))
    assert read_photo(half).metadata.left_out == ("the colour profile, of which a part is missing",)


@pytest.mark.parametrize(
    "attribute",
    [
        b'xmlns:g="http://www.w3.org/2003/01/geo/wgs84_pos#" g:lat="Secret"',
        b'xmlns:g="g" g:shotLocation="Secret"',
        b'xmlns:g="g" g:county="Secret"',
        b'xmlns:g="g" g:LocationCity="Secret"',
        b'xmlns:g="g" g:PlaceName="Secret"',
        b'xmlns:g="g" g:coverage="Secret"',
        b'xmlns:g="g" g:GpsLongtitude="Secret"',
        b'xmlns:g="g" g:SubjectAddress="Secret"',
    ],
)
def test_places_by_other_names(attribute: bytes) -> None:
    assert b"Secret" not in xmp.without_places(make.XMP % (b" " + attribute))
    assert b'xmp:Rating="5"' in xmp.without_places(make.XMP % (b" " + attribute))
    assert b"Secret" not in xmp.without_places((make.XMP % b"").replace(b"<rdf:D", b"<?note Secret?><rdf:D"))


def test_places_in_texts_and_private_tags(tmp_path: Path) -> None:
    odd = b"Raw profile type exif\0\nexif\n      10\n4578696600z"
    texts = [odd, b"xmp\0" + make.XMP % b' g:City="Secret"', b"Place\0Secret", b"geo\0Secret", b"parameters\0kept"]
    source = make.png(tmp_path / "a.png", b"".join(make.chunk(b"tEXt", text) for text in texts))
    left_out = write_photo(tmp_path / "b.png", read_photo(source).with_metadata("no-gps"))
    content = (tmp_path / "b.png").read_bytes()
    assert len(left_out) == 4
    assert b"Secret" not in content
    assert b"Raw profile" not in content
    assert b"parameters\0kept" in content
    tags = [(42112, 2, 7, b"Secret\0"), (50740, 7, 6, b"Secret"), (65_001, 7, 6, b"Secret"), (33432, 2, 5, b"kept\0")]
    tiff = make.tiff(tmp_path / "a.tif", *tags)
    left_out = write_photo(tmp_path / "b.tif", read_photo(tiff).with_metadata("no-gps"))
    content = (tmp_path / "b.tif").read_bytes()
    assert b"Secret" not in content
    assert b"kept" in content
    assert "private tags, which may reveal the location" in left_out


def test_iptc_of_the_other_order_of_bytes() -> None:
    records = b"\x1c\2\x5a\0\6Secret\x1c\2\x19\0\4kept"
    swapped = np.frombuffer(records + bytes(-len(records) % 4), np.uint32).byteswap().tobytes()
    result = iptc.records_without_places(swapped)
    assert b"kept" in np.frombuffer(result, np.uint32).byteswap().tobytes()
    assert b"Secret" not in np.frombuffer(result, np.uint32).byteswap().tobytes()


def test_paths_of_a_picture_that_was_turned() -> None:
    resources = iptc.resource(2000, b"path") + iptc.resource(4242, b"odd")
    for orientation, kept in ((1, True), (6, False)):
        upright = Metadata(exif=make.exif_block(orientation=orientation), photoshop=resources).of_upright()
        assert (b"path" in upright.photoshop) == kept
        assert b"odd" in upright.photoshop
        assert bool(upright.left_out) != kept


def test_more_pixels_than_a_format_holds(tmp_path: Path) -> None:
    wide = Photo(np.zeros((1, 66_000, 3), np.uint8))
    with pytest.raises(ImageError, match=r"JPEG holds at most 65500 pixels per side"):
        write_photo(tmp_path / "a.jpg", wide)
    with pytest.raises(ImageError, match=r"WEBP holds at most 16383 pixels per side"):
        write_photo(tmp_path / "a.webp", wide)
    write_photo(tmp_path / "a.png", wide)
