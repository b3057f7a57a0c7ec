"""A Hugging Face Hub on loopback: as much of it as the real client needs to download.

A test file takes the fixture by ``hub = hub_server.hub``.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

TOKEN = "hf_member"
FILE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")


class HubServer:
    """A Hub with files in memory, and a switch that makes it fail.

    Attributes:
        url: the endpoint (``HF_ENDPOINT``).
        files: content by repository, revision and name.
        asked: method and path of each request of a file; the client asks for more.
        status: to answer every request with, as a Hub out of order; 0 hangs up without an answer; None works.

    Strangers do not learn which repositories exist; members, who have ``TOKEN``, do.
    """

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.status: int | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Refuse connections from now on; may be called again."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def find(self, path: str, member: bool) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content for a path."""
        found = FILE.fullmatch(path)
        if self.status:
            return self.status, {}, b""
        if not found or found["repository"] not in {repository for repository, _ in self.files}:
            return (404, {"X-Error-Code": "RepoNotFound"}, b"") if member else (401, {}, b"")
        files = self.files.get((found["repository"], found["revision"]))
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        commit = {"X-Repo-Commit": hashlib.sha1(b"".join(files.values())).hexdigest()}
        data = files.get(found["name"])
        if data is None:
            return 404, {**commit, "X-Error-Code": "EntryNotFound"}, b""
        return 200, {**commit, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}, data


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer

    def _answer(self) -> None:
        if FILE.fullmatch(self.path):
            self.hub.asked.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.hub.status == 0:
            return
        status, headers, data = self.hub.find(self.path, self.headers.get("Authorization") == f"Bearer {TOKEN}")
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        pass  # requests are recorded


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A fresh Hub for the client of this process, whose cache is ``tmp_path / "hf"``."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub comes with the train extra")
    server = HubServer()
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    # The client reads its variables when it is imported; what it made of them has to change as well.
    for name, value in {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(tmp_path / "hf"),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(constants, name, value)
    # Where the client before 1.0 keeps it.
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.stop()
