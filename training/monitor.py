"""What a run shows and writes along the way: log.csv and TensorBoard."""

from __future__ import annotations

import csv
import math
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

COLUMNS = (
    "stage", "step", "loss", "reconstruction", "pyramid", "adversarial", "discriminator", "lr", "waiting", "seconds",
    "validation_psnr", "validation_ssim", "consistency", "well_exposed",
)  # fmt: skip


class Monitor:
    """Writes rows of values to OUT/log.csv and, if TensorBoard is installed, to OUT/tensorboard.

    Args:
        out: folder of the run.
        rows: rows that the log had at the checkpoint that is resumed; later rows are removed. 0 starts a new log.
        start: steps done before, in all stages.
    """

    def __init__(self, out: Path, rows: int, start: int) -> None:
        self.path = out / "log.csv"
        kept: list[list[str]] = []
        if rows and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                kept = list(csv.reader(file))[1 : rows + 1]
        self.rows = len(kept)
        self._file = self.path.open("w", newline="", encoding="utf-8")
        self._csv = csv.DictWriter(self._file, COLUMNS)
        self._csv.writeheader()
        csv.writer(self._file).writerows(kept)
        self._file.flush()
        self.board: Any = None
        try:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("TensorBoard is not installed: writing only log.csv (pip install tensorboard)", file=sys.stderr)
        else:
            self.board = SummaryWriter(str(out / "tensorboard"), purge_step=start or None)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self.board:
            self.board.close()

    def row(self, total_step: int, values: dict[str, float]) -> None:
        """Write values by column name; ``total_step`` counts over all stages."""
        self._csv.writerow({key: f"{value:.6g}" for key, value in values.items() if math.isfinite(value)})
        self._file.flush()
        self.rows += 1
        if self.board:
            for key, value in values.items():
                if key not in ("step", "seconds") and math.isfinite(value):
                    self.board.add_scalar(key.replace("_", "/"), value, total_step)

    def pictures(self, total_step: int, images: dict[str, Tensor]) -> None:
        """Show batches ``(B, 3, H, W)``, 0..1."""
        if self.board:
            for name, image in images.items():
                self.board.add_images(name, image.clamp(0, 1), total_step)
            self.board.flush()
