"""The report on a photo's exposure, linear light, and masks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expcorr_core.image.colour import linear_to_srgb, srgb_to_linear
from expcorr_core.image.exposure import gain_exposure
from expcorr_core.image.masking import limit_change, soften
from expcorr_core.image.report import (
    above_white,
    clipped_highlights,
    clipped_shadows,
    exposure_error,
    histogram_picture,
    over_exposed,
    under_exposed,
)


def test_srgb_curve_is_the_standards() -> None:
    """IEC 61966-2-1: 18 % grey is 0.4613, the linear part ends at 0.04045."""
    assert srgb_to_linear(torch.tensor(0.461356)).item() == pytest.approx(0.18, abs=1e-5)
    assert srgb_to_linear(torch.tensor(0.04045)).item() == pytest.approx(0.0031308, abs=1e-6)
    values = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert torch.allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-5)


@given(st.floats(-2, 2))
def test_the_error_of_a_gain_is_its_stops(ev: float) -> None:
    photo = 0.25 + 0.35 * torch.rand(1, 3, 9, 8)
    assert exposure_error(gain_exposure(photo, ev), photo).item() == pytest.approx(ev, abs=0.01)


def test_error_of_each_photo_without_lost_pixels() -> None:
    photo = 0.2 + 0.1 * torch.rand(2, 3, 8, 8)
    image = torch.stack((gain_exposure(photo[0], 1), gain_exposure(photo[1], -1)))
    image[:, :, :3], photo[:, :, 5:] = 0, 1
    assert torch.allclose(exposure_error(image, photo), torch.tensor([1.0, -1.0]), atol=1e-3)
    assert exposure_error(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).item() == 0


def test_light_above_white_is_not_lost() -> None:
    """But what resizing makes of white is, and both are at the right end of the histogram."""
    image = torch.tensor([0.5, 1.0, 1.0001, 2.0]).expand(1, 3, 1, 4)
    assert clipped_highlights(image).tolist() == [[[False, True, True, False]]]
    assert above_white(image).tolist() == [[[False, False, False, True]]]
    assert torch.equal(histogram_picture(image[0], 40, 100), histogram_picture(image[0].clamp(0, 1), 40, 100))


def test_lost_parts() -> None:
    image = torch.full((1, 3, 1, 4), 0.5)
    image[..., 0] = 0
    image[:, :, 0, 1] = torch.tensor([0, 0, 0.5])
    image[:, 1, 0, 2] = 1
    assert clipped_shadows(image).tolist() == [[[True, False, False, False]]]
    assert clipped_highlights(image).tolist() == [[[False, False, True, False]]]


def test_soft_masks_are_1_where_light_is_lost_and_fade_out() -> None:
    """Where all channels are lost; light above white is not. Wider limits take in more."""
    values = torch.linspace(0, 1, 256).expand(1, 3, 1, 256)
    lost = clipped_shadows(values), clipped_highlights(values)
    wide = under_exposed(values, 0.5), over_exposed(values, 0.5)
    for masks in ((under_exposed(values), over_exposed(values)), wide):
        for mask, clipped in zip(masks, lost, strict=True):
            assert torch.equal(mask == 1, clipped)
            assert mask.min() == 0
            assert mask.diff().abs().amax() < 0.1  # no hard edge
    assert wide[1][0, 0, 160] > 0.2
    assert over_exposed(values)[0, 0, 160] == 0
    red = torch.tensor([1.0, 0.2, 0.1]).reshape(1, 3, 1, 1)
    assert (under_exposed(red).item(), over_exposed(red).item()) == (0, 0)
    assert over_exposed(torch.tensor([2.0, 1.0, 1.0]).reshape(1, 3, 1, 1)).item() == 0


@pytest.mark.parametrize("value", [-0.1, 0.995, float("nan")])
def test_limits_of_soft_masks_are_checked(value: float) -> None:
    photo = torch.rand(1, 3, 2, 2)
    with pytest.raises(ValueError, match=r"start must be in 0\.\.0\.99, got"):
        over_exposed(photo, value)
    with pytest.raises(ValueError, match=r"up_to must be in 0\.01\.\.1, got"):
        under_exposed(photo, value + 1.0 if value > 0 else value)


def test_histogram_shows_each_channel_where_it_is() -> None:
    image = torch.stack((torch.full((5, 5), 0.1), torch.full((5, 5), 0.5), torch.full((5, 5), 0.9)))
    picture = histogram_picture(image, 40, 100)
    assert picture.shape == (3, 40, 100)
    for channel, place in enumerate((10, 50, 90)):
        columns = picture[channel].amax(0).nonzero().flatten()
        assert abs(columns.float().mean() - place) < 3
        assert picture[channel, -1, columns[len(columns) // 2]] > 0  # from the bottom up


@given(height=st.integers(1, 40), width=st.integers(1, 40), radius=st.floats(0, 60), value=st.floats(0, 1, width=32))
def test_soft_masks_keep_what_is_even(height: int, width: int, radius: float, value: float) -> None:
    mask = torch.full((1, 1, height, width), value)
    assert torch.allclose(soften(mask, radius), mask, atol=1e-6)


@pytest.mark.parametrize("radius", [4, 20, 100])
def test_soft_edges_are_as_wide_as_asked(radius: int) -> None:
    mask = torch.zeros(1, 1, 4, 600)
    mask[..., 300:] = 1
    edge = soften(mask, radius)[0, 0, 0]
    assert (edge[1:] >= edge[:-1] - 1e-6).all()
    soft = ((edge > 0.01) & (edge < 0.99)).nonzero().flatten()
    assert 0.8 * radius < (soft[-1] - soft[0]) / 2 < 1.3 * radius + 1


def test_changes_are_limited() -> None:
    image, changed = torch.rand(2, 3, 40, 60), torch.rand(2, 3, 40, 60)
    mask = torch.zeros(1, 1, 20, 30)
    mask[..., 15:] = 1
    result = limit_change(image, changed, mask, 0.02)
    assert torch.equal(result[..., :25], image[..., :25])
    assert torch.allclose(result[..., 35:], changed[..., 35:], atol=1e-6)
    assert torch.equal(limit_change(image, changed, torch.zeros(2, 1, 40, 60)), image)
    for bad in (torch.ones(3, 1, 40, 60), torch.ones(1, 40, 60)):
        with pytest.raises(ValueError, match="mask must have shape"):
            limit_change(image, changed, bad)
