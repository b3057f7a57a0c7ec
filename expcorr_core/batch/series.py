"""The photos of a run as one series: looked at first, each by a process; then it is found out which belong together.

What was seen of a photo is kept in the output folder, in a file named by the photo's content and the settings, so that
a run that is stopped does not look at it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..machine import cores, memory
from ..photos.reading import decode_photo
from ..series.brackets import find_brackets
from ..series.corrector import SeriesCorrector, plan
from ..series.looks import Membership, load_look, save_look
from .bulk import Job, Work, check_memory, corrector_of, prepare, read_source, task_of
from .pool import WORKER_BYTES, Stop, Stopped, Task, spread

LOOKS = ".expcorr-looks"  # folder below the output


class Looked(NamedTuple):
    """A photo that was looked at, and the file of what was seen; None where that failed: correcting it says why."""

    source: str
    look: Path | None


def look_at(job: Job, work: Work, right: bool) -> Looked:
    """Look at a photo, unless that was done before, and keep what was seen.

    Args:
        job: the photo.
        work: what to do, with an output folder.
        right: whether the photo stays as it is.
    """
    prepare()
    assert work.output
    try:
        source = read_source(job.source, checksum=True)
        path = work.output / LOOKS / f"{source.checksum}-{work.key[:16]}{'-right' if right else ''}.safetensors"
        if not path.exists():
            corrector = SeriesCorrector(corrector_of(work.weights, work.device), work.settings)
            size = work.settings.working_size
            if huge := source.huge:
                seen = corrector.look(huge.reduced(size), huge.metadata, huge.space, right)
            else:
                check_memory(job.source, source.content)
                # Sides of 3 : 2; what is longer is decoded a little larger than it is needed.
                photo = decode_photo(source.content, job.source, at_least=size * 2 // 3)
                seen = corrector.look(photo.to_tensor(), photo.metadata, photo.space, right)
            save_look(path, seen)
    except Exception:  # whatever happens to one photo, the others go on
        return Looked(str(job.source), None)
    return Looked(str(job.source), path)


def look_at_all(jobs: Sequence[Job], right: Sequence[Job], work: Work, workers: int = 0) -> Iterator[Looked]:
    """Look at photos; as :func:`~.bulk.correct_all` corrects them.

    Args:
        jobs: the photos.
        right: those of them that stay as they are, and others that are looked at, too.
        work, workers: as for that function.

    Raises:
        Stopped: Ctrl-C or SIGTERM came.
    """
    every = list(dict.fromkeys((*jobs, *right)))
    fixed = {*right}
    if workers:
        budget = memory() / 2
        workers = max(1, min(workers, int(budget // WORKER_BYTES)))
        tasks = (_task(job, work, job in fixed) for job in every)
        yield from spread(look_at, tasks, workers, max(1, cores() // workers), budget)
        return
    stop = Stop()
    with stop.listening():
        for job in every:
            if stop.asked:
                raise Stopped
            yield look_at(job, work, job in fixed)


def _task(job: Job, work: Work, right: bool) -> Task[Looked]:
    like = task_of(job, work, ())
    return Task((job, work, right), Looked(str(job.source), None), like.cost, like.limit)


@dataclass(frozen=True, kw_only=True)
class Series:
    """Photos of a run, put together.

    Attributes:
        jobs: the photos, each with its part in the series.
        groups: sizes of the groups of two and more photos of one scene.
        time_lapses: sizes of those that are time-lapses instead.
        brackets: sizes of the exposure brackets in the groups.
        unlike: photos that are right as they are, and show no scene of the series.
    """

    jobs: Sequence[Job]
    groups: Sequence[int] = ()
    time_lapses: Sequence[int] = ()
    brackets: Sequence[int] = ()
    unlike: Sequence[Path] = ()

    def __str__(self) -> str:
        alone = sum(job.group is None for job in self.jobs)
        kinds = ((self.groups, "group"), (self.brackets, "bracket"), (self.time_lapses, "time-lapse"))
        told = [_told(sizes, name) for sizes, name in kinds if sizes]
        return ", ".join([*told, f"{alone} by themselves"] if alone or not told else told)


def _told(sizes: Sequence[int], name: str) -> str:
    least, most = min(sizes), max(sizes)
    of = f"{most}" if least == most else f"{least} to {most}"
    return f"{len(sizes)} {name}{'s' if len(sizes) > 1 else ''} of {of} photos"


def as_series(jobs: Sequence[Job], right: Sequence[Job], looked: Iterable[Looked]) -> Series:
    """Find out which photos of a run belong together.

    Args:
        jobs: the photos, in the order of their names.
        right: those of them that stay as they are, and others whose look counts.
        looked: what came of looking at all of them.
    """
    files = {found.source: found.look for found in looked if found.look}
    known = [job for job in dict.fromkeys((*jobs, *right)) if str(job.source) in files]
    looks = [files[str(job.source)] for job in known]
    shots = [load_look(path).shot for path in looks]
    fixed = {number for number, job in enumerate(known) if job in right}
    parts = plan(shots, fixed)
    members: dict[int, list[int]] = {}
    memberships: dict[Job, Membership] = {}
    for number, (job, part) in enumerate(zip(known, parts, strict=True)):
        members.setdefault(part.group, []).append(number)
        others = tuple(looks[other] for other in part.others)
        memberships[job] = Membership(part=part, look=looks[number], others=others)
    groups = [group for group in members.values() if len(group) > 1]
    scenes = [group for group in groups if not parts[group[0]].time_lapse]
    return Series(
        jobs=[job._replace(membership=memberships.get(job)) for job in jobs],
        groups=[len(group) for group in scenes],
        time_lapses=[len(group) for group in groups if parts[group[0]].time_lapse],
        brackets=[len(bracket) for group in scenes for bracket in find_brackets([shots[k] for k in group])],
        unlike=[known[number].source for number in sorted(fixed) if parts[number].size == 1],
    )
