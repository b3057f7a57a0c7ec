"""Bulk correction on a Ray cluster (the ``ray`` extra); its machines see the photos and the output under one path."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from .bulk import Job, Outcome, Work, correct_file, crashed, journal_of
from .workers import Stop, Stopped

RETRIES = 3  # of a photo whose worker dies


def correct_on_ray(jobs: Sequence[Job], work: Work, address: str, workers: int | None) -> Iterator[Outcome]:
    """Correct photos with Ray Data; see :func:`~expcorr_core.bulk.correct_all`.

    Tasks of a worker or machine that dies run again elsewhere; the journal knows what they had finished. A photo that
    brings each of its workers down is given up.

    Args:
        jobs, work: as there.
        address: of the cluster; empty starts a local one, which ends with the run.
        workers: tasks at a time; None as many as the cluster has cores.

    Raises:
        ModuleNotFoundError: Ray is missing.
        ConnectionError: there is no cluster at the address.
        Stopped: Ctrl-C or SIGTERM came.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ModuleNotFoundError("--ray needs Ray: pip install 'expcorr[ray]'") from error
    ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR)
    stop = Stop()
    try:
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.max_errored_blocks = -1  # a block is one photo
        items = [
            {"number": number, "job": [_absolute(path) for path in job], "entry": json.dumps(entry)}
            for number, (job, entry) in enumerate(zip(jobs, journal_of(jobs, work), strict=True))
        ]
        there = replace(
            work,
            output=work.output and work.output.absolute(),
            weights=work.weights and work.weights.absolute(),
        )
        data = ray.data.from_items(items, override_num_blocks=len(items))
        rows = data.map(partial(_correct, there), concurrency=workers, max_retries=RETRIES).iter_rows()
        missing = set(range(len(jobs)))
        with stop.listening():
            for row in rows:
                number = row.pop("number")
                missing.discard(number)
                job = jobs[number]
                yield Outcome(**{**row, "source": str(job.source), "target": str(job.target)})
                if stop.asked:
                    raise Stopped
        yield from (crashed(jobs[number]) for number in sorted(missing))
    finally:
        ray.shutdown()


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None


def _correct(work: Work, row: dict[str, Any]) -> dict[str, Any]:
    source, target, comparison = (Path(path) if path else None for path in row["job"])
    assert source
    assert target
    # Of each machine its own file: lines that several append over a network may get lost.
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    own = replace(work, journal=f".expcorr-journal-{host}.jsonl")
    outcome = correct_file(Job(source, target, comparison), own, json.loads(row["entry"]))
    return {"number": row["number"], **asdict(outcome)}
