"""One pass over a video file: its frames, at the network's size or their own, and the packets of copied streams."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bilateral.grid import BilateralGrid
from .colour import (
    AREA,
    BILINEAR,
    FULL,
    HDR,
    PIXELS,
    RGB,
    UNKNOWN_MATRICES,
    UNSPECIFIED,
    floats,
    layout_of,
    matrix_of,
    orientation,
    range_of,
    side_data,
)
from .pyav import VideoError, av, fraction, open_video, reason

# What may be missing, since headers are inexact: a share of the frames if the header counts them, else seconds.
MISSING, SLACK = 0.02, 1.0
# Decoders that read transparency, which Matroska stores beside the packets and FFmpeg's own decoders ignore.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
STILL_BRANDS = ("avif", "heic", "heix", "mif1")  # of the ISO base media file format
MOVING_BRANDS = ("avis", "hevc", "hevx", "msf1")


@contextmanager
def reading(source: Path | io.BytesIO) -> Iterator[Reader]:
    """One pass over a video file, or over the contents of one; raises VideoError as :class:`Reader` does."""
    name = str(source) if isinstance(source, Path) else "the video"
    options = {"export_xmp": "1"}  # for MP4 and MOV: otherwise nothing shows that there was any
    try:
        container = open_video(
            name if isinstance(source, Path) else io.BytesIO(source.getbuffer()), "r", options=options
        )
    except FileNotFoundError as error:
        raise VideoError(f"{name} does not exist; check the name") from error
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"{name}: cannot be read as a video ({reason(error)})") from error
    with container:
        yield Reader(container, name)


class Reader:
    """One pass over an open video, called ``name`` in messages; raises VideoError if it has no picture."""

    def __init__(self, container: Any, name: str) -> None:
        self.container, self.name = container, name
        self._refuse_pictures()
        others = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        pictures = [s for s in self.container.streams.video if not s.disposition & others]
        if not pictures:
            raise VideoError(f"{self.name}: has no video")
        if pictures[0].codec_context is None:
            raise VideoError(f"{self.name}: has a codec that cannot be decoded here")
        self.stream = pictures[0]
        self.stream.thread_type = "AUTO"
        self.decoder = self._alpha_decoder()
        # For variable frame rates, one of these may be the rate of the time base.
        rates = [fraction(rate) for rate in (self.stream.average_rate, self.stream.guessed_rate) if rate]
        self.rate, self.highest_rate = min(rates, default=Fraction(25)), max(rates, default=Fraction(25))
        self.seconds = self._seconds()
        mean = (self.stream.frames and self.stream.average_rate) or self.rate
        by_time = int(self.seconds * float(mean) + 0.5)
        # An edit list may hide frames, which are counted nevertheless.
        self.expected = min(self.stream.frames or by_time, by_time or self.stream.frames)
        self.count, self.damaged, self.hidden, self.broken = 0, 0, 0, ""
        self.end = 0.0  # time of the last decoded frame, seconds
        self.transparent = False  # whether any corrected frame was
        form = self.stream.codec_context.format
        self.adopt(form.name if form else "yuv420p")

    def _refuse_pictures(self) -> None:
        form = self.container.format.name
        brand = self.container.metadata.get("major_brand", "")
        if brand in MOVING_BRANDS:
            raise VideoError(f"{self.name}: is an animated AVIF or HEIF picture, which is not read; convert it first")
        if form == "webp_pipe" and self._is_moving_webp():
            raise VideoError(f"{self.name}: is an animated WebP picture, which this PyAV cannot read; PyAV 19 can")
        if form.endswith("_pipe") or form == "image2" or brand in STILL_BRANDS:
            raise VideoError(f"{self.name}: is a picture, not a video; use: expcorr correct")

    def _is_moving_webp(self) -> bool:
        if self.container.file:  # contents in memory
            start = self.container.file.file.getvalue()[:21]
        else:
            with Path(self.container.name).open("rb") as file:
                start = file.read(21)
        return start[12:16] == b"VP8X" and bool(start[20] & 2)

    def _alpha_decoder(self) -> Any:
        """A decoder that reads transparency beside the packets, if the stream has any; else None."""
        context = self.stream.codec_context
        name = ALPHA_DECODERS.get(context.codec.canonical_name)
        tags = {key.lower(): value for key, value in self.stream.metadata.items()}
        self.alpha_unseen = tags.get("alpha_mode") == "1"
        if not name or not self.alpha_unseen:
            return None
        try:
            decoder = av.CodecContext.create(name, "r")
        except ValueError:  # a PyAV built without it
            return None
        self.alpha_unseen = False
        return decoder

    def adopt(self, name: str) -> None:
        """Unpack frames as this pixel format requires."""
        self.layout = layout_of(name)
        self.pixels = PIXELS[self.layout.alpha, self.layout.depth > 8]

    def _seconds(self) -> float:
        """How long the picture should last; 0 if the file does not say."""
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        if tag := re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", self.stream.metadata.get("DURATION", "")):  # Matroska
            hours, minutes, seconds = map(float, tag.groups())
            return 3600 * hours + 60 * minutes + seconds
        alone = len(self.container.streams) == 1  # otherwise the file may be as long as its audio
        return self.container.duration / float(av.time_base) if alone and self.container.duration else 0.0

    def first(self) -> Any:
        """The first frame; raises VideoError if there is none, or for video that would not be corrected well."""
        context = self.stream.codec_context
        self._refuse_hdr(context.color_trc)
        frame = next(self.frames(), None)
        if frame is None:
            raise VideoError(f"{self.name}: has no frame that can be read")
        self._refuse_hdr(getattr(frame, "color_trc", UNSPECIFIED))  # PyAV 16 has none
        # Without tags, Dolby Vision has its own colours; with them, its base layer is as they say.
        if side_data(frame, "DOVI_METADATA") and context.color_trc in (0, UNSPECIFIED):
            raise VideoError(f"{self.name}: is HDR video (Dolby Vision); convert it to SDR first")
        if frame.interlaced_frame:
            raise VideoError(f"{self.name}: is interlaced; deinterlace it first")
        if not frame.format.is_rgb and frame.colorspace in UNKNOWN_MATRICES:
            matrix = UNKNOWN_MATRICES[frame.colorspace]
            raise VideoError(f"{self.name}: has an unsupported colour matrix ({matrix}); convert it first")
        return frame

    def _refuse_hdr(self, transfer: int) -> None:
        if name := HDR.get(transfer):
            raise VideoError(f"{self.name}: is HDR video ({name}); convert it to SDR first")

    def packets(self, *streams: Any) -> Iterator[Any]:
        """All packets of the streams, up to where the file ends or is damaged."""
        try:
            yield from self.container.demux(streams)
        except av.error.FFmpegError as error:
            self.broken = reason(error)

    def decoded(self, packet: Any) -> Iterator[Any]:
        """The frames of a packet; none of a damaged one."""
        self.hidden += packet.is_discard  # before the first frame shown, according to an edit list
        try:
            frames = self.decoder.decode(packet) if self.decoder else packet.decode()
        except av.error.FFmpegError:
            self.damaged += 1
            return
        for frame in frames:
            if frame.format.name in ("none", ""):
                continue
            if not self.count:
                self.adopt(frame.format.name)
            self.count += 1
            self.end = max(self.end, (frame.time or 0) - (self.stream.start_time or 0) * float(self.stream.time_base))
            yield frame

    def frames(self) -> Iterator[Any]:
        """All frames that can be read."""
        for packet in self.packets(self.stream):
            yield from self.decoded(packet)

    def reduced(self, larger_side: int) -> Iterator[Tensor]:
        """The frames, upright and at the size of the network's copy, ``(3, h, w)`` float32."""
        for frame in self.frames():
            scale = min(1, larger_side / max(frame.width, frame.height))
            size = [max(1, round(side * scale)) for side in (frame.width, frame.height)]
            small = self.unpacked(frame, PIXELS[False, self.layout.depth > 8], AREA, *size)
            yield torch.from_numpy(floats(small)).permute(2, 0, 1)

    def corrected(self, frame: Any, grid: BilateralGrid) -> NDArray[Any]:
        """A frame, upright, corrected: ``(H, W, 3 or 4)``, 8 or 16 bits, of the format ``self.pixels``."""
        pixels = self.unpacked(frame, self.pixels, BILINEAR)
        colours = torch.from_numpy(floats(pixels[..., :3])).permute(2, 0, 1)[None]
        result = grid.slice(colours)[0].permute(1, 2, 0)
        pixels[..., :3] = result.mul_(np.iinfo(pixels.dtype).max).round_().numpy()
        if self.layout.alpha and not self.transparent:
            opaque = 255 << (8 * pixels.itemsize - 8)  # 16 bits that were 8 or 10 may end below 65535
            self.transparent = bool(pixels[..., 3].min() < opaque)
        return pixels

    def unpacked(self, frame: Any, name: str, interpolation: int, width: int = 0, height: int = 0) -> NDArray[Any]:
        """A frame's pixels, upright; ``width`` and ``height`` are those of the frame as stored."""
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
        turns, mirrored = orientation(frame)
        pixels: NDArray[Any] = converted.to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels[::-1] if mirrored else pixels, turns))

    def problem(self, stopped: bool) -> str:
        """What was wrong with the file, in a sentence; empty if nothing."""
        if stopped:
            return ""
        counted, seconds = self.stream.frames, self.seconds
        few = self.count + self.damaged + self.hidden < counted * (1 - MISSING) - 2
        # Frames that an edit list cuts off at the end are counted, but the duration excludes them.
        slack = min(SLACK, seconds * MISSING + 3 / float(self.rate)) if counted else SLACK
        early = self.end < seconds - slack
        if self.broken or ((few and early) if counted and seconds else few or early):
            cause = f" ({self.broken})" if self.broken else ""
            return f"{self.name}: ends early{cause}, after {self.count} of {self.expected} frames"
        if self.damaged:
            return f"{self.name}: is damaged; {self.damaged} of its packets were skipped"
        return ""
