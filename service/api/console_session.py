"""The session of the console: an API key in a cookie that no script can read and no other site can send.

The key is never in an address and never kept by the page. A cookie counts only for requests of the server's own pages:
`SameSite=Strict` keeps other sites from sending it; `Sec-Fetch-Site`, and `Origin` where a browser does not send the
former, pages of other ports of the same machine, those of `allowed_origins` included.
"""

import re

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from service.security.web_access import Authority, same_origin

_KEY = re.compile(r"(?:bearer|api-key) +(wtl_[A-Za-z0-9_-]{20,100})", re.IGNORECASE)
_OWN = frozenset({"same-origin", "none"})


def authorization_of(headers: Headers) -> str | None:
    """Return the Authorization header of a request, or the one that its session stands for, or None."""
    given = headers.get("authorization")
    if given is not None or not _from_own_page(headers):
        return given
    key = cookie_parser(headers.get("cookie", "")).get(cookie_name(headers))
    return None if not key else f"Bearer {key}"


def cookie_name(headers: Headers) -> str:
    """Return the name of the cookie. It holds the port by which the browser knows the server, as cookies do not."""
    host = Authority.parse(headers.get("host", ""))
    return "wtl_key" if host is None or host.port is None else f"wtl_key_{host.port}"


def session_cookie(headers: Headers, authorization: str | None, prefix: str, *, secure: bool) -> str:
    """Return the Set-Cookie header that begins a session with a key, or ends it if there is none.

    It lasts until the browser is closed.
    """
    found = _KEY.fullmatch((authorization or "").strip())
    ending = "" if found else "; Max-Age=0"
    return (
        f"{cookie_name(headers)}={found[1] if found else ''}; Path={prefix}/; HttpOnly; SameSite=Strict{ending}"
        f"{'; Secure' if secure else ''}"
    )


def _from_own_page(headers: Headers) -> bool:
    """Return True unless a browser says that a page of another origin asks. Over plain HTTP only `Origin` says it."""
    hosts = headers.getlist("host")
    own = all(same_origin(origin, hosts) for origin in headers.getlist("origin"))
    return own and headers.get("sec-fetch-site", "same-origin") in _OWN
