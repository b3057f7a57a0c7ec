"""Raw files: what the sensor saw above white comes back, metadata, names, and what cannot be read."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import photo_files as make
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms
from raw_files import BLACK, WHITE, compressed, light_of, with_preview, with_tags, write_dng

from expcorr_core import correct
from expcorr_core.batch.bulk import Job, Work, correct_file, needs
from expcorr_core.batch.inputs import find_inputs, plan_jobs
from expcorr_core.cli import main
from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import LUMA, linear_to_srgb
from expcorr_core.photos import exif
from expcorr_core.photos.directories import ASCII, LONG, RATIONAL, SHORT, Block, Value
from expcorr_core.photos.raw_metadata import header_of, size_of
from expcorr_core.photos.reading import ImageError, photo_size, read_photo
from expcorr_core.photos.writing import write_photo

pytest.importorskip("rawpy", reason="raw files need the raw extra")
data = pytest.importorskip("skimage.data", reason="pictures come from scikit-image")
stats = pytest.importorskip("scipy.stats", reason="ranks need SciPy")

Light = NDArray[np.float32]
HEADROOM = 2.0  # stops that the sensor holds above the JPEG's white
NOTE = b"Maker's own notes, with addresses that count from the beginning"


def display(light: NDArray[np.floating]) -> Light:
    """As a JPEG shows light: clipped at white."""
    values: Light = linear_to_srgb(torch.from_numpy(light.clip(0, 1))).float().numpy()
    return values


def sunlit(stops: float) -> Light:
    """A rocket against a sky that becomes brighter towards the sun: seven stops above the ground."""
    ground = light_of(data.rocket()[::2, ::2], -1)
    y, x = np.mgrid[0 : len(ground), 0 : ground.shape[1]]
    distance = np.hypot(y - 20, x - 250) / 100
    sun = np.exp(-(distance**2))[..., None] * np.float32((3.2, 3.0, 2.6))
    light: Light = ((ground + sun) * 2**stops).astype(np.float32)
    return light


def bracket(path: Path, stops: float) -> tuple[Light, Path]:
    """The light of an exposure, where 1 is white in the camera's JPEG, and its raw file."""
    light = sunlit(stops)
    return light, write_dng(path / "scene.dng", light / 2**HEADROOM, HEADROOM)


def corrected(corrector: Corrector, image: Light) -> Light:
    result: Light = corrector(torch.from_numpy(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    return result


@pytest.mark.parametrize("stops", [0.0, 1.0])
def test_highlights_that_a_jpeg_has_lost_come_back(tmp_path: Path, default_corrector: Corrector, stops: float) -> None:
    light, path = bracket(tmp_path, stops)
    photo = read_photo(path)
    raw = corrected(default_corrector, photo.to_tensor()[0].permute(1, 2, 0).numpy())
    jpeg = corrected(default_corrector, display(light))
    lost = (light.min(2) > 1) & (light.max(2) < 0.97 * 2**HEADROOM)
    assert lost.mean() > 0.05
    truth, ours, theirs = ((picture @ np.float32(LUMA))[lost] for picture in (light, raw, jpeg))
    assert stats.spearmanr(truth, ours).statistic > 0.98
    assert np.corrcoef(np.log(truth), np.log(ours))[0, 1] > 0.95
    assert theirs.std() < ours.std() / 4  # there is nothing left in it


def test_without_light_above_white_nothing_is_compressed(tmp_path: Path, default_corrector: Corrector) -> None:
    light = light_of(data.coffee()[::3, ::3], -0.2)
    light[20:50, 20:50] = 1  # paper
    photo = read_photo(write_dng(tmp_path / "a.dng", light))
    values = photo.to_tensor()[0].permute(1, 2, 0).numpy()
    difference = np.abs(values - display(light))[:128, :192]
    assert difference.reshape(16, 8, 24, 8, 3).mean((1, 3)).mean() < 0.025  # a mosaic cannot hold all details
    assert np.abs((values - display(light)).mean((0, 1))).max() < 0.003
    assert values[30:40, 30:40].min() > 0.995
    assert default_corrector.correct_photo(photo).pixels[30:40, 30:40].min() > 0.97 * 65535


def test_a_saturated_sky_is_white(tmp_path: Path, default_corrector: Corrector) -> None:
    light = sunlit(-1)
    light[:100] = 40
    photo = read_photo(write_dng(tmp_path / "a.dng", light / 2**HEADROOM, HEADROOM))
    assert photo.pixels[10:90, 10:-10].min() > 0.99 * 65535
    sky = (slice(10, 90), slice(10, -10))
    raw = default_corrector.correct_photo(photo).pixels[sky] / 65535
    assert raw.mean() > corrected(default_corrector, display(light))[sky].mean() - 0.02


def test_shadows_do_not_band(tmp_path: Path, default_corrector: Corrector) -> None:
    ramp = np.linspace(0.002, 0.02, 800, dtype=np.float32)[None, :, None].repeat(80, 0).repeat(3, 2)
    noise = np.random.default_rng(0).normal(0, 1e-4, ramp.shape)
    path = write_dng(tmp_path / "a.dng", ramp + noise.astype(np.float32))
    result = default_corrector.correct_photo(read_photo(path)).pixels[8:-8, 8:-8, 1] / 257
    assert result.mean() > 60  # brightened by some stops
    columns = result.mean(0)
    assert np.abs(np.diff(np.convolve(columns, np.ones(9) / 9, "valid"))).max() < 1  # no step of an 8-bit value
    assert len(np.unique((result * 257).round())) > 400  # which 8 bits would have 100 of


@pytest.mark.parametrize("own", [None, 0.5])
def test_brightness_is_that_of_the_cameras_preview(tmp_path: Path, own: float | None) -> None:
    """Where the file does not state it itself."""
    light = light_of(data.astronaut()[::4, ::4], 0) / 4
    path = write_dng(tmp_path / "a.dng", light, own)
    shown = (display(light * 2**1.5) * 255).round().astype(np.uint8)
    values = read_photo(with_preview(path, shown)).to_tensor()[0].permute(1, 2, 0).numpy()
    wanted = display(light * 2 ** (1.5 if own is None else own))
    assert abs(np.median(values) - np.median(wanted)) < 0.015
    assert values.shape == light.shape


def test_the_preview_is_not_the_photo(tmp_path: Path) -> None:
    light = light_of(data.coffee()[::4, ::4])
    path = with_preview(write_dng(tmp_path / "a.dng", light), np.full((300, 400, 3), 200, np.uint8))
    photo = read_photo(path)
    assert photo.pixels.shape == light.shape
    assert photo_size(path) == photo_size(io.BytesIO(path.read_bytes())) == max(light.shape[0] * light.shape[1], 120000)
    assert "the camera's preview" in photo.metadata.left_out


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_upright_once(tmp_path: Path, orientation: int) -> None:
    upright = light_of(data.coffee()[::4, ::4])
    back = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: a.swapaxes(0, 1)[::-1],
        7: lambda a: a.swapaxes(0, 1)[::-1, ::-1], 8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    }[orientation]  # fmt: skip
    path = write_dng(tmp_path / "a.dng", np.ascontiguousarray(back(upright)))
    photo = read_photo(with_tags(path, {274: Value(SHORT, 1, struct.pack("<H", orientation))}))
    values = photo.to_tensor()[0].permute(1, 2, 0).numpy()
    assert values.shape == upright.shape
    assert np.abs(values - display(upright)).mean() < 0.02
    assert photo.metadata.orientation == 1


def described() -> dict[int, Value]:
    """What a camera says of a photo."""
    lens, time = b"34mm F2\0", b"2024:05:06 07:08:09\0"
    inner = {
        33434: Value(RATIONAL, 1, struct.pack("<II", 1, 250)),
        36867: Value(ASCII, len(time), time),
        exif.MAKER_NOTE: Value(7, len(NOTE), NOTE),
        40961: Value(SHORT, 1, struct.pack("<H", 65535)),
        40962: Value(LONG, 1, struct.pack("<I", 160)),
        42036: Value(ASCII, len(lens), lens),
    }
    gps = {
        1: Value(ASCII, 2, b"N\0"),
        2: Value(RATIONAL, 3, struct.pack("<6I", 52, 1, 30, 1, 0, 1)),
    }
    packet = make.XMP % b' xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Exposure2012="+2"'
    return {
        271: Value(ASCII, 6, b"Maker\0"),
        272: Value(ASCII, 6, b"Model\0"),
        exif.XMP: Value(1, len(packet), packet),
        exif.EXIF_DIRECTORY: Value(LONG, 1, inner),
        exif.GPS_DIRECTORY: Value(LONG, 1, gps),
    }


def tags_of(path: Path) -> dict[str, dict[int, object]]:
    with Image.open(path) as image:
        held = image.getexif()
        names = {"exif": exif.EXIF_DIRECTORY, "gps": exif.GPS_DIRECTORY}
        return {"first": dict(held), **{name: dict(held.get_ifd(tag)) for name, tag in names.items()}}


@pytest.mark.parametrize("suffix", ["tif", "jpg", "png", "webp"])
def test_metadata_of_the_photo_but_not_of_the_sensor(tmp_path: Path, suffix: str) -> None:
    path = with_tags(write_dng(tmp_path / "a.dng", light_of(data.coffee()[::6, ::6])), described())
    photo = read_photo(path)
    write_photo(tmp_path / f"b.{suffix}", photo)
    found = tags_of(tmp_path / f"b.{suffix}")
    assert (found["first"][271], found["first"][272]) == ("Maker", "Model")
    assert found["exif"][42036] == "34mm F2"
    assert found["exif"][33434] == pytest.approx(1 / 250)
    assert found["exif"].keys().isdisjoint((40961, 40962))  # of the camera's JPEG
    assert found["exif"][exif.MAKER_NOTE] == NOTE
    assert found["gps"][1] == "N"
    if suffix == "tif":  # where its own addresses are valid
        assert (tmp_path / "b.tif").read_bytes().index(NOTE) == path.read_bytes().index(NOTE)
    assert not [tag for tag in found["first"] if tag in (33421, 33422) or (50706 <= tag <= 50781 and tag != 50708)]
    assert b"Rating" in photo.metadata.xmp
    assert b"Exposure2012" not in photo.metadata.xmp
    assert {"a raw converter's settings", "what describes the sensor's values"} <= set(photo.metadata.left_out)
    write_photo(tmp_path / f"c.{suffix}", photo.with_metadata("no-gps"))
    assert not tags_of(tmp_path / f"c.{suffix}")["gps"]


def test_the_profile_is_srgb_and_the_same_in_each_run(tmp_path: Path) -> None:
    photo = read_photo(write_dng(tmp_path / "a.dng", light_of(data.coffee()[::6, ::6])))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(photo.metadata.icc_profile))
    assert "sRGB" in str(profile.profile.profile_description)
    assert photo.metadata.icc_profile[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    assert photo.space is None


def fake_dng(path: Path) -> bytes:
    return with_tags(write_dng(path / "x.dng", light_of(data.coffee()[::6, ::6])), described()).read_bytes()


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def part(content: bytes, tag: int | None) -> bytes:
    """A TIFF structure with only the first directory, or one of those below it, in its place."""
    block = Block(content)
    first = block.directory(block.first)
    tree = exif.tree_of(block, block.below(first, tag) or first if tag else first, (exif.XMP,))
    kept = {key: value for key, value in tree.items() if tag or key in (271, 272)}
    return exif.block_of(kept, "<", b"")[0]


def container(kind: str, dng: bytes) -> bytes:
    """A raw file of another kind, without pixels: only what describes the photo."""
    if kind in ("orf", "rw2"):
        return {"orf": b"IIRO", "rw2": b"IIU\0"}[kind] + dng[4:]
    if kind == "raf":
        file = io.BytesIO()
        Image.fromarray(make.gradient()).save(file, "JPEG", exif=b"Exif\0\0" + part_with_all(dng))
        picture = file.getvalue()
        head = b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">IIII", 128, len(picture), 100, 0)
        table = struct.pack(">IHHHH", 1, 0x100, 4, 71, 100)
        return (head + table).ljust(128, b"\0") + picture
    names = ((b"CMT1", None), (b"CMT2", exif.EXIF_DIRECTORY), (b"CMT3", None), (b"CMT4", exif.GPS_DIRECTORY))
    parts = b"".join(box(name, part(dng, tag)) for name, tag in names)
    track = b"CRAW" + bytes(24) + struct.pack(">HH", 100, 71)
    canon = box(b"uuid", bytes.fromhex("85c0b687820f11e08111f4ce462b6a48") + parts)
    packet = box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + make.XMP % b"")
    return box(b"ftyp", b"crx " + bytes(12)) + box(b"moov", canon + box(b"trak", track)) + packet


def part_with_all(dng: bytes) -> bytes:
    block = Block(dng)
    kept = {271, 272, exif.EXIF_DIRECTORY, exif.GPS_DIRECTORY}
    tree = exif.tree_of(block, block.directory(block.first))
    return exif.block_of({tag: value for tag, value in tree.items() if tag in kept}, "<", b"")[0]


@pytest.mark.parametrize("kind", ["orf", "rw2", "raf", "cr3"])
def test_each_container_says_what_it_holds(tmp_path: Path, kind: str) -> None:
    content = container(kind, fake_dng(tmp_path))
    header = header_of(content)
    block = Block(header.metadata.exif)
    first = block.directory(block.first)
    inner, gps = (block.below(first, tag) for tag in (exif.EXIF_DIRECTORY, exif.GPS_DIRECTORY))
    assert not header.damaged
    assert block.values(first.entries[271]) == b"Maker\0"
    assert inner is not None and block.values(inner.entries[42036]) == b"34mm F2\0"
    assert inner.entries.keys().isdisjoint((40961, 40962))
    assert gps is not None and block.values(gps.entries[1]) == b"N\0"
    assert size_of(content) == (100, 67 if kind in ("orf", "rw2") else 71)
    for end in range(0, len(content), 97):  # cut off anywhere
        header_of(content[:end])
        size_of(content[:end])


@pytest.mark.parametrize("mark", [b"IIRO", b"IIU\0"])
def test_files_with_a_mark_of_their_own_are_developed(tmp_path: Path, mark: bytes) -> None:
    path = write_dng(tmp_path / "a.dng", light_of(data.coffee()[::6, ::6]))
    expected = read_photo(path).pixels
    other = tmp_path / "a.orf"
    other.write_bytes(mark + path.read_bytes()[4:])
    assert np.array_equal(read_photo(other).pixels, expected)
    assert photo_size(other) == expected.shape[0] * expected.shape[1]


def test_files_without_a_mosaic_are_developed(tmp_path: Path) -> None:
    light = light_of(data.coffee()[::6, ::6])
    values = read_photo(write_dng(tmp_path / "a.dng", light, with_mosaic=False)).to_tensor()[0].permute(1, 2, 0)
    assert np.abs(values.numpy() - display(light)).mean() < 0.01


def test_a_sensor_without_colours_gives_a_grey_photo(tmp_path: Path) -> None:
    grey = light_of(data.camera()[::4, ::4])
    path = write_dng(tmp_path / "a.dng", np.repeat(grey[..., None], 3, 2))
    tifffile.imwrite(path, (grey * (WHITE - BLACK) + BLACK).astype(np.uint16), photometric="minisblack", metadata=None)
    levels = {50714: Value(LONG, 1, struct.pack("<I", BLACK)), 50717: Value(LONG, 1, struct.pack("<I", WHITE))}
    kind = {262: Value(SHORT, 1, struct.pack("<H", 34892)), 50706: Value(1, 4, bytes((1, 4, 0, 0)))}
    photo = read_photo(with_tags(path, {**levels, **kind, 50708: Value(ASCII, 5, b"Mono\0")}))
    assert photo.grey
    assert np.abs(photo.pixels / 65535 - display(grey)[..., None]).mean() < 0.01


def test_lossless_compression(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.dng", light_of(data.coffee()[::6, ::6]))
    expected = read_photo(path).pixels
    assert np.array_equal(read_photo(compressed(path)).pixels, expected)


def test_results_are_tiff_files_of_16_bits(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "in" / "IMG_1.DNG", light_of(data.coffee()[::6, ::6]))
    Image.fromarray(data.coffee()[::6, ::6]).save(tmp_path / "in" / "IMG_1.jpg")
    assert main(["correct", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").glob("IMG*")) == ["IMG_1.jpg", "IMG_1.tif"]
    assert read_photo(tmp_path / "out" / "IMG_1.tif").deep
    assert main(["correct", str(path), "-o", str(tmp_path / "one.jpg"), "--quiet"]) == 0
    assert Image.open(tmp_path / "one.jpg").size == (100, 67)
    assert correct(path) == tmp_path / "in" / "IMG_1_corrected.tif"
    assert correct(path.read_bytes())[:4] == b"II*\0"
    assert correct(b"IIRO" + path.read_bytes()[4:])[:4] == b"II*\0"


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    path = write_dng(folder / "a.dng", light_of(data.coffee()[::6, ::6]))
    (folder / "b.CR3").write_bytes(box(b"ftyp", b"crx " + bytes(12)))
    Image.fromarray(data.coffee()[::6, ::6]).save(folder / "c.jpg")
    assert [p.name for p, _ in find_inputs([str(folder)], tmp_path / "out")] == ["a.dng", "b.CR3", "c.jpg"]
    monkeypatch.setitem(__import__("sys").modules, "rawpy", None)
    assert [p.name for p, _ in find_inputs([str(folder)], tmp_path / "out")] == ["c.jpg"]
    for raw in (path, folder / "b.CR3"):
        with pytest.raises(ImageError, match=r"which needs rawpy: pip install 'expcorr\[raw\]'"):
            read_photo(raw)
    assert main(["correct", str(folder), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    said = capsys.readouterr().err
    assert "1 .dng, 1 .cr3" in said
    assert "pip install 'expcorr[raw]'" in said


def test_two_photos_for_one_name(tmp_path: Path) -> None:
    """The rest of the folder is corrected."""
    found = [(tmp_path / name, Path(name)) for name in ("a.cr2", "a.dng", "b.dng")]
    jobs = plan_jobs(found, tmp_path / "out", compare=False)
    assert [bool(job.refusal) for job in jobs] == [False, True, False]
    assert "a.dng would be written to" in jobs[1].refusal
    assert jobs[1].refusal.endswith("where the result of " + str(tmp_path / "a.cr2") + " goes; correct it separately")


def test_a_name_for_a_raw_result_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_dng(tmp_path / "a.dng", light_of(data.coffee()[::6, ::6]))
    assert main(["correct", str(path), "-o", str(tmp_path / "b.dng"), "--quiet"]) == 2
    assert "names a format that is not written" in capsys.readouterr().err
    (job,) = plan_jobs([(path, Path("a.dng"))], tmp_path / "out", compare=True)
    assert [p.name for p in job.outputs] == ["a.tif", "a_compare.tif"]


@pytest.mark.parametrize("damage", ["cut", "garbage", "raf", "cr3", "size", "tiff"])
def test_what_cannot_be_read_is_named_with_the_reason(tmp_path: Path, damage: str) -> None:
    path = write_dng(tmp_path / "good.dng", light_of(data.coffee()[::6, ::6]))
    content, noise = path.read_bytes(), np.random.default_rng(0).bytes(5000)
    suffix = {"raf": "raf", "cr3": "cr3", "tiff": "nef"}.get(damage, "dng")
    bad = tmp_path / f"bad.{suffix}"
    if damage == "size":
        sides = {256: Value(LONG, 1, struct.pack("<I", 60000)), 257: Value(LONG, 1, struct.pack("<I", 50000))}
        with_tags(path, sides).replace(bad)
    elif damage == "tiff":
        Image.fromarray(make.gradient()).save(bad, "TIFF")
    else:
        bad.write_bytes(
            {
                "cut": content[: len(content) // 2],
                "garbage": content[:8] + noise,
                "raf": b"FUJIFILMCCD-RAW 0201" + noise,
                "cr3": box(b"ftyp", b"crx " + bytes(12)) + noise,
            }[damage]
        )
    reasons = {"size": "can hardly hold", "tiff": "convert it to DNG", "cut": "it ends too early"}
    reason = reasons.get(damage, "is damaged or cut off")
    with pytest.raises(ImageError, match=reason) as caught:
        read_photo(bad)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)
    outcome = correct_file(Job(bad, tmp_path / "out.tif"), Work())
    assert outcome.error == str(caught.value)
    assert not (tmp_path / "out.tif").exists()


def test_memory_is_planned_for_the_sensors_pixels(tmp_path: Path) -> None:
    light = light_of(data.coffee()[::2, ::2])
    path = with_preview(write_dng(tmp_path / "a.dng", light), np.zeros((20, 30, 3), np.uint8))
    assert needs(path)[0] == light.shape[0] * light.shape[1]


def test_white_balance_is_as_shot_or_else_daylight(tmp_path: Path) -> None:
    light = light_of(data.coffee()[::4, ::4])
    path = write_dng(tmp_path / "a.dng", light)
    shot = read_photo(path).to_tensor().mean((0, 2, 3))
    assert torch.allclose(shot, torch.from_numpy(display(light).mean((0, 1))), atol=0.01)
    daylight = read_photo(with_tags(path, {50728: Value(RATIONAL, 0, b"")})).to_tensor().mean((0, 2, 3))
    assert daylight.isfinite().all()
    assert not torch.allclose(shot, daylight, atol=0.01)  # the sensor's own white is not neutral
