"""A shoot of many photos corrected as a series: time and memory compared with one by one, and killed in the middle.

usage: python -m benchmarks.shoot PHOTOS [--count 10000] [--side 1600]

The shoot is made from the photos of a folder: each scene is 1 to 9 crops of a photo, exposed by -2 to 2 EV, with times
of their own; when the photos are used up, they come again mirrored, and then hours later. Prints seconds and peak
memory of both runs, the ratio of the times, and whether a run that is killed twice ends with the same files.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from expcorr_core.files import digest
from expcorr_core.photos.reading import find_photos

COMMAND = (sys.executable, "-m", "expcorr_core", "correct")
DATE_TIME_ORIGINAL, EXIF = 36867, 0x8769
HOURS_APART = 5


def make_shoot(photos: Path, out: Path, count: int, side: int) -> None:
    """Write ``count`` JPEG files with EXIF times."""
    rng = np.random.default_rng(0)
    out.mkdir(parents=True)
    files = find_photos(photos, recursive=True)
    made = 0
    with tqdm(total=count, desc="making photos", leave=False) as bar:
        for number, path in enumerate(itertools.cycle(files)):
            turn, seconds = divmod(number, len(files))
            with Image.open(path) as opened:
                opened.draft("RGB", (side, side))
                image = opened.convert("RGB")
            scale = side / max(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
            if turn % 2:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            values = np.asarray(image, np.float32) / 255
            height, width = values.shape[:2]
            for frame in range(int(rng.integers(1, 10))):
                if made == count:
                    return
                top, left = (int(rng.integers(0, length // 8 + 1)) for length in (height, width))
                part = values[top : top + height * 7 // 8, left : left + width * 7 // 8]
                exposed = Image.fromarray(
                    (255 * (1 - (1 - part**2.2) ** (2 ** rng.uniform(-2, 2))) ** (1 / 2.2)).round().astype(np.uint8)
                )
                exif = Image.Exif()
                taken = turn * HOURS_APART * 3600 + seconds * 20 + frame
                stamp = time.strftime("%Y:%m:%d %H:%M:%S", time.gmtime(1.7e9 + taken))
                exif.get_ifd(EXIF)[DATE_TIME_ORIGINAL] = stamp
                exposed.save(out / f"{made:05d}.jpg", quality=90, exif=exif)
                made += 1
                bar.update()


class Run(NamedTuple):
    """Seconds of a run, and the most memory that it and its processes held together, bytes."""

    seconds: float
    memory: int


def measured(command: list[str]) -> Run:
    """Run a command; its memory is looked at ten times a second."""
    import psutil

    most = 0
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    whole = psutil.Process(process.pid)
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.1):
            try:
                now = [whole, *whole.children(recursive=True)]
                most = max(most, sum(p.memory_info().rss - p.memory_info().shared for p in now))
            except psutil.Error:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    ended.set()
    watcher.join()
    if code:
        raise subprocess.CalledProcessError(code, command)
    return Run(time.perf_counter() - start, most)


def killed(command: list[str], seconds: float) -> None:
    """Run a command, and kill it with its processes after a while."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    process.wait()
    time.sleep(2)  # its workers end


def results(out: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in out.glob("*.jpg")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=1600, help="larger side of the photos before they are cropped")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shoot, single, series, stopped = (Path(folder, name) for name in ("shoot", "single", "series", "stopped"))
        make_shoot(args.photos, shoot, args.count, args.side)
        one_by_one = measured([*COMMAND, str(shoot), "-o", str(single), "--quiet"])
        together = measured([*COMMAND, str(shoot), "-o", str(series), "--series", "--quiet"])
        for name, run in (("one by one", one_by_one), ("as a series", together)):
            print(f"{name:<12}{run.seconds:>8.0f} s{run.memory / 2**20:>8.0f} MiB")
        print(f"ratio of the times {together.seconds / one_by_one.seconds:.2f}", flush=True)
        command = [*COMMAND, str(shoot), "-o", str(stopped), "--series", "--quiet"]
        killed(command, together.seconds * 0.15)  # while the photos are looked at
        killed(command, together.seconds * 0.6)  # while they are corrected
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wanted, found = results(series), results(stopped)
        same = sum(found.get(name) == checksum for name, checksum in wanted.items())
        print(f"killed twice and resumed: {same} of {len(wanted)} files the same")
        sys.exit(0 if same == len(wanted) == args.count else 1)


if __name__ == "__main__":
    main()
