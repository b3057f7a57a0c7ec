"""Makes a data set in the paper's layout from many sources: in parallel, resumable, with a manifest.

Each source is finished on its own: its pictures are put into ``staging``, and a line in ``journal.jsonl`` records them.
When all are done, the scenes are split and the pictures move to their places.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from expcorr_core.batch.pool import WORKER_BYTES, Task, spread
from expcorr_core.data.pairs import INPUTS, SPLITS, TARGETS, ev_of, expert_folder
from expcorr_core.files import digest, replacing
from expcorr_core.machine import memory
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import ImageError
from expcorr_core.photos.writing import write_photo

from ..journal import check_started
from ..tables import markdown
from .scenes import assign_splits, group_scenes, read_splits, torn_groups

Pixels = NDArray[np.uint8]
TRAINING_EXPERT = "c"  # whose targets the paper trains and validates with
MANIFEST, LEFT_OUT, REPORT, JOURNAL, STAGING = "manifest.csv", "left_out.csv", "report.md", "journal.jsonl", "staging"
DESCRIPTION = "dataset.json"
COLUMNS = ("scene", "split", "kind", "ev", "file", "sha256", "source", "group", "note")


class Made(NamedTuple):
    """A scene: renderings by exposure suffix, targets by expert, perceptual hash, and a note for the manifest."""

    scene: str
    inputs: Mapping[str, Pixels]
    targets: Mapping[str, Pixels]
    hash: str
    note: str = ""


class Maker(Protocol):
    """Makes scenes from a source; it is sent to other processes."""

    def parts(self, source: Path) -> list[Path]:
        """The files that the scenes are made from, the source first."""

    def cost(self, source: Path) -> float:
        """Bytes of memory that this needs."""

    def make(self, source: Path) -> list[Made]:
        """The scenes; an ImageError or ValueError says why there are none."""


@dataclass(frozen=True)
class Record:
    """What became of a source: a line of the journal. Scenes have the fields scene, hash, note and files."""

    source: str
    digest: str
    left_out: str = ""
    scenes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Options:
    """How the scenes are split (see :func:`~.scenes.assign_splits`), and how many processes make them."""

    seed: int
    shares: Mapping[str, float]
    splits: Path | None = None
    workers: int = 1
    quiet: bool = False


def build(
    maker: Maker, root: Path, sources: Sequence[Path], out: Path, made_by: Mapping[str, object], options: Options
) -> str:
    """Make or complete a data set.

    Args:
        maker: makes the scenes.
        root, sources: the sources, all of them below ``root``.
        out: folder of the data set.
        made_by: what the pictures depend on, except for the sources; a folder can be resumed only with the same.
        options: splits and processes.

    Returns:
        The report, Markdown.

    Raises:
        ValueError: ``out`` was started with other settings.
        Stopped: the process received Ctrl-C or SIGTERM.
        OSError: a file cannot be written.
    """
    given = read_splits(options.splits) if options.splits else {}
    if out.is_dir() and any(out.iterdir()) and not (out / DESCRIPTION).exists():
        raise ValueError(f"{out} contains files that were not made here; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    check_started(out / DESCRIPTION, made_by)
    journal = _read_journal(out / JOURNAL)
    names = [source.relative_to(root).as_posix() for source in sources]
    if journal and not journal.keys() & set(names):
        raise ValueError(f"{out} was made from {len(journal)} files, none of which is in {root}; choose another folder")

    def tasks() -> Iterator[Task[Record]]:
        for name, source in zip(names, sources, strict=True):
            reason = f"{source} crashes the program that decodes it; copy it again or leave it out"
            crashed = Record(name, "", left_out=reason)
            yield Task((maker, source, root, out, journal.get(name)), crashed, WORKER_BYTES + maker.cost(source))

    records: dict[str, Record] = {}
    with (
        (out / JOURNAL).open("a", encoding="utf-8") as file,
        tqdm(total=len(sources), unit="source", disable=options.quiet) as bar,
    ):
        for record in spread(process, tasks(), options.workers, budget=memory() / 2):
            records[record.source] = record
            if record != journal.get(record.source):
                # On a line of its own even if the line before was truncated.
                file.write(f"\n{json.dumps(asdict(record))}\n")
                file.flush()
            bar.update()
    _check_names(records.values())
    _remove_others(out, journal.values(), records.values())
    report = _finish(out, [records[name] for name in sorted(records)], given, options)
    with replacing(out / JOURNAL) as temporary:  # sources that are gone are forgotten last
        temporary.write_text("".join(json.dumps(asdict(records[name])) + "\n" for name in sorted(records)), "utf-8")
    return report


def _read_journal(path: Path) -> dict[str, Record]:
    """The last line of each source; truncated and foreign lines are ignored."""
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
    return {record.source: record for line in lines if (record := _record_of(line))}


def _record_of(line: str) -> Record | None:
    try:
        record = Record(**json.loads(line))
        texts = [record.source, record.digest, record.left_out]
        for scene in record.scenes:
            files = scene["files"]
            texts += [scene["scene"], scene["hash"], scene["note"], *files, *files.values()]
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None
    return record if all(isinstance(text, str) for text in texts) else None


def _check_names(records: Iterable[Record]) -> None:
    """Raise ValueError if two sources made scenes with the same name."""
    first: dict[str, str] = {}
    for record in records:
        for scene in record.scenes:
            if (other := first.setdefault(scene["scene"], record.source)) != record.source:
                raise ValueError(
                    f"{other} and {record.source} both make the scene {scene['scene']}; rename one of them"
                )


def _remove_others(out: Path, before: Iterable[Record], now: Iterable[Record]) -> None:
    """Delete the pictures that earlier records list and the present ones do not."""

    def pictures(records: Iterable[Record]) -> set[tuple[str, str]]:
        return {(scene["scene"], kind) for record in records for scene in record.scenes for kind in scene["files"]}

    for scene, kind in pictures(before) - pictures(now):
        for path in _places(out, scene, kind):
            path.unlink(missing_ok=True)


def process(maker: Maker, source: Path, root: Path, out: Path, known: Record | None) -> Record:
    """Make the scenes of one source, unless ``known`` says that they were made of the same files."""
    name = source.relative_to(root).as_posix()
    content = hashlib.sha256()
    try:
        for part in maker.parts(source):
            content.update(digest(part).encode())
        if known and known.digest == content.hexdigest() and known.scenes and _all_there(out, known):
            return known
        made = maker.make(source)
    except (ImageError, ValueError) as error:
        return Record(name, content.hexdigest(), left_out=str(error))
    # torch reports running out of memory as a RuntimeError.
    except (OSError, MemoryError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or "not enough memory"
        return Record(name, content.hexdigest(), left_out=f"{source} cannot be rendered: {reason}")
    scenes = []
    for scene in made:
        pictures = {**scene.inputs, **{f"expert_{expert}": target for expert, target in scene.targets.items()}}
        files = {}
        for kind, pixels in pictures.items():
            path = _staged(out, scene.scene, kind)
            write_photo(path, Photo(pixels), overwrite=True)
            files[kind] = digest(path)
        scenes.append({"scene": scene.scene, "hash": scene.hash, "note": scene.note, "files": files})
    return Record(name, content.hexdigest(), scenes=scenes)


def _staged(out: Path, scene: str, kind: str) -> Path:
    """Where a picture waits for its split; ``kind`` is an exposure suffix or ``expert_x``."""
    return out / STAGING / kind / f"{scene}.jpg"


def _place(out: Path, split: str, scene: str, kind: str) -> Path:
    """Where a picture belongs in the data set."""
    if not kind.startswith("expert_"):
        return out / split / INPUTS / f"{scene}_{kind}.jpg"
    expert = kind[-1]
    if split == "testing":
        return out / split / expert_folder(expert) / f"{scene}.jpg"
    # The other experts' are kept in case the scene is moved to the test part.
    return out / split / (TARGETS if expert == TRAINING_EXPERT else f"{kind}_unused") / f"{scene}.jpg"


def _places(out: Path, scene: str, kind: str) -> list[Path]:
    """All places where a picture may be, the staging folder first."""
    return [_staged(out, scene, kind), *(_place(out, split, scene, kind) for split in SPLITS)]


def _all_there(out: Path, record: Record) -> bool:
    """Whether the pictures of a record exist unchanged."""
    return all(
        any(path.exists() and digest(path) == checksum for path in _places(out, scene["scene"], kind))
        for scene in record.scenes
        for kind, checksum in scene["files"].items()
    )


def _settle(out: Path, scene: str, kind: str, split: str, checksum: str) -> Path:
    """Move a picture to its place, from wherever it is, and delete copies elsewhere.

    Raises:
        FileNotFoundError: it cannot be found.
    """
    target = _place(out, split, scene, kind)
    places = [path for path in _places(out, scene, kind) if path.exists()]
    # The newest one, if there are older ones, too.
    found = next((path for path in places if digest(path) == checksum), None)
    if found is None:
        raise FileNotFoundError(f"{target} has disappeared; run the same command again")
    if found != target:
        target.parent.mkdir(parents=True, exist_ok=True)
        found.replace(target)
    for path in places:
        if path not in (found, target):
            path.unlink()
    return target


def _finish(out: Path, records: Sequence[Record], given: Mapping[str, str], options: Options) -> str:
    """Split the scenes, move their pictures, write manifest and report."""
    scenes = {scene["scene"]: (record, scene) for record in records for scene in record.scenes}
    # Scenes keep their split when others are added, unless a list says otherwise.
    before = read_splits(out / MANIFEST) if (out / MANIFEST).exists() else {}
    groups = group_scenes(
        {name: scene["hash"] for name, (_, scene) in scenes.items()},
        {name: record.source for name, (record, _) in scenes.items()},
    )
    split = assign_splits(groups, options.seed, {**before, **given}, options.shares)
    group_of = {name: min(group) for group in groups for name in group}
    rows: list[tuple[object, ...]] = []
    for name, (record, scene) in sorted(scenes.items()):
        for kind, checksum in scene["files"].items():
            path = _settle(out, name, kind, split[name], checksum)
            ev = "" if kind.startswith("expert_") else f"{ev_of(kind):+g}"
            place = path.relative_to(out).as_posix()
            rows.append((name, split[name], kind, ev, place, checksum, record.source, group_of[name], scene["note"]))
    left_out = [(record.source, record.left_out) for record in records if record.left_out]
    _write_csv(out / MANIFEST, COLUMNS, rows)
    _write_csv(out / LEFT_OUT, ("source", "reason"), left_out)
    kept = sum(name in before for name in scenes)
    report = _report(scenes, split, groups, left_out, len(given.keys() - scenes.keys()), kept)
    with replacing(out / REPORT) as temporary:
        temporary.write_text(report, "utf-8")
    shutil.rmtree(out / STAGING, ignore_errors=True)
    for folder in [path for split in SPLITS for path in (*(out / split).glob("*"), out / split)]:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return report


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _report(
    scenes: Mapping[str, tuple[Record, dict[str, Any]]],
    split: Mapping[str, str],
    groups: Sequence[Sequence[str]],
    left_out: Sequence[tuple[str, str]],
    unknown: int,
    kept: int,
) -> str:
    counts = []
    for part in SPLITS:
        names = [name for name in scenes if split[name] == part]
        kinds = [kind for name in names for kind in scenes[name][1]["files"]]
        counts.append((part, len(names), sum(not kind.startswith("expert_") for kind in kinds)))
    text = markdown(("split", "scenes", "renderings"), counts)
    bursts = [group for group in groups if len({scenes[name][0].source for name in group}) > 1]
    text += f"\n{sum(map(len, bursts))} scenes of different sources look alike, in {len(bursts)} groups.\n"
    for group in torn_groups(groups, split):
        alike = ", ".join(group)
        text += f"Scenes that look alike are in different splits, because a list or an earlier run says so: {alike}.\n"
    if 0 < kept < len(scenes):
        text += f"{kept} scenes stayed in their split; without {MANIFEST}, all would be split again.\n"
    if unknown:
        text += f"{unknown} scenes of the given list are not in this data set.\n"
    noted = [(name, scene["note"]) for name, (_, scene) in scenes.items() if scene["note"]]
    if noted:
        text += f"\n## Corrected: {len(noted)} scenes\n\n{markdown(('scene', 'what was done'), noted)}"
    text += f"\n## Left out: {len(left_out)} sources\n"
    return text + (f"\n{markdown(('source', 'reason'), left_out)}" if left_out else "")
