"""A correction as one tone curve for each channel: the best fit, increasing, smooth where the photo has no values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

POINTS, FINER = 9, 4  # points of a curve to go on with by hand; it is fitted with so many steps between two
SMOOTHNESS = 1e-6  # weight of squared second differences, relative to the mean squared error


def fit_curves(before: NDArray[Any], after: NDArray[Any], knots: int) -> NDArray[np.float64]:
    """Tone curves by least squares; beyond the values that the photo has they go on straight.

    Args:
        before, after: values of pixels before and after, ``(P, C)``, 0..1.
        knots: number of points of a curve, at even distances over 0..1; straight lines between them.

    Returns:
        ``(C, knots)`` float64, 0..1, not decreasing.
    """
    second = np.diff(np.eye(knots), 2, axis=0)
    smooth = SMOOTHNESS * (knots / 16) ** 3 * len(before) * second.T @ second + 1e-9 * np.eye(knots)
    curves = []
    for values, wanted in zip(before.astype(float).T, after.astype(float).T, strict=True):
        shares = (1 - np.abs(values.clip(0, 1)[:, None] * (knots - 1) - np.arange(knots))).clip(0, None)
        # Only the difference from the identity is fitted: a photo without any values of a channel leaves that.
        change = np.linalg.solve(shares.T @ shares + smooth, shares.T @ (wanted - values))
        curves.append(np.linspace(0, 1, knots) + change)
    return ascending(np.stack(curves), 1).clip(0, 1)


def tone_points(before: NDArray[Any], after: NDArray[Any]) -> list[tuple[float, float]]:
    """The one tone curve for all channels that comes closest to a change: few points, to be joined by a smooth curve.

    Args:
        before, after: values of pixels before and after, ``(P, 3)``, 0..1.

    Returns:
        Values before and after, 0..1, at even distances; not decreasing.
    """
    [curve] = fit_curves(before.reshape(-1, 1), after.reshape(-1, 1), FINER * (POINTS - 1) + 1)
    return [(place / (POINTS - 1), value) for place, value in enumerate(curve[::FINER].tolist())]


def apply_curves(curves: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Values ``(P, 3)``, 0..1, changed by curves ``(3, knots)``."""
    place = values.T.clip(0, 1).astype(curves.dtype) * (curves.shape[1] - 1)
    below = np.floor(place).clip(None, curves.shape[1] - 2)
    first, second = (np.take_along_axis(curves, below.astype(int) + k, 1) for k in (0, 1))
    changed: NDArray[Any] = first + (place - below) * (second - first)
    return changed.T


def ascending(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """The mean of the lowest values above and the highest below that do not decrease along an axis."""
    highest = np.maximum.accumulate(values, axis)
    lowest = np.flip(np.minimum.accumulate(np.flip(values, axis), axis), axis)
    mean: NDArray[Any] = (highest + lowest) / 2
    return mean
