"""Measure the exposures of the raw renderer on a raw file: linear light behind the tone curve, compared with 2 ** EV.

    python training/check_raw.py chart.dng --plot ratios.png --sheet five.jpg

The 8-bit pictures are measured, before JPEG. Flat blocks of 24 x 24 pixels (a colour chart has such blocks) are
converted back to light through the colour space and the tone curve. The ratio of this light to that at EV 0 should be
2 ** EV wherever neither clips. The deviation of the median and that of 95 % of the blocks are printed.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.image.colour import srgb_to_linear

from .render_raw import EVS
from .rendering.colour import to_prophoto
from .rendering.commands import guarded
from .rendering.raw import read_raw
from .rendering.tone import Scene, expose, fitting, render, resize, tone_map

BLOCK = 24
FLAT = 0.1  # largest standard deviation relative to the mean: noise, but no edges
USABLE = (0.01, 0.85)  # display light that 8 bits can still resolve and that is not near clipping


def light_behind(pixels: NDArray[np.uint8], scene: Scene, ev: float) -> NDArray[np.float64]:
    """Exposed linear light of an 8-bit sRGB rendering, ``(H, W, 3)``: the tone stage inverted."""
    linear = srgb_to_linear(torch.from_numpy(pixels / np.float32(255))).numpy()
    shown = to_prophoto(linear).astype(float)
    light = expose(np.linspace(0, 1, 2**14, dtype=np.float32) ** 2, ev)
    display = tone_map(light[:, None].repeat(3, 1), scene, ev)[:, 0]
    top, bottom = shown.max(-1, keepdims=True), shown.min(-1, keepdims=True)
    high, low = (np.interp(x, display, light) for x in (top, bottom))
    place = (shown - bottom) / np.maximum(top - bottom, 1e-9)
    behind: NDArray[np.float64] = low + (high - low) * place
    return behind


def blocks(values: NDArray[Any]) -> NDArray[Any]:
    """``(H, W, 3)`` to ``(N, BLOCK * BLOCK, 3)``."""
    rows, columns = values.shape[0] // BLOCK, values.shape[1] // BLOCK
    cut = values[: rows * BLOCK, : columns * BLOCK]
    return cut.reshape(rows, BLOCK, columns, BLOCK, 3).swapaxes(1, 2).reshape(-1, BLOCK * BLOCK, 3)


def measure(scene: Scene) -> dict[float, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """For each EV, the light of the usable flat blocks at EV 0 and at this EV."""
    total = {ev: scene.ev + ev for ev in EVS}
    pictures = {ev: render(scene, ev) for ev in EVS}
    light = {ev: blocks(light_behind(picture, scene, total[ev])) for ev, picture in pictures.items()}
    usable = {}
    for ev, picture in pictures.items():
        shown = blocks(srgb_to_linear(torch.from_numpy(picture / np.float32(255))).numpy())
        usable[ev] = ((shown > USABLE[0]) & (shown < USABLE[1])).all((1, 2))
    flat = (light[0.0].std(1) < FLAT * light[0.0].mean(1)).all(1)
    found = {}
    for ev in EVS:
        chosen = flat & usable[0.0] & usable[ev]
        found[ev] = (light[0.0][chosen].mean(1), light[ev][chosen].mean(1))
    return found


def plot(found: dict[float, tuple[NDArray[np.float64], NDArray[np.float64]]], path: Path) -> None:
    """Plot the ratios of all blocks and channels over the light at EV 0."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    for index, (ev, (before, after)) in enumerate(sorted(found.items())):
        axis.plot(before.ravel(), (after / before).ravel(), ".", ms=2, color=f"C{index}", label=f"EV {ev:+g}")
        axis.axhline(2**ev, color=f"C{index}", lw=1)
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="light at EV 0, 1 is the sensor's saturation",
        ylabel="light / light at EV 0",
    )
    axis.set_yticks([2**ev for ev in EVS], [f"{2**ev:.3g}" for ev in EVS])
    axis.set_xticks([0.01, 0.02, 0.05, 0.1, 0.2, 0.4], ["0.01", "0.02", "0.05", "0.1", "0.2", "0.4"])
    axis.minorticks_off()
    axis.set_title("flat blocks of a raw file's five renderings; lines: 2 ** EV", fontsize=10)
    figure.legend(loc="outside right upper", markerscale=5)
    figure.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--plot", type=Path, help="write a picture of the ratios to this file")
    parser.add_argument("--sheet", type=Path, help="write a picture of the five renderings to this file")
    args = parser.parse_args(argv)

    def command() -> None:
        scene = read_raw(args.raw)
        found = measure(scene)
        for ev, (before, after) in found.items():
            if not len(before):
                raise ValueError(f"{args.raw} has no flat blocks that are usable at EV {ev:+g}; take a colour chart")
            away = np.abs(after / before / 2**ev - 1)
            print(
                f"EV {ev:+.1f}: {len(before):4} blocks, median ratio {np.median(after / before):.4f} of {2**ev:.4f}, "
                f"95 % within {np.quantile(away, 0.95):.2%}"
            )
        if args.plot:
            plot(found, args.plot)
        if args.sheet:
            size = fitting(scene.light.shape[0], scene.light.shape[1], 400)
            sheet = np.concatenate([resize(render(scene, ev), size) for ev in EVS], 1)
            Image.fromarray(sheet).save(args.sheet, quality=90)

    guarded("check_raw.py", command)


if __name__ == "__main__":
    main()
