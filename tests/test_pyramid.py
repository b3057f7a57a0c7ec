"""Pyramids: exact for any size, differentiable, as defined by Burt & Adelson."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expcorr_core.method.pyramid import (
    KERNEL,
    downsample,
    gaussian_pyramid,
    laplacian_pyramid,
    reconstruct,
    scale_bands,
    upsample,
)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 9), st.integers(1, 2), st.integers(1, 4))
def test_reconstruction_is_exact_to_rounding(height: int, width: int, levels: int, batch: int, channels: int) -> None:
    image = torch.rand(batch, channels, height, width)
    pyramid = laplacian_pyramid(image, levels)
    assert [p.shape[2:] for p in pyramid] == [
        (-(-height // 2**level), -(-width // 2**level)) for level in range(levels)
    ]
    assert (reconstruct(pyramid) - image).abs().max() <= 2**-22


def test_downsample_is_the_kernel_with_mirrored_border() -> None:
    row = torch.rand(1, 1, 1, 9, dtype=torch.float64)
    # A row of equal lines: filtering along y changes nothing.
    values = row[0, 0, 0].tolist()
    mirrored = [values[1], values[0], *values, values[8], values[7]]
    wanted = [sum(k * mirrored[2 * i + j] for j, k in enumerate(KERNEL)) for i in range(5)]
    assert torch.allclose(downsample(row)[0, 0, 0], torch.tensor(wanted, dtype=torch.float64))


def test_upsample_inserts_zeros_and_filters_with_replicated_border() -> None:
    row = torch.rand(1, 1, 1, 4, dtype=torch.float64)
    values = row[0, 0, 0].tolist()
    padded = [values[0], *values, values[3]]
    sparse = [0.0] * 4 + [v for value in padded for v in (value, 0.0)] + [0.0] * 4
    filtered = [2 * sum(k * sparse[4 + i + j] for j, k in enumerate(KERNEL)) for i in range(7)]
    assert torch.allclose(upsample(row, (1, 7))[0, 0, 0], torch.tensor(filtered, dtype=torch.float64))


def test_constant_images_have_empty_bands() -> None:
    pyramid = laplacian_pyramid(torch.full((1, 3, 37, 50), 0.7), 5)
    assert all(band.abs().max() < 1e-6 for band in pyramid[:-1])
    assert torch.allclose(pyramid[-1], torch.tensor(0.7))


def test_gradients() -> None:
    with torch.inference_mode():  # must leave nothing behind that autograd cannot use
        laplacian_pyramid(torch.rand(1, 1, 5, 6), 3)
    image = torch.rand(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tuple(laplacian_pyramid(x, 3)), (image,))
    bands = [band.detach().requires_grad_() for band in laplacian_pyramid(image, 3)]
    assert torch.autograd.gradcheck(lambda *b: reconstruct(b), bands)


def test_works_in_half_precision_and_keeps_the_type() -> None:
    image = torch.rand(1, 3, 16, 16).half()
    pyramid = laplacian_pyramid(image, 3)
    assert all(band.dtype == torch.float16 for band in pyramid)
    assert (reconstruct(pyramid) - image).abs().max() < 2e-3


def test_gains() -> None:
    image = torch.rand(1, 3, 20, 20)
    pyramid = laplacian_pyramid(image, 3)
    smooth = reconstruct(scale_bands(pyramid, (0, 0, 1)))
    assert torch.allclose(smooth, upsample(upsample(pyramid[2], (10, 10)), (20, 20)))
    with pytest.raises(ValueError, match="3 levels, but 2 gains"):
        scale_bands(pyramid, (1, 1))


@pytest.mark.parametrize(
    ("image", "levels", "message"),
    [
        (torch.rand(3, 4, 4), 2, "shape"),
        (torch.rand(1, 3, 0, 4), 2, "non-empty"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), 2, "floating-point"),
        (torch.rand(1, 3, 4, 4), 0, "at least one level"),
    ],
)
def test_bad_input(image: torch.Tensor, levels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gaussian_pyramid(image, levels)


def test_bad_pyramids() -> None:
    with pytest.raises(ValueError, match="empty pyramid"):
        reconstruct([])
    with pytest.raises(ValueError, match="factor of two"):
        reconstruct([torch.rand(1, 3, 8, 8), torch.rand(1, 3, 5, 4)])
