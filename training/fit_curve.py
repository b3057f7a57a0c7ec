"""Fit the camera curve of the exposure simulation, and the tone curve of the raw renderer, to real renderings.

    python training/fit_curve.py RENDERINGS --curves curves.png --scene scene.jpg

RENDERINGS holds photos named SCENE_N1.5, SCENE_N1, SCENE_0, SCENE_P1, SCENE_P1.5. The curve is
fitted to every second scene, from its _0 to the others, and checked on the rest. The mean PSNR of doing nothing, of a
gain in linear sRGB, of the fitted curve, and of the curves in the program is printed.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from expcorr_core.data.dataset import load_photo
from expcorr_core.data.pairs import ev_of, exposure_of
from expcorr_core.image.colour import linear_to_srgb, srgb_to_linear
from expcorr_core.image.exposure import CameraCurve, gain_exposure, shift_exposure
from expcorr_core.image.metrics import psnr
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import ImageError, find_photos

from .rendering.tone import CAMERA_STOPS, CAMERA_VALUES, ToneCurve, expose, spare_highlights

Scene = dict[float, Tensor]  # EV to (3, H, W), 0..1
SIDE = 512  # larger side that the fit works on
GREY = 0.461  # display value of mid-grey: 118 / 255
START = (2.2, 8.0, 1.3)  # gamma, shoulder, slope


def read_scenes(folder: Path) -> dict[str, Scene]:
    """Scenes with a rendering at EV 0, by name.

    Raises:
        ImageError: there are fewer than two.
    """
    scenes: dict[str, Scene] = defaultdict(dict)
    for path in find_photos(folder):
        name, exposure = exposure_of(path.stem)
        if exposure:
            scenes[name][ev_of(exposure)] = load_photo(path, SIDE).float() / 255
    found = {name: scene for name, scene in scenes.items() if 0.0 in scene and len(scene) > 1}
    if len(found) < 2:
        raise ImageError(f"{folder} has {len(found)} scenes with renderings at EV 0 and others; at least 2 are needed")
    return found


def score(scenes: list[Scene], render: Callable[[Tensor, float], Tensor]) -> float:
    """Mean PSNR, dB, of renderings made from EV 0, compared with the real ones at 8 bits."""
    values = []
    for scene in scenes:
        for ev, real in scene.items():
            if ev:
                made = render(scene[0.0], ev)
                values.append(psnr(*(Photo.from_tensor(x[None]).pixels for x in (made, real))))
    return sum(values) / len(values)


def fit(scenes: list[Scene]) -> CameraCurve:
    """The curve with the highest score on the scenes: one curve for all scenes and EVs."""
    from scipy.optimize import minimize

    small = [{ev: image[:, ::3, ::3] for ev, image in scene.items()} for scene in scenes]

    def loss(parameters: np.ndarray) -> float:
        gamma, log_shoulder, slope = parameters
        curve = CameraCurve(float(gamma), float(np.exp(log_shoulder)), float(slope))
        return -score(small, lambda image, ev: shift_exposure(image, ev, curve))

    start = (START[0], np.log(START[1]), START[2])
    result = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 200, "xatol": 1e-3, "fatol": 1e-4})
    gamma, log_shoulder, slope = result.x
    return CameraCurve(float(gamma), float(np.exp(log_shoulder)), float(slope))


def through(curve: ToneCurve) -> Callable[[Tensor, float], Tensor]:
    """Makes another exposure of a rendering: the curve inverted gives light; then, per channel, as the raw renderer."""
    light = np.linspace(0, 1, 4096, dtype=np.float32) ** 2
    display = curve(light)

    def render(image: Tensor, ev: float) -> Tensor:
        before = np.interp(srgb_to_linear(image).numpy(), display, light).astype(np.float32)
        after = spare_highlights(expose(before, ev), ev).clip(0, 1)
        return linear_to_srgb(torch.from_numpy(curve(after)))

    return render


def fit_tone(scenes: list[Scene]) -> list[float]:
    """Display values at CAMERA_STOPS that bring neutral pixels at EV 0 to their medians at the other EVs."""
    from scipy.optimize import least_squares

    known: dict[float, list[tuple[float, float]]] = defaultdict(list)
    for scene in scenes:
        neutral = scene[0.0].amax(0) - scene[0.0].amin(0) < 8 / 255
        for ev in scene.keys() - {0.0}:
            for level in range(8, 248, 6):
                there = neutral & ((scene[0.0][1] * 255).round() == level)
                if there.sum() >= 16:
                    known[ev].append((level / 255, float(scene[ev][1][there].median())))
    if not known:
        raise ImageError("the renderings show nothing grey to fit the tone curve to; use other scenes")
    levels = {ev: torch.tensor(found).T for ev, found in known.items()}
    middle = CAMERA_STOPS.index(0)

    def values(steps: np.ndarray) -> list[float]:
        low, high = (np.cumsum(np.exp(part)) for part in (steps[: middle + 1], steps[middle + 1 :]))
        return [*(GREY * low / low[-1]), *(GREY + (1 - GREY) * high[:-1] / high[-1])]

    def residual(steps: np.ndarray) -> np.ndarray:
        render = through(ToneCurve.camera(values(steps)))
        return torch.cat([(render(before, ev) - after) * 255 for ev, (before, after) in levels.items()]).numpy()

    start = np.log(np.diff([0, *CAMERA_VALUES, 1]))
    return values(least_squares(residual, start, loss="soft_l1", diff_step=1e-3).x)


def plot_curves(scenes: list[Scene], curve: CameraCurve, path: Path) -> None:
    """Plot what values at EV 0 become at each EV: real renderings (median), the curve, a gain in linear sRGB."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4.6), layout="constrained")
    levels = torch.linspace(0, 1, 256)
    for index, ev in enumerate(sorted({ev for scene in scenes for ev in scene} - {0.0})):
        colour = f"C{index}"
        before = torch.cat([scene[0.0].flatten() for scene in scenes if ev in scene])
        after = torch.cat([scene[ev].flatten() for scene in scenes if ev in scene])
        bins = (before * 255).round().long()
        middle = [after[bins == level].median() if (bins == level).sum() > 50 else np.nan for level in range(256)]
        axis.plot(levels, torch.tensor(middle), ".", color=colour, ms=3, alpha=0.5)
        axis.plot(levels, shift_exposure(levels, ev, curve), color=colour, label=f"EV {ev:+g}")
        axis.plot(levels, gain_exposure(levels, ev), ":", color=colour, lw=1)
    axis.set(xlabel="value at EV 0", ylabel="value at the other EV", xlim=(0, 1), ylim=(0, 1))
    axis.set_title("real renderings (dots), fitted curve (lines), linear gain (dotted)", fontsize=10)
    axis.legend()
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def save_scene(scene: Scene, curve: CameraCurve, path: Path) -> None:
    """Save real renderings, with those made from EV 0 below them."""
    rows = [[scene[ev], shift_exposure(scene[0.0], ev, curve)] for ev in sorted(scene)]
    sheet = torch.cat([torch.cat(pair, 1) for pair in rows], 2)
    Image.fromarray(Photo.from_tensor(sheet[None]).pixels).save(path, quality=90)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("renderings", type=Path)
    parser.add_argument("--curves", type=Path, help="write a picture of the curves to this file")
    parser.add_argument(
        "--scene", type=Path, help="write a picture of the first scene that was not fitted to this file"
    )
    args = parser.parse_args(argv)
    try:
        scenes = list(read_scenes(args.renderings).values())
        fitted, checked = scenes[::2], scenes[1::2]
        curve = fit(fitted)
        print(f"gamma {curve.gamma:.3f}, shoulder {curve.shoulder:.1f}, slope {curve.slope:.3f}")
        print(f"{'PSNR, dB':<22}{'fitted':>8}{'checked':>9}{'all':>7}")
        tone = fit_tone(fitted)
        for name, render in (
            ("nothing", lambda image, ev: image),
            ("gain in linear sRGB", gain_exposure),
            ("fitted curve", lambda image, ev: shift_exposure(image, ev, curve)),
            ("the program's curve", shift_exposure),
            ("fitted tone curve", through(ToneCurve.camera(tone))),
            ("the renderer's curve", through(ToneCurve.camera())),
        ):
            print(f"{name:<22}{score(fitted, render):>8.2f}{score(checked, render):>9.2f}{score(scenes, render):>7.2f}")
        print("tone curve at", ", ".join(f"{s:g}: {v:.4f}" for s, v in zip(CAMERA_STOPS, tone, strict=True)))
        if args.curves:
            plot_curves(scenes, curve, args.curves)
        if args.scene:
            save_scene(checked[0], curve, args.scene)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"fit_curve.py: {error}")


if __name__ == "__main__":
    main()
