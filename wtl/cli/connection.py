"""The client for the server that a command speaks to."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.client import Client


def connected(url: str, key: str | None) -> "Client":
    """A client, to be closed. Its errors are one sentence each, which `main` prints."""
    from service.client import Client

    return Client(url, api_key=key)
