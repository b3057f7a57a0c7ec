"""Make a weights file from a training checkpoint, or ONNX graphs from a checkpoint or a weights file.

python training/export.py OUT/last.pt weights.safetensors --dtype float32
python training/export.py default weights/onnx --onnx --check PHOTOS
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
import sys
from pathlib import Path

import torch

from expcorr_core.corrector import Corrector
from expcorr_core.method.weights import Network, load_weights, network_of, save_weights
from expcorr_core.method.weights_file import BUNDLED
from expcorr_core.photos.reading import read_photo

from .checkpoint import read_checkpoint

DTYPES = {"float16": torch.float16, "float32": torch.float32}


def from_checkpoint(checkpoint: Path, last: bool = False) -> Network:
    """The network of a checkpoint with its averaged weights, or the ``last`` ones.

    Raises:
        ValueError: the checkpoint cannot be used.
    """
    state = read_checkpoint(checkpoint)
    tensors = state["network" if last else "average"]
    normalised = state["arguments"].get("normalise", False)  # older checkpoints lack it
    network = network_of({key: value.shape for key, value in tensors.items()}, normalised=normalised)
    network.load_state_dict(tensors)
    network.training_record = state["training"]
    return network


def export(checkpoint: Path, path: Path, dtype: torch.dtype, last: bool = False) -> None:
    """Write the averaged weights of a checkpoint, or the ``last`` ones.

    Raises:
        ValueError: the checkpoint cannot be used, or the file exists.
    """
    if path.exists():
        raise ValueError(f"{path} exists; remove it or choose another name")
    network = from_checkpoint(checkpoint, last)
    save_weights(path, network, network.training_record, dtype)


def export_onnx(source: str, folder: Path, last: bool = False, check: list[Path] | None = None) -> None:
    """Write the ONNX graphs of a checkpoint or of weights, and tell how far they are from PyTorch on photos.

    Args:
        source: a checkpoint, a weights file, or the name of bundled weights.
        folder: a new or empty folder.
        last: take a checkpoint's last weights instead of the averaged ones.
        check: photos.

    Raises:
        ValueError: the source cannot be used, the folder is not empty, or a package is missing.
    """
    try:
        from .onnx_check import largest_difference
        from .onnx_graphs import write_graphs
    except ImportError as error:
        raise ValueError(
            f"ONNX needs {error.name}, which is not installed; run pip install 'expcorr[export]'"
        ) from error
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not an empty folder; name another")
    network = from_checkpoint(Path(source), last) if source.endswith(".pt") else load_weights(source)
    corrector = Corrector(network.float()).eval()
    for path in write_graphs(folder, corrector):
        print(f"written: {path} ({path.stat().st_size:,} bytes)")
    for photo in check or []:
        image = read_photo(photo).to_tensor()
        for name in ("model.onnx", "model_fp16.onnx"):
            print(f"{photo.name}: {name} differs by {largest_difference(folder, name, corrector, image)} of 255")


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="checkpoint", help="a run's last.pt; with --onnx also a weights file or "
                        f"the name of bundled weights ({', '.join(BUNDLED)})")  # fmt: skip
    parser.add_argument(
        "output", metavar="weights", type=Path, help="safetensors file, or folder with --onnx, to write"
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help="of the weights file (default float16)")
    parser.add_argument("--last", action="store_true", help="export the last weights instead of the averaged ones")
    parser.add_argument("--onnx", action="store_true", help="write ONNX graphs, in float32 and with float16 weights")
    parser.add_argument(
        "--check", type=Path, nargs="+", metavar="PHOTO", help="photos that the graphs are compared with PyTorch on"
    )
    args = parser.parse_args(argv)
    if args.check and not args.onnx:
        parser.error("--check is for --onnx")
    try:
        if args.onnx:
            export_onnx(args.source, args.output, args.last, args.check)
            return
        export(Path(args.source), args.output, DTYPES[args.dtype], args.last)
    except (ValueError, OSError) as error:
        sys.exit(f"export.py: {error}")
    print(f"written: {args.output}")


if __name__ == "__main__":
    main()
