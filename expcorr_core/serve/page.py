"""The page of ``expcorr app``: one user's photos, corrected by this program and shown in the browser."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import threading
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from dataclasses import field as value
from pathlib import Path, PurePosixPath
from typing import Any

from aiohttp import web

from .. import __version__
from ..batch.bulk import Job, Work, correct_file, needs, task_of
from ..batch.pool import Stop
from ..files import scratch
from ..method.weights_file import bundled_weights, read_metadata
from ..photos.reading import FORMATS, ImageError, kind_of, suffix_of
from ..photos.writing import format_of
from ..runtimes import ONNX, TORCH
from ..settings import Settings
from .app import PARAMETERS, parsed
from .dispatcher import Dispatcher
from .guarding import LOOPBACK, SHOWN, Guarded, Limits, Meter, Refusal, run
from .opening import GRID, PREVIEW, Opened, open_photo, opening

HOST = "127.0.0.1"
HELD = 4 * 2**30  # bytes of files of photos that are open
NAMES = {"fast": "default", "paper": "paper"}  # of bundled weights, by what the page calls the models
CHOICES: dict[str, dict[str, Any]] = {
    "strength": PARAMETERS["strength"],
    "max_stops": {"type": "number", "default": None, "minimum": 0},
    "keep_highlights": {"type": "boolean", "default": Settings.keep_highlights},
    "format": PARAMETERS["format"],
}
# What the page says of itself, and that no other page may show it in a frame.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; style-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
# Not as the system has them, where another program may have changed them.
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".jpg": "image/jpeg",
}
FILES = ("index.html", "style.css", "icon.svg", "manifest.webmanifest")
FOLDERS = ("ui", "engine", "examples")


def page_files() -> dict[str, Path]:
    """The page's own files by their address: beside the package, in a checkout or where a wheel was installed.

    Raises:
        RuntimeError: they are in neither place.
    """
    root = Path(__file__).resolve().parents[2]
    for place, examples in ((root / "web" / "app", root), (root / "expcorr_page", root / "expcorr_page")):
        if not (place / FILES[0]).is_file():
            continue
        found = {f"/{name}": place / name for name in FILES}
        for folder in FOLDERS:
            base = examples if folder == "examples" else place
            paths = (path for path in (base / folder).rglob("*") if path.suffix in TYPES)
            found |= {f"/{path.relative_to(base).as_posix()}": path for path in paths}
        return {"/": found.pop("/index.html"), **found}
    raise RuntimeError("the page's files are missing; reinstall the package")


@dataclass(frozen=True)
class Held:
    """A photo that is open.

    Attributes:
        name: of the user's file.
        source: its copy, in a folder of its own.
        work: which weights correct it.
        opened: what was found of it.
        size: bytes of its files.
    """

    name: str
    source: Path
    _: KW_ONLY
    work: Work
    opened: Opened
    size: int


@dataclass(kw_only=True)
class Page(Guarded):
    """The server of ``expcorr app``.

    Attributes:
        models: the weights that the page may choose, by what it calls them; the first is what it begins with.
    """

    models: Mapping[str, Path]
    _number: int = 0
    _photos: dict[str, Held] = value(default_factory=dict)
    _files: dict[str, Path] = value(default_factory=page_files)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guarded, self._with_token], client_max_size=self.limits.body)
        app.on_response_prepare.append(_with_headers)
        for address in self._files:
            app.router.add_get(address, self._file)
        app.router.add_get("/app/models", self._models)
        app.router.add_post("/app/photos", self._open)
        app.router.add_get("/app/photos/{photo}/{part}", self._part)
        app.router.add_post("/app/photos/{photo}", self._save)
        app.router.add_delete("/app/photos/{photo}", self._close)
        return app

    @web.middleware
    async def _with_token(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """The page's own files are no secret, and come before it can know the token; everything else needs it."""
        if request.path not in self._files:
            self._check_token(request)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = self._files[request.path]
        kind = TYPES[path.suffix]
        if request.path != "/":
            return web.FileResponse(path, headers={"Content-Type": kind})
        # Tells the page to leave the work to this program.
        page = path.read_text("utf-8").replace("</title>", '</title>\n<meta name="expcorr-server" content="app">', 1)
        for name in NAMES.keys() - self.models.keys():
            page = page.replace(f'<option value="{name}"></option>', "", 1)
        return web.Response(text=page, content_type=kind)

    async def _models(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"models": list(self.models), "version": __version__})

    async def _open(self, request: web.Request) -> web.StreamResponse:
        self._check_room(request)
        model = request.query.get("model", "")
        if model not in self.models:
            raise Refusal(422, f"the model must be one of {', '.join(self.models)}, got {model!r}")
        if sum(held.size for held in self._photos.values()) + (request.content_length or 0) > HELD:
            raise Refusal(507, f"the photos that are open take {HELD // 2**30} GiB; remove some from the list")
        self._number += 1
        number, work = str(self._number), replace(self.work, weights=self.models[model])
        name = PurePosixPath(request.query.get("name", "").replace("\\", "/")).name or "photo"
        source = self.folder / number / "photo"
        self.active += 1
        try:
            source.parent.mkdir()
            with source.open("wb") as file:
                await Meter(self.limits.body, self._too_long).copy(request.content.readany, file)
            await asyncio.to_thread(self._check_photo, source)
            task = await asyncio.to_thread(opening, source, work, request.query.get("p3") == "true")
            opened = await asyncio.wrap_future(self.dispatcher.submit(open_photo, task))
            if opened.error:
                raise Refusal(422, opened.error.replace(str(source), SHOWN))
            if request.transport is None or request.transport.is_closing():
                raise Refusal(400, "the connection was closed before the photo was open")
            size = sum(path.stat().st_size for path in source.parent.iterdir())
            self._photos[number] = Held(name, source, work=work, opened=opened, size=size)
        except ConnectionError as error:
            raise Refusal(400, "the connection was closed before the photo was open") from error
        except OSError as error:
            raise Refusal(507, f"the photo cannot be kept while it is open ({error.strerror})") from error
        finally:
            self.active -= 1
            if number not in self._photos:
                shutil.rmtree(source.parent, ignore_errors=True)
        found = {
            "photo": number,
            "width": opened.width,
            "height": opened.height,
            "preview": {"width": opened.shown[1], "height": opened.shown[0], "wide": opened.wide},
            "stops": opened.stops,
            "wellExposed": opened.well_exposed,
        }
        return web.json_response(found)

    def _check_photo(self, source: Path) -> None:
        """Raise Refusal for what is no photo, or one of more pixels than fit into memory."""
        with source.open("rb") as file:
            try:
                kind_of(file.read(32), Path(SHOWN))
            except ImageError as error:
                raise Refusal(415, str(error)) from error
        pixels, _ = needs(source)
        if pixels > self.limits.pixels:
            raise Refusal(413, f"the photo has {pixels / 1e6:.0f} megapixels; use the command line: expcorr correct")

    def _held(self, request: web.Request) -> Held:
        try:
            return self._photos[request.match_info["photo"]]
        except KeyError as error:
            raise Refusal(404, "the photo is not open any more; add it again") from error

    async def _part(self, request: web.Request) -> web.StreamResponse:
        held, part = self._held(request), request.match_info["part"]
        if part not in (PREVIEW, GRID):
            raise Refusal(404, f"of a photo there are {PREVIEW} and {GRID}, not {part!r}")
        return web.FileResponse(held.source.with_name(part), headers={"Content-Type": "application/octet-stream"})

    async def _save(self, request: web.Request) -> web.StreamResponse:
        self._check_room(request)
        held = self._held(request)
        settings, _, form = parsed(request.query, CHOICES)
        with held.source.open("rb") as file:
            kind = kind_of(file.read(32), Path(SHOWN))
        suffix = suffix_of(form or kind)
        self._number += 1
        job = Job(held.source, held.source.with_name(f"result-{self._number}{suffix}"))
        self.active += 1
        try:
            task = await asyncio.to_thread(task_of, job, replace(held.work, settings=settings), ())
            outcome = await asyncio.wrap_future(self.dispatcher.submit(correct_file, task))
            if outcome.error:
                text = outcome.error.replace(str(job.source), SHOWN).replace(str(job.target), "the result")
                raise Refusal(422, text)
            told = json.dumps({"name": written_name(held.name, suffix), "leftOut": outcome.left_out})
            return await self._sent(request, job.target, {"Expcorr-Result": told})
        finally:
            self.active -= 1
            job.target.unlink(missing_ok=True)

    async def _close(self, request: web.Request) -> web.StreamResponse:
        held = self._held(request)
        del self._photos[request.match_info["photo"]]
        await asyncio.to_thread(shutil.rmtree, held.source.parent, ignore_errors=True)
        return web.Response(status=204)


async def _with_headers(_: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.update(HEADERS)


def written_name(name: str, suffix: str) -> str:
    """The name to offer for a result; the user's own suffix stays, where it is one of the result's format."""
    own = PurePosixPath(name).suffix
    same = own.lower() in FORMATS[format_of(Path(f"result{suffix}"))]
    return f"{PurePosixPath(name).stem}_corrected{own if same else suffix}"


def models_of(weights: Path | None, runtime: str) -> dict[str, Path]:
    """The models that the page may choose: those that come with the program for a runtime, or the one in a file."""
    if weights is None:
        return {each: bundled_weights(name) for each, name in NAMES.items() if runtime == TORCH or name == "default"}
    fast = runtime == ONNX or "hidden" in read_metadata(weights)["architecture"]
    return {"fast" if fast else "paper": weights}


def show(
    work: Work, limits: Limits, port: int, *, browser: bool, models: Mapping[str, Path], say: Callable[[str], object]
) -> None:
    """Serve the page to this computer's user until Ctrl-C or SIGTERM; no file is left behind.

    Args:
        work: device and runtime.
        limits: what to take.
        port: 0 for any that is free.
        browser: whether to open the page in the user's browser.
        models: see :class:`Page`.
        say: is told, in a line, the address.

    Raises:
        OSError: the port cannot be had.
    """
    token = secrets.token_urlsafe(32)

    def started(address: str) -> None:
        # The part after # is sent to no server, and the page removes it from the address.
        url = f"{address}/#token={token}"
        say(f"the page is at {url}")
        if browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    stop = Stop()
    with stop.listening(), scratch() as folder:
        dispatcher = Dispatcher(1)  # with all cores: one photo after another
        page = Page(
            work=work, dispatcher=dispatcher, folder=folder, limits=limits, token=token, names=LOOPBACK, models=models
        )
        try:
            asyncio.run(run(page, HOST, port, stop, started))
        finally:
            dispatcher.stop()
