"""Clips: corrections stay steady over time, follow exposure, and do not cross scene changes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from measures import psnr
from numpy.typing import NDArray
from torch import Tensor

from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import luma
from expcorr_core.image.exposure import shift_exposure
from expcorr_core.image.matching import tone_matched
from expcorr_core.image.motion import camera_motion, warp
from expcorr_core.image.resize import resize
from expcorr_core.method.global_level import ToneCurves
from expcorr_core.settings import Settings
from expcorr_core.video.sequence import LOOK, SequenceCorrector, Smoothing, compare

STILL = torch.eye(3, dtype=torch.float64)


@pytest.fixture
def still(scene: NDArray) -> Tensor:
    """The shared scene, ``(3, 192, 288)``."""
    return resize(torch.from_numpy(scene).permute(2, 0, 1)[None] / 255, (192, 288))[0]


@pytest.fixture
def other(still: Tensor) -> Tensor:
    """Another scene of the same size."""
    blobs = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    return F.interpolate(blobs, still.shape[1:], mode="bicubic").clamp(0, 1)[0]


def panned(still: Tensor, index: int, ev: float = 0.0) -> Tensor:
    """A frame of a pan, with noise."""
    theta = torch.tensor([[[0.7, 0, -0.2 + 0.01 * index], [0, 0.7, 0]]])
    view = F.grid_sample(still[None], F.affine_grid(theta, [1, 3, 192, 288], align_corners=False), align_corners=False)
    noise = torch.randn(view.shape, generator=torch.Generator().manual_seed(index))
    return (shift_exposure(view, ev) + 0.01 * noise).clamp(0, 1)[0]


def followed(results: list[Tensor]) -> float:
    """Mean absolute change from frame to frame of a pan's luminance at fixed parts of the scene."""
    parts = []
    for index, result in enumerate(results):
        back = torch.tensor([[[0.4 / 0.7, 0, (0.2 - 0.01 * index) / 0.7], [0, 0.5 / 0.7, 0]]])
        grid = F.affine_grid(back, [1, 3, 48, 48], align_corners=False)
        parts.append(F.avg_pool2d(luma(F.grid_sample(result[None], grid, align_corners=False)), 12))
    return float(torch.stack([(a - b).abs().mean() for a, b in itertools.pairwise(parts)]).mean())


@pytest.mark.slow
def test_frames_on_their_own_are_corrected_as_stills_are(corrector: Corrector, still: Tensor) -> None:
    frames = [panned(still, index, -1) for index in range(3)]
    for frame, result in zip(frames, SequenceCorrector(corrector, smoothing=Smoothing(0, 1))(frames), strict=True):
        assert psnr(result, corrector(frame[None])[0]) > 45


def test_strength_0_changes_nothing(corrector: Corrector, still: Tensor) -> None:
    frames = [panned(still, index) for index in range(3)]
    for frame, result in zip(frames, SequenceCorrector(corrector, Settings(strength=0))(frames), strict=True):
        assert torch.equal(result, frame)


@pytest.mark.slow
def test_what_does_not_move_does_not_change(corrector: Corrector, still: Tensor) -> None:
    results = list(SequenceCorrector(corrector)([still * 0.4] * 12))
    assert len(results) == 12
    for result in results[1:]:
        assert (result - results[0]).abs().max() < 2e-3
    assert psnr(results[0], corrector(still[None] * 0.4)[0]) > 35


@pytest.mark.parametrize(("lookahead", "share"), [(True, 0.4), (False, 0.75)])
@pytest.mark.slow
def test_flicker_is_less_than_frame_by_frame(
    corrector: Corrector, still: Tensor, lookahead: bool, share: float
) -> None:
    frames = [panned(still, index, -1.5 if index < 10 else 0.3) for index in range(20)]
    smoothing = Smoothing(every=2, lookahead=lookahead)
    alone = followed([corrector(frame[None])[0] for frame in frames])
    assert followed(list(SequenceCorrector(corrector, smoothing=smoothing)(frames))) < alone * share


@pytest.mark.parametrize(("lookahead", "share"), [(True, 0.05), (False, 0.3)])
@pytest.mark.slow
def test_the_decision_to_leave_a_frame_as_it_is_does_not_flicker(
    default_corrector: Corrector, still: Tensor, lookahead: bool, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exposure hunts around a threshold from which on the network is sure that a frame is well exposed."""
    frames = [shift_exposure(still, -1 + 0.1 * math.sin(index)) for index in range(24)]
    threshold = shift_exposure(still, -1).mean()
    network = default_corrector.network
    run = network.forward

    def hunting(image: Tensor, *args: Any) -> tuple[ToneCurves, Tensor]:
        found, _ = run(image, *args)
        return found, torch.where(image.mean((1, 2, 3)) > threshold, 9.0, -9.0)

    monkeypatch.setattr(network, "forward", hunting)

    def steps(smoothing: Smoothing) -> Tensor:
        results = list(SequenceCorrector(default_corrector, smoothing=smoothing)(frames))
        return torch.stack([luma(result).mean() for result in results]).diff().abs()

    alone, ours = (steps(smoothing) for smoothing in (Smoothing(0, 1), Smoothing(every=1, lookahead=lookahead)))
    assert alone.max() > 0.05
    assert ours.mean() < alone.mean() * share


@pytest.mark.slow
def test_exposure_that_hunts_between_two_fitted_grids_is_followed(default_corrector: Corrector, still: Tensor) -> None:
    frames = [shift_exposure(still, -1 + 0.15 * math.sin(2 * math.pi * index / 10)) for index in range(20)]
    results = list(SequenceCorrector(default_corrector)(frames))
    before, after = (torch.stack([luma(frame).mean() for frame in x]).diff().abs().mean() for x in (frames, results))
    assert after < before * 0.2


@pytest.mark.slow
def test_an_iterator_and_a_list_give_the_same(corrector: Corrector, still: Tensor) -> None:
    frames = [panned(still, index) for index in range(6)]
    by_iterator = SequenceCorrector(corrector)(iter(frames))
    assert all(map(torch.equal, SequenceCorrector(corrector)(frames), by_iterator))


@pytest.mark.slow
def test_a_cut_is_not_smeared(corrector: Corrector, still: Tensor, other: Tensor) -> None:
    scenes = [[panned(still, index, -1.5) for index in range(8)], [panned(other, index, 0.5) for index in range(8)]]
    whole = list(SequenceCorrector(corrector)(scenes[0] + scenes[1]))
    apart = [frame for scene in scenes for frame in SequenceCorrector(corrector)(scene)]
    assert all(map(torch.equal, whole, apart))
    assert psnr(whole[8], corrector(scenes[1][0][None])[0]) > 25


@pytest.mark.slow
def test_cuts_may_be_given(corrector: Corrector, still: Tensor) -> None:
    frames = [panned(still, index) for index in range(6)]
    cut = list(SequenceCorrector(corrector).corrections(frames, cuts={3}))
    apart = [grid for part in (frames[:3], frames[3:]) for grid in SequenceCorrector(corrector).corrections(part)]
    assert all(torch.equal(a.coefficients, b.coefficients) for a, b in zip(cut, apart, strict=True))


def test_frames_of_another_size_begin_a_scene(corrector: Corrector, still: Tensor) -> None:
    frames = [still, still, still[:, :120], still[:, :120]]
    results = list(SequenceCorrector(corrector)(frames, cuts=()))
    assert [result.shape for result in results] == [frame.shape for frame in frames]


@pytest.mark.slow
def test_live_correction_depends_on_the_past_alone(corrector: Corrector, still: Tensor, other: Tensor) -> None:
    smoothing = Smoothing(every=3, lookahead=False)
    frames = [panned(still, index, 0.1 * index) for index in range(8)]
    early = list(SequenceCorrector(corrector, smoothing=smoothing)(frames[:5]))
    late = list(SequenceCorrector(corrector, smoothing=smoothing)([*frames, other]))
    assert all(map(torch.equal, early, late[:5]))


@pytest.mark.parametrize(("smoothing", "most"), [(Smoothing(2, 2), 6 + 8), (Smoothing(5, 2, lookahead=False), 1)])
@pytest.mark.slow
def test_no_more_frames_are_read_ahead_than_needed(
    corrector: Corrector, still: Tensor, smoothing: Smoothing, most: int
) -> None:
    read = 0

    def frames() -> Iterator[Tensor]:
        nonlocal read
        for index in range(40):
            read += 1
            yield panned(still, index % 4)

    for number, _ in enumerate(SequenceCorrector(corrector, smoothing=smoothing).corrections(frames()), 1):
        assert read - number <= most


def test_the_network_sees_every_kth_frame(corrector: Corrector, still: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0
    run: Callable[..., Tensor] = corrector.correct_reduced

    def counted(*args: object) -> Tensor:
        nonlocal seen
        seen += 1
        return run(*args)

    monkeypatch.setattr(corrector, "correct_reduced", counted)
    assert len(list(SequenceCorrector(corrector, smoothing=Smoothing(every=5)).corrections([still] * 12))) == 12
    assert seen == 3


@pytest.mark.slow
def test_what_moves_through_the_scene_leaves_no_ghost(corrector: Corrector, still: Tensor) -> None:
    frames = []
    for index in range(16):
        frame = still * 0.35
        frame[:, 60:120, 16 * index : 16 * index + 40] = torch.tensor([0.6, 0.1, 0.1])[:, None, None]
        frames.append(frame)
    ours = list(SequenceCorrector(corrector)(frames))
    losses = [psnr(ours[i], corrector(frames[i][None])[0]) for i in (4, 8, 12)]
    assert min(losses) > 22


@pytest.mark.slow
def test_one_correction_for_the_whole_clip(corrector: Corrector, still: Tensor, other: Tensor) -> None:
    grid = SequenceCorrector(corrector, smoothing=Smoothing(every=2)).one_correction([still, other, other * 0.5])
    alone = [corrector.estimate(image[None]).coefficients for image in (still, other * 0.5)]
    assert torch.allclose(grid.coefficients, (alone[0] + alone[1]) / 2, atol=1e-6)
    with pytest.raises(ValueError, match="no frames"):
        SequenceCorrector(corrector).one_correction([])


def test_an_empty_clip_gives_nothing(corrector: Corrector) -> None:
    assert list(SequenceCorrector(corrector)([])) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": -1}, "smoothing time"),
        ({"frames": math.nan}, "smoothing time"),
        ({"every": 0}, "1 to 1000 frames apart"),
        ({"threshold": 0}, "scene threshold"),
    ],
)
def test_wrong_settings(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Smoothing(**values)


def test_wrong_frames(corrector: Corrector) -> None:
    with pytest.raises(ValueError, match="NaN"):
        list(SequenceCorrector(corrector)([torch.full((3, 8, 8), math.nan)]))
    with pytest.raises(ValueError, match="shape"):
        list(SequenceCorrector(corrector)([torch.zeros(8, 8)]))


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.floats(-0.06, 0.06)] * 2),
    st.tuples(*[st.floats(-0.03, 0.03)] * 4),
    st.floats(-1.5, 0.5),
)
def test_motion_is_found_under_another_exposure(
    shift: tuple[float, float], change: tuple[float, ...], ev: float
) -> None:
    y, x = torch.meshgrid(torch.linspace(-3, 3, 256), torch.linspace(-3, 3, 256), indexing="ij")
    picture = (0.4 + 0.2 * (3 * x).sin() * (2 * y + x).cos() + 0.15 * (5 * y - x).sin()).expand(1, 3, -1, -1)
    true = STILL.clone()
    true[:2] += torch.tensor([*change, *shift], dtype=torch.float64)[[0, 1, 4, 2, 3, 5]].view(2, 3)
    zoom = torch.diag(torch.tensor([0.7, 0.7, 1], dtype=torch.float64))
    before, after = (warp(picture, (zoom @ m)[None], (LOOK, LOOK))[0] for m in (STILL, true))
    found = camera_motion(luma(before)[0, 0], luma(shift_exposure(after, ev))[0, 0], STILL)
    assert (found - true).abs().max() * LOOK / 2 < 0.5  # pixels


def test_flat_frames_stand_still() -> None:
    grey = torch.full((LOOK, LOOK), 0.5)
    assert torch.equal(camera_motion(grey, grey, STILL), STILL)


def test_scenes_are_told_from_exposures(still: Tensor, other: Tensor) -> None:
    before = resize(still[None], (LOOK, LOOK))
    same, change = compare(before, shift_exposure(before, -2), STILL)
    new, _ = compare(before, resize(other[None], (LOOK, LOOK)), STILL)
    assert same < 0.2
    assert change < -1
    assert new > 0.6


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 1.5), st.floats(-0.3, 0.3), st.integers(0, 1000))
def test_tones_are_matched(slope: float, bend: float, seed: int) -> None:
    before = torch.rand(2, 500, generator=torch.Generator().manual_seed(seed)) * 0.6
    after = (slope * before + bend * before**2).clamp(0, 1)
    weight = torch.ones_like(before)
    assert (tone_matched(before, after[:1], weight)[0] - after[0]).abs().max() < 0.05
