"""The events of a training job, across lost connections and restarts of the server. Does no input or output itself.

The blocking and the awaiting client send its requests and hand it the lines of the stream. It remembers the last event
that was seen, so that none is missed and none comes twice.
"""

import json
import time
from collections.abc import Callable, Mapping

import httpx

from service.client.requests import job_path
from service.client.responses import ClientError, JobEvent
from service.client.retry import RETRYABLE_STATUSES, RetryPolicy, decode_response, retry_after_s

_QUIET_S = 45.0  # the server says something every 15 seconds, if only that it is there
TIMEOUT = httpx.Timeout(10.0, read=_QUIET_S)


class EventReader:
    """Reads the event stream of one job, and keeps its place in it.

    Args:
        job_id: the job.
        after: number of the last event that was seen.
        patience_s: a server that cannot be reached for so long is given up.
        clock: seconds that only go forward.
    """

    def __init__(self, job_id: str, after: int, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = f"{job_path(job_id)}/events"
        self.ended = False
        self.wait_s = 0.0
        """How long to wait before asking again."""
        self._seen, self._patience_s, self._clock = after, patience_s, clock
        self._retry_policy, self._attempt = RetryPolicy(longest_wait_s=5.0), 0
        self._failing_since_s: float | None = None
        self._fields: dict[str, str] = {}

    def headers(self, api_key: str | None) -> Mapping[str, str]:
        """The headers of the next request."""
        key = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        return {"Accept": "text/event-stream", "Last-Event-ID": str(self._seen), **key}

    def accept(self, response: httpx.Response) -> bool:
        """Whether the response has lines to read; any other one must have been read already. Raises ClientError."""
        self._fields = {}
        if response.status_code == httpx.codes.NO_CONTENT:
            self.ended = True
        elif response.is_success:
            self._failing_since_s, self._attempt = None, 0
            self.wait_s = self._retry_policy.wait_s(2)  # after it has ended, with the server and not with the job
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
        """The connection did. Raises ClientError: not for the first time, and for too long."""
        detail = str(error) or type(error).__name__
        self._failed(ClientError({"title": "the server cannot be reached", "detail": detail}))

    def parse_line(self, line: str) -> JobEvent | None:
        """One line of the stream, and the event that it completes. Raises ClientError: it is no such stream."""
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
            raise ClientError({"title": "the server sends other events", "detail": _shown(fields)}) from error
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
    """Fields of an event for a sentence."""
    return ascii(dict(fields))[:200]
