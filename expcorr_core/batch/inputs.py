"""Which photos a command names, and where their results go."""

from __future__ import annotations

import glob
import os
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ..files import files_of
from ..photos.raw_metadata import SUFFIXES as RAW
from ..photos.raw_metadata import written_name
from ..photos.reading import FORMATS, SUFFIXES, UNREAD, missing, readable
from ..settings import UsageError
from .bulk import Job
from .sidecars import sidecars_of


def find_inputs(patterns: Sequence[str], output: Path) -> list[tuple[Path, Path]]:
    """Photos named by files, folders and globs, each with its name below the output folder.

    A folder gives all photos in it and its subfolders, whose structure is kept. Hidden files and folders are left out,
    and so is the content of the output folder, unless an input is inside it. What does not exist or cannot be opened
    is returned as it is, so that reading it reports it.

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
                # The results of an earlier run, where they are among the photos.
                spared = results if results != real and _lies_in(results, real) else None
                closed: list[OSError] = []
                photos = [*files_of(match, readable(), spared=spared, onerror=closed.append)]
                photos += [Path(str(error.filename)) for error in closed]
                inside = [(p, p.relative_to(match)) for p in photos]
            elif len(matches) > 1 and (_lies_in(real, results) or match.suffix.lower() not in (*SUFFIXES, *RAW)):
                continue
            else:
                inside = [(match, Path(match.name))]
            for source, name in inside:
                found.setdefault(_real(source), (source, name))
    if not found:
        raise UsageError(f"{', '.join(patterns)}: no photos found ({', '.join(readable())})")
    return list(found.values())


def _real(path: Path) -> str:
    return os.path.realpath(path)  # also for circular links


def _lies_in(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def is_one_photo(output: Path) -> bool:
    """Whether an output names a photo, not a folder."""
    return output.suffix.lower() in SUFFIXES and not output.is_dir()


def check_folder(output: Path) -> None:
    """Raise UsageError where a folder for results is a file."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file, not a folder; choose another output with -o")


def is_bulk(patterns: Sequence[str]) -> bool:
    """Whether a command names more than one photo, by folder, glob or number."""
    return len(patterns) > 1 or Path(patterns[0]).is_dir() or (
        not os.path.lexists(patterns[0]) and glob.has_magic(patterns[0])
    )  # fmt: skip


def plan_jobs(
    inputs: Sequence[tuple[Path, Path]],
    output: Path,
    compare: bool,
    form: str | None = None,
    sidecars: Collection[str] = (),
) -> list[Job]:
    """Decide which files each result is written to.

    Args:
        inputs: photos, each with its name below the output.
        output: folder, or file for one photo.
        compare: also write comparisons.
        form: format to write, one of :data:`~.settings.FORMAT_NAMES`; None for that of each name.

    Raises:
        UsageError: two inputs would be written to one file, an output would replace an input, or the output is no
            folder and names no format that is written.
    """
    if is_one_photo(output):
        if len(inputs) > 1:
            raise UsageError(f"{output} is one file, but there are {len(inputs)} inputs; name a folder")
        targets = [output]
        if needed := missing().get(output.suffix.lower()):
            raise UsageError(f"{output} can only be written with {needed}")
        if form and output.suffix.lower() not in FORMATS[form.upper()]:
            raise UsageError(f"{output} names no file of the format {form}; leave out --format, or name a folder")
    else:
        if len(inputs) == 1 and output.suffix.lower() in (*UNREAD, *RAW) and not output.is_dir():
            raise UsageError(f"{output} names a format that is not written; use .jpg, .png, .tif or .webp, or a folder")
        check_folder(output)
        known = readable()  # asked once: it looks for packages
        targets = [output / (_renamed(name, form, known) if form else written_name(name)) for _, name in inputs]
    jobs = [
        Job(
            source,
            target,
            target.with_name(f"{target.stem}_compare{target.suffix}") if compare else None,
            sidecars=sidecars_of(target, sidecars),
        )
        for (source, _), target in zip(inputs, targets, strict=True)
    ]
    key = folded if takes_cases_for_the_same(targets[0].parent) else str
    sources = {key(_real(job.source)) for job in jobs}
    taken: dict[str, tuple[Path, Path]] = {}
    planned = []
    for job in jobs:
        refusal = ""
        for path in job.outputs:
            if key(_real(path)) in sources:
                raise UsageError(f"{path} is an input and would be replaced; choose another output with -o")
            other, name = taken.setdefault(key(str(path)), (job.source, path))
            if other == job.source:
                continue
            if name == path and other.suffix.lower() == job.source.suffix.lower():
                raise UsageError(f"{other} and {job.source} would both be written to {path}; correct them separately")
            where = "" if name == path else f"which is the same file as {name} on that disk, "
            advice = "correct it separately" if name == path else "rename one of the two"
            refusal = f"{job.source} would be written to {path}, {where}where the result of {other} goes; {advice}"
        planned.append(replace(job, refusal=refusal))
    return planned


def _renamed(name: Path, form: str, known: Collection[str]) -> Path:
    """A name with the suffix of a format, unless it has one; it takes the place of a ``known`` suffix."""
    suffixes = FORMATS[form.upper()]
    if name.suffix.lower() in suffixes:
        return name
    return name.with_suffix(suffixes[0]) if name.suffix.lower() in known else name.with_name(name.name + suffixes[0])


def folded(name: str) -> str:
    """A name in the form in which case-insensitive disks compare it."""
    return unicodedata.normalize("NFC", name).lower()


def takes_cases_for_the_same(folder: Path) -> bool:
    """Whether the disk of a folder, or of its nearest existing parent, is case-insensitive."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".case-") as file:
            return Path(file.name).with_name(Path(file.name).name.upper()).exists()
    except OSError:  # nothing may be written there: the command will report that
        return os.name == "nt"


def unread(patterns: Sequence[str], output: Path) -> dict[str, int]:
    """How many files in the folders that a command names are pictures in unsupported formats, by suffix."""
    results, suffixes = _real(output), {*UNREAD, *missing()}
    found: Counter[str] = Counter()
    for pattern in patterns:
        folder = Path(pattern)
        if folder.is_dir():
            spared = results if results != _real(folder) else None
            found.update(path.suffix.lower() for path in files_of(folder, suffixes, spared=spared))
    return dict(found.most_common())
