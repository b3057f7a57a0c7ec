"""Photos that show one scene, put together; by single linkage, in which one wrong link does not join two groups."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .likeness import Features
from .shot import Shot

# Likeness from which two photos show one scene; and from which they do if they are neighbours in time. Of photos of one
# scene 98 % have more than 0.72 (benchmarks/grouping.py), of different photos of one kind hardly any more than 0.5.
SAME, NEARLY_SAME = 0.6, 0.45
LIGHT_LASTS = 3 * 3600.0  # seconds after which the light of a scene is another, so that it is a group of its own
NEIGHBOURS = 60.0  # seconds between neighbours in time
AT_ONCE, EXPOSED_OTHERWISE = 3.0, 0.5  # seconds and stops between exposures of a bracket, one of which may show nothing
BLANK = 0.05  # mean square of detail up to which a photo shows nothing
CANDIDATES = 3  # photos of other groups that each is compared with at a time
SMALL = 2  # photos of groups that one link joins to others; larger ones must agree
WITNESSES, AGREEING = (
    4,
    0.5,
)  # further pairs that are compared where two larger groups may be one; share that must agree
REPRESENTATIVES = 8  # photos of a group that are compared with others
ROWS = 512  # of the matrix of all pairs, at once


@dataclass(frozen=True)
class Group:
    """Photos of one scene in one light.

    Attributes:
        members: their numbers, ascending.
    """

    members: tuple[int, ...]


def find_groups(shots: Sequence[Shot]) -> list[Group]:
    """Put photos of one scene together.

    They may differ in exposure, by crops and zoom that leave about two thirds of each side, and a little in viewpoint.
    Photos taken more than LIGHT_LASTS apart are put together only where others between them link them.

    Args:
        shots: the photos; the result does not depend on their order.

    Returns:
        The groups, each photo in exactly one, in the order of their first members.
    """
    order = sorted(range(len(shots)), key=lambda number: _key(shots[number]))
    found = _Grouping([shots[number] for number in order]).groups() if shots else []
    return sorted((Group(tuple(sorted(order[k] for k in group))) for group in found), key=lambda g: g.members)


def _key(shot: Shot) -> tuple[object, ...]:
    """By time, and the same for the same photo wherever it stands in the list."""
    facts = (shot.taken, shot.stops, shot.bias)
    known = tuple((fact is not None, fact or 0.0) for fact in facts)
    return (known[0], shot.camera, hashlib.sha256(shot.look.tobytes()).digest(), shot.height, shot.width, known[1:])


class _Grouping:
    """Groups of photos that grow; photos are numbered in the order of their keys."""

    def __init__(self, shots: list[Shot]) -> None:
        self.shots = shots
        self.features = Features(shots)
        self.blank = self.features.detail.float().square().mean((1, 2, 3)) <= BLANK
        self.taken = torch.tensor([math.nan if s.taken is None else s.taken for s in shots], dtype=torch.float64)
        self.members = {number: [number] for number in range(len(shots))}
        self.group = torch.arange(len(shots))
        self.known: dict[tuple[int, int], float] = {}

    def groups(self) -> list[list[int]]:
        self._join_copies()
        self._link((a, b) for a, b in pairwise(range(len(self.shots))) if self._are_neighbours(a, b))
        while self._link(self._candidates()):
            pass
        return list(self.members.values())

    def _join_copies(self) -> None:
        last: dict[tuple[bytes, int, int], int] = {}
        for number, shot in enumerate(self.shots):
            mark = (hashlib.sha256(shot.look.tobytes()).digest(), shot.height, shot.width)
            before = last.get(mark)
            if before is not None and not self._are_apart(before, number):
                self._join(before, number)
            last[mark] = number

    def _are_apart(self, one: int, other: int) -> bool:
        return bool((self.taken[one] - self.taken[other]).abs() > LIGHT_LASTS)

    def _are_neighbours(self, one: int, other: int, seconds: float = NEIGHBOURS) -> bool:
        near = bool((self.taken[one] - self.taken[other]).abs() <= seconds)
        return near and self.shots[one].camera == self.shots[other].camera

    def _are_bracketed(self, one: int, other: int) -> bool:
        """Whether EXIF says that these are exposures of one scene: then one of them may be white or black."""
        a, b = self.shots[one], self.shots[other]
        if not self._are_neighbours(one, other, AT_ONCE):
            return False
        steps = [(a.stops, b.stops), (a.bias, b.bias)]
        return any(x is not None and y is not None and abs(x - y) >= EXPOSED_OTHERWISE for x, y in steps)

    def _compare(self, pairs: Iterable[tuple[int, int]]) -> None:
        new = sorted(pair for pair in set(pairs) if pair not in self.known)
        found, _ = self.features.compared(torch.tensor(new, dtype=torch.long).view(-1, 2))
        self.known.update(zip(new, found.tolist(), strict=True))

    def _agree(self, pair: tuple[int, int], enough: float) -> bool:
        return self.known[pair] >= (NEARLY_SAME if self._are_neighbours(*pair) else enough)

    def _link(self, pairs: Iterable[tuple[int, int]]) -> bool:
        """Compare pairs, and join the groups of those that show one scene; whether any were joined."""
        chosen = sorted(pairs)
        self._compare(chosen)
        joined = False
        for pair in sorted(chosen, key=lambda p: (-self.known[p], p)):
            one, other = (int(self.group[number]) for number in pair)
            if one == other:
                continue
            blank = bool(self.blank[pair[0]] or self.blank[pair[1]]) and self._are_bracketed(*pair)
            if blank or (self._agree(pair, SAME) and self._may_join(one, other, pair)):
                self._join(*pair)
                joined = True
        return joined

    def _may_join(self, one: int, other: int, link: tuple[int, int]) -> bool:
        """Whether two groups are one, not only the two photos that were found alike: others of them must agree."""
        if min(len(self.members[one]), len(self.members[other])) <= SMALL:
            return True
        rows, columns = (torch.tensor(self._representatives(group)) for group in (one, other))
        alike = self._alike(rows, columns).maximum(self._alike(columns, rows).mT)
        places = alike.flatten().argsort(descending=True, stable=True)
        ranked = ((int(rows[p // len(columns)]), int(columns[p % len(columns)])) for p in places.tolist())
        pairs = [(min(pair), max(pair)) for pair in ranked if not self._are_apart(*pair)]
        witnesses = [pair for pair in pairs if pair != link][:WITNESSES]
        self._compare(witnesses)
        return sum(self._agree(pair, NEARLY_SAME) for pair in witnesses) >= AGREEING * len(witnesses)

    def _join(self, one: int, other: int) -> None:
        kept, gone = sorted((int(self.group[one]), int(self.group[other])))
        if kept != gone:
            self.group[self.members[gone]] = kept
            self.members[kept] = sorted(self.members[kept] + self.members.pop(gone))

    def _representatives(self, group: int) -> list[int]:
        members = self.members[group]
        places = np.linspace(0, len(members) - 1, min(len(members), REPRESENTATIVES)).round().astype(int)
        return [members[place] for place in places]

    def _alike(self, rows: Tensor, columns: Tensor) -> Tensor:
        """How well the descriptor of a part of each photo fits that of each other one as a whole, ``(R, C)``."""
        whole = self.features.descriptors[columns, 0].mT
        parts = self.features.descriptors[rows]
        best = parts[:, 0] @ whole
        for part in range(1, parts.shape[1]):
            torch.maximum(best, parts[:, part] @ whole, out=best)
        return best

    def _candidates(self) -> list[tuple[int, int]]:
        """For each photo, the most similar ones of other groups; a part of the matrix of all pairs at a time."""
        among = torch.tensor(sorted(number for group in self.members for number in self._representatives(group)))
        pairs = set[tuple[int, int]]()
        for rows in (among[k : k + ROWS] for k in range(0, len(among), ROWS)):
            alike = self._alike(rows, among)
            excluded = self.group[rows][:, None] == self.group[among]
            excluded |= (self.taken[rows][:, None] - self.taken[among]).abs() > LIGHT_LASTS
            values, places = alike.masked_fill_(excluded, -math.inf).topk(min(CANDIDATES, len(among)))
            for row, columns, found in zip(rows.tolist(), among[places].tolist(), values.tolist(), strict=True):
                pairs.update(
                    (min(row, column), max(row, column))
                    for column, value in zip(columns, found, strict=True)
                    if value > -math.inf
                )
        return [pair for pair in pairs if pair not in self.known]
