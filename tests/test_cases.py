"""Kinds of photo file that people reported to other programs: handled correctly, or rejected for the true reason."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import photo_files as make
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.batch.bulk import Job, Work, correct_file
from expcorr_core.batch.inputs import takes_cases_for_the_same
from expcorr_core.cli import main
from expcorr_core.photos import exif, xmp
from expcorr_core.photos.directories import UNDEFINED, Block, Value
from expcorr_core.photos.icc import Tone, power, tone_of
from expcorr_core.photos.metadata import Metadata, Own
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import ImageError, read_photo
from expcorr_core.photos.writing import write_photo

DEEP = make.gradient().astype(np.uint16) * 257


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def corrected(source: Path, target: Path) -> Photo:
    """The photo at strength 0, through every step of a command."""
    outcome = correct_file(Job(source, target), Work(overwrite=True))
    assert outcome.status == "corrected", outcome.error
    return read_photo(target)


def same(path: Path, pixels: NDArray[np.generic]) -> None:
    """Read, written and read again, a photo has these pixels."""
    again = path.with_name(f"again{path.suffix}")
    write_photo(again, read_photo(path), overwrite=True)
    for file in (path, again):
        assert np.array_equal(read_photo(file).pixels, pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_big_tiff(tmp_path: Path, order: str) -> None:
    same(make.tiff(tmp_path / "a.tif", (269, 2, 5, b"Name\0"), order=order, big=True), make.gradient())
    with Image.open(tmp_path / "again.tif") as image:
        assert image.getexif()[269] == "Name"


def test_long_chunks_of_png(tmp_path: Path) -> None:
    text = b"Raw profile type 8bim\0\0" + zlib.compress(b"A" * 1_200_000)
    same(make.png(tmp_path / "text.png", make.chunk(b"zTXt", text)), make.gradient())
    assert make.chunk(b"zTXt", text) in (tmp_path / "again.png").read_bytes()
    profile = make.SRGB + bytes(1_200_000)
    same(make.png(tmp_path / "icc.png", make.chunk(b"iCCP", b"lut\0\0" + zlib.compress(profile))), make.gradient())
    assert read_photo(tmp_path / "again.png").metadata.icc_profile == profile


def test_resolution_of_no_number(tmp_path: Path) -> None:
    tags = [(282, 5, 1, bytes(8)), (283, 5, 1, bytes(8)), (296, 3, 1, b"\3\0")]
    source = make.tiff(tmp_path / "a.tif", *tags)
    for suffix in ("jpg", "png", "tif", "webp"):
        left_out = write_photo(tmp_path / f"b.{suffix}", read_photo(source))
        assert left_out == ("the resolution, which is not a number",)
        with Image.open(tmp_path / f"b.{suffix}") as image:
            assert "dpi" not in image.info or suffix == "tif"  # Pillow makes one up


def test_lossless_webp_stays_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 4), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.webp", lossless=True, exact=True)
    same(tmp_path / "a.webp", noise[..., :3])  # where it is transparent, too
    Image.fromarray(noise).save(tmp_path / "b.webp", quality=90)
    assert not read_photo(tmp_path / "b.webp").lossless


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", [{}, {"tile": (32, 32)}, {"rowsperstrip": 7}])
@pytest.mark.parametrize("planes", [False, True])
def test_layouts_of_deep_tiff(tmp_path: Path, order: str, layout: dict[str, object], planes: bool) -> None:
    pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    for samples in (3, 4):
        pixels = np.concatenate((DEEP, DEEP[..., :1]), 2)[..., :samples]
        tifffile.imwrite(
            tmp_path / "a.tif",
            np.moveaxis(pixels, 2, 0) if planes else pixels,
            photometric="rgb",
            planarconfig="separate" if planes else "contig",
            extrasamples=["unassalpha"] if samples == 4 else None,
            byteorder=order,
            compression="zlib",
            metadata=None,
            **layout,
        )
        same(tmp_path / "a.tif", DEEP)
        alpha = read_photo(tmp_path / "again.tif").alpha
        assert (alpha is None) == (samples == 3)
        assert alpha is None or np.array_equal(alpha, DEEP[..., 0])


def test_written_tiff_is_read_by_others(tmp_path: Path) -> None:
    for order in "<>":
        for values in (make.gradient(), DEEP):
            metadata = Metadata(exif=make.exif_block(order), xmp=make.XMP % b"", icc_profile=make.SRGB)
            write_photo(tmp_path / "a.tif", Photo(values, metadata=metadata), overwrite=True)
            with tifffile.TiffFile(tmp_path / "a.tif") as file:
                assert np.array_equal(file.asarray(), values)
                assert file.byteorder == order
                assert len(file.pages) == 1
                assert file.pages.first.tags["ExifTag"].value["PixelXDimension"] == 96


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dtype": np.float32, "photometric": "rgb"}, "floating-point samples of 32 bits"),
        ({"dtype": np.float16, "photometric": "rgb"}, "floating-point samples of 16 bits"),
        ({"dtype": np.int16, "photometric": "rgb"}, "samples of 16 bits with a sign"),
        ({"dtype": np.uint32, "photometric": "rgb"}, "samples of 32 bits"),
        ({"dtype": np.uint16, "photometric": "separated", "samples": 4}, "16-bit CMYK"),
        ({"dtype": np.uint16, "photometric": "cfa", "samples": 1}, "a raw photo"),
    ],
)
def test_the_true_reason(tmp_path: Path, options: dict[str, object], reason: str) -> None:
    samples = int(str(options.pop("samples", 3)))
    pixels = np.zeros((8, 8, samples) if samples > 1 else (8, 8), str(np.dtype(options.pop("dtype"))))  # type: ignore[call-overload]
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=None, **options)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=reason) as caught:
        read_photo(tmp_path / "a.tif")
    assert "damaged" not in str(caught.value)


def twelve_bits(path: Path) -> Path:
    """A grey TIFF file with two samples in three bytes."""
    values = [
        (256, 96),
        (257, 64),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, 64),
        (279, 96 * 64 * 3 // 2),
    ]
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values)
    size = 96 * 64 * 3 // 2
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8 + size) + bytes(size) + struct.pack("<H", len(values)) + tags + bytes(4)
    )
    return path


def test_twelve_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="samples of 12 bits; convert"):
        read_photo(twelve_bits(tmp_path / "a.tif"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
        (b"\0\0\0\x14ftypisom\0\0\2\0", "a.jpg is a video, not a photo; use: expcorr video"),
        (b"GIF89a", "a GIF picture"),
        (b"\xff\xd8\xff\xc3\0\x0b\x08\0\x08\0\x08\1\1\x11\0\xff\xda\0\2\xff\xd9", "a lossless JPEG"),
        (b"\xff\xd8\xff\xc1\0\x0b\x0c\0\x08\0\x08\1\1\x11\0\xff\xda\0\2\xff\xd9", "a JPEG of 12 bits per sample"),
    ],
)
def test_what_is_only_not_supported_is_not_called_damaged(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=reason) as caught:
        read_photo(tmp_path / "a.jpg")
    assert "damaged" not in str(caught.value)


def linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def profile(curve: bytes) -> bytes:
    """sRGB's profile with another curve."""
    changed = bytearray(make.SRGB)
    (count,) = struct.unpack_from(">I", changed, 128)
    for place in range(132, 132 + 12 * count, 12):
        if changed[place : place + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">II", changed, place + 4, len(make.SRGB), len(curve))
    return bytes(changed) + curve


LINEAR = b"curv" + bytes(8)
CURVES = {
    "linear": LINEAR,
    "linear, as a power": b"curv" + bytes(4) + struct.pack(">IH", 1, 256),
    "linear, as a table": b"curv" + bytes(4) + struct.pack(">I2H", 2, 0, 65535),
    "linear, as a function": b"para" + bytes(4) + struct.pack(">HHi", 0, 0, 65536),
    "gamma 1.8": b"curv" + bytes(4) + struct.pack(">IH", 1, 461),
}


@pytest.mark.parametrize(
    "curve", ["linear", *(pytest.param(name, marks=pytest.mark.slow) for name in list(CURVES)[1:])]
)
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_linear_photos_are_corrected_as_what_they_look_like(tmp_path: Path, curve: str, suffix: str) -> None:
    pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    with Image.open(Path(__file__).parent.parent / "examples" / "coffee_under.jpg") as image:
        shown = np.asarray(image.resize((150, 100))).astype(float) / 255
    exponent = 461 / 256 if "1.8" in curve else 1
    values = linear(shown) ** (1 / exponent)
    held = Metadata(icc_profile=profile(CURVES[curve]))
    plain, own = tmp_path / "plain.png", tmp_path / f"own.{suffix}"
    write_photo(plain, Photo((shown * 65535).round().astype(np.uint16)))
    write_photo(own, Photo((values * 65535).round().astype(np.uint16), metadata=held))
    outcomes = [correct_file(Job(path, path.with_stem("done")), Work(overwrite=True)) for path in (plain, own)]
    assert outcomes[0].exposure == pytest.approx(outcomes[1].exposure, abs=0.02)
    results = [read_photo(tmp_path / f"done.{end}").to_tensor() for end in ("png", suffix)]
    if suffix == "png":  # one name
        outcome = correct_file(Job(plain, tmp_path / "first.png"), Work())
        assert outcome.status == "corrected"
        results[0] = read_photo(tmp_path / "first.png").to_tensor()
    assert float(-10 * ((results[0] - results[1]) ** 2).mean().log10()) > 45
    assert read_photo(tmp_path / f"done.{suffix}").metadata.icc_profile == held.icc_profile


@settings(deadline=None, max_examples=25)
@given(st.floats(0.3, 4), st.booleans(), st.integers(0, 2**32 - 1))
def test_tones_there_and_back(exponent: float, deep: bool, seed: int) -> None:
    dtype = np.dtype(np.uint16 if deep else np.uint8)
    tone = Tone.of((power(exponent),), dtype)
    if tone is None:  # near sRGB's
        return
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (9, 7, 3)).astype(dtype)
    photo = Photo(pixels, tone=tone)
    again = photo.with_tensor(photo.to_tensor()).pixels
    # The darkest 16-bit values of steep curves are nearer to each other than a float can tell.
    limit = 0 if not deep or exponent <= 2 else 400
    assert np.abs(again.astype(int) - pixels).max() <= limit


def test_tones_of_usual_profiles_are_left() -> None:
    assert tone_of(make.SRGB, np.dtype(np.uint8)) is None
    assert tone_of(profile(b"curv" + bytes(4) + struct.pack(">IH", 1, 563)), np.dtype(np.uint8)) is None  # Adobe RGB
    assert tone_of(profile(LINEAR)[:-8], np.dtype(np.uint8)) is None  # damaged
    assert tone_of(b"no profile", np.dtype(np.uint16)) is None


def test_gamma_of_png(tmp_path: Path) -> None:
    values = (linear(make.gradient() / 255) * 255).round().astype(np.uint8)
    gamma = make.chunk(b"gAMA", struct.pack(">I", 100_000))
    same(make.png(tmp_path / "a.png", gamma, pixels=values), values)
    shown = read_photo(tmp_path / "a.png").to_tensor()[0].permute(1, 2, 0).numpy() * 255
    write_photo(tmp_path / "a.tif", read_photo(tmp_path / "a.png"))
    assert np.abs(read_photo(tmp_path / "a.tif").pixels - shown).max() <= 0.5
    named = make.chunk(b"sRGB", b"\0") + gamma  # which sRGB overrides
    assert read_photo(make.png(tmp_path / "b.png", named, pixels=values)).tone is None


@pytest.mark.parametrize(
    ("transfer", "wide", "reason"), [(16, 1, "HDR picture .PQ"), (18, 1, "HLG"), (13, 0, "narrow range")]
)
def test_what_no_correction_fits_is_refused(tmp_path: Path, transfer: int, wide: int, reason: str) -> None:
    source = make.png(tmp_path / "a.png", make.chunk(b"cICP", bytes([9, transfer, 0, wide])), pixels=DEEP)
    with pytest.raises(ImageError, match=reason):
        read_photo(source)


def test_names_that_differ_by_case(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "twins"
    folder.mkdir()
    names = ["a.jpg", "A.jpg", "Stra\u00dfe.jpg", "Strasse.jpg"]
    if takes_cases_for_the_same(folder):
        pytest.skip("the disk takes upper and lower case for the same")
    for name in names:
        (folder / name).write_bytes(photo.read_bytes())
    command = ["correct", str(folder), "--strength", "0", "--quiet", "-o"]
    assert run(*command, tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").glob("*.jpg")} == set(names)
    monkeypatch.setattr("expcorr_core.batch.inputs.takes_cases_for_the_same", lambda folder: True)
    assert run(*command, tmp_path / "other") == 1
    error = capsys.readouterr().err
    assert "a.jpg would be written to" in error
    assert "rename one of the two" in error
    assert {path.name for path in (tmp_path / "other").glob("*.jpg")} == {"A.jpg", "Stra\u00dfe.jpg", "Strasse.jpg"}


def test_what_a_folder_holds_in_other_formats_is_told(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    for name in ("a.jfif", "b.JPE", "c.PSD", "below/d.psd", "below/e.x3f", "notes.txt"):
        (folder / name).write_bytes(photo.read_bytes())
    assert run("correct", folder, "-o", tmp_path / "out", "--strength", "0", "--quiet") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"a.jfif", "b.JPE"}
    assert "2 .psd, 1 .x3f" in capsys.readouterr().err


def test_what_was_left_out_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    source = make.jpeg(folder / "a.jpg", after=b"odd data")
    command = ["correct", "--strength", "0", "--quiet", "-o", str(tmp_path / "out")]
    assert run(*command, source) == 0
    assert "a.jpg: left out: data after the picture" in capsys.readouterr().err
    for number in range(8):
        (folder / f"{number}.jpg").write_bytes(source.read_bytes())
    assert run(*command, "--overwrite", folder) == 0
    assert capsys.readouterr().err == "expcorr: data after the picture: left out of 9 photos\n"
    assert (tmp_path / "out" / "expcorr-report.csv").read_text().count(",data after the picture") == 9


PLACES = make.XMP % (
    b' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="Secrettown"'
    b' xmlns:e="http://ns.adobe.com/exif/1.0/" e:GPSLatitude="52,30N"'
)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("between", ["jpg", "png", "tif", "webp"])
def test_no_place_is_left_anywhere(tmp_path: Path, between: str, suffix: str) -> None:
    source = make.jpeg(
        tmp_path / "a.jpg",
        (0xE1, b"Exif\0\0" + make.exif_block(">")),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + PLACES),
        (0xED, b"Photoshop 3.0\0" + make.iptc(city=b"Secrettown")),
        (0xEC, b"Maker of Secrettown"),
    )
    write_photo(tmp_path / f"b.{between}", read_photo(source))
    left_out = write_photo(tmp_path / f"c.{suffix}", read_photo(tmp_path / f"b.{between}").with_metadata("no-gps"))
    assert "maker notes, which may reveal the location" in left_out
    assert ("APP12 (Maker of Secrettown), which may reveal the location" in left_out) == (between == "jpg")
    content = (tmp_path / f"c.{suffix}").read_bytes()
    texts = [content]
    if suffix == "png":
        with Image.open(tmp_path / "c.png") as image:
            texts.append(repr({k: v for k, v in image.info.items() if "profile" in k}).replace("\\n", "").encode())
    for text in texts:
        assert b"Secrettown" not in text
        assert b"Secrettown".hex().encode() not in text
        assert struct.pack(">4I", 52, 1, 30, 1) not in text
        assert b"GPS" not in text
    assert make.AUTHOR in content  # all else stays
    assert b'xmp:Rating="5"' in content


@pytest.mark.parametrize("tag", [33723, 700, 34377])
def test_no_place_in_an_exif_block_of_another_program(tmp_path: Path, tag: int) -> None:
    """Older results of this program contained one."""
    held = {33723: b"\x1c\2\x5a\0\nSecrettown\x1c\2\x19\0\4kept", 700: PLACES, 34377: make.iptc(city=b"Secrettown")}[
        tag
    ]
    block = Block(make.exif_block())
    tree = exif.tree_of(block, block.directory(block.first))
    tree[tag] = Value(UNDEFINED, len(held), held)
    encoded, _ = exif.block_of(tree, "<", b"")
    source = make.jpeg(tmp_path / "a.jpg", (0xE1, b"Exif\0\0" + encoded))
    write_photo(tmp_path / "b.jpg", read_photo(source).with_metadata("no-gps"))
    content = (tmp_path / "b.jpg").read_bytes()
    assert b"Secrettown" in source.read_bytes()
    assert b"Secrettown" not in content
    assert {33723: b"kept", 700: b"Rating", 34377: b"harbour"}[tag] in content


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.binary(min_size=1, max_size=12), st.integers(0, 1000), st.sampled_from("<>"), st.integers(1, 8))
def test_damaged_blocks_cost_no_photo(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes, place: int, order: str, orientation: int
) -> None:
    block = bytearray(make.exif_block(order, orientation))
    place %= len(block)
    block[place : place + len(damage)] = damage
    metadata = Metadata(
        exif=bytes(block), xmp=make.XMP % damage, photoshop=make.iptc()[:40] + damage + make.iptc()[40:]
    )
    for kept in (metadata.of_upright(), metadata.of_upright().without_places()):
        folder = tmp_path_factory.mktemp("damaged")
        for suffix in ("jpg", "png", "tif", "webp"):
            write_photo(folder / f"a.{suffix}", Photo(make.gradient(8, 8), metadata=kept))
            assert read_photo(folder / f"a.{suffix}").pixels.shape == (8, 8, 3)


@settings(deadline=None)
@given(st.sampled_from("<>"), st.integers(1, 8), st.binary(max_size=300))
def test_blocks_are_changed_in_place(order: str, orientation: int, comment: bytes) -> None:
    block = make.exif_block(order, orientation, comment)
    upright = exif.turned_upright(block, orientation > 4)
    assert len(upright) == len(block)
    assert Block(upright).orientation == 1
    assert sum(a != b for a, b in zip(block, upright, strict=True)) <= 1 + 2 * (orientation > 4)
    assert exif.turned_upright(upright, False) == upright
    if orientation > 4:
        assert exif.turned_upright(exif.turned_upright(block, True), True) == exif.turned_upright(block, False)


@settings(deadline=None)
@given(st.integers(0, 4000), st.integers(1000, 3000))
def test_a_block_that_is_too_long_loses_the_least(size: int, most: int) -> None:
    block = make.exif_block(comment=b"x" * size)
    short, gone = exif.shortened(block, most)
    assert len(short) <= most
    assert bool(gone) == (len(block) > most)
    assert make.AUTHOR in short
    assert not gone or Block(short).first


def test_a_thumbnail_that_is_no_jpeg_goes() -> None:
    block = make.exif_block()
    assert exif.thumbnail_size(block) == len(make.PICTURE)
    without = exif.with_thumbnail(block, b"")
    assert not exif.has_thumbnail(without)
    assert b"old picture" not in without
    longer = exif.with_thumbnail(block, make.PICTURE * 3)
    assert exif.thumbnail_size(longer) == 3 * len(make.PICTURE)
    assert longer.endswith(make.PICTURE)


def test_orientation_is_asked_of_exif_first(tmp_path: Path) -> None:
    told = make.XMP % b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"'
    for block, packet, size in ((6, 1, (96, 64)), (1, 6, (64, 96)), (0, 6, (96, 64)), (0, 1, (64, 96))):
        parts = [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + told % packet)]
        parts += [(0xE1, b"Exif\0\0" + make.exif_block(orientation=block))] if block else []
        photo = read_photo(make.jpeg(tmp_path / "a.jpg", *parts))
        assert photo.pixels.shape[:2] == size
        assert xmp.orientation(photo.metadata.xmp) == packet * (packet == 1)
        assert (photo.metadata.xmp == told % packet) == (packet == 1)  # byte for byte


def test_deep_photos_are_turned_in_all_ways(tmp_path: Path) -> None:
    pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    turns = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM}
    turns |= {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE}
    turns |= {8: Image.Transpose.ROTATE_90}
    for orientation, turn in turns.items():
        wanted = np.asarray(Image.fromarray(make.gradient()).transpose(turn))
        block = make.chunk(b"eXIf", make.exif_block(orientation=orientation))
        assert np.array_equal(read_photo(make.png(tmp_path / "a.png", block)).pixels, wanted)
        assert np.array_equal(
            read_photo(make.png(tmp_path / "b.png", block, pixels=DEEP)).pixels, wanted * np.uint16(257)
        )
        tags = [(274, 3, 1, struct.pack("<H", orientation))]
        assert np.array_equal(read_photo(make.tiff(tmp_path / "c.tif", *tags)).pixels, wanted)


def test_regions_of_a_picture_that_was_turned() -> None:
    regions = b' xmlns:m="http://www.metadataworkinggroup.com/schemas/regions/" m:Regions="face at 0.1 0.2"'
    for orientation in (1, 6):
        kept = Metadata(exif=make.exif_block(orientation=orientation), xmp=make.XMP % regions).of_upright()
        assert (b"face at" in kept.xmp) == (orientation == 1)
        assert bool(kept.left_out) == (orientation != 1)


def test_content_of_no_known_format_is_copied_with_care() -> None:
    private = Own("PNG's abCd", b"abCd", b"place?")
    assert Metadata(own=(private,)).without_places().left_out == ("PNG's abCd, which may reveal the location",)
    text = Own("the text 'Location'", b"tEXt", b"Location\0here", checked=True)
    assert not Metadata(own=(text,)).without_places().own


def test_cmyk_is_said(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(make.gradient()).convert("CMYK").save(file, "JPEG", icc_profile=make.SRGB)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    assert write_photo(tmp_path / "b.jpg", read_photo(tmp_path / "a.jpg"))[0].startswith("the CMYK profile")
