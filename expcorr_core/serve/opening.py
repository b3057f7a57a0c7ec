"""A photo opened for the page: a small copy to show, and the correction as a grid, which the page applies itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..batch.bulk import Job, Work, check_memory, describe, needs, prepare
from ..batch.found import find_correction
from ..batch.pool import Task
from ..image.arrays import array_of
from ..image.resize import reduce_to
from ..photos.icc import DISPLAY_P3, to_display_p3
from ..photos.metadata import Metadata
from ..photos.photo import Photo
from ..photos.reading import decode_photo, read_content
from ..runtimes import corrector_of, image_for

PREVIEW_SIDE = 2048  # larger side of what the page shows, pixels
PREVIEW, GRID = "preview", "grid"  # files beside the photo


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What was found of a photo.

    Attributes:
        error: why it cannot be opened, one sentence.
        height, width: of the photo, upright, pixels.
        shown: height and width of its small copy.
        wide: whether that is in Display P3, and the grid for it, and not in sRGB.
        stops: exposure error; positive where the photo is too bright.
        well_exposed: probability that it is well exposed; None from the paper's network.
    """

    error: str = ""
    height: int = 0
    width: int = 0
    shown: tuple[int, int] = (0, 0)
    wide: bool = False
    stops: float | None = None
    well_exposed: float | None = None


def open_photo(source: Path, work: Work, p3: bool) -> Opened:
    """Find the correction of a photo, or say why that fails.

    Args:
        source: its file.
        work: how to correct.
        p3: whether photos in a wider space than sRGB can be shown in Display P3.

    Writes two files beside it: ``preview``, RGBA bytes row by row, and ``grid``, float32 in the order of
    :attr:`.BilateralGrid.coefficients`, little endian.
    """
    prepare()
    try:
        content = read_content(source)
        check_memory(source, content)
        return _opened(decode_photo(content, source), source, work, p3)
    except Exception as error:  # whatever happens to one photo, the server goes on
        return Opened(error=describe(error, source))


def _opened(photo: Photo, source: Path, work: Work, p3: bool) -> Opened:
    height, width = photo.pixels.shape[:2]
    image = photo.to_array()
    small = reduce_to(image, PREVIEW_SIDE)
    alpha = photo.alpha
    wide = p3 and photo.space is not None
    if photo.space:
        # Pages show no other space: this copy is a photo of its own, which the saved result takes nothing from.
        toned = photo.tone is not None
        small = to_display_p3(small, photo.metadata.icc_profile, toned) if wide else photo.space.to_srgb(small)
        photo = Photo.from_tensor(small, metadata=Metadata(icc_profile=DISPLAY_P3 if wide else b""))
        image = photo.to_array()
    corrector = corrector_of(work.weights, work.device, work.runtime)
    found = find_correction(image_for(image, work.runtime), photo, Job(source, source), work, corrector)
    colours = Photo.from_tensor(small).pixels
    cover = np.full((*colours.shape[:2], 1), 255, np.uint8)
    if alpha is not None:
        share = alpha[None, None].astype(np.float32) / np.iinfo(alpha.dtype).max
        cover = (reduce_to(share, PREVIEW_SIDE)[0, 0, ..., None] * 255).round().astype(np.uint8)
    source.with_name(PREVIEW).write_bytes(np.concatenate((colours, cover), 2).tobytes())
    source.with_name(GRID).write_bytes(array_of(found.correction.grid.coefficients).astype("<f4").tobytes())
    return Opened(
        height=height,
        width=width,
        shown=(colours.shape[0], colours.shape[1]),
        wide=wide,
        stops=found.exposure,
        well_exposed=found.probability,
    )


def opening(source: Path, work: Work, p3: bool) -> Task[Opened]:
    """The call of :func:`open_photo`, for another process."""
    pixels, held = needs(source)
    limit = work.seconds(pixels)
    return Task(
        (source, work, p3),
        crashed=Opened(error=f"{source} crashes the program that reads it; convert it or leave it out"),
        cost=held,
        limit=limit,
        late=Opened(error=f"{source} took more than {limit:.0f} s and was abandoned"),
    )
