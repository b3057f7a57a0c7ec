"""The stages of a run: which levels are trained, on what, for how long, and at which learning rate."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from expcorr_core.method.network import Architecture

from .tables import markdown

PAPER_PHOTOS = 17_675  # inputs of the paper's training set


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run, in ``epochs`` or in ``steps``; ``halve`` and ``adversarial`` count in the same unit.

    Attributes:
        size: side of the patches, or larger side of whole photos; pixels.
        batch: photos per step, over all processes; with the consistency loss, each at two exposures.
        lr: learning rate at the start (halving) or at the peak (cosine).
        epochs, steps: length; one of the two is 0.
        finest: finest level that is trained; if above 1, photos have the size of ``Y(finest)``.
        patches: patches per photo and epoch; 0 trains on whole photos.
        halve: the learning rate is halved every time this many have passed; 0: a cosine after a warm-up.
        adversarial: the discriminator joins after this many; -1: never.
        oversize: whole photos are exposed wrongly at ``oversize`` times ``size``, then reduced.
    """

    size: int
    batch: int
    lr: float
    epochs: int = 0
    steps: int = 0
    finest: int = 1
    patches: int = 0
    halve: int = 0
    adversarial: int = -1
    oversize: int = 1

    @classmethod
    def parse(cls, text: str) -> Stage:
        """From ``finest=4,size=128,batch=16,steps=6000,lr=5e-4``."""
        try:
            return cls.from_dict({key: float(value) for key, value in (item.split("=") for item in text.split(","))})
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"write a stage like size=128,batch=16,steps=6000,lr=5e-4 ({error})"
            ) from None

    @classmethod
    def from_dict(cls, values: dict[str, float]) -> Stage:
        """Raises ValueError if a name is unknown or missing, or a value is out of range."""
        known = {field.name for field in fields(cls)}
        if unknown := values.keys() - known:
            raise ValueError(f"unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
        if missing := {"size", "batch", "lr"} - values.keys():
            raise ValueError(f"missing {', '.join(sorted(missing))}")
        stage = cls(**{key: value if key == "lr" else int(value) for key, value in values.items()})  # type: ignore[arg-type]
        if bool(stage.epochs) == bool(stage.steps):
            raise ValueError("give either epochs or steps")
        if min(stage.size, stage.batch, stage.epochs + stage.steps, stage.oversize) < 1 or not stage.lr > 0:
            raise ValueError("size, batch, length, lr and oversize must be positive")
        if stage.patches < 0 or (stage.patches and stage.oversize > 1):
            raise ValueError("patches must be 0 or more, and cannot be combined with oversize")
        return stage

    def to_dict(self) -> dict[str, Any]:
        """The values that differ from the defaults."""
        defaults = {field.name: field.default for field in fields(self)}
        return {key: value for key, value in asdict(self).items() if value != defaults[key]}

    def check(self, architecture: Architecture) -> None:
        """Raise ValueError unless all levels can work at this size."""
        if not 1 <= self.finest <= architecture.levels:
            raise ValueError(f"finest must be 1..{architecture.levels}, got {self.finest}")
        multiple = self.size_multiple(architecture)
        if not self.patches:
            multiple *= 4  # the shorter sides of whole photos are three quarters of the size
        if self.size % multiple:
            kind = "patches" if self.patches else "whole photos"
            raise ValueError(f"{kind} with finest={self.finest} need a size divisible by {multiple}, got {self.size}")

    def size_multiple(self, architecture: Architecture) -> int:
        """What the sides of a photo of the size of ``Y(finest)`` must be divisible by."""
        return architecture.multiple >> max(0, self.finest - 2)

    def epoch_steps(self, photos: int) -> int:
        """Steps of one pass over the photos."""
        return max(1, photos * max(1, self.patches) // self.batch)

    def total_steps(self, photos: int) -> int:
        return self.steps or self.epochs * self.epoch_steps(photos)

    def in_steps(self, count: int, photos: int) -> int:
        """``halve`` or ``adversarial`` in steps."""
        return count if self.steps else count * self.epoch_steps(photos)

    def learning_rate(self, step: int, photos: int) -> float:
        """Halved every ``halve``; otherwise a warm-up over the first 2 % and a cosine down to 2 %."""
        if self.halve:
            return float(self.lr * 0.5 ** (step // self.in_steps(self.halve, photos)))
        total = self.total_steps(photos)
        warm = max(1, total // 50)
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm))))

    def has_discriminator(self, step: int, photos: int) -> bool:
        return self.adversarial >= 0 and step >= self.in_steps(self.adversarial, photos)


def table(stages: Sequence[Stage], photos: int, levels: int) -> str:
    """The plan of a run as a Markdown table; ``levels`` is 0 for the global network."""
    header = (
        "phase",
        "levels",
        "on",
        "batch",
        "epochs",
        "steps per epoch",
        "steps",
        "lr",
        "halves every",
        "discriminator",
    )
    rows = []
    for index, stage in enumerate(stages, 1):
        each, total = stage.epoch_steps(photos), stage.total_steps(photos)
        unit = "steps" if stage.steps else "epochs"
        rows.append(
            (
                index,
                ", ".join(str(level) for level in range(levels, stage.finest - 1, -1)) or "global",
                f"{stage.size} px, {f'{stage.patches} patches per photo' if stage.patches else 'whole photos'}",
                stage.batch,
                stage.epochs or f"{total / each:.1f}",
                each,
                total,
                f"{stage.lr:g}",
                f"{stage.halve} {unit}" if stage.halve else "cosine",
                f"after {stage.adversarial} {unit}" if stage.adversarial >= 0 else "never",
            )
        )
    return markdown(header, rows)
