"""The commands of the command line, separate from their arguments because these modules take seconds to load."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from .batch.bulk import Job, Work, correct_all, journal_of, plan, prepare
from .batch.inputs import check_folder, find_inputs, is_bulk, is_one_photo, plan_jobs, unread
from .batch.outcome import BEFORE, FAILED, REPORT, Outcome, is_report, write_report
from .batch.pipes import PIPE, correct_piped
from .batch.pool import Stopped
from .corrections.grid_file import load_grid
from .files import remove_leftovers, replacing
from .image.report import exposure_in_words
from .machine import cores
from .method.weights_file import read_metadata, weights_path
from .photos.newer import require
from .photos.photo import Photo
from .photos.reading import missing, read_photo
from .photos.writing import write_photo
from .runtimes import ONNX, TORCH, choose_runtime, corrector_of, onnx_device, pick_device
from .settings import WELL_EXPOSED, Settings, UsageError

if TYPE_CHECKING:
    from .corrector import Corrector

FEW = 8  # fewer photos than this are corrected in this process
MANY = 1000  # photos from which on putting them together takes so long that it is said
GPU_WORKERS = 2  # processes that share a GPU: one decodes while the other computes


def command_correct(args: argparse.Namespace) -> int:
    sidecars = [kind for kind, wanted in ((args.lut, args.lut), ("xmp", args.xmp), ("grid", args.grid)) if wanted]
    runtime = choose_runtime(args.runtime, args.weights)
    if runtime == ONNX:
        _refuse(args, ("series",), "ONNX Runtime; pip install 'expcorr[standalone]' for PyTorch")
        device = onnx_device(args.device, args.weights, args.settings)
    else:
        device = str(_corrector(args).device)
    work = Work(
        settings=args.settings,
        weights=args.weights,
        runtime=runtime,
        device=device,
        well_exposed=args.well_exposed,
        within=args.well_exposed_within,
    )
    if args.watch:
        return _watch(args, work, sidecars)
    return _correct_photos(args, work, sidecars)


def command_apply(args: argparse.Namespace) -> int:
    runtime = choose_runtime(args.runtime)
    settings = load_grid(args.grid, arrays=True).settings
    if args.strength is not None:
        try:
            settings = replace(settings, strength=args.strength)
        except ValueError as error:
            raise UsageError(str(error)) from error
    return _correct_photos(args, Work(settings=settings, grid=args.grid, runtime=runtime))


def _correct_photos(args: argparse.Namespace, work: Work, sidecars: Sequence[str] = ()) -> int:
    if args.format:
        require(args.format.upper(), f"the format {args.format}")  # before the work, not after its first photo
    if PIPE in args.inputs or str(args.output) == PIPE:
        return _correct_piped(args, work, sidecars)
    bulk = is_bulk(args.inputs)
    series = args.command == "correct" and args.series
    for option in ("like", "fuse") if args.command == "correct" and not series else ():
        if getattr(args, option):
            raise UsageError(f"--{option} is for photos that are corrected as a series; add --series")
    if series:
        _refuse(args, ("dry_run",), "--series: what becomes of a photo depends on the others")
        if not bulk:
            raise UsageError(f"--series needs several photos or a folder, and {args.inputs[0]} is one photo")
    one_file = is_one_photo(args.output)
    jobs: Sequence[Job] = plan_jobs(
        find_inputs(args.inputs, args.output), args.output, args.compare, args.format, sidecars
    )
    work = _told(work, args, None if one_file else args.output, resume=bulk)
    others, lacking = unread(args.inputs, args.output), missing()
    for reason in dict.fromkeys(lacking.get(suffix, "") for suffix in others):
        counts = ", ".join(f"{count} {suffix}" for suffix, count in others.items() if lacking.get(suffix, "") == reason)
        why = f"a package is missing: {counts}; they need {reason}"
        why = why if reason else f"their formats cannot be read: {counts}; convert them first"
        print(f"expcorr: skipped, because {why}", file=sys.stderr)
    if args.dry_run:
        return _show_plan(jobs, work)
    report = args.report or (args.output / REPORT if bulk and not one_file else None)
    if report and any(os.path.realpath(report) == os.path.realpath(job.source) for job in jobs):
        raise UsageError(f"{report} is an input and would be replaced; choose another name with --report")
    if report and os.path.lexists(report) and not (args.overwrite or is_report(report)):
        raise UsageError(f"{report} exists and is not a report of an earlier run; choose another name with --report")
    if bulk:
        remove_leftovers(args.output)
    found: dict[str, Outcome] = {}
    try:
        if series:
            jobs = _as_series(jobs, work, args)
        with tqdm(total=len(jobs), unit="photo", disable=args.quiet) as bar:
            for outcome in _outcomes(jobs, work, args):
                found[outcome.source] = outcome
                bar.update()
                bar.set_postfix_str(Path(outcome.target).name)
                if outcome.error:
                    bar.write(f"expcorr: {outcome.error}", file=sys.stderr)
                if outcome.left_out and len(jobs) < FEW:
                    bar.write(f"expcorr: {outcome.target}: left out: {', '.join(outcome.left_out)}", file=sys.stderr)
                if len(jobs) < FEW and not args.quiet:
                    for fit in _fits(outcome):
                        bar.write(f"{outcome.target}: {fit}")
    except Stopped as stopped:
        raise KeyboardInterrupt from stopped
    finally:  # after a stop too
        outcomes = [found[job.name] for job in jobs if job.name in found]
        if bulk:
            remove_leftovers(args.output)  # of workers that were killed
        if report:
            write_report(report, outcomes)
    return _conclude(outcomes, report, args)


def _told(work: Work, args: argparse.Namespace, output: Path | None, resume: bool) -> Work:
    """The work with what the arguments say of files."""
    return replace(
        work,
        output=output,
        metadata=args.metadata,
        overwrite=args.overwrite,
        resume=resume,
        time_limit=args.time_limit,
    )


def _refuse(args: argparse.Namespace, names: Sequence[str], where: str) -> None:
    """Raise UsageError for options that cannot be used somewhere."""
    for name in names:
        if getattr(args, name) not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} cannot be used with {where}")


def _correct_piped(args: argparse.Namespace, work: Work, sidecars: Sequence[str]) -> int:
    """Correct one photo from standard input or to standard output; all messages go to standard error."""
    output, named = str(args.output), Path(args.inputs[0])
    stream = "standard output" if output == PIPE else "standard input"
    if args.command == "correct":
        _refuse(args, ("series",), f"{stream} (-), which takes one photo")
    _refuse(args, ("compare", "report", "dry_run", "workers", "ray"), f"{stream} (-); name files instead")
    if sidecars or work.well_exposed == "skip":
        option = "--well-exposed skip" if not sidecars else "--lut" if args.lut else f"--{sidecars[0]}"
        raise UsageError(f"{option} cannot be used with {stream} (-); name files instead")
    if len(args.inputs) > 1:
        raise UsageError(f"{stream} (-) takes one photo, but there are {len(args.inputs)} inputs")
    if output == PIPE and args.inputs != [PIPE] and is_bulk(args.inputs):
        raise UsageError(f"{named} is more than one photo; standard output (-) takes one")
    if output != PIPE and not is_one_photo(args.output):
        raise UsageError(
            f"a photo from standard input has no name, and {output} names no photo; give one with -o photo.jpg, or -o -"
        )
    outcome = correct_piped(args.inputs[0], output, _told(work, args, None, resume=False), args.format)
    if outcome.error:
        print(f"expcorr: {outcome.error}", file=sys.stderr)
    if outcome.left_out:
        print(f"expcorr: {outcome.target}: left out: {', '.join(outcome.left_out)}", file=sys.stderr)
    return int(bool(outcome.error))


def _say(text: str) -> None:
    """Print a line for a log."""
    print(f"expcorr: {text}", file=sys.stderr, flush=True)


def _watch(args: argparse.Namespace, work: Work, sidecars: Sequence[str]) -> int:
    """Correct what comes into a folder, until Ctrl-C or SIGTERM."""
    from .batch.watching import Watch

    _refuse(args, ("report", "dry_run", "ray", "series"), "--watch")
    if len(args.inputs) > 1:
        raise UsageError(f"--watch takes one folder, but there are {len(args.inputs)} inputs")
    if args.format:
        require(args.format.upper(), f"the format {args.format}")
    check_folder(args.output)
    work = _told(work, args, args.output, resume=True)
    workers = args.workers or (None if work.device == "cpu" else GPU_WORKERS)
    watch = Watch(
        Path(args.inputs[0]),
        work,
        compare=args.compare,
        form=args.format,
        sidecars=sidecars,
        workers=workers,
        settle=args.settle,
        give_up=args.give_up,
        poll=args.poll,
        say=_say,
    )
    counts = Counter[str]()
    for outcome in watch.run():
        counts[outcome.status] += 1
        if outcome.error:
            _say(outcome.error)
        elif outcome.status != BEFORE and not args.quiet:
            print(f"{outcome.status} {outcome.source} -> {outcome.target} ({outcome.seconds:.1f} s)", flush=True)
        if outcome.left_out:
            _say(f"{outcome.target}: left out: {', '.join(outcome.left_out)}")
    _say("stopped: " + (", ".join(f"{count} {status}" for status, count in counts.items()) or "no photos came"))
    return 0


def _outcomes(jobs: Sequence[Job], work: Work, args: argparse.Namespace) -> Iterator[Outcome]:
    if args.ray is not None:
        from .batch.ray import correct_on_ray

        return correct_on_ray(jobs, work, args.ray, args.workers)
    return correct_all(jobs, work, _workers(jobs, work, args))


def _workers(jobs: Sequence[Job], work: Work, args: argparse.Namespace) -> int:
    if args.workers is not None:
        return int(args.workers)
    # Starting processes takes longer than a few photos.
    most = cores() if work.device == "cpu" else GPU_WORKERS
    return min(len(jobs), most) if len(jobs) >= FEW else 0


def _as_series(jobs: Sequence[Job], work: Work, args: argparse.Namespace) -> Sequence[Job]:
    """Look at the photos, and find out which belong together."""
    from .batch.series import as_series, fused_jobs, look_at_all

    by_place = {os.path.realpath(job.source): job for job in jobs}
    right = [by_place.get(os.path.realpath(path)) or Job(path, path) for path in args.like or ()]
    for job in right:
        if not job.source.is_file():
            raise UsageError(f"{job.source}, given with --like, is no file; check the name")
    if args.ray is not None:
        from .batch.ray import look_on_ray

        looks = look_on_ray(jobs, right, work, args.ray, args.workers)
    else:
        looks = look_at_all(jobs, right, work, _workers(jobs, work, args))
    total = len({*jobs, *right})
    looked = list(tqdm(looks, "looking at the photos", total, unit="photo", disable=args.quiet))
    seen = {found.source for found in looked if found.look}
    for job in right:
        if str(job.source) not in seen:
            raise UsageError(f"{job.source}, given with --like, cannot be read as a photo; choose another")
    if len(looked) >= MANY and not args.quiet:
        _say("finding out which photos belong together: some minutes for 10,000")
    series = as_series(jobs, right, looked)
    for path in series.unlike:
        print(f"expcorr: {path}, given with --like, shows no scene of the others; it changes nothing", file=sys.stderr)
    if not args.quiet:
        print(f"series: {series}")
    if args.fuse and not series.brackets:
        print("expcorr: no exposure brackets were found, so nothing is fused", file=sys.stderr)
    return [*series.jobs, *(fused_jobs(series) if args.fuse else ())]


def _show_plan(jobs: Sequence[Job], work: Work) -> int:
    outcomes = [plan(job, work, entry) for job, entry in zip(jobs, journal_of(jobs, work), strict=True)]
    for outcome in outcomes:
        print(f"{outcome.status:<12}{outcome.source} -> {outcome.target}{': ' if outcome.error else ''}{outcome.error}")
    print(_counted(outcomes))
    return int(any(outcome.status == FAILED for outcome in outcomes))


def _counted(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.status for outcome in outcomes)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _conclude(outcomes: Sequence[Outcome], report: Path | None, args: argparse.Namespace) -> int:
    failed = sum(outcome.status == FAILED for outcome in outcomes)
    if len(outcomes) >= FEW:
        for name, count in Counter(name for outcome in outcomes for name in outcome.left_out).most_common():
            print(f"expcorr: {name}: left out of {count} photos", file=sys.stderr)
    if failed and len(outcomes) > 1:
        print(f"expcorr: {failed} of {len(outcomes)} photos failed", file=sys.stderr)
    if len(outcomes) >= FEW and not args.quiet:
        for name, values in (("LUT", [o.lut for o in outcomes]), ("Camera Raw settings", [o.xmp for o in outcomes])):
            if known := [value for value in values if value is not None]:
                print(f"{name}: {sum(known) / len(known):.1f} dB PSNR from the corrected photos in the mean")
    apart = [(o.apart_alone, o.apart) for o in outcomes if o.apart_alone is not None and o.apart is not None]
    if apart and not args.quiet:
        alone, now = (sum(values) / len(apart) for values in zip(*apart, strict=True))
        print(f"results of a scene are {now:.1f} of 255 from what they agree on; one by one it would be {alone:.1f}")
    if not args.quiet and failed < len(outcomes):
        place = outcomes[0].target if len(outcomes) == 1 else args.output
        words = ""
        if len(outcomes) == 1 and (exposure := outcomes[0].exposure) is not None:
            words = f"; the photo was {exposure_in_words(exposure, WELL_EXPOSED, outcomes[0].probability)}"
        print(f"{_counted(outcomes)}: {place}{words}" + (f"; report: {report}" if report else ""))
    return 1 if failed else 0


def _fits(outcome: Outcome) -> list[str]:
    """How close the sidecars of a photo come to it, in words."""
    found = (("LUT", outcome.lut), ("Camera Raw settings", outcome.xmp))
    return [f"{name}: {value:.1f} dB PSNR from the corrected photo" for name, value in found if value is not None]


def _corrector(args: argparse.Namespace) -> Corrector:
    """The corrector that the arguments ask for; a bulk run in this process uses the same one.

    Raises:
        UsageError: the device cannot be used, or the gains do not fit the weights.
        WeightsError: the weights cannot be loaded.
    """
    from .corrector import Corrector
    from .method.global_level import GlobalNetwork

    corrector = corrector_of(args.weights, pick_device(args.device), TORCH)
    assert isinstance(corrector, Corrector)
    if args.gains:
        if isinstance(corrector.network, GlobalNetwork):
            raise UsageError("--gains needs a network with pyramid levels; add --weights paper")
        levels = corrector.network.architecture.levels
        if len(args.gains) != levels:
            raise UsageError(f"--gains needs {levels} numbers for these weights, got {len(args.gains)}")
    return corrector


def _check_new(path: Path, overwrite: bool) -> None:
    """Raise UsageError where a file would be replaced."""
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists; add --overwrite or choose another name")


def command_video(args: argparse.Namespace) -> int:
    from .video.files import Encoding, correct_video, require_pyav
    from .video.sequence import SequenceCorrector

    require_pyav()
    _check_new(args.output, args.overwrite)
    with tqdm(unit="frame", disable=args.quiet) as bar:

        def progress(seen: int, done: int, expected: int) -> None:
            bar.total = expected or None
            bar.set_postfix_str(f"analysed {seen}", refresh=False)
            bar.update(done - bar.n)

        summary = correct_video(
            args.input,
            args.output,
            SequenceCorrector(_corrector(args), args.settings, args.smoothing),
            cuts=args.cuts,
            one_correction=args.one_correction,
            encoding=Encoding(args.codec, args.crf),
            metadata=args.metadata,
            overwrite=args.overwrite,
            progress=progress,
        )
    if summary.left_out:
        print(f"expcorr: {args.output}: left out: {', '.join(summary.left_out)}", file=sys.stderr)
    for note in summary.notes:
        print(f"expcorr: {args.output}: {note}", file=sys.stderr)
    if summary.stopped:
        print("expcorr: stopped; the finished part is kept", file=sys.stderr)
    if summary.problem:
        print(f"expcorr: {summary.problem}; the readable part was corrected", file=sys.stderr)
    if not args.quiet:
        print(f"{summary.frames} frames corrected: {args.output}")
    return 130 if summary.stopped else 1 if summary.problem else 0


def command_serve(args: argparse.Namespace) -> int:
    from .serve.commands import serve_photos

    device = str(_corrector(args).device)
    serve_photos(args, device, args.workers or (cores() if device == "cpu" else GPU_WORKERS), _say)
    return 0


def command_app(args: argparse.Namespace) -> int:
    from .serve.commands import show_page

    runtime = choose_runtime(None, args.weights)
    onnx = runtime == ONNX
    device = onnx_device(args.device, args.weights, Settings()) if onnx else str(_corrector(args).device)
    show_page(args, Work(device=device, runtime=runtime), _say)
    return 0


def command_decompose(args: argparse.Namespace) -> int:
    from .method.pyramid import laplacian_pyramid

    names = [*(f"band{level}" for level in range(1, args.levels)), f"residual{args.levels}"]
    targets = [args.output / f"{args.input.stem}_{name}.png" for name in names]
    check_folder(args.output)
    for target in targets:
        _check_new(target, args.overwrite)
    bands = laplacian_pyramid(read_photo(args.input).to_tensor(), args.levels)
    for target, band in zip(targets, bands, strict=True):
        # Bands are signed: zero is shown as mid-grey.
        shown = Photo.from_tensor(band if band is bands[-1] else band + 0.5)
        write_photo(target, shown, args.overwrite)
        print(f"{target}  {band.shape[3]}x{band.shape[2]}")
    return 0


def command_evaluate(args: argparse.Namespace) -> int:
    from .data.evaluation import evaluate, summarise
    from .data.pairs import find_pairs
    from .image.metrics import require_ssim

    require_ssim()  # before the work, not after its first pair
    if args.csv:
        _check_new(args.csv, args.overwrite)
    pairs = find_pairs(args.inputs, args.targets, args.groups)
    scores = list(
        tqdm(evaluate(_corrector(args), pairs, args.settings), total=len(pairs), unit="pair", disable=args.quiet)
    )
    print(f"{'group':<12}{'pairs':>6}{'PSNR':>9}{'SSIM':>8}{'brightness':>12}{'chroma':>8}  whites, mean and least")
    for group, of in summarise(scores).items():
        whites = "" if of.whites is None else f"  {of.whites:.3f} {of.least_whites:.3f}"
        figures = f"{of.psnr:>9.2f}{of.ssim:>8.3f}{of.brightness:>12.3f}{of.chroma:>8.3f}"
        print(f"{group:<12}{of.pairs:>6}{figures}{whites}")
    if args.csv:
        with replacing(args.csv) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("name", "groups", "psnr", "ssim", "brightness", "chroma", "whites"))
            for score in scores:
                shares = (found / max(wanted, 1e-9) for found, wanted in zip(score.look, score.wanted, strict=True))
                whites = "" if score.whites is None else f"{score.whites:.4f}"
                row = (f"{score.psnr:.4f}", f"{score.ssim:.5f}", *(f"{share:.4f}" for share in shares), whites)
                writer.writerow((score.pair.name, " ".join(score.pair.groups), *row))
        print(f"written: {args.csv}")
    return 0


def command_consistency(args: argparse.Namespace) -> int:
    from .data.evaluation import consistency
    from .data.pairs import find_scenes

    corrector, scenes = _corrector(args), find_scenes(args.renderings)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for scene in tqdm(scenes.values(), unit="scene", disable=args.quiet):
        for exposures, values in consistency(corrector, scene, args.settings, args.larger_side).items():
            found.setdefault(exposures, []).append(values)
    print(f"{'exposures':<14}{'scenes':>7}{'inputs':>9}{'results':>9}")
    everything = [values for part in found.values() for values in part]
    for name, part in [*((_evs(key), part) for key, part in found.items()), ("all", everything)]:
        before, after = (sum(column) / len(part) for column in zip(*part, strict=True))
        print(f"{name:<14}{len(part):>7}{before:>9.2f}{after:>9.2f}")
    return 0


def _evs(exposures: Sequence[str]) -> str:
    from .data.pairs import ev_of

    return " ".join(f"{ev_of(exposure):+g}" for exposure in exposures)


def command_info(args: argparse.Namespace) -> int:
    from .method.weights import load_weights

    path = weights_path(args.weights)
    description = {"file": path.name, "parameters": load_weights(path).parameter_count(), **read_metadata(path)}
    print(json.dumps(description, indent=2))
    return 0


COMMANDS = {
    "correct": command_correct,
    "apply": command_apply,
    "video": command_video,
    "serve": command_serve,
    "app": command_app,
    "decompose": command_decompose,
    "evaluate": command_evaluate,
    "consistency": command_consistency,
    "info": command_info,
}


def run(args: argparse.Namespace) -> int:
    """Run the command of these arguments, whose ``settings`` and ``smoothing`` are checked; returns the exit code."""
    prepare()
    return COMMANDS[args.command](args)
