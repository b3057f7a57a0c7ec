"""The list of nodes for ComfyUI."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .correct import ApplyCorrection, ExposureCorrect
from .exposure import ExposureFusion, ExposureMask, ExposureReport, ExposureShift
from .model import LoadExposureModel, register_folder
from .pyramid import LaplacianDecompose, LaplacianReconstruct
from .series import CorrectSeries
from .settings import ExposureSettings
from .upsample import BilateralUpsample
from .video import CorrectFrames, CorrectVideo


class ExposureCorrectionExtension(ComfyExtension):
    async def on_load(self) -> None:
        register_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            LoadExposureModel,
            ExposureCorrect,
            ApplyCorrection,
            CorrectFrames,
            CorrectVideo,
            CorrectSeries,
            ExposureSettings,
            BilateralUpsample,
            LaplacianDecompose,
            LaplacianReconstruct,
            ExposureShift,
            ExposureFusion,
            ExposureReport,
            ExposureMask,
        ]
