"""A correction as it was found, in a file: the bilateral grid and what it was made for and with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..bilateral.array_grid import ArrayGrid, Grid
from ..files import replacing
from ..image.arrays import Floats, array_of, tensor_of
from ..image.limits import Limits
from ..settings import Settings

FORMAT, VERSION = "expcorr-grid", 1
MOST_CELLS = 2**20  # of a grid that is read; ours have 3,872
MOST_BYTES = 2**26  # of a file that is read
PROPORTIONS = 0.01  # by which another rendition's ratio of width to height may differ


class GridError(ValueError):
    """A file holds no correction, or one that does not fit the photo."""


@dataclass(frozen=True, eq=False)
class Correction:
    """A correction that was found for a photo.

    Attributes:
        grid: at full strength; of tensors, or of arrays.
        height, width: of the photo, pixels.
        settings: how it was made; their strength is the one it was applied with.
        weights: SHA-256 of the weights file.
        profile: SHA-256 of the photo's ICC profile; empty for sRGB.
    """

    grid: Grid
    _: KW_ONLY
    height: int
    width: int
    settings: Settings
    weights: str = ""
    profile: str = ""

    def check_fits(self, height: int, width: int, profile: str) -> None:
        """Raise GridError for a photo that is no rendition of the one that the correction was made for.

        Args:
            height, width: of the photo, pixels.
            profile: see the attribute.
        """
        # Small renditions are rounded to whole pixels.
        slack = 1 + PROPORTIONS + 1 / min(height, width, self.height, self.width)
        if not 1 / slack <= width * self.height / (height * self.width) <= slack:
            raise GridError(
                f"is {width} x {height} pixels, but the correction is for a photo of {self.width} x {self.height}; it "
                "fits other sizes of that photo, but no other crop or orientation"
            )
        if profile != self.profile:
            raise GridError("is in another colour space than the photo that the correction is for; convert it first")


def save_grid(path: str | Path, correction: Correction, overwrite: bool = False) -> None:
    """Write a correction as a safetensors file, completely or not at all.

    Raises:
        FileExistsError: the file exists and ``overwrite`` is False.
        OSError: it cannot be written.
    """
    with replacing(Path(path), overwrite) as temporary:
        write_grid(temporary, correction)


def write_grid(path: Path, correction: Correction) -> None:
    """Write a correction over a file; OSError if that fails."""
    described = {
        "version": VERSION,
        "height": correction.height,
        "width": correction.width,
        "settings": asdict(correction.settings),
        "weights": correction.weights,
        "profile": correction.profile,
    }
    tensors = {"grid": np.ascontiguousarray(array_of(correction.grid.coefficients))}
    try:
        # One entry: the order of several would differ from file to file.
        save_file(tensors, path, {FORMAT: json.dumps(described)})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def load_grid(path: str | Path, arrays: bool = False) -> Correction:
    """Read what :func:`save_grid` wrote.

    Args:
        path: the file.
        arrays: with a grid of arrays, which needs no PyTorch.

    Raises:
        GridError: the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise GridError(f"{path} holds no correction: it is too large for one")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if FORMAT not in metadata:
                raise GridError(f"{path} holds no correction; give a file that expcorr correct --grid wrote")
            described = json.loads(metadata[FORMAT])
            if described["version"] != VERSION or described["settings"].keys() - {f.name for f in fields(Settings)}:
                raise GridError(f"{path} was written by another version of expcorr; update expcorr")
            shape = file.get_slice("grid").get_shape()
            sound = len(shape) == 6 and shape[0] == 1 and shape[4:] == [3, 4] and min(shape[1:4]) >= 2
            if not sound or shape[1] * shape[2] * shape[3] > MOST_CELLS:
                raise GridError(f"{path} is damaged: its grid has the shape {shape}; make it again")
            grid = file.get_tensor("grid")
        found = _correction(described, grid, arrays)
    except FileNotFoundError as error:
        raise GridError(f"{path} does not exist; check the name") from error
    except IsADirectoryError as error:
        raise GridError(f"{path} is a folder; name the file in it") from error
    except GridError:
        raise
    except (SafetensorError, OSError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise GridError(
            f"{path} is damaged or not a safetensors file ({str(error).splitlines()[0]}); make it again"
        ) from error
    if grid.dtype != np.float32 or not np.isfinite(grid).all():
        raise GridError(f"{path} is damaged: its grid holds values that are not finite numbers; make it again")
    return found


def _correction(described: Mapping[str, Any], coefficients: Floats, arrays: bool) -> Correction:
    settings = Settings(**described["settings"])
    limits = Limits.of(settings.max_stops, settings.keep_highlights)
    height, width = int(described["height"]), int(described["width"])
    if min(height, width) < 1:
        raise ValueError("the photo's size is not positive")
    grid: Grid = ArrayGrid(coefficients, limits)
    if not arrays:
        from ..bilateral.grid import BilateralGrid

        grid = BilateralGrid(tensor_of(coefficients), limits)
    return Correction(
        grid,
        height=height,
        width=width,
        settings=settings,
        weights=str(described["weights"]),
        profile=str(described["profile"]),
    )
