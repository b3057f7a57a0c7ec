"""A Hugging Face Hub on loopback: as much of it as the real client needs to download and to publish models.

A test file takes the fixture by ``hub = hub_server.hub``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

WRITE_TOKEN = "hf_write"
READ_TOKEN = "hf_read"
LFS_SIZE = 10_000_000
GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


@dataclass
class Request:
    """A request that was answered."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    status: int = 0
    sent: int = 0  # bytes of the body


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], title: str, branch: str) -> str:
        """Make ``files`` the whole content of a branch; returns the name of the commit."""
        name = hashlib.sha1(f"{id(self)} {len(self.commits)} {title}".encode()).hexdigest()
        self.commits[name], self.titles[name] = files, title
        self.branches[branch] = name
        return name

    def resolve(self, revision: str) -> str | None:
        name = self.branches.get(revision) or self.tags.get(revision) or revision
        return name if name in self.commits else None


class Failure(Exception):
    """An answer that reports an error, in the headers that the Hub uses."""

    def __init__(self, status: int, code: str = "", message: str = "", **body: Any) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message} if code else {"X-Error-Message": message}
        self.body = {"error": message, **body}


def is_lfs(path: str, size: int) -> bool:
    return path.endswith(".safetensors") or size > LFS_SIZE


def object_name(path: str, data: bytes) -> str:
    """What the Hub gives as ETag: SHA-256 of a file in LFS, the name of git's blob otherwise."""
    if is_lfs(path, len(data)):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class HubServer:
    """A Hub with repositories in memory, and switches that make it fail.

    Attributes:
        url: the endpoint (``HF_ENDPOINT``).
        repositories: by ``owner/name``.
        requests: everything that was asked, in order.
        break_after: bytes of a file after which a connection is closed; None sends files whole.
        breaks: how many answers are still to be broken off; each takes one away.
        reset: connections are broken by a reset (RST) instead of closed (FIN).
        down: status to answer every request with, as a Hub out of order; 0 hangs up without an answer; None works.

    Anyone reads public repositories, ``READ_TOKEN`` and ``WRITE_TOKEN`` private ones too; the latter alone writes.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytes] = {}  # LFS objects that no commit may name yet
        self.requests: list[Request] = []
        self.break_after: int | None = None
        self.breaks = 1_000_000
        self.reset = False
        self.down: int | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._thread: threading.Thread | None = None
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse connections from now on; may be called again."""
        if self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._thread = None

    def create(self, repository: str, private: bool = False) -> Repository:
        """Add a repository as the Hub starts one: a branch main that holds ``.gitattributes``."""
        made = self.repositories[repository] = Repository(private)
        made.commit({".gitattributes": GIT_ATTRIBUTES}, "initial commit", "main")
        return made

    def add(self, repository: str, files: dict[str, bytes], tag: str | None = None) -> str:
        """Commit files to the branch main, in a new repository if need be; returns the name of the commit."""
        target = self.repositories.get(repository) or self.create(repository)
        commit = target.commit({**self.files(repository), **files}, "add", "main")
        if tag:
            target.tags[tag] = commit
        return commit

    def files(self, repository: str, revision: str = "main") -> dict[str, bytes]:
        """Content of the files of a revision."""
        target = self.repositories[repository]
        commit = target.resolve(revision)
        assert commit, f"no revision {revision}"
        return target.commits[commit]

    def asked(self, method: str, part: str) -> list[Request]:
        """The requests of a method whose path contains ``part``."""
        return [request for request in self.requests if request.method == method and part in request.path]

    def environment(self, folder: Path) -> dict[str, str]:
        """Variables that make the client of another process use this Hub and keep its files in ``folder``."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(folder),
            "HF_HUB_CACHE": str(folder / "hub"),
            "HF_HUB_DISABLE_XET": "1",  # it would upload by a protocol that this server does not speak
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "",
            "HF_TOKEN": "",
            "NO_PROXY": "127.0.0.1",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def _answer(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_ = Request(self.command, self.path, headers)
        self.hub.requests.append(self.request_)
        self.content = self.rfile.read(int(headers.get("content-length", 0)))
        if self.hub.down == 0:
            self.close_connection = True
            return
        try:
            if self.hub.down:
                raise Failure(self.hub.down, message="out of order")
            for method, pattern, action in ROUTES:
                if self.command in method.split() and (match := re.fullmatch(pattern, url.path)):
                    action(self, **{key: unquote(value) for key, value in match.groupdict().items()})
                    break
            else:
                raise Failure(404, message=f"this Hub has no {self.command} {url.path}")
        except Failure as failure:
            self._send(json.dumps(failure.body).encode(), failure.status, failure.headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:
        pass  # requests are recorded

    def _send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.request_.status = status
        self.send_response(status)
        # No kept connections: a stopped server would still answer on them.
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.request_.sent = len(body)
            self.wfile.write(body)

    def _json(self, value: object, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def _role(self) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in (READ_TOKEN, WRITE_TOKEN):
            raise Failure(401, message="Invalid credentials in Authorization header")
        return token or None

    def _writer(self) -> None:
        if (role := self._role()) != WRITE_TOKEN:
            raise Failure(403 if role else 401, message="Forbidden" if role else "Invalid username or password.")

    def _repository(self, name: str, write: bool = False) -> Repository:
        role = self._role()
        target = self.hub.repositories.get(name)
        if target is None or (target.private and not role):
            # Strangers do not learn which repositories exist.
            if role:
                raise Failure(404, "RepoNotFound", "Repository not found")
            raise Failure(401, message="Invalid username or password.")
        if write:
            self._writer()
        return target

    def _commit(self, target: Repository, revision: str) -> str:
        commit = target.resolve(revision)
        if commit is None:
            raise Failure(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def resolve(self, repo: str, revision: str, file: str) -> None:
        target = self._repository(repo)
        commit = self._commit(target, revision)
        data = target.commits[commit].get(file)
        if data is None:
            failure = Failure(404, "EntryNotFound", "Entry not found")
            failure.headers["X-Repo-Commit"] = commit
            raise failure
        etag = f'"{object_name(file, data)}"'
        headers = {"ETag": etag, "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if is_lfs(file, len(data)):
            headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(len(data))}
        status = 200
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            if start > end:
                raise Failure(416, message="range not satisfiable")
            status, headers["Content-Range"] = 206, f"bytes {start}-{end}/{len(data)}"
            data = data[start : end + 1]
        if (
            self.command == "HEAD"
            or self.hub.break_after is None
            or len(data) <= self.hub.break_after
            or self.hub.breaks <= 0
        ):
            self._send(data, status, headers)
        else:
            self.hub.breaks -= 1
            self._break_off(data, self.hub.break_after, status, headers)

    def _break_off(self, data: bytes, after: int, status: int, headers: dict[str, str]) -> None:
        """Announce the whole body, send its start, and go."""
        self._send(b"", status, {**headers, "Content-Length": str(len(data))})
        self.request_.sent = after
        self.wfile.write(data[:after])
        if self.hub.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def whoami(self) -> None:
        role = self._role()
        if not role:
            raise Failure(401, message="Invalid username or password.")
        access = {"displayName": "test", "role": "write" if role == WRITE_TOKEN else "read"}
        self._json({"type": "user", "name": "tester", "orgs": [], "auth": {"accessToken": access}})

    def validate_yaml(self) -> None:
        import yaml  # comes with the client, without which there are no tests

        text = json.loads(self.content)["content"]
        card = re.match(r"---\n(.*?)^---$", text, re.S | re.M)
        if not card:
            return self._json({"warnings": [{"message": "empty or missing yaml metadata in repo card"}], "errors": []})
        try:
            good = isinstance(yaml.safe_load(card[1]), dict)
        except yaml.YAMLError:
            good = False
        if not good:
            return self._json({"warnings": [], "errors": [{"message": "YAML metadata is no mapping"}]}, 400)
        return self._json({"warnings": [], "errors": []})

    def create(self) -> None:
        self._writer()
        asked = json.loads(self.content)
        name = f"{asked['organization'] or 'tester'}/{asked['name']}"
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repositories:
            raise Failure(409, message="You already created this model repo", url=url)
        # Clients of 2.x say visibility, older ones private.
        self.hub.create(name, asked.get("visibility") == "private" or asked.get("private") is True)
        self._json({"url": url, "name": name, "id": name})

    def model(self, repo: str, revision: str = "main") -> None:
        target = self._repository(repo)
        commit = self._commit(target, revision)
        siblings = [{"rfilename": path} for path in target.commits[commit]]
        self._json({"id": repo, "sha": commit, "private": target.private, "siblings": siblings, "tags": []})

    def tree(self, repo: str, revision: str) -> None:
        target = self._repository(repo)
        files = target.commits[self._commit(target, revision)]
        self._json([_entry(path, data) for path, data in files.items()])

    def refs(self, repo: str) -> None:
        target = self._repository(repo)

        def listed(kind: str, names: dict[str, str]) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": commit} for n, commit in names.items()]

        self._json({"branches": listed("heads", target.branches), "tags": listed("tags", target.tags), "converts": []})

    def tag(self, repo: str, revision: str) -> None:
        target = self._repository(repo, write=True)
        name = json.loads(self.content)["tag"]
        if name in target.tags:
            raise Failure(409, message="Tag reference exists already")
        target.tags[name] = self._commit(target, revision)
        self._json({})

    def preupload(self, repo: str, revision: str) -> None:
        target = self._repository(repo, write=True)
        present = target.commits[self._commit(target, revision)]
        self._json(
            {
                "files": [
                    {
                        "path": path,
                        "uploadMode": "lfs" if is_lfs(path, file["size"]) else "regular",
                        "shouldIgnore": False,
                        "oid": object_name(path, present[path]) if path in present else None,
                    }
                    for file in json.loads(self.content)["files"]
                    for path in [file["path"]]
                ]
            }
        )

    def lfs_batch(self, repo: str) -> None:
        self._repository(repo, write=True)
        objects = []
        for item in json.loads(self.content)["objects"]:
            upload = {"href": f"{self.hub.url}/lfs/{item['oid']}"}
            objects.append({**item} if item["oid"] in self.hub.uploads else {**item, "actions": {"upload": upload}})
        self._json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.content).hexdigest() != oid:
            raise Failure(400, message="content does not match its name")
        self.hub.uploads[oid] = self.content
        self._send(b"")

    def commit(self, repo: str, revision: str) -> None:
        target = self._repository(repo, write=True)
        if revision not in target.branches:
            raise Failure(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = dict(target.commits[target.branches[revision]])
        title = ""
        for line in self.content.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                title = value["summary"]
                if value.get("parentCommit", target.branches[revision]) != target.branches[revision]:
                    raise Failure(412, message="A commit has happened since")
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                if value["oid"] not in self.hub.uploads:
                    raise Failure(400, message=f"LFS pointer to {value['oid']}, which was not uploaded")
                files[value["path"]] = self.hub.uploads[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise Failure(400, message=f"unknown operation {item['key']}")
        name = target.commit(files, title, revision)
        self._json({"success": True, "commitOid": name, "commitUrl": f"{self.hub.url}/{repo}/commit/{name}"})


def _entry(path: str, data: bytes) -> dict[str, Any]:
    """A file as the listing of a tree gives it."""
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": object_name(path, data)}
    if is_lfs(path, len(data)):
        entry["lfs"] = {"oid": entry["oid"], "size": len(data), "pointerSize": 134}
    return entry


_REPO = r"(?P<repo>[^/]+/[^/]+)"
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", r"/api/whoami-v2", _Handler.whoami),
    ("POST", r"/api/validate-yaml", _Handler.validate_yaml),
    ("POST", r"/api/repos/create", _Handler.create),
    ("GET", rf"/api/models/{_REPO}", _Handler.model),
    ("GET", rf"/api/models/{_REPO}/revision/(?P<revision>[^/]+)", _Handler.model),
    ("GET", rf"/api/models/{_REPO}/tree/(?P<revision>[^/]+)", _Handler.tree),
    ("GET", rf"/api/models/{_REPO}/refs", _Handler.refs),
    ("POST", rf"/api/models/{_REPO}/tag/(?P<revision>[^/]+)", _Handler.tag),
    ("POST", rf"/api/models/{_REPO}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    ("POST", rf"/api/models/{_REPO}/commit/(?P<revision>[^/]+)", _Handler.commit),
    ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", _Handler.lfs_put),
    ("GET HEAD", rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Handler.resolve),
]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A fresh Hub that the client of this process uses, too; its cache is ``tmp_path / "hf" / "hub"``."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub comes with the train extra")
    with HubServer() as server:
        # The client reads its variables when it is imported; what it made of them has to change as well.
        for name, value in server.environment(tmp_path / "hf").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server
