"""Command line: correct photos, show their pyramids, evaluate on pairs, describe weights files."""

from __future__ import annotations

import argparse
import csv
import glob
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from . import __version__
from .corrector import WORKING_SIZE, Corrector, Settings, reduce_to
from .evaluate import evaluate, find_pairs, summarise
from .image_io import SUFFIXES, ImageError, Photo, read_photo, write_photo
from .pyramid import laplacian_pyramid
from .weights import WeightsError, default_weights_path, load_weights, read_metadata

COMPARE_SIDE = 1600  # larger side of each half of a before-and-after picture


class UsageError(ValueError):
    """The command line asks for something that cannot be done."""


def pick_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes CUDA, then Apple's GPU, then the CPU.

    Raises:
        UsageError: torch does not know the device or cannot use it here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); try cpu") from error
    return torch.device(name)


def find_inputs(patterns: Sequence[str]) -> list[tuple[Path, Path]]:
    """Photos named by files, folders and globs, each with its name below the output folder.

    A folder gives all photos below it, with their sub-folders kept. What does not exist is given back as it is, so
    that reading it names it.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        path = Path(pattern)
        matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
        for match in matches or [path]:
            if match.is_dir():
                inside = sorted(p for p in match.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
                if not inside:
                    raise UsageError(f"folder {match} holds no photos ({', '.join(SUFFIXES)})")
                found.update({p: p.relative_to(match) for p in inside})
            else:
                found[match] = Path(match.name)
    return list(found.items())


def plan_outputs(inputs: Sequence[tuple[Path, Path]], output: Path) -> list[tuple[Path, Path]]:
    """Pairs of input and output file.

    Raises:
        UsageError: two inputs would be written to one file, or one onto itself.
    """
    if output.suffix.lower() in SUFFIXES and not output.is_dir():
        if len(inputs) > 1:
            raise UsageError(f"{output} is one file, but there are {len(inputs)} inputs; name a folder")
        plan = [(inputs[0][0], output)]
    else:
        plan = [(path, output / name) for path, name in inputs]
    taken: dict[Path, Path] = {}
    for source, target in plan:
        if source.resolve() == target.resolve():
            raise UsageError(f"{source} would be written onto itself; choose another output")
        if target in taken:
            raise UsageError(f"{taken[target]} and {source} would both be written to {target}; correct them separately")
        taken[target] = source
    return plan


def comparison(before: Photo, after: Photo) -> Photo:
    """Before and after side by side, 8 bit, each at most 1600 pixels."""
    halves = [reduce_to(photo.to_tensor(), COMPARE_SIDE) for photo in (before, after)]
    gap = torch.ones_like(halves[0][..., : max(4, halves[0].shape[3] // 100)])
    image = torch.cat((halves[0], gap, halves[1]), 3)
    empty = np.empty(0, np.uint8)
    return Photo(
        empty, None, before.grey, {k: v for k, v in before.metadata.items() if k == "icc_profile"}
    ).with_tensor(image)


def command_correct(args: argparse.Namespace) -> int:
    settings = Settings(args.strength, args.gains, args.fusion, args.stretch, args.working_size)
    plan = plan_outputs(find_inputs(args.inputs), args.output)
    corrector = Corrector.load(args.weights, pick_device(args.device))
    levels = corrector.network.architecture.levels
    if args.gains and len(args.gains) != levels:
        raise UsageError(f"--gains needs {levels} figures for these weights, got {len(args.gains)}")
    failed = 0
    with tqdm(plan, unit="photo", disable=args.quiet) as bar:
        for source, target in bar:
            bar.set_postfix_str(source.name)
            try:
                if target.exists() and not args.overwrite:
                    raise ImageError(f"{target} exists; add --overwrite, or choose another output with -o")
                photo = read_photo(source)
                result = photo.with_tensor(corrector(photo.to_tensor(), settings))
                write_photo(target, result, args.overwrite)
                if args.compare:
                    picture = target.with_name(f"{target.stem}_compare{target.suffix}")
                    write_photo(picture, comparison(photo, result), args.overwrite)
            except (ValueError, OSError, MemoryError) as error:
                failed += 1
                bar.write(f"expcorr: {error or 'out of memory'}", file=sys.stderr)
    if failed and len(plan) > 1:
        print(f"expcorr: {failed} of {len(plan)} photos failed", file=sys.stderr)
    if not failed and not args.quiet:
        print(f"{len(plan)} corrected: {plan[0][1] if len(plan) == 1 else args.output}")
    return 1 if failed else 0


def command_decompose(args: argparse.Namespace) -> int:
    photo = read_photo(args.input)
    bands = laplacian_pyramid(photo.to_tensor(), args.levels)
    for level, band in enumerate(bands, 1):
        residual = level == len(bands)
        # Bands are signed: zero is shown as mid-grey.
        shown = Photo(np.empty(0, np.uint8)).with_tensor(band if residual else band + 0.5)
        target = args.output / f"{args.input.stem}_{f'residual{level}' if residual else f'band{level}'}.png"
        write_photo(target, shown, args.overwrite)
        print(f"{target}  {band.shape[3]}x{band.shape[2]}")
    return 0


def command_evaluate(args: argparse.Namespace) -> int:
    pairs = find_pairs(args.inputs, args.targets, args.groups)
    corrector = Corrector.load(args.weights, pick_device(args.device))
    settings = Settings(args.strength, args.gains, args.fusion, args.stretch, args.working_size)
    scores = list(tqdm(evaluate(corrector, pairs, settings), total=len(pairs), unit="pair", disable=args.quiet))
    print(f"{'group':<12}{'pairs':>6}{'PSNR':>9}{'SSIM':>8}")
    for group, (count, mean_psnr, mean_ssim) in summarise(scores).items():
        print(f"{group:<12}{count:>6}{mean_psnr:>9.2f}{mean_ssim:>8.3f}")
    if args.csv:
        if args.csv.exists() and not args.overwrite:
            raise UsageError(f"{args.csv} exists; add --overwrite or choose another name")
        with args.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("name", "groups", "psnr", "ssim"))
            for score in scores:
                groups = " ".join(score.pair.groups)
                writer.writerow((score.pair.name, groups, f"{score.psnr:.4f}", f"{score.ssim:.5f}"))
        print(f"written: {args.csv}")
    return 0


def command_info(args: argparse.Namespace) -> int:
    path = args.weights or default_weights_path()
    description = {"file": path.name, "parameters": load_weights(path).parameter_count(), **read_metadata(path)}
    print(json.dumps(description, indent=2))
    return 0


def _gains(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"gains are figures with commas between, as 1.5,1.5,1.5,1.05; got {text!r}"
        ) from error


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="expcorr", description="Correct the exposure of photos.")
    parser.add_argument("--version", action="version", version=f"expcorr {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    weights = argparse.ArgumentParser(add_help=False)
    weights.add_argument("--weights", type=Path, help="weights file (default: the bundled ones)")
    overwrite = argparse.ArgumentParser(add_help=False)
    overwrite.add_argument("--overwrite", action="store_true", help="replace existing output files")
    options = argparse.ArgumentParser(add_help=False, parents=[weights, overwrite])
    options.add_argument("--strength", type=float, default=1.0, help="0 changes nothing, 1 is the full correction")
    options.add_argument("--gains", type=_gains, metavar="S1,..,Sn", help="pyramid band gains, finest first")
    options.add_argument("--fusion", action="store_true", help="fuse the result with the input (Mertens et al. 2007)")
    options.add_argument("--stretch", type=float, default=0.0, metavar="PERCENT", help="contrast stretch afterwards")
    options.add_argument("--working-size", type=int, default=WORKING_SIZE, metavar="PIXELS", help="default 512")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    options.add_argument("--quiet", action="store_true", help="no progress bar")

    correct = commands.add_parser("correct", parents=[options], help="correct photos, folders and globs")
    correct.add_argument("inputs", nargs="+", metavar="INPUT", help="photo, folder (with all below it) or glob")
    correct.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("corrected"),
        help="folder, or a file name for one photo (default: corrected/)",
    )
    correct.add_argument("--compare", action="store_true", help="also write NAME_compare: before and after")
    correct.set_defaults(run=command_correct)

    decompose = commands.add_parser("decompose", parents=[overwrite], help="write a photo's Laplacian pyramid")
    decompose.add_argument("input", type=Path, metavar="INPUT")
    decompose.add_argument("-o", "--output", type=Path, default=Path("bands"), help="folder (default: bands/)")
    decompose.add_argument("--levels", type=int, default=4, help="default 4")
    decompose.set_defaults(run=command_decompose)

    evaluation = commands.add_parser("evaluate", parents=[options], help="PSNR and SSIM over pairs")
    evaluation.add_argument("inputs", type=Path, metavar="INPUT_DIR")
    evaluation.add_argument("targets", type=Path, metavar="GT_DIR")
    evaluation.add_argument("--groups", type=Path, metavar="CSV", help="groups (default: pairs.csv beside INPUT_DIR)")
    evaluation.add_argument("--csv", type=Path, help="also write each pair's figures")
    evaluation.set_defaults(run=command_evaluate)

    info = commands.add_parser("info", help="describe a weights file")
    info.add_argument("weights", type=Path, nargs="?", metavar="FILE", help="default: the bundled weights")
    info.set_defaults(run=command_info)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 1 something failed, 2 wrong arguments, 130 interrupted."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (ValueError, ModuleNotFoundError) as error:
        print(f"expcorr: {error}", file=sys.stderr)
        return 1 if isinstance(error, ImageError | WeightsError | ModuleNotFoundError) else 2
    except KeyboardInterrupt:
        print("expcorr: interrupted; finished photos are kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
