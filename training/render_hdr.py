"""Training pairs from HDR pictures: exposed at any EV and clipped as by a camera; the target is an exposure fusion.

    python training/render_hdr.py HDRS OUT              # .hdr and .exr; panoramas (2 : 1) are split into views
    python training/render_hdr.py HDRS OUT --views 16 --evs -4 -2 0 2 4

OUT has the same layout as that of render_raw.py. All views of a panorama go into the same split.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
from pathlib import Path

from .rendering.commands import add_arguments, exposures, find_sources, guarded, run
from .rendering.makers import HdrMaker
from .rendering.radiance import SUFFIXES

EVS = (-3.0, -1.5, 0.0, 1.5, 3.0)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hdrs", type=Path, help="folder of HDR pictures; its subfolders are searched, too")
    add_arguments(parser, EVS, None, "larger side of the pictures, pixels (default: the source's)")
    parser.add_argument("--views", type=int, default=8, help="number of views of a panorama (default 8)")
    parser.add_argument("--flat", action="store_true", help="treat 2 : 1 pictures as plain pictures, not as panoramas")
    args = parser.parse_args(argv)

    def command() -> None:
        if args.views < 1:
            raise ValueError("--views must be 1 or more")
        args.evs = exposures(args.evs)
        sources = find_sources(args.hdrs, SUFFIXES)
        maker = HdrMaker(args.evs, args.size, args.views, args.seed, args.flat)
        made_by = {"made of": "HDR pictures", "views": args.views, "seed": args.seed, "flat": args.flat}
        run(args, maker, args.hdrs, sources, made_by)

    guarded("render_hdr.py", command)


if __name__ == "__main__":
    main()
