"""The energy that a bilateral grid's fit minimises, and what fitting and slicing share (Chen et al. 2016).

The energy is the squared error of the sliced transforms over all pixels, plus squared first differences of the
coefficients along y and x and second differences along luminance. Two solvers find its minimum:
:mod:`~expcorr_core.bilateral.direct` for few pixels, :mod:`~expcorr_core.bilateral.iterative` for many.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import nodes as places

SMOOTHNESS_XY = 1.0  # weight of first differences along x and y (reference program)
SMOOTHNESS_Z = 4e-7  # weight of second differences along luminance (reference program)
# Keeps the normal matrix positive definite for grey images; 1e-7 would already cost accuracy.
RIDGE = 1e-9


def lower_nodes(pixels: int, nodes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Lower node and fraction of each pixel along one axis; see :func:`.nodes.lower_nodes`."""
    lower, fraction = map(torch.from_numpy, places.lower_nodes(pixels, nodes))
    return lower, fraction.to(dtype)


def hat(levels: Tensor, first: int, last: int, dim: int) -> Tensor:
    """Linear interpolation weights of the nodes ``first`` .. ``last``, as a new axis at ``dim``."""
    nodes = torch.arange(first, last + 1, dtype=levels.dtype, device=levels.device)
    levels = levels.unsqueeze(dim)
    shape = [1] * levels.ndim
    shape[dim] = -1
    return (levels - nodes.view(shape)).abs_().neg_().add_(1).clamp_min_(0)


def homogeneous(image: Tensor) -> Tensor:
    """Append the constant 1 to the colours: ``(..., 3, H, W)`` to ``(..., 4, H, W)``."""
    return torch.cat((image, torch.ones_like(image[..., :1, :, :])), -3)


def smoothness(height: int, width: int, size: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """``D^T D`` of the weighted differences along y, x and luminance, each ``(nodes, nodes)`` float64."""
    grid_h, grid_w, depth = size
    bin_y, bin_x, bin_z = height / grid_h, width / grid_w, 1 / depth
    weights = (
        SMOOTHNESS_XY * bin_x * bin_z / bin_y,
        SMOOTHNESS_XY * bin_y * bin_z / bin_x,
        SMOOTHNESS_Z * bin_x * bin_y / bin_z**2,
    )
    grams = []
    for count, weight, order in zip(size, weights, (1, 1, 2), strict=True):
        difference = torch.eye(count, dtype=torch.float64)
        for _ in range(order):
            difference = difference[1:] - difference[:-1]
        # The reference scales the rows of the least squares problem, so the weights are squared in the energy.
        grams.append(weight**2 * difference.mT @ difference)
    return grams[0], grams[1], grams[2]
