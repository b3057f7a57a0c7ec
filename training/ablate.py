"""The paper's ablations on a small scale: number of levels, plain U-Net, each loss on and off; a table and a plot.

    python training/ablate.py PHOTOS OUT --validation VAL                   # hours on a CPU
    python training/ablate.py PHOTOS OUT --validation VAL --steps 200       # a first look

Each variant is a run of train.py with the same seed and data, in OUT/NAME; finished
runs are kept, stopped ones are resumed. OUT receives ablations.md, ablations.csv and ablations.png.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
import csv
import sys
from pathlib import Path

from expcorr_core.files import replacing
from expcorr_core.method.weights import load_weights

from . import train
from .tables import markdown

FULL = ("reconstruction", "pyramid")
# name, levels, losses
VARIANTS = (
    ("plain U-Net (1 level)", 1, FULL[:1]),
    ("2 levels", 2, FULL),
    ("3 levels", 3, FULL),
    ("4 levels", 4, FULL),
    ("4 levels, no pyramid loss", 4, FULL[:1]),
    ("4 levels, no reconstruction loss", 4, FULL[1:]),
    ("4 levels, adversarial loss", 4, (*FULL, "adversarial")),
)


def folder_of(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


def run_variant(args: argparse.Namespace, name: str, levels: int, losses: tuple[str, ...]) -> Path:
    """Train one variant, or the rest of it if it was stopped; return its folder."""
    out: Path = args.out / folder_of(name)
    # The discriminator joins after the first half, as in the paper's second phase.
    adversarial = f",adversarial={args.steps // 2}" if "adversarial" in losses else ""
    stage = f"size={args.size},batch={args.batch},patches=8,steps={args.steps},lr={args.lr}{adversarial}"
    new = ["--stage", stage, "--levels", str(levels), "--loss", *losses, "--validation", str(args.validation)]
    every = ["--checkpoint-every", str(max(1, args.steps // 5)), "--log-every", str(max(1, args.steps // 50))]
    if (out / "last.pt").exists():
        train.main([str(args.photos), str(out), "--resume"])
    else:
        train.main([str(args.photos), str(out), *new, *every, "--photo-side", str(args.photo_side)])
    return out


def read_log(out: Path) -> list[tuple[int, float, float]]:
    """Step, PSNR and SSIM of every validation."""
    with (out / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["validation_psnr"]]
    return [(int(row["step"]), float(row["validation_psnr"]), float(row["validation_ssim"] or "nan")) for row in rows]


def plot(curves: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axis, column, title in zip(axes, (1, 2), ("validation PSNR, dB", "validation SSIM"), strict=True):
        for name, curve in curves.items():
            axis.plot([row[0] for row in curve], [row[column] for row in curve], label=name)
        axis.set(xlabel="steps", title=title)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=90)


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="as for train.py")
    parser.add_argument("out", type=Path)
    parser.add_argument("--validation", type=Path, required=True, help="as for train.py")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="train only variants whose names contain one of these"
    )
    parser.add_argument("--size", type=int, default=128, help="side of the patches, pixels (default 128)")
    parser.add_argument(
        "--photo-side", type=int, default=256, help="photos are reduced to this larger side, pixels (default 256)"
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--lr", type=float, default=5e-4)
    args = parser.parse_args(argv)
    curves: dict[str, list[tuple[int, float, float]]] = {}
    lines = []
    for name, levels, losses in VARIANTS:
        if args.only and not any(part in name for part in args.only):
            continue
        print(f"{name}:", file=sys.stderr)
        out = run_variant(args, name, levels, losses)
        curves[name] = read_log(out)
        _, psnr, ssim = curves[name][-1]
        parameters = load_weights(out / "weights.safetensors").parameter_count()
        lines.append((name, f"{parameters:,}", " + ".join(losses), f"{psnr:.2f}", f"{ssim:.3f}"))
    if not lines:
        sys.exit(f"ablate.py: --only names none of: {'; '.join(name for name, *_ in VARIANTS)}")
    header = ("variant", "parameters", "losses", "PSNR", "SSIM")
    with replacing(args.out / "ablations.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *lines])
    text = markdown(header, lines)
    with replacing(args.out / "ablations.md") as temporary:
        temporary.write_text(text, "utf-8")
    print(text)
    try:
        plot(curves, args.out / "ablations.png")
    except ModuleNotFoundError:
        print("ablate.py: the plot needs matplotlib: pip install matplotlib", file=sys.stderr)


if __name__ == "__main__":
    main()
