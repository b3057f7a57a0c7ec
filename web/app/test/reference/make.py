"""Reference values of the library for the page's unit tests: ``python web/app/test/reference/make.py``."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.image.limits import Limits
from expcorr_core.image.report import exposure_error
from expcorr_core.image.resize import reduce_to
from expcorr_core.photos import exif
from expcorr_core.photos.icc import ADOBE_RGB, PRIMARIES, colour_space, profile_of

Bytes = NDArray[np.uint8]


def picture(height: int, width: int) -> Bytes:
    """Colours that the tests make anew: ``(height, width, 3)``."""
    y, x, c = np.mgrid[:height, :width, :3]
    return ((x * x * 3 + y * 17 + c * 41 + x * y) % 256).astype(np.uint8)


def grid() -> BilateralGrid:
    """Transforms that the tests make anew."""
    places = np.arange(22 * 22 * 8 * 12).reshape(1, 22, 22, 8, 3, 4)
    noise = ((places * 7919 + places // 12 * 31) % 1009) / 1009 - 0.5
    return BilateralGrid(torch.from_numpy((np.eye(3, 4) * 1.2 + noise * 0.4).astype(np.float32)))


def tensor(pixels: Bytes) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def numbers(image: Tensor) -> list[float]:
    """Interleaved, rounded to keep the file small."""
    return [round(value, 6) for value in image[0].permute(1, 2, 0).flatten().tolist()]


def rounded(image: Tensor) -> str:
    return text((image[0].permute(1, 2, 0) * 255).round().clamp(0, 255).byte().numpy().tobytes())


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def reductions() -> list[dict[str, Any]]:
    cases = ((29, 37, 16), (40, 11, 13), (1, 50, 7), (9, 9, 9), (64, 64, 21))
    return [
        {"height": h, "width": w, "side": side, "values": numbers(reduce_to(tensor(picture(h, w)), side) * 255)}
        for h, w, side in cases
    ]


def slices() -> list[dict[str, Any]]:
    cases = []
    for height, width, strength, stops, keep in (
        (23, 31, 1.0, None, True),
        (23, 31, 0.4, None, True),
        (23, 31, 2.0, None, False),
        (23, 31, 1.5, 0.5, True),
        (7, 60, 1.0, 0.0, False),
        (1, 1, 1.0, None, True),
    ):
        image = tensor(picture(height, width))
        limited = BilateralGrid(grid().blend(strength).coefficients, Limits.of(stops, keep))
        result = limited.slice(image, path="torch")
        cases.append(
            {
                "height": height,
                "width": width,
                "settings": {"strength": strength, "maxStops": stops, "keepHighlights": keep},
                "result": rounded(result),
                "stops": exposure_error(image, result).item(),
            }
        )
    return cases


def spaces() -> list[dict[str, Any]]:
    cases = []
    before = tensor(picture(12, 20))
    corrected = (before * 0.7 + 0.2).clamp(0, 1)
    for name, profile in (
        ("Display P3", profile_of(*PRIMARIES[12])),
        ("Adobe RGB", ADOBE_RGB),
        ("BT.2020", profile_of(*PRIMARIES[9])),
        ("sRGB", profile_of(*PRIMARIES[1])),
        ("linear", profile_of(*PRIMARIES[1], exponent=1.0)),
    ):
        space = colour_space(profile)
        case: dict[str, Any] = {"name": name, "profile": text(profile), "height": 12, "width": 20}
        if space and name != "linear":
            case["seen"] = rounded(space.to_srgb(before))
            case["carried"] = rounded(space.carry_back(before, corrected))
        cases.append(case)
    return cases


def block(order: str, thumbnail: bytes, behind: bytes = b"") -> bytes:
    """An EXIF block with sides, resolutions, a subject's position, maker notes and a thumbnail."""

    def directory(place: int, entries: list[tuple[int, int, int, bytes]], following: int = 0) -> bytes:
        heads, area = b"", b""
        start = place + 2 + 12 * len(entries) + 4
        for tag, kind, count, data in entries:
            value = data.ljust(4, b"\0")
            if len(data) > 4:
                value = struct.pack(order + "I", start + len(area))
                area += data
            heads += struct.pack(order + "HHI", tag, kind, count) + value
        return struct.pack(order + "H", len(entries)) + heads + struct.pack(order + "I", following) + area

    def short(value: int) -> bytes:
        return struct.pack(order + "H", value)

    def long(value: int) -> bytes:
        return struct.pack(order + "I", value)

    first, inner, second = 8, 200, 400
    main = [
        (256, 4, 1, long(640)),
        (257, 3, 1, short(480)),
        (271, 2, 6, b"Maker\0"),
        (274, 3, 1, short(6)),
        (282, 5, 1, struct.pack(order + "II", 300, 1)),
        (283, 5, 1, struct.pack(order + "II", 72, 1)),
        (34665, 4, 1, long(inner)),
    ]
    below = [
        (37396, 3, 2, short(10) + short(20)),
        (37500, 7, 30, bytes(range(30))),
        (40962, 4, 1, long(640)),
        (40963, 4, 1, long(480)),
        (41492, 3, 2, short(11) + short(21)),
        (41990, 3, 1, short(2)),
    ]
    page = [(259, 3, 1, short(6)), (274, 3, 1, short(6)), (513, 4, 1, long(500)), (514, 4, 1, long(len(thumbnail)))]
    whole = {"<": b"II*\0", ">": b"MM\0*"}[order] + long(first)
    for place, part in (
        (first, directory(first, main, second)),
        (inner, directory(inner, below)),
        (second, directory(second, page)),
        (500, thumbnail),
    ):
        whole = whole.ljust(place, b"\0") + part
    return whole + behind


def blocks() -> list[dict[str, Any]]:
    cases = []
    for order, behind, orientation in (("<", b"", 6), (">", b"more behind", 3), ("<", b"", 1)):
        before = block(order, b"\xff\xd8 a thumbnail \xff\xd9", behind)
        after = exif.turned_upright(before, sideways=orientation > 4)
        if orientation > 1:
            after = exif.without_subject(after)
        after = exif.with_thumbnail(after, b"")
        cases.append({"before": text(before), "orientation": orientation, "after": text(after)})
    return cases


def jpegs() -> list[dict[str, Any]]:
    cases = []
    for height, width, grey in ((16, 24, False), (13, 21, False), (11, 5, True), (1, 1, False)):
        pixels = picture(height, width)
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if grey else pixels).save(file, "JPEG", quality=95, subsampling=0)
        cases.append({"height": height, "width": width, "grey": grey, "file": text(file.getvalue())})
    return cases


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def interlaced(pixels: Bytes) -> bytes:
    """An interlaced PNG file, each row unfiltered."""
    rows = b""
    for x, y, across, down in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                               (0, 1, 1, 2)):  # fmt: skip
        part = pixels[y::down, x::across]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep(pixels: Bytes) -> bytes:
    """A PNG file of 16 bits, filtered by the row above."""
    values = pixels.astype(">u2") * 257 + 60
    lines = values.clip(0, 65535).astype(">u2").view(np.uint8).reshape(len(values), -1)
    rows = b"".join(
        b"\2" + (line - before).tobytes() for line, before in zip(lines, [lines[0] * 0, *lines[:-1]], strict=True)
    )
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pngs() -> list[dict[str, Any]]:
    pixels = picture(11, 19)
    alpha = (picture(11, 19)[..., :1] * 3).astype(np.uint8)
    colours = Image.fromarray(pixels)
    kinds = {
        "grey": Image.fromarray(pixels[..., 0]),
        "grey with alpha": Image.fromarray(np.concatenate((pixels[..., :1], alpha), 2), "LA"),
        "colours": colours,
        "colours with alpha": Image.fromarray(np.concatenate((pixels, alpha), 2)),
        "palette": colours.quantize(20),
        "two colours": Image.fromarray(pixels[..., 0] > 99),
    }
    cases = []
    for name, image in kinds.items():
        file = io.BytesIO()
        options = {"transparency": 3} if name == "palette" else {}
        image.save(file, "PNG", **options)
        opened = Image.open(file)
        cases.append({"name": name, "file": text(file.getvalue()), "pixels": text(opened.convert("RGBA").tobytes())})
    cases.append(
        {"name": "interlaced", "file": text(interlaced(pixels)), "pixels": text(colours.convert("RGBA").tobytes())}
    )
    kept = np.round(np.clip(pixels.astype(int) * 257 + 60, 0, 65535) / 257).astype(np.uint8)
    whole = Image.fromarray(kept).convert("RGBA").tobytes()
    cases.append({"name": "16 bits", "file": text(deep(pixels)), "pixels": text(whole)})
    return cases


def main() -> None:
    folder = Path(__file__).parent
    for part in (reductions, slices, spaces, blocks, jpegs, pngs):
        (folder / f"{part.__name__}.json").write_text(json.dumps(part(), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
