"""A correction as one tone curve for each channel: the best fit, increasing, smooth where the photo has no values."""

from __future__ import annotations

import torch
from torch import Tensor

from ..bilateral.energy import hat

POINTS, FINER = 9, 4  # points of a curve to go on with by hand; it is fitted with so many steps between two
SMOOTHNESS = 1e-6  # weight of squared second differences, relative to the mean squared error


def fit_curves(before: Tensor, after: Tensor, knots: int) -> Tensor:
    """Tone curves by least squares; beyond the values that the photo has they go on straight.

    Args:
        before, after: values of pixels before and after, ``(P, C)``, 0..1.
        knots: number of points of a curve, at even distances over 0..1; straight lines between them.

    Returns:
        ``(C, knots)`` float64, 0..1, not decreasing.
    """
    second = torch.eye(knots, dtype=torch.float64).diff(dim=0).diff(dim=0)
    smooth = SMOOTHNESS * (knots / 16) ** 3 * len(before) * second.mT @ second + 1e-9 * torch.eye(knots)
    curves = []
    for values, wanted in zip(before.double().T, after.double().T, strict=True):
        shares = hat(values.clamp(0, 1) * (knots - 1), 0, knots - 1, dim=1)
        # Only the difference from the identity is fitted: a photo without any values of a channel leaves that.
        line = torch.linspace(0, 1, knots, dtype=torch.float64)
        change = torch.linalg.solve(shares.mT @ shares + smooth, shares.mT @ (wanted - values))
        curves.append(line + change)
    return ascending(torch.stack(curves), 1).clamp(0, 1)


def tone_points(before: Tensor, after: Tensor) -> list[tuple[float, float]]:
    """The one tone curve for all channels that comes closest to a change: few points, to be joined by a smooth curve.

    Args:
        before, after: values of pixels before and after, ``(P, 3)``, 0..1.

    Returns:
        Values before and after, 0..1, at even distances; not decreasing.
    """
    [curve] = fit_curves(before.reshape(-1, 1), after.reshape(-1, 1), FINER * (POINTS - 1) + 1)
    return [(place / (POINTS - 1), value) for place, value in enumerate(curve[::FINER].tolist())]


def apply_curves(curves: Tensor, values: Tensor) -> Tensor:
    """Values ``(P, 3)``, 0..1, changed by curves ``(3, knots)``."""
    place = values.T.clamp(0, 1).to(curves.dtype) * (curves.shape[1] - 1)
    below = place.floor().clamp(max=curves.shape[1] - 2)
    first, second = (curves.gather(1, below.long() + k) for k in (0, 1))
    return torch.lerp(first, second, place - below).T


def ascending(values: Tensor, dim: int) -> Tensor:
    """The mean of the lowest values above and the highest below that do not decrease along a dimension."""
    highest = values.cummax(dim).values
    lowest = values.flip(dim).cummin(dim).values.flip(dim)
    return (highest + lowest) / 2
