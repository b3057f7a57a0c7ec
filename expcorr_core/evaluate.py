"""PSNR and SSIM of the corrector over a folder of pairs, by group."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .corrector import Corrector, Settings
from .image_io import ImageError, find_photos, read_photo
from .metrics import psnr, ssim


class Pair(NamedTuple):
    """An input, its target, and the groups that it counts in."""

    name: str
    input: Path
    target: Path
    groups: tuple[str, ...]


class Score(NamedTuple):
    """Figures of one pair."""

    pair: Pair
    psnr: float
    ssim: float


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
    found: list[dict[str, Path]] = []
    for folder in (inputs, targets):
        photos = find_photos(folder)
        found.append({p.stem: p for p in photos})
        if len(found[-1]) < len(photos):
            twice = next(p for p in photos if found[-1][p.stem] != p)
            raise ImageError(f"{folder} holds several photos named {twice.stem}; keep one of them")
    missing = sorted(found[0].keys() - found[1].keys())
    if missing:
        raise ImageError(f"{targets} lacks a target for {len(missing)} inputs, first for {found[0][missing[0]]}")
    groups = _read_groups(groups_file or inputs.parent / "pairs.csv", required=groups_file is not None)
    return [Pair(name, path, found[1][name], groups.get(name, ())) for name, path in found[0].items()]


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
    # The usual figure for photographs that were not made by a program.
    if any("synthetic" in g for g in groups.values()):
        groups = {name: g if "synthetic" in g else ("real", *g) for name, g in groups.items()}
    return groups


def evaluate(corrector: Corrector, pairs: Iterable[Pair], settings: Settings | None = None) -> Iterator[Score]:
    """Correct each input and hold it against its target, on 8-bit RGB.

    Raises:
        ImageError: a file cannot be read, or a pair's sizes differ.
    """
    for pair in pairs:
        photo, target = read_photo(pair.input), read_photo(pair.target)
        if photo.pixels.shape != target.pixels.shape:
            raise ImageError(f"{pair.input} and {pair.target} differ in size; resize one of them")
        result = photo.with_tensor(corrector(photo.to_tensor(), settings))
        values = (result.eight_bit(), target.eight_bit())
        yield Score(pair, psnr(*values), ssim(*values))


def summarise(scores: Iterable[Score]) -> dict[str, tuple[int, float, float]]:
    """Count, mean PSNR and mean SSIM of all pairs and of each group; equal pairs (infinite dB) count as 100 dB."""
    members: dict[str, list[Score]] = {}
    for score in scores:
        for group in ("all", *score.pair.groups):
            members.setdefault(group, []).append(score)
    return {
        group: (
            len(part),
            sum(min(s.psnr, 100.0) for s in part) / len(part),
            sum(s.ssim for s in part) / len(part),
        )
        for group, part in members.items()
    }
