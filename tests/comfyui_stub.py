"""A stand-in for what the nodes import of ComfyUI: it keeps what they declare, and computes nothing."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from expcorr_core.method.weights import bundled_weights

ROOT = Path(__file__).parent.parent


class Interrupted(Exception):
    """What ComfyUI raises on Cancel."""


class Port(SimpleNamespace):
    """An input or output of a schema."""

    def __init__(self, id: str = "", **options: Any) -> None:
        super().__init__(id=id, **{"optional": False, "tooltip": "", "extra_dict": {}, **options})


def hidden(port: SimpleNamespace) -> bool:
    """Whether ComfyUI's interface does not show an input."""
    return bool(port.extra_dict.get("hidden"))


class Kind:
    Input = Output = Port


class Progress:
    """A progress bar that lets a test cancel after some steps."""

    steps = 0
    total = 0
    shown: tuple[int, ...] = ()  # the values of the last bar
    cancel_after: int | None = None

    def __init__(self, total: int) -> None:
        Progress.steps, Progress.total, Progress.shown = 0, total, ()

    def update(self, count: int) -> None:
        self.update_absolute(Progress.steps + count)

    def update_absolute(self, value: int, total: int | None = None) -> None:
        Progress.steps = value
        Progress.shown += (value,)

    @classmethod
    def interrupt(cls) -> None:
        if cls.cancel_after is not None and cls.steps >= cls.cancel_after:
            raise Interrupted


class VideoFromComponents(SimpleNamespace):
    """A video in memory."""

    def __init__(self, components: SimpleNamespace) -> None:
        super().__init__(components=components)

    def get_components(self) -> SimpleNamespace:
        return self.components


class VideoFromFile:
    """A video in a file, or a part of it."""

    def __init__(self, file: str, start: float = 0.0) -> None:
        self.file, self.start = file, start

    def get_stream_source(self) -> str:
        return self.file

    def get_container_format(self) -> str:
        return "matroska,webm" if self.file.endswith(".mkv") else "mov,mp4,m4a,3gp,3g2,mj2"

    def get_active_trim_window(self) -> tuple[float, float]:
        return self.start, 0.0

    def save_to(self, path: str) -> None:
        shutil.copy(self.file, path)


def module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


class CurveInput(SimpleNamespace):
    """A curve."""

    @classmethod
    def from_raw(cls, data: dict[str, Any]) -> CurveInput:
        return cls(**data)


def stand_in(models: Path, oldest: bool = False) -> dict[str, ModuleType]:
    """The modules of ComfyUI that the nodes import, of today's or of the oldest that the pack supports."""
    names = ["Image", "Mask", "Video", "Float", "Int", "Boolean", "Combo", "String", "Curve"]
    kinds = dict.fromkeys(names if oldest else [*names, "Histogram"], Kind)
    io = SimpleNamespace(
        ComfyNode=object,
        Schema=SimpleNamespace,
        Input=Port,
        Custom=lambda name: Kind,
        NodeOutput=lambda *values, ui=None: SimpleNamespace(values=values, ui=ui),
        **kinds,
    )
    ui = SimpleNamespace(
        PreviewImage=lambda image, cls: SimpleNamespace(image=image, as_dict=lambda: {"images": image}),
        PreviewText=lambda text: SimpleNamespace(as_dict=lambda: {"text": (text,)}),
    )

    def raise_non_oom(error: Exception) -> None:
        if not isinstance(error, torch.OutOfMemoryError):
            raise error

    cpu = torch.device("cpu")
    management = module(
        "comfy.model_management",
        get_torch_device=lambda: cpu,
        unet_offload_device=lambda: cpu,
        get_free_memory=lambda device: 2**30,
        should_use_fp16=lambda device: False,
        intermediate_device=lambda: cpu,
        intermediate_dtype=lambda: torch.float32,
        load_models_gpu=lambda models, memory_required: None,
        throw_exception_if_processing_interrupted=Progress.interrupt,
        raise_non_oom=raise_non_oom,
        soft_empty_cache=lambda: None,
    )
    patcher = module(
        "comfy.model_patcher",
        CoreModelPatcher=lambda model, load_device, offload_device: SimpleNamespace(
            model=model, load_device=load_device
        ),
    )
    utils = module("comfy.utils", ProgressBar=Progress)
    ops = module("comfy.ops", manual_cast=torch.nn)
    folders = module(
        "folder_paths",
        models_dir=str(models),
        add_model_folder_path=lambda name, path: None,
        get_temp_directory=lambda: str(models / "temp"),
        get_filename_list=lambda name: ["mine.safetensors", "note.txt"],
        get_full_path_or_raise=lambda name, file: str(bundled_weights("paper")),
    )
    comfy = module("comfy", model_management=management, model_patcher=patcher, utils=utils, ops=ops)
    latest = module(
        "comfy_api.latest",
        io=io,
        ui=ui,
        ComfyExtension=object,
        InputImpl=SimpleNamespace(VideoFromComponents=VideoFromComponents, VideoFromFile=VideoFromFile),
        Types=SimpleNamespace(VideoComponents=SimpleNamespace),
    )
    parts = [comfy, management, patcher, utils, ops, folders, latest, module("comfy_api", latest=latest)]
    if not oldest:
        parts.append(module("comfy_api.input", CurveInput=CurveInput))
    return {part.__name__: part for part in parts}


@contextmanager
def loaded(models: Path, oldest: bool = False) -> Iterator[dict[str, Any]]:
    """The pack's nodes by their ids, imported as ComfyUI does: as one package under a name of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, part in stand_in(models, oldest).items():
            patch.setitem(sys.modules, name, part)
        name = "/somewhere/custom_nodes/pack"
        spec = importlib.util.spec_from_file_location(
            name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec
        assert spec.loader
        pack = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, name, pack)
        spec.loader.exec_module(pack)
        extension = asyncio.run(pack.comfy_entrypoint())
        asyncio.run(extension.on_load())  # type: ignore[attr-defined]
        found = asyncio.run(extension.get_node_list())
        try:
            yield {node.define_schema().node_id: node for node in found}
        finally:
            for key in [key for key in sys.modules if key.startswith(name + ".")]:
                del sys.modules[key]
