"""Exposure Settings: what few need, for all nodes that correct.

ComfyUI's classic interface shows `advanced` inputs like all others (only Nodes 2.0 folds them), so these have a node of
their own. The nodes that had them before keep them, hidden: saved graphs hold values by their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from comfy_api.latest import io

from ..expcorr_core.settings import WORKING_SIZE, Settings
from .inputs import factor
from .model import ExposureModel

SettingsType = io.Custom("EXPCORR_SETTINGS")
BANDS = ("finest band", "second band", "third band", "coarsest band (colour and brightness)")


def gain_inputs() -> list[io.Input]:
    """Factors on the bands of the paper's network."""
    return [
        factor(
            f"gain_{level}",
            f"band gain {level}",
            f"Factor on the pyramid's {name}, before the network runs. Only with the paper's network: 'paper' in "
            "Load Exposure Model.",
            high=4.0,
        )
        for level, name in enumerate(BANDS, 1)
    ]


def working_size_input() -> io.Input:
    """The size of the network's copy."""
    return io.Int.Input(
        "working_size",
        default=WORKING_SIZE,
        min=128,
        max=2048,
        step=128,
        display_name="working size",
        tooltip="Longer side of the network's copy, in pixels. It was trained at 512.",
    )


def mirror_input() -> io.Input:
    """Whether the network also sees the mirrored photo."""
    return io.Boolean.Input(
        "mirror",
        default=True,
        display_name="average with mirrored",
        tooltip="Averages with the mirrored photo's correction: more consistent, twice the network's time.",
    )


def hidden(*inputs: io.Input) -> list[io.Input]:
    """Inputs that Exposure Settings has: not shown, in effect for saved graphs and for prompts that name them."""
    for part in inputs:
        part.optional = True
        part.extra_dict = {"hidden": True}
    return list(inputs)


def settings_input() -> io.Input:
    """The settings, for nodes that correct."""
    return SettingsType.Input(
        "settings",
        display_name="settings",
        tooltip="For experts, from Exposure Settings. Overrides what older workflows have saved.",
        optional=True,
    )


def settings_of(gains: Sequence[float], working_size: int, mirror: bool = True) -> Settings:
    """Settings without the strength and what is applied after it."""
    changed = any(gain != 1 for gain in gains)
    return Settings(gains=gains if changed else None, working_size=working_size, flip=mirror)


def completed(settings: Settings, model: ExposureModel, strength: float, fusion: bool, stretch: float) -> Settings:
    """The settings with the inputs of the node that corrects; ValueError where they do not fit the model."""
    if settings.gains and not model.has_bands:
        raise ValueError(
            "band gains need the paper's network: choose 'paper' in Load Exposure Model, or connect Exposure Settings "
            "and set all of them to 1"
        )
    return replace(settings, strength=strength, fusion=fusion, stretch=stretch)


class ExposureSettings(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ExpCorr_Settings",
            display_name="Exposure Settings",
            category="image/adjustments",
            description="Rarely needed settings of Exposure Correct, also for frames, videos and series: the network's "
            "working size, and gains on the bands of the paper's network.",
            search_aliases=["band gain", "working size", "expert settings", "advanced exposure options"],
            inputs=[working_size_input(), mirror_input(), *gain_inputs()],
            outputs=[SettingsType.Output(display_name="settings", tooltip="Connect to Exposure Correct.")],
        )

    @classmethod
    def execute(
        cls, working_size: int, mirror: bool, gain_1: float, gain_2: float, gain_3: float, gain_4: float
    ) -> io.NodeOutput:
        return io.NodeOutput(settings_of((gain_1, gain_2, gain_3, gain_4), working_size, mirror))
