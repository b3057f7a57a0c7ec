"""Bilateral guided upsampling: carry an image operator from low to full resolution (Chen et al., SIGGRAPH Asia 2016).

A grid of affine colour transforms over (y, x, luminance) is fitted to a low-resolution pair, before and after the
operator, and then sliced by a full-size image: each pixel gets the transform interpolated at its place and its
luminance. Any operator that is locally an affine change of colour can be carried over; sharpness comes from the
full-size image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_image

FIT_SIZE = (200, 200)  # height and width of the pair that a grid is fitted to (reference program)
DEFAULT_SIZE = (22, 22, 8)  # cells along y, x and luminance (reference program)
LUMINANCE = (0.25, 0.5, 0.25)  # weights of R, G and B (reference program)
SMOOTHNESS_XY = 1.0  # weight of first differences along x and y (reference program)
SMOOTHNESS_Z = 4e-7  # weight of second differences along luminance (reference program)
# Keeps the normal matrix positive definite for grey images; 1e-7 would already cost accuracy.
RIDGE = 1e-9
FIT_BYTES = 3 * 2**30  # largest normal matrix that is attempted
# Pixels of one slicing tile: a CPU tile's features stay in the second-level cache.
TILE = {"cpu": (32, 256), "other": (512, 1024)}


def luminance(image: Tensor) -> Tensor:
    """Grid coordinate of a colour: ``(..., 3, H, W)`` to ``(..., H, W)``, same range."""
    r, g, b = image.unbind(-3)
    return LUMINANCE[0] * r + LUMINANCE[1] * g + LUMINANCE[2] * b


def _cells(pixels: int, nodes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Lower node and fraction of each pixel along one axis: coordinate ``(i + 0.5) * (nodes - 1) / pixels``."""
    position = (torch.arange(pixels, dtype=torch.float64) + 0.5) * (nodes - 1) / pixels
    lower = position.floor().clamp(0, nodes - 2)
    return lower.long(), (position - lower).to(dtype)


def _hat(levels: Tensor, first: int, last: int, dim: int) -> Tensor:
    """Linear interpolation weights of the nodes ``first`` .. ``last`` along luminance, as a new axis at ``dim``."""
    nodes = torch.arange(first, last + 1, dtype=levels.dtype, device=levels.device)
    levels = levels.unsqueeze(dim)
    shape = [1] * levels.ndim
    shape[dim] = -1
    return (1 - (levels - nodes.view(shape)).abs()).clamp_min_(0)


def _homogeneous(image: Tensor) -> Tensor:
    """Append the constant 1 to the colours: ``(..., 3, H, W)`` to ``(..., 4, H, W)``."""
    return torch.cat((image, torch.ones_like(image[..., :1, :, :])), -3)


@dataclass(frozen=True)
class BilateralGrid:
    """Affine colour transforms over (y, x, luminance).

    Attributes:
        coefficients: ``(B, GH, GW, GD, 3, 4)`` float32; the last axis weighs R, G, B and 1.
    """

    coefficients: Tensor

    @classmethod
    def fit(
        cls,
        source: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        size: tuple[int, int, int] = DEFAULT_SIZE,
    ) -> BilateralGrid:
        """Fit a grid to image pairs: the exact minimum of the weighted least squares problem, but for a tiny ridge.

        The energy is the squared error of the sliced transforms over all pixels, plus squared first differences
        along x and y and second differences along luminance, with the reference program's weights. It is solved
        in float64 on the CPU by a block-tridiagonal Cholesky factorisation (one block a grid row).

        Args:
            source: images before the operator, ``(B, 3, h, w)``, 0..1; some 200 x 200 pixels suffice.
            target: the same images after it, same shape.
            weight: trust in each pixel, ``(B, 1, h, w)``, 0 and up; None trusts all alike.
            size: grid cells along y, x and luminance, at least 2 each.

        Returns:
            The grid, on ``source``'s device.

        Raises:
            ValueError: shapes do not match, the size is too small or too large, or a value is not finite.
        """
        check_image(source, "source")
        check_image(target, "target")
        if target.shape != source.shape:
            raise ValueError(f"target has shape {tuple(target.shape)}, but source has {tuple(source.shape)}")
        batch, _, height, width = source.shape
        if weight is not None and weight.shape != (batch, 1, height, width):
            raise ValueError(f"weight must have shape {(batch, 1, height, width)}, got {tuple(weight.shape)}")
        if min(size) < 2:
            raise ValueError(f"a grid needs at least 2 cells along every axis, got {size}")
        _, columns, depth = size
        needed = 2 * size[0] * (4 * columns * depth) ** 2 * 8
        if needed > FIT_BYTES:
            raise ValueError(f"a grid of {size} cells would need {needed / 2**30:.0f} GiB to fit; use fewer cells")
        source64 = source.detach().cpu().double()
        target64 = target.detach().cpu().double()
        if weight is None:
            weight64 = torch.ones_like(source64[:, :1])
        else:
            weight64 = weight.detach().cpu().double()
            if not (weight64.isfinite() & (weight64 >= 0)).all():
                raise ValueError("weight must be finite and not negative")
        grids = [_fit_one(*images, size) for images in zip(source64, target64, weight64, strict=True)]
        return cls(torch.stack(grids).to(source.device, torch.float32))

    @classmethod
    def fit_reduced(
        cls,
        source: Tensor,
        target: Tensor,
        pair_size: tuple[int, int] = FIT_SIZE,
        size: tuple[int, int, int] = DEFAULT_SIZE,
    ) -> BilateralGrid:
        """Fit a grid to image pairs of any size, both resized to ``pair_size`` first.

        Args and errors as in :meth:`fit`; a pair's two images may differ in size. Fewer pixels give a smoother grid
        that is less disturbed by a target blurrier or noisier than its source.
        """
        check_image(source, "source")
        check_image(target, "target")
        small = [
            F.interpolate(t.float(), pair_size, mode="bilinear", antialias=True, align_corners=False)
            for t in (source, target)
        ]
        return cls.fit(small[0], small[1], size=size)

    @classmethod
    def identity(cls, batch: int = 1, size: tuple[int, int, int] = DEFAULT_SIZE) -> BilateralGrid:
        """The grid that changes nothing."""
        return cls(torch.eye(3, 4).expand(batch, *size, 3, 4).clone())

    def blend(self, strength: float) -> BilateralGrid:
        """Interpolate between the identity (0) and this grid (1); slicing is linear in the grid."""
        identity = torch.eye(3, 4, device=self.coefficients.device)
        return BilateralGrid(torch.lerp(identity.expand_as(self.coefficients), self.coefficients, strength))

    def to(self, device: torch.device | str) -> BilateralGrid:
        """The same grid on another device."""
        return BilateralGrid(self.coefficients.to(device))

    def slice(self, image: Tensor, out: Tensor | None = None, clamp: bool = True) -> Tensor:
        """Apply the grid to images of any size, tile by tile in bounded memory.

        Args:
            image: ``(B, 3, H, W)`` floating-point, 0..1 (values beyond are clamped), any strides (a permuted
                ``(B, H, W, 3)`` is not copied), on the grid's device.
            out: tensor of the same shape to write into; None makes one with ``image``'s strides and type.
            clamp: limit the result to 0..1; affine transforms can leave it.

        Returns:
            ``out``.

        Raises:
            ValueError: shapes do not match, or a value is not finite.
        """
        check_image(image)
        grid = self.coefficients
        if image.shape[0] != grid.shape[0]:
            raise ValueError(f"the grid holds {grid.shape[0]} images, but {image.shape[0]} were given to slice")
        if out is None:
            out = torch.empty_like(image)
        elif out.shape != image.shape:
            raise ValueError(f"out has shape {tuple(out.shape)}, but image has {tuple(image.shape)}")
        height, width = image.shape[2:]
        rows, columns = TILE["cpu" if image.device.type == "cpu" else "other"]
        y_node, y_fraction = (t.to(image.device) for t in _cells(height, grid.shape[1], torch.float32))
        x_node, x_fraction = _cells(width, grid.shape[2], torch.float32)
        x_fraction = x_fraction.to(image.device)
        segments = _segments(x_node, columns)
        for single, given, result in zip(grid, image, out, strict=True):
            for top in range(0, height, rows):
                lower = y_node[top : top + rows]
                fraction = y_fraction[top : top + rows, None, None, None, None]
                row_grid = torch.lerp(single[lower], single[lower + 1], fraction)  # (R, GW, GD, 3, 4)
                for node, left, right in segments:
                    tile = given[:, top : top + rows, left:right].float().clamp(0, 1)
                    value = _slice_tile(row_grid[:, node : node + 2], tile, x_fraction[left:right])
                    result[:, top : top + rows, left:right] = value.clamp_(0, 1) if clamp else value
        return out


def _segments(node: Tensor, longest: int) -> list[tuple[int, int, int]]:
    """Runs of columns between the same two grid nodes: (lower node, first column, end column)."""
    values, counts = torch.unique_consecutive(node, return_counts=True)
    segments, start = [], 0
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        segments += [(value, left, min(left + longest, start + count)) for left in range(start, start + count, longest)]
        start += count
    return segments


def _slice_tile(nodes: Tensor, tile: Tensor, fraction: Tensor) -> Tensor:
    """Slice one tile that lies between two grid columns.

    Within a tile each row has two constant 3 x (4 GD) matrices, so that slicing is a small matrix product of them
    with the features (luminance weight x colour), and a linear interpolation along x.

    Args:
        nodes: ``(R, 2, GD, 3, 4)``, already interpolated along y.
        tile: ``(3, R, C)``.
        fraction: ``(C,)``, position between the two columns.

    Returns:
        ``(3, R, C)``.
    """
    rows, columns = tile.shape[1:]
    depth = nodes.shape[2]
    levels = luminance(tile) * (depth - 1)
    first = min(int(levels.min()), depth - 2)
    last = max(min(int(levels.max()) + 1, depth - 1), first + 1)
    weights = _hat(levels, first, last, dim=1)  # (R, K, C)
    colours = _homogeneous(tile).permute(1, 0, 2)  # (R, 4, C)
    features = (weights[:, :, None] * colours[:, None]).reshape(rows, -1, columns)
    matrices = nodes[:, :, first : last + 1].permute(0, 1, 3, 2, 4).reshape(rows, 6, -1)
    left, right = torch.bmm(matrices, features).view(rows, 2, 3, columns).unbind(1)
    return torch.lerp(left, right, fraction).permute(1, 0, 2)


def _group(node: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Pixels of each cell along one axis, padded to equal count: indices and 0/1 weights, both (cells, P)."""
    counts = torch.bincount(node, minlength=cells)
    slots = torch.arange(int(counts.max()))
    valid = slots < counts[:, None]
    first = counts.cumsum(0) - counts
    return ((first[:, None] + slots) * valid), valid.double()


def _fit_one(source: Tensor, target: Tensor, weight: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Fit one pair; all tensors float64 on the CPU; returns ``(GH, GW, GD, 3, 4)``."""
    grid_h, grid_w, depth = size
    height, width = source.shape[1:]
    y_node, y_fraction = _cells(height, grid_h, torch.float64)
    x_node, x_fraction = _cells(width, grid_w, torch.float64)
    rows, row_valid = _group(y_node, grid_h - 1)
    columns, column_valid = _group(x_node, grid_w - 1)

    # The pixels of one cell touch 2 x 2 nodes x all luminances: one small dense product a cell.
    y_weight = torch.stack((1 - y_fraction, y_fraction), -1)[rows] * row_valid[..., None]  # (CY, P, 2)
    x_weight = torch.stack((1 - x_fraction, x_fraction), -1)[columns] * column_valid[..., None]  # (CX, Q, 2)
    weights = _hat(luminance(source).clamp(0, 1) * (depth - 1), 0, depth - 1, dim=0)  # (GD, h, w)
    basis = (weights[:, None] * _homogeneous(source)[None]).flatten(0, 1)  # (4 GD, h, w)
    width_one = basis.shape[0]
    diagonal = torch.zeros(grid_h, grid_w * width_one, grid_w * width_one, dtype=torch.float64)
    below = torch.zeros_like(diagonal[1:])
    right_side = torch.zeros(grid_h, grid_w * width_one, 3, dtype=torch.float64)
    for x in range(grid_w - 1):
        block = (slice(None), rows[:, :, None], columns[x][None, None, :])
        features = torch.einsum("fypq,ypi,qj->ypqijf", basis[block], y_weight, x_weight[x])
        features = features.reshape(grid_h - 1, -1, 4 * width_one)
        trusted = features * weight[block].reshape(grid_h - 1, -1, 1)
        normal = trusted.mT @ features
        moment = trusted.mT @ target[block].flatten(2).permute(1, 2, 0)
        near, far = slice(0, 2 * width_one), slice(2 * width_one, None)
        span = slice(x * width_one, (x + 2) * width_one)
        diagonal[:-1, span, span] += normal[:, near, near]
        diagonal[1:, span, span] += normal[:, far, far]
        below[:, span, span] += normal[:, far, near]
        right_side[:-1, span] += moment[:, near]
        right_side[1:, span] += moment[:, far]

    bin_y, bin_x, bin_z = height / grid_h, width / grid_w, 1 / depth
    weight_y = (SMOOTHNESS_XY * bin_x * bin_z / bin_y) ** 2
    weight_x = (SMOOTHNESS_XY * bin_y * bin_z / bin_x) ** 2
    weight_z = (SMOOTHNESS_Z * bin_x * bin_y / bin_z**2) ** 2
    affine = torch.eye(4, dtype=torch.float64)
    along_x = torch.kron(_difference_gram(grid_w, 1), torch.eye(width_one, dtype=torch.float64))
    along_z = torch.kron(_difference_gram(depth, 2), affine)
    along_z = torch.kron(torch.eye(grid_w, dtype=torch.float64), along_z)
    unit = torch.eye(grid_w * width_one, dtype=torch.float64)
    along_y = _difference_gram(grid_h, 1).diagonal()[:, None, None]
    diagonal += weight_x * along_x + weight_z * along_z + weight_y * along_y * unit + RIDGE * unit
    below -= weight_y * unit

    solution = _solve_block_tridiagonal(diagonal, below, right_side)
    return solution.view(grid_h, grid_w, depth, 4, 3).mT.contiguous()


def _difference_gram(count: int, order: int) -> Tensor:
    """``D^T D`` of the first or second differences of ``count`` values."""
    difference = torch.eye(count, dtype=torch.float64)
    for _ in range(order):
        difference = difference[1:] - difference[:-1]
    return difference.mT @ difference


def _solve_block_tridiagonal(diagonal: Tensor, below: Tensor, right_side: Tensor) -> Tensor:
    """Solve a symmetric positive definite block-tridiagonal system by Cholesky factorisation.

    Args:
        diagonal: ``(N, M, M)``, overwritten.
        below: ``(N - 1, M, M)``, block ``i`` couples row ``i + 1`` to row ``i``; overwritten.
        right_side: ``(N, M, K)``, overwritten by the solution.
    """
    count = diagonal.shape[0]
    for i in range(count):
        if i:
            coupling = torch.linalg.solve_triangular(diagonal[i - 1], below[i - 1].mT, upper=False).mT
            below[i - 1] = coupling
            diagonal[i] -= coupling @ coupling.mT
            right_side[i] -= coupling @ right_side[i - 1]
        diagonal[i] = torch.linalg.cholesky(diagonal[i])
        right_side[i] = torch.linalg.solve_triangular(diagonal[i], right_side[i], upper=False)
    for i in reversed(range(count)):
        if i + 1 < count:
            right_side[i] -= below[i].mT @ right_side[i + 1]
        right_side[i] = torch.linalg.solve_triangular(diagonal[i].mT, right_side[i], upper=True)
    return right_side
