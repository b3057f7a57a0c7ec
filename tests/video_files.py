"""Videos that the tests make."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

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
    rotation: int = 0,
    gap: int = 0,
    tags: dict[str, int] | None = None,
    sound: bool = True,
    seconds: float = 0,
) -> Path:
    """Encode frames ``(H, W, 3)`` with a tone.

    Args:
        gap: ticks that are left out in the middle, so that the rate varies.
        seconds: of the tone; 0 for those of the frames.
    """
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, RATE, OPTIONS.get(codec, {}))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = TICK
        named = {"color_primaries": BT709, "color_trc": BT709, "colorspace": BT709, "color_range": LIMITED}
        for tag, value in {**named, **(tags or {})}.items():
            setattr(stream.codec_context, tag, value)
        if rotation:
            stream.set_display_rotation(rotation)
        container.metadata["title"] = "Test"
        audio: Any = container.add_stream("aac", 48000) if sound else None
        if audio:
            audio.metadata["language"] = "eng"
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(
                format=pixels, dst_colorspace=BT709, src_color_range=2, dst_color_range=LIMITED
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
    return path


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
