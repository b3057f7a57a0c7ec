"""Draw the pack's icon and banner: python docs/logo.py writes docs/icon.png and docs/banner.png.

A disc as a photo shows it at five exposures, in wedges from under-exposed to over-exposed around a well-exposed middle.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).parent
SCALE = 4  # drawn larger, then reduced: smooth edges
STOPS = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
NIGHT, PAPER = (22, 24, 32), (240, 238, 232)


def emblem(side: int) -> Image.Image:
    """The disc on nothing, ``side`` pixels square, RGBA."""
    y, x = (np.mgrid[: side * SCALE, : side * SCALE] + 0.5) / (side * SCALE) * 2 - 1
    radius, angle = np.hypot(x, y), np.arctan2(x, -y) / (2 * np.pi) % 1
    # A sunset: warm light below the middle, cool above, in linear light.
    height = (1 - y) / 2
    light = np.stack([0.42 - 0.30 * height, 0.20 - 0.06 * height, 0.08 + 0.16 * height], -1)
    wedge = np.minimum((angle * len(STOPS)).astype(int), len(STOPS) - 1)
    stops = np.where(radius < 0.46, 0.0, np.array(STOPS)[wedge])
    shown: NDArray[np.float64] = np.clip(light * 2.0 ** stops[..., None], 0, 1) ** (1 / 2.2)
    turned = angle * len(STOPS) % 1
    gap = (np.abs(radius - 0.5) < 0.04) | ((np.minimum(turned, 1 - turned) * radius < 0.022) & (radius > 0.46))
    alpha = (radius < 0.96) & ~gap
    pixels = (np.dstack([shown, alpha]) * 255).round().astype(np.uint8)
    # Premultiplied, so that the gaps' colours do not shine through the edges.
    return Image.fromarray(pixels).convert("RGBa").resize((side, side), Image.Resampling.BOX).convert("RGBA")


def main() -> None:
    icon = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    ImageDraw.Draw(icon).rounded_rectangle((0, 0, 399, 399), 72, fill=NIGHT)
    icon.alpha_composite(emblem(344), (28, 28))
    icon.save(DOCS / "icon.png", optimize=True)

    banner = Image.new("RGBA", (1260, 540), NIGHT)
    banner.alpha_composite(emblem(420), (60, 60))
    draw = ImageDraw.Draw(banner)
    draw.text((540, 160), "Exposure\nCorrection", PAPER, ImageFont.load_default(92), spacing=16)
    draw.text((546, 400), "too dark, too bright, or both: any photo, any size", PAPER, ImageFont.load_default(26))
    banner.convert("RGB").save(DOCS / "banner.png", optimize=True)


if __name__ == "__main__":
    main()
