"""Limiting a change to a part of a photo, with soft edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_same_shape
from .resize import resize


def soften(mask: Tensor, radius: float) -> Tensor:
    """Blur a mask, with a curve close to a Gaussian's.

    Args:
        mask: ``(B, 1, H, W)``, 0..1.
        radius: half the width of the edge that a hard edge becomes, pixels; below 1 leaves the mask as it is.

    Returns:
        The same shape, 0..1.
    """
    if radius < 1:
        return mask
    height, width = mask.shape[2:]
    # Two box filters in a row; an edge this soft needs no more than about eight pixels across.
    factor = max(1.0, radius / 8)
    small = F.interpolate(mask, [max(1, round(side / factor)) for side in (height, width)], mode="area")
    reach = max(1, round(radius / factor / 2))
    for _ in range(2):
        for window, padding in (((2 * reach + 1, 1), (0, 0, reach, reach)), ((1, 2 * reach + 1), (reach, reach, 0, 0))):
            small = F.avg_pool2d(F.pad(small, padding, mode="replicate"), window, 1)
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def limit_change(image: Tensor, changed: Tensor, mask: Tensor, softness: float = 0.0) -> Tensor:
    """Keep a change where a mask is 1 and the image where it is 0.

    Args:
        image, changed: ``(B, 3, H, W)``.
        mask: ``(B or 1, 1, h, w)``, 0..1 (values beyond are clamped); resized to the image where it has another size.
        softness: radius of the mask's edges, as a share of the image's larger side.

    Returns:
        ``(B, 3, H, W)``; bit for bit ``image`` where the softened mask is 0.

    Raises:
        ValueError: shapes do not match.
    """
    check_same_shape(changed, "changed", image, "image")
    if mask.ndim != 4 or mask.shape[1] != 1 or len(mask) not in (1, len(image)):
        raise ValueError(f"mask must have shape (1 or {len(image)}, 1, h, w), got {tuple(mask.shape)}")
    share = mask.to(image.device, torch.float32).clamp(0, 1)
    if share.shape[2:] != image.shape[2:]:
        height, width = image.shape[2:]
        share = resize(share, (height, width))
    share = soften(share, softness * max(image.shape[2:])).to(image.dtype)
    return torch.where(share > 0, image + share * (changed - image), image)
