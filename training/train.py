"""Train an exposure correction network from a folder of well-exposed photos, or from the paper's data set.

    python training/train.py PHOTOS OUT --preset global --scenes HDRS   # the default network: minutes on a CPU
    python training/train.py PHOTOS OUT --preset cpu       # the paper's network: an afternoon on a CPU
    python training/train.py DATASET OUT                   # the paper's three phases
    python training/train.py PHOTOS OUT --resume           # resume, with bit-identical results
    python training/train.py --preset paper --dry-run      # print the plan only
    torchrun --nproc_per_node 8 training/train.py PHOTOS OUT --preset gpu

OUT receives last.pt (checkpoint), weights.safetensors (averaged weights, half precision), best.safetensors (those
with the best validation PSNR of the last stage), arguments.json, log.csv and, where TensorBoard is installed,
tensorboard/. Ctrl-C writes a checkpoint and exits.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import errno
import json
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from expcorr_core.batch.pool import Stop
from expcorr_core.corrector import native_dtype
from expcorr_core.data.dataset import PhotoStore, TrainingBatches, find_training_files
from expcorr_core.data.losses import (
    adversarial_loss,
    consistency_loss,
    pyramid_loss,
    reconstruction_loss,
    well_exposed_loss,
)
from expcorr_core.data.pairs import Pair, find_exposure_pairs, find_pairs, find_split
from expcorr_core.data.simulator import ExposureSimulator
from expcorr_core.image.resize import sample
from expcorr_core.method.global_level import GlobalNetwork, photo_statistics
from expcorr_core.method.network import Architecture, ExposureNetwork
from expcorr_core.method.weights import Network, load_weights, read_metadata, save_weights

from .adversary import Adversary, flipped
from .checkpoint import commit, describe, read_checkpoint, write_checkpoint
from .monitor import Monitor
from .options import build_parser, check_resumed, parse, parse_over, plain
from .processes import Processes
from .scene_light import find_scenes, read_scenes
from .schedule import PAPER_PHOTOS, Stage, table
from .validation import WHOLE_SIDE, Validation, autocast, bands_of

# Of so many batches, or of fewer large ones, mean and spread of the photos' statistics are taken.
STATISTICS_BATCHES, STATISTICS_PHOTOS = 32, 2048
JUDGED_SIDE = 43  # pixels of a global network's result that the losses are taken of, on each side
AGREE_EVERY = 20  # steps between the checks in which several processes agree whether to stop


def find_validation(args: Any) -> list[Pair]:
    """The pairs of ``--validation``; else the validation split of the paper's data set; else none."""
    if args.validation is None:
        split = find_split(args.photos / "validation")
        return find_exposure_pairs(*split)[0] if split else []
    if split := find_split(args.validation):
        return find_exposure_pairs(*split)[0]
    return find_pairs(args.validation / "input", args.validation / "gt")


def levels_of(args: Any) -> int:
    """Pyramid levels of the network; 0 of the global one."""
    return 0 if args.network == "global" else int(args.levels)


class Run:
    """A training run: networks, data and the state that a checkpoint keeps."""

    def __init__(self, args: Any, checkpoint: dict[str, Any], processes: Processes) -> None:
        self.args, self.processes, self.checkpoint = args, processes, checkpoint
        self.stop = Stop()
        self.files, reports = find_training_files(args.photos)
        if processes.first:
            for report in reports:
                print(f"train.py: {report}", file=sys.stderr)
        if "consistency" in args.loss and len(self.files[0]) == 2:
            raise ValueError(f"{args.photos} holds pairs with only one exposure each; leave out the consistency loss")
        self.pairs = find_validation(args)
        self.scenes = find_scenes(args.scenes) if args.scenes else []
        self.origin: dict[str, Any] = {"data": describe(self.files), "commit": commit()}
        if self.scenes:
            if args.network != "global":
                raise ValueError("--scenes are for the global network only; add --network global, or leave them out")
            self.origin["data"]["scenes"] = describe([(path,) for path in self.scenes])
        if checkpoint and checkpoint["data"] != self.origin["data"]:
            raise ValueError(f"the photos in {args.photos} are not those that the run was started with")
        torch.manual_seed(args.seed)
        network: Network
        if args.network == "global":
            network = GlobalNetwork()
        else:
            network = ExposureNetwork(Architecture.of_levels(args.levels), normalised=args.normalise)
        network.initialise()
        if checkpoint:
            self.origin |= {key: value for key, value in checkpoint["training"].items() if key == "init"}
        elif args.init:
            start = load_weights(args.init)
            if start.architecture != network.architecture:
                raise ValueError(
                    f"{args.init} is of another network ({json.dumps(start.architecture.to_dict())}); change --network "
                    "or --levels, or choose other weights"
                )
            network.load_state_dict(start.state_dict())
            self.origin["init"] = read_metadata(args.init)["training"]
        if args.layout == "channels_last":
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network.to(processes.device)
        self.average = deepcopy(self.network).requires_grad_(False) if args.ema else self.network
        self.adversary = Adversary(processes, args.betas) if "adversarial" in args.loss else None
        self.step, self.done, self.seconds, self.best = 0, 0, 0.0, -math.inf
        self.pending: dict[str, list[float]] = {}
        if checkpoint:
            self.network.load_state_dict(checkpoint["network"])
            self.average.load_state_dict(checkpoint["average"])
            if self.adversary:
                self.adversary.load(checkpoint["adversary"])
            self.step, self.done, self.seconds = checkpoint["step"], checkpoint["done"], checkpoint["seconds"]
            self.best, self.pending = checkpoint["best"], checkpoint["pending"]

    def train(self) -> bool:
        """Train all remaining stages; False if the run was asked to stop before the end."""
        args = self.args
        first = self.checkpoint.get("stage", 0)
        with (
            self.stop.listening(),
            Monitor(args.out, self.checkpoint.get("rows", 0), self.done)
            if self.processes.first
            else nullcontext() as monitor,
        ):
            for index in range(first, len(args.stage)):
                if not self.train_stage(index, monitor):
                    return False
                self.step, self.best, self.checkpoint = 0, -math.inf, {}
        return True

    def training_batches(self, index: int) -> TrainingBatches:
        """The batches of a stage; reads the photos."""
        args, stage, processes = self.args, self.args.stage[index], self.processes
        side = args.photo_side if stage.patches else stage.size * stage.oversize * 5 // 4
        if args.network == "global":
            side = WHOLE_SIDE
        store = PhotoStore(self.files, side, int(args.cache * 2**30), args.workers, quiet=not processes.first)
        if processes.first and store.kept < len(store):
            print(f"train.py: {store.kept} of {len(store)} photos fit into --cache {args.cache:g} GiB", file=sys.stderr)
        return TrainingBatches(
            store,
            size=stage.size,
            batch_size=stage.batch,
            seed=(args.seed, index),
            patches=stage.patches,
            simulator=ExposureSimulator(**args.exposure),
            smallest_crop=args.crop,
            recolour_share=args.recolour,
            normalise=args.normalise,
            oversize=stage.oversize,
            sampled=args.network == "global",
            scenes=read_scenes(self.scenes, args.views, quiet=not processes.first) if self.scenes else None,
            scene_share=args.scene_share,
            exposures=2 if "consistency" in args.loss else 1,
            rank=processes.rank,
            world=processes.world,
        )

    def train_stage(self, index: int, monitor: Monitor | None) -> bool:
        """Train the rest of a stage; False if the run was asked to stop."""
        args, stage, processes = self.args, self.args.stage[index], self.processes
        count = len(self.files)
        total = stage.total_steps(count)
        data = self.training_batches(index)
        loader = DataLoader(
            data, None, sampler=range(self.step, total), num_workers=args.workers,
            prefetch_factor=args.prefetch if args.workers else None, pin_memory=processes.device.startswith("cuda"),
        )  # fmt: skip
        batches = iter(loader)
        validation = (
            Validation(self.pairs, stage, levels_of(args), args.normalise) if self.pairs and processes.first else None
        )
        if isinstance(self.network, GlobalNetwork):
            if not self.network.mean.any():
                self.normalise_statistics(data)
        else:
            # Levels that are not trained yet would hang DistributedDataParallel.
            for level, unet in enumerate(self.network.unets, 1):
                unet.requires_grad_(level >= stage.finest)
            for level, transition in enumerate(self.network.transitions, 2):
                transition.requires_grad_(level >= stage.finest)
        trained = [value for value in self.network.parameters() if value.requires_grad]
        fused = processes.device.startswith(("cpu", "cuda"))
        optimizer = torch.optim.AdamW(trained, stage.lr, args.betas, weight_decay=args.weight_decay, fused=fused)
        if self.step:
            optimizer.load_state_dict(self.checkpoint["optimizer"])
        forward = processes.wrap(self.network, unused="reconstruction" not in args.loss)
        if args.compile:
            forward = torch.compile(forward)  # type: ignore[assignment]

        waited, clock = 0.0, time.monotonic()
        begin, before = clock, self.seconds
        bar = tqdm(
            total=total,
            initial=self.step,
            desc=f"stage {index + 1}/{len(args.stage)}",
            disable=not processes.first,
            mininterval=2,
        )
        with bar:
            while self.step < total:
                asked = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - asked
                values = self.train_step(forward, stage, index, optimizer, trained, batch)
                for name, value in values.items():
                    self.pending.setdefault(name, []).append(value)
                self.step += 1
                self.done += 1
                bar.update()
                ended = self.step == total
                stopping = self.should_stop()
                checkpointing = self.step % args.checkpoint_every == 0 or ended or stopping
                logging = self.step % args.log_every == 0 or (checkpointing and not stopping)
                if not (checkpointing or logging):
                    continue
                now = time.monotonic()
                self.seconds = before + now - begin
                row: dict[str, float] = {}
                if logging:
                    means = {
                        name: float(processes.mean(torch.tensor(sum(v) / len(v)))) for name, v in self.pending.items()
                    }
                    self.pending = {}
                    row = {
                        "stage": index, "step": self.step, **means, "lr": stage.learning_rate(self.step - 1, count),
                        "waiting": waited / (now - clock), "seconds": round(self.seconds, 1),
                    }  # fmt: skip
                    bar.set_postfix({name: f"{value:.4f}" for name, value in means.items()}, refresh=False)
                if monitor and checkpointing and not stopping and validation:
                    figures, shown = validation.run(self.average, processes.device, args.precision)
                    row |= figures
                    monitor.pictures(self.done, shown)
                if monitor and row:
                    monitor.row(self.done, row)
                if monitor and checkpointing:
                    self.save(index, ended, optimizer, monitor, row)
                processes.wait()
                if logging:
                    waited, clock = 0.0, time.monotonic()
                if stopping and not (ended and index + 1 == len(args.stage)):
                    return False
        return True

    def normalise_statistics(self, data: TrainingBatches) -> None:
        """Let the global network know what is usual, from the first batches."""
        count = max(1, min(STATISTICS_BATCHES, STATISTICS_PHOTOS // data.batch_size))
        loader = DataLoader(data, None, sampler=range(count), num_workers=min(count, self.args.workers))
        usual = torch.cat([photo_statistics(batch.input) for batch in loader])
        for network in (self.network, self.average):
            assert isinstance(network, GlobalNetwork)
            network.normalise(usual.to(self.processes.device))

    def train_step(
        self,
        forward: nn.Module,
        stage: Stage,
        index: int,
        optimizer: torch.optim.Optimizer,
        trained: list[nn.Parameter],
        batch: Any,
    ) -> dict[str, float]:
        """One step of the network and, once it has joined, of the discriminator; the losses by name."""
        args, processes = self.args, self.processes
        layout = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format
        image, target = (x.to(processes.device, non_blocking=True).contiguous(memory_format=layout) for x in batch)
        lr = stage.learning_rate(self.step, len(self.files))
        for group in optimizer.param_groups:
            group["lr"] = lr
        adversary = self.adversary if stage.has_discriminator(self.step, len(self.files)) else None
        draw = np.random.default_rng([args.seed, index, self.step, processes.rank]).integers(2**62)
        generator = torch.Generator().manual_seed(int(draw))
        terms: dict[str, Tensor] = {}
        with autocast(processes.device, args.precision):
            if args.network == "global":
                curves, well_exposed = forward(image)
                # Curves are the same all over a photo, so some of its pixels are enough to judge them by.
                image, target = (sample(x, JUDGED_SIDE, JUDGED_SIDE) for x in (image, target))
                outputs = [curves.apply(image)]
                if "well_exposed" in args.loss:
                    terms["well_exposed"] = well_exposed_loss(well_exposed, image, target)
            else:
                outputs = forward(bands_of(image, args.levels, stage.finest), stage.finest)
        outputs = [y.float() for y in reversed(outputs)]
        if stage.finest == 1 and "reconstruction" in args.loss:
            terms["reconstruction"] = reconstruction_loss(outputs[0], target)
        if "pyramid" in args.loss and len(outputs) > (stage.finest == 1):
            terms["pyramid"] = pyramid_loss(outputs[1:] if stage.finest == 1 else outputs, target)
        if adversary:
            with autocast(processes.device, args.precision):
                logits = adversary.judge(flipped(outputs[0], generator)).float()
            terms["adversarial"] = adversarial_loss(logits, target[0, 0].numel(), args.levels)
        if terms and "consistency" in args.loss:
            terms["consistency"] = consistency_loss(outputs[0])
        if not terms:
            raise ValueError(
                f"no loss is left for stage {index + 1} with finest={stage.finest}; add pyramid or reconstruction"
            )
        # Per value of the target, so that losses at all sizes can be compared.
        terms = {name: args.loss[name] * value / target[0].numel() for name, value in terms.items()}
        photos = torch.stack(list(terms.values())).sum(0)
        loss = (photos + args.log_loss).log().mean() if args.log_loss else photos.mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # The gradients are the same in all processes, so all of them end together.
        if not math.isfinite(float(nn.utils.clip_grad_norm_(trained, args.clip or math.inf))):
            raise ValueError(
                f"the loss or its gradient is not finite at step {self.step} of stage {index + 1}; the last "
                f"checkpoint is kept: start a new run with a lower lr and --init {args.out / 'weights.safetensors'}"
            )
        optimizer.step()
        if args.ema:
            decay = min(args.ema, (self.step + 1) / (self.step + 10))
            with torch.no_grad():
                update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
                update([*self.average.parameters()], [*self.network.parameters()], self.step)
        if adversary:
            with autocast(processes.device, args.precision):
                terms["discriminator"] = adversary.learn(
                    flipped(target, generator), flipped(outputs[0].detach(), generator), lr * args.discriminator_lr
                )
        return {"loss": float(loss.detach()), **{name: float(value.detach().mean()) for name, value in terms.items()}}

    def write_arguments(self) -> None:
        (self.args.out / "arguments.json").write_text(json.dumps(plain(self.args), indent=2) + "\n", "utf-8")

    def should_stop(self) -> bool:
        if self.processes.world == 1:
            return self.stop.asked
        if self.done % AGREE_EVERY:
            return False
        return bool(self.processes.mean(torch.tensor(float(self.stop.asked))) > 0)

    def save(
        self, index: int, ended: bool, optimizer: torch.optim.Optimizer, monitor: Monitor, row: dict[str, float]
    ) -> None:
        """Write weights and checkpoint, each completely or not at all."""
        args = self.args
        metrics = {
            "loss": row.get("loss"), "stage": index + 1, "step": self.step,
            "validation_psnr": row.get("validation_psnr"), "validation_ssim": row.get("validation_ssim"),
        }  # fmt: skip
        training = {**self.origin, "arguments": plain(args), "seconds": round(self.seconds), "metrics": metrics}
        if row.get("validation_psnr", -math.inf) > self.best:
            self.best = row["validation_psnr"]
            save_weights(args.out / "best.safetensors", self.average, training)
        save_weights(args.out / "weights.safetensors", self.average, training)
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "adversary": self.adversary.state() if self.adversary else None,
            "stage": index + ended,
            "step": 0 if ended else self.step,
            "done": self.done,
            "seconds": self.seconds,
            "best": -math.inf if ended else self.best,
            "pending": self.pending,
            "rows": monitor.rows,
            "data": self.origin["data"],
            "arguments": plain(args, folders=True),
            "training": training,
        }
        write_checkpoint(args.out / "last.pt", state)


def prepare(argv: list[str] | None) -> tuple[Any, dict[str, Any]]:
    """The arguments of the run, checked, and the checkpoint that it resumes from (empty for a new run)."""
    first = build_parser(__doc__).parse_args(argv)
    checkpoint: dict[str, Any] = {}
    if first.resume and first.out:
        checkpoint = read_checkpoint(first.out / "last.pt")
        if first.config or first.preset:
            raise ValueError("a resumed run keeps its arguments; leave out --config and --preset")
        args = parse_over(build_parser(__doc__), argv, checkpoint["arguments"])
        check_resumed(args, checkpoint["arguments"])
    else:
        args = parse(__doc__, argv)
        if not args.dry_run and (args.out / "last.pt").exists():
            raise ValueError(f"{args.out / 'last.pt'} exists; add --resume to resume it, or choose another folder")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    for stage in args.stage:
        if args.network != "global":
            stage.check(Architecture.of_levels(args.levels))
        if stage.batch % world:
            raise ValueError(f"a batch of {stage.batch} cannot be shared among {world} processes; choose a multiple")
    return args, checkpoint


def train(argv: list[str] | None, make: Callable[[Any, dict[str, Any], Processes], Run] = Run) -> int:
    """Run the command line with the run that ``make`` returns; 130 if it was stopped before its end."""
    args, checkpoint = prepare(argv)
    if args.dry_run:
        count = len(find_training_files(args.photos)[0]) if args.photos else PAPER_PHOTOS
        print(table(args.stage, count, levels_of(args)), end="")
        print(json.dumps({"photos": count, **plain(args)}, indent=2))
        return 0
    if args.threads:
        torch.set_num_threads(args.threads)
    processes = Processes(args.device)
    if processes.first and args.precision == "bfloat16" and native_dtype(processes.device) != torch.bfloat16:
        print(
            f"train.py: {args.device} only emulates bfloat16, which is many times slower than float32", file=sys.stderr
        )
    try:
        run = make(args, checkpoint, processes)
        if processes.first:
            args.out.mkdir(parents=True, exist_ok=True)
            run.write_arguments()
        processes.wait()
        if not run.train():
            if processes.first:
                print("train.py: stopped; a checkpoint was written: resume with --resume", file=sys.stderr)
            return 130
    finally:
        processes.close()
    return 0


def explain(error: Exception) -> str:
    """One sentence for what went wrong."""
    # An error from a worker process has its traceback before the last line.
    text = str(error).strip().splitlines()[-1].rpartition("Error: ")[2] if str(error).strip() else type(error).__name__
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f"the device does not have enough memory ({text}); choose a smaller batch or size"
    if isinstance(error, SafetensorError) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the run cannot be written ({text}); its last checkpoint is kept: make room and resume with --resume"
    return text


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    try:
        code = train(argv)
    except (ValueError, OSError, ModuleNotFoundError, SafetensorError, torch.cuda.OutOfMemoryError) as error:
        sys.exit(f"train.py: {explain(error)}")
    except KeyboardInterrupt:
        sys.exit("train.py: stopped at once; resume from the last checkpoint with --resume")
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
