"""Pairs of photos in folders: plain ones, and the layout of the paper's data set.

That layout: ``INPUT_IMAGES`` holds five renderings of each scene, named as its target with ``_N1.5``, ``_N1``, ``_0``,
``_P1`` or ``_P1.5`` before the suffix (N minus, P plus), ``GT_IMAGES`` the targets; the test part has the targets of
five experts in ``expert_a_testing_set`` .. ``expert_e_testing_set``. Other data sets may have other exposures, below
ten stops.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from ..photos.reading import ImageError, find_photos

EXPOSURES = {"N1.5": -1.5, "N1": -1.0, "0": 0.0, "P1": 1.0, "P1.5": 1.5}  # suffix, relative EV
_RENDERING = re.compile(r"(.+)_(0|[NP]\d(?:\.\d+)?)")
SPLITS = ("training", "validation", "testing")
INPUTS, TARGETS = "INPUT_IMAGES", "GT_IMAGES"  # folders of a split; testing has a folder of targets for each expert
EXPERTS = "abcde"
# The blocks of the paper's table: EV -1.5 and -1; the others.
UNDER = "under-exposed"
OTHERS = "properly and over-exposed"


class Pair(NamedTuple):
    """An input, its target, and the groups it counts in."""

    name: str
    input: Path
    target: Path
    groups: tuple[str, ...]


def find_pairs(inputs: Path, targets: Path, groups_file: Path | None = None) -> list[Pair]:
    """Match files of two folders by name without suffix.

    Args:
        inputs: folder of photos to correct.
        targets: folder of their targets.
        groups_file: CSV with a column ``name`` and one or more columns of groups; by default ``pairs.csv`` beside
            the input folder, where there is one.

    Raises:
        ImageError: a folder is missing or empty, or an input has no target.
    """
    found = [photos_by_stem(folder) for folder in (inputs, targets)]
    missing = sorted(found[0].keys() - found[1].keys())
    if missing:
        count = f"{len(missing)} of {len(found[0])} inputs"
        raise ImageError(f"{targets} lacks targets for {count}, first for {found[0][missing[0]]}")
    groups = _read_groups(groups_file or inputs.parent / "pairs.csv", required=groups_file is not None)
    return [Pair(name, path, found[1][name], groups.get(name, ())) for name, path in found[0].items()]


def photos_by_stem(folder: Path) -> dict[str, Path]:
    """The photos of a folder by their names without suffix.

    Raises:
        ImageError: the folder is missing or empty, or two photos differ only in their suffixes.
    """
    photos = find_photos(folder)
    found = {p.stem: p for p in photos}
    if len(found) < len(photos):
        twice = next(p for p in photos if found[p.stem] != p)
        raise ImageError(f"{folder} holds several photos named {twice.stem}; keep one of them")
    return found


def _read_groups(path: Path, required: bool) -> dict[str, tuple[str, ...]]:
    if not path.is_file():
        if required:
            raise ImageError(f"{path} does not exist; name a CSV file with a column 'name' and columns of groups")
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or "name" not in rows[0]:
        raise ImageError(f"{path} has no column 'name'")
    groups = {row.pop("name"): tuple(value for value in row.values() if value) for row in rows}
    # The group usually reported: photographs, without images made by a program.
    if any("synthetic" in g for g in groups.values()):
        groups = {name: g if "synthetic" in g else ("real", *g) for name, g in groups.items()}
    return groups


def exposure_of(stem: str) -> tuple[str, str]:
    """Scene and exposure suffix of an input's name: ``a0001_N1.5`` gives ``("a0001", "N1.5")``; without one, ``""``."""
    found = _RENDERING.fullmatch(stem)
    return (found[1], found[2]) if found else (stem, "")


def suffix_of(ev: float) -> str:
    """The exposure suffix of a relative EV: ``N1.5`` for -1.5.

    Raises:
        ValueError: it has none: ten stops and more, or less than a thousandth.
    """
    suffix = f"{'N' if ev < 0 else 'P'}{abs(ev):g}" if ev else "0"
    if not _RENDERING.fullmatch(f"x_{suffix}"):
        raise ValueError(f"EV {ev:g} has no name; exposures are less than 10 stops, with few decimals")
    return suffix


def ev_of(suffix: str) -> float:
    """The relative EV of an exposure suffix: -1.5 for ``N1.5``."""
    return float(suffix.replace("N", "-").replace("P", ""))


def expert_folder(expert: str) -> str:
    """The folder of an expert's targets in the test part; ``expert`` is one of ``a`` .. ``e``."""
    return f"expert_{expert}_testing_set"


def find_scenes(folder: Path) -> dict[str, dict[str, Path]]:
    """Renderings named ``SCENE_EXPOSURE``, by scene and exposure, from dark to bright.

    Raises:
        ImageError: the folder is missing or empty, or no scene has two exposures.
    """
    scenes: dict[str, dict[str, Path]] = {}
    for stem, path in photos_by_stem(folder).items():
        scene, exposure = exposure_of(stem)
        if exposure:
            scenes.setdefault(scene, {})[exposure] = path
    scenes = {
        name: dict(sorted(found.items(), key=lambda item: ev_of(item[0])))
        for name, found in sorted(scenes.items())
        if len(found) > 1
    }
    if not scenes:
        known = ", ".join(EXPOSURES)
        raise ImageError(f"{folder} holds no scene at two exposures; name photos SCENE_EXPOSURE, with {known}")
    return scenes


def find_exposure_pairs(
    inputs: Path, targets: Path, wanted_exposures: Collection[str] = ()
) -> tuple[list[Pair], list[str]]:
    """Match the renderings of the paper's data set with their targets.

    Args:
        inputs: folder of renderings, named ``SCENE_EXPOSURE``.
        targets: folder of targets, named ``SCENE``.
        wanted_exposures: suffixes that each scene should have; by default those that any scene has.

    Returns:
        The pairs, grouped as in the paper's table and by EV; and problems found, one sentence each (empty if none):
        inputs without an exposure in their names or without a target, targets without inputs, missing exposures.

    Raises:
        ImageError: a folder is missing or empty, or nothing matches.
    """
    renderings, wanted = photos_by_stem(inputs), photos_by_stem(targets)
    pairs, odd, orphans = [], [], []
    seen: dict[str, set[str]] = {scene: set() for scene in wanted}
    for stem, path in renderings.items():
        scene, exposure = exposure_of(stem)
        if not exposure:
            odd.append(path)
        elif scene not in wanted:
            orphans.append(path)
        else:
            seen[scene].add(exposure)
            ev = ev_of(exposure)
            pairs.append(Pair(stem, path, wanted[scene], (UNDER if ev < 0 else OTHERS, f"EV {ev:+g}")))
    if not pairs:
        raise ImageError(
            f"no photo in {inputs} belongs to one in {targets}; inputs are named like their targets, with "
            f"{', '.join('_' + exposure for exposure in EXPOSURES)} before the suffix"
        )
    exposures = set(wanted_exposures) or {exposure for stem in renderings if (exposure := exposure_of(stem)[1])}
    incomplete = [wanted[scene] for scene, found in seen.items() if found and not found >= exposures]
    reports = (
        (odd, f"in {inputs} have no exposure ({', '.join(EXPOSURES)}) in their names and are left out"),
        (orphans, f"in {inputs} have no target in {targets} and are left out"),
        ([wanted[scene] for scene, found in seen.items() if not found], f"in {targets} have no input and are left out"),
        (incomplete, f"in {targets} lack some of the {len(exposures)} exposures"),
    )
    return pairs, [_report(paths, text) for paths, text in reports if paths]


def _report(paths: Iterable[Path], text: str) -> str:
    names = [path.name for path in paths]
    return f"{len(names)} photos {text}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def find_split(folder: Path) -> tuple[Path, Path] | None:
    """The input and target folders where ``folder`` (or its ``training`` part) is laid out as the paper's data set."""
    for root in (folder, folder / "training"):
        if (root / INPUTS).is_dir() and (root / TARGETS).is_dir():
            return root / INPUTS, root / TARGETS
    return None


def scenes_of(folder: Path) -> set[str]:
    """The scenes that a folder has renderings of, named ``SCENE_EXPOSURE``.

    Raises:
        ImageError: the folder is missing or empty.
    """
    return {exposure_of(stem)[0] for stem in photos_by_stem(folder)}


def scenes_by_split(folder: Path) -> dict[str, str]:
    """Split of each scene of a data set that is laid out as the paper's, from the names of its renderings.

    Raises:
        ImageError: the folder is not laid out like this.
    """
    parts = [split for split in SPLITS if (folder / split / INPUTS).is_dir()]
    found = {scene: split for split in parts for scene in scenes_of(folder / split / INPUTS)}
    if not found:
        raise ImageError(f"{folder} is not laid out as the paper's data set (training/{INPUTS}, ..)")
    return found


def find_test_pairs(folder: Path, wanted_exposures: Collection[str] = ()) -> tuple[list[Pair], list[str]]:
    """The test pairs of the paper's data set: each input with the target of each expert, in this order.

    Args:
        folder: the data set, or its ``testing`` part.
        wanted_exposures: see :func:`find_exposure_pairs`.

    Returns:
        The pairs, of which the last group is ``expert a`` .. ``expert e``; and problems found, one sentence each.

    Raises:
        ImageError: the folder is not laid out like this.
    """
    root = folder / "testing" if (folder / "testing").is_dir() else folder
    targets = {e: root / expert_folder(e) for e in EXPERTS if (root / expert_folder(e)).is_dir()}
    if not targets or not (root / INPUTS).is_dir():
        raise ImageError(
            f"{folder} is not laid out as the paper's data set (testing/INPUT_IMAGES, "
            "testing/expert_a_testing_set ..); name the folder of targets for plain pairs"
        )
    found: list[Pair] = []
    reports: list[str] = []
    for expert, path in targets.items():
        pairs, problems = find_exposure_pairs(root / INPUTS, path, wanted_exposures)
        found += [pair._replace(groups=(*pair.groups, f"expert {expert}")) for pair in pairs]
        reports += problems
    return sorted(found, key=lambda pair: (pair.name, pair.groups[-1])), reports
