"""Gain maps: HDR renditions of corrected photos, decoded by libultrahdr (imagecodecs) and by hand from Pillow's MPO."""

from __future__ import annotations

import io
import json
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import photo_files as make
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.MpoImagePlugin import MpoImageFile

from expcorr_core.cli import main
from expcorr_core.corrector import Corrector
from expcorr_core.photos.gain_map import GainMap, GainMapError, Recipe
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import read_photo
from expcorr_core.photos.writing import write_photo
from expcorr_core.settings import Settings

Floats = NDArray[np.float64]
NEAR_BLACK = 1 / 64
STOPS = 9.0  # from 1/64 to 8: the range to which decibels refer
EXIF = b"Exif\0\0"


def light(display: NDArray[Any]) -> Floats:
    values = display / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def display(linear: Floats) -> NDArray[np.uint8]:
    values = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def stops(linear: Floats) -> Floats:
    return np.log2(np.maximum(linear, 0) + NEAR_BLACK)


def decibels(found: Floats, wanted: Floats) -> float:
    return float(-20 * np.log10(np.sqrt(np.mean((stops(found) - stops(wanted)) ** 2)) / STOPS))


def compressed(hdr: Floats) -> Floats:
    """As a camera makes the photo of an HDR scene: the same up to 0.7, then a shoulder below white."""
    return np.where(hdr < 0.7, hdr, 0.7 + 0.3 * (1 - np.exp(-(hdr - 0.7) / 0.3)))


def scene(ev: float = 0.0) -> Floats:
    """An HDR scene, up to 8 times white, of scikit-image's coffee (CC0)."""
    from skimage import data

    photo = light(data.coffee()[:256:1, 100:400])
    return ((photo + 3 * photo**3) * 2**ev).clip(0, 8)


def ultra_hdr(path: Path, hdr: Floats, mono: bool = False, forms: str = "xmp iso", step: int = 2) -> Path:
    """The file of an HDR picture, with a map of 1 / step of its size."""
    pixels = display(compressed(hdr))
    height, width = (side // step for side in hdr.shape[:2])
    gains = np.log2((hdr + NEAR_BLACK) / (light(pixels) + NEAR_BLACK))
    gains = gains.mean(2, keepdims=True) if mono else gains
    gains = gains[: height * step, : width * step].reshape(height, step, width, step, -1).mean((1, 3))
    low, high = gains.min(), gains.max()
    values = ((gains - low) / (high - low) * 255).round().astype(np.uint8)
    row = (float(low), float(high), 1.0, NEAR_BLACK, NEAR_BLACK)
    recipe: make.Gains = ([row], (0.0, 3.0))
    return make.ultra_hdr(path, values[..., 0] if mono else values, recipe, pixels=pixels, forms=forms)


def by_libultrahdr(path: Path) -> Floats:
    imagecodecs = pytest.importorskip("imagecodecs")
    return np.asarray(imagecodecs.ultrahdr_decode(path.read_bytes()), np.float64)[..., :3]


def map_of(path: Path) -> Image.Image:
    """The map, found by the Multi-Picture Format's directory."""
    with MpoImageFile(path) as image:
        image.seek(1)
        return image.copy()


def by_hand(path: Path) -> Floats:
    """Decoded through Pillow."""
    with Image.open(path) as image:
        base = light(np.asarray(image.convert("RGB")))
    shown = map_of(path)
    packet = shown.info["xmp"].decode()

    def three(name: str) -> Floats:
        found = re.search(rf"hdrgm:{name}(?:=\"([^\"]+)\"|><rdf:Seq>(.*?)</rdf:Seq>)", packet)
        assert found
        return np.array([float(v) for v in re.findall(r"-?[\d.]+", found[1] or found[2])])

    values = np.asarray(shown.resize(base.shape[1::-1], Image.Resampling.BILINEAR)) / 255
    values = values[..., None] if values.ndim == 2 else values
    low, high = three("GainMapMin"), three("GainMapMax")
    gains = low + (high - low) * values ** (1 / three("Gamma"))
    return (base + three("OffsetSDR")) * 2**gains - three("OffsetHDR")


def corrected_rendition(hdr: Floats, before: Floats, after: Floats) -> Floats:
    """What the correction of a photo makes of its HDR rendition, by the definition, at full size; all linear."""
    shown = [display(image) @ np.array([0.25, 0.5, 0.25]) / 255 for image in (before, after)]
    old, new = (light(255 * image)[..., None] for image in shown)
    ratio = np.log2((new + NEAR_BLACK) / (old + NEAR_BLACK))
    middle = ((shown[0] * (1 - shown[0])) ** 2)[..., None]
    step = ((hdr.mean(2, keepdims=True) - 0.2) / 0.8).clip(0, 1)
    step = step * step * (3 - 2 * step)
    gains = np.log2((hdr + NEAR_BLACK) / (before + NEAR_BLACK))
    changed = gains + step * ((middle * ratio).sum() / middle.sum() - ratio)
    changed = np.maximum(changed, np.minimum(gains, 0)).clip(None, 3)
    return (after + NEAR_BLACK) * 2**changed - NEAR_BLACK


@pytest.mark.parametrize("forms", ["xmp", "iso", "xmp iso"])
@pytest.mark.parametrize("mono", [True, False])
def test_strength_0_leaves_the_rendition_as_it_was(tmp_path: Path, forms: str, mono: bool) -> None:
    source = ultra_hdr(tmp_path / "a.jpg", scene(), mono, forms)
    before = read_photo(source)
    assert before.metadata.left_out == ()
    assert main(["correct", str(source), "-o", str(tmp_path / "b.jpg"), "--strength", "0", "--quiet"]) == 0
    after = read_photo(tmp_path / "b.jpg")
    assert after.metadata.gain_map
    assert before.metadata.gain_map
    assert after.metadata.gain_map.picture == before.metadata.gain_map.picture
    assert (after.metadata.gain_map.in_xmp, after.metadata.gain_map.in_iso) == ("xmp" in forms, "iso" in forms)
    assert decibels(by_libultrahdr(tmp_path / "b.jpg"), by_libultrahdr(source)) > 40


@pytest.mark.parametrize("ev", [-2.0, 0.0, 1.5])
@pytest.mark.parametrize("mono", [True, False])
def test_the_rendition_is_corrected_as_the_photo_is(
    tmp_path: Path, default_corrector: Corrector, ev: float, mono: bool
) -> None:
    hdr = scene(ev)
    source = ultra_hdr(tmp_path / "a.jpg", hdr, mono)
    photo = read_photo(source)
    write_photo(tmp_path / "b.jpg", default_corrector.correct_photo(photo))
    base = light(read_photo(tmp_path / "b.jpg").pixels)
    wanted = corrected_rendition(by_hand(source), light(photo.pixels), base)
    assert decibels(by_libultrahdr(tmp_path / "b.jpg"), wanted) > 30
    assert decibels(by_hand(tmp_path / "b.jpg"), wanted) > 30
    image = map_of(tmp_path / "b.jpg")
    assert (image.mode, image.size) == ("L" if mono else "RGB", (hdr.shape[1] // 2, hdr.shape[0] // 2))


@pytest.mark.parametrize(("ev", "better"), [(-2.0, -0.05), (2.0, 0.5)])
def test_it_is_nearer_to_the_scene_than_without_a_map_or_with_the_old_one(
    tmp_path: Path, default_corrector: Corrector, ev: float, better: float
) -> None:
    source = ultra_hdr(tmp_path / "a.jpg", scene(ev))
    photo = read_photo(source)
    result = default_corrector.correct_photo(photo)
    write_photo(tmp_path / "b.jpg", result)
    old = replace(result, metadata=replace(result.metadata, gain_map=photo.metadata.gain_map))
    write_photo(tmp_path / "old.jpg", old)
    found = decibels(by_hand(tmp_path / "b.jpg"), scene())
    assert found > decibels(by_hand(tmp_path / "old.jpg"), scene()) + better
    assert found > decibels(light(result.pixels), scene()) + better


def test_the_rendition_is_never_darker_than_a_photo_that_was_not_brighter_before() -> None:
    values = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))
    recipe = Recipe(
        lowest=(0.0,) * 3, highest=(1.0,) * 3, gamma=(1.0,) * 3, offset_sdr=(0.0,) * 3, offset_hdr=(0.0,) * 3,
        capacity=(0.0, 1.0),
    )  # fmt: skip
    gain_map = GainMap(picture=make.encoded_jpeg(values), recipe=recipe)
    before = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32)[:, None], (1, 3, 64, 64))
    for exponent in (0.3, 0.6, 1.8, 4.0):
        after = before**exponent
        gains = gain_map.corrected(64, lambda rows: before[:, :, rows], lambda rows, a=after: a[:, :, rows]).gains()
        assert gains.min() > -0.02
        assert gains.max() <= 1.001


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("forms", ["xmp", "iso"])
def test_numbers_are_read_and_written_in_both_forms(tmp_path: Path, channels: int, forms: str) -> None:
    rows = [(-0.5 - n / 8, 2.25 + n, 0.75 + n / 4, 1 / 64, n / 128) for n in range(channels)]
    values = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    source = make.ultra_hdr(tmp_path / "a.jpg", values, (rows, (0.25, 2.5)), forms=forms)
    found = read_photo(source).metadata.gain_map
    assert found
    wanted = list(zip(*(rows * (4 - channels))[:3], strict=True))
    recipe = found.recipe
    for three, numbers in zip(
        (recipe.lowest, recipe.highest, recipe.gamma, recipe.offset_sdr, recipe.offset_hdr), wanted, strict=True
    ):
        assert three == pytest.approx(numbers, abs=2e-6)
    assert recipe.capacity == (0.25, 2.5)
    write_photo(tmp_path / "b.jpg", read_photo(source))
    again = read_photo(tmp_path / "b.jpg").metadata.gain_map
    assert again
    assert again.picture == found.picture
    assert again.recipe.highest == pytest.approx(recipe.highest, abs=2e-6)
    assert Recipe.of_iso(recipe.to_iso()).gamma == pytest.approx(recipe.gamma)


def test_fractions_with_a_common_denominator() -> None:
    data = struct.pack(">HHB", 0, 0, 0x48) + struct.pack(">IIIiiIii", 64, 0, 192, -64, 128, 64, 1, 1)
    found = Recipe.of_iso(data)
    assert (found.lowest[0], found.highest[2], found.gamma[1], found.offset_sdr[0]) == (-1.0, 2.0, 1.0, 1 / 64)
    assert found.capacity == (0.0, 3.0)
    assert found.base_space


@pytest.mark.parametrize("orientation", [2, 3, 6, 7])
def test_the_map_is_turned_with_the_photo(tmp_path: Path, orientation: int) -> None:
    block = EXIF + make.exif_block(orientation=orientation, thumbnail=b"")
    source = make.ultra_hdr(tmp_path / "a.jpg", None, make.GAINS, (0xE1, block))
    write_photo(tmp_path / "b.jpg", read_photo(source))
    values = map_of(source)
    wanted = {
        2: values.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: values.transpose(Image.Transpose.ROTATE_180),
        6: values.transpose(Image.Transpose.ROTATE_270),
        7: values.transpose(Image.Transpose.TRANSVERSE),
    }
    found = np.asarray(map_of(tmp_path / "b.jpg")).astype(float)
    assert np.abs(found - np.asarray(wanted[orientation])).max() <= 3


def test_directories_give_the_true_lengths(tmp_path: Path, default_corrector: Corrector) -> None:
    source = make.ultra_hdr(tmp_path / "a.jpg", None, make.GAINS, (0xE1, EXIF + make.exif_block()), pixels=None)
    write_photo(tmp_path / "b.jpg", default_corrector.correct_photo(read_photo(source)))
    content = (tmp_path / "b.jpg").read_bytes()
    at = content.index(b"MPF\0") + 4
    first, start, second, offset = struct.unpack_from(">IIxxxxxxxxII", content, at + 54)
    assert start == 0
    assert at + offset == first
    assert content[first : first + 3] == b"\xff\xd8\xff"
    assert content[first - 2 : first] == b"\xff\xd9"
    assert first + second == len(content)
    lengths = re.findall(rb'Item:Semantic="(\w+)"[^>]*?Item:Length="(\d+)"', content)
    assert lengths == [(b"GainMap", str(second).encode())]


@pytest.mark.skipif(not shutil.which("exiftool"), reason="ExifTool is not installed")
def test_exiftool_sees_the_map(tmp_path: Path, default_corrector: Corrector) -> None:
    source = make.ultra_hdr(tmp_path / "a.jpg", None, make.GAINS, (0xE1, EXIF + make.exif_block()))
    write_photo(tmp_path / "b.jpg", default_corrector.correct_photo(read_photo(source)))
    command = ["exiftool", "-G1", "-s", "-j", "-validate", "-warning", "-a", "-all", str(tmp_path / "b.jpg")]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
    assert found["XMP-hdrgm:Version"] == 1.0
    assert found["MPF0:NumberOfImages"] == 2
    assert found["XMP-xmp:Rating"] == 5
    command = ["exiftool", "-b", "-MPImage2", str(tmp_path / "b.jpg")]
    second = subprocess.run(command, capture_output=True, check=True).stdout
    command = ["exiftool", "-G1", "-s", "-j", "-a", "-"]
    found = json.loads(subprocess.run(command, input=second, capture_output=True, check=True).stdout)[0]
    assert found["XMP-hdrgm:HDRCapacityMax"] == 2
    assert found["File:ImageWidth"] == 24


def cut(content: bytes) -> bytes:
    return content[:-200]


def black_out(content: bytes) -> bytes:
    at = content.rindex(b"\xff\xda")
    return content[: at + 20] + bytes(30)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "the gain map, which is damaged"),
        (lambda c: c.replace(b"GainMapMax=", b"GainMapMat="), "the gain map"),
        (lambda c: c.replace(b'Gamma="1', b'Gamma="0'), "the gain map, which is damaged"),
        (lambda c: c.replace(b'Gamma="1.000000', b'Gamma="nan00000'), "the gain map, which is damaged"),
        (lambda c: c.replace(b'CapacityMin="0', b'CapacityMin="9'), "the gain map, which leads from HDR to SDR"),
        (lambda c: c[: c.index(b"\xff\xd9\xff\xd8") + 2], "the gain map"),
        (black_out, "the gain map, which is damaged"),
    ],
)
def test_a_damaged_map_is_left_out(tmp_path: Path, damage: Any, said: str) -> None:
    source = make.ultra_hdr(tmp_path / "a.jpg", forms="xmp")
    source.write_bytes(damage(source.read_bytes()))
    photo = read_photo(source)
    assert photo.metadata.gain_map is None
    assert said in photo.metadata.left_out
    assert said in write_photo(tmp_path / "b.jpg", photo)
    content = (tmp_path / "b.jpg").read_bytes()
    assert content.count(b"\xff\xd8\xff") == 1
    assert b"hdr-gain-map" not in content


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged"),
        (struct.pack(">HHB", 1, 1, 0), "newer"),
        (struct.pack(">HHB", 0, 0, 4), "HDR to SDR"),
        (bytes(5 + 56), "damaged"),
        (struct.pack(">HHB", 0, 0, 0x80) + bytes(50), "damaged"),
    ],
)
def test_iso_metadata_that_cannot_be_used(data: bytes, message: str) -> None:
    with pytest.raises(GainMapError, match=message):
        Recipe.of_iso(data)


@pytest.mark.parametrize("kept", ["no-gps", "none"])
def test_a_map_stays_without_other_metadata_of_its_own(tmp_path: Path, kept: str) -> None:
    source = make.ultra_hdr(tmp_path / "a.jpg", None, make.GAINS, (0xE1, EXIF + make.exif_block()))
    command = ["correct", str(source), "-o", str(tmp_path / "b.jpg"), "--metadata", kept, "--strength", "0", "--quiet"]
    assert main(command) == 0
    assert decibels(by_libultrahdr(tmp_path / "b.jpg"), by_libultrahdr(source)) > 40
    found = read_photo(tmp_path / "b.jpg").metadata
    assert (b"Rating" in found.xmp) == (kept == "no-gps")
    # The map's own XMP had it, too.
    content = (tmp_path / "b.jpg").read_bytes()
    assert b"Rating" not in content[content.index(b"\xff\xd9\xff\xd8") :]
    assert b"GPS" not in content


def test_files_of_another_encoder(tmp_path: Path, default_corrector: Corrector) -> None:
    """Those of libultrahdr have only ISO's form, offsets of 0, and three channels."""
    imagecodecs = pytest.importorskip("imagecodecs")
    hdr = scene(-1.5)
    half = np.dstack((hdr, np.ones(hdr.shape[:2]))).astype(np.float16)
    source = tmp_path / "a.jpg"
    source.write_bytes(imagecodecs.ultrahdr_encode(half, transfer=0, gamut=0))
    photo = read_photo(source)
    assert photo.metadata.left_out == ()
    write_photo(tmp_path / "same.jpg", photo)
    assert decibels(by_libultrahdr(tmp_path / "same.jpg"), by_libultrahdr(source)) > 40
    write_photo(tmp_path / "b.jpg", default_corrector.correct_photo(photo))
    found, base = by_libultrahdr(tmp_path / "b.jpg"), light(read_photo(tmp_path / "b.jpg").pixels)
    assert (found >= base * 0.9 - 0.02).all()
    assert decibels(found, scene()) > decibels(by_libultrahdr(source), scene()) + 3


def test_long_xmp_is_split_and_the_directory_stays_in_the_first_part(tmp_path: Path) -> None:
    source = make.ultra_hdr(tmp_path / "a.jpg", forms="xmp")
    photo = read_photo(source)
    long = make.XMP % (b' xmp:Label="%s"' % (b"long " * 13_000))
    for extended in (b"", make.XMP.replace(b"Rating", b"Nickname") % b""):
        metadata = replace(photo.metadata, xmp=long, extended_xmp=extended)
        assert write_photo(tmp_path / "b.jpg", replace(photo, metadata=metadata), overwrite=True) == ()
        again = read_photo(tmp_path / "b.jpg").metadata
        assert again.left_out == ()
        assert again.gain_map
        assert b"long long" in again.extended_xmp
        assert (b"Nickname" in again.extended_xmp) == bool(extended)
        assert b"Container:Directory" in (tmp_path / "b.jpg").read_bytes()[:5000]


def test_an_extended_packet_stays_linked(tmp_path: Path) -> None:
    photo = read_photo(make.ultra_hdr(tmp_path / "a.jpg", forms="xmp"))
    more = make.XMP.replace(b"Rating", b"Nickname") % b""
    from expcorr_core.photos.xmp import guid

    main_packet = make.XMP % (b' xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="%s"' % guid(more).encode())
    metadata = replace(photo.metadata, xmp=main_packet, extended_xmp=more)
    write_photo(tmp_path / "b.jpg", replace(photo, metadata=metadata))
    again = read_photo(tmp_path / "b.jpg").metadata
    assert again.extended_xmp == more
    assert again.left_out == ()


def test_writing_again_and_again_adds_nothing(tmp_path: Path) -> None:
    source = make.ultra_hdr(tmp_path / "a.jpg")
    sizes = []
    for name in ("b.jpg", "c.jpg", "d.jpg"):
        write_photo(tmp_path / name, read_photo(source))
        source = tmp_path / name
        sizes.append(len(read_photo(source).metadata.xmp))
    assert len(set(sizes)) == 1


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(data), kind) + data


VIDEO = box(b"ftyp", b"mp42" + bytes(12)) + box(b"mdat", b"GPS 52N " * 40) + box(b"moov", bytes(100))
CAMERA = b' xmlns:G="http://ns.google.com/photos/1.0/camera/"'
MOTION = CAMERA + b' G:MotionPhoto="1" G:MotionPhotoVersion="1" G:MotionPhotoPresentationTimestampUs="70"'
MICRO = CAMERA + b' G:MicroVideo="1" G:MicroVideoVersion="1" G:MicroVideoOffset="%d"' % len(VIDEO)
ITEM = make.container_item(b"MotionPhoto", b"video/mp4", len(VIDEO))


def video_by_google(content: bytes) -> bytes:
    """The video, found as readers do: by its distance from the end."""
    found = re.search(rb'(?:Semantic="MotionPhoto"[^>]*Item:Length|MicroVideoOffset)="(\d+)"', content)
    assert found
    return content[-int(found[1]) :]


def test_motion_photos_keep_their_video(tmp_path: Path, default_corrector: Corrector) -> None:
    with_map = make.ultra_hdr(tmp_path / "a.jpg", after=VIDEO, listed=ITEM, camera=MOTION)
    micro = make.jpeg(tmp_path / "m.jpg", (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + make.XMP % MICRO), after=VIDEO)
    for source in (with_map, micro):
        photo = read_photo(source)
        assert photo.metadata.left_out == ()
        assert write_photo(tmp_path / "b.jpg", default_corrector.correct_photo(photo), overwrite=True) == ()
        content = (tmp_path / "b.jpg").read_bytes()
        assert video_by_google(content) == VIDEO
        assert content.count(b'GCamera:MotionPhotoPresentationTimestampUs="70"') == (source == with_map)
        assert (read_photo(tmp_path / "b.jpg").metadata.gain_map is not None) == (source == with_map)
        # Once more.
        write_photo(tmp_path / "c.jpg", read_photo(tmp_path / "b.jpg"), overwrite=True)
        assert video_by_google((tmp_path / "c.jpg").read_bytes()) == VIDEO
        private = write_photo(tmp_path / "d.jpg", photo.with_metadata("no-gps"), overwrite=True)
        assert "the video after the picture, which may reveal the location" in private
        content = (tmp_path / "d.jpg").read_bytes()
        assert not any(part in content for part in (b"52N", b"MotionPhoto", b"MicroVideo"))
        for suffix in ("png", "tif", "webp"):
            left_out = write_photo(tmp_path / f"e.{suffix}", photo, overwrite=True)
            assert "the video after the picture" in left_out
            assert ("the gain map" in left_out) == (source == with_map)


def samsung(*blocks: tuple[bytes, bytes]) -> bytes:
    """Blocks (name, data) as Samsung appends them."""
    held, entries = b"", []
    for number, (name, data) in enumerate(blocks):
        block = struct.pack("<HHI", 0, 0x0A30 + number, len(name)) + name + data
        entries.append((0x0A30 + number, len(held), len(block)))
        held += block
    directory = b"SEFH" + struct.pack("<II", 107, len(blocks))
    directory += b"".join(struct.pack("<HHII", 0, kind, len(held) - at, size) for kind, at, size in entries)
    return held + directory + struct.pack("<I", len(directory)) + b"SEFT"


def test_samsungs_blocks_stay_unless_they_contain_pictures(tmp_path: Path) -> None:
    after = samsung((b"Image_UTC_Data", b"1400000000000"), (b"MotionPhoto_Data", VIDEO))
    assert write_photo(tmp_path / "b.jpg", read_photo(make.jpeg(tmp_path / "a.jpg", after=after))) == ()
    assert (tmp_path / "b.jpg").read_bytes().endswith(after)
    hidden = samsung((b"Original", make.PICTURE), (b"MotionPhoto_Data", VIDEO))
    left_out = write_photo(tmp_path / "c.jpg", read_photo(make.jpeg(tmp_path / "a.jpg", after=hidden)))
    assert left_out
    assert b"old picture" not in (tmp_path / "c.jpg").read_bytes()


def test_what_follows_a_video_is_not_taken_for_it(tmp_path: Path) -> None:
    photo = read_photo(make.jpeg(tmp_path / "a.jpg", after=VIDEO + make.PICTURE))
    assert photo.metadata.left_out == ("further pictures of the file",)
    assert photo.metadata.video
    assert photo.metadata.video.content == VIDEO


def test_further_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    """A preview would show the photo before its correction, and one half of a stereo pair does not fit the other."""
    file = io.BytesIO()
    image = Image.fromarray(make.gradient())
    image.save(file, "MPO", save_all=True, append_images=[image.rotate(2)])
    (tmp_path / "a.mpo").write_bytes(file.getvalue())
    left_out = write_photo(tmp_path / "b.jpg", read_photo(tmp_path / "a.mpo"))
    assert left_out == ("the directory of further pictures", "further pictures of the file")
    with Image.open(tmp_path / "b.jpg") as image:
        assert getattr(image, "n_frames", 1) == 1
    mapped = make.ultra_hdr(tmp_path / "c.jpg")
    mapped.write_bytes(mapped.read_bytes() + make.encoded_jpeg(make.gradient()))
    photo = read_photo(mapped)
    assert photo.metadata.gain_map
    assert photo.metadata.left_out == ("the directory of further pictures", "further pictures of the file")


def test_apples_form_is_left_out_and_named(tmp_path: Path) -> None:
    packet = make.XMP % b' xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/" HDRGainMap:HDRGainMapVersion="65536"'
    apples = make.with_segments(
        make.encoded_jpeg(make.gradient(8, 8)), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)
    )
    left_out = write_photo(tmp_path / "b.jpg", read_photo(make.jpeg(tmp_path / "a.jpg", after=apples)))
    assert left_out == ("the gain map, which is in Apple's form",)


def test_thousands_of_appended_pictures_take_no_time(tmp_path: Path) -> None:
    photo = read_photo(make.jpeg(tmp_path / "a.jpg", after=b"\xff\xd8\xff\xd9" * 500_000))
    assert "further pictures of the file" in photo.metadata.left_out


def test_a_map_that_claims_too_many_pixels_is_damaged(tmp_path: Path) -> None:
    source = make.ultra_hdr(tmp_path / "a.jpg", forms="xmp")
    content = bytearray(source.read_bytes())
    at = content.rindex(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    source.write_bytes(content)
    assert "the gain map, which is damaged" in read_photo(source).metadata.left_out


def test_a_batch_run_corrects_the_rendition_too(tmp_path: Path) -> None:
    source = ultra_hdr(tmp_path / "a.jpg", scene(-2.0))
    assert main(["correct", str(source), "-o", str(tmp_path / "b.jpg"), "--quiet"]) == 0
    alike = Corrector.load().correct_photo(read_photo(source), Settings())
    found = read_photo(tmp_path / "b.jpg").metadata.gain_map
    assert found
    assert alike.metadata.gain_map
    assert found.picture == alike.metadata.gain_map.picture
    assert isinstance(alike, Photo)
