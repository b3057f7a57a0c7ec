"""The exact least squares fit of a bilateral grid (Chen et al. 2016), by preconditioned conjugate gradients.

The unknowns are 4 affine coefficients at each grid node, for each of the three output colours, which share one
symmetric positive definite normal matrix. A pixel touches the 2 x 2 x 2 nodes around it, so that the matrix is a sum
of one 32 x 32 matrix a cell, and it is applied cell by cell. The preconditioner is additive: the block of each column
of nodes along luminance, plus a coarser grid along y and x whose nodes are nodes of the fine one (nested). All in
float64: a float32 preconditioner keeps the iteration from converging.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

LUMINANCE = (0.25, 0.5, 0.25)  # weights of R, G and B (reference program)
SMOOTHNESS_XY = 1.0  # weight of first differences along x and y (reference program)
SMOOTHNESS_Z = 4e-7  # weight of second differences along luminance (reference program)
# Keeps the normal matrix positive definite for grey images; 1e-7 would already cost accuracy.
RIDGE = 1e-9
# Iteration ends where the preconditioned residual has fallen to this share: 120 dB and more in the sliced image,
# 100 dB where half of the pixels have no weight.
TOLERANCE = 1e-7
MOST_ITERATIONS = 1000
FIT_BYTES = 3 * 2**30  # largest problem that is attempted
COARSE_NODES = 4  # most nodes of the coarse grid along an axis
LOCAL = 2 * 2 * 2 * 4  # unknowns that a pixel touches
CHUNK = 16  # pixels of one matrix product


def luminance(image: Tensor) -> Tensor:
    """Grid coordinate of a colour: ``(..., 3, H, W)`` to ``(..., H, W)``, same range."""
    r, g, b = image.unbind(-3)
    return LUMINANCE[0] * r + LUMINANCE[1] * g + LUMINANCE[2] * b


def lower_nodes(pixels: int, nodes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Lower node and fraction of each pixel along one axis: coordinate ``(i + 0.5) * (nodes - 1) / pixels``."""
    position = (torch.arange(pixels, dtype=torch.float64) + 0.5) * (nodes - 1) / pixels
    lower = position.floor().clamp(0, nodes - 2)
    return lower.long(), (position - lower).to(dtype)


def hat(levels: Tensor, first: int, last: int, dim: int) -> Tensor:
    """Linear interpolation weights of the nodes ``first`` .. ``last``, as a new axis at ``dim``."""
    nodes = torch.arange(first, last + 1, dtype=levels.dtype, device=levels.device)
    levels = levels.unsqueeze(dim)
    shape = [1] * levels.ndim
    shape[dim] = -1
    return (1 - (levels - nodes.view(shape)).abs()).clamp_min_(0)


def homogeneous(image: Tensor) -> Tensor:
    """Append the constant 1 to the colours: ``(..., 3, H, W)`` to ``(..., 4, H, W)``."""
    return torch.cat((image, torch.ones_like(image[..., :1, :, :])), -3)


def fit_bytes(size: tuple[int, int, int]) -> int:
    """Memory that a fit needs at its peak, about: two copies of the cells' matrices, the blocks and the coarse grid."""
    grid_h, grid_w, depth = size
    coarse = _coarse_nodes(grid_h) * _coarse_nodes(grid_w) * 4 * depth
    columns = grid_h * grid_w * (4 * depth) ** 2
    return 8 * (2 * grid_h * grid_w * depth * LOCAL**2 + 3 * columns + 2 * coarse**2)


def fit(source: Tensor, target: Tensor, weight: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Fit one pair.

    Args:
        source, target: ``(3, h, w)``, float64 on the CPU.
        weight: trust in each pixel, ``(1, h, w)``, float64.
        size: grid nodes along y, x and luminance, at least 2 each.

    Returns:
        Coefficients ``(GH, GW, GD, 3, 4)``, float64.
    """
    system = _normal_equations(source, target, weight, size)
    return _conjugate_gradients(system, _Preconditioner(system)).mT.contiguous()


class _NormalEquations(NamedTuple):
    """``A x = b`` with vectors of shape ``(GH, GW, GD, 4, 3)``: node, coefficient, output colour.

    Attributes:
        cells: what the pixels of each cell say of its 2 x 2 x 2 nodes, ``(CY, CX, CZ, 32, 32)``.
        along: ``D^T D`` of the weighted differences along y, x and luminance, each ``(nodes, nodes)``.
        right_side: ``b``.
    """

    cells: Tensor
    along: tuple[Tensor, Tensor, Tensor]
    right_side: Tensor

    def __matmul__(self, x: Tensor) -> Tensor:
        corners = x.unfold(0, 2, 1).unfold(1, 2, 1).unfold(2, 2, 1).permute(0, 1, 2, 5, 6, 7, 3, 4)
        local = self.cells.flatten(0, 2) @ corners.reshape(-1, LOCAL, 3)
        result = _sum_corners(local.view(*self.cells.shape[:3], 2, 2, 2, 4, 3))
        for dim, gram in enumerate(self.along):
            result += torch.tensordot(gram, x, ([1], [dim])).movedim(0, dim)
        return result.add_(x, alpha=RIDGE)


def _sum_corners(parts: Tensor) -> Tensor:
    """Add up what the cells say of their nodes: ``(CY, CX, CZ, 2, 2, 2, ...)`` to ``(CY + 1, CX + 1, CZ + 1, ...)``."""
    counts = parts.shape[:3]
    result = parts.new_zeros(*(count + 1 for count in counts), *parts.shape[6:])
    height, width, depth = counts
    for y, x, z in product((0, 1), repeat=3):
        result[y : y + height, x : x + width, z : z + depth] += parts[:, :, :, y, x, z]
    return result


def _normal_equations(source: Tensor, target: Tensor, weight: Tensor, size: tuple[int, int, int]) -> _NormalEquations:
    height, width = source.shape[1:]
    grid_h, grid_w, depth = size
    counts = grid_h - 1, grid_w - 1, depth - 1
    y_node, y_fraction = lower_nodes(height, grid_h, torch.float64)
    x_node, x_fraction = lower_nodes(width, grid_w, torch.float64)
    level = luminance(source).clamp(0, 1) * (depth - 1)
    z_node = level.long().clamp_max(depth - 2)
    # Each pixel's share in its nodes: (h * w, 2, 2, 2), then times its colour (h * w, 32).
    pairs = (torch.stack((1 - t, t), -1) for t in (y_fraction, x_fraction, level - z_node))
    share = torch.einsum("yi,xj,yxk->yxijk", *pairs) * weight[0].sqrt()[..., None, None, None]
    colours = homogeneous(source).permute(1, 2, 0)
    features = (share[..., None] * colours[:, :, None, None, None]).view(-1, LOCAL)
    wanted = (target * weight.sqrt()).permute(1, 2, 0).reshape(-1, 3)

    # Pixels sorted by cell, in chunks of equal length (padded by zeros), so that each is one small matrix product.
    cell = ((y_node[:, None] * counts[1] + x_node) * counts[2] + z_node).flatten()
    cell, order = cell.sort()
    found, held = torch.unique_consecutive(cell, return_counts=True)
    chunks = (held + CHUNK - 1).div(CHUNK, rounding_mode="floor")
    first, first_chunk = held.cumsum(0) - held, chunks.cumsum(0) - chunks
    position = torch.arange(len(cell)) - first.repeat_interleave(held)
    place = first_chunk.repeat_interleave(held) * CHUNK + position
    rows = torch.zeros(int(chunks.sum()) * CHUNK, LOCAL + 3, dtype=torch.float64)
    rows[place] = torch.cat((features, wanted), 1)[order]
    rows = rows.view(-1, CHUNK, LOCAL + 3)
    products = rows[..., :LOCAL].mT @ rows
    total = torch.zeros(math.prod(counts), LOCAL, LOCAL + 3, dtype=torch.float64)
    total[found] = torch.segment_reduce(products.flatten(1), "sum", lengths=chunks).view(-1, LOCAL, LOCAL + 3)

    # The reference scales the rows of the least squares problem, so that the energy has the squares.
    bin_y, bin_x, bin_z = height / grid_h, width / grid_w, 1 / depth
    weight_y = (SMOOTHNESS_XY * bin_x * bin_z / bin_y) ** 2
    weight_x = (SMOOTHNESS_XY * bin_y * bin_z / bin_x) ** 2
    weight_z = (SMOOTHNESS_Z * bin_x * bin_y / bin_z**2) ** 2
    along = (
        weight_y * _difference_gram(grid_h, 1),
        weight_x * _difference_gram(grid_w, 1),
        weight_z * _difference_gram(depth, 2),
    )
    right_side = _sum_corners(total[..., LOCAL:].reshape(*counts, 2, 2, 2, 4, 3))
    return _NormalEquations(total[..., :LOCAL].contiguous().view(*counts, LOCAL, LOCAL), along, right_side)


def _difference_gram(count: int, order: int) -> Tensor:
    """``D^T D`` of the first or second differences of ``count`` values."""
    difference = torch.eye(count, dtype=torch.float64)
    for _ in range(order):
        difference = difference[1:] - difference[:-1]
    return difference.mT @ difference


class _Preconditioner:
    """Additive two-level preconditioner; see the module's description."""

    def __init__(self, system: _NormalEquations) -> None:
        grid_h, grid_w, depth = system.right_side.shape[:3]
        along_y, along_x, along_z = system.along
        unit = torch.eye(4 * depth, dtype=torch.float64)
        within = torch.kron(along_z, torch.eye(4, dtype=torch.float64)) + RIDGE * unit
        stiffness = along_y.diagonal()[:, None] + along_x.diagonal()
        columns = _column_blocks(system.cells) + stiffness[..., None, None] * unit + within
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(columns))  # (GH, GW, F, F)

        self.prolong = _prolongation(grid_h), _prolongation(grid_w)
        (mass_y, stiff_y), (mass_x, stiff_x) = (
            (p.mT @ p, p.mT @ gram @ p) for p, gram in zip(self.prolong, system.along[:2], strict=True)
        )
        coarse = _dense(_coarsened(system.cells, len(mass_y) - 1, len(mass_x) - 1))
        coarse += torch.kron(torch.kron(stiff_y, mass_x) + torch.kron(mass_y, stiff_x), unit)
        coarse += torch.kron(torch.kron(mass_y, mass_x), within)
        self.factor = torch.linalg.cholesky(coarse)

    def __call__(self, residual: Tensor) -> Tensor:
        own = self.inverse @ residual.flatten(2, 3)
        prolong_y, prolong_x = self.prolong
        coarse = torch.einsum("ym,xn,yxfk->mnfk", prolong_y, prolong_x, residual.flatten(2, 3))
        coarse = torch.cholesky_solve(coarse.reshape(len(self.factor), -1), self.factor).view(coarse.shape)
        own += torch.einsum("ym,xn,mnfk->yxfk", prolong_y, prolong_x, coarse)
        return own.view(residual.shape)


def _coarse_nodes(nodes: int) -> int:
    """Most coarse nodes, up to COARSE_NODES, that nest in ``nodes``."""
    return max(m for m in range(2, COARSE_NODES + 1) if m == 2 or (nodes - 1) % (m - 1) == 0)


def _prolongation(nodes: int) -> Tensor:
    """Linear interpolation from the coarse nodes of an axis to all, ``(nodes, coarse)``."""
    coarse = _coarse_nodes(nodes)
    return hat(torch.linspace(0, coarse - 1, nodes, dtype=torch.float64), 0, coarse - 1, dim=1)


def _coarsened(cells: Tensor, coarse_y: int, coarse_x: int) -> Tensor:
    """The cells of the coarse grid, in the form of the fine ones."""
    weights = []
    for count in (len(cells) // coarse_y, cells.shape[1] // coarse_x):
        position = (torch.arange(count)[:, None] + torch.arange(2)).double() / count
        weights.append(torch.stack((1 - position, position), -1))  # (fine cell, fine corner, coarse corner)
    along_y, along_x = (torch.einsum("tim,tkn->tikmn", w, w) for w in weights)
    parts = cells.view(coarse_y, -1, *cells.shape[1:3], 2, LOCAL // 2, 2, LOCAL // 2)
    parts = torch.einsum("ytxzirks,tikmn->yxzmrns", parts, along_y)
    parts = parts.reshape(coarse_y, coarse_x, -1, cells.shape[2], 2, 2, LOCAL // 4, 2, 2, LOCAL // 4)
    parts = torch.einsum("yxtzmirnks,tikpq->yxzmprnqs", parts, along_x)
    return parts.reshape(coarse_y, coarse_x, cells.shape[2], LOCAL, LOCAL)


def _column_blocks(cells: Tensor) -> Tensor:
    """The matrix's diagonal blocks, one a column of nodes along luminance: ``(GH, GW, F, F)``."""
    y, x, z = torch.meshgrid(*(torch.arange(count) for count in cells.shape[:3]), indexing="ij")
    depth = cells.shape[2] + 1
    parts = cells.view(*cells.shape[:3], 2, 2, 2, 4, 2, 2, 2, 4)
    result = cells.new_zeros(cells.shape[0] + 1, cells.shape[1] + 1, depth, depth, 4, 4)
    for i, j, k, m in product((0, 1), repeat=4):
        result[y + i, x + j, z + k, z + m] += parts[:, :, :, i, j, k, :, i, j, m]
    return result.transpose(3, 4).reshape(*result.shape[:2], 4 * depth, 4 * depth)


def _dense(cells: Tensor) -> Tensor:
    """The whole matrix of a grid of few cells."""
    y, x, z = torch.meshgrid(*(torch.arange(count) for count in cells.shape[:3]), indexing="ij")
    parts = cells.view(*cells.shape[:3], 2, 2, 2, 4, 2, 2, 2, 4)
    nodes = [count + 1 for count in cells.shape[:3]]
    result = cells.new_zeros(*nodes, *nodes, 4, 4)
    for i, j, k, m, n, o in product((0, 1), repeat=6):
        result[y + i, x + j, z + k, y + m, x + n, z + o] += parts[:, :, :, i, j, k, :, m, n, o]
    unknowns = 4 * math.prod(nodes)
    return result.movedim(6, 3).reshape(unknowns, unknowns)


def _conjugate_gradients(system: _NormalEquations, precondition: Callable[[Tensor], Tensor]) -> Tensor:
    """Solve ``A x = b`` for the three output colours at once."""
    residual = system.right_side.clone()
    solution = torch.zeros_like(residual)
    direction = conditioned = precondition(residual)
    size = torch.einsum("yxzfk,yxzfk->k", residual, conditioned)
    goal = size * TOLERANCE**2
    for _ in range(MOST_ITERATIONS):
        if (size <= goal).all():
            break
        image = system @ direction
        # A colour that is solved already has no direction left: 0 / 0 counts as no step.
        step = (size / torch.einsum("yxzfk,yxzfk->k", direction, image)).nan_to_num_(0, 0, 0)
        solution += step * direction
        residual -= step * image
        conditioned = precondition(residual)
        before, size = size, torch.einsum("yxzfk,yxzfk->k", residual, conditioned)
        direction = conditioned + (size / before).nan_to_num_(0, 0, 0) * direction
    return solution
