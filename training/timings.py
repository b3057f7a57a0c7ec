"""How fast a device runs the parts of the correction and of the training."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.bilateral.nodes import DEFAULT_SIZE
from expcorr_core.bilateral.slicing import choose_path
from expcorr_core.corrector import Corrector, native_dtype
from expcorr_core.data.simulator import ExposureSimulator
from expcorr_core.settings import WORKING_SIZE

from .tables import markdown

REPEATED = 0.5  # seconds for which each part is repeated
AGREEMENT = 1e-4  # most by which a device's slice may differ from the CPU's; values in 0..1
LARGE = (4000, 6000)  # height and width of a photo of 24 megapixels
SIMULATED = {128: 64, 160: 64, 512: 16}  # photos of a batch by their side


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What was measured.

    Attributes:
        what, how: the part, and its variant.
        seconds: median of one call.
        amount, unit: what a call works on.
        difference: largest one from the CPU's result; None where it is not compared.
    """

    what: str
    how: str
    seconds: float
    amount: float
    unit: str
    difference: float | None = None

    @property
    def agrees(self) -> bool:
        return self.difference is None or self.difference <= AGREEMENT


def measure(device: str, exposure: dict[str, float], deadline: float) -> list[Timing]:
    """Measure one part after the other; on CPUs in a small form.

    Args:
        device: of PyTorch.
        exposure: parameters of the exposure simulation.
        deadline: monotonic time after which no other part is begun.

    Returns:
        The measurements; a part that fails is reported on standard error, and left out.
    """
    cpu = torch.device(device).type == "cpu"
    made: list[Timing] = []
    parts = [*_network_parts(device, cpu), *_slice_parts(device, cpu), *_simulator_parts(device, cpu, exposure)]
    for count, (what, part) in enumerate(parts):
        if time.monotonic() > deadline:
            print(f"no time was left to measure {len(parts) - count} of {len(parts)} parts", file=sys.stderr)
            break
        try:
            made += part()
        except Exception as error:  # what can fail differs from machine to machine, and is no reason not to train
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            print(f"{what} cannot be measured here ({reason})", file=sys.stderr)
    return made


def table(timings: list[Timing]) -> str:
    """The measurements as a Markdown table."""
    rows = [
        (
            *(timing.what, timing.how, f"{timing.seconds * 1e3:.4g}"),
            f"{timing.amount / timing.seconds:.4g} {timing.unit}",
            "" if timing.difference is None else f"{timing.difference:.1e}",
        )
        for timing in timings
    ]
    return markdown(("part", "variant", "ms", "per second", "largest difference from the CPU"), rows)


def _timed(function: Callable[[], object], device: str) -> float:
    """Median seconds of a call, after a first one that is not counted."""

    def call() -> float:
        begin = time.perf_counter()
        function()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    call()
    times = [call()]
    while sum(times) < REPEATED:
        times.append(call())
    return statistics.median(times)


def _picture(count: int, size: tuple[int, int], device: str) -> Tensor:
    """Smooth colours with a little noise, ``(count, 3, H, W)``, 0..1; the same on each device."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 9, 12, generator=generator)
    smooth = F.interpolate(coarse, size, mode="bilinear", align_corners=True)
    return smooth.add_(torch.rand(smooth.shape, generator=generator), alpha=0.05).clamp_(0, 1).to(device)


Part = tuple[str, Callable[[], list[Timing]]]


def _network_parts(device: str, cpu: bool) -> Iterator[Part]:
    precisions = dict.fromkeys((torch.float32, native_dtype(device)))
    for name, weights in (("default network", None), ("paper's network", "paper")):
        for dtype in precisions:
            for batch in (1,) if cpu else (1, 16):
                yield name, partial(_network, name, weights, device, dtype, batch)


def _network(name: str, weights: str | None, device: str, dtype: torch.dtype, batch: int) -> list[Timing]:
    corrector = Corrector.load(weights, device, dtype)
    image = _picture(batch, (WORKING_SIZE, WORKING_SIZE), device)
    with torch.inference_mode():
        seconds = _timed(lambda: corrector.correct_small(image), device)
    how = f"{str(dtype).removeprefix('torch.')}, batch {batch}"
    return [Timing(what=f"{name}, {WORKING_SIZE} pixels", how=how, seconds=seconds, amount=batch, unit="photos")]


def _slice_parts(device: str, cpu: bool) -> Iterator[Part]:
    height, width = (side // 4 for side in LARGE) if cpu else LARGE
    yield "the slice", partial(_slices, device, (height, width))


def _slices(device: str, size: tuple[int, int]) -> list[Timing]:
    image = _picture(1, size, "cpu")
    noise = torch.randn(1, *DEFAULT_SIZE, 3, 4, generator=torch.Generator().manual_seed(0))
    grid = BilateralGrid(torch.eye(3, 4) + 0.2 * noise)
    oracle = grid.slice(image, path="torch")
    there, grid = image.to(device), grid.to(device)
    out = torch.empty_like(there)
    megapixels = size[0] * size[1] / 1e6
    made = []
    for path in sorted({"torch", choose_path(grid.coefficients, there[0])}):
        seconds = _timed(partial(grid.slice, there, out, path=path), device)
        difference = float((out.cpu() - oracle).abs().max())
        made.append(
            Timing(
                what=f"slice, {megapixels:.3g} megapixels",
                how=path,
                seconds=seconds,
                amount=megapixels,
                unit="megapixels",
                difference=difference,
            )
        )
    return made


def _simulator_parts(device: str, cpu: bool, exposure: dict[str, float]) -> Iterator[Part]:
    for side, batch in SIMULATED.items():
        yield "the simulator", partial(_simulator, device, exposure, side, batch // 8 if cpu else batch)


def _simulator(device: str, exposure: dict[str, float], side: int, batch: int) -> list[Timing]:
    simulator = ExposureSimulator(**exposure)
    target = _picture(batch, (side, side), device)
    generator = torch.Generator(device).manual_seed(0)
    seconds = _timed(lambda: simulator(target, generator, 2), device)
    how = f"{batch} photos, twice each"
    return [Timing(what=f"simulator, {side} pixels", how=how, seconds=seconds, amount=2 * batch, unit="inputs")]


def described(timings: list[Timing], device: str) -> dict[str, Any]:
    """The measurements as JSON values."""
    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "timings": [asdict(timing) for timing in timings],
    }
