"""What was seen of the photos of a series, in files: thousands of photos need not be in memory."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..files import replacing
from ..photos.reading import ImageError
from .corrector import Part, Seen
from .shot import SIDE, Shot

NUMBERS = ("taken", "stops", "bias")


@dataclass(frozen=True, kw_only=True)
class Membership:
    """The part of a photo in its series, and the files of what was seen.

    Attributes:
        part: its part.
        look: file of what was seen of it, named by its content.
        others: those of the photos that count for it.
    """

    part: Part
    look: Path
    others: tuple[Path, ...]

    def absolute(self) -> Membership:
        """The same with absolute names, for another machine."""
        return replace(self, look=self.look.absolute(), others=tuple(path.absolute() for path in self.others))

    @property
    def key(self) -> str:
        """Checksum of everything that the photo's result takes from the others."""
        others = sorted(zip((path.name for path in self.others), self.part.weights, strict=True))
        return hashlib.sha256(json.dumps([self.look.name, others, self.part.right]).encode()).hexdigest()


def save_look(path: Path, seen: Seen) -> None:
    """Write what was seen of a photo to a file.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    shot = seen.shot
    facts = {name: math.nan if getattr(shot, name) is None else getattr(shot, name) for name in NUMBERS}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            look=shot.look,
            result=seen.result,
            size=np.array([shot.height, shot.width]),
            facts=np.array(list(facts.values())),
            camera=np.array(shot.camera),
        )


def load_look(path: Path) -> Seen:
    """Read what :func:`save_look` wrote.

    Raises:
        ImageError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            look, result = stored["look"], stored["result"]
            facts = [None if math.isnan(value) else float(value) for value in stored["facts"]]
            height, width = map(int, stored["size"])
            camera = str(stored["camera"])
        if any(a.shape != (3, SIDE, SIDE) or a.dtype != np.uint8 for a in (look, result)):
            raise ValueError("wrong shape")
        known = dict(zip(NUMBERS, facts, strict=True))
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise ImageError(f"{path}, which holds a photo of the series, is missing or damaged; run again") from error
    shot = Shot(look=look, height=height, width=width, camera=camera, **known)
    return Seen(shot=shot, result=result)
