"""Speed of the exposure simulator on one CPU thread, as a ratio to the same exposures computed pixel by pixel.

    python -m benchmarks.simulator [--rounds 7]

Both take turns with the same random values, with the exposures of the presets ``global`` and ``gpu``, for photos whose
values are no multiples of 1/255. Prints inputs per second, the ratio, the share of the time that JPEG takes, and the
same for scenes of known light. Times are CPU times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from expcorr_core.data.simulator import HIDDEN_STOPS, WHITE, Draws, ExposureSimulator, measured_display, measured_stops
from expcorr_core.image.exposure import power

PRESETS = Path(__file__).parent.parent / "training" / "presets"
SIDES = {128: 64, 512: 8}  # photos of a batch


class PerPixel(ExposureSimulator):
    """Draws the same, but computes each curve for each pixel, of the whole batch at once."""

    def _by_curve(self, batch: Tensor, members: Tensor, draws: Draws) -> None:
        curve = self.draw_curves(draws)
        light = curve.to_scene(batch[members])
        shift = self.draw_shifts(draws, self.ev_low, self.ev_high) * curve.slope
        shift = shift + draws.uniform(-0.075, 0.075, 3) * draws.chance(0.3)
        variation = self._draw_variation(draws, self.range_share, self.range_low)
        light *= (shift + variation.of(light, torch.arange(len(members)), Tensor.clone)).exp2()
        noisy, level = draws.some(0.5), draws.uniform()
        noise = draws.noise(len(noisy), batch) * level[noisy]
        light[noisy] += noise * (1e-4 * light[noisy] + 1e-6).sqrt()
        batch[members] = curve.to_display(light.clamp_min_(0))

    def _by_measured_curve(self, batch: Tensor, members: Tensor, draws: Draws) -> None:
        contrast, scale = self._draw_cameras(draws)
        target = batch[members]
        stops = measured_stops(power(target, 1 / contrast)) * scale
        stops += (target > WHITE) * draws.uniform(0, HIDDEN_STOPS) * draws.chance(0.5)
        shift = self._draw_bracket_shifts(draws)
        variation = self._draw_variation(draws, 0.4, 0.0)
        stops += variation.of(stops, torch.arange(len(members)), torch.exp2)
        self._show(stops, shift, contrast, scale)
        batch[members] = stops
        self._finish(batch, members, draws)

    @staticmethod
    def _show(stops: Tensor, shift: Tensor, contrast: Tensor, scale: Tensor) -> None:
        stops.copy_(power(measured_display((stops + shift) / scale), contrast))


def seconds(works: list[Callable[[], object]], rounds: int) -> list[float]:
    """CPU time of each, median of the rounds, in which they take turns; a first round is not counted."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds + 1):
        for work, own in zip(works, times, strict=True):
            begin = time.process_time()
            work()
            own.append(time.process_time() - begin)
    return [statistics.median(own[1:]) for own in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':<24}{'inputs/s':>10}{'ratio':>8}{'JPEG':>8}")
    for side, count in SIDES.items():
        smooth = F.interpolate(torch.rand(count, 3, 9, 9), (side, side), mode="bicubic")
        target, stops = smooth.clamp(0, 1), 12 * smooth - 8
        for name in ("global", "gpu"):
            options = json.loads((PRESETS / f"{name}.json").read_text("utf-8"))["exposure"]
            fast, slow = ExposureSimulator(**options), PerPixel(**options)
            plain = replace(fast, jpeg_share=0)

            def photos(simulator: ExposureSimulator, target: Tensor = target) -> Callable[[], object]:
                return lambda: simulator(target, torch.Generator().manual_seed(0))

            ours, theirs, unpacked = seconds([photos(fast), photos(slow), photos(plain)], args.rounds)
            share = max(0.0, 1 - unpacked / ours) if fast.jpeg_share else 0.0
            print(f"{f'{side} pixels, {name}':<24}{count / ours:>10.0f}{theirs / ours:>8.2f}{share:>8.0%}")

        def scenes(
            simulator: ExposureSimulator, stops: Tensor = stops, target: Tensor = target
        ) -> Callable[[], object]:
            return lambda: simulator.expose_scenes(stops, target, torch.Generator().manual_seed(0))

        ours, theirs = seconds([scenes(fast), scenes(slow)], args.rounds)
        print(f"{f'{side} pixels, scenes':<24}{count / ours:>10.0f}{theirs / ours:>8.2f}")


if __name__ == "__main__":
    main()
