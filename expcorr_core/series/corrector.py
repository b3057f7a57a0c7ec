"""Correct the photos of a shoot as a series: those of one scene get one look, and time-lapses do not flicker.

Three steps, so that thousands of photos need not be in memory: each photo is looked at (:meth:`SeriesCorrector.look`);
from what is known of all of them follows whose corrections count for whom (:func:`plan`); then each photo's correction
is made to agree with those (:meth:`SeriesCorrector.correction`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bilateral.grid import BilateralGrid
from ..corrector import Corrector
from ..image.exposure import gain_exposure
from ..image.resize import resize
from ..photos.icc import ColourSpace
from ..photos.metadata import Metadata
from ..settings import Settings
from .consensus import common_result
from .grouping import NEARLY_SAME, find_groups
from .likeness import Features, marks_of
from .shot import SIDE, Shot, picture_of
from .time_lapse import REACH, TIME, brightness, is_time_lapse, light_runs, steady_lifts

SIDES = (SIDE, SIDE)
NEAREST, SPREAD = 8, 8  # photos that count for a photo of a larger group: the nearest in order, and evenly spread ones
KEYFRAMES = 24  # frames of a time-lapse that count for a frame, at most
RIGHT = 1000.0  # weight of photos that are right as they are


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A photo of a series, small.

    Attributes:
        shot: the photo, in sRGB, and when and how it was taken.
        result: its own correction, in full, of the same size; itself if it is right as it is.
        well_exposed: probability that it is well exposed; None if that was not judged.
    """

    shot: Shot
    result: NDArray[np.uint8]
    well_exposed: float | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """The part of a photo in its series.

    Attributes:
        group: number of the group of photos that show its scene.
        size: photos of that group.
        others: numbers of the photos whose corrections count for it.
        weights: how much each of them counts; the photo's own counts 1.
        time_lapse: whether the group is a time-lapse.
        right: whether the photo stays as it is.
        shift: stops by which what the corrections agree on is brightened, so that a time-lapse keeps its own course.
    """

    group: int
    size: int = 1
    others: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    time_lapse: bool = False
    right: bool = False
    shift: float = 0.0


@dataclass(frozen=True)
class Agreement:
    """How far a photo's result is from what the corrections of its scene agree on: root mean square, 0..255.

    Attributes:
        before: the photo corrected by itself.
        after: corrected as one of the series.
    """

    before: float
    after: float


def plan(shots: Sequence[Shot], right: Collection[int] = ()) -> list[Part]:
    """Find out which photos belong together.

    Args:
        shots: the photos, in the order in which they were taken or of their names.
        right: numbers of photos that are right as they are: the others of their scene get their look.

    Returns:
        The part of each photo.
    """
    parts: dict[int, Part] = {}
    for number, group in enumerate(find_groups(shots)):
        members = list(group.members)
        if all(shots[member].taken is not None for member in members):
            members.sort(key=lambda member: (shots[member].taken or 0.0, member))
        frames = [shots[member] for member in members]
        lapse = is_time_lapse(frames)
        runs = light_runs(frames) if lapse else [range(len(members))]
        anchored = any(member in right for member in members)
        lifts = steady_lifts(frames, runs) if lapse and not anchored else np.zeros(len(members))
        # The frames that are least wrong get their own correction, and the others keep their distance from them.
        shifts = lifts[np.abs(lifts).argmin()] - lifts
        for places in runs:
            run = members[places.start : places.stop]
            fixed = [member for member in run if member in right]
            for place, member in enumerate(run):
                weights = _in_time(run, place) if lapse else _in_scene(run, place)
                weights |= {k: RIGHT * (_fading(run.index(k) - place) if lapse else 1) for k in fixed}
                weights.pop(member, None)
                parts[member] = Part(
                    group=number,
                    size=len(members),
                    others=tuple(weights),
                    weights=tuple(weights.values()),
                    time_lapse=lapse,
                    right=member in right,
                    shift=round(float(shifts[places.start + place]), 3),
                )
    return [parts[number] for number in range(len(shots))]


def _in_scene(members: Sequence[int], place: int) -> dict[int, float]:
    near = sorted(range(len(members)), key=lambda other: abs(other - place))[: NEAREST + 1]
    spread = np.linspace(0, len(members) - 1, min(SPREAD, len(members))).round().astype(int)
    return {members[other]: 1.0 for other in sorted({*near, *spread.tolist()})}


def _in_time(members: Sequence[int], place: int) -> dict[int, float]:
    reach = round(REACH * TIME)
    step = math.ceil(2 * reach / KEYFRAMES)  # the same frames for all, so that what counts changes slowly
    frames = range(0, len(members), step)
    return {members[k]: _fading(k - place) for k in frames if abs(k - place) <= reach}


def _fading(frames: int) -> float:
    return math.exp(-abs(frames) / TIME)


class SeriesCorrector:
    """Corrects photos of any sizes as a series.

    Args:
        corrector: for single photos.
        settings: for each photo.

    Example:
        >>> corrected = list(SeriesCorrector(Corrector.load())([first, second, third]))  # (1, 3, H, W) each
    """

    def __init__(self, corrector: Corrector, settings: Settings | None = None) -> None:
        self.corrector = corrector
        self.settings = settings or Settings()

    def __call__(
        self, photos: Sequence[Tensor], metadata: Sequence[Metadata] | None = None, right: Collection[int] = ()
    ) -> Iterator[Tensor]:
        """Correct photos, each of which is asked for twice.

        Args:
            photos: ``(1, 3, H, W)``, 0..1, sRGB, of any sizes, in the order in which they were taken.
            metadata: of their files: when and how they were exposed.
            right: numbers of photos that are right as they are: the others of their scene get their look.

        Yields:
            The corrected photos, of the same shapes and types.

        Raises:
            ValueError: wrong shape or type, values that are not finite, or metadata of more or fewer photos.
        """
        known: Sequence[Metadata | None] = [None] * len(photos) if metadata is None else metadata
        if len(known) != len(photos):
            raise ValueError(f"metadata of {len(photos)} photos are needed, one for each, got {len(known)}")
        seen = [
            self.look(photo, facts, right=number in right)
            for number, (photo, facts) in enumerate(zip(photos, known, strict=True))
        ]
        for number, (photo, part) in enumerate(zip(photos, plan([s.shot for s in seen], right), strict=True)):
            others = [seen[other] for other in part.others]
            grid, _ = self.correction(seen[number], others, part, photo)
            yield grid.blend(self.settings.strength).to(photo.device).slice(photo)

    @torch.no_grad()
    def look(
        self, photo: Tensor, metadata: Metadata | None = None, space: ColourSpace | None = None, right: bool = False
    ) -> Seen:
        """Look at a photo by itself.

        Args:
            photo: ``(1, 3, H, W)``, 0..1.
            metadata: of its file.
            space: its colour space; None for sRGB.
            right: whether it stays as it is.

        Raises:
            ValueError: wrong shape or type, or values that are not finite.
        """
        small = self.corrector.reduce(photo, self.settings)
        if len(small) != 1:
            raise ValueError(
                f"photo must be one photo (1, 3, H, W), got shape {tuple(photo.shape)}; give several as a list"
            )
        seen = space.to_srgb(small) if space else small
        shot = Shot.of(seen, metadata)
        shot = replace(shot, marks=marks_of([shot])[0])
        if right:
            return Seen(shot=shot, result=shot.look)
        examined = self.corrector.examine(seen, self.settings, size=SIDES)
        result = _eight_bit(examined.corrected)
        return Seen(
            shot=replace(shot, lift=brightness(picture_of(result)) - brightness(picture_of(shot.look))),
            result=result,
            well_exposed=None if examined.well_exposed is None else float(examined.well_exposed),
        )

    @torch.no_grad()
    def correction(
        self, seen: Seen, others: Sequence[Seen], part: Part, photo: Tensor, space: ColourSpace | None = None
    ) -> tuple[BilateralGrid, Agreement | None]:
        """The full correction of a photo of the series.

        Args:
            seen: the photo.
            others: those that ``part`` names.
            part: its part in the series.
            photo: the photo itself, ``(1, 3, H, W)``, 0..1, or a copy of at least the working size.
            space: its colour space; None for sRGB.

        Returns:
            The grid, and how far the results agree; None where no other photo counts.
        """
        if part.right:
            return BilateralGrid.identity(), None
        agreed = self._agreed(seen, others, part)
        if agreed is None:
            return self.corrector.find(self.corrector.reduce(photo, self.settings), self.settings, space)[0], None
        common, share = agreed
        wanted = gain_exposure(common, part.shift) if part.shift else common
        if space:
            source = resize(self.corrector.reduce(photo, self.settings).cpu(), SIDES)
        else:
            source = picture_of(seen.shot.look)  # the same, in 8 bits
        grid = self.corrector.fit(source, space.carry_back(source, wanted) if space else wanted, self.settings)
        shown = space.to_srgb(grid.slice(source)) if space else grid.slice(source)
        return grid, Agreement(_apart(picture_of(seen.result), common, share), _apart(shown, wanted, share))

    @staticmethod
    def _agreed(seen: Seen, others: Sequence[Seen], part: Part) -> tuple[Tensor, Tensor] | None:
        """What :func:`.consensus.common_result` gives; None where no other photo can be laid over this one."""
        if not others:
            return None
        features = Features([seen.shot, *(other.shot for other in others)])
        alike, maps = features.compared(torch.tensor([(0, 1 + number) for number in range(len(others))]))
        chosen = (alike >= NEARLY_SAME).nonzero().flatten()
        if not len(chosen):
            return None
        used = [others[k] for k in chosen.tolist()]
        return common_result(
            torch.cat([picture_of(one.shot.look) for one in (seen, *used)]),
            torch.cat([picture_of(one.result) for one in (seen, *used)]),
            torch.cat((torch.eye(3, dtype=torch.float64)[None], maps[chosen])),
            torch.cat((torch.ones(1), torch.tensor(part.weights)[chosen])),
        )


def _eight_bit(image: Tensor) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = image[0].clamp(0, 1).mul(255).round().byte().cpu().numpy()
    return found


def _apart(result: Tensor, common: Tensor, share: Tensor) -> float:
    squares = (result - common).square().mean(1, keepdim=True)
    return 255 * math.sqrt(float((squares * share).sum() / share.sum().clamp_min(1e-6)))
