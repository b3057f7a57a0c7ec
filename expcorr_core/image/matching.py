"""Pictures of one scene under different exposures: their tones matched, and where they show the same."""

from __future__ import annotations

import torch
from torch import Tensor

from .colour import luma

TRUST = 0.3  # difference, in contrasts of the picture, at which another counts for 1/e
NOISE = 0.01  # luminance differences up to this are not contrast


def tone_matched(before: Tensor, after: Tensor, weight: Tensor) -> Tensor:
    """Luminance ``(N, P)`` matched to another, ``(1 or N, P)``, by a cubic curve through black, least squares."""
    powers = torch.stack((before, before**2, before**3), 1).double()
    weighted = powers * weight[:, None]
    matrix = weighted @ powers.mT + 1e-6 * torch.eye(3, dtype=torch.float64)
    curve = torch.linalg.solve(matrix, weighted @ after.double()[..., None].expand(len(before), -1, 1))
    toned: Tensor = (curve.mT @ powers)[:, 0].clamp(0, 1).float()
    return toned


def trust_in(before: Tensor, after: Tensor, shown: Tensor) -> Tensor:
    """How far other frames show the same content as this one, ``(N, 1, h, w)``, 0..1; args as for :func:`matched`."""
    here = luma(after).flatten(1)
    contrast = TRUST * here.std(correction=0) + NOISE
    difference = (tone_matched(luma(before).flatten(1), here, shown.flatten(1)) - here) / contrast
    trust: Tensor = shown * torch.exp(-difference.square()).view_as(shown)
    return trust


def matched(before: Tensor, after: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Match other frames, moved to this one's view, to its tones; and find how far they show the same content.

    Args:
        before: the others, ``(N, 3, h, w)``.
        after: this frame, ``(1, 3, h, w)``.
        shown: 1 where the others show the position, else 0, ``(N, 1, h, w)``.

    Returns:
        The others with this frame's tones, and the trust in each, ``(N, 1, h, w)``, 0..1.
    """
    trust = trust_in(before, after, shown)
    channels = [
        tone_matched(before[:, c].flatten(1), after[:, c].flatten(1), trust.flatten(1)).view_as(shown) for c in range(3)
    ]
    return torch.cat(channels, 1), trust
