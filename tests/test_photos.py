"""Photo files: what goes in comes out, with its metadata; anything that is not a photo is reported in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms

from expcorr_core.photos import reading, writing
from expcorr_core.photos.metadata import Metadata
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import ImageError, read_photo
from expcorr_core.photos.writing import write_photo
from expcorr_core.photos.xmp import of_upright, without_places

MAKE, ORIENTATION, DATE, EXPOSURE_TIME = 271, 274, 306, 33434
EXIF_BLOCK, GPS_BLOCK = 0x8769, 0x8825
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
SUFFIXES = ("jpg", "png", "tif", "webp")


def example_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[MAKE] = "Maker"
    exif[ORIENTATION] = orientation
    exif[DATE] = "2026:01:02 03:04:05"
    exif.get_ifd(EXIF_BLOCK)[EXPOSURE_TIME] = (1, 60)
    exif.get_ifd(GPS_BLOCK)[1] = "N"
    return exif


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", ("jpg", "webp"))
def test_metadata_survive(tmp_path: Path, scene: NDArray[np.uint8], source: str, target: str) -> None:
    path = tmp_path / f"a.{source}"
    Image.fromarray(scene).save(path, exif=example_exif(6), icc_profile=SRGB, xmp=XMP, quality=90)
    photo = read_photo(path)
    assert photo.pixels.shape == (143, 97, 3)  # orientation 6: turned by 90 degrees
    out = tmp_path / f"b.{target}"
    write_photo(out, photo)
    with Image.open(out) as image:
        exif = image.getexif()
        assert image.size == (97, 143)
        assert (exif[MAKE], exif[DATE]) == ("Maker", "2026:01:02 03:04:05")
        assert exif.get(ORIENTATION, 1) == 1
        assert exif.get_ifd(EXIF_BLOCK)[EXPOSURE_TIME] == pytest.approx((1, 60))
        assert exif.get_ifd(GPS_BLOCK)[1] == "N"
        assert image.info["icc_profile"] == SRGB
        assert image.info["xmp"] == XMP
    again = read_photo(out)
    assert again.metadata.exif
    assert (again.metadata.icc_profile, again.metadata.xmp) == (SRGB, XMP)
    if target in ("png", "tif"):
        assert np.array_equal(again.pixels, photo.pixels)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mode", ("RGB", "RGBA", "L", "LA", "P", "1"))
def test_modes(tmp_path: Path, scene: NDArray[np.uint8], suffix: str, mode: str) -> None:
    image = Image.fromarray(scene)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    source = tmp_path / "a.png"
    image.convert(mode).save(source)
    photo = read_photo(source)
    assert photo.pixels.shape == scene.shape
    assert photo.grey == (mode in ("L", "LA", "1"))
    assert (photo.alpha is not None) == (mode in ("RGBA", "LA"))
    out = tmp_path / f"out.{suffix}"
    write_photo(out, photo)
    again = read_photo(out)
    assert again.pixels.shape == scene.shape
    if suffix in ("png", "tif"):
        assert np.array_equal(again.pixels, photo.pixels)
        assert again.grey == photo.grey
    if suffix != "jpg" and photo.alpha is not None:
        assert again.alpha is not None
        assert np.array_equal(again.alpha, photo.alpha)


@pytest.mark.parametrize("suffix", ("png", "tif"))
@pytest.mark.parametrize("channels", (1, 3, 4))
def test_sixteen_bits(tmp_path: Path, suffix: str, channels: int) -> None:
    pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, channels), np.uint16)
    rgb = values[..., :3] if channels >= 3 else np.repeat(values, 3, 2)
    photo = Photo(rgb, values[..., 3] if channels == 4 else None, channels == 1, Metadata(icc_profile=SRGB, xmp=XMP))
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    write_photo(first, photo)
    again = read_photo(first)
    write_photo(second, again)
    last = read_photo(second)
    assert last.deep
    assert last.grey == (channels == 1)
    assert np.array_equal(last.pixels, rgb)
    assert (last.alpha is None) == (channels != 4)
    assert last.alpha is None or np.array_equal(last.alpha, values[..., 3])
    assert (last.metadata.icc_profile, last.metadata.xmp) == (SRGB, XMP)
    # The tensor keeps all 16 bits.
    assert np.array_equal(again.with_tensor(again.to_tensor()).pixels, rgb)
    assert len(np.unique((again.to_tensor().numpy() * 65535).round())) > 256
    write_photo(tmp_path / "c.jpg", again)
    assert not read_photo(tmp_path / "c.jpg").deep


def test_sixteen_bits_are_turned_upright_once(tmp_path: Path) -> None:
    pyvips = pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    image = pyvips.Image.new_from_array(np.zeros((20, 30, 3), np.uint16)).copy(interpretation="rgb16").copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    for suffix in ("png", "tif"):
        path = tmp_path / f"a.{suffix}"
        image.write_to_file(str(path))
        photo = read_photo(path)
        assert photo.pixels.shape == (30, 20, 3)
        write_photo(tmp_path / f"b.{suffix}", photo)
        assert read_photo(tmp_path / f"b.{suffix}").pixels.shape == (30, 20, 3)


def test_sixteen_bits_without_pyvips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "a.png")
    monkeypatch.setitem(__import__("sys").modules, "pyvips", None)
    with pytest.raises(ImageError, match=r"expcorr\[deep\]"):
        read_photo(tmp_path / "a.png")


def test_cmyk_becomes_rgb(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    Image.fromarray(scene).convert("CMYK").save(tmp_path / "a.jpg", quality=95, icc_profile=b"no profile")
    photo = read_photo(tmp_path / "a.jpg")
    assert not photo.metadata.icc_profile
    assert np.abs(photo.pixels.astype(int) - scene).mean() < 8


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert read_photo(tmp_path / "a.webp").pixels[0, 0].tolist() == [255, 0, 0]


def bad_files(folder: Path, scene: NDArray[np.uint8]) -> dict[str, Path]:
    """Files that cannot be read as photos, by their messages."""
    whole = folder / "whole.jpg"
    Image.fromarray(scene).save(whole)
    contents = {
        "is empty": ("empty.jpg", b""),
        "not a photo in a known format": ("text.jpg", b"this is no picture at all, only some words"),
        "damaged or cut off": ("cut.jpg", whole.read_bytes()[: whole.stat().st_size // 2]),
    }
    files = {}
    for message, (name, content) in contents.items():
        files[message] = folder / name
        files[message].write_bytes(content)
    files["does not exist"] = folder / "nowhere.jpg"
    files["is a folder"] = folder
    Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / "float.tif")
    files["floating-point samples of 32 bits"] = folder / "float.tif"
    Image.fromarray(scene).save(folder / "gif.png", "GIF")
    files["is a GIF picture, which is not supported"] = folder / "gif.png"
    return files


def test_bad_files_are_named(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    for message, path in bad_files(tmp_path, scene).items():
        with pytest.raises(ImageError, match=message) as caught:
            read_photo(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of the damage
def test_damaged_exif_does_not_cost_the_photo(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)
    good = bytearray(example_exif(6).tobytes())
    for index in range(200):
        exif = bytearray(good)
        for place in rng.integers(6, len(exif), 4):
            exif[place] = rng.integers(256)
        path = tmp_path / f"{index}.jpg"
        Image.fromarray(scene[:8, :8]).save(path, exif=bytes(exif))
        photo = read_photo(path)
        assert photo.pixels.shape == (8, 8, 3)
        write_photo(tmp_path / f"{index}.png", photo)


def test_large_photos_may_be_decoded_smaller(tmp_path: Path) -> None:
    Image.new("RGB", (800, 640)).save(tmp_path / "a.jpg")
    assert read_photo(tmp_path / "a.jpg", at_least=150).pixels.shape == (160, 200, 3)
    assert read_photo(tmp_path / "a.jpg").pixels.shape == (640, 800, 3)


def test_truncated_sixteen_bit_png(tmp_path: Path) -> None:
    pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    values = np.random.default_rng(0).integers(0, 65536, (50, 50, 3), np.uint16)
    write_photo(tmp_path / "a.png", Photo(values))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:5000])
    with pytest.raises(ImageError, match=r"b\.png is damaged"):
        read_photo(tmp_path / "b.png")


@pytest.mark.parametrize("first", ["shallow", "deep"])
def test_a_file_that_is_replaced_while_it_is_read(
    tmp_path: Path, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Header and pixels are of one file, whether another comes before or after it is opened."""
    pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    photos = {"shallow": Photo(scene), "deep": Photo(255 - scene.astype(np.uint16))}
    second = next(name for name in photos if name != first)
    for name, photo in photos.items():
        write_photo(tmp_path / f"{name}.png", photo)
    path = tmp_path / f"{first}.png"
    opened = Path.open

    def meanwhile(self: Path, *arguments: Any, **options: Any) -> Any:
        file = opened(self, *arguments, **options)
        if self == path and (tmp_path / f"{second}.png").exists():
            (tmp_path / f"{second}.png").replace(path)
        return file

    monkeypatch.setattr(Path, "open", meanwhile)
    assert np.array_equal(read_photo(path).pixels, photos[first].pixels)
    assert np.array_equal(read_photo(path).pixels, photos[second].pixels)


READ_MANY = """
import sys
from pathlib import Path
from expcorr_core.photos.reading import read_photo
held = []
for _ in range(25):
    read_photo(Path(sys.argv[1]))
    held.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20)
print(held[-1] - held[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_sixteen_bit_files_do_not_stay_in_memory(tmp_path: Path) -> None:
    """libvips caches what it has loaded: up to 100 MB of pixels, and every file that it decodes to disk."""
    pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    values = np.random.default_rng(0).integers(0, 65536, (1500, 1500, 3), np.uint16)
    write_photo(tmp_path / "b.tif", Photo(values))
    environment = {**os.environ, "VIPS_DISC_THRESHOLD": "1m"}
    command = [sys.executable, "-c", READ_MANY, tmp_path / "b.tif"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert float(done.stdout) < 160  # MiB; all files have 320


def test_a_file_that_is_larger_than_memory_is_refused_unread(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "memory", lambda: photo.stat().st_size - 1)
    with pytest.raises(ImageError, match="does not fit into memory"):
        read_photo(photo)


def test_writing_is_whole_or_nothing(tmp_path: Path, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Photo(scene)
    path = tmp_path / "sub" / "a.png"
    write_photo(path, photo)
    (tmp_path / "usual").touch()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    with pytest.raises(ImageError, match="exists"):
        write_photo(path, photo)
    before = path.read_bytes()

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "_encoded", full_disk)
    with pytest.raises(ImageError, match="No space left"):
        write_photo(path, Photo(scene[:10]), overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["a.png"]  # noqa: PTH208 (hidden files too)


def test_names_that_cannot_be_written(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    with pytest.raises(ImageError, match="suffix"):
        write_photo(tmp_path / "a.gif", Photo(scene))
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="cannot be written"):
        write_photo(tmp_path / "file" / "a.png", Photo(scene))


def test_rounding_to_eight_bits() -> None:
    photo = Photo(np.zeros((1, 2, 3), np.uint8))
    image = torch.tensor([0.499 / 255, 254.51 / 255]).expand(1, 3, 1, 2)
    assert photo.with_tensor(image).pixels[0, :, 0].tolist() == [0, 255]


RDF = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:drone="http://www.dji.com/drone-dji/1.0/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:Container="http://ns.google.com/photos/1.0/container/">%s</rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
GAIN_MAP_XMP = (
    RDF
    % b"""<rdf:Description hdrgm:Version="1.0" xmp:Rating="4"><Container:Directory><rdf:Seq>
<rdf:li><Container:Item Container:Semantic="GainMap" Container:Length="999"/></rdf:li></rdf:Seq></Container:Directory>
</rdf:Description>"""
)


def test_of_a_gain_map_file_the_picture_is_taken_and_the_map_forgotten(
    tmp_path: Path, scene: NDArray[np.uint8]
) -> None:
    """An Ultra HDR JPEG: a map would brighten the corrected photo as if it were the old one."""
    path = tmp_path / "ultra.jpg"
    gains = Image.fromarray(scene).convert("L").reduce(4)
    Image.fromarray(scene).save(path, "MPO", save_all=True, append_images=[gains], xmp=GAIN_MAP_XMP, quality=95)
    photo = read_photo(path)
    assert np.abs(photo.pixels.astype(int) - scene).mean() < 6
    write_photo(tmp_path / "out.jpg", photo)
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.format == "JPEG"  # one picture alone
        xmp = image.info["xmp"]
    assert b"Directory" not in xmp
    assert b"hdrgm:Version" not in xmp
    assert b'xmp:Rating="4"' in xmp


PLACES = RDF % (
    b"<rdf:Description exif:GPSLatitude='52,31N' exif:GPSLongitude='13,24E' drone:GpsLongtitude='13' xmp:Rating='5'>"
    b"<exif:GPSAltitude>34/1</exif:GPSAltitude><exif:GPSMapDatum/><photoshop:City>Berlin</photoshop:City>"
    b"<dc:title>x</dc:title></rdf:Description>"
)


@pytest.mark.parametrize("kept", ["all", "no-gps", "none"])
def test_places_and_all_metadata_can_be_stripped(tmp_path: Path, scene: NDArray[np.uint8], kept: str) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(scene).save(path, exif=example_exif(), xmp=PLACES, icc_profile=SRGB)
    write_photo(tmp_path / "b.jpg", read_photo(path).with_metadata(kept))
    with Image.open(tmp_path / "b.jpg") as image:
        exif = image.getexif()
        assert bool(exif.get_ifd(GPS_BLOCK)) == (kept == "all")
        assert exif.get(MAKE) == (None if kept == "none" else "Maker")
        assert image.info["icc_profile"] == SRGB  # without it the colours would be others
        xmp = image.info.get("xmp", b"")
    assert (b"gps" in xmp.lower()) == (b"Berlin" in xmp) == (kept == "all")
    assert (b"<dc:title>x</dc:title>" in xmp) == (b"xmp:Rating=" in xmp) == (kept != "none")


def test_a_part_that_was_written_is_not_taken_for_the_whole(
    tmp_path: Path, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk stores only a part of what is written, and Pillow's encoders do not notice."""

    opened = Path.open

    def on_full_disk(path: Path, *arguments: Any, **options: Any) -> Any:
        return opened(Path("/dev/full"), *arguments, **options)

    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    for suffix in ("jpg", "png", "webp", "tif"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", on_full_disk)
            with pytest.raises(ImageError, match="No space left on device"):
                write_photo(tmp_path / f"a.{suffix}", Photo(scene))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "xmp",
    [
        b"<x>" + b"<hdr-gain-map:a>" * 60_000,
        b"<a>" * 200_000,
        b"<x a='hdr-gain-map'/>" + b"<x/>" * 2**19,
        b"hdr-gain-map",
        b"<!DOCTYPE x [<!ENTITY a '%s'>]><x>%s</x>" % (b"a" * 500_000, b"&a;" * 100_000),
    ],
    ids=["unclosed", "deep", "long", "no XML", "entities"],
)
@pytest.mark.slow
def test_hostile_metadata_is_dropped_at_once(xmp: bytes) -> None:
    assert without_places(xmp) == b""
    changed, said = of_upright(xmp, turned=False, sideways=False)
    assert not changed or (changed == xmp and not said)


def test_metadata_keep_their_own_prefixes_and_change_nobodys() -> None:
    before = dict(ElementTree._namespace_map)  # type: ignore[attr-defined]
    packet = (
        b'<r:RDF xmlns:r="rdf" xmlns:svg="evil" xmlns="plain"><svg:d dc:a="1&#10;&lt;" xmlns:dc="d" r:City="Berlin">'
        b'<dc:b xmlns:dc="other">t &amp; t<!-- Berlin --></dc:b><c GPSLatitude="1"/><country>DE<d/></country>'
        b"</svg:d></r:RDF>"
    )
    wanted = packet.replace(b' r:City="Berlin"', b"").replace(b"<!-- Berlin -->", b"")
    wanted = wanted.replace(b'<c GPSLatitude="1"/><country>DE<d/></country>', b"<c></c>")
    assert wanted in without_places(packet)
    mapped = packet.replace(b"evil", b"http://ns.adobe.com/hdr-gain-map/1.0/")
    assert b'<r:RDF xmlns:r="rdf" xmlns="plain"></r:RDF>' in of_upright(mapped, turned=False, sideways=False)[0]
    assert ElementTree._namespace_map == before  # type: ignore[attr-defined]
    nested = b"<a xmlns:b='c'>" * 30_000 + b"</a>" * 30_000
    assert without_places(nested).count(b"</a>") == 30_000
