"""The arguments of a training run: from the command line, a file, a preset, or the run that is resumed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from expcorr_core.corrector import native_dtype
from expcorr_core.data.simulator import ExposureSimulator
from expcorr_core.machine import cores

from .schedule import Stage

PRESETS = Path(__file__).parent / "presets"
LOSSES = ("reconstruction", "pyramid", "adversarial", "consistency", "well_exposed")
NETWORKS = ("pyramid", "global")
# Arguments that the result depends on; a resumed run keeps them.
LASTING = (
    "network", "stage", "levels", "loss", "log_loss", "exposure", "normalise", "crop", "recolour", "photo_side", "init",
    "scenes", "views", "scene_share", "ema", "clip", "weight_decay", "betas", "discriminator_lr", "precision", "layout",
    "seed",
)  # fmt: skip
# These belong to this computer, not to the run: they are neither in files nor in the weights.
LOCAL = ("photos", "out", "resume", "config", "preset", "dry_run")


def _loss(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    return _figure(f"{name}={weight or 1}", LOSSES)


def _exposure(text: str) -> tuple[str, float]:
    return _figure(text, [field.name for field in fields(ExposureSimulator)])


def _figure(text: str, names: Sequence[str]) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        if name in names:
            return name, float(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"write NAME=NUMBER, with one of the names {', '.join(names)}; got {text!r}")


def build_parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="well-exposed photos, or the paper's data set")
    parser.add_argument("out", type=Path, nargs="?", help="folder for the results")
    source = parser.add_argument_group("where arguments come from (the command line takes precedence)")
    presets = sorted(path.stem for path in PRESETS.glob("*.json"))
    source.add_argument("--preset", choices=presets, help="a set of arguments (default paper)")
    source.add_argument("--config", type=Path, metavar="FILE", help="JSON file like the arguments.json of a run")
    source.add_argument("--resume", action="store_true", help="resume from OUT/last.pt with the arguments of that run")
    source.add_argument(
        "--dry-run", action="store_true", help="only print the plan; without PHOTOS, for the paper's 17,675 images"
    )

    what = parser.add_argument_group("what is trained")
    what.add_argument(
        "--stage", type=Stage.parse, nargs="+", help="size=,batch=,lr=,steps=|epochs=[,finest=,patches=,...]"
    )
    what.add_argument(
        "--network",
        choices=NETWORKS,
        default="pyramid",
        help="pyramid: the paper's U-Nets; global: curves for the whole photo (default pyramid)",
    )
    what.add_argument("--levels", type=int, default=4, help="pyramid levels, 1..4; 1 is the plain U-Net (default 4)")
    what.add_argument("--loss", type=_loss, nargs="+", help=f"{', '.join(LOSSES)}; NAME=WEIGHT")
    what.add_argument(
        "--log-loss",
        type=float,
        default=0.0,
        metavar="E",
        help="average log(loss of a photo + E) instead of the loss; PSNR is a logarithm too (default 0: off)",
    )
    what.add_argument("--init", type=Path, metavar="FILE", help="weights to start from")
    what.add_argument(
        "--validation", type=Path, help="folder with input/ and gt/, or with the layout of the paper's data set"
    )
    what.add_argument(
        "--scenes", type=Path, metavar="DIR", help="HDR pictures and panoramas (.hdr, .exr), whose light is exposed too"
    )
    what.add_argument("--views", type=int, default=24, help="number of views of a panorama (default 24)")
    what.add_argument(
        "--scene-share", type=float, default=0.2, help="share of the samples that --scenes give (default 0.2)"
    )
    what.add_argument(
        "--exposure", type=_exposure, nargs="+", help="parameters of the exposure simulation, NAME=NUMBER"
    )
    what.add_argument(
        "--normalise",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="stretch the inputs' range to 0..1 first; recorded in the weights file, so the corrector does it too",
    )
    what.add_argument(
        "--crop",
        type=float,
        default=0.6,
        help="crops of whole photos keep at least this share of each side (default 0.6)",
    )
    what.add_argument(
        "--recolour", type=float, default=0.5, help="share of the targets whose colours are changed (default 0.5)"
    )

    how = parser.add_argument_group("how")
    how.add_argument("--weight-decay", type=float, default=1e-4, help="weight decay of AdamW; 0 is Adam (default 1e-4)")
    how.add_argument("--betas", type=float, nargs=2, default=[0.9, 0.999], help="betas of AdamW (default 0.9 0.999)")
    how.add_argument(
        "--discriminator-lr",
        type=float,
        default=0.1,
        help="learning rate of the discriminator, as a share of the network's (default 0.1)",
    )
    how.add_argument("--clip", type=float, default=1.0, help="largest gradient norm; 0 for none (default 1)")
    how.add_argument(
        "--ema", type=float, default=0.998, help="decay of the averaged weights; 0 for none (default 0.998)"
    )
    how.add_argument("--seed", type=int, default=0)
    how.add_argument(
        "--precision",
        choices=("auto", "bfloat16", "float32"),
        default="auto",
        help="precision of autocast; auto: bfloat16 if the device is faster with it (default auto)",
    )
    how.add_argument("--layout", choices=("channels_last", "contiguous"), default="channels_last")
    how.add_argument(
        "--compile", action="store_true", help="use torch.compile; a resumed run is then equal only up to rounding"
    )
    how.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    how.add_argument("--threads", type=int, help="number of threads for computing (default: torch's choice)")
    workers = max(1, min(8, cores() // 2))
    how.add_argument(
        "--workers", type=int, default=workers, help=f"number of processes that prepare data (default {workers})"
    )
    how.add_argument(
        "--prefetch", type=int, default=4, metavar="BATCHES", help="that each of them prepares ahead (default 4)"
    )
    how.add_argument("--cache", type=float, default=4, metavar="GIB", help="memory for photos per process (default 4)")
    how.add_argument(
        "--photo-side", type=int, help="reduce photos to this size before patches are taken (default: as they are)"
    )

    when = parser.add_argument_group("when")
    when.add_argument("--log-every", type=int, default=50, metavar="STEPS", help="default 50")
    when.add_argument(
        "--checkpoint-every",
        type=int,
        default=250,
        metavar="STEPS",
        help="write a checkpoint and validate (default 250)",
    )
    return parser


def parse(description: str | None, argv: list[str] | None) -> argparse.Namespace:
    """The command line takes precedence over the file, the file over the preset, the preset over the defaults.

    Raises:
        ValueError: the file, or a combination of arguments, is not valid.
    """
    parser = build_parser(description)
    first = parser.parse_args(argv)
    if not first.dry_run and (first.photos is None or first.out is None):
        parser.error("name the folder of photos and the folder for the results (or --dry-run)")
    if first.config and first.preset:
        raise ValueError("--config and --preset exclude each other; give one of them")
    path = first.config or PRESETS / f"{first.preset or 'paper'}.json"
    return parse_over(parser, argv, read_config(path, parser))


def parse_over(parser: argparse.ArgumentParser, argv: list[str] | None, kept: dict[str, Any]) -> argparse.Namespace:
    """The command line, with ``kept`` values (plain ones, as in arguments.json) as defaults."""
    values = dict(kept)
    if "stage" in values:
        values["stage"] = [Stage.from_dict(stage) for stage in values["stage"]]
    for key in ("loss", "exposure"):
        values[key] = list(values.get(key, {}).items())
    for key in ("init", "validation", "scenes"):
        values[key] = Path(values[key]) if values.get(key) else None
    parser.set_defaults(**values)
    args = parser.parse_args(argv)
    args.loss, args.exposure = dict(args.loss), dict(args.exposure)
    if args.precision == "auto":  # decided once, so that the run's files say what it was
        args.precision = str(native_dtype(args.device)).removeprefix("torch.")
    ExposureSimulator(**args.exposure)
    for name in ("log_every", "checkpoint_every", "prefetch", "workers"):
        if getattr(args, name) < (0 if name == "workers" else 1):
            raise ValueError(f"--{name.replace('_', '-')} must be positive, got {getattr(args, name)}")
    if args.views < 1:
        raise ValueError(f"--views must be positive, got {args.views}")
    if not 0 <= args.scene_share <= 1:
        raise ValueError(f"--scene-share must be 0..1, got {args.scene_share}")
    if args.log_loss < 0:
        raise ValueError(f"--log-loss must be 0 or positive, got {args.log_loss}")
    if not 0 <= args.ema < 1:
        raise ValueError(f"--ema must be 0 or more and below 1, got {args.ema}")
    return args


def read_config(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Read a file of arguments.

    Raises:
        ValueError: it is not JSON, or contains an unknown argument.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not a JSON file ({error})") from error
    known = {action.dest for action in parser._actions} - {*LOCAL, "help"}
    if not isinstance(values, dict) or values.keys() - known:
        unknown = ", ".join(sorted(values.keys() - known)) if isinstance(values, dict) else "no names at all"
        raise ValueError(f"{path} names unknown arguments ({unknown}); known are {', '.join(sorted(known))}")
    return values


def plain(args: argparse.Namespace, folders: bool = False) -> dict[str, Any]:
    """The arguments as JSON values; of paths only the last name, unless ``folders``."""
    values = {key: value for key, value in vars(args).items() if key not in LOCAL}
    for key, value in values.items():
        if isinstance(value, Path):
            values[key] = str(value.resolve()) if folders else value.name
    return values | {"stage": [stage.to_dict() for stage in args.stage]}


def check_resumed(args: argparse.Namespace, kept: dict[str, Any]) -> None:
    """Raise ValueError if the command line contradicts the run that is resumed."""
    now = plain(args, folders=True)
    for name in LASTING:
        if now[name] != kept.get(name, now[name]):
            raise ValueError(
                f"the run in {args.out} was started with {name.replace('_', '-')} {kept[name]}; leave it out to resume"
            )
