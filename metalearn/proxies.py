"""HTTP clients that never ask a proxy for this machine, and that say in one sentence which proxy they cannot use.

Libraries take proxies from the environment (`HTTP_PROXY`, `ALL_PROXY`, ...) for every address that `NO_PROXY` does not
name. A proxy cannot reach the loopback of the machine that asks it.
"""

import ipaddress
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from metalearn.data.errors import InvalidConfig

_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


def is_loopback(url: str) -> bool:
    """Return True if a URL, or HOST:PORT, is on this machine."""
    try:
        host = (urlsplit(url if "//" in url else f"//{url}").hostname or "").rstrip(".")
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def http_client(url: str, **options: Any) -> httpx.Client:
    """Make a client of the server at `url`. Raises InvalidConfig if the proxy of the environment cannot be used."""
    transport = httpx.HTTPTransport() if is_loopback(url) else None
    with explaining_proxies():
        return httpx.Client(base_url=url, transport=transport, **options)


def async_http_client(url: str, **options: Any) -> httpx.AsyncClient:
    """Make an asyncio client, as `http_client` does."""
    transport = httpx.AsyncHTTPTransport() if is_loopback(url) else None
    with explaining_proxies():
        return httpx.AsyncClient(base_url=url, transport=transport, **options)


@contextmanager
def explaining_proxies() -> Iterator[None]:
    """Raise InvalidConfig, which names the variable, where a library cannot use a proxy of the environment."""
    try:
        yield
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        found = {name: value for name, value in proxies().items() if not _supported(value)}
        if not found:
            raise
        name, value = next(iter(found.items()))
        raise InvalidConfig(
            f"{name}: expected a proxy as http://HOST:PORT or https://HOST:PORT, got {_shown(value)}; "
            "NO_PROXY lists the hosts that need none"
        ) from error


@contextmanager
def without_proxies(url: str) -> Iterator[None]:
    """Hide the proxies of the environment while the block runs, if `url` is on this machine.

    For libraries that make their own clients. Not safe in several threads.
    """
    hidden = proxies() if is_loopback(url) else {}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def proxies() -> Mapping[str, str]:
    """Return the proxies of the environment, by the names of their variables."""
    return {name: value for name, value in os.environ.items() if name.lower() in _VARIABLES and value}


def _supported(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        return parts.scheme in {"", "http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _shown(proxy: str) -> str:
    """Return a proxy without its password."""
    start, at, end = proxy.rpartition("@")
    return ascii(f"{start.partition('://')[0]}://...@{end}" if at else proxy)
