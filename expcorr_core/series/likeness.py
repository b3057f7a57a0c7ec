"""Whether two photos show one scene, whatever their exposure and framing.

Everything is computed from ranks of luma, which another exposure leaves as they are wherever nothing is clipped.
Photos that may show one scene are found by the directions of their gradients, averaged over coarse cells of the whole
photo and of parts of it. They are registered: by correlation of gradient directions at several scales, then by least
squares. Whether they do show one scene is told by the correlation of fine detail, which is small for photos of the
same kind (two seascapes, two portraits).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.colour import luma
from ..image.motion import registered, warp
from .shot import SIDE, Marks, Shot

CHUNK = 32  # photos or pairs at once: what they need stays in the processor's cache
GRADIENT_BLUR, WEAK_GRADIENT = 2.5, 0.02  # pixels; ranks per two pixels below which a direction is mostly noise
FINE, COARSE, FAINT = 1.0, 4.0, 0.03  # detail: between these blurs, pixels; ranks below which it is mostly noise
CELLS = 6  # per side of a descriptor
# Parts of a side that descriptors are of; with all pairs of them, a photo finds others that show four fifths of it.
PARTS = ((0.0, 1.0), (0.0, 0.8), (0.1, 0.9), (0.2, 1.0))
FIELD = 16  # height and width at which photos are correlated, pixels
SCALES = tuple(float(s) for s in torch.exp(torch.arange(-2, 3) * 0.13))  # of one photo to the other: 0.77 to 1.30
MOST_ASPECT = 4.0  # more between the aspect ratios of two photos is not followed
LEAST_OVERLAP = 0.4  # of the area of the smaller one
EMPTY = 0.03  # mean square that correlations are damped by: nothing is like nothing
LIKELY = 0.4  # correlation of gradient directions below which two photos are not compared further
STEPS = 6  # of least squares, at half size


class Features:
    """What photos are compared by.

    Attributes:
        descriptors: of the whole photo, first, and its parts, unit vectors, ``(N, 16, 72)``.
        fields: gradient directions, ``(N, 2, FIELD, FIELD)``.
        detail: fine detail, locally of unit variance, float16, ``(N, 1, SIDE, SIDE)``.
        aspects: width / height, ``(N,)``.
    """

    def __init__(self, shots: Sequence[Shot]) -> None:
        sizes = torch.tensor([(shot.height, shot.width) for shot in shots], dtype=torch.float32).view(-1, 2)
        self.aspects = sizes[:, 1] / sizes[:, 0]
        marks = [shot.marks for shot in shots]
        new = [number for number, known in enumerate(marks) if known is None]
        for part in (new[k : k + CHUNK] for k in range(0, len(new), CHUNK)):
            for number, found in zip(part, marks_of([shots[number] for number in part]), strict=True):
                marks[number] = found
        columns = zip(*(found for found in marks if found), strict=True)
        self.descriptors, self.fields, self.detail = (torch.from_numpy(np.stack(column)) for column in columns)
        self.descriptors, self.fields = self.descriptors.float(), self.fields.float()

    def compared(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Register the photos of each pair ``(P, 2)``, and compare them.

        Returns:
            How alike they are where both show something: about 0 to 1, ``(P,)``; and maps from the view of the first to
            that of the second, ``(P, 3, 3)``, which mean nothing where they are not alike.
        """
        parts = (pairs[k : k + CHUNK] for k in range(0, len(pairs), CHUNK))
        found = [self._compared(*part.unbind(1)) for part in parts]
        return (
            torch.cat([torch.zeros(0), *(alike for alike, _ in found)]),
            torch.cat([torch.zeros(0, 3, 3, dtype=torch.float64), *(maps for _, maps in found)]),
        )

    def _compared(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        ratio = (self.aspects[one] / self.aspects[other]).clamp(1 / MOST_ASPECT, MOST_ASPECT)
        found, maps = _placed(self.fields[one], self.fields[other], ratio)
        likely = found >= LIKELY
        result, maps = torch.zeros(len(one)), maps.double()
        if likely.any():
            result[likely], maps[likely] = self.aligned(one[likely], other[likely], maps[likely])
        return result, maps

    def aligned(self, one: Tensor, other: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Register pairs, and compare their detail.

        Args:
            one, other: numbers of the photos, ``(P,)``.
            maps: where registration begins, from the view of the first to that of the second, ``(P, 3, 3)``.

        Returns:
            The correlation of detail, ``(P,)``; and the maps found, ``(P, 3, 3)``.
        """
        a, b = self.detail[one].float(), self.detail[other].float()
        maps = registered(F.avg_pool2d(b, 2), F.avg_pool2d(a, 2), maps.double(), STEPS)
        moved, inside = warp(b, maps, (SIDE, SIDE))
        common = (a * moved * inside).sum((1, 2, 3))
        energy = (a.square() * inside).sum((1, 2, 3)) * (moved.square() * inside).sum((1, 2, 3))
        shared = inside.mean((1, 2, 3)) / (1 / maps[:, :2, :2].det().abs().float()).clamp(max=1)
        alike = common / (energy.sqrt() + EMPTY * SIDE**2)
        return torch.where(shared >= LEAST_OVERLAP, alike, 0.0).nan_to_num(0.0), maps


def marks_of(shots: Sequence[Shot]) -> list[Marks]:
    """What some photos are compared by."""
    looks = torch.stack([torch.from_numpy(shot.look) for shot in shots])
    aspects = torch.tensor([shot.width / shot.height for shot in shots])
    ranks = _ranks(luma(looks.float())[:, 0])[:, None]
    smooth = _blurred(ranks, GRADIENT_BLUR)
    stretch = aspects.view(-1, 1, 1, 1).clamp(1 / MOST_ASPECT, MOST_ASPECT).sqrt()
    along_x = F.pad(smooth[..., 2:] - smooth[..., :-2], (1, 1)) / stretch
    along_y = F.pad(smooth[..., 2:, :] - smooth[..., :-2, :], (0, 0, 1, 1)) * stretch
    gradients = torch.cat((along_x, along_y), 1)
    directions = gradients / (gradients.norm(dim=1, keepdim=True) + WEAK_GRADIENT)
    cells = torch.stack([_cells(*part) for part in PARTS])
    means = torch.einsum("vip,ncpq,wjq->nvwcij", cells, directions, cells).flatten(3).flatten(1, 2)
    descriptors = F.normalize(means, dim=2, eps=1e-3)
    fine = _blurred(ranks, FINE)
    fine = fine - _blurred(fine, COARSE)
    detail = fine / (_blurred(fine.square(), 1.5 * COARSE).sqrt() + FAINT)
    found = (descriptors, F.avg_pool2d(directions, SIDE // FIELD), detail)
    return [Marks(*arrays) for arrays in zip(*(part.half().numpy() for part in found), strict=True)]


def _ranks(values: Tensor) -> Tensor:
    """Mean ranks of the pixels of each image ``(N, h, w)``, 0..1: its histogram equalised."""
    flat = values.flatten(1).contiguous()
    ordered = flat.sort(1)[0]
    below, upto = (torch.searchsorted(ordered, flat, right=right) for right in (False, True))
    return ((below + upto) / (2 * flat.shape[1])).view_as(values)


def _blurred(images: Tensor, deviation: float) -> Tensor:
    reach = round(3 * deviation)
    kernel = torch.exp(-torch.arange(-reach, reach + 1).square() / (2 * deviation**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))


@cache
def _cells(begin: float, end: float) -> Tensor:
    """Weights that average a part of a side in equal cells, ``(CELLS, SIDE)``."""
    edges = torch.linspace(begin * SIDE, end * SIDE, CELLS + 1)[:, None]
    covered = (edges - torch.arange(SIDE)).clamp(0, 1).diff(dim=0)
    return covered / covered.sum(1, keepdim=True)


def _placed(one: Tensor, other: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """The scale and shift at which gradient directions correlate best, by the correlation theorem.

    Args:
        one, other: fields, ``(P, 2, FIELD, FIELD)``.
        ratio: of the aspect ratio of the first to that of the second, ``(P,)``.

    Returns:
        The correlation, ``(P,)``; and maps from the view of the first to that of the second, ``(P, 3, 3)``.
    """
    wide = 2 * FIELD
    size = (wide, wide)
    centred = F.pad(one, (FIELD // 2,) * 4)
    frame = torch.fft.rfft2(F.pad(torch.ones(1, FIELD, FIELD), (FIELD // 2,) * 4))
    first = torch.fft.rfft2(centred)
    first_energy = torch.fft.rfft2(centred.square().sum(1))
    best, maps = torch.full((len(one),), -1.0), torch.eye(3).repeat(len(one), 1, 1)
    for scale in SCALES:
        scales = torch.stack((scale * ratio.sqrt(), scale / ratio.sqrt()), 1)
        moved, inside = warp(other, torch.diag_embed(F.pad(scales * 2, (0, 1), value=1.0)), size)
        moved, inside = moved * inside, inside[:, 0]
        second = torch.fft.rfft2(moved).conj()
        common = torch.fft.irfft2((first * second).sum(1), s=size)
        energies = (
            torch.fft.irfft2(first_energy * torch.fft.rfft2(inside).conj(), s=size).clamp_min(0),
            torch.fft.irfft2(frame * torch.fft.rfft2(moved.square().sum(1)).conj(), s=size).clamp_min(0),
        )
        overlap = torch.fft.irfft2(frame * torch.fft.rfft2(inside).conj(), s=size)
        alike = common / ((energies[0] * energies[1]).sqrt() + EMPTY * FIELD**2)
        enough = LEAST_OVERLAP * inside.sum((1, 2)).clamp(max=FIELD**2)
        found, place = alike.where(overlap >= enough.view(-1, 1, 1), -1.0).flatten(1).max(1)
        shift = torch.stack((place % wide, place // wide), 1)
        shift = (shift + FIELD) % wide - FIELD
        better = found > best
        best = torch.where(better, found, best)
        here = torch.diag_embed(F.pad(scales, (0, 1), value=1.0))
        here[:, :2, 2] = -scales * shift * 2 / FIELD
        maps = torch.where(better.view(-1, 1, 1), here, maps)
    return best, maps
