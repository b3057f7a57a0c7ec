"""Video files: decoded, corrected and encoded again, with everything that goes with the picture (through PyAV).

A file is read twice at once: the first reader feeds the corrections, which look ahead; the second follows with the
frames at full size. So no more than a few frames are in memory, however long the clip.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .bilateral.grid import BilateralGrid
from .files import replacing
from .sequence import SequenceCorrector

try:
    import av as pyav
except ImportError:
    pyav = None  # type: ignore[assignment]

av: Any = pyav  # its stubs do not tell a stream's kind from its codec's

FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
}
# What MPEG-TS has names for; FFmpeg writes all else there too, as data that nothing can read.
MPEGTS = (
    *("mpeg1video", "mpeg2video", "mpeg4", "h264", "hevc", "vvc", "dirac", "mp2", "mp3", "aac", "ac3", "eac3", "dts"),
    *("opus", "truehd", "s302m", "dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle"),
)
ENCODERS = {"av1": "libsvtav1", "prores": "prores_ks"}  # where FFmpeg's first one is not the best
OPTIONS = {
    "libx264": {"crf": "18", "preset": "veryfast"},
    "libx265": {"crf": "20", "preset": "fast", "x265-params": "log-level=error"},
    "libvpx-vp9": {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"},
    "libsvtav1": {"crf": "24", "preset": "8"},
}
TAGS = ("color_primaries", "color_trc", "colorspace", "color_range")
# Format of unpacked pixels by whether there is alpha, and more than 8 bits. Planar: packed, FFmpeg gets 16 bits wrong.
PIXELS = {(False, False): "gbrp", (True, False): "gbrap", (False, True): "gbrp16le", (True, True): "gbrap16le"}
HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of ITU-T H.273
RGB, UNSPECIFIED, BT709, BT601 = 0, 2, 1, 5  # its matrix coefficients
LIMITED, FULL = 1, 2  # FFmpeg's colour ranges
# FFmpeg's ways to resize, which PyAV does not name in full, with what it takes not to round down and to use all chroma.
BILINEAR, AREA = (way | 0x2000 | 0x4000 | 0x40000 for way in (0x2, 0x20))
HD_HEIGHT = 720  # from which on untagged video counts as Rec. 709
# What may be missing, since headers are not exact: a share of the frames where they are counted, else seconds.
MISSING, SLACK = 0.02, 1.0


class VideoError(ValueError):
    """A video cannot be read or written; the message names it."""


@dataclass(frozen=True)
class Encoding:
    """How the result is encoded.

    Attributes:
        codec: FFmpeg's name of an encoder; None for that of the input's codec.
        crf: constant rate factor: lower is better and larger; None for 18 to 24, by encoder.
    """

    codec: str | None = None
    crf: float | None = None


@dataclass(frozen=True)
class Summary:
    """What became of a video.

    Attributes:
        frames: that were corrected and written.
        expected: frames that the input's header tells of; 0 where it does not.
        problem: why these are not all, or what was damaged; empty if nothing.
        left_out: streams that the output's format cannot hold.
        stopped: whether the user stopped it; what was finished is kept.
    """

    frames: int
    expected: int
    problem: str
    left_out: tuple[str, ...]
    stopped: bool


def require_pyav() -> None:
    """Raise VideoError where PyAV is missing or too old."""
    if av is None or int(av.__version__.partition(".")[0]) < 16:  # as in pyproject.toml
        found = av.__version__ if av else "none"
        hint = "install it with: pip install 'av>=16' (the extra video of expcorr)"
        raise VideoError(f"video needs PyAV 16 or newer, and found {found}; {hint}")


def correct_video(
    source: Path | io.BytesIO,
    target: Path,
    sequence: SequenceCorrector,
    *,
    cuts: Collection[int] | None = None,
    one_correction: bool = False,
    encoding: Encoding | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int, int], None] = lambda seen, done, expected: None,
) -> Summary:
    """Correct a video file; audio, subtitles, chapters, timestamps and colour tags stay, rotated video is put upright.

    Args:
        source: the video, 8 to 16 bits.
        target: the file to write; its suffix tells the format (see ``FORMATS``).
        sequence: corrects the frames.
        cuts: as for :class:`~expcorr_core.sequence.SequenceCorrector`.
        one_correction: the same correction for all frames.
        encoding: of the picture.
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
    if target.suffix.lower() not in FORMATS:
        raise VideoError(f"{target}: this suffix is not that of a known video format; use one of {', '.join(FORMATS)}")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; choose another name or overwrite it")
    if isinstance(source, Path) and target.exists() and target.samefile(source):
        raise VideoError(f"{target} is the input; choose another name")
    with ExitStack() as stack:
        ahead, behind = (stack.enter_context(_reading(source)) for _ in range(2))
        with _reading(source) as probe:
            first = probe.first()
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
            container = av.open(str(temporary), "w", format=FORMATS[target.suffix.lower()])
            stack.callback(_abandon, container)
            writer = _Writer(container, target, behind, first, encoding or Encoding())
            stopped = _write(behind, grids, writer, lambda: progress(ahead.count, writer.frames, behind.expected))
            if stopped and not writer.frames:
                raise KeyboardInterrupt
            writer.close()
        except av.error.FFmpegError as error:
            raise VideoError(f"{target}: cannot be written ({_reason(error)})") from error
        return Summary(writer.frames, behind.expected, behind.problem(stopped), tuple(writer.left_out), stopped)


def _write(reader: _Reader, grids: Iterator[BilateralGrid], writer: _Writer, progress: Callable[[], None]) -> bool:
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


@contextmanager
def _reading(source: Path | io.BytesIO) -> Iterator[_Reader]:
    """One pass over a video file, or over the contents of one; raises VideoError as :class:`_Reader` does."""
    name = str(source) if isinstance(source, Path) else "the video"
    try:
        container = av.open(name if isinstance(source, Path) else io.BytesIO(source.getbuffer()))
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"{name}: cannot be read as a video ({_reason(error)})") from error
    with container:
        yield _Reader(container, name)


def _abandon(container: Any) -> None:
    """Close a file that is written without more ado, if it is open."""
    with suppress(av.error.FFmpegError):
        container.close()


class _Reader:
    """One pass over an open video, which messages call ``name``; raises VideoError where it has no picture."""

    def __init__(self, container: Any, name: str) -> None:
        self.container, self.name = container, name
        pictures = [s for s in self.container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not pictures or pictures[0].codec_context is None:
            raise VideoError(f"{self.name}: has no video that can be decoded")
        self.stream = pictures[0]
        self.stream.thread_type = "AUTO"
        # Of files with frames at uneven times, one of these may be that of the time base.
        self.rate = min(filter(None, (self.stream.average_rate, self.stream.guessed_rate)), default=Fraction(25))
        self.seconds = self._seconds()
        self.expected = self.stream.frames or int(self.seconds * self.rate)
        self.count, self.damaged, self.broken = 0, 0, ""
        self.end = 0.0  # time of the last frame that was decoded, seconds
        form = self.stream.codec_context.format
        self.depth = max(part.bits for part in form.components) if form else 8
        alpha = bool(form and any(part.is_alpha for part in form.components))
        self.pixels = PIXELS[alpha, self.depth > 8]

    def _seconds(self) -> float:
        """How long the picture should last; 0 where the file does not tell."""
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        if tag := re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", self.stream.metadata.get("DURATION", "")):  # Matroska
            hours, minutes, seconds = map(float, tag.groups())
            return 3600 * hours + 60 * minutes + seconds
        alone = len(self.container.streams) == 1  # else the file may last as long as its sound
        return self.container.duration / float(av.time_base) if alone and self.container.duration else 0.0

    def first(self) -> Any:
        """The first frame; raises VideoError where there is none, or for what would not be corrected well."""
        if self.container.format.name.endswith("_pipe") or self.container.format.name == "image2":
            raise VideoError(f"{self.name}: is a picture, not a video; use: expcorr correct")
        if transfer := HDR.get(self.stream.codec_context.color_trc):
            raise VideoError(f"{self.name}: is HDR video ({transfer}); convert it to SDR first")
        frame = next(self.frames(), None)
        if frame is None:
            raise VideoError(f"{self.name}: has no frame that can be read")
        if frame.interlaced_frame:
            raise VideoError(f"{self.name}: is interlaced; deinterlace it first")
        return frame

    def packets(self, *streams: Any) -> Iterator[Any]:
        """All packets of the streams, up to where the file breaks off."""
        try:
            yield from self.container.demux(streams)
        except av.error.FFmpegError as error:
            self.broken = _reason(error)

    def decoded(self, packet: Any) -> Iterator[Any]:
        """The frames of a packet; none of a damaged one."""
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            self.damaged += 1
            return
        for frame in frames:
            self.count += 1
            self.end = max(self.end, (frame.time or 0) - (self.stream.start_time or 0) * float(self.stream.time_base))
            yield frame

    def frames(self) -> Iterator[Any]:
        """All frames that can be read."""
        for packet in self.packets(self.stream):
            yield from self.decoded(packet)

    def reduced(self, larger_side: int) -> Iterator[Tensor]:
        """The frames, upright and at the size that the network sees, ``(3, h, w)`` float32."""
        for frame in self.frames():
            scale = min(1, larger_side / max(frame.width, frame.height))
            size = [max(1, round(side * scale)) for side in (frame.width, frame.height)]
            small = self._converted(frame, PIXELS[False, self.depth > 8], AREA, *size)
            yield torch.from_numpy(_floats(small)).permute(2, 0, 1)

    def corrected(self, frame: Any, grid: BilateralGrid) -> NDArray[Any]:
        """A frame, upright, corrected: ``(H, W, 3 or 4)``, 8 or 16 bits, of the format ``self.pixels``."""
        pixels = self._converted(frame, self.pixels, BILINEAR)
        colours = torch.from_numpy(_floats(pixels[..., :3])).permute(2, 0, 1)[None]
        result = grid.slice(colours)[0].permute(1, 2, 0)
        pixels[..., :3] = result.mul_(np.iinfo(pixels.dtype).max).round_().numpy()
        return pixels

    def _converted(self, frame: Any, name: str, interpolation: int, width: int = 0, height: int = 0) -> NDArray[Any]:
        """A frame's pixels, upright; ``width`` and ``height`` are of the frame as it lies in the file."""
        converted = frame.reformat(
            width or None,
            height or None,
            name,
            src_colorspace=matrix_of(frame, frame.height),
            dst_colorspace=RGB,
            src_color_range=range_of(frame),
            dst_color_range=FULL,
            interpolation=interpolation,
        )
        turns, mirrored = _orientation(frame)
        pixels: NDArray[Any] = converted.to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels[::-1] if mirrored else pixels, turns))

    def problem(self, stopped: bool) -> str:
        """What was wrong with the file, in a sentence; empty if nothing."""
        if stopped:
            return ""
        read = self.count + self.damaged
        short = read < self.stream.frames * (1 - MISSING) - 2 if self.stream.frames else self.end < self.seconds - SLACK
        if self.broken or short:
            reason = f" ({self.broken})" if self.broken else ""
            return f"{self.name}: ends early{reason}, after {self.count} of {self.expected} frames"
        if self.damaged:
            return f"{self.name}: is damaged; {self.damaged} of its packets were passed over"
        return ""


class _Writer:
    """The result: the corrected picture, and copies of the other streams; whoever opened the container closes it."""

    def __init__(self, container: Any, target: Path, reader: _Reader, first: Any, encoding: Encoding) -> None:
        self.container, self.target, self.pixels = container, target, reader.pixels
        self.frames = 0
        self.left_out: list[str] = []
        self.copies: dict[Any, Any] = {}
        self.last_pts = -1 << 62
        for key, value in reader.container.metadata.items():
            if key not in ("major_brand", "minor_version", "compatible_brands", "encoder"):
                self.container.metadata[key] = value
        self.container.set_chapters(reader.container.chapters())
        self.stream = self._picture(reader, first, encoding)
        for stream in reader.container.streams:
            if stream is not reader.stream:
                self._add_copy(stream)
        try:
            self.container.start_encoding()
        except av.error.FFmpegError as error:
            how = f"with the encoder {self.encoder} ({_reason(error)})"
            raise VideoError(f"{target}: cannot be written {how}; choose another, or another suffix") from error

    def _picture(self, reader: _Reader, first: Any, encoding: Encoding) -> Any:
        source = reader.stream.codec_context
        name = encoding.codec or self._encoder(source.codec.canonical_name)
        try:
            encoder = av.codec.Codec(name, "w")
        except ValueError as error:
            raise VideoError(f"{self.target}: this PyAV has no encoder {name}; see: python -m av --codecs") from error
        if encoder.type != "video":
            raise VideoError(f"{self.target}: {name} encodes {encoder.type} streams, not video")
        self.encoder = str(encoder.name)
        options = dict(OPTIONS.get(self.encoder, {}))
        if encoding.crf is not None:
            options["crf"] = f"{encoding.crf:g}"
        try:
            self._check_name(encoder.canonical_name)
            stream = self.container.add_stream(name, reader.rate, options)
        except ValueError as error:
            raise VideoError(f"{self.target}: cannot hold video of the encoder {name} ({_reason(error)})") from error
        codec = stream.codec_context
        sideways = _orientation(first)[0] % 2
        aspect = reader.stream.sample_aspect_ratio or Fraction(1)
        codec.width, codec.height = (source.height, source.width) if sideways else (source.width, source.height)
        codec.sample_aspect_ratio = 1 / aspect if sideways else aspect
        codec.pix_fmt = _pixel_format(codec.codec, source.format, reader.depth)
        codec.time_base = stream.time_base = reader.stream.time_base
        codec.thread_type = "AUTO"
        for tag in TAGS:
            setattr(codec, tag, getattr(source, tag))
        if "crf" not in options and reader.stream.bit_rate:
            codec.bit_rate = reader.stream.bit_rate
        if (
            source.codec_tag in ("hvc1", "hev1")
            and self.container.format.name in ("mp4", "mov")
            and "265" in self.encoder
        ):
            codec.codec_tag = "hvc1"
        stream.metadata.update({k: v for k, v in reader.stream.metadata.items() if k in ("language", "title")})
        return stream

    def _check_name(self, codec: str) -> None:
        if self.container.format.name == "mpegts" and codec not in MPEGTS:
            raise ValueError(f"'mpegts' format does not support '{codec}' codec")

    def _encoder(self, codec: str) -> str:
        """The encoder of a codec; where there is none, or not in this format, the format's usual one."""
        name = ENCODERS.get(codec, codec)
        with suppress(ValueError):
            av.codec.Codec(name, "w")
            if codec in self.container.supported_codecs:
                return name
        return "vp9" if self.container.format.name == "webm" else "h264"

    def _add_copy(self, stream: Any) -> None:
        kind = f"{stream.type} stream {stream.index}"
        if stream.type not in ("audio", "subtitle") or stream.codec_context is None:
            self.left_out.append(kind)
            return
        try:
            self._check_name(stream.codec_context.codec.canonical_name)
            copy = self.container.add_stream_from_template(stream)
        except (ValueError, av.error.FFmpegError):
            self.left_out.append(f"{kind} ({stream.codec_context.name})")
            return
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition.value  # PyAV before 18 takes no other
        self.copies[stream] = copy

    def copy(self, packet: Any) -> None:
        """Copy a packet of another stream."""
        if packet.dts is not None:
            packet.stream = self.copies[packet.stream]
            self.container.mux(packet)

    def write(self, source: Any, pixels: NDArray[Any]) -> None:
        """Encode a corrected frame with all that its original has beside pixels."""
        codec = self.stream.codec_context
        frame = av.VideoFrame.from_ndarray(pixels, self.pixels).reformat(
            codec.width,  # a stream's size may change in its middle
            codec.height,
            codec.pix_fmt,
            dst_colorspace=matrix_of(source, codec.height),
            src_color_range=FULL,
            dst_color_range=range_of(source),
            interpolation=BILINEAR,
        )
        for tag in TAGS:
            if hasattr(frame, tag):  # PyAV 16 has half of them
                setattr(frame, tag, getattr(source, tag))
        # Damaged files may have no times, or such as go back: encoders refuse these.
        pts = source.pts if source.pts is not None else self.last_pts + 1
        frame.pts = self.last_pts = max(pts, self.last_pts + 1)
        frame.time_base = source.time_base
        frame.duration = source.duration
        self.container.mux(self.stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder holds back, and the end of the file."""
        if self.frames:
            self.container.mux(self.stream.encode(None))
        self.container.close()


def _floats(pixels: NDArray[Any]) -> NDArray[np.float32]:
    floats: NDArray[np.float32] = np.multiply(pixels, np.float32(1 / np.iinfo(pixels.dtype).max), dtype=np.float32)
    return floats


def matrix_of(frame: Any, height: int) -> int:
    """The matrix between R'G'B' and Y'CbCr; where the frame does not tell, as players guess it, by the height."""
    if frame.colorspace in (RGB, UNSPECIFIED):
        return BT709 if height >= HD_HEIGHT else BT601
    return int(frame.colorspace)


def range_of(frame: Any) -> int:
    """FFmpeg's colour range; where the frame does not tell, limited for Y'CbCr and full for others."""
    if frame.color_range in (LIMITED, FULL):
        return int(frame.color_range)
    return FULL if frame.format.is_rgb or frame.format.name.startswith("yuvj") else LIMITED


def _orientation(frame: Any) -> tuple[int, bool]:
    """What puts a frame upright: quarter turns, counter-clockwise, and whether it is flipped upside down before."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV before 19 stumbles over kinds of side data that it does not know, such as EXIF
        matrix = None
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32) / (1 << 16) if matrix else (1, 0, 0, 0, 1)
    return round(frame.rotation / 90) % 4, bool(a * d < b * c)


def _pixel_format(codec: Any, source: Any, depth: int) -> str:
    """The encoder's pixel format that keeps most of the source's."""
    names = [form.name for form in codec.video_formats or ()]
    wanted = source.name
    if wanted in names or not names:
        return str(wanted)
    fallbacks = ("yuv420p10le", "yuv422p10le", "yuv444p10le") if depth > 8 else ()
    return str(next((name for name in (*fallbacks, "yuv420p", "yuvj420p") if name in names), names[0]))


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).partition("\n")[0]
