"""Video files: decoded, corrected and encoded again, with everything besides the picture (through PyAV).

A file is read twice at once: the first reader feeds the corrections, which look ahead; the second follows with the
frames at full size. So only a few frames are in memory, however long the clip.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import KW_ONLY, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from torch import Tensor

from ..bilateral.grid import BilateralGrid
from ..files import replacing
from .encoder import Encoding, picture_of, plan_encoding
from .pyav import VideoError, av, open_video, reason, require_pyav
from .reader import Reader, reading
from .sequence import SequenceCorrector
from .writer import Writer, plan_extras

__all__ = ["FORMATS", "Encoding", "Summary", "VideoError", "correct_video", "require_pyav"]

FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
}


@dataclass(frozen=True)
class Summary:
    """The result for a video.

    Attributes:
        frames: number of frames corrected and written.
        expected: number of frames according to the input's header; 0 if it does not say.
        problem: why frames are missing, or what was damaged; empty if nothing.
        left_out: streams, tags and other things that the output's format cannot hold.
        stopped: whether the user stopped it; what was finished is kept.
        notes: what else has changed, in sentences.
    """

    frames: int
    expected: int
    problem: str
    left_out: tuple[str, ...]
    stopped: bool
    _: KW_ONLY
    notes: tuple[str, ...] = ()


def correct_video(
    source: Path | io.BytesIO,
    target: Path,
    sequence: SequenceCorrector,
    *,
    cuts: Collection[int] | None = None,
    one_correction: bool = False,
    encoding: Encoding | None = None,
    metadata: str = "all",
    overwrite: bool = False,
    progress: Callable[[int, int, int], None] = lambda seen, done, expected: None,
) -> Summary:
    """Correct a video file; audio, subtitles, chapters, timestamps, colour tags stay; rotated video is turned upright.

    How to encode the picture, and what else the format can hold, is determined by trials in memory first.

    Args:
        source: the video, 8 to 16 bits.
        target: the file to write; its suffix sets the format (see ``FORMATS``).
        sequence: corrects the frames.
        cuts: as for :class:`~expcorr_core.video.sequence.SequenceCorrector`.
        one_correction: the same correction for all frames.
        encoding: how to encode the picture.
        metadata: tags to keep: ``all``, all except locations (``no-gps``), or ``none``.
        overwrite: replace ``target``.
        progress: called with the number of frames analysed, done, and expected (0: unknown); an exception from it stops
            the work and leaves nothing behind.

    Returns:
        The result. After a truncated or damaged file, or KeyboardInterrupt, the finished part is kept, playable.

    Raises:
        VideoError: PyAV is missing, or the video cannot be read, corrected or written.
        FileExistsError: ``target`` exists.
    """
    require_pyav()
    form = FORMATS.get(target.suffix.lower())
    if not form:
        raise VideoError(f"{target}: its suffix is not that of a known video format; use one of {', '.join(FORMATS)}")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; choose another name or overwrite it")
    if isinstance(source, Path) and target.exists() and target.samefile(source):
        raise VideoError(f"{target} is the input; choose another name")
    with reading(source) as probe:
        first = probe.first()
        picture = picture_of(probe, first)
    plan = plan_encoding(form, target, picture, encoding or Encoding())
    extras = plan_extras(source, form, picture, plan, metadata)
    with ExitStack() as stack:
        ahead, behind = (stack.enter_context(reading(source)) for _ in range(2))
        behind.adopt(picture.pixels)
        settings = sequence.settings

        def looked_at() -> Iterator[Tensor]:
            for frame in ahead.reduced(settings.working_size):
                progress(ahead.count, behind.count, behind.expected)
                yield frame

        grids: Iterator[BilateralGrid]
        if settings.strength == 0:
            grids = repeat(BilateralGrid.identity())
        elif one_correction:
            grids = repeat(sequence.one_correction(looked_at()))
        else:
            grids = sequence.corrections(looked_at(), cuts)
        temporary = stack.enter_context(replacing(target, overwrite))
        try:
            container = open_video(str(temporary), "w", form, extras.options)
            stack.callback(_abandon, container)
            writer = Writer(container, behind, picture, plan, extras)
            stopped = _write(behind, grids, writer, lambda: progress(ahead.count, writer.frames, behind.expected))
            if stopped and not writer.frames:
                raise KeyboardInterrupt
            writer.close()
        except av.error.FFmpegError as error:
            raise VideoError(f"{target}: cannot be written ({reason(error)})") from error
        return Summary(
            writer.frames,
            behind.expected,
            behind.problem(stopped),
            tuple(writer.left_out),
            stopped,
            notes=writer.final_notes(behind),
        )


def _write(reader: Reader, grids: Iterator[BilateralGrid], writer: Writer, progress: Callable[[], None]) -> bool:
    """Correct and write all frames, and copy the other streams; returns whether KeyboardInterrupt came."""
    try:
        for packet in reader.packets(reader.stream, *writer.copies):
            if packet.stream is not reader.stream:
                writer.copy(packet)
                continue
            for frame in reader.decoded(packet):
                grid = next(grids, None)
                if grid is None:
                    return False
                writer.write(frame, reader.corrected(frame, grid))
                progress()
    except KeyboardInterrupt:
        return True
    return False


def _abandon(container: Any) -> None:
    """Close an unfinished output file, if it is open."""
    with suppress(av.error.FFmpegError):
        container.close()
