"""A server of the command line in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Running:
    """A server that runs.

    Attributes:
        process: its process.
        port: of this computer.
        token: that it printed; empty if none.
    """

    def __init__(self, process: subprocess.Popen[str], port: int, token: str) -> None:
        self.process, self.port, self.token = process, port, token

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def refusal(self, path: str, body: bytes, **headers: str) -> tuple[int, str]:
        """Status and sentence of an error."""
        status, _, content = self.ask("POST", path, body, **headers)
        return status, json.loads(content)["error"]


@contextmanager
def serving(
    temporary: Path, command: str, *options: object, stop: signal.Signals = signal.SIGTERM
) -> Iterator[Running]:
    """A server that is stopped at the end, and must leave neither files in ``temporary`` nor messages."""
    temporary.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "expcorr_core", command, "--port", 0, *options]
    process = subprocess.Popen(
        [*map(str, words)], stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporary)}
    )
    assert process.stderr
    try:
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)(?:/#token=(\S+))?$", line)
        assert found, line + process.stderr.read()
        yield Running(process, int(found[1]), found[2] or "")
        process.send_signal(stop)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
        assert list(temporary.iterdir()) == []
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
