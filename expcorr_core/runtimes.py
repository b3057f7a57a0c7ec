"""What networks are computed by: PyTorch, or ONNX Runtime, which needs a fifth of the room on the disk."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .image.arrays import tensor_of
from .settings import Settings, UsageError

if TYPE_CHECKING:
    from .bilateral.array_grid import Grid
    from .corrector import Corrector
    from .ort.corrector import OnnxCorrector

TORCH, ONNX = "torch", "onnx"
_NAMES = {TORCH: "PyTorch", ONNX: "ONNX Runtime"}
_MODULES = {TORCH: "torch", ONNX: "onnxruntime"}
_EXTRAS = {TORCH: "standalone", ONNX: "onnx"}


def choose_runtime(name: str | None, weights: Path | None = None) -> str:
    """The runtime with this name; without one what the weights are for, or PyTorch, or else ONNX Runtime.

    Raises:
        UsageError: it is not installed, or neither is, or the weights are for the other.
    """
    exported = weights is not None and _is_exported(weights)
    if exported and name == TORCH:
        raise UsageError(f"PyTorch cannot read {weights}; leave --runtime out, or name a safetensors file")
    if exported:
        name = ONNX
    if name is None:
        for found in (TORCH, ONNX):
            if _is_installed(found):
                return found
        raise UsageError(
            "neither PyTorch nor ONNX Runtime is installed; pip install 'expcorr[standalone]' or 'expcorr[onnx]'"
        )
    if not _is_installed(name):
        raise UsageError(f"{_NAMES[name]} is not installed; pip install 'expcorr[{_EXTRAS[name]}]'")
    return name


def _is_exported(weights: Path) -> bool:
    return weights.suffix.lower() == ".onnx"


def _is_installed(runtime: str) -> bool:
    try:
        return find_spec(_MODULES[runtime]) is not None
    except (ImportError, ValueError):  # something forbids it
        return False


def onnx_device(name: str, weights: Path | None, settings: Settings) -> str:
    """The device of ONNX Runtime with this name, see :func:`.sessions.pick_device`, with what is to be done there.

    Raises:
        UsageError: ONNX Runtime cannot do it, or not there.
    """
    from .ort.corrector import check_settings
    from .ort.sessions import pick_device

    check_settings(settings)
    device = pick_device(name, _exported(weights))
    corrector_of(weights, device, ONNX)  # which is loaded once, and tells whether the device can be used
    return device


def pick_device(name: str) -> str:
    """PyTorch's device with this name; ``auto`` takes CUDA, then Apple's GPU, then the CPU.

    Raises:
        UsageError: PyTorch does not know the device or cannot use it here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is unknown; use auto, cpu, cuda, cuda:1 or mps") from error
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); try cpu") from error
    return str(device)


def _exported(weights: Path | None) -> Path | None:
    """The file of an exported network, None for the default; UsageError for what ONNX Runtime cannot read."""
    from .method.weights_file import weights_path

    if weights is None or weights == weights_path():
        return None
    if not _is_exported(weights):
        raise UsageError(
            f"ONNX Runtime cannot read {weights}; export it (python training/export.py {weights} FOLDER --onnx) and "
            "name FOLDER/model_fp16.onnx, or use PyTorch: pip install 'expcorr[standalone]'"
        )
    return weights


@cache
def corrector_of(weights: Path | None, device: str, runtime: str) -> Corrector | OnnxCorrector:
    """The corrector of a weights file (None: the bundled ones) on a device, loaded once per process."""
    if runtime == ONNX:
        from .ort.corrector import OnnxCorrector

        return OnnxCorrector(_exported(weights), device)
    from .corrector import Corrector

    return Corrector.load(weights, device)


def image_for(array: NDArray[np.float32], runtime: str) -> Any:
    """An image as what a runtime's corrector and grids take: an array or a tensor."""
    return array if runtime == ONNX else tensor_of(array)


def identity_grid(runtime: str) -> Grid:
    """The grid of a runtime that changes nothing."""
    if runtime == ONNX:
        from .bilateral.array_grid import ArrayGrid

        return ArrayGrid.identity()
    from .bilateral.grid import BilateralGrid

    return BilateralGrid.identity()
