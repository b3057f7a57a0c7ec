"""One picture of an exposure bracket that was taken by hand: the exposures are aligned, then fused.

Each exposure is aligned to the one of nearest brightness, since these have the most in common; the maps are chained to
the exposure in the middle, whose view the result has. What moves is not treated: as in any exposure fusion, it is taken
from the exposure that shows its place best, or appears faintly more than once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..image.checks import check_image
from ..image.colour import luma
from ..image.motion import registered, warp
from ..image.resize import reduce_to
from ..method.fusion import fuse_exposures
from .consensus import exposedness
from .grouping import NEARLY_SAME
from .likeness import Features, detail_of, ranks_of
from .shot import Shot

SIZES = (192, 384, 768, 1536)  # larger sides at which exposures are registered, pixels
STEPS = (12, 6, 4, 4)  # of least squares at each of these
ROWS = 256  # of a photo that are moved at a time


def fuse_bracket(images: Iterable[Tensor], reference: int | None = None) -> Tensor:
    """Fuse exposures of one scene that were taken by hand.

    Shifts, rotation and zoom between them are undone; parallax, and the perspective of a wide-angle lens that was
    turned, are not. An exposure that shows too little to be aligned is taken to lie as that of the next brightness.
    What an exposure does not show has no weight.

    Args:
        images: two or more, ``(1, 3, H, W)``, 0..1, of one size, in any order; a sequence, or whatever else can be gone
            through twice.
        reference: number of the one whose view the result has; None for that of :func:`reference_of`.

    Returns:
        ``(1, 3, H, W)``, float32, 0..1.

    Raises:
        TypeError, ValueError: no such images, fewer than two, or sizes that differ.
    """
    small, size = [], set()
    for number, image in enumerate(images):
        check_image(image, f"image {number + 1}")
        small.append(reduce_to(image, SIZES[-1]))
        size.add(tuple(image.shape))
    if len(small) < 2 or len(size) > 1 or small[0].shape[0] > 1:
        raise ValueError(f"a bracket is two or more images (1, 3, H, W) of one shape, got {sorted(size)}")
    centre = reference_of(small) if reference is None else reference
    parts = [_moved(image, view) for image, view in zip(images, views_of(small, centre), strict=True)]
    return fuse_exposures([moved for moved, _ in parts], weights=[shown for _, shown in parts])


def reference_of(images: Sequence[Tensor]) -> int:
    """Number of the exposure whose view a fused picture has.

    Args:
        images: the exposures, which may be reduced, ``(1, 3, h, w)``, 0..1.

    Returns:
        That of the one in the middle by brightness; of two, that of the one with more well-exposed pixels.
    """
    order = _by_brightness(images)
    middle = {order[(len(order) - 1) // 2], order[len(order) // 2]}
    return max(sorted(middle), key=lambda number: float(exposedness(images[number]).mean()))


def _by_brightness(images: Sequence[Tensor]) -> list[int]:
    return sorted(range(len(images)), key=lambda number: float(luma(images[number]).mean()))


def views_of(images: Sequence[Tensor], reference: int) -> list[Tensor]:
    """How exposures lie to one of them.

    Args:
        images: as for :func:`reference_of`.
        reference: number of that one.

    Returns:
        Maps from positions in its view to positions in each, ``(3, 3)``, as in :mod:`~expcorr_core.image.motion`.
    """
    order = _by_brightness(images)
    place = order.index(reference)
    details = [[detail_of(ranks_of(reduce_to(luma(image), side))) for side in SIZES] for image in images]
    shots = [Shot.of(image) for image in images]
    views = {reference: torch.eye(3, dtype=torch.float64)}
    for outward in (order[place:], order[place::-1]):
        for nearer, number in pairwise(outward):
            between = _between([shots[nearer], shots[number]], details[nearer], details[number])
            views[number] = between @ views[nearer]
    return [views[number] for number in range(len(images))]


def _between(shots: Sequence[Shot], here: Sequence[Tensor], there: Sequence[Tensor]) -> Tensor:
    """The map from the view of one exposure to that of another; that of no motion where too little is alike."""
    features, still = Features(shots), torch.eye(3, dtype=torch.float64)[None]
    starts = [features.compared(torch.tensor([(0, 1)])), features.aligned(torch.tensor([0]), torch.tensor([1]), still)]
    alike, found = max(starts, key=lambda start: float(start[0]))
    if alike < NEARLY_SAME:
        return still[0]
    for after, before, steps in zip(here, there, STEPS, strict=True):
        better = found
        for _ in range(steps):  # what moves, and what only one exposure shows, would shear the view
            better = _unsheared(registered(before, after, better, 1), after.shape[3] / after.shape[2])
        if _alike(before, after, better) >= _alike(before, after, found):
            found = better
    return found[0]


def _unsheared(maps: Tensor, aspect: float) -> Tensor:
    """Maps ``(N, 3, 3)`` that only shift, turn and zoom views of this width / height, near those given."""
    along = (maps[:, 0, 0] + maps[:, 1, 1]) / 2
    across = (maps[:, 1, 0] / aspect - maps[:, 0, 1] * aspect) / 2
    result = maps.clone()
    result[:, 0, 0] = result[:, 1, 1] = along
    result[:, 1, 0], result[:, 0, 1] = across * aspect, -across / aspect
    return result


def _alike(before: Tensor, after: Tensor, maps: Tensor) -> float:
    """Correlation where both show something; less than any other for maps that are not finite."""
    if not maps.isfinite().all():
        return -2.0
    moved, inside = warp(before, maps, (after.shape[2], after.shape[3]))
    energy = (moved.square() * inside).sum() * (after.square() * inside).sum()
    return float((moved * after * inside).sum() / (energy.sqrt() + 1e-9))


def _moved(image: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
    """An image moved to another view, and where it shows something there, in strips: positions take much memory."""
    height, width = image.shape[2:]
    result, shown = torch.empty(image.shape), torch.empty(1, 1, height, width)
    for top in range(0, height, ROWS):
        rows = min(ROWS, height - top)
        strip = torch.diag(torch.tensor([1, rows / height, 1], dtype=torch.float64))
        strip[1, 2] = (2 * top + rows) / height - 1
        part, inside = warp(image.float(), (view @ strip)[None], (rows, width), "bicubic")
        result[:, :, top : top + rows], shown[:, :, top : top + rows] = part.clamp_(0, 1), inside
    return result, shown
