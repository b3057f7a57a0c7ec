"""One look for photos of one scene: what their corrections agree on, seen from each of them.

The other photos and their corrections are moved to a photo's view, and averaged with its own, each pixel by how well it
is exposed there and by whether it shows the same (the tones matched, so that another exposure does not count as a
difference). What no other photo shows gets the photo's own correction, brought along by the change of tone that the
rest of it makes. A photo's grid is fitted to its own pixels and this common result, so no detail is carried over.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..image.colour import luma
from ..image.matching import trust_in
from ..image.motion import warp
from .shot import SIDE

FLOOR = 0.02  # weight of pixels that are nearly black or white, relative to those that are well exposed
DARK = 0.15  # luminance below which pixels count less and less
RIDGE = 1e-3  # keeps a change of tone that nothing shows at none; share of the picture's pixels


def exposedness(image: Tensor) -> Tensor:
    """How far pixels can be trusted: not where they are nearly black, or a channel is nearly white.

    Args:
        image: ``(N, 3, h, w)``, 0..1.

    Returns:
        ``(N, 1, h, w)``, ``FLOOR``..1.
    """
    between = 1 - (2 * image.amax(1, keepdim=True) - 1) ** 4
    return (between * (luma(image) / DARK).clamp(0, 1)).clamp_min(FLOOR)


def common_result(sources: Tensor, results: Tensor, maps: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """What the corrections of photos of one scene agree on.

    Args:
        sources: the photos, ``(N, 3, SIDE, SIDE)``, 0..1; the first is the one whose view counts.
        results: their corrections, of the same shape.
        maps: from positions in the first's view to positions in theirs, ``(N, 3, 3)``, as in
            :mod:`~expcorr_core.image.motion`.
        weights: how much each photo counts, ``(N,)``, above 0.

    Returns:
        The common result ``(1, 3, SIDE, SIDE)``, and the share of it that comes from other photos,
        ``(1, 1, SIDE, SIDE)``.
    """
    moved, shown = warp(torch.cat((sources, results, exposedness(sources)), 1), maps, (SIDE, SIDE))
    trust = trust_in(moved[:, :3], sources[:1], (shown > 0.999).float())
    trust[0] = 1
    weight = trust * moved[:, 6:] * weights.view(-1, 1, 1, 1)
    share = weight / weight.sum(0, keepdim=True)
    own, others = results[:1], 1 - share[:1]
    common = (share * moved[:, 3:6]).sum(0, keepdim=True)
    return common + share[:1] * (toned_alike(own, common, others) - own), others


def toned_alike(image: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """An image with the tones of another: one smooth change of each channel, by least squares, none where none shows.

    Args:
        image, other: ``(1, 3, h, w)``, 0..1.
        weight: of each pixel, ``(1, 1, h, w)``.
    """
    values, change, shares = image[0].flatten(1), (other - image)[0].flatten(1), weight[0].flatten(1)
    bent = values * (1 - values)
    basis = torch.stack((values, bent, bent * (1 - 2 * values)), 1).double()
    weighted = basis * shares[:, None]
    matrix = weighted @ basis.mT + RIDGE * values.shape[1] * torch.eye(3, dtype=torch.float64)
    factors = torch.linalg.solve(matrix, weighted @ change.double()[..., None])
    toned: Tensor = (values + (factors.mT @ basis)[:, 0].float()).view_as(image).clamp(0, 1)
    return toned
