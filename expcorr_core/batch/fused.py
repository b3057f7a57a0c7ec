"""The exposure brackets of a run, fused: for each, one more result beside that of its middle exposure.

A fused bracket is a :class:`~.bulk.Job` like the others, whose ``exposures`` are all its photos, and whose ``source``
is the one whose view, metadata and format the result has.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..machine import memory
from ..photos.photo import Photo
from ..photos.reading import ImageError, decode_photo, photo_size
from .sidecars import profile_of

if TYPE_CHECKING:
    from torch import Tensor

    from .bulk import Job, Source

# Of memory, while a bracket is fused: for each pixel of the result, for each pixel of each exposure (24 with 8 bits, 27
# with 16), and to align the exposures.
BYTES_A_PIXEL, BYTES_AN_EXPOSURE, ALIGNING_BYTES = 70, 27, 200 * 2**20


def fusing_bytes(pixels: Sequence[int]) -> int:
    """Bytes of memory that are needed to fuse exposures of so many pixels."""
    return ALIGNING_BYTES + BYTES_A_PIXEL * max(pixels) + BYTES_AN_EXPOSURE * sum(pixels)


class _Exposures:
    """The display values of photos, made anew each time: floating-point numbers take much memory."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        self._photos = photos

    def __iter__(self) -> Iterator[Tensor]:
        return (photo.to_tensor() for photo in self._photos)


def _profile(photo: Photo) -> str:
    return profile_of(photo.metadata.icc_profile, photo.space)


def fused_photo(job: Job, sources: Sequence[Source]) -> tuple[Photo, Tensor]:
    """Fuse a bracket, as its photos are.

    Args:
        job: the bracket.
        sources: what was read of its exposures.

    Returns:
        The middle exposure, without its gain map and video, and its new display values, ``(1, 3, H, W)``, 0..1.

    Raises:
        ImageError: an exposure is damaged, or unlike the others in size or colour space, or all need too much memory.
    """
    for path, source in zip(job.exposures, sources, strict=True):
        if source.huge:
            raise ImageError(f"{path} is so large that its bracket does not fit into memory; reduce it first")
    contents = [source.content for source in sources]
    needed = fusing_bytes([photo_size(io.BytesIO(content)) for content in contents]) + sum(map(len, contents))
    if needed > memory():
        raise ImageError(
            f"{job.subject} needs {needed / 2**30:.0f} GiB of memory to be fused, and this computer has "
            f"{memory() / 2**30:.0f}; reduce its photos first"
        )
    from ..series.fusing import fuse_bracket

    photos = [decode_photo(content, path) for path, content in zip(job.exposures, contents, strict=True)]
    reference = job.exposures.index(job.source)
    middle = photos[reference]
    for path, photo in zip(job.exposures, photos, strict=True):
        if photo.pixels.shape != middle.pixels.shape:
            sizes = " and ".join(f"{p.pixels.shape[1]} x {p.pixels.shape[0]}" for p in (photo, middle))
            raise ImageError(f"{path} cannot be fused with {job.source}: their sizes are {sizes}; leave one out")
        if _profile(photo) != _profile(middle):
            raise ImageError(f"{path} cannot be fused with {job.source}: their colour spaces differ; convert one")
    fused = fuse_bracket(_Exposures(photos), reference)
    metadata = middle.metadata
    gone = ["the gain map"] if metadata.gain_map else []
    gone += ["the video after the picture"] if metadata.video else []
    metadata = replace(metadata, gain_map=None, video=None).without(*gone)
    return replace(middle, metadata=metadata), fused
