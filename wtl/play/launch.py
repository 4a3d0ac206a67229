"""`wtl play`: the parts, put together. The one place that makes a client, a player and a page of them."""

import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import uvicorn
from starlette.applications import Starlette

from metalearn.data.errors import InvalidConfig
from service.client import Client
from wtl.play.access import leading_to, load_token, write_private
from wtl.play.choices import Choices
from wtl.play.exports import EXPORTS
from wtl.play.films import FilmStore
from wtl.play.own_server import own_server
from wtl.play.pages import create_pages
from wtl.play.player import Player
from wtl.play.worker import Show

BUILT = Path(__file__).parents[2] / "service" / "console" / "built"
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Wanted:
    """What a person asked for.

    Attributes:
        family: a registered family, or `module:Class`; None for one of the server's models.
        model: the name of the model that plays it.
        server: the address of a server; None to start one with `models` and `data`.
        api_key: for that server.
        models: a folder of bundles for the server of its own.
        data: the folder of films, and of the state of the server of its own.
        seed: draws tasks; None for others every time.
    """

    family: str | None = None
    model: str | None = None
    server: str | None = None
    api_key: str | None = None
    models: Path | None = None
    data: Path = Path("data")
    seed: int | None = None


@contextmanager
def application(wanted: Wanted) -> Iterator[tuple[Starlette, str]]:
    """The application and its token, with a server to play on while the block runs.

    Raises:
        InvalidConfig: the page is not built, its token cannot be kept, or nothing fits what was asked for.
        ClientError, NotStarted: there is no server.
    """
    if not (BUILT / "play.html").is_file():
        raise InvalidConfig("the page of wtl play is not built: run `make console`, or install the wheel")
    if wanted.server is not None and wanted.models is not None:
        raise InvalidConfig("--models is for a server of Play's own; the one at --server has its models")
    try:
        token = load_token(wanted.data)
    except OSError as error:
        raise InvalidConfig(f"--data: cannot write {error.filename}: {error.strerror}") from error
    with ExitStack() as stack:
        url = wanted.server or stack.enter_context(own_server(wanted.data, wanted.models))

        def connect() -> Client:
            return Client(url, api_key=wanted.api_key, timeout_s=TIMEOUT_S, retries=1)

        client = stack.enter_context(connect())
        models = client.models()
        Choices(models, wanted.family, wanted.model)  # says now what does not fit
        films = FilmStore(wanted.data / "films")
        seeds = np.random.SeedSequence(wanted.seed)

        def make(show: Show, changed: Callable[[str], None]) -> Player:
            rng = np.random.default_rng(seeds.spawn(1)[0])
            choices = Choices(models, wanted.family, wanted.model)
            return Player(connect(), choices, films, rng, show, changed)

        def export(adaptation: str, kind: str) -> bytes:
            return EXPORTS[kind].make(client.adaptation(adaptation), url, wanted.api_key)

        yield create_pages(make, films, export, BUILT, token), token


def play(wanted: Wanted, port: int | None, say: Callable[[str], None], *, open_browser: bool = False) -> None:
    """Serve the page until Ctrl-C. Raises InvalidConfig, ClientError, NotStarted."""
    signal.signal(signal.SIGTERM, _end)  # uvicorn raises it again at its end, and the server of our own has to end too
    with listen(port) as listener, application(wanted) as (app, token):
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        url = f"http://{place}/?token={token}"
        say(f"Play is at {url}\n(Ctrl-C ends it; over SSH: ssh -L {place.split(':')[1]}:{place} HOST)")
        if open_browser:
            threading.Timer(0.5, open_in_browser, [wanted.data / "play-open.html", url]).start()
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, ws="websockets-sansio")
        uvicorn.Server(config).run(sockets=[listener])


def open_in_browser(page: Path, url: str) -> None:
    """Open a browser at an address that holds the token: by a private file, since all users can read command lines."""
    page.unlink(missing_ok=True)
    write_private(page, leading_to(url))
    webbrowser.open(page.resolve().as_uri())


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


DEFAULT_PORT = 8010


def listen(port: int | None) -> socket.socket:
    """A socket on loopback; if no port was named, at the usual one or at any. Raises InvalidConfig."""
    for candidate in [DEFAULT_PORT, 0] if port is None else [port]:
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
    raise InvalidConfig(f"cannot listen at 127.0.0.1:{port}: {reason}; choose another --port")
