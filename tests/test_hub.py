"""Weights from a Hub: the real client and a server on loopback."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hub_server
import pytest
import torch
from hub_server import TOKEN, HubServer
from safetensors.torch import save

from expcorr_core import hub as hub_module
from expcorr_core.hub import download_weights
from expcorr_core.method.network import ExposureNetwork
from expcorr_core.method.weights import DEFAULT_NAME, WeightsError, save_weights

huggingface_hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub comes with the train extra")

hub = hub_server.hub  # the fixture
REPOSITORY = "tester/exposure"


@pytest.fixture
def weights(tmp_path: Path, small_network: ExposureNetwork) -> bytes:
    """A small weights file."""
    save_weights(tmp_path / "small.safetensors", small_network, {"steps": 1})
    return (tmp_path / "small.safetensors").read_bytes()


@pytest.fixture
def published(hub: HubServer, weights: bytes) -> HubServer:
    """The Hub with the small weights in a repository."""
    hub.files = {(REPOSITORY, revision): {DEFAULT_NAME: weights} for revision in ("main", "v1")}
    return hub


def sentence(repository: str | None = REPOSITORY, **arguments: Any) -> str:
    """What the user reads when a download fails."""
    with pytest.raises(WeightsError) as caught:
        download_weights(repository, **arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert "Error" not in text
    return text


def cached() -> list[Path]:
    """Files in the client's cache that hold, or point to, something downloaded."""
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE)
    found = (p for kind in ("blobs", "snapshots") for p in cache.glob(f"models--*/{kind}/**/*"))
    return [p for p in found if p.is_symlink() or p.is_file()]


def test_weights_arrive_once(published: HubServer, weights: bytes) -> None:
    paths = [download_weights(REPOSITORY) for _ in range(2)]
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == weights
    assert paths[0].is_relative_to(huggingface_hub.constants.HF_HUB_CACHE)
    assert sum(request.startswith("GET") for request in published.asked) == 1


def test_the_client_stays_as_it_is_for_others(published: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def state() -> dict[str, object]:
        return {name: value for name, value in vars(huggingface_hub.constants).items() if name.isupper()}

    before, find = state(), published.find

    def watched(path: str, member: bool) -> tuple[int, dict[str, str], bytes]:
        assert state() == before
        return find(path, member)

    monkeypatch.setattr(published, "find", watched)
    assert download_weights(REPOSITORY).is_file()


def test_the_command_downloads_without_pytorch(published: HubServer, weights: bytes, tmp_path: Path) -> None:
    code = f"""
import sys
from expcorr_core.cli import main
code = main(["download", "{REPOSITORY}"])
assert "torch" not in sys.modules
sys.exit(code)
"""
    environment = {**os.environ, "HF_ENDPOINT": published.url, "HF_HUB_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).read_bytes() == weights


def cut_off(hub: HubServer, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the Hub unreachable from now on, in one of four ways."""
    if trouble == "offline":
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    elif trouble == "unreachable":
        hub.stop()
    else:
        hub.status = 0 if trouble == "hangs up" else 503


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("offline", "HF_HUB_OFFLINE forbids downloading it"),
        ("unreachable", "http://127.0.0.1:[0-9]+ cannot be reached"),
        ("out of order", "http://127.0.0.1:[0-9]+ answers with status 503"),
        ("hangs up", "http://127.0.0.1:[0-9]+ cannot be reached"),
    ],
)
def test_without_a_connection_the_cache_serves_or_the_reason_is_said_at_once(
    published: HubServer, weights: bytes, monkeypatch: pytest.MonkeyPatch, trouble: str, reason: str
) -> None:
    def wait(seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s for another try")

    download_weights(REPOSITORY, revision="v1")
    published.asked.clear()
    cut_off(published, trouble, monkeypatch)
    monkeypatch.setattr("time.sleep", wait)
    assert download_weights(REPOSITORY, revision="v1").read_bytes() == weights
    with pytest.raises(WeightsError, match=f"{DEFAULT_NAME} of {REPOSITORY} is not in the cache and {reason}"):
        download_weights(REPOSITORY, revision="main")
    assert len(published.asked) == (2 if trouble in ("out of order", "hangs up") else 0)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"repository": "tester/nothing"}, "has no repository tester/nothing, or you have no access"),
        ({"revision": "v2"}, "repository tester/exposure has no revision v2;"),
        ({"filename": "other.safetensors"}, "has no file other.safetensors in revision main;"),
        ({"filename": "other.safetensors", "revision": "v1"}, "has no file other.safetensors in revision v1;"),
    ],
)
@pytest.mark.parametrize("token", ["", TOKEN])
def test_what_is_not_there_is_named(
    published: HubServer, monkeypatch: pytest.MonkeyPatch, token: str, arguments: dict[str, str], reason: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)  # strangers get 401 where members get 404
    assert reason in sentence(**arguments)
    assert len(published.asked) == 1
    published.status = 403  # as for gated repositories
    assert "or you have no access to it" in sentence()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"repository": None}, "no repository given"),
        ({"repository": "justaname"}, "'justaname' cannot be the name of a repository; name one as owner/name"),
        ({"repository": "https://huggingface.co/tester/exposure"}, "cannot be the name of a repository"),
        ({"repository": "tester/a--b"}, "cannot be the name of a repository"),
        ({"filename": "../../../secret"}, "'../../../secret' cannot be a file in a repository"),
        ({"sha256": "abc"}, "abc is not a SHA-256 checksum"),
    ],
)
def test_what_cannot_be_there_is_not_asked_for(hub: HubServer, arguments: dict[str, str], reason: str) -> None:
    assert reason in sentence(**arguments)
    assert not hub.asked


def test_without_a_name_the_published_repository_is_meant(
    published: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "REPOSITORY", REPOSITORY)
    assert download_weights().is_file()


@pytest.mark.parametrize("links", [True, False])  # there are none on most Windows machines
def test_a_wrong_checksum_leaves_no_file(
    published: HubServer, weights: bytes, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda folder=None: links)
    wrong, right = "0" * 64, hashlib.sha256(weights).hexdigest()
    assert download_weights(REPOSITORY).is_symlink() == links
    assert f"{DEFAULT_NAME} has the checksum {right} instead of {wrong} and was removed" in sentence(sha256=wrong)
    assert not cached()
    assert download_weights(REPOSITORY, sha256=right.upper()).read_bytes() == weights


def test_foreign_files_are_refused(hub: HubServer) -> None:
    hub.files[REPOSITORY, "main"] = {DEFAULT_NAME: save({"x": torch.zeros(1)})}
    assert "belongs to another program" in sentence()


def test_a_cache_that_cannot_be_written_is_named(
    published: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", full)
        assert f"cannot write to the cache {tmp_path / 'hf'} (No space left on device); make room" in sentence()
    (tmp_path / "file").touch()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert f"cannot write to the cache {tmp_path / 'file' / 'hub'} (Not a directory" in sentence()


def test_a_missing_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install huggingface-hub" in sentence()
