"""The server: a real one on loopback, with friendly and hostile requests."""

from __future__ import annotations

import io
import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import photo_files as make
import pytest
from numpy.typing import NDArray
from PIL import Image
from server_process import Running, serving

from expcorr_core.cli import main

pytest.importorskip("aiohttp", reason="the server comes with the serve extra")

from expcorr_core.serve.app import parsed
from expcorr_core.serve.guarding import Refusal, is_loopback

TOKEN = "a secret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("server") / "temporary"
    with serving(place, "serve", "--workers", 2, "--queue", 4, "--max-megabytes", 1, "--max-megapixels", 1) as running:
        yield running


def form(**fields: bytes) -> tuple[bytes, dict[str, str]]:
    parts = b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), content)
        for name, content in fields.items()
    )
    return parts + b"--edge--\r\n", {"Content_Type": "multipart/form-data; boundary=edge"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_photos_come_back_in_their_own_format(server: Running, scene: NDArray[np.uint8], kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(scene).save(file, kind)
    status, headers, content = server.ask("POST", "/correct", file.getvalue())
    assert (status, headers["content-type"]) == (200, f"image/{kind.lower()}")
    assert "access-control-allow-origin" not in headers
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == (kind, (143, 97))
        assert not np.array_equal(np.asarray(image), scene)


@pytest.mark.slow
def test_settings_metadata_and_format(server: Running, tmp_path: Path) -> None:
    source = make.jpeg(tmp_path / "a.jpg", (0xE1, b"Exif\0\0" + make.exif_block())).read_bytes()
    body, headers = form(photo=source, strength=b"0", metadata=b"none", format=b"png")
    for status, _, content in (
        server.ask("POST", "/correct?strength=0&metadata=none&format=png", source),
        server.ask("POST", "/correct", body, **headers),
    ):
        assert status == 200
        assert make.AUTHOR not in content
        with Image.open(io.BytesIO(content)) as image, Image.open(io.BytesIO(source)) as before:
            assert image.format == "PNG"
            assert np.array_equal(np.asarray(image), np.asarray(before))
    assert make.AUTHOR in server.ask("POST", "/correct", source)[2]


@pytest.mark.slow
def test_what_else_there_is(server: Running) -> None:
    assert json.loads(server.ask("GET", "/health")[2])["status"] == "ok"
    assert json.loads(server.ask("GET", "/settings")[2])["parameters"]["strength"]["maximum"] == 2
    assert b"curl --data-binary" in server.ask("GET", "/")[2]
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fcli.py", "/etc/passwd", "//"):
        status, _, content = server.ask("GET", path)
        assert status in (403, 404), path
        assert "error" in json.loads(content)
    assert server.ask("GET", "/correct")[0] == 405


@pytest.mark.slow
def test_wrong_requests_are_told_in_a_sentence(server: Running, photo: Path) -> None:
    content = photo.read_bytes()
    assert server.refusal("/correct", b"")[0] == 415
    assert server.refusal("/correct", b"GIF89a" + bytes(40)) == (
        415,
        "the photo is a GIF picture, which is not supported (JPEG, PNG, TIFF, WEBP, HEIC, AVIF, JXL are); "
        "convert it or leave it out",
    )  # fmt: skip
    status, told = server.refusal("/correct", content[:2000])
    assert (status, told[:35]) == (422, "the photo is damaged or cut off (im")
    assert "/" not in told  # no name of a file
    assert server.refusal("/correct?strength=3", content) == (422, "strength must be from 0 to 2, got 3.0")
    assert server.refusal("/correct?strenght=1", content)[0] == 422
    assert server.refusal("/correct?format=gif", content)[0] == 422
    body, headers = form(picture=content)
    assert server.refusal("/correct", body, **headers) == (
        422, "the form's field 'picture' is unknown; one is called photo",
    )  # fmt: skip
    assert server.refusal("/correct", b"nonsense", **headers)[0] == 400
    file = io.BytesIO()
    Image.new("L", (1200, 1000)).save(file, "PNG")
    assert server.refusal("/correct", file.getvalue()) == (413, "the photo has 1 megapixels, and this server takes 1")
    assert server.refusal("/correct", content, Host="evil.example")[0] == 403
    assert server.refusal("/correct", content, Origin="http://evil.example")[0] == 403
    assert server.ask("POST", "/correct", content, Origin=f"http://127.0.0.1:{server.port}")[0] == 200


@pytest.mark.slow
def test_too_long_bodies_are_not_read(server: Running) -> None:
    head = b"POST /correct HTTP/1.1\r\nHost: localhost\r\n"
    for rest in (
        b"Content-Length: 999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + bytes(0x100000) + b"\r\n10\r\n" + bytes(16) + b"\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
            connection.sendall(head + rest)
            assert connection.recv(12) == b"HTTP/1.1 413"


@pytest.mark.slow
def test_slow_and_broken_clients_keep_nobody_waiting(server: Running, photo: Path) -> None:
    open_ones = []
    for begun in (b"POST /cor", b"POST /correct HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n\xff\xd8"):
        connection = socket.create_connection(("127.0.0.1", server.port), 30)
        connection.sendall(begun)
        open_ones.append(connection)
    assert server.ask("POST", "/correct", photo.read_bytes())[0] == 200
    for connection in open_ones:
        connection.close()
    deadline = time.monotonic() + 20
    while json.loads(server.ask("GET", "/health")[2])["active"] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert json.loads(server.ask("GET", "/health")[2])["active"] == 0


@pytest.mark.slow
def test_twenty_at_once_are_corrected_or_sent_away(server: Running, photo: Path) -> None:
    with ThreadPoolExecutor(20) as threads:
        answers = [*threads.map(lambda _: server.ask("POST", "/correct", photo.read_bytes()), range(20))]
    statuses = [status for status, _, _ in answers]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 6  # two at work and four waiting
    assert all(headers["retry-after"] == "5" for status, headers, _ in answers if status == 503)
    assert len({content for status, _, content in answers if status == 200}) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills by SIGKILL")
def test_token_rate_and_killed_workers(photo: Path, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil", reason="psutil comes with the dev extra")
    content, bearer = photo.read_bytes(), {"Authorization": f"Bearer {TOKEN}"}
    with serving(tmp_path / "temporary", "serve", "--workers", 1, "--rate", 5, "--token", TOKEN) as running:
        assert running.refusal("/correct", content)[0] == 401
        assert running.refusal("/correct", content, Authorization="Bearer another")[0] == 401
        assert running.ask("GET", "/health")[0] == 200
        assert running.ask("POST", "/correct", content, **bearer)[0] == 200
        for child in psutil.Process(running.process.pid).children(recursive=True):
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
        assert running.ask("POST", "/correct", content, **bearer)[0] == 200
        answers = [running.ask("POST", "/correct", b"x", **bearer) for _ in range(8)]
        assert {status for status, _, _ in answers} == {415, 429}
        assert all(int(headers["retry-after"]) <= 12 for status, headers, _ in answers if status == 429)


def test_parameters_are_checked() -> None:
    settings, metadata, form_ = parsed({"strength": "0.5", "fusion": "true", "metadata": "no-gps", "format": "TIFF"})
    assert (settings.strength, settings.fusion, metadata, form_) == (0.5, True, "no-gps", "TIFF")
    assert parsed({})[1:] == ("all", "")
    for wanted in ({"fusion": "maybe"}, {"strength": "nan"}, {"stretch": "50"}, {"metadata": "some"}, {"gains": "1"}):
        with pytest.raises(Refusal) as refused:
            parsed(wanted)
        assert refused.value.status == 422


def test_addresses_and_arguments(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")] == [
        *(True, True, True, False, False)
    ]
    assert main(["serve", "--port", "70000"]) == 2
    assert "--port must be from 0 to 65535, got 70000" in capsys.readouterr().err
    monkeypatch.setattr("expcorr_core.serve.commands.serve", lambda *_, **__: None)
    assert main(["serve", "--host", "0.0.0.0"]) == 0
    assert "warning: everybody who reaches 0.0.0.0 can use this server; set --token" in capsys.readouterr().err
    assert main(["serve", "--host", "0.0.0.0", "--token", TOKEN]) == 0
    assert capsys.readouterr().err == ""
