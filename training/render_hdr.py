"""Training pairs from HDR pictures: exposed at any EV with the clipping of a camera, beside a fusion of all exposures.

    python training/render_hdr.py HDRS OUT              # .hdr and .exr; of panoramas (2 : 1) views are taken
    python training/render_hdr.py HDRS OUT --views 16 --evs -4 -2 0 2 4

OUT is as that of render_raw.py. Views of one panorama never part between the splits.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (goes on as a module of the package, and ends)

import argparse
from pathlib import Path

from .rendering.commands import add_arguments, exposures, find_sources, guarded, run
from .rendering.makers import HdrMaker
from .rendering.radiance import SUFFIXES

EVS = (-3.0, -1.5, 0.0, 1.5, 3.0)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with one sentence where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hdrs", type=Path, help="folder of HDR pictures, searched below too")
    add_arguments(parser, EVS, None, "largest width of the pictures, pixels (default: what the source has)")
    parser.add_argument("--views", type=int, default=8, help="of a panorama (default 8)")
    parser.add_argument("--flat", action="store_true", help="take pictures of 2 : 1 as they are, not as panoramas")
    args = parser.parse_args(argv)

    def command() -> None:
        if args.views < 1:
            raise ValueError("--views is 1 or more")
        args.evs = exposures(args.evs)
        sources = find_sources(args.hdrs, SUFFIXES)
        maker = HdrMaker(args.evs, args.size, args.views, args.seed, args.flat)
        made_by = {"made of": "HDR pictures", "views": args.views, "seed": args.seed, "flat": args.flat}
        run(args, maker, args.hdrs, sources, made_by)

    guarded("render_hdr.py", command)


if __name__ == "__main__":
    main()
