"""HEIC, AVIF and JPEG XL: read as other decoders read them, and written back as they were."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import photo_files as make
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from expcorr_core.batch import bulk, inputs
from expcorr_core.cli import main
from expcorr_core.photos import heif, jxl, newer, reading
from expcorr_core.photos.icc import PRIMARIES, colour_space, profile_of, tone_of
from expcorr_core.photos.metadata import Metadata
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import ImageError, photo_size, read_photo
from expcorr_core.photos.writing import write_photo

pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC needs the heif extra")
pyjpegxl = pytest.importorskip("pyjpegxl", reason="JPEG XL needs the heif extra")
pyvips = pytest.importorskip("pyvips", reason="deep AVIF needs the deep extra")

DISPLAY_P3 = profile_of(*PRIMARIES[12])
LONG_PROFILE = struct.pack(">I", len(DISPLAY_P3) + 70_000) + DISPLAY_P3[4:] + bytes(70_000)
# What decodes a file to PNG without our packages.
DECODERS = {"heic": ["heif-convert"], "avif": ["avifdec"], "jxl": ["djxl"]}
SUFFIXES = tuple(DECODERS)


def needs(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def independent(path: Path) -> tuple[NDArray[Any], bytes]:
    """Pixels, 8 or 16 bits, and profile of a file as another decoder sees them."""
    command = DECODERS[path.suffix[1:]]
    needs(command[0])
    target = path.with_name(f"{path.stem}-{path.suffix[1:]}.png")
    subprocess.run([*command, str(path), str(target)], check=True, capture_output=True)
    image = pyvips.Image.new_from_file(str(target), access="sequential")
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else b""
    return image.numpy().reshape(image.height, image.width, -1), profile


def in_steps(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """On a scale of 255."""
    return pixels / (257 if pixels.dtype == np.uint16 else 1)


def heic(pixels: NDArray[Any], mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    settings = {"quality": 90, "chroma": "444", **options}
    pillow_heif.encode(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes(), file, **settings)
    return file.getvalue()


def deep(scene: NDArray[np.uint8], bits: int = 16) -> NDArray[np.uint16]:
    """The scene with as many bits, in the upper ones of 16."""
    levels = (scene.astype(np.float64) * ((1 << bits) - 1) / 255).round().astype(np.uint16)
    return levels << 16 - bits


def saved(photo: Photo, path: Path) -> Path:
    write_photo(path, photo, overwrite=True)
    return path


def kinds(scene: NDArray[np.uint8]) -> dict[str, Photo]:
    full = scene.astype(np.uint16) * 257
    grey = np.repeat(scene[..., :1], 3, 2)
    profile = Metadata(icc_profile=DISPLAY_P3)
    return {
        "8 bits": Photo(scene),
        "profile": Photo(scene, metadata=profile),
        "16 bits": Photo(full, metadata=profile),
        "12 bits": Photo(full, bits=12),
        "grey": Photo(grey, grey=True),
        "alpha": Photo(scene, scene[..., 1]),
        "deep alpha": Photo(full, full[..., 1]),
        "lossless": Photo(full, lossless=True, metadata=profile),
    }


@pytest.mark.parametrize("kind", ["8 bits", "profile", "16 bits", "12 bits", "grey", "alpha", "deep alpha", "lossless"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pixels_and_profile_are_those_of_another_decoder(
    tmp_path: Path, scene: NDArray[np.uint8], suffix: str, kind: str
) -> None:
    source = kinds(scene)[kind]
    path = saved(source, tmp_path / f"a.{suffix}")
    ours = read_photo(path)
    theirs, profile = independent(path)
    colours = theirs[..., :3] if theirs.shape[2] >= 3 else np.repeat(theirs[..., :1], 3, 2)
    assert np.abs(in_steps(ours.pixels) - in_steps(colours)).max() <= 1.01
    assert profile == ours.metadata.icc_profile == source.metadata.icc_profile or not source.metadata.icc_profile
    assert ours.bits == (
        {"heic": (source.bits or 10), "avif": (source.bits or 10)}.get(suffix, 0) if source.deep else 0
    )
    if source.alpha is not None:
        assert ours.alpha is not None
        assert np.abs(in_steps(ours.alpha) - in_steps(theirs[..., -1])).max() <= 1.01
    if kind == "grey":
        assert ours.grey
    # At least as close to the source as JPEG at quality 95, or the same.
    difference = np.abs(in_steps(ours.pixels) - in_steps(source.pixels))
    if suffix == "jxl" and (kind == "lossless" or source.metadata.icc_profile):
        assert not difference.any()
        assert ours.lossless
    jpeg = np.abs(read_photo(saved(Photo(scene), tmp_path / "a.jpg")).pixels.astype(float) - scene)
    assert difference.mean() <= jpeg.mean()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_second_pass_changes_no_more_than_the_first(tmp_path: Path, scene: NDArray[np.uint8], suffix: str) -> None:
    first = read_photo(saved(Photo(scene), tmp_path / f"a.{suffix}"))
    second = read_photo(saved(first, tmp_path / f"b.{suffix}"))
    lost = np.abs(first.pixels.astype(float) - scene).mean()
    assert np.abs(second.pixels.astype(float) - first.pixels).mean() <= lost


def test_lossless_jpeg_xl_comes_back_as_it_was(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    for number, pixels in enumerate((scene, scene.astype(np.uint16) * 257 + 3)):
        path = tmp_path / f"{number}.jxl"
        path.write_bytes(pyjpegxl.encode_from_numpy(pixels, lossless=True))
        photo = read_photo(path)
        assert photo.lossless
        again = read_photo(saved(photo, tmp_path / "again.jxl"))
        assert again.pixels.dtype == pixels.dtype
        assert (again.pixels == pixels).all()
    path.write_bytes(pyjpegxl.encode_from_numpy(scene, lossless=False))
    assert not read_photo(path).lossless
    file = io.BytesIO()
    Image.fromarray(scene).save(file, "JPEG", quality=90)
    path.write_bytes(pyjpegxl.jpeg_to_jxl(file.getvalue()))
    photo = read_photo(path)
    assert not photo.lossless  # the pixels are a JPEG file's
    with Image.open(file) as image:
        assert np.abs(photo.pixels.astype(float) - np.asarray(image)).max() <= 4  # the decoder of JPEG rounds otherwise


@pytest.mark.parametrize("profile", [make.SRGB, DISPLAY_P3, LONG_PROFILE], ids=["sRGB", "P3", "long"])
def test_jpeg_xl_holds_any_profile(tmp_path: Path, scene: NDArray[np.uint8], profile: bytes) -> None:
    """Byte for byte, in the codestream where all decoders look for it."""
    for pixels in (scene, scene[..., :1], np.dstack((scene, scene[..., :1]))):
        photo = Photo(np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels[..., :3], lossless=True)
        photo = replace(photo, grey=pixels.shape[2] == 1, alpha=pixels[..., 3] if pixels.shape[2] == 4 else None)
        photo = replace(photo, metadata=Metadata(icc_profile=profile, exif=make.exif_block(thumbnail=b"")))
        path = saved(photo, tmp_path / "a.jxl")
        assert independent(path)[1] == profile
        assert read_photo(path).metadata.icc_profile == profile


def test_a_damaged_profile_is_left_out_of_jpeg_xl(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    photo = Photo(scene, lossless=True, metadata=Metadata(icc_profile=b"no profile" * 20))
    assert write_photo(tmp_path / "a.jxl", photo) == ("the colour profile, which is damaged",)
    assert (read_photo(tmp_path / "a.jxl").pixels == scene).all()


@pytest.mark.parametrize("order", range(1, 9))
def test_heic_is_turned_once(tmp_path: Path, scene: NDArray[np.uint8], order: int) -> None:
    block = b"Exif\0\0" + make.exif_block(orientation=order, thumbnail=b"")
    path = tmp_path / "a.heic"
    path.write_bytes(heic(scene, exif=block))  # pillow-heif sets irot and imir accordingly
    photo = read_photo(path)
    with Image.fromarray(scene) as image:
        image.getexif()[274] = order
        turned = np.asarray(Image.fromarray(reading._TURNS.get(order, lambda a: a)(scene)))
    assert photo.pixels.shape == turned.shape
    assert np.abs(photo.pixels.astype(float) - turned).mean() < 2
    theirs, _ = independent(path)
    assert np.abs(photo.pixels.astype(float) - theirs[..., :3]).max() <= 1
    again = read_photo(saved(photo, tmp_path / "b.heic"))
    assert again.pixels.shape == turned.shape
    assert again.metadata.orientation == 1


@pytest.mark.parametrize("order", range(1, 9))
def test_avif_is_turned_once(tmp_path: Path, scene: NDArray[np.uint8], order: int) -> None:
    exif = Image.Exif()
    exif[274] = order
    Image.fromarray(scene).save(tmp_path / "a.avif", exif=exif, quality=95, subsampling="4:4:4")
    photo = read_photo(tmp_path / "a.avif")
    turned = reading._TURNS.get(order, lambda a: a)(scene)
    assert photo.pixels.shape == turned.shape
    assert np.abs(photo.pixels.astype(float) - turned).mean() < 2
    assert read_photo(saved(photo, tmp_path / "b.avif")).pixels.shape == turned.shape


def test_jpeg_xl_is_turned_once(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    needs("cjxl")
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(scene).save(tmp_path / "a.png", exif=exif)
    subprocess.run(["cjxl", "-d", "0", tmp_path / "a.png", tmp_path / "a.jxl"], check=True, capture_output=True)
    photo = read_photo(tmp_path / "a.jxl")
    assert (photo.pixels == scene.swapaxes(0, 1)[:, ::-1]).all()
    assert photo.lossless
    assert (read_photo(saved(photo, tmp_path / "b.jxl")).pixels == photo.pixels).all()


def test_jpeg_xl_of_the_reference_encoder(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    """A JPEG file coded again, with compressed metadata; and colours that the decoder cannot give as they are."""
    needs("cjxl")
    make.jpeg(tmp_path / "a.jpg", (0xE1, b"Exif\0\0" + make.exif_block(thumbnail=b"")))
    subprocess.run(["cjxl", tmp_path / "a.jpg", tmp_path / "a.jxl"], check=True, capture_output=True)
    photo = read_photo(tmp_path / "a.jxl")
    assert make.AUTHOR in photo.metadata.exif
    assert not photo.lossless
    assert not photo.metadata.left_out
    # Not a space that the encoder knows by a code.
    odd = imagecodecs.cms_profile(
        "rgb", whitepoint=(0.3127, 0.329), primaries=(0.7, 0.29, 0.2, 0.7, 0.15, 0.05), gamma=2.2
    )
    Image.fromarray(scene).save(tmp_path / "b.png", icc_profile=odd)
    subprocess.run(["cjxl", "-d", "1", tmp_path / "b.png", tmp_path / "b.jxl"], check=True, capture_output=True)
    assert jxl.header_of((tmp_path / "b.jxl").read_bytes()).profile
    photo = read_photo(tmp_path / "b.jxl")
    assert photo.metadata.left_out == ("the colour profile (the colours are sRGB now)",)
    assert not photo.metadata.icc_profile
    assert np.abs(photo.pixels.astype(float) - independent(tmp_path / "b.jxl")[0]).max() <= 1


def test_exif_does_not_turn_what_the_container_does_not_turn(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    """As the standards say, and other decoders do."""
    block = make.exif_block(orientation=6, thumbnail=b"")
    for suffix, encoded in (("heic", heic(scene)), ("jxl", pyjpegxl.encode_from_numpy(scene, exif=bytes(4) + block))):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(heif.with_metadata(encoded, Metadata(exif=block)) if suffix == "heic" else encoded)
        photo = read_photo(path)
        assert photo.pixels.shape == scene.shape == independent(path)[0].shape
        assert photo.metadata.orientation == 1


def coloured(encoded: bytes, primaries: int, transfer: int) -> bytes:
    """A HEIF file whose box says other colours."""
    old = b"colrnclx\0\1\0\x0d"
    assert encoded.count(old) == 1
    return encoded.replace(old, b"colrnclx" + struct.pack(">HH", primaries, transfer))


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path: Path, scene: NDArray[np.uint8], transfer: int, name: str) -> None:
    (tmp_path / "a.heic").write_bytes(coloured(heic(deep(scene, 10), "RGB;16"), 9, transfer))
    with pytest.raises(ImageError, match=rf"a\.heic is an HDR picture \({name}\); convert it to SDR first"):
        read_photo(tmp_path / "a.heic")
    needs("cjxl")
    Image.fromarray(scene).save(tmp_path / "a.png")
    space = f"RGB_D65_202_Rel_{'PeQ' if name == 'PQ' else 'HLG'}"
    command = ["cjxl", "-d", "0", "-x", f"color_space={space}", tmp_path / "a.png", tmp_path / "a.jxl"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ImageError, match=rf"a\.jxl is an HDR picture \({name}\); convert it to SDR first"):
        read_photo(tmp_path / "a.jxl")


def test_coded_colours_become_a_profile(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(coloured(heic(scene), 12, 13))
    photo = read_photo(path)
    assert photo.metadata.icc_profile == DISPLAY_P3
    for suffix in SUFFIXES:
        assert independent(saved(photo, tmp_path / f"b.{suffix}"))[1] == DISPLAY_P3
    path.write_bytes(coloured(heic(scene), 1, 8))
    assert read_photo(path).tone is not None  # linear
    for primaries, transfer in ((1, 1), (1, 13), (2, 2)):
        path.write_bytes(coloured(heic(scene), primaries, transfer))
        assert not read_photo(path).metadata.icc_profile


def test_profiles_of_coded_colours_are_right() -> None:
    """White is neutral, and red is where LittleCMS has it for the same primaries."""
    assert colour_space(profile_of(*PRIMARIES[1])) is None
    assert colour_space(DISPLAY_P3)
    assert tone_of(DISPLAY_P3, np.dtype(np.uint8)) is None
    for primaries, name in PRIMARIES.values():
        known = imagecodecs.cms_profile("rgb", whitepoint=primaries[:2], primaries=primaries[2:], gamma=2.2)
        ours = profile_of(primaries, name, 2.2)
        pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))
        srgb = ImageCms.createProfile("sRGB")
        both = [ImageCms.profileToProfile(pixels, io.BytesIO(one), srgb) for one in (known, ours)]
        assert np.abs(np.asarray(both[0]).astype(int) - np.asarray(both[1])).max() <= 2, name


def test_tiles_and_thumbnails(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(heic(scene, tile_size=64, thumbnails=[32]))
    photo = read_photo(path)
    assert photo.metadata.left_out == ("the thumbnail",)
    assert np.abs(photo.pixels.astype(float) - scene).mean() < 2
    assert np.abs(photo.pixels.astype(float) - independent(path)[0]).max() <= 1
    assert photo_size(path) == scene.shape[0] * scene.shape[1]


def test_of_several_pictures_the_primary_one_is_read(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    file = pillow_heif.HeifFile()
    for one in (scene[:64, :64], scene):
        file.add_frombytes("RGB", one.shape[1::-1], np.ascontiguousarray(one).tobytes())
    file.save(tmp_path / "a.heic", quality=90, primary_index=1)
    photo = read_photo(tmp_path / "a.heic")
    assert photo.pixels.shape == scene.shape
    assert photo.metadata.left_out == ("further pictures of the file",)


def auxiliary(encoded: bytes, urn: bytes) -> bytes:
    """A file of a picture with alpha, whose alpha is called something else."""
    old = b"urn:mpeg:hevc:2015:auxid:1"
    assert encoded.count(old) == 1
    return encoded.replace(old, urn.ljust(len(old), b"\0"))


@pytest.mark.parametrize(
    ("urn", "name"),
    [
        (b"urn:mpeg:hevc:2015:auxid:2", "the depth map"),
        (b"urn:com:hdrgainmap", "the gain map"),
        (b"urn:com:apple:hair", "an auxiliary picture (hair)"),
    ],
)
def test_auxiliary_pictures_are_told(tmp_path: Path, scene: NDArray[np.uint8], urn: bytes, name: str) -> None:
    encoded = heic(np.dstack((scene, scene[..., 0])), "RGBA")
    (tmp_path / "a.heic").write_bytes(auxiliary(encoded, urn))
    photo = read_photo(tmp_path / "a.heic")
    assert photo.alpha is None
    assert photo.metadata.left_out == (name,)


def test_animations_give_their_first_picture(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    frames = [Image.fromarray(scene), Image.fromarray(255 - scene)]
    frames[0].save(tmp_path / "a.avif", save_all=True, append_images=frames[1:], quality=90)
    photo = read_photo(tmp_path / "a.avif")
    assert np.abs(photo.pixels.astype(float) - scene).mean() < 4
    assert photo.metadata.left_out == ("further frames",)


@pytest.mark.skipif(not shutil.which("exiftool"), reason="ExifTool is not installed")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_locations_are_removed(tmp_path: Path, scene: NDArray[np.uint8], suffix: str) -> None:
    metadata = Metadata(exif=make.exif_block(), xmp=make.XMP % b"")
    path = saved(Photo(scene, metadata=metadata), tmp_path / f"a.{suffix}")
    for kept, wanted in (("all", True), ("no-gps", False)):
        written = saved(read_photo(path).with_metadata(kept), tmp_path / f"b.{suffix}")
        command = ["exiftool", "-j", "-GPSLatitude", "-Artist", "-Rating", str(written)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)[0]
        assert ("GPSLatitude" in told) == wanted
        assert told["Artist"] == make.AUTHOR.decode()
        assert told["Rating"] == 5


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_metadata_do_not_matter(tmp_path: Path, scene: NDArray[np.uint8], suffix: str) -> None:
    block = b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40
    photo = Photo(scene)
    path = saved(photo, tmp_path / f"a.{suffix}")
    encoded = path.read_bytes()
    if suffix == "jxl":
        path.write_bytes(jxl.write(*jxl.bare(encoded), block, b"<x"))
    else:
        path.write_bytes(heif.with_metadata(encoded, Metadata(exif=block, xmp=b"<x")))
    assert read_photo(path).pixels.shape == scene.shape


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_are_refused_in_one_sentence(
    tmp_path: Path, scene: NDArray[np.uint8], suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the command line, in this process."""
    whole = saved(Photo(scene), tmp_path / f"a.{suffix}").read_bytes()
    for size in (40, 200, len(whole) // 2):
        (tmp_path / f"a.{suffix}").write_bytes(whole[:size])
        assert main(["correct", str(tmp_path / f"a.{suffix}"), "-o", str(tmp_path / "out"), "--quiet"]) == 1
        told = capsys.readouterr().err
        assert f"a.{suffix} is damaged or cut off" in told
        assert told.count("\n") == 1


def test_a_mistake_of_the_decoder_is_no_crash(
    tmp_path: Path, scene: NDArray[np.uint8], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Panic(BaseException):
        """As Rust's panics are raised."""

    def panic(content: bytes) -> None:
        raise Panic("assertion failed")

    path = saved(Photo(scene), tmp_path / "a.jxl")
    monkeypatch.setattr(pyjpegxl, "decode_to_numpy", panic)
    assert main(["correct", str(path), "-o", str(tmp_path / "out"), "--quiet"]) == 1
    assert "a.jxl is damaged or cut off (its decoder gave up)" in capsys.readouterr().err


def bomb(suffix: str, side: int, scene: NDArray[np.uint8]) -> bytes:
    """A file that claims to be a square of this side."""
    if suffix == "jxl":
        bits = 3 << 1 | (side - 1) << 3 | 1 << 33 | 1 << 36  # the height, as wide as high, and the usual rest
        return b"\xff\x0a" + bits.to_bytes(8, "little") + bytes(50)
    file = heic(scene)
    if suffix == "avif":
        target = io.BytesIO()
        Image.fromarray(scene).save(target, "AVIF")
        file = target.getvalue()
    place = file.index(b"ispe") + 8
    return file[:place] + struct.pack(">II", side, side) + file[place + 8 :]


@pytest.mark.parametrize("side", [30_000, 100_000])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_decompression_bombs_are_refused(
    tmp_path: Path, scene: NDArray[np.uint8], suffix: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before they are decoded."""
    bulk.prepare()
    path = tmp_path / f"bomb.{suffix}"
    path.write_bytes(bomb(suffix, side, scene))

    def decode(*args: object, **options: object) -> None:
        raise AssertionError("decoded")

    for name in ("_decode_heic", "_decode_jxl", "_photo"):
        monkeypatch.setattr(newer, name, decode)
    assert photo_size(path) == side**2
    with pytest.raises(ImageError, match=r"claims (more pixels than|\d+x\d+ pixels)"):
        read_photo(path)


@pytest.mark.parametrize("form", ["jpeg", "png", "tiff", "webp", "heic", "avif", "jxl"])
def test_format_is_chosen(
    tmp_path: Path, scene: NDArray[np.uint8], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    saved(Photo(scene, scene[..., 0]), folder / "a.heic")
    saved(Photo(scene.astype(np.uint16) * 257), folder / "b.jxl")
    saved(Photo(scene), folder / "c.jpeg")
    command = ["correct", str(folder), "-o", str(out), "--strength", "0", "--quiet", "--format", form]
    assert main([*command, "--dry-run"]) == 0
    assert not out.exists()
    assert main(command) == 0
    told = capsys.readouterr().err
    suffix = {"jpeg": "jpg", "tiff": "tif"}.get(form, form)
    names = {"a": f"a.{suffix}", "b": f"b.{suffix}", "c": "c.jpeg" if form == "jpeg" else f"c.{suffix}"}
    assert {path.name for path in out.iterdir() if path.suffix != ".csv" and path.name[0] != "."} == {*names.values()}
    for name in names.values():
        assert reading.kind_of((out / name).read_bytes()[:32], out / name) == form.upper()
    assert ("alpha" in told) == (form == "jpeg")
    assert ("16 bits per channel" in told) == (form in ("jpeg", "webp", "heic", "avif"))
    # Again: nothing is left to do.
    assert main([*command[:-1], form]) == 0
    assert "done before" in (out / "expcorr-report.csv").read_text()


def test_format_collisions_are_told(
    tmp_path: Path, scene: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.heic", "a.jpg"):
        saved(Photo(scene), folder / name)
    out = tmp_path / "out"
    assert main(["correct", str(folder), "-o", str(out), "--format", "jpeg"]) == 1
    told = capsys.readouterr()
    assert f"where the result of {folder / 'a.heic'} goes; correct it separately" in told.err
    assert "1 of 2 photos failed" in told.err
    assert "1 corrected, 1 failed" in told.out
    assert read_photo(out / "a.jpg").pixels.shape == scene.shape
    assert main(["correct", str(folder / "a.heic"), "-o", str(tmp_path / "a.png"), "--format", "jpeg"]) == 2
    assert "names no file of the format jpeg" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_without_the_packages_it_is_said_what_to_install(
    tmp_path: Path, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, package in (("a.heic", "pillow_heif"), ("a.jxl", "pyjpegxl")):
        path = saved(Photo(scene), tmp_path / name)
        with monkeypatch.context() as missing:
            missing.setitem(sys.modules, package, None)
            for attempt in (lambda p=path: read_photo(p), lambda p=path: saved(Photo(scene), p)):
                with pytest.raises(
                    ImageError, match=rf"needs {package.replace('_', '-')}.*: pip install 'expcorr\[heif\]'"
                ):
                    attempt()


def test_without_the_packages_folders_count_such_files(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("pillow_heif", "pyjpegxl"):
        monkeypatch.setitem(sys.modules, package, None)
    for name in ("b.heic", "c.HEIC", "d.jxl", "e.psd"):
        (photo.parent / name).write_bytes(b"anything")
    assert main(["correct", str(photo.parent), "-o", str(tmp_path / "out"), "--strength", "0", "--quiet"]) == 0
    told = capsys.readouterr().err
    assert "a package is missing: 2 .heic; they need pillow-heif: pip install 'expcorr[heif]'" in told
    assert "a package is missing: 1 .jxl; they need pyjpegxl (Python 3.11 or later): pip install" in told
    assert "cannot be read: 1 .psd; convert them first" in told
    assert main(["correct", str(photo), "-o", str(tmp_path / "b.heic")]) == 2
    assert "b.heic can only be written with pillow-heif: pip install 'expcorr[heif]'" in capsys.readouterr().err
    found = inputs.find_inputs([str(photo.parent / "*")], tmp_path / "out")
    assert {path.suffix for path, _ in found} == {
        ".jpg",
        ".heic",
        ".HEIC",
        ".jxl",
    }  # reading these tells what is missing


def test_headers_of_jpeg_xl(tmp_path: Path) -> None:
    """Sizes and kinds as another reader tells them."""
    needs("jxlinfo")
    random = np.random.default_rng(0)
    made: Callable[..., bytes] = pyjpegxl.encode_from_numpy
    for height, width, channels in ((8, 8, 3), (64, 96, 4), (256, 256, 1), (513, 300, 2), (7, 1025, 3)):
        for dtype in (np.uint8, np.uint16):
            pixels = random.integers(0, 256, (height, width, channels)).astype(dtype)
            (tmp_path / "a.jxl").write_bytes(made(pixels, lossless=True))
            header = jxl.header_of((tmp_path / "a.jxl").read_bytes())
            told = subprocess.run(["jxlinfo", tmp_path / "a.jxl"], check=True, capture_output=True, text=True).stdout
            assert f"{header.width}x{header.height}" in told
            assert (header.width, header.height, header.lossless, header.srgb) == (width, height, True, True)
