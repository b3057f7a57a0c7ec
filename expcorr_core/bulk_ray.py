"""Bulk correction on a Ray cluster (the ``ray`` extra); its machines see the photos and the output under one path."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from .bulk import Job, Outcome, Work, correct_file, journal_of


def correct_on_ray(jobs: Sequence[Job], work: Work, address: str, workers: int | None) -> Iterator[Outcome]:
    """Correct photos with Ray Data; see :func:`~expcorr_core.bulk.correct_all`.

    Tasks of a worker or machine that dies run again elsewhere; the journal knows what they had finished.

    Args:
        jobs, work: as there.
        address: of the cluster; empty starts a local one, which ends with the run.
        workers: tasks at a time; None as many as the cluster has cores.

    Raises:
        ModuleNotFoundError: Ray is missing.
        ConnectionError: there is no cluster at the address.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ModuleNotFoundError("--ray needs Ray: pip install 'expcorr[ray]'") from error
    ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR)
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        tasks = zip(jobs, journal_of(jobs, work), strict=True)
        # As bytes, since Ray Data's columns hold no objects of ours without a complaint.
        items = [{"task": pickle.dumps((job, work, entry))} for job, entry in tasks]
        data = ray.data.from_items(items, override_num_blocks=len(items))
        for row in data.map(_correct, concurrency=workers).iter_rows():
            yield Outcome(**row)
    finally:
        ray.shutdown()


def _correct(row: dict[str, Any]) -> dict[str, Any]:
    return asdict(correct_file(*pickle.loads(row["task"])))
