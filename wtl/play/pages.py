"""The page of `wtl play` over HTTP: built files, one WebSocket for commands and pictures, films, and exports.

Who may use it is decided before (`access`).
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from metalearn.data.errors import WatchTryLearnError
from wtl.play.access import AccessMiddleware
from wtl.play.exports import EXPORTS
from wtl.play.films import FilmStore
from wtl.play.outbox import Outbox
from wtl.play.outgoing import problem_of
from wtl.play.tables import Make, Tables
from wtl.play.worker import Worker

_PAGE_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
ELSEWHERE = 4000  # the code that closes a socket whose page has opened another one, in a copied tab
_MOST_COMMAND = 16 * 1024  # bytes


def create_pages(make: Make, films: FilmStore, export: Callable[[str, str], Any], built: Path, token: str) -> Starlette:
    """The application.

    Args:
        make: makes a player.
        films: the films that pages show.
        export: is given the id of an adaptation and a format of `EXPORTS`, and returns bytes.
        built: the folder of the built page.
        token: whoever has it may use the page.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.tables = Tables(make, asyncio.get_running_loop())
        yield
        await run_in_threadpool(app.state.tables.close)

    async def page(_: Request) -> Response:
        return Response((built / "play.html").read_bytes(), media_type="text/html")

    async def film(request: Request) -> Response:
        found = await run_in_threadpool(films.load, request.path_params["digest"])
        if found is None:
            raise HTTPException(404, "there is no film of that episode")
        return Response(found.to_bytes(), media_type="application/octet-stream", headers={"Cache-Control": "max-age=1"})

    async def exported(request: Request) -> Response:
        adaptation, kind = request.path_params["adaptation"], request.path_params["kind"]
        if kind not in EXPORTS:
            raise HTTPException(404, f"expected one of {', '.join(EXPORTS)}")
        try:
            content = await run_in_threadpool(export, adaptation, kind)
        except WatchTryLearnError as error:
            return JSONResponse(problem_of(error), status_code=502, media_type="application/problem+json")
        name = re.sub(r"[^A-Za-z0-9_-]", "", adaptation)[:40] + EXPORTS[kind].suffix
        return Response(
            content,
            media_type="application/octet-stream",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    routes = [
        Route("/", page),
        Route("/play.html", lambda _: RedirectResponse("./")),
        Route("/films/{digest}", film),
        Route("/export/{adaptation}/{kind}", exported),
        WebSocketRoute("/socket", _socket),
        Mount("/assets", StaticFiles(directory=built / "assets", check_dir=False)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(AccessMiddleware, token=token)], lifespan=lifespan)


async def _socket(socket: WebSocket) -> None:
    """One page: its commands to its player, and what the player shows to it."""
    page = socket.query_params.get("page", "")
    if not _PAGE_ID.fullmatch(page):
        await socket.close(1008, "page: expected a random id")
        return
    await socket.accept()
    tables: Tables = socket.app.state.tables
    gone = asyncio.Event()
    table = tables.of(page)
    outbox = table.join(gone.set)
    tasks = {
        asyncio.create_task(one) for one in (_send(socket, outbox), _receive(socket, outbox, table.worker), gone.wait())
    }
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        table.leave(outbox)
    with suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(ELSEWHERE if gone.is_set() else 1003)


async def _receive(socket: WebSocket, outbox: Outbox, worker: Worker) -> None:
    """Hand commands on until the page goes, or sends what no page of ours sends."""
    with suppress(WebSocketDisconnect, ValueError, KeyError, RecursionError):
        while True:
            _take_in(await socket.receive_text(), outbox, worker)


async def _send(socket: WebSocket, outbox: Outbox) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            message = await outbox.next()
            await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))


def _take_in(text: str, outbox: Outbox, worker: Worker) -> None:
    """Read one message of the page. Raises ValueError for one that no page of ours sends."""
    if len(text) > _MOST_COMMAND:
        raise ValueError("too long")
    command = json.loads(text)
    if not isinstance(command, dict):
        raise ValueError("no command")
    if isinstance(command.get("shown"), int):
        outbox.shown(command["shown"])
    else:
        worker.do(command)
