"""Training batches from a folder of well-exposed photos, made as the training runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from .exposure import ExposureSimulator
from .image_io import read_photo

# Whole photos come in one of these shapes (height, width as shares of the size): all divisible as the network needs.
ASPECTS = ((1.0, 1.0), (0.75, 1.0), (1.0, 0.75))


class Batch(NamedTuple):
    """Wrongly exposed inputs and their targets, both ``(B, 3, H, W)``, 0..1."""

    input: Tensor
    target: Tensor


def load_photo(path: Path, larger_side: int) -> Tensor:
    """Decode one photo, reduced so that its larger side is at most ``larger_side``.

    Returns:
        ``(3, H, W)`` uint8.

    Raises:
        ImageError: the file cannot be decoded.
    """
    image = Image.fromarray(read_photo(path, at_least=larger_side).eight_bit())
    image.thumbnail((larger_side, larger_side), Image.Resampling.LANCZOS, reducing_gap=3)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


class PhotoBatches(Dataset[Batch]):
    """Batch number ``i`` is a function of the seed and ``i`` alone, so that a resumed run sees the same batches.

    Args:
        photos: decoded photos, ``(3, H, W)`` uint8.
        size: larger side of the batches, pixels.
        batch_size: photos a batch.
        simulator: makes the inputs.
        seed: of all random choices.
    """

    def __init__(
        self, photos: Sequence[Tensor], size: int, batch_size: int, simulator: ExposureSimulator, seed: Sequence[int]
    ) -> None:
        self.photos = photos
        self.size = size
        self.batch_size = batch_size
        self.simulator = simulator
        self.seed = tuple(seed)
        ratios = np.log([photo.shape[1] / photo.shape[2] for photo in photos])
        nearest = np.abs(ratios[:, None] - np.log([h / w for h, w in ASPECTS])).argmin(1)
        self.groups = [np.flatnonzero(nearest == i) for i in range(len(ASPECTS))]

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([*self.seed, index])
        shares = np.array([len(group) for group in self.groups], dtype=float)
        group = rng.choice(len(ASPECTS), p=shares / shares.sum())
        height, width = (round(self.size * side) for side in ASPECTS[group])
        members = rng.choice(self.groups[group], self.batch_size)
        target = torch.stack([self._crop(self.photos[i], height, width, rng) for i in members])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return Batch(self.simulator(target, generator), target)

    @staticmethod
    def _crop(photo: Tensor, height: int, width: int, rng: np.random.Generator) -> Tensor:
        """A large part of the photo (60 to 100 % a side), slightly stretched, perhaps mirrored."""
        aspect = width / height * np.exp(rng.uniform(-0.08, 0.08))
        full_h, full_w = photo.shape[1:]
        crop_h = min(full_h, full_w / aspect) * rng.uniform(0.6, 1.0)
        h, w = max(1, round(crop_h)), min(full_w, max(1, round(crop_h * aspect)))
        top, left = rng.integers(full_h - h + 1), rng.integers(full_w - w + 1)
        part = photo[None, :, top : top + h, left : left + w].float() / 255
        part = F.interpolate(part, (height, width), mode="bilinear", antialias=True, align_corners=False)[0]
        return part.flip(2) if rng.random() < 0.5 else part
