"""Which server a command speaks to, and the client that does."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.client import Client

Url = Annotated[str, typer.Option(envvar="WTL_URL", help="The server.")]
Key = Annotated[str | None, typer.Option(envvar="WTL_API_KEY", help="API key, as wtl_...", show_default=False)]
HERE = "http://127.0.0.1:8000"


def connected(url: str, key: str | None) -> "Client":
    """The client, to be closed. What it fails at is one sentence already: `main` prints it."""
    from service.client import Client

    return Client(url, api_key=key)
