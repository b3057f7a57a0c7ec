"""Load Exposure Model."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import folder_paths
import torch
from comfy_api.latest import io

from ..expcorr_core.corrector import Corrector, best_dtype
from ..expcorr_core.files import digest
from ..expcorr_core.hub import download_weights, misnamed
from ..expcorr_core.method.global_level import GlobalNetwork
from ..expcorr_core.method.network import ExposureNetwork
from ..expcorr_core.method.weights import bundled_weights, load_weights

FOLDER = "exposure_correction"  # in ComfyUI's models folder and in extra_model_paths.yaml
BUNDLED = {"bundled": "default", "paper": "paper"}  # by the name in the node
# The most that is live at 512 x 512 in float32: with the workspaces of the paper's convolutions, or while curves are
# applied.
WORKING_BYTES_PER_PIXEL = {ExposureNetwork: 1024, GlobalNetwork: 192}

AT_ONCE = 16  # frames at most that the network runs on together
SHARE = 0.5  # of the free memory, at most, that they may take

ExposureModelType = io.Custom("EXPCORR_MODEL")


def model_input() -> io.Input:
    """The model, for nodes that require one."""
    return ExposureModelType.Input("model", display_name="exposure model", tooltip="From Load Exposure Model.")


class ExposureModel:
    """A loaded network under ComfyUI's memory management.

    Attributes:
        has_bands: whether it corrects the bands of a pyramid, as the paper's does, so that they can have gains.
    """

    def __init__(self, path: Path) -> None:
        device = comfy.model_management.get_torch_device()
        network = load_weights(path, comfy.ops.manual_cast)
        self.has_bands = isinstance(network, ExposureNetwork)
        self.working_bytes = WORKING_BYTES_PER_PIXEL[type(network)]
        self.dtype = best_dtype(network, device)
        if self.has_bands and comfy.model_management.should_use_fp16(device):
            self.dtype = torch.float16
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            network.to(self.dtype),
            load_device=device,
            offload_device=comfy.model_management.unet_offload_device(),
        )

    def corrector(self, working_size: int) -> Corrector:
        """Load the network to its device and return a corrector for images reduced to ``working_size``."""
        required = working_size**2 * self.working_bytes
        comfy.model_management.load_models_gpu([self.patcher], memory_required=required)
        return Corrector(self.patcher.model, device=self.patcher.load_device, dtype=self.dtype)

    def frames_at_once(self, working_size: int) -> int:
        """How many frames the network may run on together: one on the CPU, where more save no time."""
        device = self.patcher.load_device
        if device.type == "cpu":
            return 1
        free = SHARE * comfy.model_management.get_free_memory(device)
        return max(1, min(AT_ONCE, int(free / (working_size**2 * self.working_bytes))))


def register_folder() -> None:
    """Make ComfyUI look for weights in ``models/exposure_correction``."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


class LoadExposureModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = [name for name in folder_paths.get_filename_list(FOLDER) if name.endswith(".safetensors")]
        return io.Schema(
            node_id="ExpCorr_LoadModel",
            display_name="Load Exposure Model",
            category="model/loaders",
            description="Loads the weights for Exposure Correct: the bundled ones, or a file from the models folder "
            f"'{FOLDER}'.",
            search_aliases=["load exposure correction model", "exposure weights"],
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=[*BUNDLED, *files],
                    default=next(iter(BUNDLED)),
                    display_name="weights",
                    tooltip="'bundled' changes the whole photo by the same curves; 'paper' is the network of the CVPR "
                    "2021 paper, which takes band gains. Both come with the node pack. Other safetensors files are "
                    f"looked for in ComfyUI's models folder '{FOLDER}'.",
                ),
                io.String.Input(
                    "repository",
                    default="",
                    display_name="Hub repository",
                    tooltip="A Hugging Face repository, owner/name: its expcorr-global-fp16.safetensors is downloaded "
                    "and used instead of those above. If empty, nothing is downloaded.",
                    optional=True,
                    advanced=True,
                ),
            ],
            outputs=[
                ExposureModelType.Output(display_name="exposure model", tooltip="Connect to Exposure Correct."),
            ],
        )

    @classmethod
    def validate_inputs(cls, repository: str | None = None) -> bool | str:
        """Called before anything runs; ComfyUI passes None for values that come through a link."""
        name = (repository or "").strip()
        return (misnamed(name) if name else "") or True

    @classmethod
    def fingerprint_inputs(cls, weights: str | None, repository: str | None = None) -> str:
        """Checksum of the file, so that a changed one is loaded again.

        The Hub is not asked each time: a file in its cache never changes.
        """
        return "" if weights is None or (repository or "").strip() else digest(_file(weights))

    @classmethod
    def execute(cls, weights: str, repository: str = "") -> io.NodeOutput:
        name = repository.strip()
        return io.NodeOutput(ExposureModel(download_weights(name) if name else _file(weights)))


def _file(weights: str) -> Path:
    """The file that a choice of weights stands for."""
    if weights in BUNDLED:
        return bundled_weights(BUNDLED[weights])
    return Path(folder_paths.get_full_path_or_raise(FOLDER, weights))
