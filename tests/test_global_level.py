"""The global network: statistics of the whole photo, monotone curves, and what its files say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from expcorr_core.corrector import Corrector
from expcorr_core.data.losses import well_exposed_loss
from expcorr_core.method.global_level import (
    KNOTS,
    STATISTICS,
    GlobalArchitecture,
    GlobalNetwork,
    photo_range,
    photo_statistics,
)
from expcorr_core.method.weights import WeightsError, load_weights, save_weights
from expcorr_core.settings import Settings


def network_at_random(seed: int = 0, spread: float = 0.3) -> GlobalNetwork:
    """A small network that changes photos strongly."""
    torch.manual_seed(seed)
    network = GlobalNetwork(GlobalArchitecture(4, 8))
    network.initialise()
    with torch.no_grad():
        for layer in (network.curves, network.mix, network.exponent):
            torch.nn.init.normal_(layer.weight, std=spread)
        network.well_exposed.bias.fill_(-9)
    return network.eval().requires_grad_(False)


@pytest.fixture
def image() -> Tensor:
    return (
        torch.nn.functional.interpolate(torch.rand(2, 3, 7, 9), (210, 270), mode="bicubic").clamp(0, 1) * 255
    ).round() / 255


def test_the_default_has_as_many_parameters_as_documented() -> None:
    assert GlobalNetwork().parameter_count() == 657_355


def test_training_begins_with_the_identity(image: Tensor) -> None:
    network = GlobalNetwork(GlobalArchitecture(4, 8))
    network.initialise()
    image[:, :, 0, :200], image[:, :, 1, :200] = 0, 1  # a photo of full range
    found, logit = network(image)
    assert (found.apply(image) - image).abs().max() < 0.011  # curves overshoot by 0.01 at both ends
    assert logit.sigmoid().tolist() == pytest.approx([0.2, 0.2], abs=0.01)


@given(seed=st.integers(0, 1000))
def test_curves_increase_whatever_the_weights(seed: int) -> None:
    network = network_at_random(seed, spread=3)
    found, _ = network.find(torch.rand(2, 3, 40, 30))
    assert found.curves.shape == (2, 3, KNOTS + 1)
    assert (found.curves.diff(dim=2) >= 0).all()
    ramp = torch.linspace(0, 1, 256).expand(2, 3, 1, 256)
    toned = replace(found, mix=torch.zeros(2, 3, 3)).apply(ramp)
    assert (toned.diff(dim=3) >= -1e-6).all()


@given(seed=st.integers(0, 1000))
def test_white_stays_neutral_whatever_the_weights(seed: int) -> None:
    found, _ = network_at_random(seed).find(torch.rand(2, 3, 40, 30))
    white = found.apply(torch.ones(2, 3, 1, 1)).flatten(1)
    assert torch.allclose(white.amax(1), white.amin(1), atol=1e-5)


@given(seed=st.integers(0, 1000))
def test_white_is_not_darkened_where_a_photo_is_likely_well_exposed(seed: int) -> None:
    network, image = network_at_random(seed), torch.rand(2, 3, 40, 30) * 0.9
    network.well_exposed.weight.zero_()
    network.well_exposed.bias.fill_(-5)
    found, _ = network.find(image)
    before = found.range[:, 1].view(-1, 1, 1, 1).expand(-1, 3, -1, -1)
    darkened = found.apply(before)
    network.well_exposed.bias.zero_()
    found, _ = network.find(image)
    assert torch.allclose(found.apply(before), torch.maximum(before, darkened), atol=1e-5)


def test_statistics_are_those_of_the_photo_and_not_of_its_mirror_image() -> None:
    """One row more or less of a photo that is larger than the sampled grid changes them; mirroring must not."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 300, 301, generator=generator)
    network = network_at_random()
    assert torch.equal(network.find(image, flip=True)[0].range, network.find(image)[0].range)


@given(seed=st.integers(0, 1000))
def test_statistics_do_not_depend_on_where_pixels_are(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = (torch.rand(1, 3, 16, 16, generator=generator) * 255).round() / 255
    order = torch.randperm(256, generator=generator)
    shuffled = image.flatten(2)[:, :, order].view_as(image)
    assert torch.allclose(photo_statistics(image), photo_statistics(shuffled), atol=1e-5)


def test_statistics_of_known_photos() -> None:
    half = torch.zeros(1, 3, 8, 8)
    half[:, :, :4] = 1
    values = photo_statistics(half)[0]
    assert len(values) == STATISTICS
    red, clipped, rest = values[:29], values[116:122], values[122:]
    assert red.unique().tolist() == [0, 1]
    assert red[0] == 0
    assert red[-1] == 1
    assert clipped.tolist() == pytest.approx([0.5] * 6)
    assert rest[:8].tolist() == pytest.approx([0.5, *[0] * 6, 0.5])
    assert rest[-4:].tolist() == pytest.approx([0, 0, 0.5, 0.5], abs=1e-3)


@pytest.mark.parametrize(("level", "wanted"), [(0, (0, 0.1)), (1, (0.9, 1)), (0.5, (0.45, 0.55))])
def test_flat_frames_are_not_stretched_to_noise(level: float, wanted: tuple[float, float]) -> None:
    found = photo_range(photo_statistics(torch.full((1, 3, 8, 8), float(level))))
    assert found[0].tolist() == pytest.approx(wanted, abs=3e-3)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_blank_frames_stay_as_they_are(level: float) -> None:
    frame = torch.full((1, 3, 8, 8), level)
    frame[..., 0] = abs(level - 0.01)  # a little noise
    assert torch.equal(network_at_random().find(frame)[0].apply(frame), frame)


def test_a_mirrored_photo_gets_the_same_correction(image: Tensor) -> None:
    network = network_at_random()
    found, mirrored = (network.find(x, flip=True)[0] for x in (image, image.flip(3)))
    for name, values in vars(found).items():
        assert torch.allclose(values, getattr(mirrored, name), atol=1e-5)


def test_photos_that_are_surely_well_exposed_stay_as_they_are(image: Tensor) -> None:
    network = network_at_random()
    assert not torch.allclose(network.find(image)[0].apply(image), image, atol=0.05)
    network.well_exposed.bias.fill_(9)
    assert torch.equal(network.find(image)[0].apply(image), image)


def test_the_decision_is_learnt_from_pairs_that_agree() -> None:
    image = torch.rand(2, 3, 4, 4)
    target = image.clone()
    target[1] += 0.1
    right, wrong = (well_exposed_loss(torch.tensor(logit), image, target) for logit in ([9.0, -9.0], [-9.0, 9.0]))
    assert right.max() < 0.1
    assert wrong.min() > 8 * 48  # a sum over the photo's values


def test_photos_of_a_batch_do_not_touch_each_other(image: Tensor) -> None:
    network = network_at_random()
    together = network.find(image)[0].apply(image)
    alone = [network.find(x[None])[0].apply(x[None]) for x in image]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_gradients_reach_the_network(image: Tensor) -> None:
    corrector = Corrector(network_at_random()).requires_grad_()
    corrector.correct_small(image[:, :, :64, :64]).mean().backward()
    assert corrector.network.curves.weight.grad.abs().max() > 0


def test_saved_and_loaded_with_its_sizes(image: Tensor, tmp_path: Path) -> None:
    network = network_at_random()
    network.normalise(torch.rand(50, STATISTICS))
    save_weights(tmp_path / "w.safetensors", network, {"seed": 0}, torch.float32)
    again = load_weights(tmp_path / "w.safetensors")
    assert isinstance(again, GlobalNetwork)
    assert again.architecture == GlobalArchitecture(4, 8)
    assert again.training_record == {"seed": 0}
    assert torch.allclose(again.find(image)[0].apply(image), network.find(image)[0].apply(image), atol=1e-6)
    del network.mix
    save_weights(tmp_path / "x.safetensors", network, {}, torch.float32)
    with pytest.raises(WeightsError, match="2 tensors are missing, first mix"):
        load_weights(tmp_path / "x.safetensors")


def test_gains_need_a_pyramid(image: Tensor) -> None:
    with pytest.raises(ValueError, match="networks with pyramid levels"):
        Corrector(network_at_random())(image, Settings(gains=(1, 1, 1, 2)))


def test_half_precision_stays_close(image: Tensor) -> None:
    network = network_at_random()
    whole = Corrector(network)(image)
    half = Corrector(network.to(torch.bfloat16))(image)
    assert (half - whole).abs().mean() < 0.02
