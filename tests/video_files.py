"""Videos that the tests make."""

from __future__ import annotations

import struct
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
