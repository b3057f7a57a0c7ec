"""Measure Exposure Correct inside a ComfyUI against the core's own call, as ratios within one run (Linux).

    COMFYUI_PATH=/path/to/ComfyUI python -m benchmarks.host  # 12 megapixels, and 64 frames of 1920x1080

In ComfyUI's own environment. The node runs as ComfyUI runs it: the pack imported as ComfyUI does, in inference mode,
with its preview. Processor time, which other programs disturb less, is reported beside the time on the clock, and
decides; memory is the peak beyond the input, in a process for each. The core
gets frame by frame, which is faster than all in one call.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["THP_MEM_ALLOC_ENABLE"] = "0"  # as in ComfyUI

import torch
from torch import Tensor

from expcorr_core.corrector import Corrector
from expcorr_core.image.arrays import empty_tensor

from .memory import held

ROOT = Path(__file__).parent.parent
PHOTO, CLIP = (1, 3000, 4000), (64, 1080, 1920)  # frames, height, width
RUNS = {PHOTO: 5, CLIP: 2}
LIMITS = {PHOTO: 1.1, CLIP: 1.15}  # of time
MEMORY = 1.2


def pack() -> dict[str, Any]:
    """The pack's nodes by their ids, in a ComfyUI without a server."""
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    sys.argv[1:] = ["--cpu"]
    options = importlib.import_module("comfy.options")
    options.enable_args_parsing()
    importlib.import_module("nodes")  # ComfyUI's own, before a folder of this name here
    spec = importlib.util.spec_from_file_location("pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = module
    spec.loader.exec_module(module)
    extension = asyncio.run(module.comfy_entrypoint())
    asyncio.run(extension.on_load())
    return {node.define_schema().node_id: node for node in asyncio.run(extension.get_node_list())}


def works() -> dict[str, Callable[[Tensor], Tensor]]:
    """What is compared: each takes an IMAGE and gives one."""
    nodes = {name: node.PREPARE_CLASS_CLONE(None) for name, node in pack().items()}
    [model] = nodes["ExpCorr_LoadModel"].EXECUTE_NORMALIZED(weights="bundled").args
    inputs = nodes["ExpCorr_Correct"].define_schema().inputs
    defaults = {part.id: part.default for part in inputs if getattr(part, "default", None) is not None}
    corrector = Corrector.load()

    def node(image: Tensor) -> Tensor:
        output = nodes["ExpCorr_Correct"].EXECUTE_NORMALIZED(model=model, image=image, **defaults)
        result: Tensor = output.args[0]
        return result

    def core(image: Tensor) -> Tensor:
        result = empty_tensor(image.shape, image.dtype)  # as the core's results are, where it makes them itself
        frames, made = (torch.split(batch.permute(0, 3, 1, 2), 1) for batch in (image, result))
        for frame, out in zip(frames, made, strict=True):
            corrector.estimate(frame).slice(frame, out)
        return result

    return {"core": core, "node": node}


def picture(shape: tuple[int, int, int]) -> Tensor:
    """A dark IMAGE with smooth and with fine parts."""
    generator = torch.Generator().manual_seed(0)
    frames, height, width = shape
    small = torch.rand(1, 3, 9, 16, generator=generator)
    smooth = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")[0].permute(1, 2, 0)
    image = torch.empty(frames, height, width, 3)
    for frame in image:
        frame.copy_(smooth).add_(torch.rand(height, width, 1, generator=generator), alpha=0.1).mul_(0.3)
    return image


def speed(shape: tuple[int, int, int]) -> bool:
    image = picture(shape)
    compared = works()
    clocks: dict[str, Callable[[], float]] = {"clock": time.perf_counter, "processor": time.process_time}
    times: dict[str, dict[str, list[float]]] = {name: {clock: [] for clock in clocks} for name in compared}
    with torch.inference_mode():
        for work in compared.values():
            work(image[:1, :64, :64])
        for _ in range(RUNS[shape]):  # by turns, so that what disturbs one disturbs the other
            for name, work in compared.items():
                began = {clock: read() for clock, read in clocks.items()}
                work(image)
                for clock, read in clocks.items():
                    times[name][clock].append(read() - began[clock])
    medians = {name: {clock: statistics.median(part) for clock, part in parts.items()} for name, parts in times.items()}
    ratios = {clock: medians["node"][clock] / medians["core"][clock] for clock in clocks}
    for clock, ratio in ratios.items():
        core, node = (medians[name][clock] for name in ("core", "node"))
        print(f"  {clock:<10} core {core:.2f} s, node {node:.2f} s: {ratio:.2f} times")
    return ratios["processor"] <= LIMITS[shape]


def peak(shape: tuple[int, int, int], name: str) -> None:
    """Print the peak memory of one way beyond its input, bytes."""
    image = picture(shape)
    work = works()[name]
    with torch.inference_mode():
        work(image[:1, :64, :64])
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # resets the peak
        before = held("VmRSS")
        work(image)
    print(held("VmHWM") - before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", action="store_true", help="the photo only")
    parser.add_argument("--peak", choices=("core", "node"), help=argparse.SUPPRESS)
    parser.add_argument("--clip", action="store_true", help="the clip only")
    args = parser.parse_args()
    if not os.environ.get("COMFYUI_PATH"):
        parser.error("COMFYUI_PATH must name a ComfyUI checkout")
    if args.peak:
        peak(CLIP if args.clip else PHOTO, args.peak)
        return 0
    good = True
    for shape in [PHOTO] * (not args.clip) + [CLIP] * (not args.photo):
        print(f"{shape[0]} x {shape[2]} x {shape[1]}")
        command = [sys.executable, "-m", "benchmarks.host", *(["--clip"] if shape == CLIP else []), "--peak"]
        peaks = {
            name: int(subprocess.run([*command, name], check=True, capture_output=True, text=True).stdout.split()[-1])
            for name in ("core", "node")
        }
        ratio = peaks["node"] / peaks["core"]
        print(f"  memory     core {peaks['core'] / 1e6:.0f} MB, node {peaks['node'] / 1e6:.0f} MB: {ratio:.2f} times")
        good &= speed(shape) and ratio <= MEMORY
    return not good


if __name__ == "__main__":
    sys.exit(main())
