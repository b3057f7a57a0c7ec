"""Check a data set in the paper's layout: a downloaded copy, or one made by render_raw.py or render_hdr.py.

    python training/verify.py DATASET

Prints the number of images in each split, next to the paper's, and every problem: missing partners, scenes in two
splits, files that cannot be read, sizes that differ within a pair and, if there is a manifest.csv, files that are
missing or have changed. If there is a problem, the exit code is 1.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
import contextlib
import csv
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from expcorr_core.data.pairs import (
    EXPERTS,
    EXPOSURES,
    INPUTS,
    SPLITS,
    TARGETS,
    Pair,
    expert_folder,
    find_exposure_pairs,
    find_test_pairs,
    scenes_of,
)
from expcorr_core.files import digest, files_of
from expcorr_core.machine import cores
from expcorr_core.photos.reading import ImageError, read_photo

from .rendering.build import MANIFEST
from .rendering.commands import guarded
from .rendering.scenes import PAPER_SCENES
from .tables import markdown

Size = tuple[int, int]


def find_pairs(folder: Path, split: str) -> tuple[list[Pair], list[str]]:
    """Pairs of a split, and its problems; a data set with a manifest may lack a split."""
    root = folder / split
    ours = (folder / MANIFEST).is_file()  # the manifest lists what there should be
    if not root.is_dir():
        return [], [] if ours else [f"{root} is missing"]
    exposures = () if ours else tuple(EXPOSURES)
    try:
        if split != "testing":
            return find_exposure_pairs(root / INPUTS, root / TARGETS, exposures)
        pairs, amiss = find_test_pairs(root, exposures)
    except ImageError as error:
        return [], [str(error)]
    absent = [root / expert_folder(e) for e in EXPERTS if not ours and not (root / expert_folder(e)).is_dir()]
    return pairs, amiss + [f"{path} is missing" for path in absent]


def read_sizes(paths: Iterable[Path], quiet: bool) -> tuple[dict[Path, Size], list[str]]:
    """Height and width of each file, which is decoded completely; and a sentence for each file that cannot be."""

    def read(path: Path) -> Size | str:
        try:
            height, width = read_photo(path).pixels.shape[:2]
        except ImageError as error:
            return str(error)
        return height, width

    paths = list(paths)
    with ThreadPoolExecutor(cores()) as pool:  # decoders release the interpreter's lock
        found = list(tqdm(pool.map(read, paths), "reading", len(paths), disable=quiet))
    sizes = {path: size for path, size in zip(paths, found, strict=True) if not isinstance(size, str)}
    return sizes, [text for text in found if isinstance(text, str)]


def shared_scenes(folder: Path) -> Iterator[str]:
    """A sentence for each scene that is in more than one split."""
    scenes = {}
    for split in SPLITS:
        with contextlib.suppress(ImageError):  # there is none, which is reported elsewhere
            scenes[split] = scenes_of(folder / split / INPUTS)
    for name in sorted(set().union(*scenes.values())):
        found = [split for split, names in scenes.items() if name in names]
        if len(found) > 1:
            yield f"scene {name} is in {' and '.join(found)}"


def check_manifest(folder: Path, quiet: bool) -> Iterator[str]:
    """A sentence for each file of the manifest that is missing or has changed; none if there is no manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(row["file"], row["sha256"]) for row in csv.DictReader(file)]
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        yield f"{path} is not a valid manifest ({error!r})"
        return
    listed = {folder / name for name, _ in rows}
    for split in SPLITS:
        for unlisted in sorted(set(files_of(folder / split, (".jpg",))) - listed):
            yield f"{unlisted} is not in the manifest"
    for name, checksum in tqdm(rows, "checksums", disable=quiet):
        if not (folder / name).is_file():
            yield f"{folder / name} is missing"
        elif digest(folder / name) != checksum:
            yield f"{folder / name} has changed since it was made"


def verify(folder: Path, quiet: bool = False) -> tuple[str, list[str]]:
    """A Markdown table of the splits, and one sentence for each problem.

    Raises:
        ImageError: the folder does not exist.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder; name a data set")
    pairs: list[Pair] = []
    amiss: list[str] = []
    rows = []
    for split in SPLITS:
        found, reports = find_pairs(folder, split)
        pairs += found
        amiss += reports
        images = len({pair.input for pair in found})
        rows.append((split, images, len({pair.target for pair in found}), PAPER_SCENES[split] * len(EXPOSURES)))
    amiss += shared_scenes(folder)
    sizes, unreadable = read_sizes(dict.fromkeys(path for pair in pairs for path in (pair.input, pair.target)), quiet)
    amiss += unreadable
    for pair in pairs:
        own, wanted = sizes.get(pair.input), sizes.get(pair.target)
        if own and wanted and own != wanted:
            amiss.append(f"{pair.input} is {own[1]}x{own[0]}, its target {pair.target} {wanted[1]}x{wanted[0]}")
    amiss += check_manifest(folder, quiet)
    return markdown(("split", "images with a target", "targets", "images in the paper"), rows), amiss


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with 1 if there are problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder that contains training, validation and testing")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args(argv)

    def command() -> None:
        table, amiss = verify(args.dataset, args.quiet)
        print(table)
        for sentence in amiss:
            print(sentence)
        if amiss:
            sys.exit(1)
        print("no problems found")

    guarded("verify.py", command)


if __name__ == "__main__":
    main()
