"""Limits to corrections: of the change of brightness, and of what is clipped."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import luma, srgb_to_linear
from expcorr_core.image.limits import Limits
from expcorr_core.method.network import ExposureNetwork
from expcorr_core.settings import Settings
from expcorr_core.video.sequence import SequenceCorrector


def eight_bit(image: Tensor) -> Tensor:
    return image.mul(255).round() / 255


def some_grid(
    seed: int, limits: Limits | None, wildness: float = 0.5, size: tuple[int, int, int] = (3, 4, 5)
) -> BilateralGrid:
    """A correction, by default far wilder than any real one."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, *size, 3, 4, generator=random)
    return BilateralGrid(torch.eye(3, 4) * 2 ** torch.randn(1, generator=random) + wildness * noise, limits)


def some_photo(seed: int, height: int = 40, width: int = 50) -> Tensor:
    """8-bit values, with black, white, and what lies just within them."""
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 3, height, width, generator=random) * torch.rand(1, 1, height, width, generator=random) * 1.5
    ends = torch.randint(-2, 3, image.shape, generator=random) / 255 % 1.004
    return eight_bit(torch.where(torch.rand(image.shape, generator=random) < 0.1, ends, image).clamp(0, 1))


@examples(max_examples=30)
@given(st.integers(0, 2**32), st.floats(0, 4), st.booleans(), st.sampled_from(["torch", None]))
def test_no_pixel_changes_by_more_stops(seed: int, stops: float, guard: bool, path: str | None) -> None:
    image = some_photo(seed)
    result = some_grid(seed, Limits(stops, guard)).slice(image, path=path)
    was, now = luma(srgb_to_linear(image)), luma(srgb_to_linear(result))
    assert (now <= was * 2**stops * 1.001 + 1e-6).all()
    assert (now >= was * 2**-stops * 0.999 - 1e-6).all()
    # In 8 bits: what is written is half a step away from that at most.
    written = eight_bit(result)
    darkest, brightest = (luma(srgb_to_linear((written + d / 255).clamp(0, 1))) for d in (-0.501, 0.501))
    assert (darkest <= was * 2**stops + 1e-6).all()
    assert (brightest >= was * 2**-stops - 1e-6).all()


def test_what_is_within_the_limit_stays_as_it_is() -> None:
    image, free = some_photo(0), some_grid(0, None).slice(some_photo(0))
    result = some_grid(0, Limits(1.0, False)).slice(image)
    was, now = luma(srgb_to_linear(image)), luma(srgb_to_linear(free))
    within = ((now < 1.99 * was) & (now > was / 1.99)).expand_as(image)
    assert 0.1 < within.float().mean() < 0.9
    assert torch.equal(result[within], free[within])
    assert torch.allclose(some_grid(0, Limits(0.0, False)).slice(image), image, atol=1e-4)  # no stops, no change


@examples(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([None, 0.5, 3.0]), st.sampled_from(["torch", None]))
def test_nothing_below_white_is_clipped(seed: int, stops: float | None, path: str | None) -> None:
    image = some_photo(seed)
    result = eight_bit(some_grid(seed, Limits(stops)).slice(image, path=path)) * 255
    free = eight_bit(some_grid(seed, Limits(stops, False)).slice(image, path=path)) * 255
    below = image.mul(255).round().amax(1, keepdim=True) <= 253
    assert (result.amax(1, keepdim=True)[below] <= 253).all()
    white = (image == 1).any(1, keepdim=True).expand_as(image)
    assert torch.equal(result[white], free[white])
    if stops is None:
        assert torch.equal(result, torch.where(below, free.clamp(max=253), result))


def test_limits_are_smooth() -> None:
    """A gradient stays one: no step where a limit begins to hold."""
    image = torch.linspace(0.03, 1, 4096).expand(1, 3, 4, -1)
    for limits in (Limits(0.4, False), Limits(None), Limits(0.4)):
        assert some_grid(3, limits, 0.05).slice(image).diff(dim=3).abs().max() < 6 * image.diff().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_way_to_slice_keeps_the_limits(dtype: torch.dtype) -> None:
    """Interleaved, in strips, into the image itself, into another tensor, in part, on the way through other types."""
    grid = some_grid(5, Limits(0.5), 0.05)
    image = some_photo(5, 300, 410)
    wanted = grid.slice(image)
    near = 1e-4 if dtype == torch.float32 else 2e-2
    interleaved = image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).to(dtype)
    assert torch.allclose(grid.slice(interleaved).float(), wanted, atol=near)
    for parts in (grid, grid.to("cpu"), grid.blend(1)):
        for top, bottom, part in parts.strips(300, 64):
            strip = image[:, :, top:bottom].to(dtype, copy=True)
            assert torch.allclose(part.slice(strip, out=strip).float(), wanted[:, :, top:bottom], atol=near)
    assert torch.equal(grid.slice(image, clamp=False), wanted)


def test_gradients_flow_through_limits() -> None:
    grid, image = (
        some_grid(2, None, size=(2, 2, 2)).coefficients.double().requires_grad_(),
        some_photo(2, 4, 5).double(),
    )
    total = BilateralGrid(grid, Limits(1.0)).slice(image).square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert grid.grad is not None
    assert grid.grad.isfinite().all()
    assert grid.grad.abs().max() > 0


def test_settings_set_the_limits(small_network: ExposureNetwork) -> None:
    corrector = Corrector(small_network)
    image = some_photo(1, 64, 64)
    free = Settings(keep_highlights=False)
    assert corrector.estimate(image).limits == Limits()
    assert corrector.estimate(image, free).limits is None
    for settings in (Settings(), free, Settings(max_stops=0.3, strength=1.5)):
        photo = corrector(image, settings)
        frames = list(SequenceCorrector(corrector, settings)([image[0]] * 3))
        one = SequenceCorrector(corrector, settings).one_correction([image[0]])
        for result in (photo, *(frame[None] for frame in frames), one.slice(image)):
            ratio = luma(srgb_to_linear(result)) / luma(srgb_to_linear(image))
            seen = image.amax(1, keepdim=True) > 0
            assert (bool((ratio[seen].log2().abs() < 0.301).all())) == (settings.max_stops is not None)


@pytest.mark.parametrize("stops", [-1.0, float("nan"), float("inf")])
def test_bad_limits(stops: float) -> None:
    with pytest.raises(ValueError, match="max_stops must be a number of stops from 0 up"):
        Settings(max_stops=stops)
