"""The server's addresses, and what it refuses."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field as value
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

try:
    from aiohttp import BodyPartReader, web
except ImportError as error:
    raise ModuleNotFoundError("the server needs aiohttp: pip install 'expcorr[serve]'") from error

from .. import __version__
from ..batch.bulk import Job, Work, needs, task_of
from ..batch.pool import Stop
from ..files import scratch
from ..photos.reading import FORMATS, ImageError, kind_of, suffix_of
from ..settings import TIME_LIMIT, Settings
from .dispatcher import Dispatcher

STATIC = Path(__file__).parent / "static"
STALL = 30.0  # seconds without a byte after which a client is given up
SLOWEST = 32 * 1024  # bytes a second that a body must come with, after the first seconds
MOST_FIELD = 1000  # bytes of a form's field
CLOSING = 60.0  # seconds that requests get to finish when the server is stopped
SHOWN = "the photo"  # in messages, instead of the name of a temporary file
TRUTHS = {"true": True, "1": True, "false": False, "0": False}
# What a request may set: its kind, its default, and what a page needs to know to ask for it.
PARAMETERS: dict[str, dict[str, Any]] = {
    "strength": {"type": "number", "default": Settings.strength, "minimum": 0, "maximum": 2},
    "stretch": {"type": "number", "default": Settings.stretch, "minimum": 0, "maximum": 50},
    "fusion": {"type": "boolean", "default": Settings.fusion},
    "metadata": {"type": "string", "default": "all", "enum": ["all", "no-gps", "none"]},
    "format": {"type": "string", "default": None, "enum": [kind.lower() for kind in FORMATS]},
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server takes.

    Attributes:
        body: bytes of a request.
        pixels: of a photo.
        waiting: requests beyond those that are being corrected.
        rate: requests a minute from one address; 0 for no limit.
        seconds: see :attr:`.bulk.Work.time_limit`.
    """

    body: int = 100 * 2**20
    pixels: int = 100_000_000
    waiting: int = 8
    rate: int = 600
    seconds: float = TIME_LIMIT


class Refusal(Exception):
    """A request that is answered with an error: its status, and one sentence."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status, self.headers = status, {name.replace("_", "-"): text for name, text in headers.items()}


@dataclass(kw_only=True)
class Server:
    """The state of a running server.

    Attributes:
        work: weights and device; requests add settings and metadata.
        dispatcher: what corrects.
        folder: for files of requests.
        limits: what it takes.
        token: that requests must bring; empty for none.
        names: what the header Host may name; None for anything.
    """

    work: Work
    dispatcher: Dispatcher
    folder: Path
    limits: Limits
    token: str = ""
    names: frozenset[str] | None = None
    closing: bool = False
    active: int = 0
    _number: int = 0
    _clients: dict[str, tuple[float, float]] = value(default_factory=dict)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guarded], client_max_size=self.limits.body)
        app.router.add_get("/", self._page)
        app.router.add_get("/health", self._health)
        app.router.add_get("/settings", self._settings)
        app.router.add_post("/correct", self._correct)
        app.router.add_static("/static", STATIC)
        return app

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse what no page or program of this server's users sends; answer errors as JSON."""
        try:
            self._check_origin(request)
            return await handler(request)
        except Refusal as refusal:
            answer = web.json_response({"error": str(refusal)}, status=refusal.status, headers=refusal.headers)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = web.json_response(
                {"error": f"{request.method} {request.path}: {error.reason}"}, status=error.status
            )
        if not request.content.is_eof():  # what is left of the body is not waited for
            answer.force_close()
        return answer

    def _check_origin(self, request: web.Request) -> None:
        """A page of another site must not reach this server, whatever its name points to (DNS rebinding)."""
        host = request.headers.get("Host", "")
        if self.names is not None and (urlsplit(f"//{host}").hostname or "") not in self.names:
            raise Refusal(403, f"the name {host!r} is not this server's; use localhost or 127.0.0.1")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Refusal(403, f"pages of {origin!r} may not use this server")

    async def _page(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _health(self, _: web.Request) -> web.StreamResponse:
        state = {"status": "stopping" if self.closing else "ok", "version": __version__, "active": self.active}
        return web.json_response(state, status=503 if self.closing else 200)

    async def _settings(self, _: web.Request) -> web.StreamResponse:
        limits = {"body_bytes": self.limits.body, "pixels": self.limits.pixels}
        return web.json_response({"parameters": PARAMETERS, "limits": limits})

    async def _correct(self, request: web.Request) -> web.StreamResponse:
        self._check_rate(request.remote or "")  # first, so that tokens cannot be guessed by the thousand
        self._check_token(request)
        if self.closing:
            raise Refusal(503, "the server is stopping; try again later", Retry_After="30")
        if self.active >= self.dispatcher.workers + self.limits.waiting:
            raise Refusal(503, "the server is busy; try again in some seconds", Retry_After="5")
        if (request.content_length or 0) > self.limits.body:
            raise self._too_long()
        self.active += 1
        self._number += 1
        source = self.folder / f"photo-{self._number}"
        files = [source]
        try:
            wanted = await self._received(request, source)
            job, work = await asyncio.to_thread(self._planned, source, wanted)
            files.append(job.target)
            task = await asyncio.to_thread(task_of, job, work, ())
            outcome = await asyncio.wrap_future(self.dispatcher.submit(task))
            if outcome.error:
                text = outcome.error.replace(str(job.source), SHOWN).replace(str(job.target), "the result")
                raise Refusal(422, text)
            headers = {} if outcome.exposure is None else {"Expcorr-Exposure-EV": f"{outcome.exposure:.2f}"}
            if outcome.left_out:
                shown = "; ".join(outcome.left_out).encode("ascii", "backslashreplace").decode()
                headers["Expcorr-Left-Out"] = shown.replace("\n", " ").replace("\r", " ")
            return await self._sent(request, job.target, headers)
        except ConnectionError as error:  # nobody will read the answer; without it, aiohttp logs a traceback
            raise Refusal(400, "the connection was closed before the photo was corrected") from error
        finally:
            self.active -= 1
            for path in files:
                path.unlink(missing_ok=True)

    def _check_token(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "replace")
        if self.token and not hmac.compare_digest(given, self.token.encode()):
            raise Refusal(401, "this server needs a token: Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")

    def _check_rate(self, client: str) -> None:
        """Each address has a store of requests that fills up again over a minute."""
        rate, now = self.limits.rate, time.monotonic()
        if not rate:
            return
        if len(self._clients) > 10_000:
            self._clients = {name: held for name, held in self._clients.items() if now - held[1] < 60}
        left, before = self._clients.get(client, (float(rate), now))
        left = min(float(rate), left + (now - before) * rate / 60)
        self._clients[client] = (max(0.0, left - 1), now)
        if left < 1:
            wait = str(max(1, round((1 - left) * 60 / rate)))
            raise Refusal(429, f"more than {rate} requests a minute; try again in {wait} s", Retry_After=wait)

    def _too_long(self) -> Refusal:
        return Refusal(413, f"the request is longer than the {self.limits.body} bytes that this server takes")

    async def _received(self, request: web.Request, path: Path) -> dict[str, str]:
        """Write the photo of a request into a file; returns the request's parameters."""
        wanted, found = dict(request.query), False
        meter = _Meter(self.limits.body, self._too_long)
        with path.open("wb") as file:
            if request.content_type != "multipart/form-data":
                await meter.copy(request.content.readany, file)
                return wanted
            try:
                parts = await request.multipart()
                while part := await asyncio.wait_for(parts.next(), STALL):
                    if not isinstance(part, BodyPartReader):
                        raise Refusal(400, "the form is nested; send the fields one after another")
                    if part.name == "photo" and not found:
                        found = True
                        await meter.copy(lambda part=part: part.read_chunk(1 << 18), file)  # type: ignore[misc]
                    elif part.name in PARAMETERS:
                        wanted[part.name] = (await meter.text(part)).strip()
                    else:
                        raise Refusal(422, f"the form's field {part.name!r} is unknown; one is called photo")
            except (ValueError, RuntimeError, AssertionError) as error:
                raise Refusal(400, "the form is damaged; send it as multipart/form-data") from error
            except asyncio.TimeoutError as error:
                raise Refusal(408, "the request came too slowly") from error
        if not found:
            raise Refusal(422, "the form has no field called photo")
        return wanted

    def _planned(self, source: Path, wanted: Mapping[str, str]) -> tuple[Job, Work]:
        """What to do for a request; Refusal where that cannot be done."""
        settings, metadata, form = parsed(wanted)
        with source.open("rb") as file:
            beginning = file.read(32)
        try:
            kind = kind_of(beginning, Path(SHOWN))
        except ImageError as error:
            raise Refusal(415, str(error)) from error
        pixels, _ = needs(source)
        if pixels > self.limits.pixels:
            most = self.limits.pixels / 1e6
            raise Refusal(413, f"the photo has {pixels / 1e6:.0f} megapixels, and this server takes {most:g}")
        target = source.with_name(f"{source.name}-result{suffix_of(form or kind)}")
        work = Work(
            settings=settings,
            weights=self.work.weights,
            device=self.work.device,
            metadata=metadata,
            time_limit=self.limits.seconds,
        )
        return Job(source, target), work

    async def _sent(self, request: web.Request, path: Path, headers: dict[str, str]) -> web.StreamResponse:
        with path.open("rb") as file:
            kind = kind_of(file.read(32), path)
            length = file.seek(0, 2)
            file.seek(0)
            answer = web.StreamResponse(headers={**headers, "Content-Type": f"image/{kind.lower()}"})
            answer.content_length = length
            await answer.prepare(request)
            with suppress(asyncio.TimeoutError, ConnectionError):  # the client has gone
                while piece := file.read(1 << 18):
                    await asyncio.wait_for(answer.write(piece), STALL)
                await answer.write_eof()
        return answer


class _Meter:
    """Counts the bytes of a request and the time that they take."""

    def __init__(self, most: int, refusal: Callable[[], Refusal]) -> None:
        self._most, self._refusal, self._got, self._start = most, refusal, 0, time.monotonic()

    async def _next(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            piece = await asyncio.wait_for(read(), STALL)
        except asyncio.TimeoutError as error:
            raise Refusal(408, "the request came too slowly") from error
        self._got += len(piece)
        if self._got > self._most:
            raise self._refusal()
        if time.monotonic() - self._start > STALL + self._got / SLOWEST:
            raise Refusal(408, "the request came too slowly")
        return piece

    async def copy(self, read: Callable[[], Awaitable[bytes]], file: BinaryIO) -> None:
        while piece := await self._next(read):
            file.write(piece)

    async def text(self, part: BodyPartReader) -> str:
        found = b""
        while piece := await self._next(lambda: part.read_chunk(MOST_FIELD)):
            found += piece
            if len(found) > MOST_FIELD:
                raise Refusal(422, f"the form's field {part.name!r} is too long")
        return found.decode("utf-8", "replace")


def parsed(wanted: Mapping[str, str]) -> tuple[Settings, str, str]:
    """Settings, metadata to keep, and the format (empty: the photo's own) that parameters ask for.

    Raises:
        Refusal: a parameter is unknown, or its value is.
    """
    found: dict[str, Any] = {}
    for name, text in wanted.items():
        if name not in PARAMETERS:
            raise Refusal(422, f"the parameter {name!r} is unknown; there are {', '.join(PARAMETERS)}")
        kind = PARAMETERS[name]["type"]
        try:
            low = text.lower()
            found[name] = float(low) if kind == "number" else TRUTHS[low] if kind == "boolean" else low
        except (ValueError, KeyError) as error:
            raise Refusal(422, f"{name} must be a {kind}, got {text!r}") from error
        choices = PARAMETERS[name].get("enum")
        if choices and found[name] not in choices:
            raise Refusal(422, f"{name} must be one of {', '.join(choices)}, got {text!r}")
    metadata, form = found.pop("metadata", "all"), found.pop("format", "").upper()
    try:
        return Settings(**found), metadata, form
    except ValueError as error:
        raise Refusal(422, str(error)) from error


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches a server at an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    work: Work, limits: Limits, host: str, port: int, *, token: str, workers: int, say: Callable[[str], object]
) -> None:
    """Serve until Ctrl-C or SIGTERM; requests that have begun are finished.

    Args:
        work: weights and device.
        limits: what to take.
        host, port: where; port 0 for any that is free.
        token: that requests must bring; empty for none.
        workers: number of processes.
        say: is told, in a line, where the server is.

    Raises:
        OSError: the address cannot be had.
    """
    names = frozenset({"localhost", "127.0.0.1", "::1", host}) if is_loopback(host) else None
    stop = Stop()
    with stop.listening(), scratch() as folder:
        dispatcher = Dispatcher(workers)
        server = Server(work=work, dispatcher=dispatcher, folder=folder, limits=limits, token=token, names=names)
        try:
            asyncio.run(_serve(server, host, port, stop, say))
        finally:
            dispatcher.stop()


async def _serve(server: Server, host: str, port: int, stop: Stop, say: Callable[[str], object]) -> None:
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        place = runner.addresses[0]
        shown = f"[{place[0]}]" if ":" in place[0] else place[0]
        say(f"serving on http://{shown}:{place[1]}")
        while not stop.asked:
            await asyncio.sleep(0.1)
        server.closing = True
        deadline = time.monotonic() + CLOSING
        while server.active and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
    finally:
        await runner.cleanup()
