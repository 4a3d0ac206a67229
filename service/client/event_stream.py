"""The event stream of a training job, across lost connections and restarts of the server, without input or output.

The blocking and the asyncio client send its requests and pass it the lines of the stream. It keeps the number of the
last event, so that no event is missed or repeated.
"""

import json
import time
from collections.abc import Callable, Mapping

import httpx

from service.client.requests import job_path
from service.client.responses import ClientError, JobEvent
from service.client.retry import RETRYABLE_STATUSES, RetryPolicy, decode_response, retry_after_s

_QUIET_S = 45.0  # the server sends at least a comment every 15 seconds
TIMEOUT = httpx.Timeout(10.0, read=_QUIET_S)


class EventReader:
    """Reads the event stream of one job, and resumes it after a lost connection.

    Args:
        job_id: the id of the job.
        after: the number of the last event that was seen.
        patience_s: the time after which an unreachable server is given up.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, job_id: str, after: int, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = f"{job_path(job_id)}/events"
        self.ended = False
        self.wait_s = 0.0
        """The time to wait before the next request."""
        self._seen, self._patience_s, self._clock = after, patience_s, clock
        self._retry_policy, self._attempt = RetryPolicy(longest_wait_s=5.0), 0
        self._failing_since_s: float | None = None
        self._fields: dict[str, str] = {}

    def headers(self, api_key: str | None) -> Mapping[str, str]:
        """Return the headers of the next request."""
        key = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        return {"Accept": "text/event-stream", "Last-Event-ID": str(self._seen), **key}

    def accept(self, response: httpx.Response) -> bool:
        """Return True if the response has lines to read; any other one must be read already. Raises ClientError."""
        self._fields = {}
        if response.status_code == httpx.codes.NO_CONTENT:
            self.ended = True
        elif response.is_success:
            self._failing_since_s, self._attempt = None, 0
            self.wait_s = self._retry_policy.wait_s(2)  # for when the stream ends before the job does
            return True
        elif response.status_code in RETRYABLE_STATUSES or response.is_server_error:
            try:
                decode_response(response)
            except ClientError as error:
                self._failed(error)
            self.wait_s = max(self.wait_s, min(retry_after_s(response), self._patience_s))
        else:
            decode_response(response)
        return False

    def connection_lost(self, error: httpx.TransportError) -> None:
        """Handle a lost connection. Raises ClientError if the server was unreachable for too long."""
        detail = str(error) or type(error).__name__
        self._failed(ClientError({"title": "the server cannot be reached", "detail": detail}))

    def parse_line(self, line: str) -> JobEvent | None:
        """Parse a line of the stream; return the event that it completes. Raises ClientError for an invalid event."""
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")  # comments have no name
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None
        try:
            data = json.loads(fields["data"])
            event = JobEvent(int(fields["id"]), fields["event"], data.pop("at"), data)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ClientError({"title": "the server sent an invalid event", "detail": _shown(fields)}) from error
        self._seen, self.ended = event.number, event.ended
        return event

    def _failed(self, error: ClientError) -> None:
        now_s = self._clock()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if now_s - self._failing_since_s >= self._patience_s:
            raise error
        self.wait_s = self._retry_policy.wait_s(self._attempt)
        self._attempt += 1


def _shown(fields: Mapping[str, str]) -> str:
    """Format the fields of an event for a sentence."""
    return ascii(dict(fields))[:200]
