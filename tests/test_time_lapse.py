"""The course of a time-lapse: what its exposure adds to the light is taken out, whether EXIF tells it or not."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_series import photograph

from expcorr_core.corrector import Corrector
from expcorr_core.image.exposure import CameraCurve, shift_exposure
from expcorr_core.photos.directories import Value
from expcorr_core.photos.exif import EXIF_DIRECTORY
from expcorr_core.photos.reading import read_photo
from expcorr_core.series import time_lapse
from expcorr_core.series.corrector import SeriesCorrector, plan
from expcorr_core.series.shot import Shot, picture_of
from expcorr_core.series.time_lapse import brightness, light_runs, smoothed, steady_lifts

FRAMES, HELD = 180, 6
LIGHT = 2 * np.cos(np.linspace(0, np.pi, FRAMES))  # stops: the night comes
FOLLOWED = -0.6 * LIGHT  # what the exposure does about it
WHOLE = [range(FRAMES)]


def hunting(seed: int) -> time_lapse.Course:
    """It stays off for some frames, then jumps."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.uniform(-0.7, 0.7, FRAMES // HELD), HELD)


@cache
def frame(stops: float, curve: CameraCurve | None = None) -> Shot:
    shown = shift_exposure(photograph("coffee"), stops, curve)
    return Shot.of((shown * 255).round() / 255)


def lapse(exposures: time_lapse.Course, curve: CameraCurve | None = None) -> list[Shot]:
    """Frames whose own corrections make them all equally bright, with the exposures in EXIF."""
    frames = []
    for light, exposure in zip(LIGHT, exposures, strict=True):
        shot = frame(round(float(light + exposure), 2), curve)
        lift = -brightness(picture_of(shot.look))
        frames.append(replace(shot, stops=float(exposure), lift=lift))
    return frames


def without_exif(frames: list[Shot]) -> list[Shot]:
    return [replace(shot, stops=None) for shot in frames]


def off(found: time_lapse.Course, wanted: time_lapse.Course) -> float:
    """Stops by which a course is off, at most, but for what is the same for all frames."""
    away = found - wanted
    return float(np.abs(away - np.median(away)).max())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("curve", [None, CameraCurve(2.4, 10.0, 1.67)])
def test_known_exposures_are_taken_out_whatever_the_camera(seed: int, curve: CameraCurve | None) -> None:
    steady = np.array([shot.lift for shot in lapse(FOLLOWED, curve)])
    frames = lapse(FOLLOWED + hunting(seed), curve)
    known, unknown = steady_lifts(frames, WHOLE), steady_lifts(without_exif(frames), WHOLE)
    assert off(known, steady) < 0.25
    assert off(known, steady) < off(unknown, steady)


def test_a_fixed_exposure_takes_nothing_out() -> None:
    frames = lapse(np.zeros(FRAMES))
    lifts = np.array([shot.lift for shot in frames])
    assert off(steady_lifts(frames, WHOLE), lifts) < 0.1


def test_exposures_that_the_frames_do_not_show_are_not_believed() -> None:
    frames = lapse(FOLLOWED)
    rng = np.random.default_rng(0)
    wrong = [replace(shot, stops=float(rng.uniform(-2, 2))) for shot in frames]
    assert steady_lifts(wrong, WHOLE) == pytest.approx(steady_lifts(without_exif(frames), WHOLE))
    some = [replace(shot, stops=None) if number == 40 else shot for number, shot in enumerate(frames)]
    assert steady_lifts(some, WHOLE) == pytest.approx(steady_lifts(without_exif(frames), WHOLE))


def test_frames_that_show_nothing_are_passed_over() -> None:
    frames = lapse(FOLLOWED + hunting(1))
    wanted = steady_lifts(frames, WHOLE)
    black = Shot.of(torch.zeros(1, 3, 96, 96))
    frames[50] = replace(black, stops=frames[50].stops, lift=0.0)
    found = steady_lifts(frames, WHOLE)
    assert np.isfinite(found).all()
    assert np.abs(found - wanted).max() < 0.1


def test_all_black_frames_tell_nothing() -> None:
    black = replace(Shot.of(torch.zeros(1, 3, 96, 96)), stops=-3.0, lift=0.0)
    assert steady_lifts([black] * 30, [range(30)]).tolist() == [0.0] * 30


def test_runs_are_smoothed_by_themselves() -> None:
    frames = [replace(frame(0.0), lift=0.0 if number < 20 else 2.0) for number in range(40)]
    assert steady_lifts(frames, [range(20), range(20, 40)]) == pytest.approx([0.0] * 20 + [2.0] * 20)
    assert light_runs(frames) == [range(40)]


@given(st.floats(-3, 3), st.floats(-0.1, 0.1), st.integers(1, 300), st.integers(1, 200))
def test_a_straight_course_is_smoothed_to_itself_but_for_the_ends(
    start: float, step: float, count: int, reach: int
) -> None:
    course = start + step * np.arange(count)
    found = smoothed(course, reach)
    assert found == pytest.approx(course, abs=reach * abs(step) / 7 + 1e-6)
    assert found[reach : count - reach] == pytest.approx(course[reach : count - reach], abs=1e-6)


@pytest.mark.slow
def test_a_time_lapse_of_raw_files(default_corrector: Corrector, tmp_path: Path) -> None:
    """Its exposures are in its EXIF, its flicker goes, and the frames that are nearest to right stay near that."""
    raw_files = pytest.importorskip("raw_files")
    pytest.importorskip("rawpy")
    light = raw_files.light_of((photograph("coffee")[0].permute(1, 2, 0) * 255).round().byte().numpy(), -2)
    exposures = np.random.default_rng(0).integers(-3, 4, 32) / 3  # thirds of a stop
    photos = []
    for number, stops in enumerate(exposures):
        facts = {
            33434: Value(5, 1, struct.pack("<II", round(10_000 * 2**stops), 1_000_000)),
            33437: Value(5, 1, struct.pack("<II", 4, 1)),
            34855: Value(3, 1, struct.pack("<H", 100)),
        }
        path = raw_files.write_dng(tmp_path / f"{number:02d}.dng", light * np.float32(2**stops))
        photos.append(read_photo(raw_files.with_tags(path, {EXIF_DIRECTORY: Value(4, 1, facts)})))
    series, tensors = SeriesCorrector(default_corrector), [photo.to_tensor() for photo in photos]
    looks = [series.look(tensor, photo.metadata, photo.space) for tensor, photo in zip(tensors, photos, strict=True)]
    shots = [look.shot for look in looks]
    assert [shot.stops for shot in shots] == pytest.approx(exposures + np.log2(0.01 * 100 / 16), abs=0.01)
    parts = plan(shots)
    assert all(part.time_lapse for part in parts)

    def flicker(results: list[float]) -> float:
        return sum(abs(one - other) for one, other in pairwise(results))

    alone = [brightness(default_corrector.correct_photo(photo).to_tensor()) for photo in photos]
    together = []
    for look, part, photo, tensor in zip(looks, parts, photos, tensors, strict=True):
        grid, _ = series.correction(look, [looks[k] for k in part.others], part, tensor, photo.space)
        together.append(brightness(grid.slice(tensor)))
    assert flicker(together) < flicker(alone) / 4
    assert abs(np.median(together) - np.median(alone)) < 0.5
