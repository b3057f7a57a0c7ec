"""Which photos a command names, and where their results go."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from .bulk import Job
from .files import files_of
from .image_io import SUFFIXES
from .settings import UsageError


def find_inputs(patterns: Sequence[str], output: Path) -> list[tuple[Path, Path]]:
    """Photos named by files, folders and globs, each with its name below the output folder.

    A folder gives all photos below it, with their sub-folders kept. Hidden files and folders are left out, and so is
    what lies in the output folder, unless an input lies in there itself. What does not exist or cannot be entered is
    given back as it is, so that reading it names it.

    Raises:
        UsageError: there are no photos.
    """
    found: dict[str, tuple[Path, Path]] = {}
    results = _real(output)
    for pattern in patterns:
        path = Path(pattern)
        matches = [path] if os.path.lexists(path) else [Path(m) for m in sorted(glob.glob(pattern, recursive=True))]
        for match in matches or [path]:
            real = _real(match)
            if match.is_dir():
                if real == results and len(patterns) + len(matches) > 2:
                    continue  # by a glob, the shell's or ours
                # The results of an earlier run, where they lie among the photos.
                spared = results if results != real and _lies_in(results, real) else None
                closed: list[OSError] = []
                photos = [*files_of(match, SUFFIXES, spared=spared, onerror=closed.append)]
                photos += [Path(str(error.filename)) for error in closed]
                inside = [(p, p.relative_to(match)) for p in photos]
            elif len(matches) > 1 and (_lies_in(real, results) or not _is_photo_name(match)):
                continue
            else:
                inside = [(match, Path(match.name))]
            for source, name in inside:
                found.setdefault(_real(source), (source, name))
    if not found:
        raise UsageError(f"{', '.join(patterns)}: no photos there ({', '.join(SUFFIXES)})")
    return list(found.values())


def _real(path: Path) -> str:
    return os.path.realpath(path)  # of circles of links too


def _lies_in(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def _is_photo_name(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def is_one_photo(output: Path) -> bool:
    """Whether an output names a photo, not a folder."""
    return _is_photo_name(output) and not output.is_dir()


def is_bulk(patterns: Sequence[str]) -> bool:
    """Whether a command names more than one photo, by folder, glob or number."""
    return len(patterns) > 1 or Path(patterns[0]).is_dir() or (
        not os.path.lexists(patterns[0]) and glob.has_magic(patterns[0])
    )  # fmt: skip


def plan_jobs(inputs: Sequence[tuple[Path, Path]], output: Path, compare: bool) -> list[Job]:
    """What is written where.

    Raises:
        UsageError: two inputs would be written to one file, or an output would replace an input.
    """
    if is_one_photo(output):
        if len(inputs) > 1:
            raise UsageError(f"{output} is one file, but there are {len(inputs)} inputs; name a folder")
        targets = [output]
    else:
        targets = [output / name for _, name in inputs]
    jobs = [
        Job(source, target, target.with_name(f"{target.stem}_compare{target.suffix}") if compare else None)
        for (source, _), target in zip(inputs, targets, strict=True)
    ]
    # Some file systems take upper and lower case for the same.
    sources = {_real(job.source).casefold() for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        for path in job.outputs:
            if _real(path).casefold() in sources:
                raise UsageError(f"{path} is an input and would be replaced; choose another output with -o")
            if (other := taken.setdefault(str(path).casefold(), job.source)) != job.source:
                raise UsageError(f"{other} and {job.source} would both be written to {path}; correct them separately")
    return jobs
