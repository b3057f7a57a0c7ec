"""The network's input and precision in training and validation, and its scores on validation pairs."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from expcorr_core.data.dataset import load_photo
from expcorr_core.data.pairs import Pair
from expcorr_core.image.metrics import EQUAL_PSNR, psnr, ssim
from expcorr_core.method.contrast import normalise_range
from expcorr_core.method.global_level import GlobalNetwork
from expcorr_core.method.network import Architecture
from expcorr_core.method.pyramid import laplacian_pyramid
from expcorr_core.method.weights import Network
from expcorr_core.photos.photo import Photo

from .schedule import Stage

WHOLE_SIDE = 512  # largest side at which networks trained on patches are validated
SHOWN = 4  # photos in TensorBoard


def bands_of(image: Tensor, levels: int, finest: int) -> list[Tensor | None]:
    """The network's input, made from an image of the size of ``Y(finest)``."""
    if finest == 1:
        return [*laplacian_pyramid(image, levels)]
    # Y(finest) has twice the size of band X(finest): the image's own finest band is above it.
    bands: list[Tensor | None] = [*laplacian_pyramid(image, levels - finest + 2)[1:]]
    return [None] * (finest - 1) + bands


class Validation:
    """PSNR and SSIM of the finest trained output, at the stage's own size; of the global network (0 levels) at 512."""

    def __init__(self, pairs: list[Pair], stage: Stage, levels: int, normalise: bool) -> None:
        self.finest, self.levels, self.normalise = stage.finest, levels, normalise
        side = WHOLE_SIDE if stage.patches or not levels else stage.size
        size_multiple = stage.size_multiple(Architecture.of_levels(levels)) if levels else 1
        self.pairs = [
            (
                _to_multiple(load_photo(pair.input, side), side, size_multiple),
                _to_multiple(load_photo(pair.target, side), side, size_multiple),
            )
            for pair in pairs
        ]

    @torch.inference_mode()
    def run(self, network: Network, device: str, precision: str) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Mean scores, and some of the photos with the output of each level."""
        scores: list[tuple[float, float]] = []
        shown: dict[str, Tensor] = {}
        chosen = range(0, len(self.pairs), max(1, len(self.pairs) // SHOWN))[:SHOWN]
        for index, pair in enumerate(self.pairs):
            image, target = (photo.float() / 255 for photo in pair)
            if self.normalise:
                image = normalise_range(image)
            with autocast(device, precision):
                outputs = self._outputs(network, image.to(device))
            made = outputs[-1].float().cpu().clamp(0, 1)
            scores.append(self._score(made, target))
            if index in chosen:
                names = [f"Y{level}" for level in range(self.levels, self.finest - 1, -1)] or ["Y"]
                for name, value in zip(("input", *names, "target"), (image, *outputs, target), strict=True):
                    shown[f"{index}/{name}"] = value.float().cpu()
        mean = [sum(column) / len(scores) for column in zip(*scores, strict=True)]
        return {"validation_psnr": mean[0], "validation_ssim": mean[1]}, shown

    def _outputs(self, network: Network, image: Tensor) -> list[Tensor]:
        if isinstance(network, GlobalNetwork):
            return [network.find(image)[0].apply(image)]
        return network.forward(bands_of(image, self.levels, self.finest), self.finest)

    @staticmethod
    def _score(made: Tensor, target: Tensor) -> tuple[float, float]:
        values = [Photo.from_tensor(x).eight_bit() for x in (made, target)]
        try:
            similarity = ssim(*values)
        except ModuleNotFoundError:  # the eval extra
            similarity = math.nan
        return min(psnr(*values), EQUAL_PSNR), similarity


def _to_multiple(photo: Tensor, side: int, size_multiple: int) -> Tensor:
    """Reduce a uint8 photo to a larger side, and resize it so that both sides are divisible as the network needs."""
    scale = min(1.0, side / max(photo.shape[1:]))
    height, width = (max(1, round(length * scale / size_multiple)) * size_multiple for length in photo.shape[1:])
    return nn.functional.interpolate(photo[None], (height, width), mode="bilinear", antialias=True)


def autocast(device: str, precision: str) -> Any:
    return torch.autocast(device.partition(":")[0], torch.bfloat16) if precision == "bfloat16" else nullcontext()
