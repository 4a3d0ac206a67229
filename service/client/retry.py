"""One request with its retries: what to send, how long to wait, when to give up. Does no input or output itself.

A generator, so that the blocking and the awaiting client drive the same code: it yields what to do and is sent
what came of it.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import httpx

from service.client.requests import ApiRequest
from service.client.responses import ClientError
from service.errors import ServiceError
from service.msgpack_arrays import MSGPACK, decode_msgpack, encode_msgpack

_MAX_CONTAINERS = 10_000_000
RETRYABLE_STATUSES = frozenset(
    {
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.SERVICE_UNAVAILABLE,
        httpx.codes.BAD_GATEWAY,  # what a proxy says
        httpx.codes.GATEWAY_TIMEOUT,
    }
)


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long to try again.

    Attributes:
        retries: after a lost connection or a busy server.
        longest_wait_s: a server that asks for more is not waited for.
        jitter: returns a number in [0, 1), so that many clients do not come back at the same moment.
    """

    retries: int = 3
    longest_wait_s: float = 30.0
    jitter: Callable[[], float] = random.random

    def wait_s(self, attempt: int) -> float:
        """0.1 s, doubling with every attempt, each between half and the whole of it."""
        return min(self.longest_wait_s, 0.1 * 2**attempt) * (0.5 + self.jitter() / 2)


@dataclass(frozen=True)
class Send:
    """Send this. The generator is sent the httpx response, or the error that sending raised."""

    method: str
    path: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Wait:
    """Do nothing for so long."""

    seconds: float


RetrySteps = Generator[Send | Wait, httpx.Response | httpx.HTTPError | None, Any]


def send_with_retries(request: ApiRequest, policy: RetryPolicy, api_key: str | None) -> RetrySteps:
    """The decoded answer to a request. Raises ClientError."""
    send, lost = _to_send(request, api_key), False
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
                return None  # the answer was lost, not the request
            if last or not (outcome.status_code in RETRYABLE_STATUSES or _replica_died(outcome)):
                return decode_response(outcome)
            wait_s = max(policy.wait_s(attempt), retry_after_s(outcome))
            if wait_s > policy.longest_wait_s:
                return decode_response(outcome)
        yield Wait(wait_s)
    raise AssertionError("the last attempt returns or raises")


def _replica_died(response: httpx.Response) -> bool:
    """Whether Ray Serve's proxy says that it lost a replica: a 500 without the problem that our server would send."""
    is_problem = response.headers.get("content-type", "").startswith("application/problem+json")
    return response.status_code == httpx.codes.INTERNAL_SERVER_ERROR and not is_problem


def decode_response(response: httpx.Response) -> Any:
    """The value of an answer; bytes where it is neither JSON nor msgpack, None where empty. Raises ClientError."""
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
        raise ClientError({"title": "the answer cannot be decoded", "detail": str(error)}) from error


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The RFC 9457 problem that a refusal holds; proxies send other things."""
    try:
        problem = response.json()
    except (ValueError, RecursionError):
        problem = None
    return problem if isinstance(problem, dict) else {"detail": f"status {response.status_code}"}


def _to_send(request: ApiRequest, api_key: str | None) -> Send:
    headers = {"Accept": MSGPACK}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    if request.key is not None:
        headers["Idempotency-Key"] = request.key
    if (adaptation_id := _adaptation_of(request.path)) is not None:
        headers["x-session-id"] = adaptation_id  # a hint to a router: that replica may have it in memory
    options: dict[str, Any] = {"headers": headers, "params": dict(request.params)}
    if request.body is not None:
        headers["Content-Type"] = MSGPACK
        options["content"] = encode_msgpack(request.body)
    return Send(request.method, request.path, options)


def retry_after_s(response: httpx.Response) -> float:
    """The seconds of `Retry-After`; 0 where there is none, or a date, because clocks differ."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) < 10 else 0.0


def _adaptation_of(path: str) -> str | None:
    """The adaptation that a request is about."""
    parts = path.strip("/").split("/")
    return parts[2] if parts[:2] == ["v1", "adaptations"] and len(parts) > 2 else None
