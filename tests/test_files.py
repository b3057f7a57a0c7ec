"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from expcorr_core.files import replacing


@pytest.mark.parametrize("overwrite", [True, False])
def test_files_are_on_the_disk_before_they_get_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    target, flushed = tmp_path / "a.txt", []
    fsync = os.fsync

    def watched(handle: int) -> None:
        flushed.append((os.fstat(handle).st_ino, os.fstat(handle).st_size, target.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    with replacing(target, overwrite) as temporary:
        temporary.write_text("content")
    assert flushed[0] == (target.stat().st_ino, 7, False)
    if os.name == "posix":
        [(folder, _, named)] = flushed[1:]
        assert (folder, named) == (tmp_path.stat().st_ino, True)


@pytest.mark.parametrize("trouble", [errno.EINVAL, errno.EIO])
def test_what_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: int) -> None:
    """Some file systems cannot flush; others fail to write what they had accepted."""

    def fail(handle: int) -> None:
        raise OSError(trouble, os.strerror(trouble))

    monkeypatch.setattr(os, "fsync", fail)
    if trouble == errno.EINVAL:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("content")
        assert (tmp_path / "a.txt").read_text() == "content"
    else:
        with pytest.raises(OSError, match=r"I/O error|Input/output"), replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("content")
        assert not list(tmp_path.iterdir())
