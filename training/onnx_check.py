"""ONNX graphs against PyTorch, on photos at full size."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.corrector import Corrector, limited
from expcorr_core.ort.sessions import require_onnxruntime
from expcorr_core.settings import Settings


@cache
def _session(path: Path) -> Any:
    """A graph, loaded once for all photos."""
    return require_onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])


def largest_difference(folder: Path, name: str, corrector: Corrector, image: Tensor) -> int:
    """By how much a photo corrected by a graph's grid differs from the corrector's own result.

    Args:
        folder: with the graphs.
        name: of the graph from photo to grid.
        corrector: that they were made from.
        image: ``(1, 3, H, W)``, 0..1.

    Returns:
        The largest difference of the two 8-bit photos, 0..255.
    """
    settings = Settings()
    small = corrector.reduce(image, settings)
    grid = torch.from_numpy(_session(folder / name).run(["grid"], {"photo": small.numpy()})[0])
    results = [
        (made * 255).round().numpy().astype(np.int16)
        for made in (limited(BilateralGrid(grid), settings).slice(image), corrector(image, settings))
    ]
    return int(np.abs(results[0] - results[1]).max())
