"""Video files: decoded, corrected and encoded again, with everything that goes with the picture (through PyAV).

A file is read twice at once: the first reader feeds the corrections, which look ahead; the second follows with the
frames at full size. So no more than a few frames are in memory, however long the clip.
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
    """What became of a video.

    Attributes:
        frames: that were corrected and written.
        expected: frames that the input's header tells of; 0 where it does not.
        problem: why these are not all, or what was damaged; empty if nothing.
        left_out: streams, tags and other things that the output's format cannot hold.
        stopped: whether the user stopped it; what was finished is kept.
        notes: what else is not as it was, in sentences.
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
    """Correct a video file; audio, subtitles, chapters, timestamps and colour tags stay, rotated video is put upright.

    How the picture is encoded, and what of the rest the format can hold, is tried in memory before the work begins.

    Args:
        source: the video, 8 to 16 bits.
        target: the file to write; its suffix tells the format (see ``FORMATS``).
        sequence: corrects the frames.
        cuts: as for :class:`~expcorr_core.video.sequence.SequenceCorrector`.
        one_correction: the same correction for all frames.
        encoding: of the picture.
        metadata: what is kept of tags: ``all``, all but those that tell of places (``no-gps``), or ``none``.
        overwrite: replace ``target``.
        progress: told of the frames that were looked at, that are done, and that are expected (0: not known); what it
            raises ends the work, and leaves nothing.

    Returns:
        What became of it. A truncated or damaged file, or KeyboardInterrupt, leaves what was finished, playable.

    Raises:
        VideoError: PyAV is missing, or the video cannot be read, corrected or written.
        FileExistsError: ``target`` exists.
    """
    require_pyav()
    form = FORMATS.get(target.suffix.lower())
    if not form:
        raise VideoError(f"{target}: no video format is known by this suffix; use one of {', '.join(FORMATS)}")
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
            notes=writer.told(behind),
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
    """Close a file that is written without more ado, if it is open."""
    with suppress(av.error.FFmpegError):
        container.close()
