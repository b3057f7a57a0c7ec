"""Check a data set in the paper's layout: a downloaded copy, or one of render_raw.py and render_hdr.py.

    python training/verify.py DATASET

Printed are the images of each split, beside the paper's, and every problem: missing partners, scenes in
two splits, files that cannot be read, sizes that differ within a pair and, where there is a manifest.csv, files that
are missing or have changed. The exit status is 1 if there is one.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (goes on as a module of the package, and ends)

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
    """Pairs of a split, and what is amiss; a data set with a manifest may lack a split."""
    root = folder / split
    ours = (folder / MANIFEST).is_file()  # which knows itself what there should be
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
    """Height and width of each file, decoded as a whole; and a sentence for each that cannot be."""

    def read(path: Path) -> Size | str:
        try:
            height, width = read_photo(path).pixels.shape[:2]
        except ImageError as error:
            return str(error)
        return height, width

    paths = list(paths)
    with ThreadPoolExecutor(cores()) as pool:  # decoders leave the interpreter's lock
        found = list(tqdm(pool.map(read, paths), "reading", len(paths), disable=quiet))
    sizes = {path: size for path, size in zip(paths, found, strict=True) if not isinstance(size, str)}
    return sizes, [text for text in found if isinstance(text, str)]


def shared_scenes(folder: Path) -> Iterator[str]:
    """A sentence for each scene that is in more than one split."""
    scenes = {}
    for split in SPLITS:
        with contextlib.suppress(ImageError):  # there is none, which is told elsewhere
            scenes[split] = scenes_of(folder / split / INPUTS)
    for name in sorted(set().union(*scenes.values())):
        found = [split for split, names in scenes.items() if name in names]
        if len(found) > 1:
            yield f"scene {name} is in {' and '.join(found)}"


def check_manifest(folder: Path, quiet: bool) -> Iterator[str]:
    """A sentence for each file of the manifest that is missing or has changed; nothing where there is no manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(row["file"], row["sha256"]) for row in csv.DictReader(file)]
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        yield f"{path} is no manifest ({error!r})"
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
    """A table of the splits, Markdown, and what is amiss, a sentence each.

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
    return markdown(("split", "images with a target", "targets", "images in the paper's"), rows), amiss


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with 1 where something is amiss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder with training, validation and testing in it")
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
