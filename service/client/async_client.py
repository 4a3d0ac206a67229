"""The client for asyncio, with the methods of the blocking client as coroutines."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
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
from metalearn.proxies import async_http_client
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
class AsyncAdaptation(AdaptationState):
    """One version of an adaptation. Methods that change it return the next version."""

    _client: "AsyncClient" = field(repr=False, compare=False)

    async def act(self, observations: Any, sample: bool = False) -> Array:
        """Return actions `[n, a]` (or `[n]`) for observations `[n, *o]`, under the most probable hypothesis.

        With `sample` they are drawn as whoever was watched may act, as shaky as it was; else the most probable ones.
        """
        return np.asarray((await self._client.send(requests.act(self.id, observations, sample)))["actions"])

    async def add_demos(self, demos: Iterable[Episode], rate_hz: float | None = None) -> "AsyncAdaptation":
        """Add demonstrations and return the newest version. `rate_hz` is the control rate of the recording, if known.

        What is too much for one request is sent in several, each of which makes a version.

        Raises:
            InvalidData: what are no episodes.
            ClientError: the server refused. Its detail says how many episodes had been added before.
        """
        return await self._client._send_parts(replace(self, quality=()), requests.more_parts("demos", demos), rate_hz)

    async def add_trials(self, trials: Iterable[Episode], rate_hz: float | None = None) -> "AsyncAdaptation":
        """Add scored trials and return the newest version. `rate_hz` is the control rate of the recording, if known.

        What is too much for one request is sent in several, each of which makes a version.

        Raises:
            InvalidData: what are no episodes.
            ClientError: the server refused. Its detail says how many episodes had been added before.
        """
        return await self._client._send_parts(replace(self, quality=()), requests.more_parts("trials", trials), rate_hz)

    async def versions(self) -> list[Mapping[str, Any]]:
        """Return all versions of this adaptation, oldest first."""
        return [item async for item in self._client._pages(lambda cursor: requests.list_versions(self.id, cursor))]

    async def episode(self, explore: bool | None = None) -> "AsyncRecordedEpisode":
        """Start a recorded episode under one hypothesis. By default it explores until a trial has been scored."""
        answer = await self._client.send(requests.start_episode(self.id, explore))
        return AsyncRecordedEpisode(self, answer["id"], answer["explore"])

    async def ask_for(self, ask: Mapping[str, Any] | None) -> "AsyncAdaptation":
        """Ask for something else, as `{"return": 120.0}`, or for nothing (None), and return the next version.

        It takes the place of all that was asked for before. `Model.asks` says what can be asked for.

        Raises:
            InvalidData: no mapping.
            ClientError: the model was not trained for this ask.
        """
        return await self._client._send_for_adaptation(requests.ask_for(self.id, ask))

    async def fork(self, version: int | None = None, ask: Mapping[str, Any] | None = None) -> "AsyncAdaptation":
        """Create an adaptation that starts from this version, or from another one.

        It asks for the same unless another `ask` is given; that of `{}` is for nothing.
        """
        return await self._client._send_for_adaptation(
            requests.fork_adaptation(self.id, self.version if version is None else version, ask)
        )

    async def export(self, path: str | Path | None = None, *, policy: bool = True) -> Export:
        """Export this version, to run without a server, and write it to `path` if one is given.

        Raises:
            ClientError: the model's bundle has no graphs. Without the policy any model can be exported.
        """
        exported = Export.of(await self._client.send(requests.export_adaptation(self.id, self.version, policy)))
        if path is not None:
            exported.write(path)
        return exported

    async def episodes(self) -> Context:
        """Return the `demos` and `trials` of this version, including those that the server recorded."""
        return (await self.export(policy=False)).context

    def preview(self, steps: int | None = None, pictures: int | None = None) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the episodes of this version, to look at: with some of their steps and pictures, and a quality report.

        `episodes` returns all of them, complete.

        Args:
            steps: observations of each episode; 200 by default.
            pictures: thumbnails of each part that has pictures; 12 by default.
        """
        return self._client._pages(requests.list_stored_episodes(self.id, self.version, steps, pictures))

    async def family(self) -> list[Mapping[str, Any]]:
        """Return the adaptations that come from the same one, by forks, oldest first, with their versions."""
        return list((await self._client.send(requests.get_family(self.id)))["items"])

    async def delete(self) -> None:
        """Delete the adaptation and its episodes."""
        await self._client.send(requests.delete_adaptation(self.id))


class AsyncRecordedEpisode:
    """An episode that the server records while it acts. It becomes a trial when it is finished."""

    def __init__(self, adaptation: AsyncAdaptation, episode_id: str, explore: bool) -> None:
        self.adaptation = adaptation
        self.id = episode_id
        self.explore = explore

    async def act(self, observation: Any, reward: float | None = None) -> Any:
        """Return the next action, `[a]` or an int; `reward` is that of the *previous* action."""
        client = self.adaptation._client
        return (await client.send(requests.act_in_episode(self.adaptation.id, self.id, observation, reward)))["action"]

    async def finish(
        self, observation: Any, reward: float | None = None, success: bool | None = None
    ) -> AsyncAdaptation:
        """End the episode with its last observation, reward and outcome, and return the next version."""
        request = requests.finish_episode(self.adaptation.id, self.id, observation, reward, success)
        self.adaptation = await self.adaptation._client._send_for_adaptation(request)
        return self.adaptation


class AsyncPolicy:
    """`Policy` for asyncio: `await policy.reset()`, `await policy(observation, reward)`, `await policy.finish(...)`.

    Attributes:
        adaptation: the adaptation, in its newest version.
    """

    def __init__(self, adaptation: AsyncAdaptation, spec: Mapping[str, Any], explore: bool | None = None) -> None:
        self.adaptation = adaptation
        self._spaces, self._explore = ModelSpaces(spec), explore
        self._episode: AsyncRecordedEpisode | None = None

    @property
    def recording(self) -> bool:
        """True while an episode is open."""
        return self._episode is not None

    async def reset(self, explore: bool | None = None) -> None:
        """Start a recorded episode. An open one is dropped without becoming a trial."""
        self._episode = await self.adaptation.episode(self._explore if explore is None else explore)

    async def __call__(self, observation: Any, reward: float | None = None) -> Any:
        """Return the action for `[*o]`, or the actions for `[n, *o]`; `reward` is that of the previous action.

        Raises:
            InvalidData: the observation has another shape.
            ClientError: the server refused.
        """
        observed = self._spaces.observed(observation)
        if not self._spaces.is_single(observed):
            return await self.adaptation.act(observed)
        if self._episode is not None:
            return self._spaces.to_env_action(await self._episode.act(observed, reward))
        return self._spaces.to_env_action((await self.adaptation.act(self._spaces.one_row(observed)))[0])

    async def finish(
        self, observation: Any, reward: float | None = None, success: bool | None = None
    ) -> AsyncAdaptation:
        """End the episode, and continue with the next version, which has it as a trial."""
        if self._episode is None:
            raise no_open_episode()
        self.adaptation = await self._episode.finish(self._spaces.by_name(observation), reward, success)
        self._episode = None
        return self.adaptation


@dataclass(frozen=True, kw_only=True)
class AsyncTrainingJob(JobState):
    """A training job, as it was at the time of the request."""

    _client: "AsyncClient" = field(repr=False, compare=False)

    def follow(self, after: int = 0, patience_s: float = 60.0) -> AsyncIterator[JobEvent]:
        """Yield every event after that number, once each, as it happens, until the job ends.

        Raises:
            ClientError: the server refused, or could not be reached for `patience_s` seconds.
        """
        return self._client.events(EventReader(self.id, after, patience_s))

    async def stop(self) -> "AsyncTrainingJob":
        """Stop the job."""
        return AsyncTrainingJob.of(await self._client.send(requests.stop_job(self.id)), _client=self._client)

    async def log(self) -> str:
        """Return the end of the log."""
        return str((await self._client.send(requests.get_job_log(self.id)))["text"])


class AsyncClient:
    """A connection to one server, for asyncio. Takes the arguments of `Client`, but an httpx.AsyncClient as `http`."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 3,
        longest_wait_s: float = 30.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._http = http or async_http_client(url, timeout=timeout_s)
        self._api_key = api_key or os.environ.get("WTL_API_KEY")
        self._retry_policy = RetryPolicy(retries, longest_wait_s)

    async def adapt(
        self,
        model: str,
        demos: Iterable[Episode] = (),
        trials: Iterable[Episode] = (),
        ask: Any = None,
        rate_hz: float | None = None,
    ) -> AsyncAdaptation:
        """Create an adaptation of `model` ("reach", "reach@3" or "reach@stable").

        What is too much for one request is sent in several, each of which makes a version. If one of them is refused,
        the adaptation is deleted again.

        Raises:
            InvalidData: what are no episodes.
            ClientError: the server refused.
        """
        first_demos, first_trials, more = requests.first_request(requests.parts(demos, trials))
        made = await self._send_for_adaptation(
            requests.create_adaptation(model, first_demos, first_trials, ask, rate_hz)
        )
        try:
            return await self._send_parts(made, more, rate_hz)
        except WatchTryLearnError:
            with suppress(ClientError):
                await made.delete()
            raise

    async def adaptation(self, adaptation_id: str, version: int | None = None) -> AsyncAdaptation:
        """Return an adaptation by its id."""
        return await self._send_for_adaptation(requests.get_adaptation(adaptation_id, version))

    async def adaptations(self) -> AsyncIterator[AsyncAdaptation]:
        """Yield all adaptations, oldest first."""
        async for item in self._pages(requests.list_adaptations):
            yield AsyncAdaptation.of(item, _client=self)

    async def recognise(
        self, episodes: Episode | Iterable[Episode], candidates: Mapping[str, Any] | Iterable[Any]
    ) -> Recognition:
        """Return who acted in episodes, in all of which it was the same agent: see `Client.recognise`.

        Raises:
            InvalidData: what are no episodes or no candidates.
            ClientError: the server refused.
        """
        return Recognition.of(await self.send(requests.recognise(episodes, candidates)))

    async def policy(self, adaptation: AsyncAdaptation | str, explore: bool | None = None) -> AsyncPolicy:
        """Return an awaitable callable for environment loops, whose episodes become trials: see `Policy`."""
        known = await self.adaptation(adaptation) if isinstance(adaptation, str) else adaptation
        return AsyncPolicy(known, (await self.model(known.model, known.model_version)).spec, explore)

    async def models(self) -> list[Model]:
        """Return the available models."""
        return [Model.of(card) for card in (await self.send(requests.list_models()))["items"]]

    async def model(self, name: str, version: int | None = None) -> Model:
        """Return a model, by default in its current version."""
        return Model.of(await self.send(requests.get_model(name, version)))

    async def model_versions(self, name: str) -> list[ModelVersion]:
        """Return every version of a model, oldest first."""
        return [ModelVersion.of(row) for row in (await self.send(requests.list_model_versions(name)))["items"]]

    async def register(self, name: str | None = None) -> list[ModelVersion]:
        """Register one bundle of the server's models folder, or all new ones."""
        return [ModelVersion.of(row) for row in (await self.send(requests.register_models(name)))["items"]]

    async def aliases(self, name: str) -> Aliases:
        """Return the version of each alias of a model, and the history of changes."""
        first = await self.send(requests.get_aliases(name, None))
        changes = [
            AliasChange.of(item) async for item in self._pages(lambda cursor: requests.get_aliases(name, cursor))
        ]
        return Aliases(first["aliases"], tuple(changes))

    async def set_alias(self, name: str, alias: str, version: int) -> AliasChange:
        """Point an alias at a version. Existing adaptations keep the version that they were made with."""
        return AliasChange.of(await self.send(requests.set_alias(name, alias, version)))

    async def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias. Without `current` the model is no longer available."""
        await self.send(requests.delete_alias(name, alias))

    async def rollback(self, name: str, alias: str) -> AliasChange:
        """Point an alias at the version that it pointed at before. A second call goes one change further back."""
        return AliasChange.of(await self.send(requests.rollback(name, alias)))

    async def experiments(self) -> list[ExperimentInfo]:
        """Return the experiments that the server can train; none if it runs no training jobs."""
        return [ExperimentInfo.of(item) async for item in self._pages(requests.list_experiments)]

    async def put_dataset(self, name: str, dataset: "metalearn.data.dataset.Dataset") -> DatasetInfo:
        """Upload a data set to train on, or replace the one of this name; a large one in several requests."""
        first, *others = requests.put_dataset(name, dataset)
        answer = await self.send(first)
        for part in others:
            answer = await self.send(part)
        return DatasetInfo.of(answer)

    async def datasets(self) -> list[DatasetInfo]:
        """Return the uploaded data sets, oldest first."""
        return [DatasetInfo.of(item) async for item in self._pages(requests.list_datasets)]

    async def delete_dataset(self, name: str) -> None:
        """Delete an uploaded data set. Jobs that have started keep their copy of it."""
        await self.send(requests.delete_dataset(name))

    async def train(
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
    ) -> AsyncTrainingJob:
        """Start a training job. Its bundle becomes the next version of model `name`.

        What is trained is an experiment, an uploaded data set, or a family as `module:Class` of a module that the
        operator has allowed. `settings` are values of other fields, as {"model.n_frames": 16}; `wtl settings` lists
        them. The training ends after `steps` gradient steps, or within `minutes`.
        """
        request = requests.create_job(experiment, seed, steps, name, job_id, dataset, family, minutes, settings)
        return AsyncTrainingJob.of(await self.send(request), _client=self)

    async def job(self, job_id: str) -> AsyncTrainingJob:
        """Return a training job by its id; `(await client.job(id)).follow()` yields its events."""
        return AsyncTrainingJob.of(await self.send(requests.get_job(job_id)), _client=self)

    async def jobs(self) -> AsyncIterator[AsyncTrainingJob]:
        """Yield all training jobs, oldest first."""
        async for item in self._pages(requests.list_jobs):
            yield AsyncTrainingJob.of(item, _client=self)

    async def caller(self) -> Mapping[str, Any]:
        """Return whom the key belongs to: `tenant`, `scopes`, and `key`, its beginning."""
        return dict(await self.send(requests.get_caller()))

    async def keys(self) -> list[Mapping[str, Any]]:
        """Return the API keys of the tenant, oldest first, without their secrets. Needs the scope `admin`."""
        return list((await self.send(requests.list_keys()))["items"])

    def audit_log(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the entries of the tenant's audit log, newest first. Needs the scope `admin`."""
        return self._pages(requests.list_audit_entries)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _pages(self, ask: Callable[[str | None], requests.ApiRequest]) -> AsyncIterator[Any]:
        """Yield the items of all pages."""
        cursor, more = None, True
        while more:
            page = await self.send(ask(cursor))
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            more = cursor is not None

    async def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> Any:
        """Send any request, with retries, and return the decoded response. Raises ClientError."""
        return await self.send(requests.any_request(method, path, body, params))

    async def _send_parts(
        self, adaptation: AsyncAdaptation, parts: Sequence[requests.Part], rate_hz: float | None
    ) -> AsyncAdaptation:
        """Add parts to an adaptation, one request each, with the reports on all of them. Raises ClientError."""
        for part in parts:
            request = requests.add_episodes(adaptation.id, part.role, part.episodes, rate_hz)
            try:
                after = await self._send_for_adaptation(request)
            except ClientError as error:
                raise error.moved(part.role, part.start) from error
            adaptation = after.reported_after(adaptation.quality, part.role, part.start)
        return adaptation

    async def _send_for_adaptation(self, request: requests.ApiRequest) -> AsyncAdaptation:
        """Send a request whose response is an adaptation. Raises ClientError."""
        return AsyncAdaptation.of(await self.send(request), _client=self)

    async def events(self, reader: EventReader) -> AsyncIterator[JobEvent]:
        """Yield the events that a reader has not seen yet, until its job ends. Raises ClientError."""
        while not reader.ended:
            headers = reader.headers(self._api_key)
            try:
                async with self._http.stream("GET", reader.path, headers=headers, timeout=TIMEOUT) as response:
                    if not response.is_success:
                        await response.aread()
                    if reader.accept(response):
                        async for line in response.aiter_lines():
                            if (event := reader.parse_line(line)) is not None:
                                yield event
            except httpx.TransportError as error:
                reader.connection_lost(error)
            if not reader.ended:
                await asyncio.sleep(reader.wait_s)

    async def send(self, request: requests.ApiRequest) -> Any:
        """Send a request, with retries, and return the decoded response. Raises ClientError."""
        steps = send_with_retries(request, self._retry_policy, self._api_key)
        try:
            step = next(steps)
            while True:
                outcome: httpx.Response | httpx.HTTPError | None = None
                if isinstance(step, Send):
                    try:
                        outcome = await self._http.request(step.method, step.path, **step.options)
                    except httpx.HTTPError as error:
                        outcome = error
                else:
                    await asyncio.sleep(step.seconds)
                step = steps.send(outcome)
        except StopIteration as done:
            return done.value
