"""The blocking client: models, adaptations, recorded episodes, policies for environment loops, training jobs."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np

from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from service.client import requests
from service.client.event_stream import TIMEOUT, EventReader
from service.client.export import Export
from service.client.responses import AdaptationState, AliasChange, Aliases, JobEvent, JobState, Model, ModelVersion
from service.client.retry import RetryPolicy, Send, send_with_retries
from service.client.spaces import ModelSpaces, no_open_episode


@dataclass(frozen=True, kw_only=True)
class Adaptation(AdaptationState):
    """One version of an adaptation. Methods that change it return the next version."""

    _client: "Client" = field(repr=False, compare=False)

    def act(self, observations: Any) -> Array:
        """Actions `[n, a]` (or `[n]`) for observations `[n, o]`, under the most probable hypothesis."""
        return np.asarray(self._client.send(requests.act(self.id, observations))["actions"])

    def add_demos(self, demos: Sequence[Episode], rate_hz: float | None = None) -> "Adaptation":
        """Watch more: the next version. `rate_hz` is that of the recording, if it is known."""
        return self._client._send_for_adaptation(requests.add_episodes(self.id, "demos", demos, rate_hz))

    def add_trials(self, trials: Sequence[Episode], rate_hz: float | None = None) -> "Adaptation":
        """Learn: the next version."""
        return self._client._send_for_adaptation(requests.add_episodes(self.id, "trials", trials, rate_hz))

    def versions(self) -> list[Mapping[str, Any]]:
        """What each of its versions holds, oldest first."""
        return list(self._client._pages(lambda cursor: requests.list_versions(self.id, cursor)))

    def episode(self, explore: bool | None = None) -> "RecordedEpisode":
        """Try: an episode that the server records, under one hypothesis. Explores until a trial was scored."""
        answer = self._client.send(requests.start_episode(self.id, explore))
        return RecordedEpisode(self, answer["id"], answer["explore"])

    def fork(self, version: int | None = None) -> "Adaptation":
        """An adaptation of its own that begins with this version, or the one that is said."""
        return self._client._send_for_adaptation(
            requests.fork_adaptation(self.id, self.version if version is None else version)
        )

    def export(self, path: str | Path | None = None, *, policy: bool = True) -> Export:
        """This version as an archive that runs without a server; written to `path` too, if there is one.

        Raises:
            ClientError: the model's bundle has no graphs; without the policy any model is exported.
        """
        exported = Export.of(self._client.send(requests.export_adaptation(self.id, self.version, policy)))
        if path is not None:
            exported.write(path)
        return exported

    def episodes(self) -> Context:
        """What this version has seen: `demos`, and `trials`, those that the server recorded among them."""
        return (self.export(policy=False)).context

    def delete(self) -> None:
        """Forget it and its episodes."""
        self._client.send(requests.delete_adaptation(self.id))


class RecordedEpisode:
    """An episode that the server records while it acts. One that is left unfinished teaches nothing."""

    def __init__(self, adaptation: Adaptation, episode_id: str, explore: bool) -> None:
        self.adaptation = adaptation
        self.id = episode_id
        self.explore = explore

    def act(self, observation: Any, reward: float | None = None) -> Any:
        """The action now, `[a]` or an int; `reward` is that of the *previous* action."""
        client = self.adaptation._client
        return client.send(requests.act_in_episode(self.adaptation.id, self.id, observation, reward))["action"]

    def finish(self, observation: Any, reward: float | None = None, success: bool | None = None) -> Adaptation:
        """The last observation, the reward of the last action, and how it went: the next version."""
        request = requests.finish_episode(self.adaptation.id, self.id, observation, reward, success)
        self.adaptation = self.adaptation._client._send_for_adaptation(request)
        return self.adaptation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to release: the server forgets unfinished episodes with their adaptation."""


class Policy:
    """A served adaptation as a callable, for the loops of Gymnasium, Minari and vectorised environments.

    policy = client.policy(adaptation)
    while trying:
        (observation, _), reward, done = env.reset(), None, False
        policy.reset()                                     # an episode that the server records
        while not done:
            observation, reward, terminated, truncated, info = env.step(policy(observation, reward))
            done = terminated or truncated
        policy.finish(observation, reward, info["success"])    # a trial: from here on it knows how that went

    Outside of an episode, and for a batch `[n, *o]` of a vectorised environment, it acts under the most probable
    hypothesis and nothing is recorded.

    Attributes:
        adaptation: in its newest version.
    """

    def __init__(self, adaptation: Adaptation, spec: Mapping[str, Any], explore: bool | None = None) -> None:
        self.adaptation = adaptation
        self._spaces, self._explore = ModelSpaces(spec), explore
        self._episode: RecordedEpisode | None = None

    @property
    def recording(self) -> bool:
        """Whether an episode is open."""
        return self._episode is not None

    def reset(self, explore: bool | None = None) -> None:
        """Begin an episode; one that was not finished teaches nothing."""
        self._episode = self.adaptation.episode(self._explore if explore is None else explore)

    def __call__(self, observation: Any, reward: float | None = None) -> Any:
        """The action for `[*o]`, or the actions for `[n, *o]`; `reward` is that of the previous action.

        Raises:
            InvalidData: the observation has another shape.
            ClientError: the server refused.
        """
        seen = np.asarray(observation)
        if not self._spaces.is_single(seen):
            return self.adaptation.act(seen)
        if self._episode is not None:
            return self._spaces.to_env_action(self._episode.act(seen, reward))
        return self._spaces.to_env_action(self.adaptation.act(seen[None])[0])

    def finish(self, observation: Any, reward: float | None = None, success: bool | None = None) -> Adaptation:
        """End the episode and learn from it: the next version, which the policy goes on with."""
        if self._episode is None:
            raise no_open_episode()
        self.adaptation = self._episode.finish(np.asarray(observation), reward, success)
        self._episode = None
        return self.adaptation


@dataclass(frozen=True, kw_only=True)
class TrainingJob(JobState):
    """A training on the server's side, as it was when it was asked for."""

    _client: "Client" = field(repr=False, compare=False)

    def follow(self, after: int = 0, patience_s: float = 60.0) -> Iterator[JobEvent]:
        """Every event after that number, once, to the end of the job; waits for those that have not happened yet.

        Raises:
            ClientError: the server refused, or could not be reached for `patience_s` seconds.
        """
        return self._client.events(EventReader(self.id, after, patience_s))

    def stop(self) -> "TrainingJob":
        """Ask it to stop."""
        return TrainingJob.of(self._client.send(requests.stop_job(self.id)), _client=self._client)

    def log(self) -> str:
        """The end of what it printed."""
        return str(self._client.send(requests.get_job_log(self.id))["text"])


class Client:
    """A connection to one server. Repeats what failed on the way, which is safe: each POST carries a key.

    Args:
        url: of the server.
        api_key: `wtl_...`; the environment variable WTL_API_KEY if not given.
        timeout_s: for one answer.
        retries: after a lost connection or a busy server.
        longest_wait_s: between two of them; a server that asks for more is not waited for.
        http: an httpx client to use instead of an own one.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 3,
        longest_wait_s: float = 30.0,
        http: httpx.Client | None = None,
    ) -> None:
        self._http = http or httpx.Client(base_url=url, timeout=timeout_s)
        self._api_key = api_key or os.environ.get("WTL_API_KEY")
        self._retry_policy = RetryPolicy(retries, longest_wait_s)

    def adapt(
        self,
        model: str,
        demos: Sequence[Episode] = (),
        trials: Sequence[Episode] = (),
        ask: Any = None,
        rate_hz: float | None = None,
    ) -> Adaptation:
        """Watch: a new adaptation of `model` ("reach", "reach@3" or "reach@stable")."""
        return self._send_for_adaptation(requests.create_adaptation(model, demos, trials, ask, rate_hz))

    def adaptation(self, adaptation_id: str, version: int | None = None) -> Adaptation:
        """One that was made before."""
        return self._send_for_adaptation(requests.get_adaptation(adaptation_id, version))

    def adaptations(self) -> Iterator[Adaptation]:
        """All of them, oldest first."""
        for item in self._pages(requests.list_adaptations):
            yield Adaptation.of(item, _client=self)

    def policy(self, adaptation: Adaptation | str, explore: bool | None = None) -> Policy:
        """A callable for environment loops, whose episodes become trials: see `Policy`."""
        known = self.adaptation(adaptation) if isinstance(adaptation, str) else adaptation
        return Policy(known, self.model(known.model, known.model_version).spec, explore)

    def models(self) -> list[Model]:
        """The models on offer."""
        return [Model.of(card) for card in self.send(requests.list_models())["items"]]

    def model(self, name: str, version: int | None = None) -> Model:
        """One model."""
        return Model.of(self.send(requests.get_model(name, version)))

    def model_versions(self, name: str) -> list[ModelVersion]:
        """Every version of a model, oldest first."""
        return [ModelVersion.of(row) for row in self.send(requests.list_model_versions(name))["items"]]

    def register(self, name: str | None = None) -> list[ModelVersion]:
        """Register a bundle of the server's models folder, or whatever is new there."""
        return [ModelVersion.of(row) for row in self.send(requests.register_models(name))["items"]]

    def aliases(self, name: str) -> Aliases:
        """What the aliases of a model mean now, and their history."""
        first = self.send(requests.get_aliases(name, None))
        moves = [AliasChange.of(item) for item in self._pages(lambda cursor: requests.get_aliases(name, cursor))]
        return Aliases(first["aliases"], tuple(moves))

    def set_alias(self, name: str, alias: str, version: int) -> AliasChange:
        """Let an alias mean a version; adaptations stay with theirs."""
        return AliasChange.of(self.send(requests.set_alias(name, alias, version)))

    def delete_alias(self, name: str, alias: str) -> None:
        """Let an alias mean nothing; without `current` the model is not on offer any more."""
        self.send(requests.delete_alias(name, alias))

    def rollback(self, name: str, alias: str) -> AliasChange:
        """Let an alias mean what it meant before; once more, and it is what it meant before that."""
        return AliasChange.of(self.send(requests.rollback(name, alias)))

    def train(
        self,
        experiment: str,
        *,
        seed: int | None = None,
        steps: int | None = None,
        name: str | None = None,
        job_id: str | None = None,
    ) -> TrainingJob:
        """Meta-train on the server's side; the bundle becomes the next version of model `name`."""
        return TrainingJob.of(self.send(requests.create_job(experiment, seed, steps, name, job_id)), _client=self)

    def job(self, job_id: str) -> TrainingJob:
        """How a training is doing; `client.job(id).follow()` is how it goes on."""
        return TrainingJob.of(self.send(requests.get_job(job_id)), _client=self)

    def jobs(self) -> Iterator[TrainingJob]:
        """All of them, oldest first."""
        for item in self._pages(requests.list_jobs):
            yield TrainingJob.of(item, _client=self)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pages(self, ask: Callable[[str | None], requests.ApiRequest]) -> Iterator[Any]:
        """The items of every page."""
        cursor, more = None, True
        while more:
            page = self.send(ask(cursor))
            yield from page["items"]
            cursor = page["next_cursor"]
            more = cursor is not None

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> Any:
        """Any request, repeated where that helps; the decode_response answer. Raises ClientError."""
        return self.send(requests.any_request(method, path, body, params))

    def _send_for_adaptation(self, request: requests.ApiRequest) -> Adaptation:
        """Send a call that answers with an adaptation. Raises ClientError."""
        return Adaptation.of(self.send(request), _client=self)

    def events(self, reader: EventReader) -> Iterator[JobEvent]:
        """What a reader has not seen yet, to the end of its job. Raises ClientError."""
        while not reader.ended:
            headers = reader.headers(self._api_key)
            try:
                with self._http.stream("GET", reader.path, headers=headers, timeout=TIMEOUT) as response:
                    if not response.is_success:
                        response.read()
                    if reader.accept(response):
                        yield from filter(None, map(reader.parse_line, response.iter_lines()))
            except httpx.TransportError as error:
                reader.connection_lost(error)
            if not reader.ended:
                time.sleep(reader.wait_s)

    def send(self, request: requests.ApiRequest) -> Any:
        """The decode_response answer of a call. Raises ClientError."""
        steps = send_with_retries(request, self._retry_policy, self._api_key)
        try:
            step = next(steps)
            while True:
                outcome: httpx.Response | httpx.HTTPError | None = None
                if isinstance(step, Send):
                    try:
                        outcome = self._http.request(step.method, step.path, **step.options)
                    except httpx.HTTPError as error:
                        outcome = error
                else:
                    time.sleep(step.seconds)
                step = steps.send(outcome)
        except StopIteration as done:
            return done.value
