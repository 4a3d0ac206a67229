"""The client for the server that a command speaks to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from metalearn.data.errors import InvalidConfig

if TYPE_CHECKING:
    from service.client import Client


@contextmanager
def connected(url: str, key: str | None) -> "Iterator[Client]":
    """A client while the block runs. Its errors are one sentence each, which `main` prints.

    Raises:
        InvalidConfig: no server answers at `url`.
    """
    from service.client import Client

    with Client(url, api_key=key) as client, explained(url):
        yield client


@contextmanager
def explained(url: str, option: str = "--url") -> "Iterator[None]":
    """Say how to get a server where none answers at `url`, which `option` names. Raises InvalidConfig."""
    from service.client import ClientError

    try:
        yield
    except ClientError as error:
        if error.status:
            raise
        why = error.problem.get("detail", error)
        raise InvalidConfig(
            f"no server answers at {url} ({why}): start one with `wtl serve`, or name another with {option} or WTL_URL"
        ) from error
