"""The blocking client: models, adaptations, recorded episodes, policies for environment loops, training jobs."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx
import numpy as np

from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import WatchTryLearnError
from metalearn.proxies import http_client
from service.client import requests
from service.client.event_stream import TIMEOUT, EventReader
from service.client.export import Export
from service.client.responses import (
    AdaptationState,
    AliasChange,
    Aliases,
    ClientError,
    DatasetInfo,
    ExperimentInfo,
    JobEvent,
    JobState,
    Model,
    ModelVersion,
    Recognition,
)
from service.client.retry import RetryPolicy, Send, send_with_retries
from service.client.spaces import ModelSpaces, no_open_episode

if TYPE_CHECKING:
    import metalearn.data.dataset


@dataclass(frozen=True, kw_only=True)
class Adaptation(AdaptationState):
    """One version of an adaptation. Methods that change it return the next version."""

    _client: "Client" = field(repr=False, compare=False)

    def act(self, observations: Any, sample: bool = False) -> Array:
        """Return actions `[n, a]` (or `[n]`) for observations `[n, *o]`, under the most probable hypothesis.

        With `sample` they are drawn as whoever was watched may act, as shaky as it was; else the most probable ones.
        """
        return np.asarray(self._client.send(requests.act(self.id, observations, sample))["actions"])

    def add_demos(self, demos: Iterable[Episode], rate_hz: float | None = None) -> "Adaptation":
        """Add demonstrations and return the newest version. `rate_hz` is the control rate of the recording, if known.

        What is too much for one request is sent in several, each of which makes a version.

        Raises:
            InvalidData: what are no episodes.
            ClientError: the server refused. Its detail says how many episodes had been added before.
        """
        return self._client._send_parts(replace(self, quality=()), requests.more_parts("demos", demos), rate_hz)

    def add_trials(self, trials: Iterable[Episode], rate_hz: float | None = None) -> "Adaptation":
        """Add scored trials and return the newest version. `rate_hz` is the control rate of the recording, if known.

        What is too much for one request is sent in several, each of which makes a version.

        Raises:
            InvalidData: what are no episodes.
            ClientError: the server refused. Its detail says how many episodes had been added before.
        """
        return self._client._send_parts(replace(self, quality=()), requests.more_parts("trials", trials), rate_hz)

    def versions(self) -> list[Mapping[str, Any]]:
        """Return all versions of this adaptation, oldest first."""
        return list(self._client._pages(lambda cursor: requests.list_versions(self.id, cursor)))

    def episode(self, explore: bool | None = None) -> "RecordedEpisode":
        """Start a recorded episode under one hypothesis. By default it explores until a trial has been scored."""
        answer = self._client.send(requests.start_episode(self.id, explore))
        return RecordedEpisode(self, answer["id"], answer["explore"])

    def ask_for(self, ask: Mapping[str, Any] | None) -> "Adaptation":
        """Ask for something else, as `{"return": 120.0}`, or for nothing (None), and return the next version.

        It takes the place of all that was asked for before. `Model.asks` says what can be asked for.

        Raises:
            InvalidData: no mapping.
            ClientError: the model was not trained for this ask.
        """
        return self._client._send_for_adaptation(requests.ask_for(self.id, ask))

    def fork(self, version: int | None = None, ask: Mapping[str, Any] | None = None) -> "Adaptation":
        """Create an adaptation that starts from this version, or from another one.

        It asks for the same unless another `ask` is given; that of `{}` is for nothing.
        """
        return self._client._send_for_adaptation(
            requests.fork_adaptation(self.id, self.version if version is None else version, ask)
        )

    def export(self, path: str | Path | None = None, *, policy: bool = True) -> Export:
        """Export this version, to run without a server, and write it to `path` if one is given.

        Raises:
            ClientError: the model's bundle has no graphs. Without the policy any model can be exported.
        """
        exported = Export.of(self._client.send(requests.export_adaptation(self.id, self.version, policy)))
        if path is not None:
            exported.write(path)
        return exported

    def episodes(self) -> Context:
        """Return the `demos` and `trials` of this version, including those that the server recorded."""
        return self.export(policy=False).context

    def preview(self, steps: int | None = None, pictures: int | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the episodes of this version, to look at: with some of their steps and pictures, and a quality report.

        `episodes` returns all of them, complete.

        Args:
            steps: observations of each episode; 200 by default.
            pictures: thumbnails of each part that has pictures; 12 by default.
        """
        return self._client._pages(requests.list_stored_episodes(self.id, self.version, steps, pictures))

    def family(self) -> list[Mapping[str, Any]]:
        """Return the adaptations that come from the same one, by forks, oldest first, with their versions."""
        return list(self._client.send(requests.get_family(self.id))["items"])

    def delete(self) -> None:
        """Delete the adaptation and its episodes."""
        self._client.send(requests.delete_adaptation(self.id))


class RecordedEpisode:
    """An episode that the server records while it acts. It becomes a trial when it is finished."""

    def __init__(self, adaptation: Adaptation, episode_id: str, explore: bool) -> None:
        self.adaptation = adaptation
        self.id = episode_id
        self.explore = explore

    def act(self, observation: Any, reward: float | None = None) -> Any:
        """Return the next action, `[a]` or an int; `reward` is that of the *previous* action."""
        client = self.adaptation._client
        return client.send(requests.act_in_episode(self.adaptation.id, self.id, observation, reward))["action"]

    def finish(self, observation: Any, reward: float | None = None, success: bool | None = None) -> Adaptation:
        """End the episode with its last observation, reward and outcome, and return the next version."""
        request = requests.finish_episode(self.adaptation.id, self.id, observation, reward, success)
        self.adaptation = self.adaptation._client._send_for_adaptation(request)
        return self.adaptation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: the server deletes unfinished episodes with their adaptation."""


class Policy:
    """A served adaptation as a callable, for the loops of Gymnasium, Minari and vectorised environments.

        policy = client.policy(adaptation)
        while trying:
            (observation, _), reward, done = env.reset(), None, False
            policy.reset()                                     # an episode that the server records
            while not done:
                observation, reward, terminated, truncated, info = env.step(policy(observation, reward))
                done = terminated or truncated
            policy.finish(observation, reward, info["success"])    # a trial, which the next version learns from

    Outside of an episode, and for a batch `[n, *o]` of a vectorised environment, it acts under the most probable
    hypothesis and records nothing.

    Attributes:
        adaptation: the adaptation, in its newest version.
    """

    def __init__(self, adaptation: Adaptation, spec: Mapping[str, Any], explore: bool | None = None) -> None:
        self.adaptation = adaptation
        self._spaces, self._explore = ModelSpaces(spec), explore
        self._episode: RecordedEpisode | None = None

    @property
    def recording(self) -> bool:
        """True while an episode is open."""
        return self._episode is not None

    def reset(self, explore: bool | None = None) -> None:
        """Start a recorded episode. An open one is dropped without becoming a trial."""
        self._episode = self.adaptation.episode(self._explore if explore is None else explore)

    def __call__(self, observation: Any, reward: float | None = None) -> Any:
        """Return the action for `[*o]`, or the actions for `[n, *o]`; `reward` is that of the previous action.

        Raises:
            InvalidData: the observation has another shape.
            ClientError: the server refused.
        """
        observed = self._spaces.observed(observation)
        if not self._spaces.is_single(observed):
            return self.adaptation.act(observed)
        if self._episode is not None:
            return self._spaces.to_env_action(self._episode.act(observed, reward))
        return self._spaces.to_env_action(self.adaptation.act(self._spaces.one_row(observed))[0])

    def finish(self, observation: Any, reward: float | None = None, success: bool | None = None) -> Adaptation:
        """End the episode, and continue with the next version, which has it as a trial."""
        if self._episode is None:
            raise no_open_episode()
        self.adaptation = self._episode.finish(self._spaces.by_name(observation), reward, success)
        self._episode = None
        return self.adaptation


@dataclass(frozen=True, kw_only=True)
class TrainingJob(JobState):
    """A training job, as it was at the time of the request."""

    _client: "Client" = field(repr=False, compare=False)

    def follow(self, after: int = 0, patience_s: float = 60.0) -> Iterator[JobEvent]:
        """Yield every event after that number, once each, as it happens, until the job ends.

        Raises:
            ClientError: the server refused, or could not be reached for `patience_s` seconds.
        """
        return self._client.events(EventReader(self.id, after, patience_s))

    def stop(self) -> "TrainingJob":
        """Stop the job."""
        return TrainingJob.of(self._client.send(requests.stop_job(self.id)), _client=self._client)

    def log(self) -> str:
        """Return the end of the log."""
        return str(self._client.send(requests.get_job_log(self.id))["text"])


class Client:
    """A connection to one server. Failed requests are repeated, which is safe, since each POST has an idempotency key.

    Args:
        url: the URL of the server.
        api_key: `wtl_...`; the environment variable WTL_API_KEY by default.
        timeout_s: the time limit of one response.
        retries: the number of retries after a lost connection or from a busy server.
        longest_wait_s: the longest wait between two attempts; a longer Retry-After ends the retries.
        http: an httpx client to use instead of a new one.

    Raises:
        InvalidConfig: the proxy that the environment names cannot be used. A server on this machine needs none.
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
        self._http = http or http_client(url, timeout=timeout_s)
        self._api_key = api_key or os.environ.get("WTL_API_KEY")
        self._retry_policy = RetryPolicy(retries, longest_wait_s)

    def adapt(
        self,
        model: str,
        demos: Iterable[Episode] = (),
        trials: Iterable[Episode] = (),
        ask: Any = None,
        rate_hz: float | None = None,
    ) -> Adaptation:
        """Create an adaptation of `model` ("reach", "reach@3" or "reach@stable").

        What is too much for one request is sent in several, each of which makes a version. If one of them is refused,
        the adaptation is deleted again.

        Raises:
            InvalidData: what are no episodes.
            ClientError: the server refused.
        """
        first_demos, first_trials, more = requests.first_request(requests.parts(demos, trials))
        made = self._send_for_adaptation(requests.create_adaptation(model, first_demos, first_trials, ask, rate_hz))
        try:
            return self._send_parts(made, more, rate_hz)
        except WatchTryLearnError:
            with suppress(ClientError):
                made.delete()
            raise

    def adaptation(self, adaptation_id: str, version: int | None = None) -> Adaptation:
        """Return an adaptation by its id."""
        return self._send_for_adaptation(requests.get_adaptation(adaptation_id, version))

    def adaptations(self) -> Iterator[Adaptation]:
        """Yield all adaptations, oldest first."""
        for item in self._pages(requests.list_adaptations):
            yield Adaptation.of(item, _client=self)

    def recognise(
        self, episodes: Episode | Iterable[Episode], candidates: Mapping[str, Any] | Iterable[Any]
    ) -> Recognition:
        """Return who acted in episodes, in all of which it was the same agent, with or without their actions.

        Args:
            episodes: to look at.
            candidates: by name, or without names: an `Adaptation` (in its version), the name of a model,
                `(model, episodes)` for whoever acts in these examples, `{"expert": model}`, or "random".

        Raises:
            InvalidData: what are no episodes or no candidates.
            ClientError: the server refused.
        """
        return Recognition.of(self.send(requests.recognise(episodes, candidates)))

    def policy(self, adaptation: Adaptation | str, explore: bool | None = None) -> Policy:
        """Return a callable for environment loops, whose episodes become trials: see `Policy`."""
        known = self.adaptation(adaptation) if isinstance(adaptation, str) else adaptation
        return Policy(known, self.model(known.model, known.model_version).spec, explore)

    def models(self) -> list[Model]:
        """Return the available models."""
        return [Model.of(card) for card in self.send(requests.list_models())["items"]]

    def model(self, name: str, version: int | None = None) -> Model:
        """Return a model, by default in its current version."""
        return Model.of(self.send(requests.get_model(name, version)))

    def model_versions(self, name: str) -> list[ModelVersion]:
        """Return every version of a model, oldest first."""
        return [ModelVersion.of(row) for row in self.send(requests.list_model_versions(name))["items"]]

    def register(self, name: str | None = None) -> list[ModelVersion]:
        """Register one bundle of the server's models folder, or all new ones."""
        return [ModelVersion.of(row) for row in self.send(requests.register_models(name))["items"]]

    def aliases(self, name: str) -> Aliases:
        """Return the version of each alias of a model, and the history of changes."""
        first = self.send(requests.get_aliases(name, None))
        changes = [AliasChange.of(item) for item in self._pages(lambda cursor: requests.get_aliases(name, cursor))]
        return Aliases(first["aliases"], tuple(changes))

    def set_alias(self, name: str, alias: str, version: int) -> AliasChange:
        """Point an alias at a version. Existing adaptations keep the version that they were made with."""
        return AliasChange.of(self.send(requests.set_alias(name, alias, version)))

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias. Without `current` the model is no longer available."""
        self.send(requests.delete_alias(name, alias))

    def rollback(self, name: str, alias: str) -> AliasChange:
        """Point an alias at the version that it pointed at before. A second call goes one change further back."""
        return AliasChange.of(self.send(requests.rollback(name, alias)))

    def experiments(self) -> list[ExperimentInfo]:
        """Return the experiments that the server can train; none if it runs no training jobs."""
        return [ExperimentInfo.of(item) for item in self._pages(requests.list_experiments)]

    def put_dataset(self, name: str, dataset: "metalearn.data.dataset.Dataset") -> DatasetInfo:
        """Upload a data set to train on, or replace the one of this name; a large one in several requests."""
        first, *others = requests.put_dataset(name, dataset)
        answer = self.send(first)
        for part in others:
            answer = self.send(part)
        return DatasetInfo.of(answer)

    def datasets(self) -> list[DatasetInfo]:
        """Return the uploaded data sets, oldest first."""
        return [DatasetInfo.of(item) for item in self._pages(requests.list_datasets)]

    def delete_dataset(self, name: str) -> None:
        """Delete an uploaded data set. Jobs that have started keep their copy of it."""
        self.send(requests.delete_dataset(name))

    def train(
        self,
        experiment: str | None = None,
        *,
        dataset: str | None = None,
        family: str | None = None,
        seed: int | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        settings: Mapping[str, Any] | None = None,
        name: str | None = None,
        job_id: str | None = None,
    ) -> TrainingJob:
        """Start a training job. Its bundle becomes the next version of model `name`.

        What is trained is an experiment, an uploaded data set, or a family as `module:Class` of a module that the
        operator has allowed. `settings` are values of other fields, as {"model.n_frames": 16}; `wtl settings` lists
        them. The training ends after `steps` gradient steps, or within `minutes`.
        """
        request = requests.create_job(experiment, seed, steps, name, job_id, dataset, family, minutes, settings)
        return TrainingJob.of(self.send(request), _client=self)

    def job(self, job_id: str) -> TrainingJob:
        """Return a training job by its id; `client.job(id).follow()` yields its events."""
        return TrainingJob.of(self.send(requests.get_job(job_id)), _client=self)

    def jobs(self) -> Iterator[TrainingJob]:
        """Yield all training jobs, oldest first."""
        for item in self._pages(requests.list_jobs):
            yield TrainingJob.of(item, _client=self)

    def caller(self) -> Mapping[str, Any]:
        """Return whom the key belongs to: `tenant`, `scopes`, and `key`, its beginning."""
        return dict(self.send(requests.get_caller()))

    def keys(self) -> list[Mapping[str, Any]]:
        """Return the API keys of the tenant, oldest first, without their secrets. Needs the scope `admin`."""
        return list(self.send(requests.list_keys())["items"])

    def audit_log(self) -> Iterator[Mapping[str, Any]]:
        """Yield the entries of the tenant's audit log, newest first. Needs the scope `admin`."""
        return self._pages(requests.list_audit_entries)

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
        """Yield the items of all pages."""
        cursor, more = None, True
        while more:
            page = self.send(ask(cursor))
            yield from page["items"]
            cursor = page["next_cursor"]
            more = cursor is not None

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> Any:
        """Send any request, with retries, and return the decoded response. Raises ClientError."""
        return self.send(requests.any_request(method, path, body, params))

    def _send_parts(self, adaptation: Adaptation, parts: Sequence[requests.Part], rate_hz: float | None) -> Adaptation:
        """Add parts to an adaptation, one request each, with the reports on all of them. Raises ClientError."""
        for part in parts:
            request = requests.add_episodes(adaptation.id, part.role, part.episodes, rate_hz)
            try:
                after = self._send_for_adaptation(request)
            except ClientError as error:
                raise error.moved(part.role, part.start) from error
            adaptation = after.reported_after(adaptation.quality, part.role, part.start)
        return adaptation

    def _send_for_adaptation(self, request: requests.ApiRequest) -> Adaptation:
        """Send a request whose response is an adaptation. Raises ClientError."""
        return Adaptation.of(self.send(request), _client=self)

    def events(self, reader: EventReader) -> Iterator[JobEvent]:
        """Yield the events that a reader has not seen yet, until its job ends. Raises ClientError."""
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
        """Send a request, with retries, and return the decoded response. Raises ClientError."""
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
