"""The least squares fit of a bilateral grid to few pixels: a direct solve with one unknown per pixel.

With ``S`` the pixels' weights in the nodes (times colour and the root of their weight) and ``R`` the smoothness, the
minimum is ``x = R^-1 S^T a`` with ``(S R^-1 S^T + 1) a = b``: a kernel matrix over pixels, whatever the grid's size.
``R`` is a sum of one matrix along each axis, which the products of their eigenvectors diagonalise. Those constant over
y and x have almost no smoothness; they are separate unknowns, so that the system is well-conditioned.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.colour import luminance
from .energy import RIDGE, hat, homogeneous, lower_nodes, smoothness

MOST_PIXELS = 1600  # above this, the other solver is faster


def fit_directly(source: Tensor, target: Tensor, weight: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Fit one pair; arguments and result as in :func:`~expcorr_core.bilateral.iterative.fit_iteratively`."""
    height, width = source.shape[1:]
    pixels, depth = height * width, size[2]
    modes, (share_y, share_x), softness, along_z = _constants(height, width, size)
    share_z = hat(luminance(source).clamp(0, 1).flatten() * (depth - 1), 0, depth - 1, dim=1) @ modes[2]
    root = weight.flatten().sqrt()[:, None]
    colours = homogeneous(source).flatten(1).mT * root
    wanted = target.flatten(1).mT * root

    # Pixels of two rows share the modes along y alike, which leaves a product of small matrices for each pair of rows;
    # of the symmetric whole, the solver reads the lower half.
    inner_shares = (share_x[:, :, None] * share_z.view(height, width, 1, depth)).flatten(2)
    between = ((share_y[:, None] * share_y) @ softness.flatten(1)).view(height, height, -1)
    rows = []
    for row in range(height):
        scaled = inner_shares[row] * between[row, : row + 1, None]
        part = (scaled @ inner_shares[: row + 1].mT).transpose(0, 1)
        rows.append(F.pad(part, (0, 0, 0, height - row - 1)))
    kernel = torch.stack(rows).view(pixels, pixels) * (colours @ colours.mT) + torch.eye(pixels, dtype=torch.float64)

    constant = (share_y[:, None, 0] * share_x[:, 0]).view(-1, 1, 1) * share_z[..., None] * colours[:, None]
    constant = constant.flatten(1)
    solved = _solve(kernel, torch.cat((constant, wanted), 1))
    inner, right_side = torch.split(constant.mT @ solved, [4 * depth, 3], 1)
    inner = inner + along_z.repeat_interleave(4).diag()
    evenly = _solve(inner, right_side)
    unknowns = solved[:, 4 * depth :] - solved[:, : 4 * depth] @ evenly

    parts = (unknowns[:, None, :, None] * colours[:, None, None] * share_z[..., None, None]).view(height, width, -1)
    spectrum = torch.einsum("ya,ybk->abk", share_y, share_x.mT @ parts).view(*size, 3, 4)
    spectrum *= softness[..., None, None]
    spectrum[0, 0] = evenly.view(depth, 4, 3).mT
    for mode in modes:  # each is contracted with the first axis, and becomes the third
        spectrum = torch.tensordot(spectrum, mode, ([0], [1])).movedim(-1, 2)
    return spectrum.contiguous()


class _Constants(NamedTuple):
    """What does not depend on the photo.

    Attributes:
        modes: eigenvectors of the smoothness along y, x and luminance, each ``(nodes, nodes)``.
        shares: of each row and of each column of pixels in the modes, ``(pixels, nodes)``.
        softness: reciprocal of the smoothness of each product of modes, ``size``; 0 of those constant over y and x.
        along_z: smoothness of the modes along luminance.
    """

    modes: tuple[Tensor, Tensor, Tensor]
    shares: tuple[Tensor, Tensor]
    softness: Tensor
    along_z: Tensor


@lru_cache(8)
def _constants(height: int, width: int, size: tuple[int, int, int]) -> _Constants:
    (along_y, modes_y), (along_x, modes_x), (along_z, modes_z) = (
        torch.linalg.eigh(gram) for gram in smoothness(height, width, size)
    )
    for along, modes in ((along_y, modes_y), (along_x, modes_x)):
        along[0] = 0
        modes[:, 0] = len(modes) ** -0.5
    along_z = along_z.clamp_min(0) + RIDGE
    softness = 1 / (along_y[:, None, None] + along_x[:, None] + along_z)
    softness[0, 0] = 0
    shares = _shares(height, size[0]) @ modes_y, _shares(width, size[1]) @ modes_x
    return _Constants((modes_y, modes_x, modes_z), shares, softness, along_z)


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    # Which is exported as one operator, other than torch.linalg.cholesky.
    return torch.cholesky_solve(right, torch.linalg.cholesky_ex(matrix, check_errors=True).L)


def _shares(pixels: int, nodes: int) -> Tensor:
    """Share of each pixel of an axis in each node: ``(pixels, nodes)``."""
    lower, fraction = lower_nodes(pixels, nodes, torch.float64)
    return hat(lower + fraction, 0, nodes - 1, dim=1)
