"""The photos of a run as one series: looked at first, each by a process; then it is found out which belong together.

What was seen of a photo is kept in the output folder, in a file named by the photo's content and the settings, so that
a run that is stopped does not look at it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from ..corrector import Corrector
from ..photos.reading import decode_photo
from ..runtimes import corrector_of
from ..series.brackets import find_brackets
from ..series.corrector import SeriesCorrector, plan
from ..series.fusing import reference_of
from ..series.looks import Membership, load_look, save_look
from ..series.shot import picture_of
from .bulk import Job, Work, check_memory, prepare, read_source, run_all, task_of
from .inputs import folded, takes_cases_for_the_same
from .pool import Task

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
            used = corrector_of(work.weights, work.device, work.runtime)
            assert isinstance(used, Corrector)
            corrector = SeriesCorrector(used, work.settings)
            size = work.settings.working_size
            if huge := source.huge:
                seen = corrector.look(torch.from_numpy(huge.reduced(size)), huge.metadata, huge.space, right)
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
    fixed = {*right}
    calls = [(job, work, job in fixed) for job in dict.fromkeys((*jobs, *right))]
    return run_all(look_at, calls, _task, workers)


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
        brackets: the exposure brackets in the groups: their photos among the jobs, two or more.
        unlike: photos that are right as they are, and show no scene of the series.
    """

    jobs: Sequence[Job]
    groups: Sequence[int] = ()
    time_lapses: Sequence[int] = ()
    brackets: Sequence[Sequence[Job]] = ()
    unlike: Sequence[Path] = ()

    def __str__(self) -> str:
        alone = sum(job.group is None for job in self.jobs)
        kinds = ((self.groups, "group"), ([len(b) for b in self.brackets], "bracket"), (self.time_lapses, "time-lapse"))
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
        # By content, so that the result does not depend on the order of the photos.
        counting = sorted(zip(part.others, part.weights, strict=True), key=lambda other: looks[other[0]].name)
        others, weights = zip(*counting, strict=True) if counting else ((), ())
        memberships[job] = Membership(
            part=replace(part, others=others, weights=weights),
            look=looks[number],
            others=tuple(looks[other] for other in others),
        )
    groups = [group for group in members.values() if len(group) > 1]
    scenes = [group for group in groups if not parts[group[0]].time_lapse]
    run = {job: replace(job, membership=memberships.get(job)) for job in jobs}
    brackets = [  # without photos that were only named as right
        [run[known[group[k]]] for k in bracket if known[group[k]] in run]
        for group in scenes
        for bracket in find_brackets([shots[k] for k in group])
    ]
    return Series(
        jobs=list(run.values()),
        groups=[len(group) for group in scenes],
        time_lapses=[len(group) for group in groups if parts[group[0]].time_lapse],
        brackets=[bracket for bracket in brackets if len(bracket) > 1],
        unlike=[known[number].source for number in sorted(fixed) if parts[number].size == 1],
    )


def fused_jobs(series: Series) -> list[Job]:
    """One more job for each bracket: the photo NAME_fused, beside the result of the middle exposure."""
    targets = [job.target for job in series.jobs]
    key = folded if targets and takes_cases_for_the_same(targets[0].parent) else str
    inputs = {key(os.path.realpath(job.source)) for job in series.jobs}
    taken = {key(os.path.realpath(path)): job.source for job in series.jobs for path in job.outputs}
    found = []
    for bracket in series.brackets:
        middle = _middle_of(bracket)
        target = middle.target.with_name(f"{middle.target.stem}_fused{middle.target.suffix}")
        place = key(os.path.realpath(target))
        refusal, subject = middle.refusal, f"the bracket of {middle.source} would be fused to {target}"
        if place in inputs:
            refusal = f"{subject}, which is an input; choose another output with -o"
        elif other := taken.get(place):
            refusal = f"{subject}, where the result of {other} goes; rename one of the two"
        exposures = tuple(job.source for job in bracket)
        found.append(replace(middle, target=target, comparison=None, sidecars=(), exposures=exposures, refusal=refusal))
    return found


def _middle_of(bracket: Sequence[Job]) -> Job:
    looks = [load_look(job.membership.look).shot.look for job in bracket if job.membership]
    return bracket[reference_of([picture_of(look) for look in looks])]
