"""Measure the speed of the correction and its parts (as ratios within one run), accuracy and peak memory.

    python -m benchmarks                              # one table, about five minutes on two cores
    python -m benchmarks --device cuda                # on a GPU
    python -m benchmarks --json speed.json --plot docs/speed.png

Needs the extras fast and dev (numba, SciPy, scikit-image, matplotlib). Times are medians; they are reliable
only if nothing else runs on the computer. Set OMP_WAIT_POLICY=PASSIVE: two thread pools that spin while they wait slow
each other down.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from expcorr_core.bilateral.energy import RIDGE, SMOOTHNESS_XY, SMOOTHNESS_Z, homogeneous, lower_nodes
from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.bilateral.slicing import choose_path, slice_image
from expcorr_core.corrector import PAIR_SIZE, Corrector, native_dtype
from expcorr_core.image.colour import luminance
from expcorr_core.image.exposure import shift_exposure
from expcorr_core.image.resize import reduce_to
from expcorr_core.method.network import ExposureNetwork
from expcorr_core.method.pyramid import laplacian_pyramid
from expcorr_core.settings import WORKING_SIZE

GRID = (22, 22, 8)
NETWORK_FLOP = 32.4e9  # operations of the network at 512 x 512
SIZES = {"1 MP": (816, 1232), "16 MP": (3264, 4928), "100 MP": (8160, 12320)}
TILE_ROWS = 64  # for grid_sample, whose coordinates would otherwise not fit into memory

Row = tuple[str, str, float, str]  # what, measured as, value, unit


def timed(function: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Median time of a call in seconds, after a first call that is not counted."""
    times = []
    for _ in range(repeats + 1):
        wait(device)
        begin = time.perf_counter()
        function()
        wait(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def picture(kind: str, size: tuple[int, int], device: str) -> Tensor:
    """A photo or noise in ComfyUI's memory layout, as a view of shape ``(1, 3, H, W)``."""
    if kind == "noise":
        image = torch.rand(1, *size, 3, generator=torch.Generator().manual_seed(0))
    else:
        small = torch.from_numpy(np.array(data.coffee()))  # type: ignore[no-untyped-call]
        small = small.permute(2, 0, 1)[None].float() / 255
        image = F.interpolate(small, size, mode="bicubic").clamp_(0, 1).permute(0, 2, 3, 1).contiguous()
    return image.to(device).permute(0, 3, 1, 2)


def grid_sample(grid: Tensor, image: Tensor, out: Tensor) -> None:
    """Slicing without a kernel of its own: five-dimensional grid_sample, tile by tile."""
    volume = grid.permute(0, 4, 5, 3, 1, 2).flatten(1, 2).contiguous()
    height, width = image.shape[2:]
    x = (torch.arange(width, device=image.device, dtype=image.dtype) + 0.5) / width * 2 - 1
    for top in range(0, height, TILE_ROWS):
        part = image[:, :, top : top + TILE_ROWS]
        rows = part.shape[2]
        y = (torch.arange(top, top + rows, device=image.device, dtype=image.dtype) + 0.5) / height * 2 - 1
        z = luminance(part)[0] * 2 - 1
        place = torch.stack((x.expand(rows, width), y[:, None].expand(rows, width), z), -1)[None, None]
        affine = F.grid_sample(volume, place, align_corners=True, padding_mode="border").view(1, 3, 4, rows, width)
        out[:, :, top : top + rows] = (affine[:, :, :3] * part[:, None]).sum(2) + affine[:, :, 3]


def decibels(result: Tensor, oracle: Tensor) -> float:
    return -10 * math.log10(max(float((result.double() - oracle).square().mean()), 1e-30))


def scipy_fit(source: Tensor, target: Tensor) -> Tensor:
    """The same least squares problem, solved by SciPy's sparse direct solver; ``(3, h, w)`` float64."""
    import scipy.sparse as sp
    from scipy.sparse.linalg import spsolve

    _, height, width = source.shape
    grid_h, grid_w, depth = GRID
    y, y_share = (t.numpy() for t in lower_nodes(height, grid_h, torch.float64))
    x, x_share = (t.numpy() for t in lower_nodes(width, grid_w, torch.float64))
    level = (luminance(source) * (depth - 1)).numpy()
    z = np.minimum(level.astype(int), depth - 2)
    colours = homogeneous(source).permute(1, 2, 0).numpy()
    columns, values = [], []
    for corner in range(8):
        i, j, k = corner // 4, corner // 2 % 2, corner % 2
        share = (y_share if i else 1 - y_share)[:, None] * (x_share if j else 1 - x_share)
        share = share * (level - z if k else 1 - level + z)
        node = ((y[:, None] + i) * grid_w + x + j) * depth + z + k
        columns.append(node[..., None] * 4 + np.arange(4))
        values.append(share[..., None] * colours)
    pixels, unknowns = height * width, grid_h * grid_w * depth * 4
    rows = np.repeat(np.arange(pixels), 32)
    matrix = sp.csr_matrix(
        (np.concatenate(values, -1).ravel(), (rows, np.concatenate(columns, -1).ravel())), (pixels, unknowns)
    )
    bins = height / grid_h, width / grid_w, 1 / depth

    def difference(count: int, order: int) -> sp.csr_matrix:
        found = sp.identity(count, format="csr")
        for _ in range(order):
            found = found[1:] - found[:-1]
        return found

    identities = [sp.identity(n) for n in (grid_h, grid_w, depth)]
    smooth = []
    scales = (
        SMOOTHNESS_XY * bins[1] * bins[2] / bins[0],
        SMOOTHNESS_XY * bins[0] * bins[2] / bins[1],
        SMOOTHNESS_Z * bins[0] * bins[1] / bins[2] ** 2,
    )
    for axis, (scale, order) in enumerate(zip(scales, (1, 1, 2), strict=True)):
        parts = [*identities]
        parts[axis] = difference(GRID[axis], order)
        smooth.append(scale * sp.kron(sp.kron(sp.kron(parts[0], parts[1]), parts[2]), sp.identity(4)))
    whole = sp.vstack([matrix, *smooth, RIDGE**0.5 * sp.identity(unknowns)]).tocsr()
    right = matrix.T @ target.reshape(3, -1).T.numpy()
    solution = spsolve((whole.T @ whole).tocsc(), right)
    return torch.from_numpy(np.asarray(solution)).view(*GRID, 4, 3).mT


def measure_fit(device: str) -> list[Row]:
    small = F.interpolate(picture("photo", (400, 600), "cpu"), (200, 200), mode="area").double()
    wrong = shift_exposure(small, -1.0).clamp(0, 1)
    ours = timed(lambda: BilateralGrid.fit(wrong, small), "cpu")
    begin = time.perf_counter()
    exact = scipy_fit(wrong[0], small[0])
    theirs = time.perf_counter() - begin
    sliced = [
        BilateralGrid(grid).slice(wrong, clamp=False)
        for grid in (exact[None], BilateralGrid.fit(wrong, small).coefficients)
    ]
    noise = torch.rand(1, 3, 200, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    noisy = timed(lambda: BilateralGrid.fit(noise, noise * 0.7 + 0.1), "cpu")
    return [
        ("fit 22x22x8, 200x200", "SciPy spsolve / ours", theirs / ours, "x"),
        ("", "ours", ours * 1e3, "ms"),
        ("", "ours, noise", noisy * 1e3, "ms"),
        ("", "sliced image compared with SciPy's", decibels(sliced[1], sliced[0]), "dB"),
    ]


def measure_slice(name: str, kind: str, device: str) -> list[Row]:
    image = picture(kind, SIZES[name], device)
    out = torch.empty_like(image)
    generator = torch.Generator().manual_seed(0)
    grid = (torch.eye(3, 4) + 0.2 * torch.randn(1, *GRID, 3, 4, generator=generator)).to(device)
    repeats = 3 if name == "100 MP" else 5
    copy = timed(lambda: out.copy_(image), device, 2 * repeats)
    reference = timed(lambda: grid_sample(grid, image, out), device, 1)
    paths = sorted({"torch", choose_path(grid, image[0])})
    rows: list[Row] = [(f"slice {name}, {kind}", "plain copy of the same bytes", copy * 1e3, "ms")]
    oracle = torch.empty_like(image[:, :, :512], dtype=torch.float64)
    part = image[:, :, :512].contiguous()
    grid_sample(grid.double(), part.double(), oracle)
    for path in paths:
        seconds = timed(lambda path=path: slice_image(grid[0], image[0], out[0], False, path), device, repeats)  # type: ignore[misc]
        rows += [
            ("", f"{path} / copy", seconds / copy, "x"),
            ("", f"grid_sample / {path}", reference / seconds, "x"),
        ]
        made = BilateralGrid(grid).slice(part, clamp=False, path=path)
        rows.append(("", f"{path} compared with float64", decibels(made, oracle), "dB"))
    return rows


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large matrix product."""
    side = 2048 if device == "cpu" else 8192
    a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / timed(lambda: a @ b, device)


def network_time(corrector: Corrector, device: str) -> tuple[float, Tensor]:
    small = reduce_to(picture("photo", (512, 512), device), WORKING_SIZE)
    network = corrector.network
    assert isinstance(network, ExposureNetwork)
    bands = laplacian_pyramid(small, network.architecture.levels)
    bands = [band.to(corrector.dtype, memory_format=torch.channels_last) for band in bands]
    with torch.inference_mode():
        return timed(lambda: network(bands), device, 9), network(bands)[-1].float()


def measure_network(device: str) -> tuple[list[Row], float]:
    single, single_result = network_time(Corrector.load("paper", device, torch.float32), device)
    floor = NETWORK_FLOP / matrix_rate(device, torch.float32)
    rows: list[Row] = [
        ("paper's network 512x512", "float32", single * 1e3, "ms"),
        ("", "float32 / lower bound (rate of a matrix product)", single / floor, "x"),
    ]
    if native_dtype(device) == torch.bfloat16:
        half, half_result = network_time(Corrector.load("paper", device, torch.bfloat16), device)
        rows += [
            ("", "bfloat16 / float32", half / single, "x"),
            ("", "bfloat16 compared with float32", decibels(half_result, single_result.double()), "dB"),
        ]
    else:
        rows.append(("", "bfloat16: not native on this device", math.nan, ""))
    return rows, single


def measure_correction(name: str, device: str, network: float) -> list[Row]:
    image = picture("photo", SIZES[name], device)
    corrector = Corrector.load(device=device)
    repeats = 3 if name == "100 MP" else 5
    whole = timed(lambda: corrector(image), device, repeats)
    paper = Corrector.load("paper", device)
    before = timed(lambda: paper(image), device, repeats)
    small = reduce_to(image, WORKING_SIZE)
    changed = corrector.correct_small(small)
    grid = BilateralGrid.fit_reduced(small, changed, PAIR_SIZE)
    parts = {
        "reduce": timed(lambda: reduce_to(image, WORKING_SIZE), device, repeats),
        "network, on the photo and its mirror image": timed(
            lambda: corrector.correct_small(small, flip=True), device, repeats
        ),
        "fit": timed(lambda: BilateralGrid.fit_reduced(small, changed, PAIR_SIZE), device, repeats),
        "slice": timed(lambda: grid.slice(image), device, repeats),
    }
    return [
        (f"correction {name}", "whole", whole * 1e3, "ms"),
        ("", "whole / whole with the paper's network", whole / before, "x"),
        ("", "whole with the paper's network / that network in float32", before / network, "x"),
        *(("", part, seconds * 1e3, "ms") for part, seconds in parts.items()),
    ]


def measure_memory(name: str) -> list[Row]:
    """Peak memory beyond input and output, measured in a separate process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *map(str, SIZES[name])], capture_output=True, text=True, check=True
    )
    return [(f"memory {name}", "peak beyond input and output", float(done.stdout), "MB")]


def plot(rows: list[Row], path: Path) -> None:
    """Plot times over megapixels, both axes logarithmic."""
    import matplotlib.pyplot as plt

    found: dict[str, dict[str, float]] = {}
    section = ""
    for what, measure, figure, _ in rows:
        section = what or section
        found.setdefault(section, {})[measure] = figure
    series: dict[str, list[tuple[float, float]]] = {}
    for name, (height, width) in SIZES.items():
        pixels = height * width / 1e6
        slices, whole = found[f"slice {name}, photo"], found[f"correction {name}"]
        copy = slices["plain copy of the same bytes"]
        series.setdefault("plain copy", []).append((pixels, copy))
        for measure, ratio in slices.items():
            if measure.endswith(" / copy"):
                label = measure.partition(" ")[0]
                series.setdefault(f"slice, {label}", []).append((pixels, ratio * copy))
                times = slices[f"grid_sample / {label}"] * ratio * copy
        series.setdefault("slice, tiled grid_sample", []).append((pixels, times))
        series.setdefault("whole correction", []).append((pixels, whole["whole"]))
    canvas, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    for label, points in series.items():
        axis.loglog(*zip(*points, strict=True), marker="o", label=label)
    axis.set(xlabel="megapixels", ylabel="milliseconds")
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    canvas.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), metavar="SIZE", help=", ".join(SIZES))
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--plot", type=Path, help="also plot time over megapixels (needs all sizes)")
    args = parser.parse_args()
    device = args.device
    processor = (
        torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    )
    found = "" if device.startswith("cuda") else f" ({torch.backends.cpu.get_cpu_capability()})"
    print(f"{processor}{found}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}\n")
    rows: list[Row] = []

    def show(more: list[Row]) -> None:
        for what, measure, figure, unit in more:
            print(f"{what:<24}{measure:<50}{figure:>10.4g} {unit}", flush=True)
        rows.extend(more)

    show(measure_fit(device))
    network, seconds = measure_network(device)
    show(network)
    for name in args.sizes:
        for kind in ("photo", "noise"):
            show(measure_slice(name, kind, device))
        show(measure_correction(name, device, seconds))
        if device == "cpu" and sys.platform == "linux":
            show(measure_memory(name))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
