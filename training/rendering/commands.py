"""What the commands that make data sets have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from expcorr_core.batch.pool import Stopped
from expcorr_core.data.pairs import suffix_of
from expcorr_core.machine import cores
from expcorr_core.photos.reading import ImageError, find_photos

from .build import Maker, Options, build
from .scenes import PAPER_SCENES


def add_arguments(parser: argparse.ArgumentParser, evs: Sequence[float], size: int | None, size_help: str) -> None:
    """Add the arguments for output, exposures, splits and processes."""
    total = sum(PAPER_SCENES.values())
    parser.add_argument("out", type=Path, help="folder of the data set, new or to be resumed")
    parser.add_argument(
        "--evs", type=float, nargs="+", default=list(evs), metavar="EV",
        help=f"exposures in stops (default {' '.join(f'{ev:g}' for ev in evs)}; less than 10)",
    )  # fmt: skip
    parser.add_argument("--size", type=int, default=size, help=size_help)
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (default 0)")
    parser.add_argument("--splits", type=Path, metavar="LIST",
        help="CSV with columns scene and split, or a copy of a data set: scenes in it keep its split")  # fmt: skip
    for part in ("validation", "testing"):
        share = PAPER_SCENES[part] / total
        parser.add_argument(
            f"--{part}", type=float, default=share, metavar="SHARE",
            help=f"share of the scenes, 0..1 (default {share:.3f}, the paper's)",
        )  # fmt: skip
    parser.add_argument("--workers", type=int, default=cores(), help="number of processes (default: one per core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def find_sources(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """All files with one of the suffixes, also in subfolders, sorted.

    Raises:
        ImageError: see :func:`~.reading.find_photos`; a name is not UTF-8, or two files would make scenes with the same
            name.
    """
    paths = find_photos(folder, recursive=True, suffixes=suffixes)
    first: dict[str, Path] = {}
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise ImageError(f"{str(path)!a} has a name that is not in UTF-8; rename it") from error
        # Some file systems do not distinguish upper and lower case.
        if (other := first.setdefault(path.stem.casefold(), path)) != path:
            raise ImageError(f"{other} and {path} would make scenes with the same name; rename one of them")
    return paths


def run(
    args: argparse.Namespace, maker: Maker, root: Path, sources: Sequence[Path], made_by: Mapping[str, object]
) -> None:
    """Make the data set and print the report.

    Raises:
        ValueError: an argument is out of range, or the folder was started with others.
    """
    if args.workers < 1 or not (args.size is None or args.size >= 64):
        raise ValueError("--workers must be 1 or more, --size 64 or more")
    if min(args.validation, args.testing) < 0 or args.validation + args.testing > 1:
        raise ValueError("--validation and --testing are shares, 0..1 together")
    shares = {"validation": args.validation, "testing": args.testing}
    options = Options(args.seed, shares, args.splits, args.workers, args.quiet)
    common = {"evs": list(args.evs), "size": args.size}
    print(build(maker, root, sources, args.out, {**common, **made_by}, options), end="")


def exposures(evs: Sequence[float]) -> tuple[float, ...]:
    """The exposures, sorted, each once; ValueError if one has no name."""
    for ev in evs:
        suffix_of(ev)
    return tuple(sorted(set(evs)))


def guarded(name: str, command: Callable[[], None]) -> None:
    """Run a command; exit with a one-sentence message if something is wrong."""
    try:
        command()
    except (ImageError, ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"{name}: {error}")
    except (Stopped, KeyboardInterrupt):
        sys.exit(f"{name}: stopped; run the same command again to resume")
