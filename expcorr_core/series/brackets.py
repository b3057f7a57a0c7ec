"""Exposure brackets among the photos of one scene."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..image.colour import luma
from .grouping import NEARLY_SAME
from .likeness import Features
from .shot import Shot

BRACKET_GAP = 3.0  # seconds between two exposures of a bracket, at most
STEP = 0.3  # stops between any two exposures of a bracket, at least: cameras step by a third
SHOWN_STEP = 0.15  # the same where it is measured: stops of display luminance, of which tone curves leave about half
FEWEST, MOST = 3, 9  # exposures of a bracket; two count if nothing else was taken there
MOVED = 0.06  # of half the view: exposures of a bracket that EXIF does not tell have the same framing
DARKEST, BRIGHTEST = 4.0, 250.0  # display values between which pixels tell the exposure
TELLING = 0.01  # share of the pixels that must lie between


def find_brackets(shots: Sequence[Shot]) -> list[list[int]]:
    """Runs of photos that are one scene exposed several times.

    EXIF tells them where every photo has the time and the exposure (or the compensation): within seconds, by one
    camera, each exposure once. Otherwise they are photos that follow each other with the same framing and measurably
    different brightness.

    Args:
        shots: the photos of a group, in the order of their names or times.

    Returns:
        The positions of each bracket's photos, ascending.
    """
    order = list(range(len(shots)))
    known = _exposures(shots)
    if known is not None and all(shot.taken is not None for shot in shots):
        order.sort(key=lambda k: (shots[k].taken or 0.0, k))
        follows = [_is_soon(shots[a], shots[b]) for a, b in pairwise(order)]
        return sorted(sorted(part) for part in _distinct(order, follows, lambda a, b: abs(known[a] - known[b]) >= STEP))
    looks = [luma(torch.from_numpy(shot.look).float())[0] for shot in shots]
    return _distinct(order, _stay(shots), lambda a, b: not abs(_brighter(looks[a], looks[b])) < SHOWN_STEP)


def _exposures(shots: Sequence[Shot]) -> list[float] | None:
    """In stops, from EXIF; None if it does not tell all."""
    for values in ([shot.stops for shot in shots], [shot.bias for shot in shots]):
        known = [value for value in values if value is not None]
        if len(known) == len(shots):
            return known
    return None


def _is_soon(one: Shot, other: Shot) -> bool:
    """Whether two photos were taken at once, by one camera, as far as is known."""
    apart = 0.0 if one.taken is None or other.taken is None else abs(other.taken - one.taken)
    return apart <= BRACKET_GAP and one.camera == other.camera


def _stay(shots: Sequence[Shot]) -> list[bool]:
    """Whether each photo but the first has the framing of the one before."""
    if len(shots) < 2:
        return []
    still = torch.eye(3, dtype=torch.float64)
    numbers = torch.arange(len(shots))
    alike, maps = Features(shots).aligned(numbers[1:], numbers[:-1], still.repeat(len(shots) - 1, 1, 1))
    stays = (alike >= NEARLY_SAME) & ((maps - still).abs().amax((1, 2)) <= MOVED)
    return [
        stay and (a.height, a.width) == (b.height, b.width) and _is_soon(a, b)
        for (a, b), stay in zip(pairwise(shots), stays.tolist(), strict=True)
    ]


def _brighter(before: Tensor, after: Tensor) -> float:
    """By how many stops of display luminance the second is brighter; NaN if hardly a pixel shows something in both."""
    tells = (torch.minimum(before, after) > DARKEST) & (torch.maximum(before, after) < BRIGHTEST)
    return float((after[tells] / before[tells]).log2().median()) if tells.float().mean() >= TELLING else math.nan


def _distinct(order: list[int], follows: list[bool], differ: Callable[[int, int], bool]) -> list[list[int]]:
    """Cut runs of photos where an exposure comes again; what has enough different ones is a bracket."""
    runs = [order[:1]] if order else []
    for number, follow in zip(order[1:], follows, strict=True):
        if follow:
            runs[-1].append(number)
        else:
            runs.append([number])
    found = []
    for run in runs:
        parts: list[list[int]] = [[]]
        for number in run:
            if not all(differ(number, other) for other in parts[-1]):
                parts.append([])
            parts[-1].append(number)
        found += [part for part in parts if FEWEST <= len(part) <= MOST or len(part) == len(run) == 2]
    return found
