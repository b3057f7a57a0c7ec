"""Files made by attackers or broken disks: rejected in one sentence, with little time and memory."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import hostile_files
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.batch import bulk
from expcorr_core.batch.pool import Task, spread
from expcorr_core.cli import main
from expcorr_core.method.weights import WeightsError, load_weights
from expcorr_core.method.weights_file import MAX_HEADER
from expcorr_core.photos.reading import ImageError, read_photo

FILES = 10_000


@pytest.mark.slow
def test_mutants_are_read_or_refused() -> None:
    tasks = [
        Task((first, 500), [hostile_files.Tried("?", f"process died from {first} on", 0, 0)])
        for first in range(0, FILES, 500)
    ]
    tried = [t for batch in spread(hostile_files.try_batch, tasks, 2) for t in batch]
    print(hostile_files.table(tried))
    assert [t for t in tried if t.how not in hostile_files.FINE] == []
    assert len(tried) == FILES
    # Neither all nor none get through: the mutants are neither harmless nor hopeless.
    assert 0.05 < sum(t.how == "read" for t in tried) / FILES < 0.6


def test_mutants_are_functions_of_their_number() -> None:
    assert [hostile_files.mutant(n) for n in range(40)] == [hostile_files.mutant(n) for n in range(40)]
    assert len({hostile_files.mutant(n)[1] for n in range(40)}) > 35


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def correct(path: Path) -> int:
    return main(["correct", str(path), "-o", str(path.parent / "out"), "--quiet"])


@pytest.mark.parametrize("side", [30_000, 1_000_000, 2**31 - 1])
def test_decompression_bombs_are_refused(tmp_path: Path, side: int, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, zlib.compress(bytes(10**6))))
    assert correct(path) == 1
    told = capsys.readouterr().err
    assert "bomb.png" in told
    assert told.count("\n") == 1


def test_a_photo_that_does_not_fit_into_memory_is_refused_before_it_is_decoded(
    photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "memory", lambda: 400_000)
    assert correct(photo) == 1
    assert "of memory to be corrected, and this computer has" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["GIF", "PDF", "EPS", "BMP", "ICO", "PPM"])
def test_formats_that_nobody_needs_are_never_opened(tmp_path: Path, scene: NDArray[np.uint8], kind: str) -> None:
    """Even under the name of another format: Pillow would look at the content."""
    Image.fromarray(scene).save(tmp_path / "a", kind)
    (tmp_path / "a").rename(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match=r"is not a photo in a known format|which is not supported"):
        read_photo(tmp_path / "a.jpg")


def weights_file(path: Path, header: bytes, length: int | None = None, data: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def tensor(shape: list[int], start: int, end: int, kind: str = "F32") -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


METADATA = {"__metadata__": {"format": "expcorr"}}


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"", 2**63),
        (b"{}", 2**31),
        (b"{}", 100),
        (b"", 0),
        (b"not json", None),
        (b"[" * 60_000, None),
        (json.dumps({**METADATA, "a": tensor([2**40, 2**40], 0, 4)}).encode(), None),
        (json.dumps({**METADATA, "a": tensor([2**31], 0, 2**33)}).encode(), None),
        (json.dumps({**METADATA, "a": tensor([-1], 0, 4)}).encode(), None),
        (json.dumps({**METADATA, "a": tensor([1], 4, 0)}).encode(), None),
        (json.dumps({**METADATA, "a": tensor([1], 0, 4, "PICKLE")}).encode(), None),
        (json.dumps({**METADATA, **{str(i): tensor([0], 0, 0) for i in range(50_000)}}).encode(), None),
    ],
    ids=lambda value: str(value)[:24],
)
def test_weights_with_wrong_headers_are_refused(tmp_path: Path, header: bytes, length: int | None) -> None:
    path = weights_file(tmp_path / "w.safetensors", header, length, b"\0" * 8)
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        load_weights(path)


def test_absurdly_many_entries_are_refused_before_they_are_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(*args: object, **options: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("expcorr_core.method.weights.safe_open", parse)
    path = weights_file(tmp_path / "w.safetensors", b" " * (MAX_HEADER + 1))
    with pytest.raises(WeightsError, match="claims a header of 1048577 bytes"):
        load_weights(path)


def test_a_pickle_is_no_weights_file(tmp_path: Path) -> None:
    marker = tmp_path / "evaluated"
    path = tmp_path / "w.safetensors"
    path.write_bytes(f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode())
    with pytest.raises(WeightsError):
        load_weights(path)
    assert not marker.exists()
