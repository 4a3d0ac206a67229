"""The console at `/console`: built pages, read once at the start, and the session of whoever signs in.

Everything that the pages show comes from the REST API. They load nothing from elsewhere and run no inline script.
"""

import gzip
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from service.api.console_session import session_cookie
from service.api.scopes import ANY_KEY, PUBLIC

BUILT = Path(__file__).parents[2] / "console" / "built"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
NOT_BUILT = (
    "The console is not built on this machine: run `make console` in the repository, and start the server again."
)
_HASHED = {"Cache-Control": "public, max-age=31536000, immutable"}
_ZIPPED = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
_PAGE = {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""What a build consists of. Python's own table of media types depends on the machine."""


def console_routers(built: Path = BUILT) -> tuple[APIRouter, APIRouter]:
    """Make the routes of the pages, which are public, and the one that begins a session, which needs a key.

    Args:
        built: the folder that `make console` builds into; without its files `/console` says what to do.
    """
    pages = APIRouter(prefix="/console", include_in_schema=False, dependencies=[PUBLIC])
    signed = APIRouter(prefix="/console", include_in_schema=False, dependencies=[ANY_KEY])

    @pages.api_route("", methods=["GET", "HEAD"])
    async def without_slash() -> Response:
        """Lead to the page: its files are addressed relative to it."""
        return Response(status_code=307, headers={"Location": "console/"})

    index = built / "index.html"
    if index.is_file():
        _add(pages, "/", index, _PAGE)
        for asset in sorted((built / "assets").iterdir()):
            _add(pages, f"/assets/{asset.name}", asset, _HASHED)
    else:
        pages.add_api_route("/", _not_built, methods=["GET", "HEAD"])

    @pages.post("/sign-out", status_code=204, response_class=Response)
    async def sign_out(request: Request) -> Response:
        """End the session."""
        return _with_cookie(request, None)

    @signed.post("/sign-in", status_code=204, response_class=Response)
    async def sign_in(request: Request) -> Response:
        """Begin a session with the key in the Authorization header, which has been checked by now."""
        return _with_cookie(request, request.headers.get("authorization"))

    return pages, signed


async def _not_built() -> Response:
    return PlainTextResponse(NOT_BUILT + "\n", status_code=503)


def _with_cookie(request: Request, authorization: str | None) -> Response:
    prefix, origin = request.scope.get("root_path", "").rstrip("/"), request.headers.get("origin", "")
    secure = request.url.scheme == "https" or origin.startswith("https:")  # a proxy may have taken TLS off
    cookie = session_cookie(request.headers, authorization, prefix, secure=secure)
    return Response(status_code=204, headers={"Set-Cookie": cookie})


def _add(router: APIRouter, path: str, file: Path, headers: dict[str, str]) -> None:
    """Serve a file from memory, compressed where the browser takes that."""
    kind, content = _KINDS.get(file.suffix, "application/octet-stream"), file.read_bytes()
    packed = gzip.compress(content, 9, mtime=0)

    async def answer(request: Request) -> Response:
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, media_type=kind, headers={**headers, **_ZIPPED})
        return Response(content, media_type=kind, headers={**headers, "Vary": "Accept-Encoding"})

    router.add_api_route(path, answer, methods=["GET", "HEAD"], name=file.name)
