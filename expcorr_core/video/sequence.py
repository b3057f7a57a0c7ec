"""Consistent exposure for a clip: corrections that are stable over time, without blurring across cuts.

The network corrects every k-th frame of a scene, the *keyframes*. For each frame, the keyframes around it and their
corrections are aligned with it by the camera's motion, matched to its exposure (by a tone curve per channel), and
averaged, weighted by a two-sided exponential of the distance in time (the steady state of a Kalman smoother of a random
walk) and by whether they show the same content. The frame's bilateral grid is fitted to this pair of averages. So the
result is stable while the scene moves and the camera's automatic exposure changes, and sensor noise does not affect it.
Grids are fitted where view or exposure have changed; those between are interpolated.

Without lookahead, only past keyframes are used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, tee

import torch
from torch import Tensor

from ..bilateral.grid import BilateralGrid
from ..corrector import PAIR_SIZE, Corrector, limited
from ..image.colour import luma
from ..image.matching import NOISE, matched, tone_matched
from ..image.motion import camera_motion, warp
from ..image.resize import resize
from ..photos.icc import ColourSpace
from ..settings import Settings, Smoothing

__all__ = ["LOOK", "SequenceCorrector", "Smoothing", "compare"]

# Height and width at which keyframes are aligned, pixels: three times those of the pair that a grid is fitted to, so
# that the result is as if reduced in one step (at twice, single photos lose 2 dB). And height and width at which frames
# are compared: at more, details that have moved are taken for new ones.
SIDE, LOOK = 96, 48
FLOOR = 1e-3  # weight of the nearest keyframe where none can be trusted
# Weight of the mean pair relative to the grid's smoothness: with less than the 1 used for photos, the grids of
# consecutive frames are more similar, and the results are also closer to the target.
PAIR_WEIGHT = 1 / 16
DARKEST, BRIGHTEST = 0.02, 0.98  # luminance range in which a pixel indicates exposure
# A new grid is fitted at most this many frames, this share of half the view (a cell of the grid), or this many stops of
# display luminance after the last; and before and after a change of exposure that differs this much from the last.
FRAMES_APART, VIEWS_APART, STOPS_APART, JUMP = 8, 0.09, 0.25, 0.04
STRAY = 0.01  # by which exposures may leave the straight line between two fitted grids, stops of display luminance


@dataclass(frozen=True)
class _Seen:
    """An analysed frame.

    Attributes:
        index: position in its scene, from 0.
        source: reduced, ``(1, 3, SIDE, SIDE)``.
        view: map from its view to that of the scene's first frame.
        exposure: relative to the scene's first frame, stops of display luminance.
        jumped: whether the exposure changed differently from the last time.
        target: for keyframes, the correction of ``source``.
    """

    index: int
    source: Tensor
    view: Tensor
    exposure: float
    jumped: bool
    target: Tensor | None


@dataclass(frozen=True)
class _Fitted:
    """The last frame of a scene that a grid was fitted to."""

    index: int
    view: Tensor
    exposure: float
    grid: BilateralGrid


class SequenceCorrector:
    """Corrects consecutive frames.

    Args:
        corrector: for single frames.
        settings: for each frame.
        smoothing: over time.
        space: colour space of the frames; None for sRGB.
    """

    def __init__(
        self,
        corrector: Corrector,
        settings: Settings | None = None,
        smoothing: Smoothing | None = None,
        space: ColourSpace | None = None,
    ) -> None:
        self.corrector = corrector
        self.settings = settings or Settings()
        self.smoothing = smoothing or Smoothing()
        self.space = space

    @torch.no_grad()
    def __call__(self, frames: Iterable[Tensor], cuts: Collection[int] | None = None) -> Iterator[Tensor]:
        """Correct frames.

        Args:
            frames: in order, ``(3, H, W)`` floating-point, 0..1. A sequence is read twice; of an iterator, as many
                frames are kept in memory as the corrections look ahead.
            cuts: numbers of the frames, from 0, that begin a scene; None detects them.

        Yields:
            The corrected frames, of the same shape and type.

        Raises:
            ValueError: wrong shape or type, or values that are not finite.
        """
        ahead, behind = tee(frames) if iter(frames) is frames else (frames, frames)
        for frame, grid in zip(behind, self.corrections(ahead, cuts), strict=True):
            yield grid.to(frame.device).slice(frame[None])[0]

    @torch.no_grad()
    def corrections(self, frames: Iterable[Tensor], cuts: Collection[int] | None = None) -> Iterator[BilateralGrid]:
        """The correction of each frame, at the strength of the settings, on the CPU.

        The frames may be reduced, but not below the working size: none is kept, and the grids slice any size.

        Args:
            frames, cuts: see :meth:`__call__`.
        """
        scene: _Scene | None = None
        for seen in self._analysed(frames, cuts):
            if seen.index == 0:
                if scene:
                    yield from scene.rest()
                scene = _Scene(self.smoothing, self.settings)
            assert scene is not None
            yield from scene.add(seen)
        if scene:
            yield from scene.rest()

    @torch.no_grad()
    def one_correction(self, frames: Iterable[Tensor]) -> BilateralGrid:
        """One correction for a whole clip: the mean over every k-th frame; arguments as in :meth:`corrections`.

        Raises:
            ValueError: there is no frame, or one that :meth:`__call__` would not take.
        """
        total, count = torch.zeros(()), 0
        for frame in islice(frames, 0, None, self.smoothing.every):
            total = total + self.corrector.estimate(frame[None], self.settings, self.space).coefficients.cpu()
            count += 1
        if not count:
            raise ValueError("the clip has no frames")
        return limited(BilateralGrid(total / count), self.settings).blend(self.settings.strength)

    def _analysed(self, frames: Iterable[Tensor], cuts: Collection[int] | None) -> Iterator[_Seen]:
        still = torch.eye(3, dtype=torch.float64)
        before: Tensor | None = None
        shape: torch.Size | None = None
        view = motion = still
        index, exposure, change = 0, 0.0, 0.0
        for number, frame in enumerate(frames):
            small = self.corrector.reduce(frame[None], self.settings)
            source = resize(small, (SIDE, SIDE)).cpu()
            look = resize(source, (LOOK, LOOK))
            begins, jumped = True, False
            if before is not None and shape == frame.shape and (cuts is None or number not in cuts):
                motion = camera_motion(luma(before)[0, 0], luma(look)[0, 0], motion)
                unexplained, now = compare(before, look, motion)
                begins = cuts is None and unexplained > self.smoothing.threshold
                jumped, change = abs(now - change) > JUMP, now
            if begins:
                view, motion, index, exposure, change = still, still, 0, 0.0, 0.0
            else:
                view, index, exposure = view @ motion, index + 1, exposure + change
            target = None
            if index % self.smoothing.every == 0:
                target = resize(self._corrected(small, index // self.smoothing.every), (SIDE, SIDE)).cpu()
            before, shape = look, frame.shape
            yield _Seen(index, source, view, exposure, jumped, target)

    def _corrected(self, small: Tensor, number: int) -> Tensor:
        """The correction of a keyframe; where it is averaged with others, every second keyframe is mirrored."""
        averaged = self.smoothing.lookahead and self.smoothing.frames >= 2 * self.smoothing.every
        if not self.settings.flip or not averaged:
            return self.corrector.correct_reduced(small, self.settings, self.space)
        settings = replace(self.settings, flip=False)
        if number % 2 == 0:
            return self.corrector.correct_reduced(small, settings, self.space)
        return self.corrector.correct_reduced(small.flip(3), settings, self.space).flip(3)


class _Scene:
    """The frames of a scene that wait for their correction, and the keyframes that count for them."""

    def __init__(self, smoothing: Smoothing, settings: Settings) -> None:
        self.smoothing = smoothing
        self.settings = settings
        self.waiting: deque[_Seen] = deque()
        self.keys: deque[_Seen] = deque()
        self.last: _Fitted | None = None

    def add(self, seen: _Seen) -> Iterator[BilateralGrid]:
        """Add the next frame; yields the grids that it completes."""
        self.waiting.append(seen)
        if seen.target is not None:
            self.keys.append(seen)
        if self.smoothing.lookahead:
            yield from self._finished(seen.index - self.smoothing.reach)
        elif seen.target is not None or self.last is None or self._has_changed(seen, self.last):
            yield from self._fitted(1)
        else:
            self.waiting.popleft()
            yield self.last.grid

    def rest(self) -> Iterator[BilateralGrid]:
        """End the scene: yields the grids of the waiting frames."""
        yield from self._finished(None)

    def _finished(self, newest: int | None) -> Iterator[BilateralGrid]:
        """Grids of the frames up to the last that is to be fitted and not newer than ``newest``; None for all."""
        count = 1
        while count <= len(self.waiting) and (newest is None or self.waiting[count - 1].index <= newest):
            after = self.waiting[count] if count < len(self.waiting) else None
            if after is None or after.jumped or self._is_due(self.waiting[count - 1]) or self._bends(count):
                yield from self._fitted(count)
                count = 0
            count += 1

    def _is_due(self, seen: _Seen) -> bool:
        if self.last is None or (self.smoothing.frames == 0 and seen.target is not None):
            return True
        apart = max(FRAMES_APART, self.smoothing.every)
        return seen.index - self.last.index >= apart or self._has_changed(seen, self.last)

    def _bends(self, count: int) -> bool:
        """Whether grids interpolated up to the frame after ``count`` waiting ones would miss the exposure of these."""
        last, after = self.last, self.waiting[count]
        if last is None:
            return True
        slope = (after.exposure - last.exposure) / (after.index - last.index)
        between = islice(self.waiting, count)
        return any(abs(seen.exposure - last.exposure - slope * (seen.index - last.index)) > STRAY for seen in between)

    @staticmethod
    def _has_changed(seen: _Seen, last: _Fitted) -> bool:
        if seen.jumped or abs(seen.exposure - last.exposure) > STOPS_APART:
            return True
        moved = torch.linalg.solve(last.view, seen.view) - torch.eye(3, dtype=torch.float64)
        return float(moved.abs().sum(1).max()) > VIEWS_APART

    def _fitted(self, count: int) -> Iterator[BilateralGrid]:
        """Fit the ``count``-th waiting frame; yields its grid, after those between the last one and it."""
        end = self.waiting[count - 1]
        grid = self._fit(end)
        start = self.last.index if self.last else -1
        before = self.last.grid if self.last else grid
        for _ in range(count):
            seen = self.waiting.popleft()
            share = (seen.index - start) / (end.index - start)
            yield grid.having(torch.lerp(before.coefficients, grid.coefficients, share))
        self.last = _Fitted(end.index, end.view, end.exposure, grid)
        while len(self.keys) > 1 and self.keys[0].index < end.index - self.smoothing.reach:
            self.keys.popleft()

    def _fit(self, seen: _Seen) -> BilateralGrid:
        near = [key for key in self.keys if abs(key.index - seen.index) <= self.smoothing.reach]
        distance = torch.tensor([abs(key.index - seen.index) for key in near])
        time = self.smoothing.time
        weight = (torch.exp(-distance / time) if time else (distance == 0).float()).view(-1, 1, 1, 1)
        views = torch.stack([torch.linalg.solve(key.view, seen.view) for key in near])
        pairs = torch.cat([torch.cat((key.source, key.target), 1) for key in near if key.target is not None])
        moved, shown = (resize(t, PAIR_SIZE) for t in warp(pairs, views, (SIDE, SIDE)))
        source = resize(seen.source, PAIR_SIZE)
        sources, trust = matched(moved[:, :3], source, (shown > 0.999).float())
        weighted = trust * weight
        total = weighted.sum(0, keepdim=True) + FLOOR
        # What none of them shows comes from the frame itself and the nearest keyframe.
        means = (weighted * torch.cat((sources, moved[:, 3:]), 1)).sum(0, keepdim=True)
        means = (means + FLOOR * torch.cat((source, moved[distance.argmin(), None, 3:]), 1)) / total
        share = total / (weight.sum() + FLOOR) * (PAIR_WEIGHT if time else 1)
        grid = BilateralGrid.fit(means[:, :3], means[:, 3:], share)
        return limited(grid, self.settings).blend(self.settings.strength)


def compare(before: Tensor, after: Tensor, motion: Tensor) -> tuple[float, float]:
    """Compare a frame with the previous one, ``(1, 3, h, w)``.

    Returns:
        The share of the frame's contrast that the previous one does not explain, 0 for the same scene under another
        exposure and about 1 for another scene; and by how many stops of display luminance it is brighter.
    """
    moved, inside = warp(before, motion[None], (after.shape[2], after.shape[3]))
    seen, here, shown = luma(moved).flatten(1), luma(after).flatten(1), inside.flatten(1).bool()
    rest = (tone_matched(seen, here, inside.flatten(1)) - here)[shown].abs().mean()
    contrast = (here - here.mean())[shown].abs().mean() + NOISE
    tells = shown & (seen > DARKEST) & (seen < BRIGHTEST) & (here > DARKEST) & (here < BRIGHTEST)
    change = (here / seen)[tells].log2().median() if tells.any() else torch.tensor(0.0)
    return float(rest / contrast), float(change)
