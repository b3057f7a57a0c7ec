"""Weights from a Hub, by the real client from a server on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hub_server
import pytest
import torch
from hub_server import READ_TOKEN, WRITE_TOKEN, HubServer
from safetensors.torch import save

from expcorr_core import hub as hub_module
from expcorr_core.hub import download_weights
from expcorr_core.network import ExposureNetwork
from expcorr_core.weights import DEFAULT_NAME, WeightsError, default_weights_path, load_weights, save_weights

huggingface_hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub comes with the train extra")
constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub comes with the train extra")

hub = hub_server.hub  # the fixture

REPOSITORY = "tester/exposure"


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits up to 23 s between its attempts."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def weights(tmp_path: Path, small_network: ExposureNetwork) -> bytes:
    """A small weights file."""
    save_weights(tmp_path / "small.safetensors", small_network, {"steps": 1})
    return (tmp_path / "small.safetensors").read_bytes()


@pytest.fixture
def published(hub: HubServer, weights: bytes) -> HubServer:
    """The Hub with the small weights in a repository."""
    hub.add(REPOSITORY, {DEFAULT_NAME: weights}, tag="v1")
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
    cache = Path(constants.HF_HUB_CACHE)
    found = [p for p in cache.glob("models--*/[bs]*/**/*") if p.is_symlink() or p.is_file()]
    return [p for p in found if p.suffix != ".incomplete"]


def test_weights_arrive_and_load(published: HubServer, weights: bytes, small_network: ExposureNetwork) -> None:
    path = download_weights(REPOSITORY)
    assert path.read_bytes() == weights
    assert path.is_relative_to(constants.HF_HUB_CACHE)
    loaded = load_weights(path).state_dict()
    assert all(torch.equal(loaded[key], value.half().float()) for key, value in small_network.state_dict().items())


def test_a_second_call_transfers_nothing(published: HubServer) -> None:
    first = download_weights(REPOSITORY)
    assert download_weights(REPOSITORY) == first
    assert len(published.asked("GET", "/resolve/")) == 1


def test_revisions_are_branches_tags_or_commits(hub: HubServer, weights: bytes, tmp_path: Path) -> None:
    commit = hub.add(REPOSITORY, {"w.safetensors": weights}, tag="v1")
    changed = default_weights_path().read_bytes()
    hub.add(REPOSITORY, {"w.safetensors": changed})
    found = {name: download_weights(REPOSITORY, "w.safetensors", name) for name in (None, "main", "v1", commit)}
    assert found[None].read_bytes() == found["main"].read_bytes() == changed
    assert found["v1"].read_bytes() == found[commit].read_bytes() == weights


def test_the_endpoint_is_read_at_each_call(published: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", dead)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", dead + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setenv("HF_ENDPOINT", published.url + "/")
    assert download_weights(REPOSITORY).is_file()
    assert sentence("tester/nothing").startswith(f"{published.url} has no repository")


def test_a_broken_connection_is_resumed(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    data = default_weights_path().read_bytes()
    hub.add(REPOSITORY, {DEFAULT_NAME: data})
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10 << 20)
    hub.break_after, hub.breaks = 5_000_000, 2
    assert download_weights(REPOSITORY).read_bytes() == data
    requests = hub.asked("GET", "/resolve/")
    starts = [int(r.headers.get("range", "bytes=0-")[6:-1]) for r in requests]
    # Each goes on where the last complete piece ended.
    assert starts == [0, 4 << 20, 8 << 20]
    assert [r.status for r in requests] == [200, 206, 206]
    assert sum(r.sent for r in requests) < len(data) + 2 * hub_module.PIECE
    assert constants.DOWNLOAD_CHUNK_SIZE == 10 << 20  # others keep theirs


def test_a_reset_connection_is_tried_again(published: HubServer, weights: bytes) -> None:
    published.reset, published.break_after, published.breaks = True, 1000, 2
    assert download_weights(REPOSITORY).read_bytes() == weights


def test_a_connection_that_breaks_always_is_given_up(published: HubServer) -> None:
    published.reset, published.break_after = True, 1000
    assert "failed 3 times" in sentence()
    assert len(published.asked("GET", "/resolve/")) == 3
    assert not cached()


def cut_off(hub: HubServer, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub be out of reach from now on, in one of four ways."""
    if trouble == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif trouble == "unreachable":
        hub.stop()
    else:
        hub.down = 0 if trouble == "hangs up" else 503


@pytest.mark.parametrize("trouble", ["offline", "unreachable", "hangs up", "out of order"])
def test_without_a_connection_the_cache_serves(
    published: HubServer, weights: bytes, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    download_weights(REPOSITORY, revision="v1")
    published.requests.clear()
    cut_off(published, trouble, monkeypatch)
    assert download_weights(REPOSITORY, revision="v1").read_bytes() == weights
    assert bool(published.requests) == (trouble in ("hangs up", "out of order"))


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("offline", "is not in the cache and HF_HUB_OFFLINE forbids"),
        ("unreachable", "is not in the cache and .*http://127.0.0.1:[0-9]+ (cannot be reached|failed 3 times)"),
        ("out of order", "is not in the cache and http://127.0.0.1:[0-9]+ answers with status 503"),
        ("hangs up", "is not in the cache and the connection to http://127.0.0.1:[0-9]+ failed 3 times"),
    ],
)
def test_without_a_connection_or_a_copy_the_reason_is_said(
    published: HubServer, monkeypatch: pytest.MonkeyPatch, trouble: str, reason: str
) -> None:
    cut_off(published, trouble, monkeypatch)
    with pytest.raises(WeightsError, match=reason):
        download_weights(REPOSITORY)


def test_another_process_downloads_and_then_works_offline(published: HubServer, weights: bytes, tmp_path: Path) -> None:
    """The client reads its variables when it is imported, which is over in this process."""
    code = f"from expcorr_core.hub import download_weights; print(download_weights({REPOSITORY!r}))"

    def path(offline: str) -> Path:
        environment = {**os.environ, **published.environment(tmp_path / "other"), "HF_HUB_OFFLINE": offline}
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent.parent,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return Path(result.stdout.strip())

    first = path("")
    published.stop()
    assert path("1") == first
    assert first.is_relative_to(tmp_path / "other" / "hub")
    assert first.read_bytes() == weights


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"repository": "tester/nothing"}, "has no repository tester/nothing, or you have no access"),
        ({"revision": "v2"}, "repository tester/exposure has no revision v2;"),
        ({"filename": "other.safetensors"}, "has no file other.safetensors in revision main;"),
        ({"filename": "other.safetensors", "revision": "v1"}, "has no file other.safetensors in revision v1;"),
        ({"repository": "https://huggingface.co/tester/exposure"}, "cannot be the name of a repository"),
        ({"filename": "../../../secret"}, "repository tester/exposure"),
        ({"sha256": "abc"}, "abc is no SHA-256 checksum"),
    ],
)
@pytest.mark.parametrize("token", ["", WRITE_TOKEN])
def test_what_is_not_there_is_named(
    published: HubServer, monkeypatch: pytest.MonkeyPatch, token: str, arguments: dict[str, str], reason: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)  # strangers get 401 where members get 404
    assert reason in sentence(**arguments)
    assert not published.asked("GET", "/resolve/")
    assert not cached()


def test_a_private_repository_needs_a_token(
    published: HubServer, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.repositories[REPOSITORY].private = True
    assert "or you have no access to it" in sentence()
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "log in with hf auth login" in sentence()
    published.down = 403  # as for gated repositories
    assert "or you have no access to it" in sentence()
    published.down = None
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    assert download_weights(REPOSITORY).read_bytes() == weights


def test_without_a_name_the_published_repository_is_meant(
    published: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "REPOSITORY", "")
    assert "no repository is named" in sentence(None)
    assert not published.requests
    monkeypatch.setattr(hub_module, "REPOSITORY", REPOSITORY)
    assert download_weights().is_file()


def test_a_wrong_checksum_leaves_no_file(published: HubServer, weights: bytes) -> None:
    wrong, right = "0" * 64, download_weights(REPOSITORY).resolve().name
    assert f"{DEFAULT_NAME} has the checksum {right} instead of {wrong}" in sentence(sha256=wrong)
    assert not cached()
    assert download_weights(REPOSITORY, sha256=right.upper()).read_bytes() == weights


def test_a_damaged_copy_is_removed_and_downloaded_anew(published: HubServer, weights: bytes) -> None:
    blob = download_weights(REPOSITORY).resolve()
    blob.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert f"instead of {blob.name} and was removed" in sentence()
    assert not cached()
    assert download_weights(REPOSITORY).read_bytes() == weights


def test_a_store_that_names_files_otherwise_is_no_damage(published: HubServer, weights: bytes) -> None:
    """As the client's shared store does, with a hash of as many digits."""
    blob = download_weights(REPOSITORY).resolve()
    stored = Path(constants.HF_HUB_CACHE) / "blobs" / ("f" * 64)
    stored.parent.mkdir()
    blob.rename(stored)
    blob.symlink_to(stored)
    assert download_weights(REPOSITORY).resolve() == stored
    assert "removed" in sentence(sha256="0" * 64)
    assert not stored.exists()


def test_a_cache_of_plain_files_serves(published: HubServer, weights: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where links are not to be had, as on most Windows machines."""
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda folder=None: False)
    for _ in range(2):
        path = download_weights(REPOSITORY)
        assert not path.is_symlink()
        assert path.read_bytes() == weights
    assert "removed" in sentence(sha256="0" * 64)
    assert not cached()


def test_foreign_files_are_refused(hub: HubServer) -> None:
    hub.add(REPOSITORY, {DEFAULT_NAME: save({"x": torch.zeros(1)})})
    assert "belongs to another program" in sentence()


def test_a_cache_that_cannot_be_written_is_named(
    published: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert f"cannot write to the cache {tmp_path / 'file' / 'hub'} (" in sentence()


def test_a_missing_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install huggingface-hub" in sentence()


def test_a_published_folder_arrives_byte_for_byte(hub: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "figures").mkdir(parents=True)
    files = {
        DEFAULT_NAME: default_weights_path().read_bytes(),
        "README.md": b"---\nlicense: apache-2.0\n---\n# Exposure\n",
        "figures/noise.bin": bytes(range(256)) * 40_000,  # large enough for LFS
        "empty.txt": b"",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    api = huggingface_hub.HfApi(endpoint=hub.url, token=WRITE_TOKEN)
    assert api.create_repo(REPOSITORY, private=True).repo_id == REPOSITORY
    commit = api.upload_folder(repo_id=REPOSITORY, folder_path=folder, commit_message="Publish")
    assert {name: data for name, data in hub.files(REPOSITORY).items() if name != ".gitattributes"} == files
    assert len(hub.asked("PUT", "/lfs/")) == 2
    target = hub.repositories[REPOSITORY]
    assert target.private
    assert target.titles[target.branches["main"]] == "Publish"
    target.private = False
    assert download_weights(REPOSITORY, revision=commit.oid).read_bytes() == files[DEFAULT_NAME]


def test_publishing_needs_the_right_to_write(hub: HubServer, tmp_path: Path) -> None:
    hub.create(REPOSITORY)
    (tmp_path / "a.txt").write_text("a")
    for token in (False, READ_TOKEN):
        with pytest.raises(huggingface_hub.utils.HfHubHTTPError, match=r"40[13]"):
            huggingface_hub.HfApi(endpoint=hub.url, token=token).upload_file(
                path_or_fileobj=tmp_path / "a.txt", path_in_repo="a.txt", repo_id=REPOSITORY
            )
    assert list(hub.files(REPOSITORY)) == [".gitattributes"]
