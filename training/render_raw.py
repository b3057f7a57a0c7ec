"""Training pairs from raw files: each is rendered at several exposures and comes with a target.

    python training/render_raw.py RAWS OUT                        # the target is the rendering at EV 0
    python training/render_raw.py RAWS OUT --targets RETOUCHED    # photos named like the raw files
    python training/render_raw.py fivek/raw OUT --targets fivek   # its tiff16_a .. tiff16_e: five experts

OUT gets the layout of the paper's data set, so train.py and evaluate.py can read it, and also manifest.csv with
checksums, left_out.csv and report.md. Run it again to resume; it picks up raw files that were added.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
from pathlib import Path

from .rendering.commands import add_arguments, exposures, find_sources, guarded, run
from .rendering.makers import RawMaker, find_targets
from .rendering.raw import SUFFIXES

EVS = (-1.5, -1.0, 0.0, 1.0, 1.5)  # the paper's
SIZE = 1280


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raws", type=Path, help="folder of raw files; its subfolders are searched, too")
    add_arguments(parser, EVS, SIZE, f"larger side of the pictures, pixels (default {SIZE}; 0: the camera's)")
    parser.add_argument(
        "--targets",
        type=Path,
        help="folder of retouched photos named like the raw files, or with one folder per expert",
    )
    args = parser.parse_args(argv)

    def command() -> None:
        args.size = args.size or None
        args.evs = exposures(args.evs)
        sources = find_sources(args.raws, SUFFIXES)
        maker = RawMaker(args.evs, args.size, find_targets(args.targets) if args.targets else None)
        run(args, maker, args.raws, sources, {"made of": "raw files", "experts": sorted(maker.targets or ())})

    guarded("render_raw.py", command)


if __name__ == "__main__":
    main()
