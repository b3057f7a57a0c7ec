"""The page against the command line: seconds from the drop of a photo to the picture, and to the file.

usage: python -m benchmarks.page PHOTO [--site web/app/dist] [--runs 3]

Needs the built page (npm ci and npm run build in web/app), Node.js and Chromium (CHROMIUM_PATH). The command is a
process of its own, from its start to its end; the page is open, and its network loaded, when a photo is dropped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parent.parent


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hosted(site: Path) -> Iterator[str]:
    """The address of a folder of plain files, as a static host serves it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()


def page_times(site: Path, photo: Path, runs: int) -> list[dict[str, float]]:
    """Milliseconds ``opened`` and ``saved`` of each run."""
    script = ROOT / "web" / "app" / "test" / "time.mjs"
    with hosted(site) as address:
        command = ["node", str(script), address, str(photo), str(runs)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout)["times"])


def command_seconds(photo: Path) -> float:
    """Wall time of the command line."""
    with tempfile.TemporaryDirectory() as folder:
        before = time.perf_counter()
        target = Path(folder) / photo.name
        command = [sys.executable, "-m", "expcorr_core", "correct", str(photo), "-o", str(target), "--quiet"]
        subprocess.run(command, check=True)
        return time.perf_counter() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--site", type=Path, default=ROOT / "web" / "app" / "dist", help="the built page")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    if not (args.site / "index.html").is_file():
        sys.exit(f"{args.site} does not hold the page; npm ci and npm run build in web/app make it")
    command_seconds(args.photo)  # fills caches
    commands, pages = [], []
    for _ in range(args.runs):
        commands.append(command_seconds(args.photo))
        pages += page_times(args.site, args.photo, 2)[1:]  # the first photo also waits for the network's start
    taken = statistics.median(commands)
    opened, saved = (statistics.median(times[name] for times in pages) / 1000 for name in ("opened", "saved"))
    print(f"command line: {taken:.2f} s")
    print(f"page: picture after {opened:.2f} s ({opened / taken:.2f} times), file {saved:.2f} s after that")


if __name__ == "__main__":
    main()
