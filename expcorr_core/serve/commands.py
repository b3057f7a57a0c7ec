"""The commands that serve: their arguments turned into what the servers take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from ..batch.bulk import Work, most_pixels
from ..settings import UsageError
from .app import serve
from .guarding import Limits, is_loopback
from .page import models_of, show

APP_BYTES = 2**30  # of a photo that the page opens
APP_WAITING = 32  # requests of the page


def serve_photos(args: argparse.Namespace, device: str, workers: int, say: Callable[[str], object]) -> None:
    """``expcorr serve``.

    Args:
        args: of the command line.
        device: where to compute.
        workers: number of processes.
        say: is told, in lines, what happens.

    Raises:
        UsageError: the arguments cannot be used.
    """
    _check_port(args.port)
    token = args.token or os.environ.get("EXPCORR_TOKEN", "")
    if not is_loopback(args.host) and not token:
        say(f"warning: everybody who reaches {args.host} can use this server; set --token")
    limits = Limits(
        body=args.max_megabytes * 2**20,
        pixels=args.max_megapixels * 10**6,
        waiting=args.queue,
        rate=args.rate,
        seconds=args.time_limit,
    )
    work = Work(weights=args.weights, device=device)
    serve(work, limits, args.host, args.port, token=token, workers=workers, say=say)


def show_page(args: argparse.Namespace, work: Work, say: Callable[[str], object]) -> None:
    """``expcorr app``.

    Args:
        args, say: as in :func:`serve_photos`.
        work: device and runtime.

    Raises:
        UsageError: the arguments cannot be used.
    """
    _check_port(args.port)
    limits = Limits(body=APP_BYTES, pixels=most_pixels(), waiting=APP_WAITING)
    models = models_of(args.weights, work.runtime)
    show(work, limits, args.port, browser=not args.no_browser, models=models, say=say)


def _check_port(port: int) -> None:
    if not 0 <= port < 2**16:
        raise UsageError(f"--port must be from 0 to 65535, got {port}")
