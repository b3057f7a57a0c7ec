"""Make a weights file from a training checkpoint.

python training/export.py OUT/last.pt weights.safetensors --dtype float32
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
import sys
from pathlib import Path

import torch

from expcorr_core.method.weights import network_of, save_weights

from .checkpoint import read_checkpoint

DTYPES = {"float16": torch.float16, "float32": torch.float32}


def export(checkpoint: Path, path: Path, dtype: torch.dtype, last: bool = False) -> None:
    """Write the averaged weights of a checkpoint, or the ``last`` ones.

    Raises:
        ValueError: the checkpoint cannot be used, or the file exists.
    """
    if path.exists():
        raise ValueError(f"{path} exists; remove it or choose another name")
    state = read_checkpoint(checkpoint)
    tensors = state["network" if last else "average"]
    normalised = state["arguments"].get("normalise", False)  # older checkpoints lack it
    network = network_of({key: value.shape for key, value in tensors.items()}, normalised=normalised)
    network.load_state_dict(tensors)
    save_weights(path, network, state["training"], dtype)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a run's last.pt")
    parser.add_argument("weights", type=Path, help="safetensors file to write")
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help="default float16")
    parser.add_argument("--last", action="store_true", help="export the last weights instead of the averaged ones")
    args = parser.parse_args(argv)
    try:
        export(args.checkpoint, args.weights, DTYPES[args.dtype], args.last)
    except (ValueError, OSError) as error:
        sys.exit(f"export.py: {error}")
    print(f"written: {args.weights}")


if __name__ == "__main__":
    main()
