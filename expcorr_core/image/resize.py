"""Images at other sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from .arrays import single

if TYPE_CHECKING:
    from .arrays import Image


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Images ``(B, C, H, W)`` at another height and width, in float32, antialiased; tensors or arrays."""
    if isinstance(image, np.ndarray):
        planes = [_resize_plane(plane, size) for plane in image.reshape(-1, *image.shape[2:])]
        return np.stack(planes).reshape(*image.shape[:2], *size)
    import torch.nn.functional as F

    image = image.float()
    try:
        return F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
    except NotImplementedError:  # on MPS before PyTorch 2.7
        return resize(image.cpu(), size).to(image.device)


def _resize_plane(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """One channel, by Pillow, whose filter PyTorch's is modelled on: they agree within rounding."""
    shown = PIL.Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(shown.resize(size[::-1], PIL.Image.Resampling.BILINEAR))


def reduce_to(image: Image, larger_side: int) -> Image:
    """Antialiased float32 reduction so that the larger side is at most ``larger_side`` pixels."""
    height, width = image.shape[2:]
    scale = larger_side / max(height, width)
    if scale >= 1:
        return single(image)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return resize(image, size)


def sample(image: Image, height: int, width: int) -> Image:
    """Some pixels of ``(B, C, H, W)``, evenly spaced, as they are: ``(B, C, height, width)``.

    What is clipped stays clipped, and the histogram is that of the whole.
    """
    if isinstance(image, np.ndarray):
        rows, columns = (
            ((np.arange(count) + 0.5) * (side / count)).astype(int)
            for count, side in zip((height, width), image.shape[2:], strict=True)
        )
        return image[:, :, rows[:, None], columns]
    import torch.nn.functional as F

    return F.interpolate(image, (height, width), mode="nearest-exact")
