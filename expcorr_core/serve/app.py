"""The server's addresses, and what it refuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as value
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from .. import __version__
from ..batch.bulk import Job, Work, correct_file, needs, task_of
from ..batch.pool import Stop
from ..files import scratch
from ..photos.reading import FORMATS, ImageError, kind_of, suffix_of
from ..settings import Settings
from .dispatcher import Dispatcher
from .guarding import LOOPBACK, SHOWN, STALL, Guarded, Limits, Meter, Refusal, is_loopback, run

STATIC = Path(__file__).parent / "static"
TRUTHS = {"true": True, "1": True, "false": False, "0": False}
# What a request may set: its kind, its default, and what a page needs to know to ask for it.
PARAMETERS: dict[str, dict[str, Any]] = {
    "strength": {"type": "number", "default": Settings.strength, "minimum": 0, "maximum": 2},
    "stretch": {"type": "number", "default": Settings.stretch, "minimum": 0, "maximum": 50},
    "fusion": {"type": "boolean", "default": Settings.fusion},
    "metadata": {"type": "string", "default": "all", "enum": ["all", "no-gps", "none"]},
    "format": {"type": "string", "default": None, "enum": [kind.lower() for kind in FORMATS]},
}


@dataclass(kw_only=True)
class Server(Guarded):
    """The server of ``expcorr serve``: each request brings a photo and gets it corrected."""

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
        self._check_room(request)
        self.active += 1
        self._number += 1
        source = self.folder / f"photo-{self._number}"
        files = [source]
        try:
            wanted = await self._received(request, source)
            job, work = await asyncio.to_thread(self._planned, source, wanted)
            files.append(job.target)
            task = await asyncio.to_thread(task_of, job, work, ())
            outcome = await asyncio.wrap_future(self.dispatcher.submit(correct_file, task))
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

    async def _received(self, request: web.Request, path: Path) -> dict[str, str]:
        """Write the photo of a request into a file; returns the request's parameters."""
        wanted, found = dict(request.query), False
        meter = Meter(self.limits.body, self._too_long)
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


def parsed(
    wanted: Mapping[str, str], parameters: Mapping[str, Mapping[str, Any]] = PARAMETERS
) -> tuple[Settings, str, str]:
    """Settings, metadata to keep, and the format (empty: the photo's own) that a request asks for.

    Args:
        wanted: names and values, as they came.
        parameters: what may be set.

    Raises:
        Refusal: a parameter is unknown, or its value is.
    """
    found: dict[str, Any] = {}
    for name, text in wanted.items():
        if name not in parameters:
            raise Refusal(422, f"the parameter {name!r} is unknown; there are {', '.join(parameters)}")
        kind = parameters[name]["type"]
        try:
            low = text.lower()
            found[name] = float(low) if kind == "number" else TRUTHS[low] if kind == "boolean" else low
        except (ValueError, KeyError) as error:
            raise Refusal(422, f"{name} must be a {kind}, got {text!r}") from error
        choices = parameters[name].get("enum")
        if choices and found[name] not in choices:
            raise Refusal(422, f"{name} must be one of {', '.join(choices)}, got {text!r}")
    metadata, form = found.pop("metadata", "all"), found.pop("format", "").upper()
    try:
        return Settings(**found), metadata, form
    except ValueError as error:
        raise Refusal(422, str(error)) from error


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
    names = LOOPBACK | {host} if is_loopback(host) else None
    stop = Stop()
    with stop.listening(), scratch() as folder:
        dispatcher = Dispatcher(workers)
        server = Server(work=work, dispatcher=dispatcher, folder=folder, limits=limits, token=token, names=names)
        try:
            asyncio.run(run(server, host, port, stop, lambda address: say(f"serving on {address}")))
        finally:
            dispatcher.stop()
