"""The exported networks, and the processors that ONNX Runtime computes them on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..image.arrays import Floats
from ..machine import threads
from ..settings import UsageError

# What ONNX Runtime calls the processors, by the name that users choose them by; after the first, auto prefers them so.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
PACKAGES = {"cuda": "onnxruntime-gpu", "directml": "onnxruntime-directml", "openvino": "onnxruntime-openvino"}
DEFAULT, FIT = "model_fp16.onnx", "fit.onnx"  # the bundled graphs


def require_onnxruntime() -> Any:
    """ONNX Runtime, told to report nothing to its makers.

    Raises:
        UsageError: it is missing, or cannot be loaded.
    """
    # From version 1.29 on, its packages send what they are used for, and leave an identifier on the disk.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "ONNX Runtime is not installed or cannot be loaded; pip install 'expcorr[onnx]', or for PyTorch "
            "'expcorr[standalone]'"
        ) from error
    onnxruntime.disable_telemetry_events()  # Windows does not heed the variable
    onnxruntime.set_default_logger_severity(3)  # errors only
    return onnxruntime


def model_file(name: str) -> Path:
    """Where an exported network is: beside the package, in a checkout or where a wheel was installed.

    Raises:
        UsageError: it is in neither place.
    """
    root = Path(__file__).resolve().parent.parent.parent
    for folder in (root / "weights" / "onnx", root / "expcorr_weights" / "onnx"):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"the bundled network {name} is missing; reinstall the package, or use PyTorch: --runtime torch")


def pick_device(name: str, weights: Path | None = None) -> str:
    """The processor with this name; ``auto`` takes a GPU that ONNX Runtime has here, but for the default network.

    That one takes milliseconds without.

    Raises:
        UsageError: ONNX Runtime is missing, or does not know the processor or has no part for it here.
    """
    available = require_onnxruntime().get_available_providers()
    has = [device for device, provider in PROVIDERS.items() if provider in available]
    if name == "auto":
        return next((device for device in has[1:] if weights), "cpu")
    if name not in PROVIDERS:
        raise UsageError(f"device {name!r} is unknown to ONNX Runtime; use auto, {', '.join(PROVIDERS)}")
    if name not in has:
        advice = f"pip install {PACKAGES[name]}" if name in PACKAGES else "it is for macOS"
        raise UsageError(f"this ONNX Runtime cannot use {name} ({advice}); it has {', '.join(has)}")
    return name


class Session:
    """An exported network, ready to run.

    Args:
        path: its file.
        device: one of :data:`PROVIDERS`.

    Raises:
        UsageError: there is no file, or the device cannot be used.
        ValueError: the file is damaged.
    """

    def __init__(self, path: Path, device: str) -> None:
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        runtime = require_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.enable_cpu_mem_arena = False  # which would keep the most memory that any photo needed
        chosen = [PROVIDERS[device], *([PROVIDERS["cpu"]] if device != "cpu" else [])]
        try:
            self._session = runtime.InferenceSession(path, options, providers=chosen)
        except Exception as error:  # of kinds that the runtime does not document
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"ONNX Runtime cannot load {path} ({reason}); export it again, or reinstall the package"
            ) from error
        if self._session.get_providers()[0] != PROVIDERS[device]:  # it goes on with the CPU by itself
            raise UsageError(f"ONNX Runtime cannot start {device} here; use --device cpu")
        self.outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, **inputs: Floats) -> dict[str, Floats]:
        """The outputs of the network, by name."""
        given = {name: np.ascontiguousarray(value, np.float32) for name, value in inputs.items()}
        return dict(zip(self.outputs, self._session.run(None, given), strict=True))
