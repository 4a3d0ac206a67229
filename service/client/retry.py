"""The retries of a request, without input or output.

A generator, so that the blocking and the asyncio client share the code: it yields the next step (send or wait) and
receives its outcome.
"""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from metalearn.data.errors import InvalidData
from service.client.requests import ApiRequest
from service.client.responses import ClientError
from service.errors import ServiceError
from service.msgpack_arrays import MSGPACK, decode_msgpack, encode_msgpack

_MAX_CONTAINERS = 10_000_000
RETRYABLE_STATUSES = frozenset(
    {
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.SERVICE_UNAVAILABLE,
        httpx.codes.BAD_GATEWAY,  # sent by proxies
        httpx.codes.GATEWAY_TIMEOUT,
    }
)


@dataclass(frozen=True)
class RetryPolicy:
    """The number of retries and the waits between them.

    Attributes:
        retries: the number of retries after a lost connection or from a busy server.
        longest_wait_s: the longest wait; a longer Retry-After ends the retries.
        jitter: returns a number in [0, 1), so that many clients do not retry at the same moment.
    """

    retries: int = 3
    longest_wait_s: float = 30.0
    jitter: Callable[[], float] = random.random

    def wait_s(self, attempt: int) -> float:
        """Return a wait of 0.1 s, doubled with every attempt, times a random factor from 0.5 to 1."""
        return min(self.longest_wait_s, 0.1 * 2**attempt) * (0.5 + self.jitter() / 2)


@dataclass(frozen=True)
class Send:
    """A request to send; the generator gets the httpx response, or the error that sending raised."""

    method: str
    path: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Wait:
    """A time to wait."""

    seconds: float


RetrySteps = Generator[Send | Wait, httpx.Response | httpx.HTTPError | None, Any]


def send_with_retries(request: ApiRequest, policy: RetryPolicy, api_key: str | None) -> RetrySteps:
    """Return the decoded response to a request. Raises ClientError."""
    send, lost = _send_step(request, api_key), False
    for attempt in range(policy.retries + 1):
        outcome = yield send
        last = attempt == policy.retries
        if isinstance(outcome, httpx.HTTPError):
            if last or isinstance(outcome, httpx.UnsupportedProtocol):
                detail = str(outcome) or type(outcome).__name__
                raise ClientError({"title": "the server cannot be reached", "detail": detail}) from outcome
            lost, wait_s = True, policy.wait_s(attempt)
        else:
            assert outcome is not None
            if lost and request.method == "DELETE" and outcome.status_code == httpx.codes.NOT_FOUND:
                return None  # an earlier attempt has deleted it, and its response was lost
            if last or not (outcome.status_code in RETRYABLE_STATUSES or _replica_died(outcome)):
                return decode_response(outcome)
            wait_s = max(policy.wait_s(attempt), retry_after_s(outcome))
            if wait_s > policy.longest_wait_s:
                return decode_response(outcome)
        yield Wait(wait_s)
    raise AssertionError("the last attempt returns or raises")


def _replica_died(response: httpx.Response) -> bool:
    """Return True for a 500 of Ray Serve's proxy, which lost a replica: unlike the service's, it has no problem."""
    is_problem = response.headers.get("content-type", "").startswith("application/problem+json")
    return response.status_code == httpx.codes.INTERNAL_SERVER_ERROR and not is_problem


def decode_response(response: httpx.Response) -> Any:
    """Decode a response: JSON or msgpack, else bytes; None if it is empty. Raises ClientError."""
    if not response.is_success:
        raise ClientError({"status": response.status_code, **_problem(response)})
    if not response.content:
        return None
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type == MSGPACK:
            return decode_msgpack(response.content, _MAX_CONTAINERS)
        return response.json() if media_type == "application/json" else response.content
    except (ServiceError, ValueError, RecursionError) as error:
        raise ClientError({"title": "the response cannot be decoded", "detail": str(error)}) from error


def _problem(response: httpx.Response) -> dict[str, Any]:
    """Return the RFC 9457 problem of a response, or a substitute, since proxies send none."""
    try:
        problem = response.json()
    except (ValueError, RecursionError):
        problem = None
    return problem if isinstance(problem, dict) else {"detail": f"status {response.status_code}"}


def _send_step(request: ApiRequest, api_key: str | None) -> Send:
    headers = {"Accept": MSGPACK}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    if request.key is not None:
        headers["Idempotency-Key"] = request.key
    if (adaptation_id := _adaptation_of(request.path)) is not None:
        headers["x-session-id"] = adaptation_id  # routers use it to find the replica with the adaptation in memory
    options: dict[str, Any] = {"headers": headers, "params": dict(request.params)}
    if request.body is not None:
        headers["Content-Type"] = MSGPACK
        options["content"] = _encoded(request.body)
    return Send(request.method, request.path, options)


def _encoded(body: Mapping[str, Any]) -> bytes:
    """The body as msgpack. Raises InvalidData for values that have no form in it."""
    try:
        return encode_msgpack(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidData("body", "numbers, text, lists, maps and arrays of numbers", str(error)[:120]) from error


def retry_after_s(response: httpx.Response) -> float:
    """Return the seconds of `Retry-After`; 0 if it is absent or a date, since clocks differ."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) < 10 else 0.0


def _adaptation_of(path: str) -> str | None:
    """Return the id of the adaptation in a path, or None."""
    parts = path.strip("/").split("/")
    return parts[2] if parts[:2] == ["v1", "adaptations"] and len(parts) > 2 else None
