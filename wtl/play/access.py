"""Who may use the page: the person who started it, by a token, and in a browser pages of its own alone.

Whoever has an account on this machine can connect to its loopback, and any page in a browser can send requests there.
The token stands in the address that `wtl play` prints. It becomes a cookie, which no script reads and no other site
sends, and the address becomes one without it. Knows nothing of what is served.
"""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ForeignHost, ForeignOrigin
from service.security.web_access import Authority, WebAccess

_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
_CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self' {ws}; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEAD = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>play - watch, try, learn</title>'
REFUSED = "Open the address that `wtl play` has printed in its terminal: it holds the token that this page asks for."
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_COOKIE_S = 30 * 24 * 3600


def load_token(folder: Path) -> str:
    """The token that is kept in a folder, readable by its owner alone; a new one if there is none, or others read it.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / "play-token"
    while True:
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(handle) as file:
                status, text = os.fstat(handle), file.read(100)
            if status.st_uid == os.geteuid() and not status.st_mode & 0o077 and _TOKEN.fullmatch(text):
                return text
        path.unlink(missing_ok=True)
        made = secrets.token_urlsafe(32)
        with suppress(FileExistsError):  # another process made it meanwhile
            write_private(path, made)
            return made


def write_private(path: Path, text: str) -> None:
    """Write a new file that its owner alone can read. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def leading_to(address: str) -> str:
    """A page that leads to an address at once.

    Where the address is one of the page itself, the browser counts it as asked for by the page, and sends its cookie.
    After a redirect it would not, if another page had led here.
    """
    return f'{_HEAD}<meta http-equiv="refresh" content="0; url={address}"></head></html>'


class AccessMiddleware:
    """Refuses requests without the token, under a foreign name (DNS rebinding), and of other sites' pages.

    A cookie is sent to every port of a host, so its name holds the port by which the browser knows the page.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token
        self._access = WebAccess((), (), "127.0.0.1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        answer = self._answer(scope, headers)
        if answer is not None and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "not admitted"})
            return
        host = next((value for name, value in headers if name == "host"), "")
        policy = _CSP.format(ws=f"ws://{host} wss://{host}") if answer is None else "default-src 'none'"

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                have = {name for name, _ in message["headers"]}
                message["headers"] += [
                    (name.lower().encode(), value.encode())
                    for name, value in (_HEADERS | {"Content-Security-Policy": policy}).items()
                    if name.lower().encode() not in have
                ]
            await send(message)

        await (self._app if answer is None else answer)(scope, receive, with_headers)

    def _answer(self, scope: Scope, headers: list[tuple[str, str]]) -> Response | None:
        """The answer to a request that is not for the application: a refusal, or the cookie for a token."""
        hosts = [value for name, value in headers if name == "host"]
        origins = [value for name, value in headers if name == "origin"]
        site = next((value for name, value in headers if name == "sec-fetch-site"), None)
        opens_the_page = scope["type"] == "http" and scope["path"] == "/" and scope["method"] in {"GET", "HEAD"}
        try:
            self._access.check_host(hosts)
            if not opens_the_page:  # a link on another page may lead here
                self._access.check_origin(origins, hosts, site)
            if scope["type"] == "websocket" and len(origins) != 1:
                raise ForeignOrigin("no Origin")
        except (ForeignHost, ForeignOrigin) as error:
            return PlainTextResponse(str(error), 403)
        authority = Authority.parse(hosts[0])
        assert authority is not None
        cookie = "wtl_play" if authority.port is None else f"wtl_play_{authority.port}"
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if opens_the_page and given:
            return self._signed_in(cookie) if self._is_token(given[0]) else _refused()
        kept = [cookie_parser(value).get(cookie, "") for name, value in headers if name == "cookie"]
        return None if any(map(self._is_token, kept)) else _refused()

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self._token.encode())

    def _signed_in(self, cookie: str) -> Response:
        said = f"{cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={_COOKIE_S}"
        return HTMLResponse(leading_to("./"), headers={"Set-Cookie": said, "Cache-Control": "no-store"})


def _refused() -> Response:
    return HTMLResponse(f"{_HEAD}</head><body><p>{REFUSED}</p></body></html>", 401)
