"""Images at other sizes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Images ``(B, C, H, W)`` at another height and width, in float32, antialiased."""
    image = image.float()
    try:
        return F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
    except NotImplementedError:  # on MPS before PyTorch 2.7
        return resize(image.cpu(), size).to(image.device)


def reduce_to(image: Tensor, larger_side: int) -> Tensor:
    """Antialiased float32 reduction so that the larger side is at most ``larger_side`` pixels."""
    height, width = image.shape[2:]
    scale = larger_side / max(height, width)
    if scale >= 1:
        return image.float()
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return resize(image, size)


def sample(image: Tensor, height: int, width: int) -> Tensor:
    """Some pixels of ``(B, C, H, W)``, evenly spaced, as they are: ``(B, C, height, width)``.

    What is clipped stays clipped, and the histogram is that of the whole.
    """
    return F.interpolate(image, (height, width), mode="nearest-exact")
