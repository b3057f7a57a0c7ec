"""Slicing on CUDA: one fused pass over the image, compiled by Triton.

Each program processes a run of pixels of a row. A pixel gathers the 12 coefficients of the 8 nodes around it; the grid
(186 KB with the default size) stays in the caches, so each pixel is read from memory once and written once.
"""

from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..image.colour import LUMINANCE

BLOCK = 256  # pixels of a program


@triton.jit
def _kernel(
    grid: Any, image: Any, out: Any, doubt: Any, height: Any, width: Any,
    image_c: Any, image_y: Any, image_x: Any, out_c: Any, out_y: Any, out_x: Any,
    GRID_H: tl.constexpr, GRID_W: tl.constexpr, DEPTH: tl.constexpr,
    RED: tl.constexpr, GREEN: tl.constexpr, BLUE: tl.constexpr, CLAMP: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    y = tl.program_id(0).to(tl.int64)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = x < width
    pixel = image + y * image_y + x.to(tl.int64) * image_x
    r = tl.load(pixel, inside, 0.0).to(tl.float32)
    g = tl.load(pixel + image_c, inside, 0.0).to(tl.float32)
    b = tl.load(pixel + 2 * image_c, inside, 0.0).to(tl.float32)
    # 0 times a value that is not finite is NaN, the only value that differs from itself.
    spoilt = (r + g + b) * 0.0
    tl.store(doubt + tl.zeros_like(x), 1, inside & (spoilt != spoilt))  # noqa: PLR0124
    r = tl.minimum(tl.maximum(r, 0.0), 1.0)
    g = tl.minimum(tl.maximum(g, 0.0), 1.0)
    b = tl.minimum(tl.maximum(b, 0.0), 1.0)

    at_y = (y.to(tl.float32) + 0.5) * (GRID_H - 1) / height
    at_x = (x.to(tl.float32) + 0.5) * (GRID_W - 1) / width
    at_z = (RED * r + GREEN * g + BLUE * b) * (DEPTH - 1)
    low_y = tl.minimum(at_y.to(tl.int32), GRID_H - 2)
    low_x = tl.minimum(at_x.to(tl.int32), GRID_W - 2)
    low_z = tl.minimum(at_z.to(tl.int32), DEPTH - 2)
    share_y, share_x, share_z = at_y - low_y, at_x - low_x, at_z - low_z
    red, green, blue = tl.zeros_like(r), tl.zeros_like(r), tl.zeros_like(r)
    for corner in tl.static_range(8):
        up, right, above = corner // 4, (corner // 2) % 2, corner % 2
        weight = (share_y if up else 1 - share_y) * (share_x if right else 1 - share_x)
        weight *= share_z if above else 1 - share_z
        node = grid + (((low_y + up) * GRID_W + low_x + right) * DEPTH + low_z + above) * 12
        red += weight * (tl.load(node) * r + tl.load(node + 1) * g + tl.load(node + 2) * b + tl.load(node + 3))
        green += weight * (tl.load(node + 4) * r + tl.load(node + 5) * g + tl.load(node + 6) * b + tl.load(node + 7))
        blue += weight * (tl.load(node + 8) * r + tl.load(node + 9) * g + tl.load(node + 10) * b + tl.load(node + 11))
    if CLAMP:
        red = tl.minimum(tl.maximum(red, 0.0), 1.0)
        green = tl.minimum(tl.maximum(green, 0.0), 1.0)
        blue = tl.minimum(tl.maximum(blue, 0.0), 1.0)
    result = out + y * out_y + x.to(tl.int64) * out_x
    tl.store(result, red, inside)
    tl.store(result + out_c, green, inside)
    tl.store(result + 2 * out_c, blue, inside)


def slice_image(grid: Tensor, image: Tensor, out: Tensor, clamp: bool) -> bool:
    """Slice one image on its CUDA device (or on the CPU by Triton's interpreter).

    Args:
        grid: ``(GH, GW, GD, 3, 4)`` float32.
        image: ``(3, H, W)``, float32, float16 or bfloat16, any strides.
        out: ``(3, H, W)``, written to.
        clamp: limit the result to 0..1.

    Returns:
        Whether all values of ``image`` are finite; if not, ``out`` holds no result.
    """
    height, width = image.shape[1:]
    doubt = torch.zeros(1, dtype=torch.int32, device=image.device)
    kernel: Any = _kernel[(height, triton.cdiv(width, BLOCK))]
    # Triton launches on the current device, whatever device the tensors are on.
    with torch.cuda.device(image.device) if image.is_cuda else nullcontext():
        kernel(
            grid.contiguous(), image, out, doubt, height, width, *image.stride(), *out.stride(),
            *grid.shape[:3], *LUMINANCE, clamp, BLOCK,
        )  # fmt: skip
    return not doubt.item()
