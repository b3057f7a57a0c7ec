"""Exposure Correct (Frames) and Exposure Correct (Video)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
from comfy_api.latest import InputImpl, Types, io
from torch import Tensor

from ..expcorr_core.settings import WORKING_SIZE, Settings
from ..expcorr_core.video.files import correct_video
from ..expcorr_core.video.sequence import SequenceCorrector, Smoothing
from .correct import apply_correction
from .correction import Correction, GridType
from .inputs import SOFTNESS, change_inputs, mask_inputs
from .layout import Steps, before_and_after, seen, to_core, with_preview
from .model import ExposureModel, model_input
from .settings import completed, hidden, settings_input, working_size_input

ALIASES = [
    "auto exposure video", "video exposure", "fix dark video", "fix overexposed video", "brighten video",
    "low light video", "night video", "deflicker", "flicker", "time lapse",
]  # fmt: skip


def time_inputs() -> list[io.Input]:
    """How corrections change over time."""
    usual = Smoothing()
    return [
        io.Float.Input(
            "smoothing",
            default=usual.frames,
            min=0.0,
            max=1000.0,
            step=1.0,
            display_name="smoothing (frames)",
            tooltip="Frames that corrections are smoothed over. 0 corrects each frame on its own, which flickers.",
        ),
        io.Boolean.Input(
            "one_correction",
            default=False,
            display_name="one correction",
            tooltip="The same correction for the whole clip: where neither light nor scene changes.",
        ),
        io.Int.Input(
            "every",
            default=usual.every,
            min=1,
            max=100,
            display_name="network every",
            tooltip="The network runs on only every k-th frame. Higher is faster, but follows changes later.",
            advanced=True,
        ),
        io.Float.Input(
            "threshold",
            default=usual.threshold,
            min=0.05,
            max=10.0,
            step=0.05,
            display_name="scene threshold",
            tooltip="A new scene begins where the previous frame leaves this share of a frame's contrast unexplained. "
            "10 never cuts.",
            advanced=True,
        ),
        *hidden(working_size_input()),
    ]


class CorrectFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="ExpCorr_CorrectFrames",
            display_name="Exposure Correct (Frames)",
            category="image/adjustments",
            description="Corrects the frames of a clip, given as a batch of images, without flicker.",
            search_aliases=ALIASES,
            inputs=[
                model_input(),
                io.Image.Input("image", display_name="frames", tooltip="In order, of any size; alpha passes through."),
                *change_inputs(),
                *time_inputs(),
                *mask_inputs(),
                settings_input(),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The corrected frames, same size."),
                GridType.Output(
                    display_name="correction",
                    tooltip="One per frame, or one for all, for Apply Exposure Correction, e.g. for a larger copy.",
                ),
            ],
        )
        return with_preview(schema)

    @classmethod
    def execute(
        cls,
        model: ExposureModel,
        image: Tensor,
        strength: float,
        fusion: bool,
        stretch: float,
        smoothing: float,
        one_correction: bool,
        every: int,
        threshold: float,
        working_size: int = WORKING_SIZE,
        mask: Tensor | None = None,
        softness: float = SOFTNESS,
        settings: Settings | None = None,
    ) -> io.NodeOutput:
        if strength == 0:
            return io.NodeOutput(image, Correction.identity(len(image)), ui=before_and_after(cls, image, image))
        used = completed(settings or Settings(working_size=working_size), model, strength, fusion, stretch)
        sequence = _sequence(model, used, Smoothing(smoothing, every, threshold=threshold))
        correction = _correction(sequence, image, one_correction)
        result = apply_correction(correction, image, mask, softness)
        return io.NodeOutput(result, correction, ui=before_and_after(cls, image, result))


class CorrectVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ExpCorr_CorrectVideo",
            display_name="Exposure Correct (Video)",
            category="image/adjustments",
            description="Corrects a video without flicker. A video from a file is never in memory as a whole; its "
            "audio, timestamps and colour tags stay.",
            search_aliases=ALIASES,
            inputs=[
                model_input(),
                io.Video.Input("video", display_name="video", tooltip="From Load Video or Create Video."),
                *change_inputs(),
                *time_inputs(),
                settings_input(),
            ],
            outputs=[io.Video.Output(display_name="video", tooltip="The corrected video, with its audio.")],
        )

    @classmethod
    def execute(
        cls,
        model: ExposureModel,
        video: Any,
        strength: float,
        fusion: bool,
        stretch: float,
        smoothing: float,
        one_correction: bool,
        every: int,
        threshold: float,
        working_size: int = WORKING_SIZE,
        settings: Settings | None = None,
    ) -> io.NodeOutput:
        if strength == 0:
            return io.NodeOutput(video)
        used = completed(settings or Settings(working_size=working_size), model, strength, fusion, stretch)
        sequence = _sequence(model, used, Smoothing(smoothing, every, threshold=threshold))
        if isinstance(video, InputImpl.VideoFromComponents):
            parts = video.get_components()
            images = apply_correction(_correction(sequence, parts.images, one_correction), parts.images)
            changed = Types.VideoComponents(images=images, audio=parts.audio, frame_rate=parts.frame_rate)
            return io.NodeOutput(InputImpl.VideoFromComponents(changed))
        bar = comfy.utils.ProgressBar(2)

        def progress(seen: int, done: int, expected: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update_absolute(seen + done, 2 * max(expected, seen))

        folder = Path(folder_paths.get_temp_directory())
        folder.mkdir(parents=True, exist_ok=True)
        source = video.get_stream_source()
        if _is_trimmed(video):
            source = str(folder / f"expcorr_{uuid.uuid4().hex}.mp4")
            video.save_to(source)
        suffix = ".mkv" if "matroska" in video.get_container_format() else ".mp4"
        target = folder / f"expcorr_{uuid.uuid4().hex}{suffix}"
        summary = correct_video(
            Path(source) if isinstance(source, str) else source,
            target,
            sequence,
            one_correction=one_correction,
            progress=progress,
        )
        for note in (summary.problem, *(f"left out: {part}" for part in summary.left_out), *summary.notes):
            if note:
                logging.warning("Exposure Correct (Video): %s", note)
        return io.NodeOutput(InputImpl.VideoFromFile(str(target)))


def _sequence(model: ExposureModel, settings: Settings, smoothing: Smoothing) -> SequenceCorrector:
    return SequenceCorrector(model.corrector(settings.working_size), settings, smoothing)


def _correction(sequence: SequenceCorrector, image: Tensor, one_correction: bool) -> Correction:
    """The correction of each frame of an IMAGE, or one for all frames, on the CPU."""
    colours, _ = to_core(image)
    step = Steps(len(image))

    def frames() -> Iterator[Tensor]:
        for frame in colours:
            yield seen(frame)
            step()

    grids = [sequence.one_correction(frames())] if one_correction else list(sequence.corrections(frames()))
    return Correction.of(grids, sequence.settings.strength)


def _is_trimmed(video: Any) -> bool:
    """Whether a video is only a part of its file, which older ComfyUI does not support."""
    return hasattr(video, "get_active_trim_window") and video.get_active_trim_window() != (0.0, 0.0)
