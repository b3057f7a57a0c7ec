"""From a photo of any size to the corrected photo: network at working size, bilateral grid to full size."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bilateral.grid import BilateralGrid
from .image.checks import check_image, check_shape
from .image.limits import Limits
from .image.resize import reduce_to, resize
from .method.contrast import normalise_range, stretch_contrast
from .method.fusion import fuse_exposures
from .method.global_level import GlobalNetwork
from .method.network import ExposureNetwork
from .method.pyramid import laplacian_pyramid, scale_bands
from .method.weights import Network, load_weights
from .photos.icc import ColourSpace
from .photos.photo import Photo
from .pretrained import Pretrained
from .settings import Settings

# Height and width of the pair that the grid is fitted to. The reference uses 200 x 200; the network's result is
# softer than its input, and at 32 x 32 that does not affect the photo (validation: 0.7 dB and 0.04 SSIM better).
PAIR_SIZE = (32, 32)
# Instruction sets without bfloat16 that oneDNN's environment variable may limit it to.
WITHOUT_BFLOAT16 = re.compile("SSE41|AVX|AVX2.*|AVX512_CORE(_VNNI)?")


def native_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device computes in it faster than in float32, else float32.

    This depends only on the instructions that the device reports and that oneDNN may use: without them, bfloat16 is
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


def best_dtype(network: Network, device: torch.device | str) -> torch.dtype:
    """The precision to compute a network in: that of the device, but for the global network, which takes no time."""
    return torch.float32 if isinstance(network, GlobalNetwork) else native_dtype(device)


class Examined(NamedTuple):
    """What was found of photos.

    Attributes:
        corrected: their full corrections, ``(B, 3, h, w)`` float32, 0..1.
        well_exposed: ``(B,)`` probabilities that they are well exposed, where as many are as not; None from the paper's
            network, which has no opinion.
    """

    corrected: Tensor
    well_exposed: Tensor | None


class Corrector(Pretrained, nn.Module):
    """Corrects the exposure of photos.

    A :class:`torch.nn.Module`: ``.to()``, ``.half()`` and ``.eval()`` work as usual. Gradients flow through
    :meth:`correct_small` (after ``requires_grad_()``), not through the fit of the grid.

    Args:
        network: the network.
        device, dtype: where and in which precision it computes, for a host program that keeps the weights elsewhere
            and moves and casts them itself; None for those of the weights.

    Example:
        >>> corrected = Corrector.load()(image)  # (B, 3, H, W), 0..1
    """

    runtime = "torch"  # what it is computed by

    def __init__(
        self, network: Network, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self._device = None if device is None else torch.device(device)
        self._dtype = dtype

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self._device or next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which the network computes."""
        return self._dtype or next(self.network.parameters()).dtype

    @classmethod
    def load(
        cls, weights: str | Path | None = None, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> Corrector:
        """Load a corrector with the weights in a file, or the bundled ones.

        Args:
            weights: the file; ``paper`` for the bundled weights of the paper's network; None for the bundled default.
            device: where the network computes.
            dtype: precision of the network; None for :func:`best_dtype`. Results of the paper's network in bfloat16
                agree with those in float32 to about 50 dB PSNR.

        Raises:
            WeightsError: see :func:`~expcorr_core.method.weights.load_weights`.
        """
        network = load_weights(weights)
        return cls(network.to(device, dtype or best_dtype(network, device))).eval()

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> Corrector:
        """Load a corrector with weights from a repository on the Hugging Face Hub or from a local folder.

        Args:
            name: ``owner/name`` of the repository, or a folder that ``save_pretrained`` wrote.
            revision: branch, tag or commit of the repository.
            device, dtype: as for :meth:`load`.

        Raises:
            WeightsError: there are no such weights, or they cannot be loaded.
        """
        return cls.load(cls.find_pretrained(name, revision), device, dtype)

    @torch.no_grad()
    def forward(self, image: Tensor, settings: Settings | None = None, space: ColourSpace | None = None) -> Tensor:
        """Correct images of any size and content.

        Args:
            image: ``(B, 3, H, W)`` floating-point, 0..1 (values beyond are clamped), any strides, any device.
            settings: how to correct.
            space: colour space of the images and the result; None for sRGB.

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

    def correct_photo(self, photo: Photo, settings: Settings | None = None) -> Photo:
        """Correct a decoded photo in its own colour space and tone curve; errors as in :meth:`forward`."""
        return photo.with_tensor(self(photo.to_tensor(), settings, photo.space))

    @torch.no_grad()
    def estimate(
        self, image: Tensor, settings: Settings | None = None, space: ColourSpace | None = None
    ) -> BilateralGrid:
        """The full correction of each image as a bilateral grid, whatever ``settings.strength``.

        Args and errors as in :meth:`forward`.
        """
        settings = settings or Settings()
        small = self.reduce(image, settings)
        return self.find(small, settings, space)[0]

    def find(
        self, small: Tensor, settings: Settings, space: ColourSpace | None = None
    ) -> tuple[BilateralGrid, Tensor | None]:
        """The full correction of what :meth:`reduce` returns, and how surely the photos are well exposed.

        Args and errors as in :meth:`forward`; for the latter see :class:`Examined`.
        """
        examined = self.examine(small, settings, space)
        return self.fit(small, examined.corrected, settings), examined.well_exposed

    @staticmethod
    def fit(small: Tensor, corrected: Tensor, settings: Settings) -> BilateralGrid:
        """The correction that leads from what :meth:`reduce` returns to what :meth:`correct_reduced` does."""
        return limited(BilateralGrid.fit_reduced(small, corrected, PAIR_SIZE), settings)

    def reduce(self, image: Tensor, settings: Settings) -> Tensor:
        """Images at the size that the network sees, ``(B, 3, h, w)`` float32, 0..1; errors as in :meth:`forward`."""
        check_shape(image)
        small = reduce_to(image, settings.working_size)
        check_image(small)  # every pixel contributes to it, so a NaN also shows here, in a fraction of the time
        return small.clamp(0, 1)

    def correct_reduced(self, small: Tensor, settings: Settings, space: ColourSpace | None = None) -> Tensor:
        """The full correction of what :meth:`reduce` returns, at that size, whatever ``settings.strength``.

        Args:
            small: ``(B, 3, h, w)`` float32, 0..1.
            settings, space: as in :meth:`forward`.

        Returns:
            ``(B, 3, h, w)`` float32, 0..1.
        """
        return self.examine(small, settings, space).corrected

    @torch.no_grad()
    def examine(
        self,
        small: Tensor,
        settings: Settings,
        space: ColourSpace | None = None,
        size: tuple[int, int] | None = None,
    ) -> Examined:
        """The same as :meth:`correct_reduced`, and how surely the photos are well exposed.

        Args:
            small, settings, space: as for that method.
            size: height and width of the corrected copies, if they are to be smaller than ``small``.
        """
        seen = space.to_srgb(small) if space else small
        corrected, well_exposed = self._run(seen, settings.gains, settings.flip, size)
        if settings.fusion:
            corrected = fuse_exposures((seen if size is None else resize(seen, size), corrected))
        if settings.stretch:
            corrected = stretch_contrast(corrected, settings.stretch)
        if space:
            corrected = space.carry_back(small if size is None else resize(small, size), corrected)
        return Examined(corrected, well_exposed)

    def correct_small(self, image: Tensor, gains: Sequence[float] | None = None, flip: bool = False) -> Tensor:
        """Run only the network, at the image's own size.

        Args:
            image: ``(B, 3, h, w)`` float32, 0..1.
            gains, flip: see :class:`Settings`.

        Returns:
            ``(B, 3, h, w)`` float32, 0..1, on the image's device.

        Raises:
            ValueError: the gains do not fit the network.
        """
        return self._run(image, gains, flip)[0]

    def _run(
        self, image: Tensor, gains: Sequence[float] | None, flip: bool, size: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What :meth:`correct_small` returns, at another size if told, and how surely the photos are well exposed."""
        if isinstance(self.network, GlobalNetwork):
            if gains is not None:
                raise ValueError("gains are for networks with pyramid levels, such as the paper's")
            seen = image.to(self.device)
            curves, probability = self.network.find(seen, flip, self.dtype)
            shown = seen if size is None else resize(seen, size)
            return curves.apply(shown).clamp(0, 1).to(image.device), probability.to(image.device)
        if self.network.normalised:
            image = normalise_range(image)
        result = self._run_levels(self.network, image, gains)
        if flip:
            result = (result + self._run_levels(self.network, image.flip(3), gains).flip(3)) / 2
        return result if size is None else resize(result, size), None

    def _run_levels(self, network: ExposureNetwork, image: Tensor, gains: Sequence[float] | None) -> Tensor:
        height, width = image.shape[2:]
        multiple = network.architecture.multiple
        padded = F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        bands = laplacian_pyramid(padded.to(self.device), network.architecture.levels)
        if gains is not None:
            bands = scale_bands(bands, gains)
        result: Tensor = network([band.to(self.dtype, memory_format=torch.channels_last) for band in bands])[-1]
        return result[:, :, :height, :width].to(image.device, torch.float32).clamp(0, 1)


def limited(grid: BilateralGrid, settings: Settings) -> BilateralGrid:
    """The same grid with the limits of the settings."""
    return grid.within(Limits.of(settings.max_stops, settings.keep_highlights))
