"""PSNR and SSIM on 8-bit RGB, as all results of this project are reported, and the perceptual index.

SSIM needs scikit-image (the eval extra), PI needs pyiqa.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

LUMA = np.array((0.2126, 0.7152, 0.0722), np.float32)  # Rec. 709
WHITE_SHARE, WHITE = 0.005, 235
EQUAL_PSNR = 100.0  # dB that equal images contribute to a mean


def psnr(result: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of two ``(H, W, 3)`` uint8 images; infinite when they are equal."""
    error = np.mean((result.astype(np.float64) - target.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def require_ssim() -> Callable[..., Any]:
    """scikit-image's function; ModuleNotFoundError where it is missing."""
    try:
        from skimage.metrics import structural_similarity
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("SSIM needs scikit-image: pip install 'expcorr[eval]'") from error
    return structural_similarity


def ssim(result: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al. 2004) of two ``(H, W, 3)`` uint8 images, mean of the channels.

    Raises:
        ModuleNotFoundError: scikit-image is not installed.
        ValueError: an image is smaller than the window of 11 x 11 pixels.
    """
    return float(
        require_ssim()(result, target, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2)
    )


class Look(NamedTuple):
    """What of a picture's look PSNR says little about.

    Attributes:
        brightness: mean of the values, 0..255.
        chroma: mean distance of the values from the luminance of their pixel, 0..255.
    """

    brightness: float
    chroma: float

    @classmethod
    def of(cls, picture: NDArray[np.uint8]) -> Look:
        """Of an ``(H, W, 3)`` image."""
        values = picture.astype(np.float32)
        return cls(float(values.mean()), float(np.abs(values - (values @ LUMA)[..., None]).mean()))


def kept_whites(result: NDArray[np.uint8], target: NDArray[np.uint8]) -> float | None:
    """Mean luminance of a result where its target is brightest (half a percent), as a share of the target's.

    None if the target has no whites there: below 235 of 255.
    """
    before, after = (picture.astype(np.float32) @ LUMA for picture in (target, result))
    level = np.quantile(before, 1 - WHITE_SHARE)
    whites = before >= level
    return float(after[whites].mean() / before[whites].mean()) if level > WHITE else None


class PerceptualIndex:
    """PI = 0.5 * ((10 - Ma) + NIQE) without a reference (lower is better; the paper's third metric), by pyiqa.

    Raises:
        ModuleNotFoundError: pyiqa is not installed.
    """

    def __init__(self) -> None:
        try:
            import pyiqa
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("PI needs pyiqa: pip install pyiqa") from error
        self._metric = pyiqa.create_metric("pi")

    def __call__(self, image: NDArray[np.uint8]) -> float:
        """Of one ``(H, W, 3)`` image."""
        return float(self._metric(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255))
