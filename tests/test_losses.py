"""The paper's losses and its discriminator."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from expcorr_core.data.discriminator import Discriminator
from expcorr_core.data.losses import (
    adversarial_loss,
    consistency_loss,
    discriminator_loss,
    pyramid_loss,
    reconstruction_loss,
)
from expcorr_core.method.pyramid import gaussian_pyramid, upsample


def test_reconstruction_is_a_sum_for_each_photo() -> None:
    target = torch.rand(2, 3, 8, 8)
    assert reconstruction_loss(target + 0.25, target).tolist() == pytest.approx([0.25 * 3 * 64] * 2, rel=1e-5)


def test_pyramid_weights_double_with_each_level() -> None:
    target = torch.rand(2, 3, 32, 32)
    gaussian = gaussian_pyramid(target, 4)
    perfect = [upsample(gaussian[i + 1], gaussian[i].shape[2:]) for i in range(3)]
    assert pyramid_loss(perfect, target).tolist() == pytest.approx([0, 0], abs=1e-3)
    for level, weight, side in ((0, 1, 32), (1, 2, 16), (2, 4, 8)):
        off = [y + 0.1 * (i == level) for i, y in enumerate(perfect)]
        wanted = 0.1 * weight * 3 * side**2
        assert pyramid_loss(off, target).tolist() == pytest.approx([wanted, wanted], rel=1e-3)
    assert pyramid_loss([], target).tolist() == [0, 0]


def test_consistency_is_of_neighbours() -> None:
    first, second = torch.rand(2, 3, 3, 4, 5)
    results = torch.stack((first, second), 1).flatten(0, 1)
    wanted = (first - second).abs().sum((1, 2, 3))
    assert torch.equal(consistency_loss(results), torch.stack((wanted, wanted), 1).flatten())


def test_adversarial_term_is_the_papers_in_our_scale() -> None:
    """3 h w n log 2 for values in 0..255 when the discriminator cannot tell; nearly none when it is convinced."""
    assert adversarial_loss(torch.zeros(5), 128 * 96, 4) == pytest.approx(
        3 * 128 * 96 * 4 * math.log(2) / 255, rel=1e-5
    )
    assert (adversarial_loss(torch.full((2,), 20.0), 64, 4) < 1e-4).all()
    logit = torch.zeros(1, requires_grad=True)
    adversarial_loss(logit, 64, 4).backward()
    assert logit.grad is not None
    assert logit.grad < 0  # a higher logit is better
    assert torch.isfinite(adversarial_loss(torch.tensor([-500.0]), 64, 4)).all()


def test_discriminator_loss() -> None:
    zero = torch.zeros(3)
    assert discriminator_loss(zero, zero) == pytest.approx(2 * math.log(2), rel=1e-6)
    assert discriminator_loss(zero + 9, zero - 9) < 1e-3
    assert discriminator_loss(zero - 9, zero + 9) > 17


def test_discriminator_is_the_reference_programs() -> None:
    module = Discriminator()
    channels = (3, 8, 16, 32, 64, 128, 128, 256)
    convolutions = sum(16 * a * b + b for a, b in itertools.pairwise(channels))
    assert sum(p.numel() for p in module.parameters()) == convolutions + 2 * 16 + 4 * 256 + 1
    assert [type(layer).__name__ for layer in module.layers][:5] == [
        "Conv2d", "LeakyReLU", "Conv2d", "BatchNorm2d", "LeakyReLU",
    ]  # fmt: skip
    small, large = module(torch.rand(2, 3, 96, 128), torch.rand(2, 3, 256, 256))
    assert small.shape == large.shape == (2,)
    with torch.no_grad():
        features = module.layers[:-1](torch.rand(2, 3, 256, 256))
    assert features.shape == (2, 256, 2, 2)


@pytest.mark.slow
def test_discriminator_learns_to_tell() -> None:
    module = Discriminator()
    optimizer = torch.optim.Adam(module.parameters(), 2e-3)
    first = None
    for _ in range(25):
        real, made = module(torch.rand(4, 3, 64, 64) * 0.4 + 0.3, torch.rand(4, 3, 64, 64) * 0.2)
        loss = discriminator_loss(real, made)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * first
