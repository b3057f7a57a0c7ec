"""Finds scenes that show the same, and assigns scenes to splits."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.data.pairs import SPLITS, scenes_by_split
from expcorr_core.photos.reading import ImageError

from .extras import extra

# Scenes of the paper's data set: 17,675, 750 and 5,905 images at five exposures each.
PAPER_SCENES = {"training": 3535, "validation": 150, "testing": 1181}
# Bits of 64. Of photos shifted by up to 5 % of their sides, 90 % differ in 12 or fewer; of unrelated ones, 1 in 50,000.
NEAR = 12


def perceptual_hash(pixels: NDArray[np.uint8]) -> str:
    """64 bits of a picture, ``(H, W, 3)``, that hardly change with exposure and small shifts; 16 hex digits."""
    return str(extra("imagehash").phash(Image.fromarray(pixels)))


def group_scenes(hashes: Mapping[str, str], sources: Mapping[str, str]) -> list[list[str]]:
    """Scenes that belong together: from one source, or near-duplicates (bursts), over any number of steps.

    Args:
        hashes: :func:`perceptual_hash` of each scene.
        sources: the file that each scene is made from.

    Returns:
        Groups of scenes, in the order of ``hashes``.
    """
    sparse = extra("scipy.sparse")
    names = list(hashes)
    if not names:
        return []
    bits = np.array([list(bytes.fromhex(hashes[name])) for name in names], np.uint8)
    count = np.array([bin(value).count("1") for value in range(256)], np.uint8)
    rows, columns = [], []
    for row, own in enumerate(bits):
        near = np.flatnonzero(count[bits[row:] ^ own].sum(1) <= NEAR) + row
        rows += [row] * len(near)
        columns += near.tolist()
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        rows.append(index)
        columns.append(first.setdefault(sources[name], index))
    links = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), (len(names), len(names)))
    _, labels = extra("scipy.sparse.csgraph").connected_components(links, directed=False)
    groups: dict[int, list[str]] = {}
    for name, label in zip(names, labels, strict=True):
        groups.setdefault(int(label), []).append(name)
    return list(groups.values())


def assign_splits(
    groups: Iterable[Sequence[str]], seed: int, known: Mapping[str, str], shares: Mapping[str, float]
) -> dict[str, str]:
    """Give each scene a split; a group stays together.

    Validation and testing are filled to their shares with groups, in an order that depends only on the seed and the
    scenes' names; the rest is for training.

    Args:
        groups: from :func:`group_scenes`.
        seed: of the order.
        known: splits that are given for some scenes; the rest of a scene's group follows.
        shares: of validation and testing, 0..1.
    """
    groups = [sorted(group) for group in groups]
    total = sum(map(len, groups))
    split: dict[str, str] = {}
    open_groups = []
    for group in groups:
        given = sorted({known[name] for name in group if name in known}, key=SPLITS.index)
        if given:
            split |= {name: known.get(name, given[0]) for name in group}
        else:
            open_groups.append(group)
    open_groups.sort(key=lambda group: hashlib.sha256(f"{seed} {group[0]}".encode()).digest())
    for part in ("validation", "testing"):
        wanted = round(total * shares[part]) - list(split.values()).count(part)
        # Groups that fit; then one more if that comes closer to the share.
        for room in (1, 2):
            for group in list(open_groups):
                if wanted > 0 and len(group) <= room * wanted:
                    split |= dict.fromkeys(group, part)
                    wanted -= len(group)
                    open_groups.remove(group)
    return split | {name: "training" for group in open_groups for name in group}


def torn_groups(groups: Iterable[Sequence[str]], split: Mapping[str, str]) -> list[list[str]]:
    """Groups that a given list puts into more than one split."""
    return [list(group) for group in groups if len({split[name] for name in group}) > 1]


def read_splits(path: Path) -> dict[str, str]:
    """The split of each scene, from a CSV file with columns ``scene`` and ``split`` (such as a manifest) or a data set.

    Args:
        path: the file, or a folder with the layout of the paper's data set.

    Raises:
        ImageError: it is neither, or names another split.
    """
    if path.is_dir():
        return scenes_by_split(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        split = {row["scene"]: row["split"] or "" for row in rows}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise ImageError(f"{path} is not a CSV file with columns 'scene' and 'split' ({error})") from error
    if odd := sorted(set(split.values()) - set(SPLITS)):
        raise ImageError(f"{path} names the split {odd[0]!r}; splits are {', '.join(SPLITS)}")
    return split
