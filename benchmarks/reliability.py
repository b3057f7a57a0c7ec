"""Provoke faults, as often as wanted; each command prints its line of docs/reliability.md, and fails on any error.

    python -m benchmarks.reliability growth               # memory over 5,000 corrections of 2 megapixels
    python -m benchmarks.reliability kills PHOTOS         # 100 kills at random during a bulk run of 300 photos
    python -m benchmarks.reliability throughput PHOTOS    # two workers compared with one
    python -m benchmarks.reliability gigapixel            # a TIFF file of 32768 x 32768 pixels
    python -m benchmarks.reliability disk PHOTOS          # disks that fill up (as root, because it mounts them)

Damaged and hostile files: `python tests/hostile_files.py`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.batch.outcome import REPORT
from expcorr_core.corrector import Corrector
from expcorr_core.files import digest
from expcorr_core.photos.reading import find_photos

from .memory import held

COMMAND = (sys.executable, "-m", "expcorr_core", "correct")


def growth(args: argparse.Namespace) -> bool:
    """Correct photos of 2 megapixels in four shapes in one process; print memory after a tenth and at the end."""
    corrector = Corrector.load()
    shapes = ((1200, 1667), (1667, 1200), (1080, 1920), (1414, 1414))
    start, first = time.perf_counter(), 0
    for index in range(1, args.corrections + 1):
        coarse = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(index))
        corrector(torch.nn.functional.interpolate(coarse, shapes[index % len(shapes)], mode="bilinear"))
        if index % (args.corrections // 10) == 0:
            first = first or held("VmRSS")
            seconds = time.perf_counter() - start
            print(f"{index:6} corrections: {held('VmRSS') / 2**20:.0f} MiB, {seconds:.0f} s", flush=True)
    print(f"memory at the end / after a tenth: {held('VmRSS') / first:.3f}")
    return held("VmRSS") <= 1.05 * first


def small_copies(folder: Path, out: Path, count: int, side: int) -> Path:
    """Copies of photos in several formats, with at most ``side`` pixels per side."""
    out.mkdir()
    suffixes = itertools.cycle(("jpg", "jpg", "png", "webp", "tif"))
    for path, suffix in zip(find_photos(folder, recursive=True)[:count], suffixes, strict=False):
        with Image.open(path) as image:
            image.thumbnail((side, side))
            image.convert("RGB").save(out / f"{path.stem}.{suffix}", quality=92)
    return out


def results(out: Path) -> dict[str, str]:
    """Checksums of what a run wrote, without temporary files."""
    paths = (p for p in out.rglob("*") if p.is_file() and p.name != REPORT and not p.name.startswith("."))
    return {p.relative_to(out).as_posix(): digest(p) for p in paths}


def wrong(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    return [name for name, checksum in found.items() if wanted.get(name) != checksum]


def kills(args: argparse.Namespace) -> bool:
    """Kill -9 the run, or one of its workers, at random; compare every result with that of an undisturbed run."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        photos = small_copies(args.photos, Path(folder) / "photos", args.count, 384)
        out, whole = Path(folder) / "out", Path(folder) / "whole"
        subprocess.run([*COMMAND, photos, "-o", whole, "--quiet"], check=True, capture_output=True)
        wanted = results(whole)
        killed, workers, completed, bad = 0, 0, 0, 0
        while killed < args.kills:
            process = subprocess.Popen([*COMMAND, photos, "-o", out, "--quiet"], stdout=subprocess.PIPE)
            time.sleep(rng.uniform(1, args.longest))
            children = spawned(process.pid)
            if children and rng.random() < 0.3:
                os.kill(rng.choice(children), signal.SIGKILL)
                workers += 1
                time.sleep(rng.uniform(0, 3))
            if process.poll() is None:
                process.kill()
                killed += 1
            completed += process.wait() == 0
            time.sleep(0.2)
            found = results(out) if out.exists() else {}
            bad += len(wrong(found, wanted))
            print(f"\r{killed} kills, {len(found)} of {len(wanted)} photos, {bad} wrong", end="", flush=True)
            if len(found) == len(wanted):  # and once more
                shutil.rmtree(out)
        last = subprocess.run([*COMMAND, photos, "-o", out, "--quiet"], check=False).returncode
        same = results(out) == wanted
        left = len(list(out.rglob(".part-*")))
    print(
        f"\n{killed} kills of the run, {workers} of a worker, {completed} runs that ended first; wrong results: {bad}; "
        f"the last run's exit code {last}, all {len(wanted)} results as undisturbed: {same}; temporary files: {left}"
    )
    return same and not bad and not last and not left


def spawned(parent: int) -> list[int]:
    """The workers of a run."""
    found = []
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split():
        try:
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
        except OSError:
            continue
    return found


def throughput(args: argparse.Namespace) -> bool:
    """Photos per second of two workers compared with one, in turns, one core per worker."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        photos = small_copies(args.photos, Path(folder) / "photos", args.count, 4000)
        for turn, workers in enumerate((1, 2) * args.turns):
            out = Path(folder) / f"out{turn}"
            # One core per worker: PyTorch would give a single worker all of them.
            cores = f"0-{workers - 1}"
            start = time.perf_counter()
            files = (str(photos), "-o", str(out))
            command = ["taskset", "-c", cores, *COMMAND, *files, "--workers", str(workers), "--quiet"]
            subprocess.run(command, check=True, capture_output=True)
            seconds[workers].append(time.perf_counter() - start)
            shutil.rmtree(out)
        begin = [start_time() for _ in range(3)]
    one, two = (min(seconds[workers]) for workers in (1, 2))
    print(f"{args.count} photos: one worker {one:.1f} s, two {two:.1f} s: {one / two:.2f} times")
    start_of = min(begin)
    print(f"without the start of {start_of:.1f} s: {(one - start_of) / (two - start_of):.2f} times")
    return one / two >= 1.6


def start_time() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "expcorr_core", "info"], check=True, capture_output=True)
    return time.perf_counter() - start


def gigapixel(args: argparse.Namespace) -> bool:
    """Correct a TIFF file of 2 ** 30 pixels, made from one dark photograph; print seconds and peak memory."""
    import tifffile
    from skimage import data

    tile: NDArray[np.uint8] = data.astronaut() // 3  # type: ignore[no-untyped-call]
    count = args.side // len(tile)
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "giga.tif", Path(folder) / "out"
        tifffile.imwrite(
            path, itertools.repeat(tile, count * count), shape=(args.side, args.side, 3), dtype=np.uint8,
            photometric="rgb", tile=tile.shape[:2], compression="zlib", bigtiff=True,
        )  # fmt: skip
        start = time.perf_counter()
        subprocess.run([*COMMAND, path, "-o", out, "--quiet"], check=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        with tifffile.TiffFile(out / "giga.tif") as file:
            page = file.pages.first
            shape, first = page.shape, np.asarray(next(page.segments())[0])
    brighter = float(first.mean() / tile[:256, :256].mean())
    print(f"{shape[0]}x{shape[1]} pixels: {seconds:.0f} s, peak memory {peak:.2f} GiB; {brighter:.1f} times as bright")
    return shape == (args.side, args.side, 3) and peak < 4 and brighter > 1.5


def full_disks(args: argparse.Namespace) -> Iterator[tuple[int, int, int]]:
    """Size of a disk, the run's exit code, and the number of results that differ from an undisturbed run."""
    with tempfile.TemporaryDirectory() as folder:
        photos = small_copies(args.photos, Path(folder) / "photos", 12, 512)
        whole, disk = Path(folder) / "whole", Path(folder) / "disk"
        subprocess.run([*COMMAND, photos, "-o", whole, "--quiet"], check=True, capture_output=True)
        wanted = results(whole)
        needed = sum(p.stat().st_size for p in whole.rglob("*") if p.is_file()) // 1024
        disk.mkdir()
        for size in (int(needed * share) // 4 * 4 + 8 for share in np.linspace(0, 0.98, args.disks)):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", disk], check=True)
            try:
                command = [*COMMAND, str(photos), "-o", str(disk / "out"), "--quiet"]
                code = subprocess.run(command, check=False, capture_output=True).returncode
                yield size, code, len(wrong(results(disk / "out"), wanted))
                # With more space, the next run completes.
                subprocess.run(["mount", "-o", f"remount,size={4 * needed + 1024}k", disk], check=True)
                code = subprocess.run(command, check=False, capture_output=True).returncode
                yield 0, code, int(results(disk / "out") != wanted)
            finally:
                subprocess.run(["umount", disk], check=True)


def disk(args: argparse.Namespace) -> bool:
    """Let disks of several sizes fill up during a bulk run, then enlarge them."""
    found = list(full_disks(args))
    full, enlarged = ([row for row in found if bool(row[0]) == kind] for kind in (True, False))
    print(
        f"{len(full)} full disks: {sum(code == 1 for _, code, _ in full)} reported by the exit code, "
        f"{sum(bad for _, _, bad in full)} wrong results; "
        f"enlarged: {sum(code == 0 for _, code, _ in enlarged)} completed, "
        f"{sum(bad for _, _, bad in enlarged)} that differ from an undisturbed run"
    )
    return all(code == 1 and not bad for _, code, bad in full) and all(row[1:] == (0, 0) for row in enlarged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for function in (growth, kills, throughput, gigapixel, disk):
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.set_defaults(run=function)
        if function in (kills, throughput, disk):
            command.add_argument("photos", type=Path, help="folder of photos")
        if function is growth:
            command.add_argument("--corrections", type=int, default=5000)
        if function is kills:
            command.add_argument("--kills", type=int, default=100)
            command.add_argument("--count", type=int, default=300)
            command.add_argument("--longest", type=float, default=14.0, help="longest time until a kill, seconds")
        if function is throughput:
            command.add_argument("--count", type=int, default=60)
            command.add_argument("--turns", type=int, default=2)
        if function is gigapixel:
            command.add_argument("--side", type=int, default=32768)
        if function is disk:
            command.add_argument("--disks", type=int, default=20)
    args = parser.parse_args()
    sys.exit(0 if args.run(args) else 1)


if __name__ == "__main__":
    main()
