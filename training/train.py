"""Train an exposure correction network from a folder of well-exposed photos, coarse to fine.

    python training/train.py PHOTOS OUT                 # the default stages, an afternoon on a CPU
    python training/train.py PHOTOS OUT --resume        # go on after a stop
    python training/train.py PHOTOS OUT --stage finest=4,size=128,batch=32,steps=8000,lr=5e-4 [more stages]

A stage trains the U-Nets of the levels n..finest on whole photos of which the larger side is ``size`` pixels, so that
every level sees as much of the scene as it does in a whole photo of 512 pixels. OUT receives ``last.pt`` (checkpoint),
``weights.safetensors`` (averaged weights, half precision), ``arguments.json`` and ``log.csv``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from expcorr_core.dataset import PhotoBatches, load_photo
from expcorr_core.evaluate import Pair, find_pairs
from expcorr_core.exposure import ExposureSimulator
from expcorr_core.files import replacing
from expcorr_core.image_io import find_photos
from expcorr_core.losses import pyramid_loss, reconstruction_loss
from expcorr_core.network import Architecture, ExposureNetwork
from expcorr_core.pyramid import laplacian_pyramid
from expcorr_core.weights import load_weights, read_metadata, save_weights


@dataclass(frozen=True)
class Stage:
    """One stage of a run: which levels, on what, for how long."""

    finest: int
    size: int
    batch: int
    steps: int
    lr: float

    @classmethod
    def parse(cls, text: str) -> Stage:
        """From ``finest=4,size=128,batch=32,steps=8000,lr=5e-4``."""
        values = dict(item.split("=", 1) for item in text.split(","))
        if values.keys() != cls.__annotations__.keys():
            raise argparse.ArgumentTypeError(f"a stage needs {', '.join(cls.__annotations__)}; got {text!r}")
        return cls(*(float(values[key]) if key == "lr" else int(values[key]) for key in cls.__annotations__))  # type: ignore[arg-type]

    def check(self, architecture: Architecture) -> None:
        """Raise ValueError unless all levels can work on photos of this size."""
        if not 1 <= self.finest <= architecture.levels:
            raise ValueError(f"finest must be 1..{architecture.levels}, got {self.finest}")
        # The shorter sides are three quarters of the size.
        granule = 4 * (architecture.multiple >> max(0, self.finest - 2))
        if self.size < granule or self.size % granule:
            raise ValueError(f"with finest={self.finest} the size must be a multiple of {granule}, got {self.size}")

    def learning_rate(self, step: int) -> float:
        """Linear warm-up over the first 2 %, then a cosine down to 2 % of ``lr``."""
        warm = max(1, self.steps // 50)
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm))))


DEFAULT_STAGES = (
    Stage(finest=4, size=128, batch=16, steps=6000, lr=5e-4),
    Stage(finest=3, size=256, batch=8, steps=2400, lr=3e-4),
    Stage(finest=2, size=512, batch=4, steps=700, lr=2e-4),
    Stage(finest=1, size=512, batch=2, steps=1400, lr=1e-4),
)


# Arguments that the result depends on: a resumed run keeps them.
LASTING = ("stage", "init", "ema", "clip", "weight_decay", "seed")


def parse_arguments(argv: list[str] | None, kept: dict[str, Any] | None = None) -> argparse.Namespace:
    """Parse the command line; ``kept`` replaces the defaults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of well-exposed photos")
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument(
        "--stage", type=Stage.parse, nargs="+", default=list(DEFAULT_STAGES), help="one or more, instead of the default"
    )
    parser.add_argument("--init", type=Path, help="weights file to start from")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/last.pt, with the arguments of that run")
    parser.add_argument("--validation", type=Path, help="folder that holds input/ and gt/ of equal file names")
    parser.add_argument("--ema", type=float, default=0.998, help="decay of the averaged weights (default 0.998)")
    parser.add_argument("--clip", type=float, default=1.0, help="largest gradient norm (default 1)")
    parser.add_argument("--weight-decay", type=float, default=1e-4, help="of AdamW (default 1e-4)")
    parser.add_argument("--checkpoint-every", type=int, default=250, metavar="STEPS", help="default 250")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="threads of the computation (default: torch's choice)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.set_defaults(**(kept or {}))
    return parser.parse_args(argv)


def plain(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments as JSON values, without folders of this machine."""
    values = {key: value.name if isinstance(value, Path) else value for key, value in vars(args).items()}
    del values["photos"], values["out"], values["resume"]
    return values | {"stage": [asdict(stage) for stage in args.stage]}


def resume(argv: list[str] | None, path: Path) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The arguments of a stopped run and its checkpoint.

    Raises:
        ValueError: there is no checkpoint, or the command line contradicts it.
    """
    if not path.exists():
        raise ValueError(f"{path} does not exist; start without --resume")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    kept = dict(checkpoint["arguments"])
    kept["stage"] = [Stage(**stage) for stage in kept["stage"]]
    kept["init"] = Path(kept["init"]) if kept["init"] else None
    args = parse_arguments(argv, kept)
    changed = [name for name in LASTING if getattr(args, name) != kept[name]]
    if changed:
        raise ValueError(f"the run in {path.parent} was begun with another {changed[0]}; leave it out to go on")
    return args, checkpoint


def bands_of(image: Tensor, levels: int, finest: int) -> list[Tensor | None]:
    """The network's input from an image of the size of ``Y(finest)``."""
    if finest == 1:
        return [*laplacian_pyramid(image, levels)]
    # Y(finest) has twice the size of band X(finest): the image's own finest band is above it.
    bands: list[Tensor | None] = [*laplacian_pyramid(image, levels - finest + 2)[1:]]
    return [None] * (finest - 1) + bands


def loss_of(network: ExposureNetwork, image: Tensor, target: Tensor, finest: int) -> Tensor:
    """The paper's pyramid and reconstruction losses, per value of the target."""
    with torch.autocast(image.device.type, torch.bfloat16):
        outputs = network(bands_of(image, network.architecture.levels, finest), finest)
    outputs = [y.float() for y in reversed(outputs)]
    total = pyramid_loss(outputs[1:] if finest == 1 else outputs, target)
    if finest == 1:
        total = total + reconstruction_loss(outputs[0], target)
    return total / target[0].numel()


class Validation:
    """PSNR of the finest trained output against validation pairs, at the stage's own size."""

    def __init__(self, pairs: list[Pair], size: int) -> None:
        self.pairs = [
            tuple(_to_multiple(load_photo(path, size), size) for path in (pair.input, pair.target)) for pair in pairs
        ]

    @torch.inference_mode()
    def psnr(self, network: ExposureNetwork, finest: int, device: str) -> float:
        values = []
        for image, target in self.pairs:
            with torch.autocast(device, torch.bfloat16):
                result = network(bands_of(image.to(device), network.architecture.levels, finest), finest)[-1]
            error = (result.float().cpu().clamp(0, 1) - target).square().mean()
            values.append(-10 * math.log10(max(float(error), 1e-10)))
        return sum(values) / len(values)


def _to_multiple(photo: Tensor, size: int) -> Tensor:
    """Resize a photo so that both sides are multiples of a quarter of the stage's size, as the network needs."""
    height, width = (max(1, round(side / size * 4)) * size // 4 for side in photo.shape[1:])
    image = photo[None].float() / 255
    return torch.nn.functional.interpolate(image, (height, width), mode="bilinear", antialias=True)


def commit() -> str:
    """The revision of this checkout, or 'unknown'."""
    try:
        return subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def describe(paths: list[Path]) -> dict[str, Any]:
    """What the training data were: count, and a digest of their names and contents."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return {"photos": len(paths), "sha256": digest.hexdigest()}


def run_stage(
    network: ExposureNetwork,
    average: ExposureNetwork,
    stage: Stage,
    batches: Iterator[Any],
    optimizer: torch.optim.Optimizer,
    start: int,
    args: argparse.Namespace,
) -> Iterator[tuple[int, float]]:
    """Train for the rest of a stage, giving (steps done, mean loss since the last) at each checkpoint."""
    losses: list[Tensor] = []
    bar = tqdm(
        range(start, stage.steps), initial=start, total=stage.steps, desc=f"levels to {stage.finest}", mininterval=10
    )
    for step in bar:
        batch = next(batches)
        image, target = (x.to(args.device).contiguous(memory_format=torch.channels_last) for x in batch)
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate(step)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(network, image, target, stage.finest)
        if not torch.isfinite(loss):
            raise ValueError(
                f"the loss is not finite at step {step}; the last checkpoint is kept: begin a new run with a lower lr "
                f"and --init {args.out / 'weights.safetensors'}"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), args.clip)
        optimizer.step()
        with torch.no_grad():
            decay = min(args.ema, (step + 1) / (step + 10))
            for mean, value in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        losses.append(loss.detach())
        if (step + 1) % args.checkpoint_every == 0 or step + 1 == stage.steps:
            mean_loss = float(torch.stack(losses).mean())
            losses.clear()
            bar.set_postfix(loss=f"{mean_loss:.4f}")
            yield step + 1, mean_loss


def train(argv: list[str] | None) -> None:
    args = parse_arguments(argv)
    checkpoint_path = args.out / "last.pt"
    checkpoint: dict[str, Any] = {}
    if args.resume:
        args, checkpoint = resume(argv, checkpoint_path)
    elif checkpoint_path.exists():
        raise ValueError(f"{checkpoint_path} exists; add --resume to go on with it, or choose another folder")
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    paths = find_photos(args.photos)
    pairs = find_pairs(args.validation / "input", args.validation / "gt") if args.validation else []
    architecture = Architecture()
    for stage in args.stage:
        stage.check(architecture)
    args.out.mkdir(parents=True, exist_ok=True)
    origin: dict[str, Any] = {"data": describe(paths), "commit": commit()}
    if checkpoint and checkpoint["data"] != origin["data"]:
        raise ValueError(f"the photos in {args.photos} are not those that the run was begun with")

    network = ExposureNetwork(architecture)
    network.initialise()
    if args.init:
        network.load_state_dict(load_weights(args.init).state_dict())
        origin["init"] = read_metadata(args.init)["training"]
    network = network.to(args.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = deepcopy(network).requires_grad_(False)
    first, start, seconds = 0, 0, 0.0
    if checkpoint:
        network.load_state_dict(checkpoint["network"])
        average.load_state_dict(checkpoint["average"])
        first, start, seconds = checkpoint["stage"], checkpoint["step"], checkpoint["seconds"]
    arguments = plain(args)
    (args.out / "arguments.json").write_text(json.dumps(arguments, indent=2) + "\n", "utf-8")
    log_path = args.out / "log.csv"
    new_log = not log_path.exists()
    with log_path.open("a", newline="", encoding="utf-8") as log_file:
        log = csv.writer(log_file)
        if new_log:
            log.writerow(("stage", "step", "loss", "validation_psnr", "seconds"))
        clock = time.monotonic() - seconds
        for index in range(first, len(args.stage)):
            stage = args.stage[index]
            photos = [load_photo(p, stage.size * 5 // 4) for p in tqdm(paths, desc="reading photos", leave=False)]
            validation = Validation(pairs, stage.size) if pairs else None
            data = PhotoBatches(photos, stage.size, stage.batch, ExposureSimulator(), (args.seed, index))
            batches = iter(DataLoader(data, None, sampler=range(start, stage.steps), num_workers=1, prefetch_factor=4))
            optimizer = torch.optim.AdamW(network.parameters(), stage.lr, weight_decay=args.weight_decay)
            if start:
                optimizer.load_state_dict(checkpoint["optimizer"])
            for step, loss in run_stage(network, average, stage, batches, optimizer, start, args):
                psnr = validation.psnr(average, stage.finest, args.device) if validation else math.nan
                seconds = time.monotonic() - clock
                log.writerow((index, step, f"{loss:.5f}", f"{psnr:.3f}", round(seconds)))
                log_file.flush()
                state = {
                    "network": network.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "stage": index + (step == stage.steps),
                    "step": step % stage.steps,
                    "seconds": seconds,
                    "data": origin["data"],
                    "arguments": {name: arguments[name] for name in LASTING} | {"init": str(args.init or "")},
                }
                with replacing(checkpoint_path) as temporary:
                    torch.save(state, temporary)
                metrics = {"loss": loss, "validation_psnr": psnr if validation else None}
                training = {**origin, "arguments": arguments, "seconds": round(seconds), "metrics": metrics}
                save_weights(args.out / "weights.safetensors", average, training)
            start = 0


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with one sentence where something is wrong."""
    try:
        train(argv)
    except (ValueError, OSError) as error:
        sys.exit(f"train.py: {error}")
    except KeyboardInterrupt:
        sys.exit("train.py: stopped; go on from the last checkpoint with --resume")


if __name__ == "__main__":
    main()
