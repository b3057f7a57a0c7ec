"""Measures that tests compare images with."""

from __future__ import annotations

import math

from torch import Tensor


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images 0..1; 120 where they are equal."""
    return -10 * math.log10(float((a - b).square().mean()) + 1e-12)
