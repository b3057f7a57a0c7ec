"""From a photo of any size to the corrected photo: network at working size, bilateral grid to full size."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .bilateral.grid import BilateralGrid
from .image.checks import check_image, check_shape
from .image.resize import reduce_to
from .method.contrast import normalise_range, stretch_contrast
from .method.fusion import fuse_exposures
from .method.network import ExposureNetwork
from .method.pyramid import laplacian_pyramid, scale_bands
from .method.weights import load_weights
from .photos.icc import ColourSpace
from .settings import WORKING_SIZE, Settings

__all__ = ["PAIR_SIZE", "WORKING_SIZE", "Corrector", "Settings", "native_dtype"]

# Height and width of the pair that the grid is fitted to. The reference takes 200 x 200; the network's result is
# softer than its input, and at 32 x 32 that does not reach the photo (validation: 0.7 dB and 0.04 SSIM better).
PAIR_SIZE = (32, 32)
# Instruction sets that oneDNN may be limited to, by its environment variable, and that have no bfloat16.
WITHOUT_BFLOAT16 = re.compile("SSE41|AVX|AVX2.*|AVX512_CORE(_VNNI)?")


def native_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device computes in it faster than in float32, else float32.

    Only what the device says of itself counts, and what oneDNN may use of it: without such instructions they are
    emulated, many times slower.
    """
    kind = torch.device(device).type
    if kind == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # PyTorch 2.10 and newer
        found = torch.cpu.get_capabilities()
        limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
        has = found.get("avx512_bf16") or found.get("amx_bf16")
        return torch.bfloat16 if has and not WITHOUT_BFLOAT16.fullmatch(limit) else torch.float32
    if kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32


class Corrector:
    """Corrects the exposure of photos.

    Args:
        network: the network, in evaluation mode, on ``device``.
        device: where the network computes.
        dtype: precision in which the network computes.

    Example:
        >>> corrected = Corrector.load()(image)  # (B, 3, H, W), 0..1
    """

    def __init__(
        self, network: ExposureNetwork, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.network = network
        self.device = torch.device(device)
        self.dtype = dtype

    @classmethod
    def load(
        cls, weights: Path | None = None, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> Corrector:
        """With the weights of a file, or the bundled ones.

        Args:
            weights: the file; None for the bundled one.
            device: where the network computes.
            dtype: precision of the network; None for :func:`native_dtype`. In bfloat16 results are some 50 dB from
                those in float32.

        Raises:
            WeightsError: see :func:`~expcorr_core.method.weights.load_weights`.
        """
        dtype = dtype or native_dtype(device)
        return cls(load_weights(weights).to(device, dtype), device, dtype)

    @torch.no_grad()
    def __call__(self, image: Tensor, settings: Settings | None = None, space: ColourSpace | None = None) -> Tensor:
        """Correct images of any size and content.

        Args:
            image: ``(B, 3, H, W)`` floating-point, 0..1 (values beyond are clamped), any strides, any device.
            settings: what to do.
            space: of the images and of the result; None for sRGB.

        Returns:
            The corrected images: same shape, type and device, 0..1.

        Raises:
            ValueError: wrong shape or type, NaN or infinite values, or gains that do not fit the network.
        """
        settings = settings or Settings()
        if settings.strength == 0:
            check_image(image)
            return image.clone()
        return self.estimate(image, settings, space).blend(settings.strength).to(image.device).slice(image)

    @torch.no_grad()
    def estimate(
        self, image: Tensor, settings: Settings | None = None, space: ColourSpace | None = None
    ) -> BilateralGrid:
        """The full correction of each image as a bilateral grid, whatever ``settings.strength``.

        Args and errors as in :meth:`__call__`.
        """
        settings = settings or Settings()
        small = self.reduce(image, settings)
        return BilateralGrid.fit_reduced(small, self.correct_reduced(small, settings, space), PAIR_SIZE)

    def reduce(self, image: Tensor, settings: Settings) -> Tensor:
        """Images at the size that the network sees, ``(B, 3, h, w)`` float32, 0..1; errors as in :meth:`__call__`."""
        check_shape(image)
        small = reduce_to(image, settings.working_size)
        check_image(small)  # each pixel has its share in it, so that NaN shows here too, at a fraction of the time
        return small.clamp(0, 1)

    @torch.no_grad()
    def correct_reduced(self, small: Tensor, settings: Settings, space: ColourSpace | None = None) -> Tensor:
        """The full correction of what :meth:`reduce` gives, at that size, whatever ``settings.strength``.

        Args:
            small: ``(B, 3, h, w)`` float32, 0..1.
            settings, space: as in :meth:`__call__`.

        Returns:
            ``(B, 3, h, w)`` float32, 0..1.
        """
        seen = space.to_srgb(small) if space else small
        corrected = self.correct_small(seen, settings.gains, settings.mirror)
        if settings.fusion:
            corrected = fuse_exposures((seen, corrected))
        if settings.stretch:
            corrected = stretch_contrast(corrected, settings.stretch)
        return space.carry_back(small, corrected) if space else corrected

    @torch.no_grad()
    def correct_small(self, image: Tensor, gains: Sequence[float] | None = None, mirror: bool = False) -> Tensor:
        """Run the network alone, at the image's own size.

        Args:
            image: ``(B, 3, h, w)`` float32, 0..1.
            gains, mirror: see :class:`Settings`.

        Returns:
            ``(B, 3, h, w)`` float32, 0..1, on the image's device.

        Raises:
            ValueError: the gains do not fit the network.
        """
        if self.network.normalised:
            image = normalise_range(image)
        result = self._run(image, gains)
        if mirror:
            result = (result + self._run(image.flip(3), gains).flip(3)) / 2
        return result

    def _run(self, image: Tensor, gains: Sequence[float] | None) -> Tensor:
        height, width = image.shape[2:]
        multiple = self.network.architecture.multiple
        padded = F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        bands = laplacian_pyramid(padded.to(self.device), self.network.architecture.levels)
        if gains is not None:
            bands = scale_bands(bands, gains)
        result: Tensor = self.network([band.to(self.dtype, memory_format=torch.channels_last) for band in bands])[-1]
        return result[:, :, :height, :width].to(image.device, torch.float32).clamp(0, 1)
