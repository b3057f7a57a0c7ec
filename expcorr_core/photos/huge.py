"""TIFF files that do not fit into memory, corrected strip by strip (the ``huge`` extra)."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..image.arrays import Floats
from . import tiff
from .directories import Block, ExifError
from .icc import ColourSpace, Tone, colour_space, tone_of
from .metadata import Metadata
from .photo import to_display
from .reading import FORMATS, ImageError, check_claim

if TYPE_CHECKING:
    from ..bilateral.array_grid import Grid

ROWS = 256  # rows of a strip
STRIP_BYTES_A_PIXEL = 60  # memory


@dataclass(frozen=True, kw_only=True)
class HugePhoto:
    """A TIFF file that is read strip by strip, from top to bottom.

    Attributes:
        path: the file.
        state: modification time, size and inode of the file when it was found.
        height, width: pixels.
        dtype: uint8 or uint16.
        metadata: its metadata.
        tone: see :class:`~.photo.Photo`.
    """

    path: Path
    state: tuple[int, ...]
    height: int
    width: int
    dtype: np.dtype[Any]
    metadata: Metadata
    tone: Tone | None

    @property
    def space(self) -> ColourSpace | None:
        """See :class:`~.photo.Photo`."""
        return colour_space(self.metadata.icc_profile, self.tone is not None)

    @property
    def strip_bytes(self) -> int:
        """Memory needed to correct it."""
        return self.width * ROWS * STRIP_BYTES_A_PIXEL

    def check_unchanged(self) -> None:
        """Raise ImageError if the file has changed: what was read may be a mixture of both."""
        if _state(self.path) != self.state:
            raise ImageError(f"{self.path} changed while it was read; correct it again")

    def reduced(self, larger_side: int) -> Floats:
        """The whole photo, reduced; ``(1, 3, h, w)`` float32, 0..1."""
        ratio = min(1.0, larger_side / max(self.height, self.width))
        try:
            small = _open(self.path).resize(ratio, kernel="linear").numpy()[..., :3]
        except _vips().Error as error:
            raise ImageError(_damaged(self.path, error)) from error
        return to_display(np.asarray(small, self.dtype), self.tone)

    def corrected(self, grid: Grid) -> Iterator[NDArray[Any]]:
        """The pixels, sliced by a grid, ``(rows, W, 3)``; :data:`ROWS` rows at a time.

        Raises:
            ImageError: the file is damaged.
        """
        vips = _vips()
        region = vips.Region.new(_open(self.path))
        peak, held = np.iinfo(self.dtype).max, []
        for top, bottom, part in grid.strips(self.height, ROWS):
            try:
                fetched = region.fetch(0, top, self.width, bottom - top)
            except vips.Error as error:
                raise ImageError(_damaged(self.path, error)) from error
            pixels = np.frombuffer(fetched, self.dtype).reshape(bottom - top, self.width, -1)[..., :3]
            values = part.slice_array(to_display(pixels, self.tone))[0].transpose(1, 2, 0)
            numbers = self.tone.numbers(values) if self.tone else values * np.float32(peak)
            held.append(numbers.round().astype(self.dtype))
            if bottom % ROWS == 0 or bottom == self.height:
                yield np.concatenate(held)
                held = []


def _state(path: Path) -> tuple[int, ...]:
    """Modification time, size and inode of a file; if one of them differs, the file has changed."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} is damaged or cut off ({str(error).splitlines()[0]}); copy it again or leave it out"


def _vips() -> Any:
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise ImageError("photos this large need pyvips: pip install 'expcorr[deep]'") from error
    return pyvips


def _open(path: Path) -> Any:
    vips = _vips()
    try:
        return vips.Image.tiffload(os.fsencode(path), access="sequential", fail_on="error", revalidate=True)
    except vips.Error as error:
        raise ImageError(_damaged(path, error)) from error


def find_huge(path: Path, pixels: int) -> HugePhoto | None:
    """The photo, if it is a TIFF file of more than ``pixels`` pixels; None otherwise, or where pyvips is missing.

    Raises:
        ImageError: it is such a file, but of a kind that cannot be read in strips.
    """
    if path.suffix.lower() not in FORMATS["TIFF"] or not path.is_file():
        return None
    state = _state(path)
    try:
        vips = _vips()
        image = vips.Image.tiffload(os.fsencode(path), revalidate=True)
    except Exception:  # without pyvips, or damaged: the usual way reports it
        return None
    if image.width * image.height <= pixels:
        return None
    claimed = image.width * image.height * image.bands * (2 if image.format == "ushort" else 1)
    check_claim(path, path.stat().st_size, image.width, image.height, claimed)
    metadata = _metadata_of(path).with_space_of_exif()
    types: dict[str, np.dtype[Any]] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}
    dtype = types.get(image.format)
    if dtype is None or image.bands not in (3, 4) or image.interpretation not in ("srgb", "rgb16", "rgb"):
        raise ImageError(f"{path} is too large to be corrected unless it is RGB of 8 or 16 bits; convert or reduce it")
    if metadata.orientation != 1:
        raise ImageError(f"{path} is too large to be turned upright; turn it with another program first")
    if image.bands == 4:
        metadata = metadata.without("alpha")
    return HugePhoto(
        path=path,
        state=state,
        height=image.height,
        width=image.width,
        dtype=dtype,
        metadata=metadata.of_upright(),
        tone=tone_of(metadata.icc_profile, dtype),
    )


def _metadata_of(path: Path) -> Metadata:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            block = Block(content)
            page, directory, further = tiff.page_of(block)
            if page.number or page.refusal:
                reason = (
                    page.refusal or "is too large for a file whose photo comes after a smaller one; reduce it first"
                )
                raise ImageError(f"{path} {reason}")
            return tiff.read(block, page, directory, further)
        except ExifError as error:
            raise ImageError(_damaged(path, error)) from error


def write_huge(path: Path, photo: HugePhoto, grid: Grid, kept: str = "all") -> tuple[str, ...]:
    """Correct a photo by a grid and write it; alpha is dropped.

    Args:
        path: the file.
        photo: what to correct.
        grid: the correction.
        kept: which metadata to keep, see :meth:`.Metadata.kept`.

    Returns:
        Names of what the photo's file had and this one lacks.

    Raises:
        ImageError: the photo is damaged.
        OSError: the file cannot be written.
    """
    metadata = photo.metadata.kept(kept)
    shape = (photo.height, photo.width, 3)
    with path.open("wb") as file:
        return metadata.without(*tiff.write(file, photo.corrected(grid), shape, photo.dtype, metadata)).left_out
