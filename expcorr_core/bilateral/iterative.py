"""The least squares fit of a bilateral grid to many pixels: conjugate gradients on the normal equations of its nodes.

The unknowns are 4 affine coefficients at each grid node, for each of the three output colours, which share one
symmetric positive definite normal matrix. A pixel touches the 2 x 2 x 2 nodes around it, so the matrix is a sum of
one 32 x 32 matrix per cell, and it is applied cell by cell. The preconditioner is additive: the block of each column
of nodes along luminance, plus a coarser grid along y and x whose nodes are nodes of the fine one (nested). All in
float64: a float32 preconditioner keeps the iteration from converging.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..image.colour import luminance
from .energy import RIDGE, hat, homogeneous, lower_nodes, smoothness

# Iteration ends where the preconditioned residual has fallen to this share: 120 dB in the sliced image.
TOLERANCE = 1e-6
# The same where some pixels have almost no weight: what they leave open converges last (100 dB if half of them do).
FINE_TOLERANCE, NEGLIGIBLE = 1e-7, 0.01
MOST_ITERATIONS = 1000
FIT_BYTES = 3 * 2**30  # largest problem that is attempted
COARSE_NODES = 4  # most nodes of the coarse grid along an axis
LOCAL = 2 * 2 * 2 * 4  # unknowns that a pixel touches


def fit_bytes(size: tuple[int, int, int]) -> int:
    """Approximate peak memory of a fit: two copies of the cells' matrices, the blocks and the coarse grid."""
    grid_h, grid_w, depth = size
    coarse = _coarse_nodes(grid_h) * _coarse_nodes(grid_w) * 4 * depth
    columns = grid_h * grid_w * (4 * depth) ** 2
    return 8 * (2 * grid_h * grid_w * depth * LOCAL**2 + 3 * columns + 2 * coarse**2)


def fit_iteratively(source: Tensor, target: Tensor, weight: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Fit one pair.

    Args:
        source, target: ``(3, h, w)``, float64 on the CPU.
        weight: of each pixel, ``(1, h, w)``, float64.
        size: grid nodes along y, x and luminance, at least 2 each.

    Returns:
        Coefficients ``(GH, GW, GD, 3, 4)``, float64.
    """
    system = _normal_equations(source, target, weight, size)
    even = bool(weight.min() > NEGLIGIBLE * weight.max())
    solution = _conjugate_gradients(system, _Preconditioner(system), TOLERANCE if even else FINE_TOLERANCE)
    return solution.view(*size[:2], 3, size[2], 4).transpose(2, 3).contiguous()


class _NormalEquations(NamedTuple):
    """``A x = b``; vectors are ``(GH, GW, 3, 4 GD)``: column of nodes, output colour, coefficients at its nodes.

    Attributes:
        cells: what the pixels of each non-empty cell contribute to its 2 x 2 x 2 nodes, ``(n, 32, 32)``.
        where: y, x and luminance indices of these cells, ``(3, n)``.
        places: of their nodes in a vector seen as rows of 4, ``(n * 3 * 8,)``.
        along_y, along_x: ``D^T D`` of the weighted differences along y and x.
        within: the same along luminance, and the ridge; ``(4 GD, 4 GD)``.
        right_side: ``b``.
    """

    cells: Tensor
    where: Tensor
    places: Tensor
    along_y: Tensor
    along_x: Tensor
    within: Tensor
    right_side: Tensor

    def __matmul__(self, x: Tensor) -> Tensor:
        height, _, colours, unknowns = x.shape
        local = x.view(-1, 4).index_select(0, self.places).view(-1, colours, LOCAL) @ self.cells
        result = (x.view(height, -1, unknowns) @ self.within.expand(height, -1, -1)).flatten(1)
        result.addmm_(self.along_y, x.flatten(1))
        columns = x.flatten(2)
        result.view_as(columns).baddbmm_(self.along_x.expand(height, -1, -1), columns)
        return result.view(-1, 4).index_add_(0, self.places, local.view(-1, 4)).view_as(x)


def _normal_equations(source: Tensor, target: Tensor, weight: Tensor, size: tuple[int, int, int]) -> _NormalEquations:
    height, width = source.shape[1:]
    grid_h, grid_w, depth = size
    counts = grid_h - 1, grid_w - 1, depth - 1
    y_node, y_fraction = lower_nodes(height, grid_h, torch.float64)
    x_node, x_fraction = lower_nodes(width, grid_w, torch.float64)
    level = luminance(source).clamp(0, 1) * (depth - 1)
    z_node = level.long().clamp_max(depth - 2)
    cell, order = ((y_node[:, None] * counts[1] + x_node) * counts[2] + z_node).flatten().sort()
    found, held = torch.unique_consecutive(cell, return_counts=True)

    # Each pixel's share in its nodes, times its colour: (h * w, 32); beside it the colour that is wanted.
    pairs = (torch.stack((1 - t, t), -1) for t in (y_fraction, x_fraction, level - z_node))
    share = torch.einsum("yi,xj,yxk->yxijk", *pairs).view(-1, 8, 1)
    colours = (torch.cat((homogeneous(source), target)) * weight.sqrt()).flatten(1).mT.contiguous()
    rows = torch.cat(((share * colours[:, None, :4]).flatten(1), colours[:, 4:]), 1)

    # Cells of about as many pixels at a time, filled up by zeros, so that each is one matrix product.
    cells = torch.empty(len(found), LOCAL, LOCAL, dtype=torch.float64)
    wanted = torch.empty(len(found), 3, LOCAL, dtype=torch.float64)
    first = held.cumsum(0) - held
    classes = held.log2().ceil().clamp_min(3)
    for kind in classes.unique():
        mine = (classes == kind).nonzero().flatten()
        place = torch.arange(int(2**kind))
        values = rows[order[(first[mine, None] + place).clamp_max(len(rows) - 1)]]
        values *= (place < held[mine, None])[..., None]
        features = values[..., :LOCAL]
        cells[mine] = features.mT @ features
        wanted[mine] = values[..., LOCAL:].mT @ features

    along_y, along_x, along_z = smoothness(height, width, size)
    unit = torch.eye(4, dtype=torch.float64)
    within = torch.kron(along_z, unit) + RIDGE * torch.eye(4 * depth, dtype=torch.float64)
    node = torch.arange(grid_h * grid_w * 3 * depth).view(grid_h, grid_w, 3, depth)
    corners = node.unfold(0, 2, 1).unfold(1, 2, 1).unfold(3, 2, 1).permute(0, 1, 3, 2, 4, 5, 6)
    places = corners.reshape(-1, 3 * 8)[found].flatten()
    right_side = torch.zeros(grid_h, grid_w, 3, 4 * depth, dtype=torch.float64)
    right_side.view(-1, 4).index_add_(0, places, wanted.view(-1, 4))
    where = torch.stack(torch.unravel_index(found, counts))
    return _NormalEquations(cells, where, places, along_y, along_x, within, right_side)


class _Preconditioner:
    """Additive two-level preconditioner; see the module's description."""

    def __init__(self, system: _NormalEquations) -> None:
        unit = torch.eye(len(system.within), dtype=torch.float64)
        stiffness = system.along_y.diagonal()[:, None] + system.along_x.diagonal()
        columns = _column_blocks(system) + stiffness[..., None, None] * unit + system.within
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(columns)).flatten(0, 1)  # (GH GW, 4 GD, 4 GD)

        prolong_y, prolong_x = (_prolongation(nodes) for nodes in columns.shape[:2])
        self.prolong = torch.kron(prolong_y, prolong_x)  # (GH GW, coarse columns)
        (mass_y, stiff_y), (mass_x, stiff_x) = (
            (p.mT @ p, p.mT @ gram @ p) for p, gram in ((prolong_y, system.along_y), (prolong_x, system.along_x))
        )
        coarse = _dense(_coarsened(system, len(mass_y) - 1, len(mass_x) - 1))
        coarse += torch.kron(torch.kron(stiff_y, mass_x) + torch.kron(mass_y, stiff_x), unit)
        coarse += torch.kron(torch.kron(mass_y, mass_x), system.within)
        self.coarse_inverse = torch.cholesky_solve(torch.eye(len(coarse)).double(), torch.linalg.cholesky(coarse))

    def __call__(self, residual: Tensor) -> Tensor:
        columns = residual.flatten(0, 1)
        result = (columns @ self.inverse).flatten(1)
        coarse = (self.prolong.mT @ columns.flatten(1)).view(-1, *columns.shape[1:]).transpose(0, 1)
        coarse = (coarse.flatten(1) @ self.coarse_inverse).view(coarse.shape).transpose(0, 1)
        return result.addmm_(self.prolong, coarse.flatten(1)).view_as(residual)


def _coarse_nodes(nodes: int) -> int:
    """Most coarse nodes, up to COARSE_NODES, that nest in ``nodes``."""
    return max(m for m in range(2, COARSE_NODES + 1) if m == 2 or (nodes - 1) % (m - 1) == 0)


def _prolongation(nodes: int) -> Tensor:
    """Linear interpolation from the coarse nodes of an axis to all, ``(nodes, coarse)``."""
    coarse = _coarse_nodes(nodes)
    return hat(torch.linspace(0, coarse - 1, nodes, dtype=torch.float64), 0, coarse - 1, dim=1)


def _coarsened(system: _NormalEquations, coarse_y: int, coarse_x: int) -> Tensor:
    """The cells of the coarse grid, all of them: ``(coarse_y, coarse_x, CZ, 32, 32)``."""
    height, width, _, unknowns = system.right_side.shape
    counts = coarse_y, coarse_x, unknowns // 4 - 1
    y, x, z = system.where
    shares, cell = [], z
    for place, nodes, coarse, rest in ((y, height, coarse_y, coarse_x * counts[2]), (x, width, coarse_x, counts[2])):
        step = (nodes - 1) // coarse
        position = (place[:, None] % step + torch.arange(2)).double() / step
        shares.append(torch.stack((1 - position, position), 1))  # (n, coarse corner, fine corner)
        cell = cell + torch.div(place, step, rounding_mode="floor") * rest
    share = (shares[0][:, :, None, :, None] * shares[1][:, None, :, None]).view(-1, 4, 4)
    rows = share @ system.cells.view(-1, 4, LOCAL * LOCAL // 4)
    both = share @ rows.view(-1, LOCAL, LOCAL).mT.reshape(rows.shape)  # symmetric: the order of the two is the same
    result = torch.zeros(math.prod(counts), LOCAL, LOCAL, dtype=torch.float64)
    return result.index_add_(0, cell, both.view(-1, LOCAL, LOCAL)).view(*counts, LOCAL, LOCAL)


def _column_blocks(system: _NormalEquations) -> Tensor:
    """What the cells say within each column of nodes along luminance: ``(GH, GW, 4 GD, 4 GD)``."""
    height, width, _, unknowns = system.right_side.shape
    y, x, z = system.where[..., None]
    corner = torch.arange(4)
    place = ((y + corner // 2) * width + x + corner % 2) * (unknowns // 4 - 1) + z
    own = system.cells.view(-1, 4, LOCAL // 4, 4, LOCAL // 4).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
    blocks = own.new_zeros(height * width * (unknowns // 4 - 1), LOCAL // 4, LOCAL // 4)
    blocks.index_add_(0, place.flatten(), own.flatten(0, 1))
    result = own.new_zeros(height, width, unknowns, unknowns)
    for z, block in enumerate(blocks.view(height, width, -1, *own.shape[2:]).unbind(2)):
        result[..., 4 * z : 4 * z + LOCAL // 4, 4 * z : 4 * z + LOCAL // 4] += block
    return result


def _dense(cells: Tensor) -> Tensor:
    """The whole matrix of a grid of few cells; unknowns in the order of a vector's of one colour."""
    counts = cells.shape[:3]
    unknown = torch.arange(4 * math.prod(count + 1 for count in counts)).view(*(count + 1 for count in counts), 4)
    corners = unknown.unfold(0, 2, 1).unfold(1, 2, 1).unfold(2, 2, 1).permute(0, 1, 2, 4, 5, 6, 3).reshape(-1, LOCAL)
    result = cells.new_zeros(unknown.numel(), unknown.numel())
    place = corners[:, :, None] * len(result) + corners[:, None]
    result.view(-1).index_add_(0, place.flatten(), cells.flatten())
    return result


def _conjugate_gradients(
    system: _NormalEquations, precondition: Callable[[Tensor], Tensor], tolerance: float
) -> Tensor:
    """Solve ``A x = b``, the three output colours as one vector."""
    residual = system.right_side.clone()
    solution = torch.zeros_like(residual)
    direction = conditioned = precondition(residual)
    size = _product(residual, conditioned)
    goal = size * tolerance**2
    for _ in range(MOST_ITERATIONS):
        if size <= goal:
            break
        image = system @ direction
        step = size / _product(direction, image)
        solution.add_(direction, alpha=step)
        residual.add_(image, alpha=-step)
        conditioned = precondition(residual)
        before, size = size, _product(residual, conditioned)
        direction = torch.add(conditioned, direction, alpha=size / before)
    return solution


def _product(first: Tensor, second: Tensor) -> float:
    return float(first.flatten() @ second.flatten())
