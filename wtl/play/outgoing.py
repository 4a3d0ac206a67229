"""A change on its way to the server, request by request, each of them until it is answered; and errors for a page."""

from collections.abc import Mapping
from typing import Any

from metalearn.data.errors import WatchTryLearnError
from service.client import Client, ClientError
from service.client import requests as ask
from wtl.play.memory import Change

WORTH_WAITING = frozenset({0, 429, 502, 503, 504})
"""Statuses of a server that is not there at the moment, or busy: the same request is sent again."""


_LOST = {"title": "The server does not answer", "waiting": True}
_GONE = {
    "title": "The adaptation is gone",
    "detail": "It was deleted, or has expired, and nothing of it is left. Show the task again, and a new one begins.",
}


class Outgoing:
    """At most one change. A request that is sent again has the same idempotency key, so it is carried out once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._change: Change | None = None
        self._request: ask.ApiRequest | None = None

    @property
    def pending(self) -> bool:
        """Whether there is a change that is not complete."""
        return self._change is not None

    def start(self, change: Change) -> None:
        """Begin a change, in place of what was pending."""
        self._change, self._request = change, next(change)

    def drop(self) -> None:
        """Send nothing more of it."""
        self._change = None

    def send(self) -> bool:
        """Send the next request, and return True once the change is complete.

        Raises:
            ClientError: nobody answers (the change stays pending), or the server refuses.
            InvalidData, InvalidConfig: the answer cannot be used.
        """
        assert self._change is not None and self._request is not None
        change, self._change = self._change, None
        try:
            self._request = self._answered(change, self._request)
        except StopIteration:
            return True
        except ClientError as error:
            if error.status in WORTH_WAITING:
                self._change = change
            raise
        self._change = change
        return False

    def _answered(self, change: Change, request: ask.ApiRequest) -> ask.ApiRequest:
        try:
            answer = self._client.send(request)
        except ClientError as error:
            if error.status in WORTH_WAITING:
                raise
            return change.throw(error)
        return change.send(answer)


def problem_of(error: WatchTryLearnError) -> Mapping[str, Any]:
    """An error as problem+json has it: title, detail, and field, expected and got where they are known."""
    if isinstance(error, ClientError):
        said = _LOST if error.status in WORTH_WAITING else _GONE if is_gone(error) else {}
        return {"title": "The server refused", "detail": str(error)} | error.problem | said
    known = {name: getattr(error, name) for name in ("field", "expected", "got") if hasattr(error, name)}
    return {"title": "This cannot be done", "detail": str(error)} | known


def is_gone(error: WatchTryLearnError) -> bool:
    """Whether the server has no such adaptation any more."""
    return isinstance(error, ClientError) and error.type.endswith("adaptation-not-found")
