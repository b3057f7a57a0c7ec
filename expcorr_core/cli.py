"""Command line: correct photos and videos, show pyramids, evaluate on pairs, download and describe weights files.

This module defines the arguments; :mod:`expcorr_core.commands` does the work and is loaded only when needed.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .hub import REPOSITORY, download_weights
from .method.weights_file import DEFAULT_NAME, weights_path
from .settings import FORMAT_NAMES, TIME_LIMIT, WELL_EXPOSED, WORKING_SIZE, Settings, Smoothing, UsageError


def _gains(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"gains are numbers separated by commas, such as 1.5,1.5,1.5,1.05; got {text!r}"
        ) from error


def _cuts(text: str) -> frozenset[int]:
    try:
        return frozenset(int(value) for value in text.split(",") if value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"cuts are frame numbers separated by commas, such as 0,250,612; got {text!r}"
        ) from error


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _from_zero(text: str, problem: str) -> float:
    """A finite number from 0 up; ``problem`` says what the text is not."""
    try:
        if 0 <= float(text) < math.inf:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} {problem}")


def _seconds(text: str) -> float:
    return _from_zero(text, "is not a time; give seconds, or 0 for no limit")


def _stops(text: str) -> float:
    return _from_zero(text, "is not a number of stops from 0 up")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="expcorr", description="Corrects over- and under-exposed photos and videos.")
    parser.add_argument("--version", action="version", version=f"expcorr {__version__}")
    parser.set_defaults(run=_run)
    commands = parser.add_subparsers(dest="command", required=True)

    overwrite = argparse.ArgumentParser(add_help=False)
    overwrite.add_argument("--overwrite", action="store_true", help="replace existing output files")
    options = argparse.ArgumentParser(add_help=False, parents=[overwrite])
    options.add_argument(
        "--weights",
        type=weights_path,
        help="weights file, or paper for the network of the paper (default: the bundled default weights)",
    )
    options.add_argument(
        "--strength", type=float, default=Settings.strength, help="0 changes nothing, 1 is the full correction"
    )
    options.add_argument(
        "--gains", type=_gains, metavar="S1,..,Sn", help="gain for each level of the pyramid, finest first"
    )
    options.add_argument(
        "--fusion",
        action="store_true",
        help="blend the result with the input, keeping what was well exposed there (Mertens et al. 2007)",
    )
    options.add_argument(
        "--stretch",
        type=float,
        default=Settings.stretch,
        metavar="PERCENT",
        help="stretch the contrast afterwards, clipping this share at each end",
    )
    options.add_argument(
        "--working-size",
        type=int,
        default=WORKING_SIZE,
        metavar="PIXELS",
        help=f"longer side of the copy that the network sees (default {WORKING_SIZE})",
    )
    options.add_argument(
        "--flip",
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=Settings.flip,
        help="average with the mirrored photo's correction: more consistent, twice the network's time (default: on)",
    )
    options.add_argument(
        "--max-stops",
        type=_stops,
        metavar="STOPS",
        help="brighten or darken no pixel by more than this, in linear light (default: no limit)",
    )
    options.add_argument(
        "--highlight-guard",
        action=argparse.BooleanOptionalAction,
        default=Settings.keep_highlights,
        help="clip nothing that was below white (default: on)",
    )
    options.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:1, mps; with --runtime onnx: auto, cpu, cuda, directml, coreml, openvino "
        "(default auto)",
    )
    options.add_argument("--quiet", action="store_true", help="no progress bar")

    runs = argparse.ArgumentParser(add_help=False)
    runs.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("corrected"),
        help="output folder, or a file name, or - for standard output, if there is one photo (default: corrected/)",
    )
    runs.add_argument(
        "--format",
        choices=FORMAT_NAMES,
        help="format to write (default: that of each photo, or of the file name given with -o)",
    )
    runs.add_argument("--compare", action="store_true", help="also write NAME_compare, which shows before and after")
    runs.add_argument(
        "--metadata",
        choices=("all", "no-gps", "none"),
        default="all",
        help="metadata to keep: all, all except locations, or none (default all)",
    )
    runs.add_argument("--dry-run", action="store_true", help="show what would be done without doing it")
    runs.add_argument(
        "--report",
        type=Path,
        metavar="CSV",
        help="where to write the report (default: in the output folder, if there are several photos)",
    )
    runs.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="number of processes (default: one per core; none for a few photos); fewer are used if memory is short",
    )
    runs.add_argument(
        "--time-limit",
        type=_seconds,
        default=TIME_LIMIT,
        metavar="SECONDS",
        help="abandon a photo after this time, plus as much again for every 50 megapixels (default 300; 0: no limit; "
        "there is no limit if no processes are started)",
    )
    runs.add_argument(
        "--runtime",
        choices=("torch", "onnx"),
        help="what computes: PyTorch, or ONNX Runtime, which is smaller but cannot do everything (default: torch where "
        "it is installed)",
    )
    runs.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="use a Ray cluster that has access to the same folders (default: a local one); needs expcorr[ray]",
    )

    correct = commands.add_parser("correct", parents=[options, runs], help="correct photos, folders and glob patterns")
    correct.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="photo, folder (including subfolders) or glob pattern; - for standard input",
    )
    correct.add_argument(
        "--series",
        action="store_true",
        help="correct the photos as one series: those of one scene get one look, and time-lapses do not flicker",
    )
    correct.add_argument(
        "--like",
        type=Path,
        action="append",
        metavar="PHOTO",
        help="with --series: a photo that is right as it is, whose look the others of its scene get; may be repeated",
    )
    correct.add_argument(
        "--fuse",
        action="store_true",
        help="with --series: also write NAME_fused for each exposure bracket: its photos, aligned and fused",
    )
    correct.add_argument(
        "--watch",
        action="store_true",
        help="watch one folder: correct what is in it and what comes, until Ctrl-C; needs expcorr[watch] to be quick",
    )
    correct.add_argument(
        "--settle",
        type=_seconds,
        default=2.0,
        metavar="SECONDS",
        help="with --watch: a file is complete when it has not changed for this long (default 2)",
    )
    correct.add_argument(
        "--give-up",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="with --watch: a photo that cannot be corrected has failed when it has not changed for this long "
        "(default 60)",
    )
    correct.add_argument(
        "--poll",
        type=_seconds,
        metavar="SECONDS",
        help="with --watch: list the folder this often, for network drives (default: the system tells of changes)",
    )
    correct.add_argument(
        "--well-exposed",
        choices=("correct", "copy", "skip"),
        default="correct",
        help="what to do with photos that need no correction: treat them like all, copy their files unchanged, or "
        "leave them out (default correct)",
    )
    correct.add_argument(
        "--well-exposed-within",
        type=_stops,
        default=WELL_EXPOSED,
        metavar="STOPS",
        help="they are those whose brightness the correction would change by less than this in most places "
        f"(default {WELL_EXPOSED:g})",
    )
    correct.add_argument(
        "--lut",
        choices=("cube", "hald"),
        help="also write the correction as a look-up table, sRGB to sRGB: NAME.cube, or NAME_hald.png (a HaldCLUT)",
    )
    correct.add_argument(
        "--xmp", action="store_true", help="also write it as tone curves for Camera Raw and Lightroom: NAME.xmp"
    )
    correct.add_argument(
        "--grid", action="store_true", help="also write it as it was found, for expcorr apply: NAME.safetensors"
    )

    apply = commands.add_parser(
        "apply",
        parents=[overwrite, runs],
        help="apply a correction that correct --grid wrote to renditions of the photo",
    )
    apply.add_argument("grid", type=Path, metavar="GRID", help="file with the correction, NAME.safetensors")
    apply.add_argument(
        "inputs", nargs="+", metavar="PHOTO", help="the same photo, in any size or format, but not cropped otherwise"
    )
    apply.add_argument("--strength", type=float, help="0 changes nothing, 1 is the full correction (default: as found)")
    apply.add_argument("--quiet", action="store_true", help="no progress bar")

    video = commands.add_parser("video", parents=[options], help="correct a video, without flicker")
    video.add_argument("input", type=Path, metavar="IN", help="video to correct")
    video.add_argument(
        "output", type=Path, metavar="OUT", help="video to write; its suffix sets its format: .mp4, .mov, .mkv, .webm"
    )
    video.add_argument(
        "--smoothing",
        type=float,
        default=Smoothing.frames,
        metavar="FRAMES",
        help=f"number of frames to smooth corrections over; 0: each frame on its own (default {Smoothing.frames:g})",
    )
    video.add_argument(
        "--keyframe-every",
        "--every",
        dest="every",
        type=int,
        default=Smoothing.every,
        metavar="K",
        help=f"run the network on every K-th frame only (default {Smoothing.every})",
    )
    video.add_argument(
        "--scene-threshold",
        type=float,
        default=Smoothing.threshold,
        metavar="SHARE",
        help="a new scene begins where the previous frame leaves at least this share of a frame's contrast unexplained "
        f"(default {Smoothing.threshold:g})",
    )
    video.add_argument(
        "--cuts", type=_cuts, metavar="N,..", help="first frames of scenes, counted from 0 (default: detected)"
    )
    video.add_argument("--one-correction", action="store_true", help="use the same correction for the whole clip")
    video.add_argument("--codec", help="FFmpeg's name for an encoder (default: one for the input's codec)")
    video.add_argument(
        "--crf",
        type=float,
        help="rate factor: lower gives better quality and larger files (default 18 to 24, depending on the encoder)",
    )
    video.add_argument(
        "--metadata",
        choices=("all", "no-gps", "none"),
        default="all",
        help="tags to keep: all, all except locations, or none (default all)",
    )

    serve = commands.add_parser("serve", help="correct photos that come by HTTP")
    serve.set_defaults(gains=None)
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to serve on (default 127.0.0.1: this computer only)"
    )
    serve.add_argument("--port", type=int, default=8080, help="port to serve on; 0 for any that is free (default 8080)")
    serve.add_argument("--token", help="what requests must bring (default: the variable EXPCORR_TOKEN, or nothing)")
    serve.add_argument("--weights", type=weights_path, help="weights file, or paper (default: the bundled ones)")
    serve.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    serve.add_argument("--workers", type=_count, metavar="N", help="number of processes (default: one per core)")
    serve.add_argument("--queue", type=_count, default=8, metavar="N", help="requests that may wait (default 8)")
    serve.add_argument("--max-megabytes", type=_count, default=100, metavar="N", help="largest request (default 100)")
    serve.add_argument("--max-megapixels", type=_count, default=100, metavar="N", help="largest photo (default 100)")
    serve.add_argument(
        "--rate", type=int, default=600, metavar="N", help="requests a minute from one address; 0: any (default 600)"
    )
    serve.add_argument(
        "--time-limit",
        type=_seconds,
        default=TIME_LIMIT,
        metavar="SECONDS",
        help="abandon a photo after this time, plus as much again for every 50 megapixels (default 300; 0: no limit)",
    )

    app = commands.add_parser("app", help="correct photos on a page in the browser")
    app.set_defaults(gains=None)
    app.add_argument("--port", type=int, default=0, help="port to serve on; 0 for any that is free (default)")
    app.add_argument("--no-browser", action="store_true", help="only print the page's address")
    app.add_argument("--weights", type=weights_path, help="weights file, or paper (default: both, to choose from)")
    app.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")

    decompose = commands.add_parser(
        "decompose", parents=[overwrite], help="write the levels of a photo's Laplacian pyramid as pictures"
    )
    decompose.add_argument("input", type=Path, metavar="INPUT", help="photo")
    decompose.add_argument("-o", "--output", type=Path, default=Path("bands"), help="folder (default: bands/)")
    decompose.add_argument("--levels", type=_count, default=4, help="number of levels (default 4)")

    evaluation = commands.add_parser(
        "evaluate",
        parents=[options],
        help="PSNR and SSIM of corrected inputs against their targets; their brightness, chroma and whites",
    )
    evaluation.add_argument("inputs", type=Path, metavar="INPUT_DIR", help="folder of photos to correct")
    evaluation.add_argument("targets", type=Path, metavar="GT_DIR", help="folder of their targets, with the same names")
    evaluation.add_argument(
        "--groups", type=Path, metavar="CSV", help="groups of pairs (default: pairs.csv next to INPUT_DIR)"
    )
    evaluation.add_argument("--csv", type=Path, help="also write the values for each pair")

    consistency = commands.add_parser(
        "consistency",
        aliases=["agree"],
        parents=[options],
        help="PSNR between the corrections of different exposures of one scene (SCENE_N1.5, SCENE_0, ...)",
    )
    consistency.set_defaults(command="consistency")
    consistency.add_argument("renderings", type=Path, metavar="DIR", help="folder of the scenes' photos")
    consistency.add_argument(
        "--larger-side",
        type=_count,
        default=WORKING_SIZE,
        metavar="PIXELS",
        help=f"size to compare at (default {WORKING_SIZE})",
    )

    download = commands.add_parser(
        "download", help="download a weights file from the Hugging Face Hub and print its path"
    )
    download.add_argument(
        "repository", nargs="?", default=REPOSITORY or None, metavar="OWNER/NAME", help="the repository"
    )
    download.add_argument("--file", default=DEFAULT_NAME, help=f"file in the repository (default {DEFAULT_NAME})")
    download.add_argument("--revision", help="branch, tag or commit (default: the main branch)")
    download.add_argument("--sha256", help="checksum that the file must match")
    download.set_defaults(run=_download)

    info = commands.add_parser("info", help="describe a weights file")
    info.add_argument(
        "weights", type=weights_path, nargs="?", metavar="FILE", help="or paper (default: the bundled default weights)"
    )
    return parser


def _run(args: argparse.Namespace) -> int:
    """Check what can be checked of the arguments, load what the command needs, and run it."""
    try:
        if "working_size" in args:
            args.settings = Settings(
                strength=args.strength,
                gains=args.gains,
                fusion=args.fusion,
                stretch=args.stretch,
                working_size=args.working_size,
                flip=args.flip,
                max_stops=args.max_stops,
                keep_highlights=args.highlight_guard,
            )
        if "smoothing" in args:
            args.smoothing = Smoothing(args.smoothing, args.every, threshold=args.scene_threshold)
    except ValueError as error:
        raise UsageError(str(error)) from error
    from . import commands

    return commands.run(args)


def _download(args: argparse.Namespace) -> int:
    print(download_weights(args.repository, args.file, args.revision, args.sha256))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0 done, 1 something failed, 2 wrong arguments, 130 interrupted, 141 the reader of standard output
        has gone.
    """
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:  # the parser of all commands does not know the options of this one
        parser.error(f"unrecognized arguments: {' '.join(unknown)}; see: expcorr {args.command} --help")
    try:
        code = int(args.run(args))
        if sys.stdout:
            sys.stdout.flush()  # else a broken pipe shows only at the interpreter's end
        return code
    except BrokenPipeError:  # as if SIGPIPE had ended the process, which is what shells expect
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None  # else the message says what to do
        text = f"{missing} is not installed; pip install 'expcorr[standalone]'" if missing else str(error)
        print(f"expcorr: {text.partition(chr(10))[0]}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("expcorr: interrupted; finished photos are kept", file=sys.stderr)
        return 130
