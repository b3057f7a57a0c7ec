"""Raw files and HDR pictures to light, and light to pictures."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import OpenEXR
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageCms
from raw_files import light_of, write_dng
from skimage import data

from expcorr_core.image.colour import LUMA
from expcorr_core.photos.reading import ImageError
from training import check_raw
from training.rendering.align import Misaligned, align
from training.rendering.colour import (
    ROMM_GAMMA,
    ROMM_PRIMARIES,
    ROMM_WHITE,
    luminance,
    prophoto_profile,
    to_prophoto,
    to_srgb,
)
from training.rendering.makers import HdrMaker
from training.rendering.radiance import metered, read_radiance, views
from training.rendering.raw import read_raw
from training.rendering.tone import (
    MID_GREY,
    Scene,
    ToneCurve,
    expose,
    fitting,
    render,
    resize,
    spare_highlights,
    tone_map,
)

PATCHES = ((0.02, 0.02, 0.02), (0.1, 0.1, 0.1), (0.3, 0.3, 0.3), (0.2, 0.1, 0.05), (0.05, 0.2, 0.1), (0.1, 0.05, 0.2))
EVS = (-1.5, -1.0, 0.0, 1.0, 1.5)


def chart() -> NDArray[np.float32]:
    """Six patches of 64 x 64 pixels in two rows."""
    rows = [np.concatenate([np.full((64, 64, 3), patch) for patch in part], 1) for part in (PATCHES[:3], PATCHES[3:])]
    return np.concatenate(rows).astype(np.float32)


def patches(pixels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Mean of each patch, without its edges."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 3
    h, w = height // 4, width // 4
    return np.array(
        [
            pixels[y * height + h : (y + 1) * height - h, x * width + w : (x + 1) * width - w].mean((0, 1), dtype=float)
            for y in range(2)
            for x in range(3)
        ]
    )


@pytest.fixture(scope="module")
def chart_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dng(tmp_path_factory.mktemp("raw") / "chart.dng", chart())


@pytest.mark.parametrize("size", [None, 96])
def test_raw_is_developed_to_the_light_that_the_sensor_saw(chart_file: Path, size: int | None) -> None:
    """Black and white level, white balance, matrices; whole and at half the size."""
    scene = read_raw(chart_file, size)
    assert scene.light.shape == ((128, 192, 3) if size is None else (64, 96, 3))
    assert scene.scale == (1 if size is None else 0.5)
    found = patches(scene.light) / 65535
    assert np.abs(found / to_prophoto(np.array(PATCHES, np.float32)) - 1).max() < 0.005


def test_a_raw_file_without_a_mosaic_has_no_half_size(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "linear.dng", chart(), with_mosaic=False)
    scene = read_raw(path, 96)
    assert (scene.light.shape, scene.scale) == ((128, 192, 3), 1.0)
    assert np.abs(patches(scene.light) / 65535 / to_prophoto(np.array(PATCHES, np.float32)) - 1).max() < 0.005


def test_patches_keep_to_the_exposure_before_the_tone_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Linear ratios of 2 ** EV, measured behind the curve of the rendered pictures."""
    noise = np.random.default_rng(0).normal(1, 0.03, (128, 192, 3))  # dithers the steps of 8 bits
    path = write_dng(tmp_path / "noisy.dng", chart() * noise)
    found = check_raw.measure(read_raw(path))
    assert all(len(before) >= 4 for before, _ in found.values())
    away = {ev: np.abs(after / before / 2**ev - 1).max() for ev, (before, after) in found.items()}
    assert max(away.values()) < 0.02, away
    check_raw.main([str(path), "--plot", str(tmp_path / "plot.png"), "--sheet", str(tmp_path / "sheet.png")])
    assert "EV +1.5" in capsys.readouterr().out
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in ("plot", "sheet"))
    with pytest.raises(SystemExit, match="has no flat blocks"):
        check_raw.main([str(write_dng(tmp_path / "rocket.dng", light_of(data.rocket()[:40, :40])))])


def test_dng_brings_its_exposure_and_tone_curve(tmp_path: Path) -> None:
    light = chart()
    plain = read_raw(write_dng(tmp_path / "a.dng", light))
    linear = read_raw(write_dng(tmp_path / "b.dng", light, exposure=0.5, curve=(0, 0, 0.5, 0.5, 1, 1)))
    assert (plain.ev, linear.ev) == (0, 0.5)
    shown = patches(render(linear, 0.5))[0] / 255
    assert shown == pytest.approx(1.055 * (0.02 * 2) ** (1 / 2.4) - 0.055, abs=0.005)
    assert (patches(render(plain, 1))[0] > patches(render(linear, 0.5))[0]).all()  # a camera's curve brightens


def test_what_saturates_stays_white_and_hdr_light_does_not() -> None:
    light = np.full((8, 8, 3), 65535, np.uint16)
    assert render(Scene(light), -1.5).min() == 255
    assert render(Scene(light, saturates=False), -1.5).max() < 230
    assert render(Scene(light // 4, saturates=False), -1).max() == render(Scene(light // 4), -1).max()  # below the knee


@given(st.floats(-4, 4), arrays.arrays(np.float32, (9,), elements=st.floats(0, 1, width=32)))
def test_pictures_brighten_with_light_and_exposure(ev: float, light: NDArray[np.float32]) -> None:
    scene = Scene(np.zeros((1, 1, 3), np.uint16))
    ordered = np.sort(light)[:, None].repeat(3, 1)
    shown = tone_map(expose(ordered, ev), scene, ev)
    assert (np.diff(shown, axis=0) >= -1e-6).all()
    assert (tone_map(expose(ordered, ev + 0.5), scene, ev + 0.5) >= shown - 1e-6).all()
    spared = spare_highlights(expose(ordered, ev), ev)
    assert (spared >= expose(ordered, ev) - 1e-6).all()
    assert (spared <= 1 + 1e-5).all() or ev > 0


@given(arrays.arrays(np.float32, (5, 3), elements=st.floats(2**-10, 1, width=32)), st.floats(-2, 0))
def test_tone_curve_keeps_the_order_of_the_channels(light: NDArray[np.float32], ev: float) -> None:
    shown = tone_map(expose(light, ev), Scene(light, saturates=False), ev)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        above = light[:, one] > light[:, other]
        assert (shown[above, one] >= shown[above, other] - 1e-6).all()


def test_tone_curve_is_the_one_it_was_told() -> None:
    curve = ToneCurve.camera()
    grey = curve(np.array([0, MID_GREY, 1], np.float32))
    assert grey == pytest.approx([0, 0.1797, 1], abs=5e-4)  # mid-grey is 118 of 255
    with pytest.raises(ValueError, match="must increase"):
        ToneCurve([0, 0.5, 0.4, 1], [0, 0.2, 0.3, 1])
    with pytest.raises(ValueError, match="must lead from 0 to 1"):
        ToneCurve([0, 1], [0, 0.9])


def romm_to_srgb(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """ProPhoto RGB to sRGB, 0..1, by the standards' values: chromaticities, Bradford's adaptation, both curves."""

    def white(x: float, y: float) -> NDArray[np.float64]:
        return np.array([x / y, 1, (1 - x - y) / y])

    def to_xyz(primaries: tuple[float, ...], grey: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = np.stack([white(x, y) for x, y in zip(primaries[::2], primaries[1::2], strict=True)], 1)
        return columns * np.linalg.solve(columns, grey)

    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d50, d65 = white(*ROMM_WHITE), white(0.3127, 0.3290)
    adaptation = np.linalg.solve(bradford, np.diag((bradford @ d50) / (bradford @ d65)) @ bradford)
    srgb = adaptation @ to_xyz((0.64, 0.33, 0.30, 0.60, 0.15, 0.06), d65)
    light = (values**ROMM_GAMMA @ np.linalg.solve(srgb, to_xyz(ROMM_PRIMARIES, d50)).T).clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def test_prophoto_to_srgb_is_what_littlecms_and_the_standards_say() -> None:
    """Within one step of 255: Pillow's LittleCMS at 8 bits, the closed form at 16."""
    deep = np.random.default_rng(0).integers(0, 65536, (200, 200, 3)).astype(np.uint16)
    assert np.abs(to_srgb(deep, prophoto_profile()) - romm_to_srgb(deep / 65535) * 255).max() < 1
    shallow = np.random.default_rng(1).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(prophoto_profile()))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    wanted = ImageCms.profileToProfile(Image.fromarray(shallow), profile, ImageCms.createProfile("sRGB"), intent)
    for pixels in (shallow, shallow * np.uint16(257)):
        assert np.abs(to_srgb(pixels, prophoto_profile()).astype(int) - np.asarray(wanted)).max() <= 1


def test_colours_without_profile_are_srgb_and_light_goes_there_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    assert (to_srgb(pixels, None) == pixels).all()
    assert (to_srgb(pixels * np.uint16(257), None) == pixels).all()
    light = np.random.default_rng(0).random((4, 4, 3)).astype(np.float32)
    assert to_prophoto(light, prophoto_profile()) == pytest.approx(light, abs=1e-6)
    assert to_prophoto(np.ones((1, 3), np.float32)) == pytest.approx(1, abs=1e-4)
    grey = imagecodecs.cms_profile("gray", whitepoint=(0.3457, 0.3585), gamma=1.0)
    shown = to_srgb(np.full((2, 2, 3), 32768, np.uint16), grey)
    assert shown.shape == (2, 2, 3)
    assert np.abs(shown.astype(int) - 188).max() <= 1
    with pytest.raises(ImageError, match="ICC profile cannot be used"):
        to_srgb(pixels, b"no profile")


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_damaged_raw_files_are_named(chart_file: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "bad.dng"
    path.write_bytes({"empty": b"", "cut": chart_file.read_bytes()[:2000], "text": b"no raw file" * 99}[damage])
    with pytest.raises(ImageError, match=r"bad\.dng is damaged or not a raw file"):
        read_raw(path)


# ---- alignment ----


def other_rendering(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same photo, retouched: brighter, flatter, other colours, some noise."""
    noise = np.random.default_rng(0).normal(0, 3, pixels.shape)
    return (255 * (pixels / 255) ** 0.6 * (0.9, 0.95, 1.0) + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["coffee", "astronaut"])
@pytest.mark.slow
def test_shifted_cropped_and_reduced_targets_are_found(name: str) -> None:
    photo = getattr(data, name)()
    height, width = photo.shape[:2]
    target = other_rendering(photo)
    same = align(photo, target)
    assert (same.shift, same.size) == ((0, 0), (height, width))
    shifted = align(photo[:-9, 14:], target[9:, :-14])
    assert shifted.shift == (9, -14)
    assert shifted.box(height - 9, width - 14) == (9, 0, height - 9, width - 28)
    cropped = align(photo, target[31 : height - 40, 57 : width - 3])
    assert (cropped.shift, cropped.size) == ((31, 57), (height - 71, width - 60))
    reduced = align(photo, resize(target, (height // 2, width // 2)))
    assert max(map(abs, reduced.shift)) <= 1
    assert reduced.size == (height, width)


@pytest.mark.parametrize("width", [160, 213, 301, 420, 640])
@pytest.mark.slow
def test_a_whole_picture_of_any_size_lies_where_it_should(width: int) -> None:
    """At half the camera's scale, too, however its sides were rounded."""
    rendering = resize(data.coffee(), (400, 602))
    target = resize(other_rendering(data.coffee()), (round(400 * width / 602), width))
    for scale in (0.5, 1.0):
        found = align(rendering, target, scale)
        assert (found.shift, found.size) == ((0, 0), (400, 602))


@pytest.mark.slow
def test_what_no_shift_mends_is_refused_with_the_reason() -> None:
    photo = data.astronaut()
    with pytest.raises(Misaligned, match="no shift aligns it with the rendering"):
        align(photo, data.coffee())
    turned = Image.fromarray(photo).rotate(1.5, Image.Resampling.BICUBIC)
    with pytest.raises(Misaligned, match=r"pixels \(rotation, lens correction or another scale\)"):
        align(photo, np.asarray(turned))
    with pytest.raises(Misaligned):
        align(photo, np.full_like(photo, 90))


# ---- HDR pictures ----


def panorama() -> NDArray[np.float32]:
    """64 x 128: red rises with the longitude, green with the height; and a sun."""
    y, x = np.mgrid[0:64, 0:128].astype(np.float32)
    light = np.stack((0.1 + x / 128, 0.1 + (64 - y) / 64, 0.5 + 0 * x), -1)
    light[18:22, 88:92] = 500
    return light


def write_exr(path: Path, light: NDArray[np.float32], **header: object) -> Path:
    fields = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(fields, {"RGB": light}).write(str(path))
    return path


@pytest.mark.slow
def test_radiance_and_openexr_give_the_same_light(tmp_path: Path) -> None:
    light = panorama()
    (tmp_path / "a.hdr").write_bytes(imagecodecs.rgbe_encode(light, header=True))
    found = [read_radiance(path) for path in (tmp_path / "a.hdr", write_exr(tmp_path / "b.exr", light))]
    assert found[1] == pytest.approx(to_prophoto(light), rel=1e-5, abs=1e-5)
    assert found[0] == pytest.approx(found[1], rel=0.02, abs=0.02)  # 8 bits of mantissa
    # Rec. 2020 primaries
    wide = write_exr(tmp_path / "c.exr", light, chromaticities=(0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329))
    assert read_radiance(wide)[..., 1].mean() > found[1][..., 1].mean()


def test_hdr_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.hdr").write_bytes(b"#?RADIANCE\n")
    (tmp_path / "b.exr").write_bytes(b"nothing")
    write_exr(tmp_path / "c.exr", np.full((4, 4, 3), np.inf, np.float32))
    write_exr(tmp_path / "d.exr", np.zeros((80, 80, 3), np.float32))
    for name in "ab":
        with pytest.raises(ImageError, match="is damaged or not an HDR picture"):
            read_radiance(next(tmp_path.glob(f"{name}.*")))
    with pytest.raises(ImageError, match="infinite or undefined"):
        read_radiance(tmp_path / "c.exr")
    with pytest.raises(ImageError, match=r"d\.exr cannot be exposed: it is black"):
        HdrMaker((0.0,), None, 1, 0).make(tmp_path / "d.exr")


def test_views_look_around_upright() -> None:
    found = views(panorama(), 4, None, np.random.default_rng(0))
    assert all(view.shape[1] == pytest.approx(view.shape[0] * 4 / 3, abs=8) for view in found)
    assert all(view[0, :, 1].mean() > view[-1, :, 1].mean() for view in found)  # the top is above
    middles = [float(view[:, :, 0].mean()) for view in found]
    assert np.ptp(middles) > 0.3  # around the whole panorama


def test_hdr_clips_as_a_sensor_and_is_metered() -> None:
    light = np.full((16, 16, 3), 0.02, np.float32)
    light[:4] = 0.5
    scene = metered(light * 7)
    assert scene.light == pytest.approx(metered(light).light, rel=1e-5)  # whatever the unit
    ratio = scene.light[0, 0, 0] / scene.light[-1, -1, 0]
    assert ratio == pytest.approx(25, rel=1e-4)
    bright, dark = render(scene, 3), render(scene, -6)
    assert bright[0].min() == 255
    assert 0 < dark[0].max() < 128  # and comes back: nothing was clipped in the scene
    colours = np.eye(3, dtype=np.float32) * 0.4 + 0.1
    assert luminance(to_prophoto(colours)) == pytest.approx(colours @ np.array(LUMA, np.float32), rel=0.05)
    made = HdrMaker((-2.0, 0.0, 2.0), None, 1, 0, flat=True)._expose(
        "x", light.repeat(8, 0).repeat(8, 1), Path("x.hdr")
    )
    assert list(made.inputs) == ["N2", "0", "P2"]
    assert made.targets["c"].shape == (128, 128, 3)


def test_fitting() -> None:
    assert fitting(3000, 2000, 1200) == (1200, 800)
    assert fitting(300, 200, 1200) == fitting(300, 200, None) == (300, 200)


def test_pictures_of_a_photograph_are_golden(tmp_path: Path) -> None:
    """Mean values of the five renderings; they change if exposure, highlights, tone or colour change."""
    path = write_dng(tmp_path / "coffee.dng", light_of(data.coffee(), -1.0))
    means = [render(read_raw(path), ev).mean((0, 1)) for ev in EVS]
    golden = [[91.4, 46.9, 22.0], [112.7, 58.2, 26.3], [161.4, 84.2, 39.8], [205.0, 110.6, 62.0], [215.3, 123.3, 76.1]]
    assert np.array(means) == pytest.approx(np.array(golden), abs=0.3)
