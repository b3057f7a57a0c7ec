"""The camera's motion between two frames: one affine map of the whole view, by registration (Lucas and Kanade 1981).

Maps are ``(3, 3)`` float64 matrices on normalised coordinates, where the view is -1..1 along x and y, as
:func:`torch.nn.functional.affine_grid` has them. They map a position in this frame to that in the previous frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = (4, 3, 3)  # Gauss-Newton steps at a quarter, half and full size
OUTLIER = 2.0  # mean absolute residuals beyond which a pixel counts less (Huber 1964)
STILL = 1e-4  # change of maps up to which they are found; 0.005 pixels of 96
RIDGE = 1e-3  # keeps motion that the images do not determine at zero; share of the mean squared gradient


def warp(images: Tensor, maps: Tensor, size: tuple[int, int], mode: str = "bilinear") -> tuple[Tensor, Tensor]:
    """Other frames, moved to this frame's view.

    Args:
        images: the other frames, ``(N, C, h, w)``.
        maps: from positions in this view to positions in theirs, ``(N, 3, 3)``.
        size: height and width of the result.
        mode: of interpolation, ``bilinear`` or ``bicubic``, which keeps more detail, and may go beyond the range.

    Returns:
        The images ``(N, C, *size)``, and ``(N, 1, *size)``, 1 where the other frame shows the position, else 0.
    """
    places = F.affine_grid(maps[:, :2].to(images), [len(maps), 1, *size], align_corners=False)
    inside = (places.abs() <= 1).all(3)[:, None].to(images)
    return F.grid_sample(images, places, mode, padding_mode="border", align_corners=False), inside


def camera_motion(before: Tensor, after: Tensor, guess: Tensor) -> Tensor:
    """Register two frames, whose brightness and contrast may differ.

    Args:
        before, after: luminance, ``(h, w)``, of one size; about 48 pixels are enough.
        guess: an initial map, such as the last frame's.

    Returns:
        The map that fits best: the guess, no motion, or the one found by starting from the better of these.
    """
    still = torch.eye(3, dtype=torch.float64)
    pairs = [(_normalised(before), _normalised(after))]
    for _ in STEPS[1:]:
        pairs.insert(0, (_halved(pairs[0][0]), _halved(pairs[0][1])))
    found = min((still, guess), key=lambda motion: _misfit(*pairs[-1], motion))
    start = found
    for pair, steps in zip(pairs, STEPS, strict=True):
        found = registered(*pair, found[None], steps)[0]
    return min((start, found), key=lambda motion: _misfit(*pairs[-1], motion))


def registered(before: Tensor, after: Tensor, maps: Tensor, steps: int) -> Tensor:
    """Maps that fit better than those given, by Gauss-Newton steps with a gain and an offset of the brightness.

    Args:
        before, after: luminance, ``(N, 1, h, w)``; each of the first is to be moved to the view of the second.
        maps: where the search begins, ``(N, 3, 3)``.
        steps: how many, at most.

    Returns:
        The maps, ``(N, 3, 3)``; not finite where there is nothing to see.
    """
    still = torch.eye(3, dtype=torch.float64)
    for _ in range(steps):
        step = _step(before, after, maps)
        maps = maps @ step
        if (step - still).abs().max() <= STILL:
            break
    return maps


def _normalised(image: Tensor) -> Tensor:
    return ((image - image.mean()) / (image.std(correction=0) + 0.01))[None, None]


def _halved(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 2, ceil_mode=True, count_include_pad=False) if min(image.shape[2:]) > 8 else image


def _misfit(before: Tensor, after: Tensor, motion: Tensor) -> float:
    """Mean absolute difference where both show something; infinite if they share less than a fifth of the view."""
    warped, inside = warp(before, motion[None], _size(after))
    if not motion.isfinite().all() or inside.mean() < 0.2:
        return float("inf")
    return float((warped - after)[inside.bool()].abs().mean())


def _step(before: Tensor, after: Tensor, maps: Tensor) -> Tensor:
    height, width = _size(after)
    warped, inside = warp(before, maps, (height, width))
    warped, error = warped[:, 0], (after - warped)[:, 0]
    along_y, along_x = torch.gradient(warped, spacing=[2 / height, 2 / width], dim=(1, 2))
    y = (torch.arange(height) * 2 + 1) / height - 1
    x = (torch.arange(width) * 2 + 1) / width - 1
    x, y = x.expand(height, width), y[:, None].expand(height, width)
    columns = torch.stack(
        (along_x * x, along_x * y, along_x, along_y * x, along_y * y, along_y, warped, torch.ones_like(warped)), 1
    ).flatten(2)
    columns, error = columns.double(), error.flatten(1).double()
    scale = error.abs().mean(1, keepdim=True) * OUTLIER + 1e-9
    weight = inside.flatten(1) * (scale / error.abs().maximum(scale))
    weighted = columns * weight[:, None]
    matrix = weighted @ columns.mT
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    diagonal[:, :6] += RIDGE * diagonal[:, :6].mean(1, keepdim=True) + 1e-9
    diagonal[:, 6:] += 1e-9
    change = torch.linalg.solve(matrix, weighted @ error[..., None])
    step = torch.eye(3, dtype=torch.float64).repeat(len(maps), 1, 1)
    step[:, :2] += change[:, :6].view(-1, 2, 3).clamp(-0.3, 0.3)  # so that it can be inverted
    return step


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[2], image.shape[3]
