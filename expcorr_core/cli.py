"""Command line: correct photos and videos, show pyramids, evaluate on pairs, download and describe weights files."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from . import __version__
from .bulk import FAILED, REPORT, Job, Outcome, Work, correct_all, is_report, journal_of, plan, prepare, write_report
from .corrector import WORKING_SIZE, Corrector, Settings
from .evaluate import agreement, evaluate, summarise
from .files import remove_leftovers, replacing
from .hub import REPOSITORY, download_weights
from .image_io import ImageError, Photo, read_photo, write_photo
from .machine import cores
from .pairs import ev_of, find_pairs, find_scenes
from .planning import UsageError, find_inputs, is_bulk, is_one_photo, plan_jobs
from .pyramid import laplacian_pyramid
from .sequence import SequenceCorrector, Smoothing
from .video import Encoding, VideoError, correct_video, require_pyav
from .weights import DEFAULT_NAME, WeightsError, default_weights_path, load_weights, read_metadata
from .workers import Stopped

FEW = 8  # photos are corrected in this process
GPU_WORKERS = 2  # that share a GPU: one decodes while the other computes


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


def command_correct(args: argparse.Namespace) -> int:
    settings = _settings(args)
    bulk = is_bulk(args.inputs)
    one_file = is_one_photo(args.output)
    jobs = plan_jobs(find_inputs(args.inputs, args.output), args.output, args.compare)
    device = pick_device(args.device)
    _check_gains(args, load_weights(args.weights).architecture.levels)
    work = Work(
        settings=settings,
        weights=args.weights,
        device=str(device),
        output=None if one_file else args.output,
        metadata=args.metadata,
        overwrite=args.overwrite,
        resume=bulk,
    )
    if args.dry_run:
        return _show_plan(jobs, work)
    report = args.report or (args.output / REPORT if bulk and not one_file else None)
    if report and os.path.lexists(report) and not (args.overwrite or is_report(report)):
        raise UsageError(f"{report} exists and is no report of an earlier run; choose another name with --report")
    if bulk:
        remove_leftovers(args.output)
    found: dict[str, Outcome] = {}
    try:
        with tqdm(total=len(jobs), unit="photo", disable=args.quiet) as bar:
            for outcome in _outcomes(jobs, work, args):
                found[outcome.target] = outcome
                bar.update()
                bar.set_postfix_str(Path(outcome.source).name)
                if outcome.error:
                    bar.write(f"expcorr: {outcome.error}", file=sys.stderr)
    finally:  # after a stop too
        outcomes = [found[str(job.target)] for job in jobs if str(job.target) in found]
        if bulk:
            remove_leftovers(args.output)  # of workers that were killed
        if report:
            write_report(report, outcomes)
    return _conclude(outcomes, report, args)


def _outcomes(jobs: Sequence[Job], work: Work, args: argparse.Namespace) -> Iterator[Outcome]:
    if args.ray is not None:
        from .bulk_ray import correct_on_ray

        return correct_on_ray(jobs, work, args.ray, args.workers)
    workers = args.workers
    if workers is None:  # starting processes takes longer than a few photos
        most = cores() if work.device == "cpu" else GPU_WORKERS
        workers = min(len(jobs), most) if len(jobs) >= FEW else 0
    return correct_all(jobs, work, workers)


def _show_plan(jobs: Sequence[Job], work: Work) -> int:
    outcomes = [plan(job, work, entry) for job, entry in zip(jobs, journal_of(jobs, work), strict=True)]
    for outcome in outcomes:
        print(f"{outcome.status:<12}{outcome.source} -> {outcome.target}{': ' if outcome.error else ''}{outcome.error}")
    print(_counted(outcomes))
    return 0


def _counted(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.status for outcome in outcomes)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _conclude(outcomes: Sequence[Outcome], report: Path | None, args: argparse.Namespace) -> int:
    failed = sum(outcome.status == FAILED for outcome in outcomes)
    if failed and len(outcomes) > 1:
        print(f"expcorr: {failed} of {len(outcomes)} photos failed", file=sys.stderr)
    if not args.quiet and failed < len(outcomes):
        place = outcomes[0].target if len(outcomes) == 1 else args.output
        print(f"{_counted(outcomes)}: {place}" + (f"; report: {report}" if report else ""))
    return 1 if failed else 0


def _settings(args: argparse.Namespace) -> Settings:
    return Settings(
        strength=args.strength,
        gains=args.gains,
        fusion=args.fusion,
        stretch=args.stretch,
        working_size=args.working_size,
        mirror=args.mirror,
    )


def _corrector(args: argparse.Namespace) -> Corrector:
    corrector = Corrector.load(args.weights, pick_device(args.device))
    _check_gains(args, corrector.network.architecture.levels)
    return corrector


def _check_gains(args: argparse.Namespace, levels: int) -> None:
    if args.gains and len(args.gains) != levels:
        raise UsageError(f"--gains needs {levels} figures for these weights, got {len(args.gains)}")


def command_video(args: argparse.Namespace) -> int:
    require_pyav()
    smoothing = Smoothing(args.smoothing, args.every, threshold=args.scene_threshold)
    settings, encoding = _settings(args), Encoding(args.codec, args.crf)
    with tqdm(unit="frame", disable=args.quiet) as bar:

        def progress(seen: int, done: int, expected: int) -> None:
            bar.total = expected or None
            bar.set_postfix_str(f"looked at {seen}", refresh=False)
            bar.update(done - bar.n)

        summary = correct_video(
            args.input,
            args.output,
            SequenceCorrector(_corrector(args), settings, smoothing),
            cuts=args.cuts,
            one_correction=args.one_correction,
            encoding=encoding,
            overwrite=args.overwrite,
            progress=progress,
        )
    if summary.left_out:
        print(f"expcorr: {args.output}: cannot hold {', '.join(summary.left_out)}; left out", file=sys.stderr)
    if summary.stopped:
        print("expcorr: stopped; what was finished is kept", file=sys.stderr)
    if summary.problem:
        print(f"expcorr: {summary.problem}; what could be read is corrected", file=sys.stderr)
    if not args.quiet:
        print(f"{summary.frames} frames corrected: {args.output}")
    return 130 if summary.stopped else 1 if summary.problem else 0


def command_decompose(args: argparse.Namespace) -> int:
    photo = read_photo(args.input)
    bands = laplacian_pyramid(photo.to_tensor(), args.levels)
    for level, band in enumerate(bands, 1):
        residual = level == len(bands)
        # Bands are signed: zero is shown as mid-grey.
        shown = Photo.from_tensor(band if residual else band + 0.5)
        target = args.output / f"{args.input.stem}_{f'residual{level}' if residual else f'band{level}'}.png"
        write_photo(target, shown, args.overwrite)
        print(f"{target}  {band.shape[3]}x{band.shape[2]}")
    return 0


def command_evaluate(args: argparse.Namespace) -> int:
    settings = _settings(args)
    if args.csv and args.csv.exists() and not args.overwrite:
        raise UsageError(f"{args.csv} exists; add --overwrite or choose another name")
    pairs = find_pairs(args.inputs, args.targets, args.groups)
    scores = list(tqdm(evaluate(_corrector(args), pairs, settings), total=len(pairs), unit="pair", disable=args.quiet))
    print(f"{'group':<12}{'pairs':>6}{'PSNR':>9}{'SSIM':>8}")
    for group, (count, mean_psnr, mean_ssim) in summarise(scores).items():
        print(f"{group:<12}{count:>6}{mean_psnr:>9.2f}{mean_ssim:>8.3f}")
    if args.csv:
        with replacing(args.csv) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("name", "groups", "psnr", "ssim"))
            for score in scores:
                groups = " ".join(score.pair.groups)
                writer.writerow((score.pair.name, groups, f"{score.psnr:.4f}", f"{score.ssim:.5f}"))
        print(f"written: {args.csv}")
    return 0


def command_agree(args: argparse.Namespace) -> int:
    settings, corrector, scenes = _settings(args), _corrector(args), find_scenes(args.renderings)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for scene in tqdm(scenes.values(), unit="scene", disable=args.quiet):
        for exposures, figures in agreement(corrector, scene, settings, args.larger_side).items():
            found.setdefault(exposures, []).append(figures)
    print(f"{'exposures':<14}{'scenes':>7}{'inputs':>9}{'results':>9}")
    everything = [figures for part in found.values() for figures in part]
    for name, part in [*((_evs(key), part) for key, part in found.items()), ("all", everything)]:
        before, after = (sum(column) / len(part) for column in zip(*part, strict=True))
        print(f"{name:<14}{len(part):>7}{before:>9.2f}{after:>9.2f}")
    return 0


def _evs(exposures: Sequence[str]) -> str:
    return " ".join(f"{ev_of(exposure):+g}" for exposure in exposures)


def command_info(args: argparse.Namespace) -> int:
    path = args.weights or default_weights_path()
    description = {"file": path.name, "parameters": load_weights(path).parameter_count(), **read_metadata(path)}
    print(json.dumps(description, indent=2))
    return 0


def command_download(args: argparse.Namespace) -> int:
    print(download_weights(args.repository, args.file, args.revision, args.sha256))
    return 0


def _gains(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"gains are figures with commas between, as 1.5,1.5,1.5,1.05; got {text!r}"
        ) from error


def _cuts(text: str) -> frozenset[int]:
    try:
        return frozenset(int(value) for value in text.split(",") if value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"cuts are numbers of frames with commas between, as 0,250,612; got {text!r}"
        ) from error


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; give 1 or more")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="expcorr", description="Correct the exposure of photos and videos.")
    parser.add_argument("--version", action="version", version=f"expcorr {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    overwrite = argparse.ArgumentParser(add_help=False)
    overwrite.add_argument("--overwrite", action="store_true", help="replace existing output files")
    options = argparse.ArgumentParser(add_help=False, parents=[overwrite])
    options.add_argument("--weights", type=Path, help="weights file (default: the bundled ones)")
    options.add_argument("--strength", type=float, default=1.0, help="0 changes nothing, 1 is the full correction")
    options.add_argument("--gains", type=_gains, metavar="S1,..,Sn", help="pyramid band gains, finest first")
    options.add_argument("--fusion", action="store_true", help="fuse the result with the input (Mertens et al. 2007)")
    options.add_argument("--stretch", type=float, default=0.0, metavar="PERCENT", help="contrast stretch afterwards")
    options.add_argument("--working-size", type=int, default=WORKING_SIZE, metavar="PIXELS", help="default 512")
    options.add_argument(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average with the mirrored photo's correction: steadier, twice the network's time (default: on)",
    )
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
    correct.add_argument(
        "--metadata",
        choices=("all", "no-gps", "none"),
        default="all",
        help="what is kept: all, all but the places where photos were taken, or none (default all)",
    )
    correct.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    correct.add_argument("--report", type=Path, metavar="CSV", help=f"default: {REPORT} in the output folder")
    correct.add_argument(
        "--workers", type=_count, metavar="N", help="processes (default: all cores; none for a few photos)"
    )
    correct.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="work on a Ray cluster that sees the same folders (default: a local one); needs expcorr[ray]",
    )
    correct.set_defaults(run=command_correct)

    video = commands.add_parser("video", parents=[options], help="correct a video, without flicker")
    video.add_argument("input", type=Path, metavar="IN")
    video.add_argument(
        "output", type=Path, metavar="OUT", help="its suffix tells the format: .mp4, .mov, .mkv, .webm ..."
    )
    smoothing = Smoothing()
    video.add_argument(
        "--smoothing",
        type=float,
        default=smoothing.frames,
        metavar="FRAMES",
        help=f"time that corrections are smoothed over; 0: each frame on its own (default {smoothing.frames:g})",
    )
    video.add_argument(
        "--every", type=int, default=smoothing.every, metavar="K", help="the network sees every K-th frame (default 4)"
    )
    video.add_argument(
        "--scene-threshold",
        type=float,
        default=smoothing.threshold,
        metavar="SHARE",
        help="of a frame's contrast that the one before does not explain, from which on a scene begins (default 0.45)",
    )
    video.add_argument(
        "--cuts", type=_cuts, metavar="N,..", help="frames, from 0, that begin scenes (default: detected)"
    )
    video.add_argument("--one-correction", action="store_true", help="the same correction for the whole clip")
    video.add_argument("--codec", help="FFmpeg's name of an encoder (default: that of the input's codec)")
    video.add_argument(
        "--crf", type=float, help="rate factor: lower is better and larger (default 18 to 24, by encoder)"
    )
    video.set_defaults(run=command_video)

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

    agree = commands.add_parser(
        "agree", parents=[options], help="PSNR between the results of one scene's exposures (SCENE_N1.5, SCENE_0, ...)"
    )
    agree.add_argument("renderings", type=Path, metavar="DIR")
    agree.add_argument("--larger-side", type=int, default=WORKING_SIZE, metavar="PIXELS", help="default 512")
    agree.set_defaults(run=command_agree)

    download = commands.add_parser("download", help="fetch a weights file from the Hugging Face Hub; prints its path")
    download.add_argument("repository", nargs="?", default=REPOSITORY or None, metavar="OWNER/NAME")
    download.add_argument("--file", default=DEFAULT_NAME, help=f"default {DEFAULT_NAME}")
    download.add_argument("--revision", help="branch, tag or commit (default: the main branch)")
    download.add_argument("--sha256", help="checksum that the file must have")
    download.set_defaults(run=command_download)

    info = commands.add_parser("info", help="describe a weights file")
    info.add_argument("weights", type=Path, nargs="?", metavar="FILE", help="default: the bundled weights")
    info.set_defaults(run=command_info)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 1 something failed, 2 wrong arguments, 130 interrupted."""
    args = build_parser().parse_args(argv)
    prepare()
    try:
        return int(args.run(args))
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"expcorr: {str(error).partition(chr(10))[0]}", file=sys.stderr)
        return (
            2 if isinstance(error, ValueError) and not isinstance(error, ImageError | VideoError | WeightsError) else 1
        )
    except (KeyboardInterrupt, Stopped):
        print("expcorr: interrupted; finished photos are kept", file=sys.stderr)
        return 130
