"""Corrections as files: look-up tables, Camera Raw settings, grids; and photos that need none."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from expcorr_core.batch import bulk
from expcorr_core.batch.bulk import Work
from expcorr_core.batch.outcome import REPORT
from expcorr_core.cli import main
from expcorr_core.corrections.camera_raw import camera_raw_settings
from expcorr_core.corrections.curves import apply_curves, fit_curves
from expcorr_core.corrections.grid_file import Correction, GridError, load_grid, save_grid
from expcorr_core.corrections.lut import Lut
from expcorr_core.corrector import Examined
from expcorr_core.files import digest
from expcorr_core.image.colour import luma, srgb_to_linear
from expcorr_core.image.limits import Limits
from expcorr_core.image.metrics import psnr
from expcorr_core.image.report import exposure_change, exposure_error
from expcorr_core.photos.reading import read_photo
from expcorr_core.runtimes import TORCH, corrector_of
from expcorr_core.settings import Settings


def adobe_rgb() -> bytes:
    cms = pytest.importorskip("imagecodecs", reason="makes the profile")
    primaries = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    return bytes(cms.cms_profile("rgb", whitepoint=(0.3127, 0.329), primaries=primaries, gamma=2.2))


def run(*args: object) -> int:
    return main([str(arg) for arg in args])


def brightened(image: Tensor) -> Tensor:
    """A change of colours that no curves of single channels make."""
    red, green, blue = image.unbind(1)
    return torch.stack((red**0.6, 0.8 * green**0.7 + 0.15 * red, blue**0.5 - 0.1 * red * blue), 1)


def colours(height: int = 90, width: int = 80, most: float = 1.0) -> Tensor:
    return torch.rand(1, 3, height, width) * most


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {Path(row["file"]).name: row for row in csv.DictReader(file)}


def test_curves_are_found_again_and_go_on_straight() -> None:
    values = torch.rand(4000, 3) * torch.tensor((1.0, 0.5, 0.0))  # no bright green, and no blue at all
    curves = torch.from_numpy(fit_curves(values.numpy(), (0.1 + 0.8 * values**0.8).numpy(), 16))
    grid = torch.linspace(0, 1, 16, dtype=torch.float64)
    assert torch.allclose(curves[0], 0.1 + 0.8 * grid**0.8, atol=0.01)
    assert torch.allclose(curves[1], 0.1 + 0.8 * grid**0.8, atol=0.06)
    assert torch.allclose(curves[2].diff(), torch.full((15,), 1 / 15, dtype=torch.float64), atol=0.01)
    found = apply_curves(curves.numpy(), values.numpy())[:, 0]
    assert found == pytest.approx((0.1 + 0.8 * values[:, 0] ** 0.8).numpy(), abs=0.01)


@examples(max_examples=10)
@given(st.integers(0, 1000), st.sampled_from([0.02, 0.3, 1.0]), st.floats(0.3, 3))
def test_curves_and_tables_never_fall(seed: int, most: float, exponent: float) -> None:
    torch.manual_seed(seed)
    before = colours(30, 40, most)
    after = (before**exponent + 0.1 * torch.randn(before.shape)).clamp(0, 1)
    pixels = [image.movedim(1, 3).reshape(-1, 3).numpy() for image in (before, after)]
    assert (np.diff(fit_curves(pixels[0], pixels[1], 16)) >= 0).all()
    table = Lut.fit(before, after, 9).table
    assert ((table >= 0) & (table <= 1)).all()
    for axis in range(3):
        assert (table[..., axis].diff(dim=axis) >= 0).all()


@pytest.mark.slow
def test_a_table_holds_what_a_change_does_to_all_colours() -> None:
    before = colours(256, 256)
    lut = Lut.fit(before, brightened(before).clamp(0, 1), 17)
    other = colours(50, 60)
    assert psnr_of(lut.apply(other), brightened(other).clamp(0, 1)) > 45
    assert lut.error(before, brightened(before).clamp(0, 1)) > 45
    assert lut.error(before, before) < 25
    same = Lut.fit(before, before, 5)
    assert torch.allclose(same.apply(other), other, atol=1e-5)
    assert same.error(before, before) == 100


def psnr_of(result: Tensor, wanted: Tensor) -> float:
    return -10 * float((result - wanted).square().mean().log10())


def test_colours_that_a_photo_lacks_go_on_smoothly() -> None:
    """Of a dark, almost grey photo: bright and colourful ones are neither torn nor turned around."""
    before = (colours(100, 100, 0.4) * 0.1 + 0.9 * 0.4 * torch.rand(1, 1, 100, 100)).clamp(0, 1)
    table = Lut.fit(before, (before * 2).clamp(0, 1)).table
    for axis in range(3):
        assert table.diff(dim=axis).abs().max() < 4 / 32
    grey = table[range(33), range(33), range(33)]
    assert (grey.diff(dim=0) >= -1e-3).all()
    assert grey[-1].min() > 0.95
    assert grey[16].min() > 0.9


def test_cube_and_hald_hold_the_table() -> None:
    before = colours(120, 130)
    lut = Lut.fit(before, brightened(before).clamp(0, 1), 17)
    text = lut.cube('my "photo"\n\u00e9', ("37.1 dB\nLUT_1D_SIZE 4",)).decode("ascii")
    lines = text.splitlines()
    assert lines[0] == 'TITLE "my _photo___"'
    assert [line for line in lines if line[:1] not in "#0123456789"] == [
        lines[0], "LUT_3D_SIZE 17", "DOMAIN_MIN 0.0 0.0 0.0", "DOMAIN_MAX 1.0 1.0 1.0",
    ]  # fmt: skip
    values = torch.tensor([[float(v) for v in line.split()] for line in lines if line[0].isdigit()])
    assert torch.allclose(values.view(17, 17, 17, 3).permute(2, 1, 0, 3), lut.table, atol=1e-6)  # red changes fastest
    picture = Image.open(io.BytesIO(lut.hald(4)))
    picture.load()
    assert picture.size == (64, 64)
    found = torch.from_numpy(np.array(picture.convert("RGB"))).view(16, 16, 16, 3).permute(2, 1, 0, 3) / 255
    assert torch.allclose(found[0, 0, 0], lut.table[0, 0, 0], atol=0.005)
    assert torch.allclose(found[15, 0, 15], lut.table[16, 0, 16], atol=0.005)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
@pytest.mark.parametrize("kind", ["cube", "hald"])
def test_ffmpeg_makes_of_a_photo_what_we_do(photo: Path, tmp_path: Path, kind: str) -> None:
    source, out = tmp_path / "scene.png", tmp_path / "out"
    Image.open(photo).save(source)
    assert run("correct", source, "-o", out, "--lut", kind, "--quiet") == 0
    other = {"cube": "scene.cube", "hald": "scene_hald.png"}[kind]
    assert files(out) == ["scene.png", other] if kind == "hald" else ["scene.cube", "scene.png"]
    named = ["-i", other] if kind == "hald" else []
    change = "[0]format=rgb48[a];[1]format=rgb48[b];[a][b]haldclut" if kind == "hald" else (
        "format=gbrp,lut3d=file=scene.cube:interp=tetrahedral"
    )  # fmt: skip
    command = ["ffmpeg", "-v", "error", "-i", str(source), *named, "-filter_complex", change]
    subprocess.run([*command, "-frames:v", "1", "-pix_fmt", "rgb24", "made.png"], cwd=out, check=True)
    made, ours = (np.asarray(Image.open(out / name)) for name in ("made.png", "scene.png"))
    assert psnr(made, ours) > 38


def test_camera_raw_settings_are_curves(tmp_path: Path) -> None:
    before = colours(120, 130)
    content, error = camera_raw_settings(before, 0.1 + 0.8 * before**0.7)
    assert error > 45
    path = tmp_path / "a.xmp"
    path.write_bytes(content)
    assert camera_raw_settings(before, 1 - before)[1] < 20  # a curve never falls
    if shutil.which("exiftool"):
        told = subprocess.run(["exiftool", "-j", "-validate", "-XMP:all", path], check=True, capture_output=True).stdout
        [tags] = json.loads(told)
        assert tags["Validate"] == "OK"
        points = [float(p) for p in re.findall(r"\d+", str(tags["ToneCurvePV2012Red"]))]
        assert points[::2] == [17 * k for k in range(16)]
        assert points[1::2] == pytest.approx([255 * (0.1 + 0.8 * (k / 15) ** 0.7) for k in range(16)], abs=6)


MINE = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4" '
    'xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Exposure2012="+1.00"><crs:ToneCurvePV2012Red>'
    "<rdf:Seq><rdf:li>1, 2</rdf:li></rdf:Seq></crs:ToneCurvePV2012Red></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def test_a_sidecar_keeps_what_the_user_has_in_it(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, arguments = tmp_path / "out", ("correct", photo, "-o", tmp_path / "out", "--xmp", "--quiet")
    out.mkdir()
    (out / "scene.xmp").write_text(MINE)
    assert run(*arguments) == 1
    assert "scene.xmp exists; add --overwrite" in capsys.readouterr().err
    assert (out / "scene.xmp").read_text() == MINE
    assert files(out) == ["scene.xmp"]
    assert run(*arguments, "--overwrite") == 0
    merged = (out / "scene.xmp").read_text()
    assert 'xmp:Rating="4"' in merged
    assert "Exposure2012" not in merged
    assert "1, 2<" not in merged
    assert merged.count("ToneCurvePV2012Red") == 2
    assert run(*arguments, "--overwrite") == 0
    assert (out / "scene.xmp").read_text() == merged  # nothing piles up
    (out / "scene.xmp").write_text("<broken")
    before = (out / "scene.jpg").read_bytes()
    assert run(*arguments, "--overwrite") == 1
    assert f"{out / 'scene.xmp'} exists and is damaged or no XMP; move it away" in capsys.readouterr().err
    assert (out / "scene.jpg").read_bytes() == before
    assert files(out) == ["scene.jpg", "scene.xmp"]


def test_a_grid_does_again_what_was_done(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--strength", 0.7, "--max-stops", 0.4, "--no-highlight-guard")
    assert run("correct", photo, "-o", out, "--grid", *options, "--quiet") == 0
    found = load_grid(out / "scene.safetensors")
    assert (found.height, found.width, found.profile) == (97, 143, "")
    assert found.settings == Settings(strength=0.7, max_stops=0.4, keep_highlights=False)
    assert found.grid.limits == Limits(0.4, False)
    apply = ("apply", out / "scene.safetensors")
    assert run(*apply, photo, "-o", tmp_path / "again", "--quiet") == 0
    assert (tmp_path / "again/scene.jpg").read_bytes() == (out / "scene.jpg").read_bytes()
    # Other sizes and formats, several at a time, resumable; another strength.
    large = tmp_path / "large"
    large.mkdir()
    for name, size in (("a.png", (286, 194)), ("b.jpg", (71, 48))):
        Image.open(photo).resize(size).save(large / name)
    for wanted in ("corrected", "done before"):
        assert run(*apply, large, "-o", tmp_path / "more", "--quiet") == 0
        assert {row["status"] for row in rows(tmp_path / "more" / REPORT).values()} == {wanted}
    smaller = Image.open(tmp_path / "more/a.png").resize((143, 97))
    assert psnr(np.asarray(smaller), np.asarray(Image.open(out / "scene.jpg"))) > 30
    assert run(*apply, large / "a.png", "-o", tmp_path / "none.png", "--strength", 0, "--quiet") == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "none.png")), np.asarray(Image.open(large / "a.png")))


def test_a_grid_is_for_renditions_of_its_photo(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("correct", photo, "-o", out, "--grid", "--quiet") == 0
    grid = out / "scene.safetensors"
    Image.open(photo).crop((0, 0, 100, 97)).save(tmp_path / "crop.png")
    Image.open(photo).save(tmp_path / "adobe.png", icc_profile=adobe_rgb())
    (tmp_path / "other.safetensors").write_bytes(b"no such thing")
    cases = (
        (
            (grid, tmp_path / "crop.png"),
            1,
            "crop.png is 100 x 97 pixels, but the correction is for a photo of 143 x 97",
        ),
        ((grid, tmp_path / "adobe.png"), 1, "adobe.png is in another colour space than the photo"),
        ((tmp_path / "other.safetensors", photo), 1, "other.safetensors is damaged or not a safetensors file"),
        ((tmp_path / "none.safetensors", photo), 1, "none.safetensors does not exist"),
        ((grid, photo, "--strength", 3), 2, "strength must be from 0 to 2"),
    )
    for arguments, code, message in cases:
        assert run("apply", *arguments, "-o", tmp_path / "x", "--quiet") == code
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists() or not files(tmp_path / "x")


def test_grid_files_are_checked(tmp_path: Path) -> None:
    correction = Correction(some_grid(), height=4, width=6, settings=Settings())
    path = tmp_path / "a.safetensors"
    save_grid(path, correction)
    with pytest.raises(FileExistsError):
        save_grid(path, correction)
    assert torch.equal(load_grid(path).grid.coefficients, correction.grid.coefficients)
    good = load_file(path)["grid"]
    described = {"version": 1, "height": 4, "width": 6, "settings": {}, "weights": "", "profile": ""}
    cases: tuple[tuple[dict[str, Any], dict[str, Any], str], ...] = (
        ({"grid": good}, {"version": 2}, "another version"),
        ({"grid": good[0]}, {}, "damaged: its grid has the shape"),
        ({"grid": good * torch.nan}, {}, "not finite numbers"),
        ({"other": good}, {}, "is damaged"),
        ({"grid": good}, {"height": 0}, "is damaged"),
        ({"grid": good}, {"settings": []}, "is damaged"),
        ({"grid": good}, {"settings": {"strength": 9}}, "is damaged"),
        ({"grid": good}, {"settings": {"mood": "bright"}}, "another version"),
    )
    for tensors, changes, message in cases:
        save_file(tensors, path, {"expcorr-grid": json.dumps(described | changes)})
        with pytest.raises(GridError, match=message) as caught:
            load_grid(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    save_file({"grid": good}, path, {"format": "expcorr"})
    with pytest.raises(GridError, match="holds no correction"):
        load_grid(path)


def some_grid() -> Any:
    from expcorr_core.bilateral.grid import BilateralGrid

    return BilateralGrid(torch.rand(1, 3, 4, 5, 3, 4), Limits())


@pytest.mark.slow
def test_bulk_runs_write_sidecars_and_know_them_again(
    photo: Path, tmp_path: Path, scene: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    Image.fromarray(scene[::-1].copy()).save(photo.with_name("other.png"), icc_profile=adobe_rgb())
    arguments = ("correct", photo.parent, "-o", out, "--lut", "cube", "--xmp", "--grid")
    names = [f"{n}{e}" for n in ("other", "scene") for e in (".cube", ".png", ".safetensors", ".xmp")]
    names[names.index("scene.png")] = "scene.jpg"
    assert run(*arguments) == 0
    assert files(out) == sorted([REPORT, *names])
    first = rows(out / REPORT)
    assert all(float(row[column]) > 25 for row in first.values() for column in ("lut_db", "xmp_db"))
    assert f"{out / 'scene.jpg'}: LUT: {float(first['scene.jpg']['lut_db']):.1f} dB PSNR" in capsys.readouterr().out
    before = {name: digest(out / name) for name in names}
    assert run(*arguments, "--quiet") == 0
    assert {row["status"] for row in rows(out / REPORT).values()} == {"done before"}
    assert rows(out / REPORT)["scene.jpg"]["xmp_db"] == first["scene.jpg"]["xmp_db"]
    (out / "other.cube").unlink()  # a result that is not whole is made again
    assert run(*arguments, "--quiet") == 0
    assert {name: row["status"] for name, row in rows(out / REPORT).items()} == {
        "other.png": "corrected", "scene.jpg": "done before",
    }  # fmt: skip
    assert {name: digest(out / name) for name in names} == before
    Image.fromarray(scene).save(photo.with_name("scene.png"))
    assert run(*arguments, "--quiet") == 1
    assert f"where the result of {photo} goes; correct it separately" in capsys.readouterr().err


def test_changes_in_both_directions_are_no_small_change() -> None:
    image = torch.full((1, 3, 8, 8), 0.4)
    half = torch.where(torch.arange(8) < 4, 0.3, 0.5).expand_as(image)
    assert exposure_change(image, half).item() > 0.5
    assert exposure_change(image, image).item() == 0
    assert exposure_change(torch.zeros(1, 3, 4, 4), torch.rand(1, 3, 4, 4)).isinf()
    assert abs(exposure_error(image, half).item()) <= exposure_change(image, half).item()


@pytest.fixture
def both(photo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dark photo and one that the corrector leaves alone; returns their folder."""
    dark = np.asarray(Image.open(photo)) // 4
    Image.fromarray(dark).save(photo.with_name("dark.jpg"), comment="dark")
    corrector = corrector_of(None, "cpu", TORCH)
    find = corrector.examine

    def examine(small: Tensor, *args: Any) -> Examined:
        return Examined(small * 0.97, None) if small.mean() > 0.2 else find(small, *args)

    monkeypatch.setattr(corrector, "examine", examine)
    return photo.parent


@pytest.mark.parametrize("grown", [False, True])
def test_well_exposed_photos_are_copied_or_left_out(both: Path, tmp_path: Path, grown: bool) -> None:
    out, good = tmp_path / "out", both / "scene.jpg"
    if grown:
        good.write_bytes(good.read_bytes() + b"what follows a photo")
    arguments = ("correct", both, "-o", out, "--quiet", "--well-exposed")
    assert run(*arguments, "copy") == 0
    assert {name: row["status"] for name, row in rows(out / REPORT).items()} == {
        "dark.jpg": "corrected", "scene.jpg": "well exposed (copied)",
    }  # fmt: skip
    assert (out / "scene.jpg").read_bytes() == good.read_bytes()
    assert run(*arguments, "copy") == 0
    assert {row["status"] for row in rows(out / REPORT).values()} == {"done before"}
    assert run(*arguments, "copy", "--well-exposed-within", 0) == 1  # another question: the copy is not its answer
    shutil.rmtree(out)
    for again in ("corrected", "done before"):
        assert run(*arguments, "skip") == 0
        assert {name: row["status"] for name, row in rows(out / REPORT).items()} == {
            "dark.jpg": again, "scene.jpg": "well exposed (left out)",
        }  # fmt: skip
        assert files(out) == ["dark.jpg", REPORT]
    shutil.rmtree(out)
    assert run(*arguments, "copy", "--well-exposed-within", 0) == 0
    assert {row["status"] for row in rows(out / REPORT).values()} == {"corrected"}
    assert (out / "scene.jpg").read_bytes() != good.read_bytes()


def test_copies_that_cannot_be_the_same_file_keep_the_pixels(both: Path, tmp_path: Path) -> None:
    good, copy = both / "scene.jpg", ("--well-exposed", "copy", "--quiet")
    pixels = np.asarray(Image.open(good))
    assert run("correct", good, "-o", tmp_path / "a.png", *copy) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), pixels)
    # A byte for byte copy would keep the place.
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    placed = both / "placed.jpg"
    Image.open(good).save(placed, exif=exif, quality=95)
    assert run("correct", placed, "-o", tmp_path / "b.jpg", *copy, "--metadata", "no-gps") == 0
    assert not Image.open(tmp_path / "b.jpg").getexif().get_ifd(0x8825)
    assert Image.open(placed).getexif().get_ifd(0x8825)
    assert run("correct", good, "-o", tmp_path / "c.jpg", *copy, "--grid", "--lut", "cube") == 0
    assert (tmp_path / "c.jpg").read_bytes() == good.read_bytes()
    same = load_grid(tmp_path / "c.safetensors").grid.slice(read_photo(good).to_tensor())
    assert torch.allclose(same, read_photo(good).to_tensor(), atol=1e-5)


def test_the_summary_counts_well_exposed_photos(both: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("correct", both, "-o", tmp_path / "out", "--well-exposed", "skip", "--report", tmp_path / "r.csv") == 0
    assert "1 corrected, 1 well exposed (left out)" in capsys.readouterr().out
    assert run("correct", both / "scene.jpg", "-o", tmp_path / "x.jpg", "--well-exposed", "skip") == 0
    assert "1 well exposed (left out)" in capsys.readouterr().out
    assert not (tmp_path / "x.jpg").exists()


@pytest.mark.slow
def test_photos_corrected_in_strips_get_the_same(both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grid, LUT and copy of a photo that does not fit into memory."""
    pytest.importorskip("pyvips", reason="the deep extra is missing")
    dark, good = (both / f"{name}.tif" for name in ("dark", "scene"))
    for path in (dark, good):
        Image.open(path.with_suffix(".jpg")).save(path)
    assert run("correct", dark, "-o", tmp_path / "a.tif", "--grid", "--max-stops", 0.5, "--quiet") == 0
    monkeypatch.setattr(bulk, "most_pixels", lambda: 1000)
    options = ("--grid", "--lut", "cube", "--max-stops", 0.5, "--quiet")
    assert run("correct", dark, "-o", tmp_path / "b.tif", *options) == 0
    assert run("apply", tmp_path / "b.safetensors", dark, "-o", tmp_path / "c.tif", "--quiet") == 0
    whole, strips, again = (np.asarray(Image.open(tmp_path / name), int) for name in ("a.tif", "b.tif", "c.tif"))
    assert np.abs(whole - strips).max() <= 3
    assert np.array_equal(strips, again)
    changed = luma(srgb_to_linear(torch.from_numpy(strips / 255).permute(2, 0, 1)))
    shown = luma(srgb_to_linear(read_photo(dark).to_tensor().double()))[0]
    bright = shown > 0.01
    assert 0.4 < (changed / shown)[bright].log2().max() < 0.6
    for kept in ("copy", "skip"):
        assert run("correct", good, "-o", tmp_path / f"{kept}.tif", "--well-exposed", kept, "--quiet") == 0
    assert (tmp_path / "copy.tif").read_bytes() == good.read_bytes()
    assert not (tmp_path / "skip.tif").exists()


def test_the_key_of_a_run_holds_what_decides() -> None:
    keys = {
        Work(**changes).key
        for changes in ({}, {"well_exposed": "copy"}, {"well_exposed": "copy", "within": 0.3}, {"within": 0.3})
    }
    assert len(keys) == 3  # the threshold counts where it is asked for


@pytest.mark.parametrize("arguments", [("--max-stops", "-1"), ("--well-exposed-within", "nan")])
def test_stops_are_numbers_from_0_up(
    photo: Path, arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("correct", photo, *arguments)
    assert "is not a number of stops from 0 up" in capsys.readouterr().err
