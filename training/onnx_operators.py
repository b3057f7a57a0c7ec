"""Translations of PyTorch operators to ONNX, where PyTorch's exporter has none, or none for any size; and the slice.

Each function in :data:`TRANSLATIONS` takes the arguments of an operator, and adds nodes to the graph being exported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import DOUBLE, FLOAT, INT64, ir, opset20, script
from onnxscript import opset18 as op

from expcorr_core.image.colour import LUMINANCE

BLOCK = 32  # columns of a matrix that are factored at a time; all matrices have a multiple of it
LUMINANCES = ir.tensor([[[[w]] for w in LUMINANCE]], dtype=ir.DataType.FLOAT)
aten = torch.ops.aten


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=values)


def _side(image: Any, axis: int) -> Any:
    return op.Shape(image, start=axis, end=axis + 1)


def bincount(numbers: Any, weights: Any = None, minlength: int = 0) -> Any:
    """Counts of the numbers up to ``minlength``, or sums of their weights."""
    one = op.Constant(value_int=1)
    values = op.Expand(one, op.Shape(numbers)) if weights is None else weights
    zero = op.Constant(value_int=0) if weights is None else op.Constant(value_float=0.0)
    empty = op.Expand(zero, _ints(minlength))
    return op.ScatterElements(empty, op.Cast(numbers, to=ir.DataType.INT64), values, axis=0, reduction="add")


def searchsorted(ordered: Any, wanted: Any, **_: Any) -> Any:
    """How many of the ordered values lie below each wanted one."""
    below = op.Less(op.Unsqueeze(ordered, _ints(-2)), op.Unsqueeze(wanted, _ints(-1)))
    return op.ReduceSum(op.Cast(below, to=ir.DataType.INT64), _ints(-1), keepdims=0)


def kthvalue(values: Any, k: Any, dim: int = -1, keepdim: bool = False) -> tuple[Any, Any]:
    """The k-th smallest values along the last axis, and where they are."""
    count = op.Reshape(op.Cast(k, to=ir.DataType.INT64), _ints(1))
    smallest, places = op.TopK(values, count, axis=dim, largest=0, sorted=1)
    last = op.Constant(value_int=-1)
    return op.Gather(smallest, last, axis=dim), op.Gather(places, last, axis=dim)


def upsample_nearest_exact(image: Any, output_size: Any, *_: Any) -> Any:
    """The pixels at the middles of the new pixels, as they are."""
    for axis, size in zip((2, 3), output_size if isinstance(output_size, Sequence) else (output_size,), strict=True):
        count = op.Reshape(op.Cast(size, to=ir.DataType.INT64), _ints(1)) if not isinstance(size, int) else _ints(size)
        number = op.Cast(op.Range(op.Constant(value_int=0), op.Squeeze(count), op.Constant(value_int=1)), to=1)
        scale = op.Div(op.Cast(_side(image, axis), to=1), op.Cast(count, to=1))
        place = op.Floor(op.Mul(op.Add(number, op.Constant(value_float=0.5)), scale))
        image = op.Gather(image, op.Cast(place, to=ir.DataType.INT64), axis=axis)
    return image


def adaptive_avg_pool2d(image: Any, output_size: Sequence[int]) -> Any:
    """Means over windows that may overlap by a pixel, as a product with a matrix for each axis."""
    down, across = (_windows(_side(image, axis), size) for axis, size in zip((2, 3), output_size, strict=True))
    return op.MatMul(op.MatMul(down, image), op.Transpose(across, perm=(1, 0)))


def _windows(side: Any, count: int) -> Any:
    """Weights of pixels in windows, ``(count, side)``.

    A window is from ``floor(i * side / count)`` to ``ceil((i + 1) * side / count)``.
    """
    number = op.Constant(value=ir.tensor([[i] for i in range(count)], dtype=ir.DataType.INT64))
    start = op.Div(op.Mul(number, side), _ints(count))
    end = op.Div(op.Add(op.Mul(op.Add(number, _ints(1)), side), _ints(count - 1)), _ints(count))
    pixel = op.Range(op.Constant(value_int=0), op.Squeeze(side), op.Constant(value_int=1))
    within = op.And(op.GreaterOrEqual(pixel, start), op.Less(pixel, end))
    return op.Div(op.Cast(within, to=1), op.Cast(op.Sub(end, start), to=1))


@script(default_opset=op)
def inverse_factor(matrix: DOUBLE[...]) -> DOUBLE[...]:
    """The inverse of the Cholesky factor of a small matrix, by elimination."""
    count = op.Gather(op.Shape(matrix), [0])
    work = op.Concat(matrix, op.EyeLike(matrix), axis=1)
    zero = op.Constant(value_int=0)
    one = op.Constant(value_int=1)
    index = op.Unsqueeze(op.Range(zero, op.Squeeze(count), one), [1])
    for k in range(op.Squeeze(count)):
        here = op.Reshape(k, [1])
        row = op.Gather(work, here, axis=0)
        column = op.Gather(work, here, axis=1)
        root = op.Sqrt(op.Gather(row, here, axis=1))
        row = op.Div(row, root)
        column = op.Where(op.Greater(index, k), op.Div(column, root), op.Sub(column, column))
        work = op.Sub(op.Where(op.Equal(index, k), row, work), op.MatMul(column, row))
    return op.Slice(work, count, op.Add(count, count), op.Constant(value_ints=[1]))


def _part(matrix: Any, rows: tuple[int, int], columns: tuple[int, int]) -> Any:
    return op.Slice(matrix, _ints(rows[0], columns[0]), _ints(rows[1], columns[1]), _ints(0, 1))


def _turned(matrix: Any) -> Any:
    return op.Transpose(matrix, perm=(1, 0))


def cholesky(matrix: Any, upper: bool = False, check_errors: bool = False) -> tuple[Any, Any]:
    """The lower factor, block by block, with inverted diagonal blocks, as :func:`cholesky_solve` reads it; and 0."""
    size = matrix.shape[0]
    factor = None  # its columns so far
    for start in range(0, size, BLOCK):
        end = start + BLOCK
        panel = _part(matrix, (start, size), (start, end))
        if factor is not None:
            done = _part(factor, (start, size), (0, start))
            panel = op.Sub(panel, op.MatMul(done, _turned(_part(done, (0, BLOCK), (0, start)))))
        columns = inverse = inverse_factor(_part(panel, (0, BLOCK), (0, BLOCK)))
        if end < size:
            below = _part(panel, (BLOCK, size - start), (0, BLOCK))
            columns = op.Concat(inverse, op.MatMul(below, _turned(inverse)), axis=0)
        factor = columns if factor is None else op.Concat(factor, op.Pad(columns, _ints(start, 0, 0, 0)), axis=1)
    return factor, op.Constant(value_int=0)


def cholesky_solve(right: Any, factor: Any, upper: bool = False) -> Any:
    """Solve with what :func:`cholesky` makes, block by block."""
    size = factor.shape[0]
    found: list[Any] = []
    for start in range(0, size, BLOCK):
        end = start + BLOCK
        rest = op.Slice(right, _ints(start), _ints(end), _ints(0))
        if found:
            rest = op.Sub(rest, op.MatMul(_part(factor, (start, end), (0, start)), op.Concat(*found, axis=0)))
        found.append(op.MatMul(_part(factor, (start, end), (start, end)), rest))
    solved: list[Any] = []
    for start in reversed(range(0, size, BLOCK)):
        end = start + BLOCK
        rest = found.pop()
        if solved:
            below = _turned(_part(factor, (end, size), (start, end)))
            rest = op.Sub(rest, op.MatMul(below, op.Concat(*solved, axis=0)))
        solved.insert(0, op.MatMul(_turned(_part(factor, (start, end), (start, end))), rest))
    return op.Concat(*solved, axis=0) if len(solved) > 1 else solved[0]


@script(default_opset=opset20)
def slice_rows(photo: FLOAT[...], grid: FLOAT[...], place: INT64[...]) -> FLOAT[...]:
    """Rows of a photo, corrected by the grid of the whole photo; ``place``: the first row, and the photo's height."""
    first, height = opset20.Split(place, num_outputs=2)
    size = opset20.Shape(photo)
    rows, width = opset20.Gather(size, [2]), opset20.Gather(size, [3])
    zero = opset20.Constant(value_int=0)
    one = opset20.Constant(value_int=1)
    y = opset20.Range(opset20.Squeeze(first), opset20.Squeeze(opset20.Add(first, rows)), one)
    x = opset20.Range(zero, opset20.Squeeze(width), one)
    # Along each axis -1 is the first node and 1 the last.
    y = opset20.Div(opset20.Add(opset20.Mul(opset20.Cast(y, to=1), 2.0), 1.0), opset20.Cast(height, to=1)) - 1.0
    x = opset20.Div(opset20.Add(opset20.Mul(opset20.Cast(x, to=1), 2.0), 1.0), opset20.Cast(width, to=1)) - 1.0
    shown = opset20.Clip(photo, 0.0, 1.0)
    z = opset20.ReduceSum(opset20.Mul(shown, LUMINANCES), [1], keepdims=1) * 2.0 - 1.0
    shape = opset20.Shape(z)
    coordinates = opset20.Concat(
        opset20.Expand(opset20.Reshape(x, [1, 1, 1, -1]), shape),
        opset20.Expand(opset20.Reshape(y, [1, 1, -1, 1]), shape),
        z,
        axis=1,
    )
    places = opset20.Unsqueeze(opset20.Transpose(coordinates, perm=[0, 2, 3, 1]), [1])
    nodes = opset20.Reshape(opset20.Transpose(grid, perm=[0, 4, 5, 3, 1, 2]), [1, 12, 8, 22, 22])
    affine = opset20.GridSample(nodes, places, mode="linear", padding_mode="border", align_corners=1)
    affine = opset20.Reshape(affine, opset20.Concat([3, 4], rows, width, axis=0))
    linear, constant = opset20.Split(affine, [3, 1], axis=1)
    changed = opset20.ReduceSum(opset20.Mul(linear, shown), [1], keepdims=0) + opset20.Squeeze(constant, [1])
    return opset20.Unsqueeze(opset20.Clip(changed, 0.0, 1.0), [0])


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    aten.bincount.default: bincount,
    aten.kthvalue.default: kthvalue,
    aten.searchsorted.Tensor: searchsorted,
    aten._upsample_nearest_exact2d.default: upsample_nearest_exact,
    aten._upsample_nearest_exact2d.vec: upsample_nearest_exact,
    aten._adaptive_avg_pool2d.default: adaptive_avg_pool2d,
    aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
    aten.linalg_cholesky_ex.default: cholesky,
    aten.cholesky_solve.default: cholesky_solve,
}
