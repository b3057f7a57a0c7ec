"""What became of each photo of a run, and the report on it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Any

from ..files import replacing

REPORT = "expcorr-report.csv"
COLUMNS = (
    "file", "result", "status", "exposure_ev", "change", "seconds", "error", "left_out", "lut_db", "xmp_db",
    "well_exposed", "apart_alone", "apart", "group",
)  # fmt: skip
CORRECTED, FUSED, BEFORE, FAILED, PLANNED = "corrected", "fused", "done before", "failed", "to do"
COPIED, SKIPPED, RIGHT = "well exposed (copied)", "well exposed (left out)", "right (copied)"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of a photo and its result; None where nothing was.

    Attributes:
        exposure: exposure error, stops; positive where the photo was too bright.
        probability: that the photo is well exposed.
        change: mean absolute change of the display values, 0..255.
        lut, xmp: how close the LUT and the Camera Raw settings come to the result, PSNR in dB.
        apart_alone, apart: how far the photo, corrected by itself and as one of its series, is from what the
            corrections of its scene agree on, 0..255.
    """

    exposure: float | None = None
    probability: float | None = None
    change: float | None = None
    lut: float | None = None
    xmp: float | None = None
    apart_alone: float | None = None
    apart: float | None = None


def measured(of: Measured) -> dict[str, Any]:
    """The attributes of a :class:`Measured`, for another one."""
    return {field.name: getattr(of, field.name) for field in fields(Measured)}


@dataclass(frozen=True)
class Outcome(Measured):
    """The result for one photo.

    Attributes:
        source, target: the files; all exposures of a fused bracket, with semicolons between.
        status: ``corrected``, ``fused``, ``done before``, ``failed``, ``well exposed (copied)`` or ``(left out)``, or
            ``right (copied)``; ``to do`` where it was only planned.
        seconds: time taken.
        error: why it failed, one sentence.
        left_out: names of what the photo's file contained and the result does not.
        group: number of the group of photos of one scene; None where there are no others.
    """

    source: str
    target: str
    status: str
    _: KW_ONLY
    seconds: float = 0.0
    error: str = ""
    left_out: tuple[str, ...] = ()
    group: int | None = None

    def row(self) -> tuple[object, ...]:
        values = (
            self.exposure, self.change, self.seconds, self.lut, self.xmp, self.probability, self.apart_alone, self.apart
        )  # fmt: skip
        exposure, change, seconds, *others = ("" if value is None else f"{value:.2f}" for value in values)
        left_out, group = "; ".join(self.left_out), "" if self.group is None else self.group
        names = self.source, self.target, self.status
        return (*names, exposure, change, seconds, self.error, left_out, *others, group)


def is_report(path: Path) -> bool:
    """Whether a file is a report of an earlier run, which the next may replace."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline().startswith(",".join(COLUMNS[:8]))  # also of earlier versions
    except OSError:
        return False


def write_report(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write a CSV file with one row per photo."""
    with (
        replacing(path) as temporary,
        # Names may contain bytes that are not text.
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(outcome.row() for outcome in outcomes)
