"""A real ComfyUI on loopback, with this node pack in it.

A test file takes the fixture by ``host = comfyui_host.host`` and skips by ``pytestmark = comfyui_host.needs_comfyui``.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from video_files import make_video

ROOT = Path(__file__).parent.parent
PACK = "exposure-correction"  # the folder's name in custom_nodes
WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"), key=lambda path: path.stem)
PAINTED = "Exposure Tools - Lost Highlights"  # the workflow that needs a checkpoint of the user's
COMFYUI = os.environ.get("COMFYUI_PATH")
START_SECONDS = 300
RUN_SECONDS, CANCEL_SECONDS = 600, 60  # far more than a graph, and the step that it is interrupted in, should take
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")

needs_comfyui = pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout")

Graph = dict[str, dict[str, Any]]


class Host:
    """A running ComfyUI server."""

    def __init__(self, url: str, base: Path) -> None:
        self.url = url
        self.base = base

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as reply:
            return json.load(reply)

    def put_image(self, name: str, pixels: NDArray[np.uint8]) -> Path:
        path = self.base / "input" / name
        Image.fromarray(pixels).save(path)
        return path

    def put_examples(self) -> None:
        """The photos that the example workflows name: in the input folder, and as folders in it; and the video.

        As PNG under their names, because decoders differ in how they upsample a JPEG's colours.
        """
        for pattern, folders in (("*.jpg", ("input", "input/examples")), ("series/*.jpg", ("input/series",))):
            for folder in folders:
                (self.base / folder).mkdir(exist_ok=True)
                for path in (ROOT / "examples").glob(pattern):
                    Image.open(path).save(self.base / folder / path.name, "PNG")
        still = np.array(Image.open(ROOT / "examples" / "astronaut_under.jpg"))
        frames = [np.ascontiguousarray(still[:288, 4 * place :][:, :384]) for place in range(8)]
        make_video(self.base / "input" / "clip.mp4", frames)

    def post(self, path: str, content: dict[str, Any]) -> bytes:
        data = json.dumps(content).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return bytes(reply.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def queue(self, graph: Graph) -> str:
        """Queue a graph in API format; gives its id."""
        return str(json.loads(self.post("/prompt", {"prompt": graph}))["prompt_id"])

    def run(self, graph: Graph) -> dict[str, Any]:
        """Queue a graph and wait for its history entry."""
        return self.wait(self.queue(graph))

    def wait(self, prompt: str, seconds: float = RUN_SECONDS) -> dict[str, Any]:
        """The history entry of a queued graph; one that does not end in time is stopped, so that the next can run."""
        if self._until(lambda: prompt in self.get(f"/history/{prompt}"), seconds):
            return dict(self.get(f"/history/{prompt}")[prompt])
        self.post("/queue", {"delete": [prompt]})
        self.post("/interrupt", {"prompt_id": prompt})
        self._until(lambda: prompt not in self.running(), CANCEL_SECONDS)
        raise AssertionError("the graph did not end in time")

    def running(self) -> list[str]:
        """The ids of the graphs that run."""
        return [entry[1] for entry in self.get("/queue")["queue_running"]]

    def cancel(self, prompt: str, after: float) -> str:
        """Interrupt a queued graph some seconds after it began; the server must be free again soon.

        Returns:
            The node that was interrupted.
        """
        assert self._until(lambda: prompt in self.running(), RUN_SECONDS)
        time.sleep(after)
        self.post("/interrupt", {"prompt_id": prompt})
        messages = dict(self.wait(prompt, CANCEL_SECONDS)["status"]["messages"])
        assert "execution_interrupted" in messages
        assert prompt not in self.running()
        return str(messages["execution_interrupted"]["node_id"])

    @staticmethod
    def _until(condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not (met := condition()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return met

    def saved(self, graph: Graph, *nodes: str) -> list[NDArray[np.uint8]]:
        """Run a graph and read what its SaveImage nodes wrote (by default the one called "save"), in their order."""
        entry = self.run(graph)
        assert entry["status"]["status_str"] == "success", entry["status"]
        return self.images(entry, *nodes or ("save",))

    def images(self, entry: dict[str, Any], *nodes: str, kind: str = "images") -> list[NDArray[np.uint8]]:
        """The pictures that nodes saved or showed in a run; of Compare Images, `kind` is a_images or b_images."""
        found = [image for node in nodes for image in entry["outputs"][node][kind]]
        return [np.array(Image.open(self.base / i["type"] / i["subfolder"] / i["filename"])) for i in found]


def inputs_of(info: dict[str, Any]) -> dict[str, Any]:
    """A node's inputs, those that it must have first."""
    return {k: v for section in ("required", "optional") for k, v in info["input"].get(section, {}).items()}


def widgets_of(inputs: dict[str, Any]) -> list[str]:
    """The inputs that have a value of their own."""
    return [name for name, (kind, *_) in inputs.items() if isinstance(kind, list) or kind in WIDGETS]


@contextmanager
def running(base: Path, *options: str) -> Iterator[Host]:
    """Start a server with its folders in ``base``, stop it at the end."""
    for name in ("custom_nodes", "input", "output", "models", "user"):
        (base / name).mkdir()
    (base / "custom_nodes" / PACK).symlink_to(ROOT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base),
        "--database-url", "sqlite:///:memory:", "--disable-api-nodes", *options,
    ]  # fmt: skip
    log = base / "server.log"
    with log.open("wb") as output:
        # Threads that wait busily for each other, as OpenMP's do, take ten times as long where others compute, too.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
        process = subprocess.Popen(command, cwd=COMFYUI, env=environment, stdout=output, stderr=subprocess.STDOUT)
    server = Host(f"http://127.0.0.1:{port}", base)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                server.get("/system_stats")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"ComfyUI did not start:\n{log.read_text()[-3000:]}") from None
                time.sleep(0.3)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with running(tmp_path_factory.mktemp("comfyui")) as server:
        yield server
