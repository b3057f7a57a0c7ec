"""Exposure Correct (Series)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from statistics import fmean
from typing import TypeVar

import torch
from comfy_api.latest import io
from torch import Tensor

from ..expcorr_core.series.corrector import Agreement, Part, SeriesCorrector, plan
from ..expcorr_core.settings import WORKING_SIZE, Settings
from .inputs import change_inputs
from .layout import Steps, each_frame, rows_before_and_after, seen, to_core, with_memory, with_preview
from .model import ExposureModel, model_input
from .settings import completed, hidden, settings_input, working_size_input

T = TypeVar("T")
ALIASES = [
    "photo series", "photo shoot", "batch", "image list", "folder of photos", "consistent exposure", "match exposure",
    "same exposure", "same look", "match brightness", "match colors", "color consistency", "white balance match",
    "product photos", "real estate photos", "time lapse", "deflicker photos",
]  # fmt: skip


class CorrectSeries(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="ExpCorr_CorrectSeries",
            display_name="Exposure Correct (Series)",
            category="image/adjustments",
            description="Corrects the photos of a shoot as one series: those of one scene get one look, and "
            "time-lapses do not flicker. The photos may differ in size.",
            search_aliases=ALIASES,
            is_input_list=True,
            inputs=[
                model_input(),
                io.Image.Input(
                    "images",
                    display_name="images",
                    tooltip="A list of photos of any sizes, or a batch, in the order in which they were taken; alpha "
                    "passes through.",
                ),
                *change_inputs(),
                *hidden(working_size_input()),
                io.Image.Input(
                    "like",
                    display_name="like",
                    tooltip="Photos that are right as they are: the others of their scene get their look. They are not "
                    "part of the output.",
                    optional=True,
                ),
                settings_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    tooltip="The corrected photos: same order, same batches, same sizes.",
                    is_output_list=True,
                ),
                io.String.Output(
                    display_name="text",
                    tooltip="Which photos show one scene, and how far their results are from a common look: before "
                    "(each corrected by itself) and after. Root mean square, 0 to 255.",
                ),
            ],
        )
        return with_preview(schema)

    @classmethod
    def execute(
        cls,
        model: list[ExposureModel],
        images: list[Tensor],
        strength: list[float],
        fusion: list[bool],
        stretch: list[float],
        working_size: list[int] | None = None,
        like: list[Tensor] | None = None,
        settings: list[Settings] | None = None,
    ) -> io.NodeOutput:
        """All inputs come as lists; of all but the images, the first counts."""
        photos, right = _frames(images), _frames(like or [])
        if not photos:
            raise ValueError("images: the list is empty; give at least one photo")
        amount, fused = _first("strength", strength), _first("fuse with input", fusion)
        stretched = _first("contrast stretch", stretch)
        if amount == 0:
            shown = rows_before_and_after(cls, images, images)
            return io.NodeOutput(images, "strength 0: no photo was changed", ui=shown)
        chosen = _first("exposure model", model)
        if not isinstance(chosen, ExposureModel):
            raise ValueError(
                f"exposure model: connect Load Exposure Model; {type(chosen).__name__} is no exposure model"
            )
        size = WORKING_SIZE if working_size is None else _first("working size", working_size)
        base = Settings(working_size=size) if settings is None else _first("settings", settings)
        used = completed(base, chosen, amount, fused, stretched)
        corrector = chosen.corrector(used.working_size)
        series = SeriesCorrector(corrector, used)
        step = Steps(2 * len(photos) + len(right))
        looks = []
        for number, photo in enumerate([*photos, *right]):
            looks.append(with_memory(partial(series.look, right=number >= len(photos)), seen(photo)))
            step()
        parts = plan([look.shot for look in looks], range(len(photos), len(looks)))
        agreements: dict[int, Agreement | None] = {}

        def correct(first: int, index: int, frame: Tensor, out: Tensor, _: Callable[[], None]) -> None:
            number = first + index
            part = parts[number]
            others = [looks[k] for k in part.others]
            grid, agreements[number] = series.correction(looks[number], others, part, seen(frame))
            grid.blend(amount).to(frame.device).slice_beyond(frame, out)

        results: list[Tensor] = []
        for image in images:
            results.append(each_frame(image, partial(correct, sum(map(len, results))), step=step))
        text = in_words(parts, agreements, len(photos))
        return io.NodeOutput(results, text, ui=rows_before_and_after(cls, images, results))


def _frames(images: Sequence[Tensor]) -> list[Tensor]:
    """The photos of IMAGEs, ``(1, 3, H, W)`` each, views."""
    return [frame for image in images for frame in torch.split(to_core(image)[0], 1)]


def _first(name: str, values: Sequence[T]) -> T:
    if not values:
        raise ValueError(f"{name}: the list is empty; give one")
    return values[0]


def in_words(parts: Sequence[Part], agreements: Mapping[int, Agreement | None], count: int) -> str:
    """Which photos show one scene, a line each, and how far their results are apart.

    Args:
        parts: of all photos, those that are right as they are after the others.
        agreements: of the photos that were corrected, by their numbers.
        count: number of these photos.
    """
    groups: dict[int, list[int]] = {}
    for number, part in enumerate(parts):
        groups.setdefault(part.group, []).append(number)
    lines, alone, unlike = [], [], []
    for members in groups.values():
        photos, right = [k for k in members if k < count], [k - count for k in members if k >= count]
        if not photos:
            unlike += right
        elif len(members) == 1:
            alone += photos
        else:
            names = " and ".join([_named("image", photos), *([_named("like", right)] if right else [])])
            line = f"{names}: one {'time-lapse' if parts[photos[0]].time_lapse else 'scene'}"
            known = [found for found in map(agreements.get, photos) if found]
            if known:
                before, after = fmean(found.before for found in known), fmean(found.after for found in known)
                line += f", {before:.1f} apart before, {after:.1f} after"
            lines.append(line)
    if alone:
        lines.append(f"{_named('image', alone)}: no other photo of the scene")
    if unlike:
        lines.append(f"{_named('like', unlike)}: no photo of the scene among the images")
    return "\n".join(lines)


def _named(kind: str, numbers: Sequence[int]) -> str:
    """Such as "images 1-3, 7", counted from 1."""
    runs = [[k + 1 for _, k in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    told = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
    return f"{kind}{'s' if kind == 'image' and len(numbers) > 1 else ''} {told}"
