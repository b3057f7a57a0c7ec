"""Time-lapses: which photos are one, where their light changes for good, and the course that their exposure keeps.

A camera's automatic exposure follows the light, and hunts. Where EXIF tells the exposure of each frame, the light is
known: what the frames show, without what the exposure added. Exposures that are a straight function of the light are
those without hunting. Where EXIF does not tell, all that varies quickly is taken for hunting.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..image.colour import luma, srgb_to_linear
from ..image.exposure import CameraCurve
from ..image.matching import trust_in
from .grouping import NEARLY_SAME
from .likeness import Features
from .shot import SIDE, Shot, picture_of

FEWEST_FRAMES = 30  # of a time-lapse
REGULAR, FROM_THE_RULE = 0.9, 0.2  # share of the intervals that are regular; by how much these differ from the median
ROUNDED = 1.0  # seconds: EXIF often has no fractions of them
# Share of the view that is alike in frames of one light, at least (hunting by 1 EV leaves 0.8 and more, a lamp that
# lights half of the view by 3 stops 0.25); and how many frames at each side of a change tell that it lasts.
SAME_LIGHT, LASTING = 0.6, 3
TIME = 20.0  # frames that corrections are smoothed over, on each side
REACH = 3.0  # smoothing times that frames count for
# Frames on each side that tell the course where the exposure is not known, or a third of the time-lapse; and how far
# the line through them is kept level, since at the ends hunting gives it a slope.
LONG, SLOPE = 200, 0.03
CELLS = 16  # parts of the view, along each side, that tell the light
SHOWN = (0.05, 0.95)  # display values that tell it
STEADY = 0.3  # stops by which the light has to vary before exposures are said to follow it
DARKEST = 1e-4  # linear light of a median, at least

Course = NDArray[np.float64]  # of each frame, stops


def is_time_lapse(shots: Sequence[Shot]) -> bool:
    """Whether photos are frames of a time-lapse: many, of a fixed framing, at regular intervals.

    Args:
        shots: the photos of a group, in the order of their names or times, which counts for regular where times are
            not known.
    """
    if len(shots) < FEWEST_FRAMES or len({(shot.height, shot.width) for shot in shots}) > 1:
        return False
    times = [shot.taken for shot in shots if shot.taken is not None]
    if len(times) == len(shots):
        shots = sorted(shots, key=lambda shot: shot.taken or 0.0)
        intervals = [b - a for a, b in pairwise(sorted(times))]
        usual = statistics.median(intervals)
        allowed = max(FROM_THE_RULE * usual, ROUNDED)
        if usual < ROUNDED or sum(abs(i - usual) <= allowed for i in intervals) < REGULAR * len(intervals):
            return False  # a burst, or taken whenever there was something to see
    detail = Features(shots).detail.float().flatten(1)
    alike = torch.cosine_similarity(detail[1:], detail[:-1], eps=1.0)
    return bool((alike >= NEARLY_SAME).float().mean() >= REGULAR)


def light_runs(frames: Sequence[Shot]) -> list[range]:
    """Cut a time-lapse where its light changes for good, such as where a lamp is switched on.

    What tells this from an exposure that hunts: the tones of one frame do not become those of the other by one curve.
    """

    def same(one: int, other: int) -> bool:
        before, after = (picture_of(frames[k].look) for k in (one, other))
        return bool(trust_in(before, after, torch.ones(1, 1, SIDE, SIDE)).mean() >= SAME_LIGHT)

    starts = [0]
    for place in range(LASTING, len(frames) - LASTING + 1):
        sides = range(place - LASTING, place), range(place, place + LASTING)
        if same(place - 1, place):
            continue
        steady = all(same(one, other) for side in sides for one, other in pairwise(side))
        if steady and not any(same(one, other) for one, other in product(*sides)):
            starts.append(place)
    return [range(begin, end) for begin, end in pairwise([*starts, len(frames)])]


def brightness(image: Tensor) -> float:
    """Median luminance of display values ``(1, 3, h, w)``, 0..1, in linear light; stops."""
    return float(srgb_to_linear(luma(image).median()).clamp_min(DARKEST).log2())


def steady_lifts(frames: Sequence[Shot], runs: Sequence[range]) -> Course:
    """By how much the frames' own corrections would brighten them if their exposure had not hunted.

    Args:
        frames: of a time-lapse, in order.
        runs: of frames in one light.
    """
    lifts, gained = np.array([frame.lift for frame in frames]), _gained(frames)
    found = np.empty(len(frames))
    if gained is None:
        for run in runs:
            found[run.start : run.stop] = smoothed(lifts[run.start : run.stop], min(LONG, len(run) // 3 + 1))
        return found
    shown = np.array([brightness(picture_of(frame.look)) for frame in frames])
    corrected, steady = _filled(np.where(np.isnan(gained), np.nan, (lifts + shown, shown - gained)))
    for run in runs:
        part, reach = slice(run.start, run.stop), len(run) // 3 + 1
        # What neighbours agree on is a mean over all that count; the light itself changes more quickly.
        found[part] = smoothed(corrected[part], min(round(REACH * TIME), reach))
        found[part] -= smoothed(steady[part], min(round(TIME), reach))
    return found


def smoothed(course: Course, reach: int) -> Course:
    """A course smoothed by a straight line through so many values on each side, so that the ends hardly lag."""
    places, found = np.arange(len(course)), np.empty(len(course))
    for place in range(len(course)):
        near = slice(max(0, place - reach), place + reach + 1)
        away = (places[near] - place) / reach
        weights = np.cos(away * (np.pi / 2)) ** 2
        lines = np.stack((np.ones(len(away)), away))
        matrix = (lines * weights) @ lines.T
        matrix[1, 1] += SLOPE * weights.sum()
        found[place] = np.linalg.solve(matrix, (lines * weights) @ course[near])[0]
    return found


def _gained(frames: Sequence[Shot]) -> Course | None:
    """Stops of display luminance by which hunting brightened each frame, NaN for frames that show nothing.

    None where EXIF does not tell.
    """
    known = [frame.stops for frame in frames if frame.stops is not None]
    if len(known) < len(frames):
        return None
    exposures, curve = np.array(known), CameraCurve()
    cells = torch.cat([F.adaptive_avg_pool2d(luma(picture_of(frame.look)), CELLS).flatten(1) for frame in frames])
    seen = (curve.to_scene(cells).clamp_min(1e-9).log2() / curve.slope).double().numpy()
    seen[((cells < SHOWN[0]) | (cells > SHOWN[1])).numpy()] = np.nan
    light = _light(seen - exposures[:, None])
    if light is None or np.abs(np.diff(light)).mean() > np.abs(np.diff(light + exposures)).mean():
        return None  # light that jumps where the frames do not: EXIF tells something else
    light = smoothed(light, round(TIME))
    away = light - light.mean()
    followed = np.clip(-(away * exposures).mean() / (np.square(away).mean() + STEADY**2), 0, 1)  # a share of the light
    wanted = exposures.mean() - followed * away
    steady = torch.from_numpy(seen + (wanted - exposures)[:, None])
    change = _shown(torch.from_numpy(seen), curve) - _shown(steady, curve)
    return _median(change.numpy(), 1)


def _light(seen: Course) -> Course | None:
    """How the light changes, from what the cells of each frame say, ``(N, cells)``, NaN where they are lost."""
    scene = light = np.zeros(1)
    for _ in range(3):
        scene = np.nan_to_num(_median(seen - light.reshape(-1, 1), 0))
        light = _median(seen - scene, 1)
    return _filled(light[None])[0] if np.isfinite(light).mean() >= REGULAR else None


def _filled(courses: Course) -> Course:
    """Courses ``(K, N)`` with straight lines where they are NaN."""
    places, known = np.arange(courses.shape[-1]), np.isfinite(courses)
    filled = [np.interp(places, places[k], course[k]) for k, course in zip(known, courses, strict=True)]
    return np.array(filled)


def _median(values: Course, axis: int) -> Course:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of rows without any value, which stay NaN
        found: Course = np.nanmedian(values, axis)
    return found


def _shown(stops: Tensor, curve: CameraCurve) -> Tensor:
    """Stops of display luminance, in linear light, of stops of scene light."""
    return srgb_to_linear(curve.to_display((stops * curve.slope).exp2())).clamp_min(DARKEST).log2()
