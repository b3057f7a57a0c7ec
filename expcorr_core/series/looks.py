"""What was seen of the photos of a series, in files: thousands of photos need not be in memory."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..files import replacing
from ..photos.reading import ImageError
from .corrector import Part, Seen
from .likeness import marks_of
from .shot import SIDE, Marks, Shot

FACTS = ("height", "width", "taken", "stops", "bias", "camera", "lift")


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
        others = [path.name for path in self.others]
        facts = [self.look.name, others, self.part.weights, self.part.right, self.part.shift]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def save_look(path: Path, seen: Seen) -> None:
    """Write what was seen of a photo to a file.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    shot = seen.shot
    arrays = {"look": shot.look, "result": seen.result, **(shot.marks or marks_of([shot])[0])._asdict()}
    # safetensors writes other arrays in the order of their memory.
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    facts = {name: getattr(shot, name) for name in FACTS} | {"well_exposed": seen.well_exposed}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(arrays, temporary, {"facts": json.dumps(facts)})


def load_look(path: Path) -> Seen:
    """Read what :func:`save_look` wrote.

    Raises:
        ImageError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "numpy") as file:
            facts = json.loads(file.metadata()["facts"])
            look, result, *marks = (file.get_tensor(name) for name in ("look", "result", *Marks._fields))
        if any(a.shape != (3, SIDE, SIDE) or a.dtype != np.uint8 for a in (look, result)):
            raise ValueError("wrong shape")
        well_exposed = facts.pop("well_exposed")
        return Seen(shot=Shot(look=look, marks=Marks(*marks), **facts), result=result, well_exposed=well_exposed)
    except (OSError, ValueError, TypeError, LookupError, SafetensorError) as error:
        raise ImageError(f"{path}, which holds a photo of the series, is missing or damaged; run again") from error
