"""Camera curve, exposure simulation, and the fit of the one to real renderings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from benchmarks.simulator import PerPixel
from expcorr_core.data.simulator import Draws, ExposureSimulator, edge_aware_mean, measured_display, measured_stops
from expcorr_core.image.colour import linear_to_srgb, srgb_to_linear
from expcorr_core.image.exposure import CameraCurve, gain_exposure, shift_exposure
from training import fit_curve


@pytest.fixture
def target() -> Tensor:
    return torch.nn.functional.interpolate(torch.rand(1, 3, 6, 8), (48, 64), mode="bicubic")[0].clamp(0, 1)


def test_curve_is_inverted_and_ev_adds_up() -> None:
    image = torch.rand(1, 3, 16, 16) * 0.98 + 0.01
    curve = CameraCurve()
    assert torch.allclose(curve.to_display(curve.to_scene(image)), image, atol=1e-4)
    assert torch.allclose(shift_exposure(image, 0.0), image, atol=1e-4)
    twice = shift_exposure(shift_exposure(image, -0.5), -1.0)
    assert torch.allclose(twice, shift_exposure(image, -1.5), atol=1e-3)
    assert (shift_exposure(image, 1.0) > image).all()


def test_plain_gain_clips() -> None:
    """Without a shoulder the curve is a gain in linear light that clips at 1."""
    curve = CameraCurve(gamma=2.2, shoulder=0.0, slope=1.0)
    image = torch.tensor([0.2, 0.9])
    wanted = (image**2.2 * 2).clamp(max=1) ** (1 / 2.2)
    assert torch.allclose(shift_exposure(image, 1.0, curve), wanted)


def test_light_above_white_comes_back() -> None:
    """By as many stops as its linear light is above white, with either curve, and what was below stays below."""
    above = torch.linspace(1.01, 4, 50)
    stops = srgb_to_linear(above).log2()
    for shift in (gain_exposure, shift_exposure):
        assert torch.allclose(shift(above, -stops), torch.ones(50), atol=1e-4)
        assert torch.allclose(shift(torch.ones(50), stops, clip=False), above, rtol=1e-3)
        ramp = shift(torch.linspace(0, 4, 4001), -2.0, clip=False)
        assert (ramp.diff() > 0).all()
        assert ramp.diff().max() < 0.02  # no jump at white
        assert ramp.max() > 1


@given(st.integers(0, 2**32 - 1), st.floats(-6, 6))
def test_light_is_multiplied_exactly(seed: int, ev: float) -> None:
    """Above white, too, and there and back."""
    image = 4 * torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(seed))
    shifted = gain_exposure(image, ev, clip=False)
    assert torch.allclose(srgb_to_linear(shifted), srgb_to_linear(image) * 2**ev, rtol=1e-4, atol=1e-6)
    assert torch.allclose(gain_exposure(shifted, -ev, clip=False), image, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.floats(-6, 6))
def test_light_above_white_changes_nothing_below(seed: int, ev: float) -> None:
    """Images without it have, bit for bit, the results of the plain formulas; its neighbours, too."""
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(seed))
    curve = CameraCurve()
    plain = [
        linear_to_srgb((srgb_to_linear(image) * 2.0 ** torch.as_tensor(ev)).clamp(0, 1)),
        curve.to_display(curve.to_scene(image) * 2 ** (curve.slope * torch.as_tensor(ev))),
    ]
    bright = image.clone()
    bright[:, :2] = 3
    for shift, wanted in zip((gain_exposure, shift_exposure), plain, strict=True):
        assert torch.equal(shift(image, ev), wanted)
        assert torch.equal(shift(bright, ev)[:, 2:], wanted[:, 2:])


def test_edge_aware_mean_lies_between_blur_and_identity() -> None:
    image = torch.rand(1, 1, 64, 64)
    assert torch.allclose(edge_aware_mean(image, 3, torch.tensor(1e-9)), image, atol=1e-3)
    assert edge_aware_mean(image, 8, torch.tensor(1e9)).std() < image.std() / 5


def made(simulator: ExposureSimulator, target: Tensor, count: int = 1) -> Tensor:
    return torch.cat([simulator(target[None], torch.Generator().manual_seed(seed)) for seed in range(count)])


def test_simulator(target: Tensor) -> None:
    images = made(ExposureSimulator(), target, 64)
    assert torch.equal(images[0], made(ExposureSimulator(), target)[0])
    assert torch.allclose(images * 255, (images * 255).round(), atol=1e-3)
    assert images.min() >= 0
    assert images.max() <= 1
    kept = ((images - target).abs().amax((1, 2, 3)) <= 0.5 / 255 + 1e-6).sum()
    assert 2 <= kept <= 18  # an eighth of 64 is 8
    change = (images - target).mean((1, 2, 3))
    assert change.min() < -0.2
    assert change.max() > 0.2


PLAIN = {"kept_share": 0, "near_share": 0, "range_share": 0, "local_share": 0, "flat_share": 0, "jpeg_share": 0}


def test_each_step_of_the_simulator_does_its_own(target: Tensor) -> None:
    still = {**PLAIN, "ev_low": 0, "ev_high": 0}
    assert torch.equal(made(ExposureSimulator(**{**still, "kept_share": 1}), target)[0], (target * 255).round() / 255)
    base = (made(ExposureSimulator(**still), target, 24) - target).abs().mean()
    for name in ("range_share", "local_share", "flat_share"):
        assert (made(ExposureSimulator(**{**still, name: 1}), target, 24) - target).abs().mean() > base + 0.01, name
    # Compression draws its quality last: what it changes is compression alone.
    plain, packed = (made(ExposureSimulator(**{**still, "jpeg_share": share}), target) for share in (0, 1))
    assert 0 < (plain - packed).abs().mean() < 0.05
    # A local error makes some parts darker and others brighter.
    local = made(ExposureSimulator(**{**still, "local_share": 1}), target, 16) - target
    both = (local.amin((1, 2, 3)) < -0.05) & (local.amax((1, 2, 3)) > 0.05)
    assert both.sum() >= 8
    assert made(ExposureSimulator(**{**PLAIN, "ev_low": 2, "ev_high": 2}), target).mean() > target.mean() + 0.1


def draws(count: int) -> Draws:
    return Draws(count, torch.Generator().manual_seed(0))


def test_shifts_leave_a_gap() -> None:
    simulator = ExposureSimulator(ev_gap=0.5, near_share=0.5)
    shifts = simulator.draw_shifts(draws(500), simulator.ev_low, simulator.ev_high).numpy()
    assert np.abs(shifts).min() >= 0.5
    assert shifts.min() >= simulator.ev_low
    assert shifts.max() <= simulator.ev_high
    assert 0.2 < (shifts > 0).mean() < 0.8


def test_cameras_clip_as_often_as_asked() -> None:
    shoulders = ExposureSimulator(clip_share=0.4).draw_curves(draws(400)).shoulder
    assert 0.33 < (torch.as_tensor(shoulders) == 0).float().mean() < 0.47


def test_measured_curve(target: Tensor) -> None:
    """The display values at so many stops from a grey of 128, as they were measured; and there and back."""
    shown = measured_display(torch.tensor([-4.0, -3, -2, -1, 0, 1, 2, 3])) * 255
    assert shown.tolist() == pytest.approx([22, 33, 53, 83.5, 128, 180, 223.5, 250], abs=0.5)
    assert torch.allclose(measured_display(measured_stops(target)), target, atol=2 / 255)


def test_a_measured_camera_shows_more_than_the_photo_did() -> None:
    """Blacks come up when exposed longer, and some whites hold light that a shorter exposure shows."""
    brackets = {**PLAIN, "bracket_share": 1, "ev_gap": 3}
    black = made(ExposureSimulator(**brackets), torch.zeros(3, 16, 16), 32)
    assert black.amax((1, 2, 3)).max() > 4 / 255
    white = made(ExposureSimulator(**brackets), torch.ones(3, 16, 16), 64).mean((1, 2, 3))
    assert white.min() < 0.45  # -3 stops and more
    assert white.max() > 0.97


def test_scenes_show_light_that_was_there() -> None:
    """What is clipped at one exposure is there at another; well-exposed samples are the target, rounded."""
    stops = torch.linspace(-6, 6, 64).expand(1, 3, 32, 64)
    target = torch.full((1, 3, 32, 64), 0.4)
    plain = ExposureSimulator(**{**PLAIN, "ev_gap": 2})
    shown = plain.expose_scenes(stops, target, torch.Generator().manual_seed(0), 64)
    assert shown.shape == (64, 3, 32, 64)
    assert torch.equal(shown, (shown * 255).round() / 255)
    ramp = shown.mean((1, 2))  # which only rises, but for the noise
    assert (ramp[:, 8:] - ramp[:, :-8]).min() > -0.02
    dark, bright = ramp.mean(1).min(), ramp.mean(1).max()
    assert dark < 0.25
    assert bright > 0.7
    kept = ExposureSimulator(**{**PLAIN, "kept_share": 1}).expose_scenes(stops, target, torch.Generator(), 2)
    assert torch.equal(kept, (target * 255).round().expand(2, 3, 32, 64) / 255)


def test_the_range_is_widened_by_what_is_told(target: Tensor) -> None:
    still = {**PLAIN, "ev_low": 0, "ev_high": 0, "range_share": 1}
    weak, strong = (
        made(ExposureSimulator(**still, range_low=low, range_high=low), target, 8) - target for low in (0.1, 1)
    )
    assert strong.abs().mean() > 3 * weak.abs().mean()


@pytest.mark.parametrize("share", [0, 1])
@pytest.mark.parametrize("size", [(48, 64), (300, 230)])  # several photos at a time, and one in parts
def test_tables_show_what_the_curves_show(size: tuple[int, int], share: float) -> None:
    target = torch.nn.functional.interpolate(torch.rand(6, 3, 6, 8), size, mode="bicubic").clamp(0, 1)
    options = {"bracket_share": share, "jpeg_share": 0, "flat_share": 0.3, "local_share": 0.3}
    tables, curves = (
        torch.cat(
            [
                simulator(target, torch.Generator().manual_seed(1), 2),
                simulator.expose_scenes(12 * target - 8, target, torch.Generator().manual_seed(2), 2),
            ]
        )
        for simulator in (ExposureSimulator(**options), PerPixel(**options))
    )
    levels = ((tables - curves) * 255).round()
    assert (levels.abs() == 1).float().mean() < 0.04
    assert (levels.abs() > 1).float().mean() < 0.001  # where a value is at a threshold
    assert abs(levels.mean()) < 0.01


def test_draws_stay_as_they_are() -> None:
    """A seed gives the exposures that it gave when the default weights were trained."""
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 48, 64)
    options = {"jpeg_share": 0, "flat_share": 0.5, "local_share": 0.5, "kept_share": 0}
    parametric = [0.3801, 0.5508, 0.1754, 0.2403, 0.4109, 0.3046]
    measured = [0.1345, 0.4935, 0.3613, 0.6747, 0.7097, 0.7502]
    for share, means in ((0, parametric), (1, measured)):
        images = ExposureSimulator(**options, bracket_share=share)(ramp, torch.Generator().manual_seed(0), 6)
        assert images.mean((1, 2, 3)).tolist() == pytest.approx(means, abs=1e-3)


def test_simulator_rejects_figures_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="kept_share is a probability"):
        ExposureSimulator(kept_share=1.5)
    with pytest.raises(ValueError, match="ev_low"):
        ExposureSimulator(ev_low=1, ev_high=-1)
    with pytest.raises(ValueError, match="range_low"):
        ExposureSimulator(range_low=2)
    with pytest.raises(ValueError, match="ev_gap 3 leaves nothing"):
        ExposureSimulator(ev_gap=3, ev_low=-2, ev_high=2)


@pytest.mark.slow
def test_fit_finds_the_curve_that_made_the_renderings(
    target: Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = CameraCurve(gamma=2.0, shoulder=20.0, slope=1.5)
    target[:, :, ::2] = torch.linspace(0, 1, target.shape[1])[:, None]  # greys, which the tone curve needs
    for index in range(2):
        for exposure, ev in (("N1.5", -1.5), ("0", 0), ("P1", 1)):
            pixels = shift_exposure(target.roll(index * 9, 2), ev, curve).permute(1, 2, 0) * 255
            Image.fromarray(pixels.round().byte().numpy()).save(tmp_path / f"s{index}_{exposure}.png")
    pictures = [tmp_path / "out" / name for name in ("curves.png", "scene.png")]
    pictures[0].parent.mkdir()
    fit_curve.main([str(tmp_path), "--curves", str(pictures[0]), "--scene", str(pictures[1])])
    rows = {line[:20].strip(): float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()[2:]}
    assert rows["fitted curve"] > 45 > rows["gain in linear sRGB"] > rows["nothing"]
    assert rows["fitted tone curve"] > rows["gain in linear sRGB"] + 3
    assert all(path.stat().st_size > 1000 for path in pictures)
    with pytest.raises(SystemExit, match="has 0 scenes"):
        fit_curve.main([str(pictures[0].parent)])
