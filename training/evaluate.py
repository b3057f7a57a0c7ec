"""The paper's table: PSNR and SSIM (and PI, where pyiqa is installed) by exposure and expert, or by group.

    python training/evaluate.py DATASET OUT                # its test part, with the targets of experts A to E
    python training/evaluate.py INPUTS OUT --targets GT    # plain folders of pairs

OUT receives scores.csv (one row per pair), table.md and table.csv. Run it again to resume.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
import csv
import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from expcorr_core.corrector import Corrector
from expcorr_core.data.evaluation import evaluate
from expcorr_core.data.pairs import OTHERS, UNDER, Pair, find_pairs, find_test_pairs
from expcorr_core.files import digest, replacing
from expcorr_core.image.metrics import EQUAL_PSNR, PerceptualIndex
from expcorr_core.method.weights import weights_path

from .journal import check_started, complete_lines
from .tables import markdown

COLUMNS = ("name", "groups", "psnr", "ssim", "pi")


class Row(NamedTuple):
    """Scores of a pair, as in scores.csv; ``pi`` is None if pyiqa is not installed."""

    name: str
    groups: tuple[str, ...]
    psnr: float
    ssim: float
    pi: float | None


def read_rows(path: Path) -> list[Row]:
    """The rows that an earlier run wrote, without an incomplete last one."""
    return [
        Row(r["name"], tuple(r["groups"].split("; ")), float(r["psnr"]), float(r["ssim"]), pi)
        for r in csv.DictReader(complete_lines(path))
        for pi in (float(r["pi"]) if r["pi"] else None,)
    ]


def write_rows(file: object, rows: Iterable[Row]) -> None:
    writer = csv.writer(file)  # type: ignore[arg-type]
    for row in rows:
        pi = "" if row.pi is None else f"{row.pi:.4f}"
        writer.writerow((row.name, "; ".join(row.groups), f"{row.psnr:.4f}", f"{row.ssim:.5f}", pi))


def mean_of(rows: Sequence[Row]) -> str:
    """Mean PSNR / SSIM of some rows, and PI if they all have one."""
    if not rows:
        return ""
    psnr, ssim = (sum(getattr(row, name) for row in rows) / len(rows) for name in ("psnr", "ssim"))
    values = [row.pi for row in rows if row.pi is not None]
    pi = f" / {sum(values) / len(values):.3f}" if len(values) == len(rows) else ""
    return f"{psnr:.3f} / {ssim:.3f}{pi}"


def tabulate(rows: Sequence[Row], by_expert: bool) -> list[list[str]]:
    """Header and lines: the paper's blocks and experts, or one line per group."""
    groups = list(dict.fromkeys(group for row in rows for group in row.groups if group))
    if not by_expert:
        lines = [[group, str(len(part)), mean_of(part)] for group in groups if (part := of(rows, group))]
        return [["group", "pairs", figures(rows)], ["all", str(len(rows)), mean_of(rows)], *lines]
    experts = sorted(group for group in groups if group.startswith("expert "))
    table = [["inputs", *(f"Expert {expert[-1].upper()}" for expert in experts), "mean"]]
    for block in (OTHERS, UNDER, "all"):
        part = list(rows) if block == "all" else of(rows, block)
        table.append([block, *(mean_of(of(part, expert)) for expert in experts), mean_of(part)])
    return table


def of(rows: Sequence[Row], group: str) -> list[Row]:
    return [row for row in rows if group in row.groups]


def figures(rows: Sequence[Row]) -> str:
    return "PSNR / SSIM" + (" / PI" if rows and all(row.pi is not None for row in rows) else "")


def run(args: argparse.Namespace) -> None:
    pairs: list[Pair]
    reports: list[str] = []
    if args.targets:
        pairs = find_pairs(args.inputs, args.targets)
    else:
        pairs, reports = find_test_pairs(args.inputs)
    for report in reports:
        print(f"evaluate.py: {report}", file=sys.stderr)
    weights = weights_path(args.weights)
    corrector = Corrector.load(weights, args.device)
    index: PerceptualIndex | None = None
    try:
        index = PerceptualIndex()
    except ModuleNotFoundError as error:
        print(f"evaluate.py: {error}; left out of the table", file=sys.stderr)
    names = hashlib.sha256("\n".join(f"{pair.name} {pair.groups}" for pair in pairs).encode()).hexdigest()
    description = {"weights": digest(weights), "pairs": names, "pi": index is not None}
    check_started(args.out / "evaluation.json", description)

    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "scores.csv"
    rows = read_rows(path)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(COLUMNS)
        write_rows(file, rows)
        file.flush()
        left = pairs[len(rows) :]
        last: tuple[Path | None, float | None] = (None, None)
        for score in tqdm(evaluate(corrector, left), total=len(left), unit="pair"):
            if index and score.pair.input != last[0]:
                last = (score.pair.input, index(score.result))
            row = Row(score.pair.name, score.pair.groups, min(score.psnr, EQUAL_PSNR), score.ssim, last[1])
            rows.append(row)
            write_rows(file, [row])
            file.flush()
    table = tabulate(rows, by_expert=not args.targets)
    text = f"{figures(rows)}\n\n{markdown(table[0], table[1:])}"
    print(text)
    with replacing(args.out / "table.md") as temporary:
        temporary.write_text(text, "utf-8")
    with replacing(args.out / "table.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", type=Path, help="the paper's data set or its test part; with --targets a folder")
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("--targets", type=Path, help="folder of targets, with the same file names as the inputs")
    parser.add_argument("--weights", type=weights_path, help="weights file, or paper (default: the bundled default)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    try:
        run(parser.parse_args(argv))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"evaluate.py: {error}")
    except KeyboardInterrupt:
        sys.exit("evaluate.py: stopped; run the same command again to resume")


if __name__ == "__main__":
    main()
