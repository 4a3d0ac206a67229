"""Who may ask through a browser: the names that the server answers under, and the pages that may change something.

A server on loopback needs no key, but every page that a browser on the same machine shows can send it requests. A page
of another site names that site in `Origin`; one that has bound its own name to 127.0.0.1 (DNS rebinding) names it in
`Host`. Programs send no `Origin`. Knows no ASGI.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from metalearn.data.errors import InvalidConfig
from service.errors import ForeignHost, ForeignOrigin, quote

_AUTHORITY = re.compile(r"(\[[0-9a-f:.%]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})
_MAX_KNOWN = 1000


@dataclass(frozen=True)
class Authority:
    """A host and perhaps a port, in one spelling: lower case, without brackets and without a trailing dot."""

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse the value of `Host`, or the authority of an origin; None if it is neither a name nor an address."""
        found = _AUTHORITY.fullmatch(text.strip().lower())
        if found is None or int(found[2] or 0) > 65535:
            return None
        host = found[1].removesuffix(".").removeprefix("[").removesuffix("]")
        return cls(host, None if found[2] is None else int(found[2])) if host else None

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an IP address, or None if it is a name."""
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return None
        return getattr(address, "ipv4_mapped", None) or address

    @property
    def loopback(self) -> bool:
        """True for localhost and for the addresses that mean this machine alone."""
        return self.host == "localhost" or (self.address is not None and self.address.is_loopback)


class WebAccess:
    """The hosts and origins that one server accepts.

    Args:
        hosts: names and addresses beside those of loopback; `*.example.org` for all names below one, `*` for any.
        origins: origins of pages of other sites that may change something, as `https://console.example.org`.
        host: the address that the server listens at.

    Raises:
        InvalidConfig: an entry is no host or no origin.
    """

    def __init__(self, hosts: Sequence[str], origins: Sequence[str], host: str) -> None:
        hosts = [_parse_host(name) for name in hosts]
        self.origins = frozenset(_parse_origin(name) for name in origins)
        own = Authority.parse(f"[{host}]" if ":" in host else host)
        self._exposed = own is None or not own.loopback
        # Other machines cannot make a browser believe that their pages come from an IP address or from this name.
        names = {own.host} if own is not None else set()
        names |= {socket.gethostname().lower()} if self._exposed else set()
        self._names = frozenset(names | {name for name in hosts if not name.startswith("*")})
        self._suffixes = tuple(name[1:] for name in hosts if name.startswith("*"))
        self._known: dict[str, bool] = {}

    def answers_as(self, host: str) -> bool:
        """Return True if the server answers under this value of `Host`. The port does not matter."""
        known = self._known.get(host)
        if known is None:
            known = self._answers_as(Authority.parse(host))
            if len(self._known) < _MAX_KNOWN:
                self._known[host] = known
        return known

    def check_host(self, hosts: Sequence[str]) -> None:
        """Raise ForeignHost unless there is one Host, and it is one of the server's."""
        if len(hosts) != 1 or not self.answers_as(hosts[0]):
            raise ForeignHost(quote(", ".join(hosts)) if hosts else "no host")

    def check_origin(self, origins: Sequence[str], hosts: Sequence[str], site: str | None) -> None:
        """Raise ForeignOrigin if a page of another site asks, unless its origin is among those that may.

        `site` is the value of Sec-Fetch-Site, which browsers send even where they send no Origin.
        """
        if len(origins) == 1 and origins[0].lower() in self.origins:
            return
        if any(not same_origin(origin, hosts) for origin in origins):
            raise ForeignOrigin(quote(", ".join(origins)))
        if site is not None and site.strip().lower() in _FOREIGN_SITES:
            raise ForeignOrigin(quote(f"Sec-Fetch-Site: {site}"))

    def _answers_as(self, authority: Authority | None) -> bool:
        if authority is None:
            return False
        if authority.loopback or authority.host in self._names or (self._exposed and authority.address is not None):
            return True
        return any(authority.host.endswith(suffix) for suffix in self._suffixes)


def same_origin(origin: str, hosts: Sequence[str]) -> bool:
    """Return True if an origin is that of the server's own pages. A proxy may have taken TLS off."""
    scheme, separator, rest = origin.strip().lower().partition("://")
    page, own = Authority.parse(rest), Authority.parse(hosts[0]) if len(hosts) == 1 else None
    if not separator or scheme not in _DEFAULT_PORTS or page is None or own is None:
        return False
    default = _DEFAULT_PORTS[scheme]
    return (page.host, page.port or default) == (own.host, own.port or default)


def _parse_host(text: str) -> str:
    """Return an entry of `allowed_hosts` in one spelling. Raises InvalidConfig."""
    name = text.strip().lower().removesuffix(".")
    if name == "*":
        return name
    bare = name.removeprefix("*.")
    authority = Authority.parse(f"[{bare}]" if bare.count(":") > 1 and not bare.startswith("[") else bare)
    if authority is None or authority.port is not None:
        raise InvalidConfig(
            f"allowed_hosts: expected hosts without scheme and port, as robots.example.org or *.example.org, got {text}"
        )
    return f"*.{authority.host}" if name.startswith("*.") else authority.host


def _parse_origin(text: str) -> str:
    """Return an entry of `allowed_origins` as browsers spell it. Raises InvalidConfig."""
    scheme, separator, rest = text.strip().lower().removesuffix("/").partition("://")
    authority = Authority.parse(rest)
    if not separator or scheme not in _DEFAULT_PORTS or authority is None:
        raise InvalidConfig(
            "allowed_origins: expected origins, as https://console.example.org or http://localhost:3000, each by name, "
            f"got {text}"
        )
    port = "" if authority.port in {None, _DEFAULT_PORTS[scheme]} else f":{authority.port}"
    host = f"[{authority.host}]" if ":" in authority.host else authority.host
    return f"{scheme}://{host}{port}"
