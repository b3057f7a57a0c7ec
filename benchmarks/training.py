"""Compare training throughput with train.py's own choices to float32 and the default layout, data included.

    python benchmarks/training.py PHOTOS

Both loops are those of training/train.py with 8 patches of 128 x 128 per step, and take turns. Prints steps per
second, their ratio, and the share of the time that each loop waited for data.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TRAIN = Path(__file__).parent.parent / "training" / "train.py"
VARIANTS = {
    "float32, default layout": ("--precision", "float32", "--layout", "contiguous"),
    "float32, channels_last": ("--precision", "float32"),
    "as chosen": (),
    "as chosen, compiled": ("--compile",),
}


def measure(photos: Path, extra: tuple[str, ...], steps: int, warm: int) -> tuple[float, float]:
    """Steps per second after the warm-up, and the share of the time spent waiting for data."""
    with tempfile.TemporaryDirectory() as out:
        stage = f"size=128,batch=8,patches=8,steps={warm + steps},lr=1e-4"
        command = [sys.executable, str(TRAIN), str(photos), out, "--stage", stage, "--photo-side", "512", *extra]
        command += ["--loss", "reconstruction", "pyramid", "--log-every", str(warm), "--checkpoint-every", "1000000"]
        subprocess.run(command, check=True, capture_output=True)
        with (Path(out) / "log.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    seconds = float(rows[-1]["seconds"]) - float(rows[0]["seconds"])
    waiting = statistics.mean(float(row["waiting"]) for row in rows[1:])
    return (int(rows[-1]["step"]) - int(rows[0]["step"])) / seconds, waiting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--warm", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--compiled", action="store_true", help="also measure with torch.compile")
    args = parser.parse_args()
    variants = dict(list(VARIANTS.items())[: 4 if args.compiled else 3])
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(args.rounds):
        for name, extra in variants.items():
            results[name].append(measure(args.photos, extra, args.steps, args.warm))
    base = statistics.median(speed for speed, _ in results[next(iter(variants))])
    print(f"{'':<36}{'steps/s':>8}{'ratio':>7}{'waiting':>9}")
    for name, values in results.items():
        speed = statistics.median(value[0] for value in values)
        waiting = statistics.median(value[1] for value in values)
        print(f"{name:<36}{speed:>8.2f}{speed / base:>7.2f}{waiting:>9.1%}")


if __name__ == "__main__":
    main()
