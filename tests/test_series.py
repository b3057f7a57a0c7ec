"""Photos corrected as a series: those of one scene get one look, and each other photo what it gets by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from measures import psnr
from torch import Tensor

from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import luma, srgb_to_linear
from expcorr_core.image.exposure import shift_exposure
from expcorr_core.photos.metadata import Metadata
from expcorr_core.series import corrector as series
from expcorr_core.series.corrector import SeriesCorrector, plan
from expcorr_core.series.shot import Shot
from expcorr_core.settings import Settings


def photograph(name: str) -> Tensor:
    """One of scikit-image's photographs at about 150 x 200 pixels, ``(1, 3, H, W)``."""
    data = pytest.importorskip("skimage.data")
    pixels = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None] / 255
    return series.resize(pixels, (pixels.shape[2] * 200 // pixels.shape[3], 200))


def exposed(photo: Tensor, ev: float) -> Tensor:
    """In 8 bits, as of a file."""
    return (shift_exposure(photo, ev) * 255).round() / 255


@pytest.fixture(scope="module")
def coffee() -> Tensor:
    return photograph("coffee")


@pytest.fixture(scope="module")
def cat() -> Tensor:
    return photograph("cat")


@cache
def stored() -> Corrector:
    """One for all examples of a test."""
    return Corrector.load()


def corrected(corrector: Corrector, photos: Sequence[Tensor], **options: object) -> list[Tensor]:
    return list(SeriesCorrector(corrector)(photos, **options))  # type: ignore[arg-type]


def likeness(results: Sequence[Tensor]) -> float:
    """Mean PSNR between results of one view."""
    found = [psnr(a, b) for a, b in combinations(results, 2)]
    return sum(found) / len(found)


def test_results_of_one_scene_are_nearer(default_corrector: Corrector, coffee: Tensor) -> None:
    photos = [exposed(coffee, ev) for ev in (-1.5, 1.5)]
    together, by_themselves = corrected(default_corrector, photos), [default_corrector(photo) for photo in photos]
    assert likeness(together) > likeness(by_themselves) + 4
    before, after = (sum(psnr(result, coffee) for result in results) for results in (by_themselves, together))
    assert after > before


def test_a_photo_of_its_own_gets_what_it_gets_by_itself(default_corrector: Corrector, coffee: Tensor) -> None:
    dark = exposed(coffee, -1.5)
    assert torch.equal(corrected(default_corrector, [dark])[0], default_corrector(dark))
    assert corrected(default_corrector, []) == []


def test_another_scene_is_not_affected(default_corrector: Corrector, coffee: Tensor, cat: Tensor) -> None:
    photos = [exposed(coffee, -1), exposed(cat, -1), exposed(coffee, 1)]
    results = corrected(default_corrector, photos)
    assert torch.equal(results[1], default_corrector(photos[1]))
    alone = corrected(default_corrector, [photos[0], photos[2]])
    assert torch.equal(results[0], alone[0])
    assert torch.equal(results[2], alone[1])


def test_a_right_photo_stays_and_the_others_get_its_look(default_corrector: Corrector, coffee: Tensor) -> None:
    look = (coffee * torch.tensor((1.0, 0.85, 0.6)).view(1, 3, 1, 1) * 255).round() / 255  # warm, somewhat dark
    photos = [exposed(look, -1.5), look, exposed(look, 1)]
    with_right, without = (corrected(default_corrector, photos, right=right) for right in ([1], []))
    assert torch.equal(with_right[1], look)
    assert not torch.equal(without[1], look)
    for number in (0, 2):
        assert psnr(with_right[number], look) > psnr(without[number], look) + 4


def test_sizes_shapes_and_types_of_the_photos_are_kept(default_corrector: Corrector, coffee: Tensor) -> None:
    photos = [
        exposed(coffee, -1.5),
        exposed(coffee[..., :90, 20:], 1),
        exposed(coffee[..., 10:, :100], 0.7),  # upright
        series.resize(exposed(coffee, -0.5), (300, 450)).clamp(0, 1).double(),
    ]
    seen = [SeriesCorrector(default_corrector).look(photo).shot for photo in photos]
    assert len({part.group for part in plan(seen)}) == 1
    results = corrected(default_corrector, photos)
    assert [(r.shape, r.dtype) for r in results] == [(p.shape, p.dtype) for p in photos]
    alone = [default_corrector(photo) for photo in photos]
    small = [series.resize(part, coffee.shape[2:]) for part in (results[0], results[3], alone[0], alone[3])]
    assert likeness(small[:2]) > likeness(small[2:]) + 1
    assert likeness([results[0][..., 10:, :100], results[2]]) > likeness([alone[0][..., 10:, :100], alone[2]]) + 1


@pytest.mark.slow
@settings(max_examples=5)
@given(st.permutations(range(4)))
def test_the_order_of_a_scene_s_photos_does_not_matter(order: list[int]) -> None:
    corrector = stored()
    scene = photograph("coffee")
    photos = [exposed(scene, ev) for ev in (-1.5, -0.5, 0.5, 1.5)]
    straight = corrected(corrector, photos)
    turned = corrected(corrector, [photos[k] for k in order])
    for place, number in enumerate(order):
        assert (turned[place] - straight[number]).abs().max() < 1e-3


@pytest.mark.slow
@settings(max_examples=12)
@given(st.lists(st.tuples(st.sampled_from("0.5n"), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5))
def test_photos_that_show_nothing(photos: list[tuple[str, int, int]]) -> None:
    made = [
        torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height * width))
        if kind == "n"
        else torch.full((1, 3, height, width), {"0": 0.0, ".": 1.0, "5": 0.5}[kind])
        for kind, height, width in photos
    ]
    for photo, result in zip(made, corrected(stored(), made), strict=True):
        assert result.shape == photo.shape
        assert ((result >= 0) & (result <= 1)).all()  # also not NaN


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_blank_photo_of_a_scene_does_not_spoil_the_others(
    default_corrector: Corrector, coffee: Tensor, level: float
) -> None:
    photos = [exposed(coffee, -1), torch.full_like(coffee, level), exposed(coffee, 1)]
    results = corrected(default_corrector, photos)
    expected = corrected(default_corrector, [photos[0], photos[2]])
    assert torch.equal(results[0], expected[0])
    assert torch.equal(results[2], expected[1])
    assert torch.equal(results[1], default_corrector(photos[1]))


def test_strength(default_corrector: Corrector, coffee: Tensor) -> None:
    photos = [exposed(coffee, ev) for ev in (-1.5, 1.5)]
    for photo, result in zip(photos, SeriesCorrector(default_corrector, Settings(strength=0))(photos), strict=True):
        assert torch.equal(result, photo)
    half = list(SeriesCorrector(default_corrector, Settings(strength=0.5))(photos))
    whole = corrected(default_corrector, photos)
    for photo, part, result in zip(photos, half, whole, strict=True):
        assert 0.3 < (part - photo).abs().mean() / (result - photo).abs().mean() < 0.7


@pytest.mark.parametrize("bad", ["nan", "shape", "several", "type"])
def test_wrong_photos_are_rejected(default_corrector: Corrector, coffee: Tensor, bad: str) -> None:
    holed = coffee.clone()
    holed[0, 1, 7, 9] = math.nan
    wrong, message = {
        "nan": (holed, "NaN"),
        "shape": (coffee[0], "shape"),
        "several": (coffee.repeat(2, 1, 1, 1), "one photo"),
        "type": ((coffee * 255).byte(), "floating"),
    }[bad]
    with pytest.raises(ValueError, match=message):
        corrected(default_corrector, [coffee, wrong])


def frames(photo: Tensor, count: int = 40) -> list[Tensor]:
    """Of a time-lapse whose exposure hunts."""
    return [exposed(photo, 0.8 * math.sin(7.0 * k)) for k in range(count)]


def test_near_frames_of_a_time_lapse_count_most(coffee: Tensor) -> None:
    shots = [Shot.of(frame) for frame in frames(coffee, 150)]
    parts = plan(shots, right=[140])
    assert all(part.time_lapse and part.size == 150 for part in parts)
    for number, part in enumerate(parts):
        assert number not in part.others
        assert len(part.others) <= series.KEYFRAMES + 1
        ordinary = {k: weight for k, weight in zip(part.others, part.weights, strict=True) if k != 140}
        assert max(abs(k - number) for k in ordinary) <= series.REACH * series.TIME
        for k, weight in ordinary.items():
            assert weight == pytest.approx(math.exp(-abs(k - number) / series.TIME))
        if number != 140:
            weight = part.weights[part.others.index(140)]
            assert weight == pytest.approx(series.RIGHT * math.exp(-abs(140 - number) / series.TIME))


def test_a_time_lapse_in_the_order_of_its_times(coffee: Tensor) -> None:
    shots = [replace(Shot.of(frame), taken=30.0 * k) for k, frame in enumerate(frames(coffee))]
    parts, turned = plan(shots), plan(shots[::-1])
    assert all(part.time_lapse for part in parts)
    for part, other in zip(parts, turned[::-1], strict=True):
        assert (tuple(39 - k for k in other.others), other.weights) == (part.others, part.weights)


def test_frames_before_a_lamp_is_switched_on_do_not_count_after_it(coffee: Tensor) -> None:
    half = coffee.shape[3] // 2
    lit = torch.cat((shift_exposure(coffee[..., :half], 3), coffee[..., half:]), 3)
    flash = Shot.of(exposed(lit, -0.5))
    shots = [Shot.of(frame) for frame in (*frames(coffee, 20), *frames(lit, 20))]
    shots[7] = flash  # for one frame only
    for number, part in enumerate(plan(shots)):
        assert part.time_lapse
        assert part.others
        assert all((k < 20) == (number < 20) for k in part.others)
    assert any(k < 7 for k in plan(shots)[10].others)


def test_the_frames_of_a_time_lapse_keep_their_distance_from_those_that_are_least_wrong(coffee: Tensor) -> None:
    course = [0.2 + 2 * k / 59 for k in range(60)]  # the night comes
    hunting = [0.4 * (-1) ** k for k in range(60)]
    shots = [
        replace(Shot.of(frame), lift=lift + error)
        for frame, lift, error in zip(frames(coffee, 60), course, hunting, strict=True)
    ]
    for part, lift in zip(plan(shots), course, strict=True):  # where the ends are drawn to what is before them
        assert part.shift == pytest.approx(0.2 - lift, abs=0.3)
    assert {part.shift for part in plan(shots, right=[0])} == {0}
    assert {part.shift for part in plan(shots[:20])} == {0}  # too few to be a time-lapse


@pytest.mark.slow
def test_a_time_lapse_flickers_less(default_corrector: Corrector, coffee: Tensor) -> None:
    photos = frames(coffee, 30)
    ways = corrected(default_corrector, photos), [default_corrector(photo) for photo in photos]
    flicker = [sum(float((a.mean() - b.mean()).abs()) for a, b in pairwise(results)) for results in ways]
    assert flicker[0] < flicker[1] / 4


def test_metadata_of_fewer_photos_are_rejected(default_corrector: Corrector, coffee: Tensor) -> None:
    for metadata in ([], [Metadata()]):
        with pytest.raises(ValueError, match="metadata of 2 photos"):
            corrected(default_corrector, [coffee, coffee], metadata=metadata)


@pytest.mark.slow
def test_night_falls_in_a_time_lapse(default_corrector: Corrector, coffee: Tensor) -> None:
    def light(photo: Tensor) -> float:
        return float(luma(srgb_to_linear(photo)).median().log2())

    photos = [exposed(coffee, -2.4 * k / 39) for k in range(40)]
    results = corrected(default_corrector, photos)
    alone = default_corrector(photos[-1])
    assert light(photos[0]) - light(photos[-1]) > 2
    assert light(results[0]) - light(results[-1]) == pytest.approx(light(photos[0]) - light(photos[-1]), abs=0.5)
    assert light(alone) - light(results[-1]) > 1  # which one by one is made a day
