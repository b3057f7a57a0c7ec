"""Correct many photos: on several processes, or a Ray cluster, resumable after any stop, with a report.

Finished work is identified by content: a line goes into the journal in the output folder before the result gets its
final name, so a run that is killed at any time leaves only complete results and knows which they are.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from ..files import digest, replacing
from ..image.arrays import array_of
from ..machine import cores, memory
from ..method.weights_file import weights_path
from ..photos.huge import HugePhoto, find_huge, write_huge
from ..photos.reading import ImageError, decode_photo, kind_of, photo_size, read_content
from ..photos.writing import format_of, save_photo
from ..runtimes import TORCH, corrector_of, image_for
from ..settings import TIME_LIMIT, WELL_EXPOSED, Settings
from .found import find_correction
from .fused import fused_photo, fusing_bytes
from .journal import Entry, Journal
from .outcome import BEFORE, COPIED, CORRECTED, FAILED, FUSED, PLANNED, RIGHT, SKIPPED, Outcome, measured
from .pool import WORKER_BYTES, Result, Stop, Stopped, Task, spread
from .sidecars import Corrected, Sidecars, comparison, write_sidecar

if TYPE_CHECKING:
    from ..corrector import Corrector
    from ..ort.corrector import OnnxCorrector
    from ..series.looks import Membership

MAX_PIXELS = 500_000_000  # larger files are corrected in strips, or refused before they are decoded
BYTES_A_PIXEL = 50  # of memory, while a photo is corrected: 44 with 8 bits, 50 with 16
LIMIT_PIXELS = 50_000_000  # a photo may take the time limit again for every so many pixels


@dataclass(frozen=True)
class Job:
    """One photo to correct and the files to write.

    Attributes:
        source: the photo.
        target, comparison: the result, and before and after side by side, where that is wanted.
        refusal: one sentence on why it is refused.
        sidecars: files that the correction is written to.
        membership: its part in a series.
        exposures: of a bracket that is fused; the source is the one whose view the result has.
    """

    source: Path
    target: Path
    comparison: Path | None = None
    _: KW_ONLY
    refusal: str = ""
    sidecars: Sidecars = ()
    membership: Membership | None = None
    exposures: tuple[Path, ...] = ()

    @property
    def sources(self) -> tuple[Path, ...]:
        return self.exposures or (self.source,)

    @property
    def name(self) -> str:
        """Its files, for the report."""
        return "; ".join(map(str, self.sources))

    @property
    def subject(self) -> str:
        """What a sentence on it is about."""
        return f"the bracket of {self.source}" if self.exposures else str(self.source)

    @property
    def photos(self) -> list[Path]:
        return [self.target] if self.comparison is None else [self.target, self.comparison]

    def absolute(self) -> Job:
        """The same with absolute names, for another machine."""
        return replace(
            self,
            source=self.source.absolute(),
            target=self.target.absolute(),
            comparison=self.comparison and self.comparison.absolute(),
            sidecars=tuple((kind, path.absolute()) for kind, path in self.sidecars),
            membership=self.membership and self.membership.absolute(),
            exposures=tuple(path.absolute() for path in self.exposures),
        )

    @property
    def group(self) -> int | None:
        """Number of the group of photos of one scene; None where there are no others."""
        return self.membership.part.group if self.membership and self.membership.part.size > 1 else None

    @property
    def outputs(self) -> list[Path]:
        return [*self.photos, *(path for _, path in self.sidecars)]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is done to all photos of a run.

    Attributes:
        settings: how to correct.
        weights: weights file; None for the bundled one.
        runtime: what computes the network: ``torch`` or ``onnx``.
        device: where it does that.
        output: folder outside of which nothing may be written; None where the output is a single file.
        metadata: metadata to keep: ``all``, ``no-gps`` or ``none``.
        overwrite: also replace files that are not results of the same photo and settings.
        resume: keep a journal in ``output``, and skip what it lists as done.
        grid: file with a correction that all photos get; None finds one for each.
        well_exposed: what becomes of photos that need no correction: ``correct`` treats them like all, ``copy`` keeps
            the file as it is, ``skip`` writes nothing.
        within: stops of brightness up to which a photo's correction counts as none.
        time_limit: seconds after which a photo's process is killed, and as much again for every 50 megapixels; 0 is
            no limit. Without processes there is none.
    """

    settings: Settings = field(default_factory=Settings)
    weights: Path | None = None
    runtime: str = TORCH
    device: str = "cpu"
    output: Path | None = None
    metadata: str = "all"
    overwrite: bool = False
    resume: bool = False
    grid: Path | None = None
    well_exposed: str = "correct"
    within: float = WELL_EXPOSED
    time_limit: float = TIME_LIMIT

    def absolute(self) -> Work:
        """The same with absolute names, for another machine."""
        return replace(
            self,
            weights=self.weights and self.weights.absolute(),
            output=self.output and self.output.absolute(),
            grid=self.grid and self.grid.absolute(),
        )

    @property
    def key(self) -> str:
        """Checksum of everything that a result depends on, except the photo."""
        judged = () if self.well_exposed == "correct" else (self.well_exposed, self.within)
        return _key(self.settings, self.grid or weights_path(self.weights), self.metadata, judged)

    def key_of(self, job: Job) -> str:
        """The same with what the result of a photo takes from its series."""
        if not job.membership or job.exposures:
            return self.key
        return hashlib.sha256(f"{self.key} {job.membership.key}".encode()).hexdigest()

    def seconds(self, pixels: int) -> float:
        """Seconds that a photo of ``pixels`` pixels may take."""
        return self.time_limit * (1 + pixels / LIMIT_PIXELS) if self.time_limit else math.inf


@cache
def _key(settings: Settings, weights: Path, metadata: str, judged: tuple[object, ...]) -> str:
    described = {"settings": asdict(settings), "weights": digest(weights), "metadata": metadata, "judged": judged}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


@cache
def prepare() -> None:
    """Set the decoder's limits and silence its warnings, once per process."""
    # Pillow's own limit of 179 megapixels is below what cameras make; it refuses more than twice this value.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
    warnings.filterwarnings("ignore", module="PIL")  # about large files, and damaged metadata, which is left out


def correct_file(job: Job, work: Work, entries: Sequence[Entry] = ()) -> Outcome:
    """Correct one photo and write its files, or say why that failed.

    Args:
        job: the photo.
        work: what to do.
        entries: the journal's entries for the result.
    """
    prepare()
    start = time.perf_counter()
    names = job.name, str(job.target)
    try:
        if job.refusal:
            raise ImageError(job.refusal)
        sources = [read_source(path, work.resume) for path in job.sources]
        checksum = _joined([source.checksum for source in sources])
        own = _own(entries, job, work, checksum)
        if not own and work.resume and any(map(os.path.lexists, job.outputs)):
            # A process that was killed may have written them after the journal was read.
            own = _own(journal_of([job], work)[0], job, work, checksum)
        if done := _done_before(job, work, own):
            return done
        outcome = _correct(job, work, sources, checksum, overwrite=work.overwrite or bool(own))
    except Exception as error:  # whatever happens to one photo, the others go on
        return Outcome(*names, FAILED, seconds=time.perf_counter() - start, error=describe(error, job.subject))
    return replace(outcome, seconds=time.perf_counter() - start)


class Source(NamedTuple):
    """What was read: a photo file's content, or a reference to a huge file; with the checksum of exactly that."""

    content: bytes
    huge: HugePhoto | None
    checksum: str


def read_source(path: Path, checksum: bool) -> Source:
    """Read a photo's file, with its checksum where that is asked for."""
    if huge := find_huge(path, most_pixels()):
        return Source(b"", huge, digest(path) if checksum else "")
    content = read_content(path)
    return Source(content, None, hashlib.sha256(content).hexdigest() if checksum else "")


def _joined(checksums: Sequence[str]) -> str:
    """That of a photo, or one of all exposures of a bracket."""
    return hashlib.sha256(" ".join(checksums).encode()).hexdigest() if checksums[1:] else checksums[0]


def plan(job: Job, work: Work, entries: Sequence[Entry] = ()) -> Outcome:
    """What :func:`correct_file` would do, from checksums and names only."""
    names = job.name, str(job.target)
    try:
        if job.refusal:
            raise ImageError(job.refusal)
        if done := _done_before(job, work, _own(entries, job, work, _joined([digest(p) for p in job.sources]))):
            return done
    except (ValueError, OSError) as error:
        return Outcome(*names, FAILED, error=describe(error, job.subject))
    return Outcome(*names, PLANNED)


def _own(entries: Sequence[Entry], job: Job, work: Work, checksum: str) -> list[Entry]:
    """The entries of this photo and these settings."""
    wanted = checksum, work.key_of(job)
    return [entry for entry in entries if (entry.source, entry.key) == wanted]


def _done_before(job: Job, work: Work, own: Sequence[Entry]) -> Outcome | None:
    """The outcome if all results exist, as they were written; ImageError where they may not be written."""
    for entry in own:
        if all(_is_result(path, entry) for path in job.outputs):
            return Outcome(job.name, str(job.target), BEFORE, group=job.group, **measured(entry))
    _check_places(job, work, own)
    return None


def _is_result(path: Path, entry: Entry) -> bool:
    wanted = entry.files.get(path.name)
    return wanted is not None and path.is_file() and digest(path) == wanted


def _check_places(job: Job, work: Work, own: Sequence[Entry]) -> None:
    """Raise ImageError where a result may not be written."""
    for path in job.photos:
        format_of(path)
    for path in job.outputs:
        if work.output and not path.parent.resolve().is_relative_to(work.output.resolve()):
            raise ImageError(f"{path} is outside {work.output} because of a symbolic link; remove the link")
        # A run that was killed may have placed one of two files.
        if os.path.lexists(path) and not work.overwrite and not any(_is_result(path, entry) for entry in own):
            raise ImageError(f"{path} exists; add --overwrite, or choose another output with -o")


def _correct(job: Job, work: Work, sources: Sequence[Source], checksum: str, overwrite: bool) -> Outcome:
    """Correct a photo, or a fused bracket, and write its results; returns the outcome, without its time."""
    writers: dict[Path, Callable[[Path], tuple[str, ...]]]
    huge = None if job.exposures else sources[0].huge
    if huge:
        if huge.strip_bytes > memory():
            raise ImageError(f"{job.source} is so wide that not even a strip of it fits into memory; reduce it first")
        if format_of(job.target) != "TIFF" or job.comparison:
            raise ImageError(f"{job.source} is so large that it can only be written as TIFF, without --compare")
        image = image_for(huge.reduced(work.settings.working_size), work.runtime)
        found = find_correction(image, huge, job, work, _corrector(work))
        result = found.used.slice(image)
        writers = {job.target: lambda path: write_huge(path, huge, found.used, work.metadata)}
    else:
        if job.exposures:
            photo, image = fused_photo(job, sources)
        else:
            check_memory(job.source, sources[0].content)
            photo = decode_photo(sources[0].content, job.source)
            image = image_for(photo.to_array(), work.runtime)
        found = find_correction(image, photo, job, work, _corrector(work))
        result = image if found.unchanged else found.used.slice(image)
        changed = photo.with_array(array_of(result)).with_metadata(work.metadata)
        writers = {job.target: lambda path: save_photo(path, changed, format_of(job.target))}
        if compared := job.comparison:
            both = comparison(photo, changed)
            writers[compared] = lambda path: save_photo(path, both, format_of(compared))
    status = FUSED if job.exposures else CORRECTED
    if status == CORRECTED and (found.right or found.well_exposed):
        status = RIGHT if found.right else COPIED if work.well_exposed == "copy" else SKIPPED
        if status != SKIPPED and work.metadata == "all" and _has_format(sources[0], job):
            writers[job.target] = lambda path: _copied(sources[0], path)
    outcome = Outcome(job.name, str(job.target), status, group=job.group, **measured(found))
    if status == SKIPPED:
        return outcome
    corrected = Corrected(array_of(image), array_of(result), (huge or photo).space, found.correction)
    try:
        with ExitStack() as stack:
            temporary = {path: stack.enter_context(replacing(path, overwrite)) for path in job.outputs}
            said = {path: write(temporary[path]) for path, write in writers.items()}
            for kind, path in job.sidecars:
                fit = write_sidecar(temporary[path], kind, job.source.name, corrected, path)
                if kind == "xmp":
                    outcome = replace(outcome, xmp=fit)
                elif kind != "grid":
                    outcome = replace(outcome, lut=fit)
            if huge:
                huge.check_unchanged()
            if work.resume and work.output:
                files = {path.name: digest(temporary[path]) for path in job.outputs}
                target = job.target.relative_to(work.output).as_posix()
                entry = Entry(target=target, source=checksum, key=work.key_of(job), files=files, **measured(outcome))
                Journal(work.output).add(entry)
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        # It was created after the check above.
        if isinstance(error, FileExistsError) and error.filename2 in map(str, job.outputs):
            raise ImageError(f"{error.filename2} exists; add --overwrite, or choose another output with -o") from error
        raise ImageError(f"{job.target} cannot be written ({error}); nothing was left behind") from error
    return replace(outcome, left_out=said[job.target])


def _corrector(work: Work) -> Corrector | OnnxCorrector | None:
    """What finds corrections, where any have to be found."""
    found = work.settings.strength and not work.grid
    return corrector_of(work.weights, work.device, work.runtime) if found else None


def _has_format(source: Source, job: Job) -> bool:
    """Whether a photo's file has the format of its result."""
    return bool(source.huge) or kind_of(source.content[:32], job.source) == format_of(job.target)


def _copied(source: Source, path: Path) -> tuple[str, ...]:
    if source.huge:
        shutil.copyfile(source.huge.path, path)
    else:
        path.write_bytes(source.content)
    return ()


def check_memory(path: Path, content: bytes) -> None:
    """Raise ImageError where a photo, as its header describes it, needs more memory than there is."""
    needed = photo_size(io.BytesIO(content)) * BYTES_A_PIXEL + len(content)
    if needed > memory():
        raise ImageError(
            f"{path} needs {needed / 2**30:.0f} GiB of memory to be corrected, and this computer has "
            f"{memory() / 2**30:.0f}; reduce it first"
        )


def most_pixels() -> int:
    """Pixels of the largest photo that is corrected in memory."""
    return min(MAX_PIXELS, memory() // BYTES_A_PIXEL)


def needs(*paths: Path) -> tuple[int, float]:
    """Pixels of a photo or a bracket, from headers only, and bytes of memory needed for it in a process of its own."""
    try:
        if huge := find_huge(paths[0], most_pixels()):
            return huge.height * huge.width, WORKER_BYTES + huge.strip_bytes
        pixels = [photo_size(path) for path in paths]
        held = fusing_bytes(pixels) if len(paths) > 1 else pixels[0] * BYTES_A_PIXEL
        return sum(pixels), WORKER_BYTES + held + sum(path.stat().st_size for path in paths)
    except (ImageError, OSError):  # correcting it reports the reason
        return 0, WORKER_BYTES


def describe(error: Exception, subject: object) -> str:
    """One line that names the file."""
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return f"{subject} does not exist; check the name"
    reason = "not enough memory" if isinstance(error, MemoryError) else str(error).partition("\n")[0]
    return f"{subject} could not be corrected: {reason or type(error).__name__}"


def journal_of(jobs: Sequence[Job], work: Work) -> list[list[Entry]]:
    """The journal's entries of each job."""
    if not (work.resume and work.output):
        return [[] for _ in jobs]
    entries = Journal(work.output).read()
    return [entries.get(job.target.relative_to(work.output).as_posix(), []) for job in jobs]


def gather(work: Work, ended: Collection[str] = ()) -> None:
    """At the end of a run; see :meth:`.journal.Journal.gather`."""
    if work.resume and work.output:
        Journal(work.output).gather(ended)


def correct_all(jobs: Sequence[Job], work: Work, workers: int = 0) -> Iterator[Outcome]:
    """Correct photos; a failed one does not stop the others.

    Args:
        jobs: the photos.
        work: what to do.
        workers: number of processes, each with its share of the cores; 0 for this process.

    Yields:
        The outcome of each, as they finish.

    Raises:
        Stopped: Ctrl-C or SIGTERM came.
    """
    tried = [(job, work, entries) for job, entries in zip(jobs, journal_of(jobs, work), strict=True)]
    try:
        yield from run_all(correct_file, tried, task_of, workers)
    finally:
        gather(work)


def run_all(
    function: Callable[..., Result],
    calls: Iterable[tuple[Any, ...]],
    task: Callable[..., Task[Result]],
    workers: int,
) -> Iterator[Result]:
    """Call a function for each photo of a run; each is begun only when there is room for it.

    Args:
        function: what is called.
        calls: its arguments.
        task: makes a task of the same arguments, for another process.
        workers: number of processes, each with its share of the cores; 0 for this process.

    Yields:
        The results, as they finish.

    Raises:
        Stopped: Ctrl-C or SIGTERM came.
    """
    if workers:
        budget = memory() / 2
        workers = max(1, min(workers, int(budget // WORKER_BYTES)))
        # Made one by one as they begin: what each needs is read from its file's header.
        tasks = (task(*call) for call in calls)
        yield from spread(function, tasks, workers, max(1, cores() // workers), budget)
        return
    stop = Stop()
    with stop.listening():
        for call in calls:
            if stop.asked:
                raise Stopped
            yield function(*call)


def task_of(job: Job, work: Work, entries: Sequence[Entry]) -> Task[Outcome]:
    """The call of :func:`correct_file`, or a like function, for a photo."""
    pixels, held = needs(*job.sources)
    limit = work.seconds(pixels)
    return Task((job, work, entries), crashed(job), held, limit, late(job, limit))


def crashed(job: Job) -> Outcome:
    """The outcome for a photo that crashes every process that corrects it."""
    reason = f"{job.subject} crashes the program that corrects it; convert it or leave it out"
    return Outcome(job.name, str(job.target), FAILED, error=reason)


def late(job: Job, limit: float) -> Outcome:
    """The outcome for a photo that takes longer than ``limit`` seconds."""
    reason = f"{job.subject} took more than {limit:.0f} s and was abandoned"
    advice = "allow more with --time-limit, or leave it out"
    return Outcome(job.name, str(job.target), FAILED, seconds=limit, error=f"{reason}; {advice}")
