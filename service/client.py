"""The Python client: numpy in, numpy out, msgpack in between. Needs httpx; knows no server code but the codecs.

client = Client("http://127.0.0.1:8000")
adaptation = client.adapt("reach", demos=[demo])                          # watch
with adaptation.episode() as episode:                                     # try
    action = episode.act(observation)
    ...
    adaptation = episode.finish(observation, reward, success=success)     # learn
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np

from metalearn.data.episode import Array, Episode
from service.codecs import MSGPACK, decode_msgpack, encode_msgpack

_MAX_CONTAINERS = 10_000_000


class ClientError(Exception):
    """The server refused or could not be reached; `field`, `expected` and `got` say what was wrong."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.status: int = problem.get("status", 0)
        self.type: str = problem.get("type", "about:blank")
        self.detail: str = problem.get("detail", "")
        self.field: str | None = problem.get("field")
        self.expected: str | None = problem.get("expected")
        self.got: str | None = problem.get("got")
        super().__init__(f"{problem.get('title', 'request failed')}: {self.detail}")


@dataclass(frozen=True)
class Model:
    """A model on offer. `example` is an episode that it accepts as a demo and as a trial."""

    name: str
    version: int
    spec: Mapping[str, Any]
    report: Mapping[str, Any] | None
    provenance: Mapping[str, Any]
    example: Episode


@dataclass(frozen=True)
class Adaptation:
    """One version of an adaptation. Methods that change it return the next version.

    Attributes:
        confidence: calibrated probability that the next attempt succeeds; None where the model cannot say.
        value_of_trial: probability that the attempt after that one succeeds, minus `confidence`.
        novelty: 0 .. 1, how strange the demos are: 0.5 is typical, from 0.99 on like none of training.
    """

    id: str
    model: str
    model_version: int
    version: int
    n_demos: int
    n_trials: int
    confidence: float | None
    value_of_trial: float | None
    novelty: float | None
    created_at: str
    expires_at: str
    _client: "Client" = field(repr=False, compare=False)

    def act(self, observations: Any) -> Array:
        """Actions `[n, a]` (or `[n]`) for observations `[n, o]`, under the most probable hypothesis."""
        answer = self._client.post(f"{self._path}/act", {"observations": np.asarray(observations)})
        return np.asarray(answer["actions"])

    def add_demos(self, demos: Sequence[Episode]) -> "Adaptation":
        """Watch more: the next version."""
        return self._client.adapted(f"{self._path}/demos", {"demos": [_body(demo) for demo in demos]})

    def add_trials(self, trials: Sequence[Episode]) -> "Adaptation":
        """Learn: the next version."""
        return self._client.adapted(f"{self._path}/trials", {"trials": [_body(trial) for trial in trials]})

    def episode(self, explore: bool | None = None) -> "RecordedEpisode":
        """Try: an episode that the server records, under one hypothesis. Explores until a trial was scored."""
        answer = self._client.post(f"{self._path}/episodes", {"explore": explore})
        return RecordedEpisode(self, answer["id"], answer["explore"])

    def delete(self) -> None:
        """Forget it and its episodes."""
        self._client.request("DELETE", self._path)

    @property
    def _path(self) -> str:
        return f"/v1/adaptations/{self.id}"


class RecordedEpisode:
    """An episode that the server records while it acts. One that is left unfinished teaches nothing."""

    def __init__(self, adaptation: Adaptation, episode_id: str, explore: bool) -> None:
        self.adaptation = adaptation
        self.id = episode_id
        self.explore = explore

    def act(self, observation: Any, reward: float | None = None) -> Any:
        """The action now, `[a]` or an int; `reward` is that of the *previous* action."""
        body = {"observation": np.asarray(observation), "reward": _number(reward)}
        return self.adaptation._client.post(f"{self._path}/act", body)["action"]

    def finish(self, observation: Any, reward: float | None = None, success: bool | None = None) -> Adaptation:
        """The last observation, the reward of the last action, and how it went: the next version."""
        body = {
            "observation": np.asarray(observation),
            "reward": _number(reward),
            "success": None if success is None else bool(success),
        }
        self.adaptation = self.adaptation._client.adapted(f"{self._path}/finish", body)
        return self.adaptation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to release: the server forgets unfinished episodes with their adaptation."""

    @property
    def _path(self) -> str:
        return f"/v1/adaptations/{self.adaptation.id}/episodes/{self.id}"


class Client:
    """A connection to one server. Repeats what failed on the way, which is safe: each POST carries a key.

    Args:
        url: of the server.
        timeout_s: for one answer.
        retries: after a lost connection or a busy server.
        http: an httpx client to use instead of an own one.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        timeout_s: float = 30.0,
        retries: int = 3,
        http: httpx.Client | None = None,
    ) -> None:
        self._http = http or httpx.Client(base_url=url, timeout=timeout_s)
        self._retries = retries

    def adapt(
        self, model: str, demos: Sequence[Episode] = (), trials: Sequence[Episode] = (), ask: Any = None
    ) -> Adaptation:
        """Watch: a new adaptation of `model` ("reach" or "reach@3")."""
        body = {
            "model": model,
            "demos": [_body(demo) for demo in demos],
            "trials": [_body(trial) for trial in trials],
            "ask": ask,
        }
        return self.adapted("/v1/adaptations", body)

    def adaptation(self, adaptation_id: str, version: int | None = None) -> Adaptation:
        """One that was made before."""
        params = {} if version is None else {"version": version}
        return Adaptation(**self.request("GET", f"/v1/adaptations/{adaptation_id}", params=params), _client=self)

    def adaptations(self) -> Iterator[Adaptation]:
        """All of them, oldest first."""
        cursor = None
        while True:
            params = {"limit": 100} if cursor is None else {"limit": 100, "cursor": cursor}
            page = self.request("GET", "/v1/adaptations", params=params)
            yield from (Adaptation(**item, _client=self) for item in page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def models(self) -> list[Model]:
        """The models on offer."""
        return [_model(card) for card in self.request("GET", "/v1/models")["items"]]

    def model(self, name: str, version: int | None = None) -> Model:
        """One model."""
        return _model(self.request("GET", f"/v1/models/{name}" + ("" if version is None else f"/{version}")))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def adapted(self, path: str, body: Mapping[str, Any]) -> Adaptation:
        """POST something that answers with an adaptation."""
        return Adaptation(**self.post(path, body), _client=self)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST a value with arrays. Raises ClientError."""
        headers = {"Content-Type": MSGPACK, "Idempotency-Key": secrets.token_hex(16)}
        return self.request("POST", path, content=encode_msgpack(body), headers=headers)

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Any request, repeated where that helps; the decoded answer. Raises ClientError."""
        options["headers"] = {"Accept": MSGPACK, **options.get("headers", {})}
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                if last:
                    detail = str(error) or type(error).__name__
                    raise ClientError({"title": "the server cannot be reached", "detail": detail}) from error
            else:
                if last or response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return _decoded(response)
            time.sleep(0.1 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


def _decoded(response: httpx.Response) -> Any:
    if response.is_success:
        return decode_msgpack(response.content, _MAX_CONTAINERS) if response.content else None
    try:
        problem = response.json()
    except ValueError:
        problem = {"status": response.status_code, "detail": f"status {response.status_code}"}
    raise ClientError(problem)


def _body(episode: Episode) -> dict[str, Any]:
    return {
        "observations": episode.observations,
        "actions": episode.actions,
        "rewards": episode.rewards,
        "success": episode.success,
    }


def _model(card: dict[str, Any]) -> Model:
    return Model(**{**card, "example": Episode.of(**card["example"])})


def _number(value: Any) -> float | None:
    """Environments return rewards as Python, numpy or 0-d array numbers."""
    return None if value is None else float(value)
