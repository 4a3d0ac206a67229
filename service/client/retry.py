"""One call, to its end: what to send, how long to wait, when to give up. Does no input or output itself.

A generator, so that the blocking and the awaiting client drive the same code: it yields what to do and is sent
what came of it.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import httpx

from service.client.requests import Call
from service.client.responses import ClientError
from service.codecs import CODECS, MSGPACK, encode_msgpack

_MAX_CONTAINERS = 10_000_000
PASSING = frozenset(
    {
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.SERVICE_UNAVAILABLE,
        httpx.codes.BAD_GATEWAY,  # what a proxy says
        httpx.codes.GATEWAY_TIMEOUT,
    }
)
"""What may be better in a moment."""


@dataclass(frozen=True)
class Patience:
    """How often and how long to try again.

    Attributes:
        retries: after a lost connection or a busy server.
        longest_wait_s: a server that asks for more is not waited for.
        jitter: 0 .. 1; so that a crowd does not come back all at once.
    """

    retries: int = 3
    longest_wait_s: float = 30.0
    jitter: Callable[[], float] = random.random

    def wait_s(self, attempt: int) -> float:
        """0.1 s, doubling, each between half and the whole of it."""
        return min(self.longest_wait_s, 0.1 * 2**attempt) * (0.5 + self.jitter() / 2)


@dataclass(frozen=True)
class Send:
    """Send this; the answer is an httpx response, or the error that sending raised."""

    method: str
    path: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Wait:
    """Do nothing for so long."""

    seconds: float


Exchange = Generator[Send | Wait, httpx.Response | httpx.HTTPError | None, Any]


def exchange(call: Call, patience: Patience, api_key: str | None) -> Exchange:
    """The decoded answer of a call. Raises ClientError."""
    send, lost = _request(call, api_key), False
    for attempt in range(patience.retries + 1):
        outcome = yield send
        last = attempt == patience.retries
        if isinstance(outcome, httpx.HTTPError):
            if last or isinstance(outcome, httpx.UnsupportedProtocol):
                detail = str(outcome) or type(outcome).__name__
                raise ClientError({"title": "the server cannot be reached", "detail": detail}) from outcome
            lost, wait_s = True, patience.wait_s(attempt)
        else:
            assert outcome is not None
            if lost and call.method == "DELETE" and outcome.status_code == httpx.codes.NOT_FOUND:
                return None  # the answer was lost, not the request
            if last or not (outcome.status_code in PASSING or _replica_died(outcome)):
                return decoded(outcome)
            wait_s = max(patience.wait_s(attempt), asked_wait_s(outcome))
            if wait_s > patience.longest_wait_s:
                return decoded(outcome)
        yield Wait(wait_s)
    raise AssertionError("the last attempt returns or raises")


def _replica_died(response: httpx.Response) -> bool:
    """Whether this is how Ray Serve's proxy says so: with 500, and without the problem that our server would tell."""
    told = response.headers.get("content-type", "").startswith("application/problem+json")
    return response.status_code == httpx.codes.INTERNAL_SERVER_ERROR and not told


def decoded(response: httpx.Response) -> Any:
    """The value of an answer; bytes where it is neither JSON nor msgpack, None where empty. Raises ClientError."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.is_success:
        codec = CODECS.get(media_type)
        if not response.content:
            return None
        return codec.decode(response.content, _MAX_CONTAINERS) if codec else response.content
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": f"status {response.status_code}"}
    raise ClientError({"status": response.status_code, **problem})


def _request(call: Call, api_key: str | None) -> Send:
    headers = {"Accept": MSGPACK}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    if call.key is not None:
        headers["Idempotency-Key"] = call.key
    if (adaptation_id := _adaptation_of(call.path)) is not None:
        headers["x-session-id"] = adaptation_id  # a hint to a router: that replica may know it already
    options: dict[str, Any] = {"headers": headers, "params": dict(call.params)}
    if call.body is not None:
        headers["Content-Type"] = MSGPACK
        options["content"] = encode_msgpack(call.body)
    return Send(call.method, call.path, options)


def asked_wait_s(response: httpx.Response) -> float:
    """Of `Retry-After` in seconds; as a date it is passed over, for clocks differ."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) < 10 else 0.0


def _adaptation_of(path: str) -> str | None:
    """The adaptation that a request is about."""
    parts = path.strip("/").split("/")
    return parts[2] if parts[:2] == ["v1", "adaptations"] and len(parts) > 2 else None
