"""What the servers share: whom they answer, how they take bodies and send files, how they stop."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

try:
    from aiohttp import BodyPartReader, web
except ImportError as error:
    raise ModuleNotFoundError("the server needs aiohttp: pip install 'expcorr[serve]'") from error

from ..batch.bulk import Work
from ..batch.pool import Stop
from ..photos.reading import kind_of
from ..settings import TIME_LIMIT
from .dispatcher import Dispatcher

STALL = 30.0  # seconds without a byte after which a client is given up
SLOWEST = 32 * 1024  # bytes a second that a body must come with, after the first seconds
MOST_FIELD = 1000  # bytes of a form's field
CLOSING = 60.0  # seconds that requests get to finish when the server is stopped
SHOWN = "the photo"  # in messages, instead of the name of a temporary file


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
class Guarded(ABC):
    """The state of a running server.

    Attributes:
        work: weights and device; requests add settings and metadata.
        dispatcher: what corrects.
        folder: for files of requests.
        limits: what it takes.
        token: that requests must bring; empty for none.
        names: what the header Host may name; None for anything.
        closing: whether it is being stopped.
        active: requests that are being answered.
    """

    work: Work
    dispatcher: Dispatcher
    folder: Path
    limits: Limits
    token: str = ""
    names: frozenset[str] | None = None
    closing: bool = False
    active: int = 0

    @abstractmethod
    def application(self) -> web.Application:
        """What answers, by address."""

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

    def _check_token(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "replace")
        if self.token and not hmac.compare_digest(given, self.token.encode()):
            raise Refusal(401, "this server needs a token: Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")

    def _check_room(self, request: web.Request) -> None:
        """Refuse a photo that cannot be taken now, or never."""
        if self.closing:
            raise Refusal(503, "the server is stopping; try again later", Retry_After="30")
        if self.active >= self.dispatcher.workers + self.limits.waiting:
            raise Refusal(503, "the server is busy; try again in some seconds", Retry_After="5")
        if (request.content_length or 0) > self.limits.body:
            raise self._too_long()

    def _too_long(self) -> Refusal:
        return Refusal(413, f"the request is longer than the {self.limits.body} bytes that this server takes")

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


class Meter:
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


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches a server at an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


async def run(server: Guarded, host: str, port: int, stop: Stop, started: Callable[[str], object]) -> None:
    """Serve until a stop is asked for; requests that have begun are finished.

    Args:
        server: what answers.
        host, port: where; port 0 for any that is free.
        stop: tells when to stop.
        started: is told the address, such as ``http://127.0.0.1:8080``.

    Raises:
        OSError: the address cannot be had.
    """
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        place = runner.addresses[0]
        shown = f"[{place[0]}]" if ":" in place[0] else place[0]
        started(f"http://{shown}:{place[1]}")
        while not stop.asked:
            await asyncio.sleep(0.1)
        server.closing = True
        deadline = time.monotonic() + CLOSING
        while server.active and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
    finally:
        await runner.cleanup()
