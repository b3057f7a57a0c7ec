"""Measure a GPU, then train the default network on it for as long as it is there.

    python training/on_gpu.py PHOTOS OUT --scenes HDRS --minutes 10
    python training/on_gpu.py PHOTOS OUT --minutes 10 --resume        # what was stopped or killed
    python training/on_gpu.py PHOTOS OUT --minutes 1 --device cpu     # a small trial without a GPU

OUT receives all that has to be brought back from a remote machine, a few MB: timings.json, weights.safetensors (half
precision, written every half minute), arguments.json and log.csv. The checkpoint, which only --resume needs, goes to
another folder (--state). The first steps are timed, and the schedule gets as many steps as fit into the rest of the
time; training/train.py with OUT/arguments.json as its --config repeats the run. Ctrl-C writes a checkpoint.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
import json
import math
import shutil
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from expcorr_core.batch.pool import Stopped
from expcorr_core.data.dataset import TrainingBatches, find_training_files
from expcorr_core.files import replacing
from expcorr_core.machine import cores, memory

from .monitor import Monitor
from .options import PRESETS
from .processes import Processes
from .scene_light import find_scenes, read_scenes
from .schedule import Stage
from .timings import described, measure, table
from .train import Run, explain, train

TIMES_LARGER = 10  # batch on a GPU, compared with the preset's
TIMING_SECONDS, TIMING_SHARE = 60, 0.25  # most of the time that timings may take
SPARE_SHARE = 0.05  # of the time, for checkpoints, what slows steps down, and the end
TIMED_SECONDS, TIMED_SHARE = 6, 0.1  # for which steps are timed, and most of the time that it may take
FEW_STEPS = 20
CHECKPOINT_SECONDS = 30  # between checkpoints
MOST_BYTES = 16_000_000  # of OUT
BROUGHT_BACK = ("weights.safetensors", "arguments.json", "log.csv")
SHARED_MEMORY = Path("/dev/shm")  # of Linux: batches come from the workers through it, and containers limit it


def steps_within(seconds: float, each: float, startup: float) -> int:
    """Steps that fit into so many seconds if ``each`` takes so long, after the ``startup``; at least 1."""
    return max(1, int((seconds * (1 - SPARE_SHARE) - startup) / each))


def workers_within(wanted: int, batch_bytes: int, free: int) -> int:
    """Processes whose batches, one of each, fit into half of the free memory."""
    return min(wanted, free // 2 // batch_bytes)


def brought_back(out: Path) -> int:
    """Bytes in a folder.

    Raises:
        ValueError: they are more than can be brought back.
    """
    sizes = {path: path.stat().st_size for path in out.rglob("*") if path.is_file()}
    total = sum(sizes.values())
    if total > MOST_BYTES:
        largest = max(sizes, key=lambda path: sizes[path])
        raise ValueError(
            f"{out} holds {total / 1e6:.1f} MB, more than the {MOST_BYTES / 1e6:.0f} MB to bring back; move away what "
            f"is not of this run (the largest is {largest.name})"
        )
    return total


class LimitedRun(Run):
    """A run of one stage whose steps are as many as fit into the time; what has to be brought back is copied.

    Args:
        args, checkpoint, processes: of the run.
        out: folder for what has to be brought back.
        deadline: monotonic time by which the run has to end.
    """

    def __init__(
        self, args: Any, checkpoint: dict[str, Any], processes: Processes, *, out: Path, deadline: float
    ) -> None:
        super().__init__(args, checkpoint, processes)
        self.out, self.deadline = out, deadline
        self.pairs = []  # the weights are judged where there is more time
        self.ended: list[float] = []  # when each step ended
        self.data: TrainingBatches | None = None
        self.planned = bool(checkpoint)

    def training_batches(self, index: int) -> TrainingBatches:
        self.data = self.data or super().training_batches(index)
        return self.data

    def train_step(self, *rest: Any) -> dict[str, float]:
        values = super().train_step(*rest)
        self.ended.append(time.monotonic())
        return values

    def train_stage(self, index: int, monitor: Monitor | None) -> bool:
        if not self.planned:
            self.set_steps(index)
        return super().train_stage(index, monitor)

    def set_steps(self, index: int) -> None:
        """Time some steps, undo them, and give the stage as many as fit.

        Raises:
            Stopped: it was asked to stop before.
        """
        args = self.args
        counted = max(3, args.workers)
        spent = self.time_steps(index, counted)
        # A few quick steps do not tell how long many take.
        wanted = min(TIMED_SECONDS, TIMED_SHARE * (self.deadline - time.monotonic()))
        if spent < wanted / 2:
            counted = round(counted * wanted / spent)
            spent = self.time_steps(index, counted)
        each, left = spent / counted, self.deadline - time.monotonic()
        steps = steps_within(left, each, each * args.workers)
        args.stage = [replace(args.stage[index], steps=steps)]
        args.checkpoint_every = max(1, round(CHECKPOINT_SECONDS / each))
        args.log_every = min(args.log_every, args.checkpoint_every)
        self.write_arguments()
        self.planned = True
        print(f"{each:.3g} seconds per step of {args.stage[index].batch} photos: {steps} steps in {left:.0f} seconds")
        if steps < FEW_STEPS:
            print("on_gpu.py: so few steps teach little; give more --minutes, or a smaller --batch", file=sys.stderr)

    def time_steps(self, index: int, count: int) -> float:
        """Seconds that so many steps take once the run is in its stride; the network is as before."""
        start = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        # The first batches of several workers arrive together; what they have prepared meanwhile must not count.
        uncounted: int = max(1, self.args.workers)
        self.args.stage = [replace(self.args.stage[index], steps=uncounted + count)]
        self.ended = []
        super().train_stage(index, None)
        if self.stop.asked:
            raise Stopped
        for network in (self.network, self.average):
            network.load_state_dict(start, strict=False)  # statistics of the photos are kept
        self.step, self.done, self.seconds, self.pending = 0, 0, 0.0, {}
        return self.ended[-1] - self.ended[uncounted - 1]

    def should_stop(self) -> bool:
        return super().should_stop() or (self.planned and time.monotonic() > self.deadline)

    def save(self, *rest: Any) -> None:
        super().save(*rest)
        for name in BROUGHT_BACK:
            with replacing(self.out / name) as temporary:
                shutil.copyfile(self.args.out / name, temporary)


def check_device(name: str) -> None:
    """Raise ValueError if there is no such device."""
    kind, _, index = name.partition(":")
    if kind not in ("cuda", "cpu") or not (index or "0").isdecimal():
        raise ValueError(f"--device must be cuda, cuda:1 or the like, or cpu, got {name}")
    if kind == "cpu":
        return
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else f", and PyTorch {torch.__version__} is built without CUDA"
        raise ValueError(f"no CUDA device was found{built}; add --device cpu for a small trial on the processor")
    if int(index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no {name}; the last device is cuda:{torch.cuda.device_count() - 1}")


def choose_workers(wanted: int | None, stage: Stage) -> int:
    """Processes that prepare batches of this stage, as many as memory allows."""
    wanted = max(1, cores() - 1) if wanted is None else wanted
    batch_bytes = stage.batch * 2 * 2 * 3 * stage.size**2 * 4  # each photo twice, inputs and targets, float32
    shared = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else memory()
    found = workers_within(wanted, batch_bytes, min(shared, memory()))
    if found < wanted:
        print(
            f"on_gpu.py: {found} instead of {wanted} processes prepare batches: their {batch_bytes / 1e6:.0f} MB each "
            "have to fit into shared memory (of a container: --shm-size)",
            file=sys.stderr,
        )
    return found


def train_in_time(args: argparse.Namespace, stage: Stage, deadline: float) -> int:
    """Train with as many photos per step as fit into the device's memory; the code that train.py would end with."""
    make = partial(LimitedRun, out=args.out, deadline=deadline)
    last = args.state / "last.pt"
    while True:
        argv = [str(args.photos), str(args.state), "--device", args.device, "--prefetch", "1"]
        argv += ["--workers", str(choose_workers(args.workers, stage))]
        if last.exists():
            argv.append("--resume")
        else:
            values = ",".join(f"{name}={value}" for name, value in stage.to_dict().items())
            argv += ["--preset", "global", "--stage", values, "--seed", str(args.seed)]
            argv += ["--scenes", str(args.scenes)] if args.scenes else []
        try:
            return train(argv, make)
        except torch.cuda.OutOfMemoryError:
            if last.exists() or stage.batch == 1:
                raise
        torch.cuda.empty_cache()
        print(f"on_gpu.py: {stage.batch} photos per step do not fit; trying half of them", file=sys.stderr)
        stage = replace(stage, batch=stage.batch // 2)


def run(args: argparse.Namespace) -> int:
    deadline = time.monotonic() + args.minutes * 60
    if not 0 < args.minutes < math.inf:
        raise ValueError(f"--minutes must be positive and finite, got {args.minutes:g}")
    if args.batch is not None and args.batch < 1:
        raise ValueError(f"--batch must be positive, got {args.batch}")
    if args.workers is not None and args.workers < 0:
        raise ValueError(f"--workers must be 0 or more, got {args.workers}")
    check_device(args.device)
    args.state = args.state or args.out.resolve().with_name(f"{args.out.resolve().name}-state")
    for folder in (args.out, args.state):
        if not args.resume and folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty; add --resume to go on there, or choose another folder")
    if args.state.resolve().is_relative_to(args.out.resolve()):
        raise ValueError(f"--state {args.state} is in {args.out}, which is brought back; choose a folder beside it")
    # What is wrong with them shows before time is spent.
    find_training_files(args.photos)
    if args.scenes:
        read_scenes(find_scenes(args.scenes)[:1], 1, quiet=True)
    preset = json.loads((PRESETS / "global.json").read_text("utf-8"))
    stage = Stage.from_dict(preset["stage"][0])
    stage = replace(stage, batch=args.batch or stage.batch * (1 if args.device.startswith("cpu") else TIMES_LARGER))

    disagreeing: list[str] = []
    measured = args.out / "timings.json"
    if args.timings and not measured.exists():
        limit = time.monotonic() + min(TIMING_SECONDS, TIMING_SHARE * args.minutes * 60)
        timings = measure(args.device, preset["exposure"], limit)
        print(table(timings), flush=True)
        with replacing(measured) as temporary:
            temporary.write_text(json.dumps(described(timings, args.device), indent=2) + "\n", "utf-8")
        disagreeing = [f"{timing.what} ({timing.how})" for timing in timings if not timing.agrees]
    code = train_in_time(args, stage, deadline)
    size = brought_back(args.out)
    print(f"bring back {args.out}: {size / 1e6:.1f} MB; {args.state} is only needed to resume")
    if disagreeing:
        raise ValueError(f"results differ from the CPU's: {', '.join(disagreeing)}; see {measured}")
    return code


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="well-exposed photos")
    parser.add_argument("out", type=Path, help="folder for what has to be brought back")
    parser.add_argument("--minutes", type=float, required=True, help="time for all, timings included")
    parser.add_argument("--scenes", type=Path, metavar="DIR", help="HDR pictures and panoramas, as for train.py")
    parser.add_argument("--state", type=Path, metavar="DIR", help="folder for the checkpoint (default OUT-state)")
    parser.add_argument("--resume", action="store_true", help="go on in OUT, from the last checkpoint if there is one")
    parser.add_argument("--device", default="cuda", help="default cuda")
    parser.add_argument(
        "--batch",
        type=int,
        metavar="PHOTOS",
        help=f"photos per step, halved until they fit (default {TIMES_LARGER} times the preset's, on a CPU the same)",
    )
    parser.add_argument("--workers", type=int, help="processes that prepare data (default: the cores but one)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-timings", dest="timings", action="store_false", help="do not measure first")
    args = parser.parse_args(argv)
    try:
        code = run(args)
    except (ValueError, OSError, ModuleNotFoundError, SafetensorError, torch.cuda.OutOfMemoryError) as error:
        sys.exit(f"on_gpu.py: {explain(error)}")
    except Stopped:
        sys.exit("on_gpu.py: stopped before the first checkpoint")
    except KeyboardInterrupt:
        sys.exit("on_gpu.py: stopped at once; go on from the last checkpoint with --resume")
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
