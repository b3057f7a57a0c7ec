"""The command ``expcorr``, also ``python -m expcorr_core``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line, or say which packages it lacks (ComfyUI's own users need none of them)."""
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        print(f"expcorr: {error.name} is not installed; pip install 'expcorr[standalone]'", file=sys.stderr)
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
