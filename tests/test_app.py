"""The page of ``expcorr app``: a real server on loopback, with the page's requests and hostile ones."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy as np
import photo_files as make
import pytest
from numpy.typing import NDArray
from PIL import Image
from server_process import Running, serving

from expcorr_core.cli import main
from expcorr_core.settings import Settings

pytest.importorskip("aiohttp", reason="the page comes with the serve extra")

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.image.limits import Limits
from expcorr_core.method.weights_file import bundled_weights
from expcorr_core.photos.icc import ADOBE_RGB
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import read_photo
from expcorr_core.runtimes import ONNX, TORCH
from expcorr_core.serve.page import HELD, POLICY, models_of, page_files, written_name

ROOT = Path(__file__).parent.parent


class User:
    """The page, as its engine asks."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.key = {"Authorization": f"Bearer {running.token}"}
        lines = (
            "POST /app/photos?model=fast HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {running.token}",
            "",
        )
        self.head = "\r\n".join(lines)

    def open(self, content: bytes, name: str = "photo.jpg", **more: str) -> dict[str, object]:
        query = "&".join(f"{key}={quote(text)}" for key, text in {"model": "fast", "name": name, **more}.items())
        status, _, answer = self.running.ask("POST", f"/app/photos?{query}", content, **self.key)
        assert status == 200, answer
        return dict(json.loads(answer))

    def refusal(self, content: bytes, query: str = "model=fast") -> tuple[int, str]:
        return self.running.refusal(f"/app/photos?{query}", content, **self.key)

    def part(self, photo: object, part: str) -> bytes:
        status, _, content = self.running.ask("GET", f"/app/photos/{photo}/{part}", **self.key)
        assert status == 200
        return content

    def save(self, photo: object, query: str = "") -> tuple[dict[str, object], bytes]:
        status, headers, content = self.running.ask("POST", f"/app/photos/{photo}?{query}", **self.key)
        assert status == 200, content
        return dict(json.loads(headers["expcorr-result"])), content

    def close(self, photo: object) -> None:
        assert self.running.ask("DELETE", f"/app/photos/{photo}", **self.key)[0] == 204


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("app") / "temporary"


@pytest.fixture(scope="module")
def user(place: Path) -> Iterator[User]:
    with serving(place, "app", "--no-browser") as running:
        yield User(running)


def as_the_command_line(source: Path, target: Path, *options: str) -> bytes:
    assert main(["correct", str(source), "-o", str(target), "--quiet", *options]) == 0
    return target.read_bytes()


@pytest.mark.slow
def test_the_page_comes_without_a_token_and_names_its_server(user: User) -> None:
    status, headers, content = user.running.ask("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert content.count(b'<meta name="expcorr-server"') == 1
    assert headers["content-security-policy"] == f"{POLICY}; frame-ancestors 'none'"
    assert f'content="{POLICY}"'.encode() in content
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    for address, path in page_files().items():
        status, headers, content = user.running.ask("GET", address)
        assert status == 200
        assert address == "/" or content == path.read_bytes()
        assert address[-3:] != ".js" or headers["content-type"] == "text/javascript"
    for link in re.findall(rb'(?:src|href)="([^"]+)"', user.running.ask("GET", "/")[2]):
        assert user.running.ask("GET", f"/{link.decode()}")[0] == 200, link
    for link in re.findall(r"url\(\"?([^)\"]+)", page_files()["/style.css"].read_text("utf-8")):
        assert user.running.ask("GET", f"/{link}")[0] == 200, link


@pytest.mark.slow
def test_strangers_are_refused(user: User, photo: Path) -> None:
    content = photo.read_bytes()
    opened = user.open(content)["photo"]
    for method, path in (
        ("GET", "/app/models"), ("POST", "/app/photos?model=fast"), ("GET", f"/app/photos/{opened}/preview"),
        ("POST", f"/app/photos/{opened}"), ("DELETE", f"/app/photos/{opened}"), ("GET", "/nothing"),
    ):  # fmt: skip
        assert user.running.ask(method, path, content)[0] == 401
        assert user.running.ask(method, path, content, Authorization="Bearer guessed")[0] == 401
        assert user.running.ask(method, path, content, Host="evil.example", **user.key)[0] == 403
        assert user.running.ask(method, path, content, Host=f"evil.example:{user.running.port}", **user.key)[0] == 403
        for origin in ("http://evil.example", "null", f"http://127.0.0.1:{user.running.port + 1}"):
            assert user.running.ask(method, path, content, Origin=origin, **user.key)[0] == 403
    assert user.running.ask("GET", "/", Host="evil.example")[0] == 403
    own = f"http://127.0.0.1:{user.running.port}"
    status, headers, _ = user.running.ask("GET", "/app/models", Origin=own, **user.key)
    assert status == 200
    assert "access-control-allow-origin" not in headers
    user.close(opened)


@pytest.mark.slow
def test_no_other_file_is_reached(user: User) -> None:
    for path in (
        "/../pyproject.toml", "/ui/../../../pyproject.toml", "/ui/%2e%2e/package.json", "/ui/..%2f..%2fpackage.json",
        "/package.json", "/build.mjs", "/node_modules/typescript/package.json", "//etc/passwd", "/etc/passwd",
        "/app/photos/1/..%2f..%2fgrid", "/app/photos/../../preview", "/app/photos/%2e%2e/preview", "/ui", "/ui/",
    ):  # fmt: skip
        status, _, content = user.running.ask("GET", path, **user.key)
        assert status == 404, path
        assert "error" in json.loads(content)


@pytest.mark.slow
def test_a_saved_photo_is_the_command_lines(user: User, tmp_path: Path, place: Path) -> None:
    source = make.jpeg(tmp_path / "a.jpg", (0xE1, b"Exif\0\0" + make.exif_block(orientation=6)))
    found = user.open(source.read_bytes(), "holiday 1.JPG")
    told, content = user.save(found["photo"])
    assert told == {"name": "holiday 1_corrected.JPG", "leftOut": []}
    assert content == as_the_command_line(source, tmp_path / "1.jpg")
    _, content = user.save(found["photo"], "strength=0.5&max_stops=1&keep_highlights=false")
    options = ("--strength", "0.5", "--max-stops", "1", "--no-highlight-guard")
    assert content == as_the_command_line(source, tmp_path / "2.jpg", *options)
    told, content = user.save(found["photo"], "format=webp")
    assert told["name"] == "holiday 1_corrected.webp"
    assert content == as_the_command_line(source, tmp_path / "3.webp")
    status, answer = user.running.refusal(f"/app/photos/{found['photo']}?strength=9", b"", **user.key)
    assert (status, answer) == (422, "strength must be from 0 to 2, got 9.0")
    assert user.running.refusal(f"/app/photos/{found['photo']}?gains=1", b"", **user.key)[0] == 422
    user.close(found["photo"])
    assert user.running.refusal(f"/app/photos/{found['photo']}", b"", **user.key) == (
        404, "the photo is not open any more; add it again",
    )  # fmt: skip
    assert not [*place.glob("*/*")]


@pytest.mark.slow
def test_what_a_file_cannot_keep_is_told(user: User, tmp_path: Path) -> None:
    source = make.png(tmp_path / "a.png", before=make.chunk(b"prVt", b"private"))
    found = user.open(source.read_bytes(), "a.png")
    told, _ = user.save(found["photo"], "format=jpeg")
    assert told["name"] == "a_corrected.jpg"
    assert told["leftOut"]
    user.close(found["photo"])


def shown(user: User, found: dict[str, object]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What the page shows of a photo: its small copy, RGBA, and that copy corrected, RGB."""
    import torch

    preview, grid = (user.part(found["photo"], part) for part in ("preview", "grid"))
    size = found["preview"]
    assert isinstance(size, dict)
    pixels = np.frombuffer(preview, np.uint8).reshape(size["height"], size["width"], 4)
    values = torch.from_numpy(np.frombuffer(grid, "<f4").reshape(1, 22, 22, 8, 3, 4).copy())
    image = torch.from_numpy(pixels[..., :3].copy()).permute(2, 0, 1)[None].float() / 255
    corrected = BilateralGrid(values, Limits.of(Settings.max_stops, Settings.keep_highlights)).slice(image)
    return pixels, Photo.from_tensor(corrected).eight_bit()


@pytest.mark.slow
@pytest.mark.parametrize("p3", ["true", "false"])
@pytest.mark.parametrize("profile", [b"", ADOBE_RGB], ids=["sRGB", "Adobe RGB"])
def test_what_is_shown_is_what_is_saved(
    user: User, scene: NDArray[np.uint8], tmp_path: Path, profile: bytes, p3: str
) -> None:
    source = tmp_path / "a.png"
    alpha = np.full((*scene.shape[:2], 1), 90, np.uint8)
    Image.fromarray(np.concatenate((scene, alpha), 2)).save(source, icc_profile=profile)
    found = user.open(source.read_bytes(), "a.png", p3=p3)
    assert (found["width"], found["height"]) == (143, 97)
    assert found["preview"] == {"width": 143, "height": 97, "wide": bool(profile) and p3 == "true"}
    assert isinstance(found["stops"], float)
    assert isinstance(found["wellExposed"], float)
    pixels, corrected = shown(user, found)
    assert (pixels[..., 3] == 90).all()
    assert profile or np.array_equal(pixels[..., :3], scene)
    (tmp_path / "b.png").write_bytes(user.save(found["photo"])[1])
    saved = read_photo(tmp_path / "b.png")
    assert saved.alpha is not None
    if not profile:
        assert np.abs(saved.pixels.astype(int) - corrected).max() <= 1
    elif p3 == "false":
        assert saved.space
        in_srgb = (saved.space.to_srgb(saved.to_tensor())[0].permute(1, 2, 0) * 255).round().numpy()
        assert np.abs(in_srgb - corrected).mean() < 2
    user.close(found["photo"])


@pytest.mark.slow
def test_large_photos_are_shown_small(user: User) -> None:
    file = io.BytesIO()
    Image.new("RGB", (3000, 1500), (40, 60, 50)).save(file, "JPEG")
    found = user.open(file.getvalue(), p3="true")
    assert found["preview"] == {"width": 2048, "height": 1024, "wide": False}
    assert len(user.part(found["photo"], "preview")) == 2048 * 1024 * 4
    assert len(user.part(found["photo"], "grid")) == 22 * 22 * 8 * 12 * 4
    user.close(found["photo"])


@pytest.mark.slow
def test_heic_and_raw_photos(user: User, tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    heif = pytest.importorskip("pillow_heif", reason="HEIC comes with the heif extra")
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(scene[:96, :142])).save(file)
    found = user.open(file.getvalue(), "IMG_1.HEIC")
    assert (found["width"], found["height"]) == (142, 96)
    told, content = user.save(found["photo"])
    assert (told["name"], content[4:8]) == ("IMG_1_corrected.HEIC", b"ftyp")
    user.close(found["photo"])
    pytest.importorskip("rawpy", reason="raw photos come with the raw extra")
    import raw_files

    source = tmp_path / "a.dng"
    raw_files.write_dng(source, raw_files.light_of(scene[:96, :142]))
    found = user.open(source.read_bytes(), "a.dng")
    told, content = user.save(found["photo"])
    assert (told["name"], content[:2]) == ("a_corrected.tif", b"II")
    assert content == as_the_command_line(source, tmp_path / "a.tif")
    user.close(found["photo"])


@pytest.mark.slow
def test_what_is_no_photo_is_told_in_a_sentence(user: User, photo: Path, place: Path) -> None:
    status, told = user.refusal(b"Dear diary, today was a good day.")
    assert (status, told[:40]) == (415, "the photo is not a photo in a known form")
    assert user.refusal(b"")[0] == 415
    status, told = user.refusal(photo.read_bytes()[:2000])
    assert (status, told[:35]) == (422, "the photo is damaged or cut off (im")
    assert "/" not in told
    assert user.refusal(photo.read_bytes(), "model=best") == (422, "the model must be one of fast, paper, got 'best'")
    with socket.create_connection(("127.0.0.1", user.running.port), 30) as connection:
        connection.sendall(f"{user.head}Content-Length: {2**30 + 1}\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 413"
    assert not [*place.glob("*/*")]


@pytest.mark.slow
def test_many_at_once_and_broken_off(user: User, photo: Path, place: Path) -> None:
    content = photo.read_bytes()
    for sent in (content[:100], content):
        with socket.create_connection(("127.0.0.1", user.running.port), 30) as connection:
            connection.sendall(f"{user.head}Content-Length: {len(content)}\r\n\r\n".encode() + sent)
    with ThreadPoolExecutor(10) as threads:
        found = [*threads.map(lambda _: user.open(content)["photo"], range(10))]
        assert len(set(found)) == 10
        results = [*threads.map(lambda number: user.save(number)[1], found)]
        assert len(set(results)) == 1
        [*threads.map(user.close, found)]
    deadline = time.monotonic() + 20
    while [*place.glob("*/*")] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [*place.glob("*/*")] == []


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_no_file_of_an_open_photo(photo: Path, tmp_path: Path, stop: signal.Signals) -> None:
    with serving(tmp_path / "temporary", "app", "--no-browser", "--weights", "paper", stop=stop) as running:
        user = User(running)
        assert json.loads(running.ask("GET", "/app/models", **user.key)[2])["models"] == ["paper"]
        assert user.refusal(photo.read_bytes())[0] == 422
        found = user.open(photo.read_bytes(), model="paper")
        assert found["wellExposed"] is None
        assert [*(tmp_path / "temporary").glob("*/*/photo")]


@pytest.mark.slow
def test_the_browser_is_opened_at_the_address(tmp_path: Path) -> None:
    """In a process of its own, in which opening a browser writes its address."""
    code = (
        "import sys, webbrowser; from expcorr_core.__main__ import main\n"
        "webbrowser.open = lambda url: print(url, flush=True); sys.argv[1:] = ['app']; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout
        assert process.stderr
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#token=[\w-]{43}", url)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr.read() == f"expcorr: the page is at {url}\n"
    finally:
        process.kill()
        process.communicate()


def test_names_models_and_arguments(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert written_name("a.b.jpeg", ".jpg") == "a.b_corrected.jpeg"
    assert written_name("photo", ".png") == "photo_corrected.png"
    assert written_name("a.nef", ".tif") == "a_corrected.tif"
    assert list(models_of(None, TORCH)) == ["fast", "paper"]
    assert list(models_of(None, ONNX)) == ["fast"]
    for name, kind in (("default", "fast"), ("paper", "paper")):
        own = shutil.copy(bundled_weights(name), tmp_path / f"{name}.safetensors")
        assert models_of(own, TORCH) == {kind: own}
    assert HELD >= 2**30
    assert main(["app", "--port", "70000"]) == 2
    assert "--port must be from 0 to 65535, got 70000" in capsys.readouterr().err


@pytest.mark.slow
def test_without_pytorch(photo: Path, tmp_path: Path, no_torch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime comes with the onnx extra")
    monkeypatch.setenv("PYTHONPATH", str(no_torch))
    content = photo.with_suffix(".png")
    Image.open(photo).save(content)
    with serving(tmp_path / "temporary", "app", "--no-browser") as running:
        user = User(running)
        models = json.loads(running.ask("GET", "/app/models", **user.key)[2])["models"]
        opened = user.open(content.read_bytes(), name=content.name)
        _, saved = user.save(opened["photo"])
    assert models == ["fast"]
    wanted = as_the_command_line(content, tmp_path / "wanted.png")
    found, right = (np.asarray(Image.open(io.BytesIO(each))).astype(int) for each in (saved, wanted))
    assert np.abs(found - right).max() <= 1
