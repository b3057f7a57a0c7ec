"""Fit the camera curve of the exposure simulation to real renderings of scenes at several exposures.

    python training/fit_curve.py RENDERINGS --curves curves.png --scene scene.jpg

RENDERINGS holds photos named SCENE_N1.5, SCENE_N1, SCENE_0, SCENE_P1, SCENE_P1.5. Every second scene is fitted, from
its _0 to the others; the rest checks the fit. Printed are mean PSNR: of doing nothing, of a gain in linear sRGB, of
the fitted curve, and of the curve that the program carries.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from expcorr_core.dataset import load_photo
from expcorr_core.exposure import CameraCurve, shift_exposure
from expcorr_core.image_io import ImageError, Photo, find_photos
from expcorr_core.metrics import psnr
from expcorr_core.pairs import ev_of, exposure_of

Scene = dict[float, Tensor]  # EV to (3, H, W), 0..1
SIDE = 512  # larger side that the fit works on
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
        raise ImageError(f"{folder} holds {len(found)} scenes with renderings at EV 0 and others; it takes 2")
    return found


def linear_gain(image: Tensor, ev: float) -> Tensor:
    """Exposure change as a gain in linear sRGB that clips."""
    linear = torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4) * 2**ev
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def score(scenes: list[Scene], render: Callable[[Tensor, float], Tensor]) -> float:
    """Mean PSNR, dB, of renderings made from EV 0 against the real ones, on 8 bits."""
    values = []
    for scene in scenes:
        for ev, real in scene.items():
            if ev:
                made = render(scene[0.0], ev)
                values.append(psnr(*(Photo.from_tensor(x[None]).pixels for x in (made, real))))
    return sum(values) / len(values)


def fit(scenes: list[Scene]) -> CameraCurve:
    """The curve with the highest score on the scenes; one for all of them and all EVs."""
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


def plot_curves(scenes: list[Scene], curve: CameraCurve, path: Path) -> None:
    """What a rendering at EV 0 becomes at each EV: the median of the real ones, the curve, a gain in linear sRGB."""
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
        axis.plot(levels, linear_gain(levels, ev), ":", color=colour, lw=1)
    axis.set(xlabel="value at EV 0", ylabel="value at the other EV", xlim=(0, 1), ylim=(0, 1))
    axis.set_title("real renderings (dots), fitted curve (lines), linear gain (dotted)", fontsize=10)
    axis.legend()
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def save_scene(scene: Scene, curve: CameraCurve, path: Path) -> None:
    """Real renderings above those made from EV 0."""
    rows = [[scene[ev], shift_exposure(scene[0.0], ev, curve)] for ev in sorted(scene)]
    sheet = torch.cat([torch.cat(pair, 1) for pair in rows], 2)
    Image.fromarray(Photo.from_tensor(sheet[None]).pixels).save(path, quality=90)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with one sentence where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("renderings", type=Path)
    parser.add_argument("--curves", type=Path, help="picture of the curves to write")
    parser.add_argument("--scene", type=Path, help="picture of the first scene that was not fitted")
    args = parser.parse_args(argv)
    try:
        scenes = list(read_scenes(args.renderings).values())
        fitted, checked = scenes[::2], scenes[1::2]
        curve = fit(fitted)
        print(f"gamma {curve.gamma:.3f}, shoulder {curve.shoulder:.1f}, slope {curve.slope:.3f}")
        print(f"{'PSNR, dB':<22}{'fitted':>8}{'checked':>9}{'all':>7}")
        for name, render in (
            ("nothing", lambda image, ev: image),
            ("gain in linear sRGB", linear_gain),
            ("fitted curve", lambda image, ev: shift_exposure(image, ev, curve)),
            ("the program's curve", shift_exposure),
        ):
            print(f"{name:<22}{score(fitted, render):>8.2f}{score(checked, render):>9.2f}{score(scenes, render):>7.2f}")
        if args.curves:
            plot_curves(scenes, curve, args.curves)
        if args.scene:
            save_scene(checked[0], curve, args.scene)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"fit_curve.py: {error}")


if __name__ == "__main__":
    main()
