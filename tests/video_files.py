"""Videos that the tests make."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

RATE = Fraction(30000, 1001)
TICK = Fraction(1, 30000)  # second
BT709, LIMITED = 1, 1
OPTIONS = {
    "libx264": {"crf": "15", "preset": "veryfast"},
    "libx265": {"crf": "15", "preset": "veryfast", "x265-params": "log-level=error"},
}


def make_video(
    path: Path,
    frames: list[NDArray[np.uint8]],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    matrix: tuple[int, int, int, int] | None = None,
    gap: int = 0,
    tags: dict[str, int] | None = None,
    flags: str = "",
    aspect: Fraction | None = None,
    sound: str | Literal[False] = "aac",
    seconds: float = 0,
) -> Path:
    """Encode frames ``(H, W, 3)`` with a tone.

    Args:
        matrix: ``a, b, c, d``: players show the pixel at x, y at a x + c y, b x + d y, as phones ask for (.mp4 only).
        gap: ticks that are left out in the middle, so that the rate varies.
        tags: of colour; the others are those of Rec. 709.
        flags: FFmpeg's, of the encoder.
        aspect: of a pixel, width to height.
        sound: encoder of the tone; False for none.
        seconds: of the tone; 0 for those of the frames.
    """
    with av.open(str(path), "w") as container:
        options = {**OPTIONS.get(codec, {}), **({"flags": flags} if flags else {})}
        stream: Any = container.add_stream(codec, RATE, options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = TICK
        named = {"color_primaries": BT709, "color_trc": BT709, "colorspace": BT709, "color_range": LIMITED}
        named.update(tags or {})
        for tag, value in named.items():
            setattr(stream.codec_context, tag, value)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        container.metadata["title"] = "Test"
        audio: Any = container.add_stream(sound, 48000) if sound else None
        if audio:
            audio.metadata["language"] = "eng"
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(
                format=pixels, dst_colorspace=BT709, src_color_range=2, dst_color_range=named["color_range"]
            )
            picture.pts = index * 1001 + (gap if index >= len(frames) // 2 else 0)
            picture.time_base = TICK
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if audio:
            wave = 0.2 * np.sin(np.arange(int((seconds or len(frames) / RATE) * 48000)) * 2 * np.pi * 440 / 48000)
            for start in range(0, len(wave), 1024):
                part = av.AudioFrame.from_ndarray(wave[None, start : start + 1024].astype(np.float32), "fltp", "mono")
                part.sample_rate, part.pts, part.time_base = 48000, start, Fraction(1, 48000)
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    if matrix:
        _turn(path, matrix)
    return path


def make_plain(
    path: Path,
    codec: str,
    pixels: str,
    colour: tuple[int, int, int, int] = (16, 16, 16, 255),
    *,
    size: tuple[int, int] = (64, 48),
    times: Sequence[int] = range(5),
    tick: Fraction = Fraction(1, 25),
    rate: Fraction = Fraction(25),
    options: dict[str, str] | None = None,
    tags: dict[str, int] | None = None,
    aspect: Fraction | None = None,
    metadata: dict[str, str] | None = None,
    movflags: str = "",
) -> Path:
    """Encode a clip of one colour, R'G'B' and opacity of 255.

    Args:
        times: of the frames, in ticks.
        tick: seconds.
        options: of the encoder.
        tags: of colour; matrix and range are used for Y'CbCr (Rec. 601 and limited, where not specified).
        aspect: of a pixel, width to height.
        metadata: of the file.
        movflags: of MOV and MP4.
    """
    tags = tags or {}
    full = tags.get("color_range") == 2 or pixels.startswith(("yuvj", "gray"))
    still = np.broadcast_to(np.array(colour, np.uint8), (size[1], size[0], 4)).copy()
    with av.open(str(path), "w", container_options={"movflags": movflags} if movflags else {}) as container:
        container.metadata.update(metadata or {})
        stream: Any = container.add_stream(codec, rate, {**OPTIONS.get(codec, {}), **(options or {})})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = tick
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for tag, value in tags.items():
            setattr(stream.codec_context, tag, value)
        if "a" in pixels and codec.startswith("libvpx"):
            stream.metadata["alpha_mode"] = "1"
        for time in times:
            frame = av.VideoFrame.from_ndarray(still, "gbrap").reformat(
                format=pixels,
                dst_colorspace=tags.get("colorspace", 5),
                src_color_range=2,
                dst_color_range=2 if full or av.VideoFormat(pixels).is_rgb else 1,
            )
            frame.pts, frame.time_base = time, tick
            frame.color_range = tags.get("color_range", frame.color_range)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def look(path: Path) -> tuple[Any, NDArray[np.uint8]]:
    """The last frame, and the mean R'G'B' and opacity of its middle as players show it."""
    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        tags = {key.lower(): value for key, value in stream.metadata.items()}
        other = {"vp9": "libvpx-vp9", "vp8": "libvpx"}.get(stream.codec_context.name) if "alpha_mode" in tags else None
        decoder = av.CodecContext.create(other, "r") if other else stream.codec_context
        frames = [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]
    frame = frames[-1]
    rgb = frame.format.is_rgb
    matrix = frame.colorspace if frame.colorspace not in (0, 2) else 1 if frame.height >= 720 else 5
    full = rgb or frame.color_range == 2 or frame.format.name.startswith(("yuvj", "gray"))
    shown = frame.reformat(
        format="gbrap", src_colorspace=matrix, dst_colorspace=0, src_color_range=2 if full else 1, dst_color_range=2
    ).to_ndarray()
    return frame, shown[shown.shape[0] // 4 :, shown.shape[1] // 4 :].mean((0, 1)).round().astype(np.uint8)


def add_streams(source: Path, target: Path, *others: Path, **dispositions: int) -> Path:
    """The streams of several files in one; dispositions by the other file's stem."""
    with ExitStack() as stack:
        opened = [stack.enter_context(av.open(str(path))) for path in (source, *others)]
        copy = stack.enter_context(av.open(str(target), "w"))
        pairs = []
        for path, container in zip((source, *others), opened, strict=True):
            for stream in container.streams:
                made: Any = copy.add_stream_from_template(stream, opaque=True)
                made.disposition = dispositions.get(path.stem, 0)
                pairs.append((container, stream, made))
        for container, stream, made in pairs:
            for packet in container.demux(stream):
                if packet.size:
                    packet.pts = packet.dts = packet.dts or 0
                    packet.stream = made
                    copy.mux(packet)
    return target


def _turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write the matrix into the header of the first track: not every PyAV can."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (part << 16 for part in matrix)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def remux(source: Path, target: Path, options: dict[str, str] | None = None) -> Path:
    """The same streams in another container."""
    with av.open(str(source)) as container, av.open(str(target), "w", options=options or {}) as copy:
        streams: dict[Any, Any] = {stream: copy.add_stream_from_template(stream) for stream in container.streams}
        for packet in container.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream]
                copy.mux(packet)
    return target


def pictures(path: Path) -> list[Any]:
    """The decoded frames."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def sound(path: Path) -> list[tuple[int | None, bytes]]:
    """Times and contents of the audio packets."""
    with av.open(str(path)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(audio=0) if packet.size]
