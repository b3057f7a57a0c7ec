"""Average weights files of one lineage: a run's end with its start, or runs with the same start.

python training/average.py OUT.safetensors FILE=SHARE FILE=SHARE ...

Between weights of which one was trained from the other, the loss has no barrier. Their average keeps most of what a
short last stage gained in one group of photos, without all that it lost in another (Wortsman et al., CVPR 2022).
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
import math
import sys
from pathlib import Path

from expcorr_core.method.weights import WeightsError, load_weights, read_metadata, save_weights


def average(files: list[tuple[Path, float]], path: Path) -> None:
    """Write the average of weights files, weighted by their shares; the file records what it was made from.

    Raises:
        ValueError: the shares do not add up to 1, or the file exists.
        WeightsError: a file cannot be used, or belongs to a different network than the first.
    """
    if path.exists():
        raise ValueError(f"{path} exists; remove it or choose another name")
    total = sum(share for _, share in files)
    if not math.isclose(total, 1, abs_tol=1e-6) or min(share for _, share in files) < 0:
        raise ValueError(f"the shares must be positive and add up to 1, got {total:g}")
    networks = [load_weights(file) for file, _ in files]
    first = networks[0]
    for (file, _), network in zip(files, networks, strict=True):
        if network.architecture != first.architecture or network.normalised != first.normalised:
            raise WeightsError(f"{file} belongs to a different network than {files[0][0]}")
    states = [network.state_dict() for network in networks]
    shares = [share for _, share in files]
    mean = {key: sum(s[key] * share for s, share in zip(states, shares, strict=True)) for key in states[0]}
    first.load_state_dict(mean)
    made = [read_metadata(file)["training"] for file, _ in files]
    parts = [{"share": share, **training} for share, training in zip(shares, made, strict=True)]
    save_weights(path, first, {**made[0], "average": parts})


def _part(text: str) -> tuple[Path, float]:
    name, _, share = text.rpartition("=")
    try:
        return Path(name), float(share)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"write FILE=SHARE, for example last.safetensors=0.3; got {text!r}") from error


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="safetensors file to write")
    parser.add_argument("files", type=_part, nargs="+", metavar="FILE=SHARE")
    args = parser.parse_args(argv)
    try:
        average(args.files, args.out)
    except (ValueError, OSError) as error:
        sys.exit(f"average.py: {error}")
    print(f"written: {args.out}")


if __name__ == "__main__":
    main()
