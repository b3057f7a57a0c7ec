"""Measure the speed of video correction, as ratios within one run, and memory, which must not grow with length.

    python -m benchmarks.video speed      # 1920x1080, the network on every 4th frame, compared with frame by frame
    python -m benchmarks.video memory     # 300, 1,000 and 3,000 frames

The clips are too dark pans over scikit-image's coffee, encoded as H.264.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from torch import Tensor

from expcorr_core.corrector import Corrector
from expcorr_core.video.files import correct_video
from expcorr_core.video.sequence import SequenceCorrector, Smoothing

from .memory import held

WAYS = {"frame by frame": Smoothing(0, 1), "every 4th": Smoothing(every=4), "every frame": Smoothing(every=1)}


def pan(count: int, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Frames ``(height, width, 3)`` of a slow pan."""
    photograph: Any = data.coffee
    still = Image.fromarray(photograph()).resize((width * 5 // 4, height * 5 // 4), Image.Resampling.BICUBIC)
    dark = (np.asarray(still) * 0.35).astype(np.uint8)
    for index in range(count):
        x = round((width // 8) * (1 + np.sin(index / 60)))
        y = round((height // 8) * (1 + np.cos(index / 45)))
        yield np.ascontiguousarray(dark[y : y + height, x : x + width])


def write_clip(path: Path, count: int, width: int, height: int) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", Fraction(30), {"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in pan(count, width, height):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))


def frames_a_second(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def speed(count: int) -> bool:
    """Frame rates in memory and from file to file, and their ratios to frame by frame."""
    corrector = Corrector.load()
    frames = [torch.from_numpy(frame).permute(2, 0, 1) for frame in pan(count, 1920, 1080)]

    class Floats:
        """Frames in 8 bits that can be iterated over twice."""

        def __iter__(self) -> Iterator[Tensor]:
            return (frame / 255 for frame in frames)

    def correct(sequence: SequenceCorrector) -> None:
        for _ in sequence(Floats()):
            pass

    corrector(frames[0][None] / 255)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        write_clip(source, count, 1920, 1080)
        for name, smoothing in WAYS.items():
            sequence = SequenceCorrector(corrector, smoothing=smoothing)
            works: dict[str, Callable[[], object]] = {
                "in memory": partial(correct, sequence),
                "file to file": partial(correct_video, source, target, sequence, overwrite=True),
            }
            for place, work in works.items():
                found.setdefault(place, {})[name] = frames_a_second(count, work)
    for place, rates in found.items():
        for name, rate in rates.items():
            print(f"{place:<14}{name:<16}{rate:6.1f} frames/s  {rate / rates['frame by frame']:5.2f} times")
    return all(rates["every 4th"] >= 3 * rates["frame by frame"] for rates in found.values())


def memory() -> bool:
    """Peak memory of a process that corrects a clip; 300 frames are fewer than a correction looks ahead and back."""
    peaks = []
    for count in (300, 1000, 3000):
        command = [sys.executable, "-m", "benchmarks.video", "peak", "--frames", str(count)]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(f"{count:5} frames: {peaks[-1]:.0f} MiB", flush=True)
    return peaks[2] < 1.05 * peaks[1]


def peak(count: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.mp4"
        write_clip(source, count, 640, 360)
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # resets the peak
        correct_video(source, Path(folder) / "out.mp4", SequenceCorrector(Corrector.load()))
        print(held("VmHWM") / 2**20)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory", "peak"))
    parser.add_argument("--frames", type=int, default=96)
    args = parser.parse_args()
    works: dict[str, Callable[[], bool]] = {
        "speed": lambda: speed(args.frames),
        "memory": memory,
        "peak": lambda: peak(args.frames),
    }
    return 0 if works[args.what]() else 1


if __name__ == "__main__":
    sys.exit(main())
