"""What files lose: each file of a folder is read, written unchanged (in its own or other formats) and compared.

usage: python -m benchmarks.archive FOLDER [--to jpg png tif webp heic avif jxl]

Pixels are compared as decoded by Pillow or tifffile, metadata as read by ExifTool (which must be installed). Tags that
describe pixels, sizes, positions within files and thumbnails are not compared.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from expcorr_core.batch.bulk import prepare
from expcorr_core.photos.reading import SUFFIXES, ImageError, read_photo
from expcorr_core.photos.writing import write_photo

# Groups and tags for the structure of files, for thumbnails and further pictures, and for turned pictures.
GROUPS = re.compile(
    r"SourceFile|ExifTool|System|Composite|JFIF|JFXX|RIFF|APP14|Adobe|MPF\d|MPImage\d|IFD[1-9]\d?|SubIFD\d*|PNG-pHYs"
)
TAGS = re.compile(
    r".*(Offset|Start|Length|ByteCounts?|Thumbnail|Preview|JpgFromRaw|OtherImage|Image(Width|Height)|Orientation|YCbCr"
    r"|Resolution|Photometric|Compression|Planar|Predictor|Interlace|Filter|BitsPerSample|SamplesPer|RowsPerStrip"
    r"|ExtraSamples|ColorType|BitDepth|Palette|Transparency|SampleFormat|FillOrder|SubfileType|ColorMap|Tile(Width|L)"
    r"|T[46]Options|JPEG(Tables|Proc|Q|DC|AC)|ReferenceBlack|Animation|ExifByteOrder|Digest|ProfileName|SignificantBits"
    r").*|File:(?!Comment).*"
)


def tags_of(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """The tags that ExifTool reads from each file."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.write("\n".join(map(str, paths)))
        names.flush()
        command = ["exiftool", "-a", "-G1", "-s", "-u", "-U", "-j", "-@", names.name]
        found = subprocess.run(command, check=False, capture_output=True).stdout
    return {file["SourceFile"]: file for file in json.loads(found or b"[]")}


def compared(before: dict[str, Any], after: dict[str, Any]) -> Counter[str]:
    """Number of values in each group that are lost or changed."""
    counts: Counter[str] = Counter()
    for name, value in before.items():
        group = name.partition(":")[0]
        if not (GROUPS.fullmatch(group) or TAGS.fullmatch(name)) and after.get(name) != value:
            counts[f"{group} {'changed' if name in after else 'lost'}"] += 1
    return counts


def decoded(path: Path) -> NDArray[Any]:
    """The pixels, upright, from another decoder."""
    if path.suffix.lower() in (".tif", ".tiff"):
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if page.bitspersample == 16:
                values: NDArray[Any] = np.moveaxis(page.asarray(), 0, -1) if page.planarconfig == 2 else page.asarray()
                return values
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def difference(source: Path, result: Path) -> str:
    """How much the pixels of two files differ, in a few words."""
    try:
        before, after = decoded(source).astype(float), decoded(result).astype(float)
    except Exception as error:  # whatever decoders raise
        return f"not compared ({type(error).__name__})"
    if before.shape != after.shape:
        return "another size"
    if (before == after).all():
        return "equal"
    peak = 65535 if before.max() > 255 else 255
    return "over 38 dB" if 20 * np.log10(peak / np.sqrt(((before - after) ** 2).mean())) > 38 else "under 38 dB"


def main() -> None:
    """Print counts of files, of pixel differences, and of lost metadata."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--to",
        nargs="+",
        choices=("jpg", "png", "tif", "webp", "heic", "avif", "jxl"),
        help="formats to write (default: each file's own)",
    )
    args = parser.parse_args()
    prepare()
    pairs: list[tuple[Path, Path]] = []
    pixels, losses, said, refused = Counter[str](), Counter[str](), Counter[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        for number, source in enumerate(sorted(p for p in args.folder.rglob("*") if p.suffix.lower() in SUFFIXES)):
            try:
                photo = read_photo(source)
            except ImageError:
                refused += 1
                continue
            for suffix in args.to or [source.suffix[1:]]:
                target = Path(folder, f"{number}.{suffix}")
                said.update(write_photo(target, photo))
                pairs.append((source, target))
                if not args.to:
                    pixels[f"{photo.metadata.kind}: {difference(source, target)}"] += 1
        before, after = tags_of({source for source, _ in pairs}), tags_of(target for _, target in pairs)
        whole = 0
        for source, target in pairs:
            counts = compared(before[str(source)], after.get(str(target), {}))
            whole += not counts
            losses.update(counts.keys())
    print(f"{len(pairs)} files written, {refused} rejected; {whole} kept all metadata")
    for title, counter in (("pixels", pixels), ("files with a difference", losses), ("left out and named", said)):
        print(f"\n{title}")
        for name, count in counter.most_common():
            print(f"{count:6} {name}")


if __name__ == "__main__":
    main()
