"""Correct many photos: on several processes, or a Ray cluster, resumable after any stop, with a report.

What is done is known by content: a line of the journal in the output folder holds the checksums of the photo and of the
result, and of the settings. It is written before the result gets its name, so that a run that is killed at any time
leaves whole results and knows which they are.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import KW_ONLY, asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from .bilateral import BilateralGrid
from .corrector import Corrector, Settings, reduce_to
from .files import digest, flush, replacing
from .huge import find_huge, write_huge
from .image_io import ImageError, Photo, format_of, photo_size, read_photo, save_photo
from .machine import cores, memory
from .profiles import colour_space
from .report import exposure_error
from .weights import default_weights_path
from .workers import Stop, Stopped, Task, spread

JOURNAL, JOURNALS, REPORT = ".expcorr-journal.jsonl", ".expcorr-journal*.jsonl", "expcorr-report.csv"
ENTRY = frozenset(("target", "source", "key", "files", "exposure", "change"))  # of a line of the journal
COLUMNS = ("file", "result", "status", "exposure_ev", "change", "seconds", "error")
CORRECTED, BEFORE, FAILED, PLANNED = "corrected", "done before", "failed", "to do"
MAX_PIXELS = 500_000_000  # larger files are corrected in strips, or refused before they are decoded
COMPARE_SIDE = 1600  # larger side of each half of a before-and-after picture
MEASURED_SIDE = 256  # larger side that exposure and change are measured at
BYTES_A_PIXEL = 50  # of memory, while a photo is corrected: 44 with 8 bits, 50 with 16


class Job(NamedTuple):
    """One photo to correct, and the files to write."""

    source: Path
    target: Path
    comparison: Path | None

    @property
    def outputs(self) -> list[Path]:
        return [self.target] if self.comparison is None else [self.target, self.comparison]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is done to all photos of a run.

    Attributes:
        settings: of the correction.
        weights: file; None for the bundled ones.
        device: where the network computes.
        output: folder that nothing may be written outside of; None where one file is named as the output.
        metadata: what is kept: ``all``, ``no-gps`` or ``none``.
        overwrite: replace files that are not results of the same photo and settings.
        resume: keep a journal in ``output``, and leave out what it says is done.
        journal: name of the file of the journal that is written to; all are read.
    """

    settings: Settings = field(default_factory=Settings)
    weights: Path | None = None
    device: str = "cpu"
    output: Path | None = None
    metadata: str = "all"
    overwrite: bool = False
    resume: bool = False
    journal: str = JOURNAL

    @property
    def key(self) -> str:
        """Checksum of all that a result depends on, but for the photo."""
        return _key(self.settings, self.weights or default_weights_path(), self.metadata)


@cache
def _key(settings: Settings, weights: Path, metadata: str) -> str:
    described = {"settings": asdict(settings), "weights": digest(weights), "metadata": metadata}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What became of a photo.

    Attributes:
        source, target: the files.
        status: ``corrected``, ``done before``, ``failed``, or ``to do`` where it was only planned.
        exposure: error that was found, stops; positive where the photo was too bright; None if it was not measured.
        change: mean absolute change of the display values, of 255.
        seconds: that it took.
        error: why it failed, a sentence.
    """

    source: str
    target: str
    status: str
    _: KW_ONLY
    exposure: float | None = None
    change: float | None = None
    seconds: float = 0.0
    error: str = ""

    def row(self) -> tuple[object, ...]:
        figures = ("" if value is None else f"{value:.2f}" for value in (self.exposure, self.change, self.seconds))
        return (self.source, self.target, self.status, *figures, self.error)


class Journal:
    """Results by their place below the output folder: checksums of photo, settings and files, and figures."""

    _known: ClassVar[dict[Path, tuple[int, dict[str, dict[str, Any]]]]] = {}  # how far each file has been read

    def __init__(self, folder: Path, name: str = JOURNAL) -> None:
        self.folder, self.path = folder, folder / name

    def read(self) -> dict[str, dict[str, Any]]:
        """The last line of each result; lines that were cut off, or are none of ours, are left out."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.glob(JOURNALS)):
            if path.is_file() and not path.is_symlink():
                found |= self._read(path)
        return found

    def _read(self, path: Path) -> dict[str, dict[str, Any]]:
        """What one file says; what was read before is not read again."""
        path = path.resolve()
        start, known = self._known.get(path, (0, {}))
        size = path.stat().st_size
        if size < start:  # another file by now
            start, known = 0, {}
        with path.open("rb") as file:
            file.seek(start)
            new = file.read(size - start)
        end = new.rfind(b"\n") + 1
        for line in new[:end].splitlines():
            try:
                entry = json.loads(line)
                if entry.keys() >= ENTRY and isinstance(entry["files"], dict):
                    known[entry["target"]] = entry
            except (ValueError, AttributeError, TypeError):
                continue
        self._known[path] = (start + end, known)
        return known

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append a line; several processes may.

        Raises:
            OSError: it cannot be written, or the journal is a link.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        handle = os.open(self.path, flags, 0o666)
        try:
            # In one call, and on a line of its own even if another was cut off.
            line = f"\n{json.dumps(entry)}\n".encode()
            if os.write(handle, line) < len(line):
                raise OSError(errno.ENOSPC, "No space left for the journal", str(self.path))
            flush(handle)  # before the results get their names
        finally:
            os.close(handle)


@cache
def prepare() -> None:
    """Once a process: limits and silence of the decoder."""
    # Pillow's own limit of 179 megapixels is below what cameras make; it refuses beyond twice this figure.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
    warnings.filterwarnings("ignore", module="PIL")  # of large files and of damaged metadata, which are left out


@cache
def corrector_of(weights: Path | None, device: str) -> Corrector:
    """The corrector of a weights file (None: the bundled ones) on a device, loaded once a process."""
    return Corrector.load(weights, device)


def correct_file(job: Job, work: Work, entry: Mapping[str, Any] | None = None) -> Outcome:
    """Correct one photo and write its files, or say why that failed.

    Args:
        job: the photo.
        work: what to do.
        entry: the journal's line of the result.
    """
    prepare()
    start = time.perf_counter()
    names = str(job.source), str(job.target)
    try:
        content = digest(job.source) if work.resume else ""
        own = _own(entry, work, content)
        if not own and work.resume and any(map(os.path.lexists, job.outputs)):
            # A process that was killed may have written them after the journal was read.
            [entry] = journal_of([job], work)
            own = _own(entry, work, content)
        if done := _done_before(job, work, own):
            return done
        exposure, change = _correct(job, work, content, overwrite=work.overwrite or own is not None)
    except Exception as error:  # whatever a photo may do, the others go on
        return Outcome(*names, FAILED, seconds=time.perf_counter() - start, error=describe(error, job.source))
    seconds = time.perf_counter() - start
    return Outcome(*names, CORRECTED, exposure=exposure, change=change, seconds=seconds)


def plan(job: Job, work: Work, entry: Mapping[str, Any] | None = None) -> Outcome:
    """What :func:`correct_file` would do, from checksums and names alone."""
    names = str(job.source), str(job.target)
    try:
        if done := _done_before(job, work, _own(entry, work, digest(job.source))):
            return done
    except (ValueError, OSError) as error:
        return Outcome(*names, FAILED, error=describe(error, job.source))
    return Outcome(*names, PLANNED)


def _own(entry: Mapping[str, Any] | None, work: Work, content: str) -> Mapping[str, Any] | None:
    """The journal's line, if it is of this photo and these settings."""
    return entry if entry and (entry["source"], entry["key"]) == (content, work.key) else None


def _done_before(job: Job, work: Work, own: Mapping[str, Any] | None) -> Outcome | None:
    """The outcome where all results are there, as they were written; ImageError where they may not be written."""
    if own and all(_is_result(path, own) for path in job.outputs):
        figures = {name: own[name] for name in ("exposure", "change")}
        return Outcome(str(job.source), str(job.target), BEFORE, **figures)
    _check_places(job, work, own)
    return None


def _is_result(path: Path, entry: Mapping[str, Any]) -> bool:
    wanted = entry["files"].get(path.name)
    return wanted is not None and path.is_file() and digest(path) == wanted


def _check_places(job: Job, work: Work, entry: Mapping[str, Any] | None) -> None:
    """Raise ImageError where a result may not be written."""
    for path in job.outputs:
        format_of(path)
        if work.output and not path.parent.resolve().is_relative_to(work.output.resolve()):
            raise ImageError(f"{path} lies outside of {work.output}, through a symbolic link; remove the link")
        # A run that was killed may have placed one of two files.
        if os.path.lexists(path) and not work.overwrite and not (entry and _is_result(path, entry)):
            raise ImageError(f"{path} exists; add --overwrite, or choose another output with -o")


def _correct(job: Job, work: Work, content: str, overwrite: bool) -> tuple[float | None, float]:
    """Exposure and change of a photo, whose results are written."""
    writers: dict[Path, Callable[[Path], None]]
    if huge := find_huge(job.source, most_pixels()):
        if huge.strip_bytes > memory():
            raise ImageError(f"{job.source} is so wide that not even a strip of it fits into memory; reduce it first")
        if format_of(job.target) != "TIFF" or job.comparison:
            raise ImageError(f"{job.source} is so large that it becomes a TIFF file alone, without a comparison")
        exposure, change, grid = _found(huge.reduced(work.settings.working_size), huge.metadata, work)
        writers = {job.target: lambda path: write_huge(path, huge, grid, work.metadata)}
    else:
        _check_memory(job.source)
        photo = read_photo(job.source)
        image = photo.to_tensor()
        exposure, change, grid = _found(image, photo.metadata, work)
        result = photo.with_tensor(grid.slice(image) if work.settings.strength else image)
        result = result.with_metadata(work.metadata)
        writers = {job.target: lambda path: save_photo(path, result, format_of(job.target))}
        if compared := job.comparison:
            both = comparison(photo, result)
            writers[compared] = lambda path: save_photo(path, both, format_of(compared))
    try:
        with ExitStack() as stack:
            temporary = {path: stack.enter_context(replacing(path, overwrite)) for path in writers}
            for path, write in writers.items():
                write(temporary[path])
            if work.resume and work.output:
                files = {path.name: digest(temporary[path]) for path in writers}
                figures = {"exposure": exposure, "change": change}
                target = job.target.relative_to(work.output).as_posix()
                entry = {"target": target, "source": content, "key": work.key, "files": files, **figures}
                Journal(work.output, work.journal).add(entry)
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        # Since it was looked for above.
        if isinstance(error, FileExistsError) and error.filename2 in map(str, writers):
            raise ImageError(f"{error.filename2} exists; add --overwrite, or choose another output with -o") from error
        raise ImageError(f"{job.target} cannot be written ({error}); no part of it was left") from error
    return exposure, change


def _check_memory(path: Path) -> None:
    """Raise ImageError where a photo, or what claims to be one, needs more memory than there is."""
    needed = photo_size(path) * BYTES_A_PIXEL
    if needed > memory():
        raise ImageError(
            f"{path} needs {needed / 2**30:.0f} GiB of memory to be corrected, and this computer has "
            f"{memory() / 2**30:.0f}; reduce it first"
        )


def most_pixels() -> int:
    """Pixels of the largest photo that is corrected in memory."""
    return min(MAX_PIXELS, memory() // BYTES_A_PIXEL)


def cost(path: Path) -> float:
    """Bytes of memory that correcting a photo takes."""
    try:
        huge = find_huge(path, most_pixels())
    except ImageError:
        return 0.0
    return huge.strip_bytes if huge else photo_size(path) * BYTES_A_PIXEL


def _found(image: Tensor, metadata: Mapping[str, Any], work: Work) -> tuple[float | None, float, BilateralGrid]:
    """Exposure, change, and the correction as a grid, at the strength that is wanted."""
    if not work.settings.strength:
        return None, 0.0, BilateralGrid.identity()
    space = colour_space(metadata.get("icc_profile"))
    grid = corrector_of(work.weights, work.device).estimate(image, work.settings, space)
    used = grid.blend(work.settings.strength)
    small = reduce_to(image, MEASURED_SIDE)
    change = float((used.slice(small) - small).abs().mean() * 255)
    return float(exposure_error(small, grid.slice(small))), change, used


def comparison(before: Photo, after: Photo) -> Photo:
    """Before and after side by side, 8 bit, each at most 1600 pixels."""
    halves = [reduce_to(photo.to_tensor(), COMPARE_SIDE) for photo in (before, after)]
    gap = torch.ones_like(halves[0][..., :1]).expand(-1, -1, -1, max(4, halves[0].shape[3] // 100))
    kept = {key: value for key, value in before.metadata.items() if key == "icc_profile"}
    return Photo.from_tensor(torch.cat((halves[0], gap, halves[1]), 3), grey=before.grey, metadata=kept)


def describe(error: Exception, source: Path) -> str:
    """One line that names the file."""
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return f"{source} does not exist; check the name"
    reason = "not enough memory" if isinstance(error, MemoryError) else str(error).partition("\n")[0]
    return f"{source} could not be corrected: {reason or type(error).__name__}"


def journal_of(jobs: Sequence[Job], work: Work) -> list[dict[str, Any] | None]:
    """The journal's line of each job, where there is one."""
    if not (work.resume and work.output):
        return [None] * len(jobs)
    entries = Journal(work.output).read()
    return [entries.get(job.target.relative_to(work.output).as_posix()) for job in jobs]


def correct_all(jobs: Sequence[Job], work: Work, workers: int = 0) -> Iterator[Outcome]:
    """Correct photos; a failed one does not stop the others.

    Args:
        jobs: the photos.
        work: what to do.
        workers: processes, each with its share of the cores; 0 works in this one.

    Yields:
        What became of each, as they are finished.

    Raises:
        Stopped: Ctrl-C or SIGTERM came.
    """
    entries = journal_of(jobs, work)
    if not workers:
        stop = Stop()
        with stop.listening():
            for job, entry in zip(jobs, entries, strict=True):
                if stop.asked:
                    raise Stopped
                yield correct_file(job, work, entry)
        return
    # One by one as they begin: a cost is read from the header of a file.
    tasks = (Task((job, work, entry), crashed(job), cost(job.source)) for job, entry in zip(jobs, entries, strict=True))
    threads = max(1, cores() // workers)
    yield from spread(correct_file, tasks, workers, threads, memory() / 2)


def crashed(job: Job) -> Outcome:
    """What is said of a photo that ends each process that corrects it."""
    reason = f"{job.source} brings the program that corrects it down; convert it or leave it out"
    return Outcome(str(job.source), str(job.target), FAILED, error=reason)


def is_report(path: Path) -> bool:
    """Whether a file is a report of an earlier run, which the next may replace."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline().strip() == ",".join(COLUMNS)
    except OSError:
        return False


def write_report(path: Path, outcomes: Sequence[Outcome]) -> None:
    """A CSV file with a row a photo."""
    with (
        replacing(path) as temporary,
        # Names may hold bytes that are no text.
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(outcome.row() for outcome in outcomes)
