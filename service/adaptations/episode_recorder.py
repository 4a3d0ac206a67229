"""Episodes that the server records while it acts: one hypothesis each, every step kept, a trial in the end.

A step is in the database before it is answered, so an episode outlives the server's process and may go on at
another server. What is kept here in memory saves reading; the numbers of the steps in the database decide.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from metalearn.data.episode import Array
from service.adaptations.acting import OnlineConditioning
from service.adaptations.episode_builder import EpisodeBuilder, commit
from service.adaptations.recordings import RecordingRepository, Step
from service.adaptations.records import Adaptation, FinishRecording, RecordingRow, StepConflict
from service.adaptations.service import AdaptationService
from service.errors import (
    Busy,
    EpisodeFinished,
    EpisodeNotFound,
    EpisodeOver,
    IdempotencyKeyReused,
    quote,
)
from service.ids import is_id, new_id
from service.inference import Engine
from service.storage.idempotency import IdempotencyKey

_ATTEMPTS = 8


@dataclass(eq=False)
class _Recording:
    """An episode in progress, as far as this server has seen it. Its lock keeps steps in order."""

    row: RecordingRow
    episode: EpisodeBuilder
    last: Step | None = None
    conditioning: OnlineConditioning | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, step: Step) -> None:
        """Note a step that is stored."""
        self.episode.append(step.observation, step.action, step.reward)
        self.last = step


class EpisodeRecorder:
    """The recorded episodes that pass through one server."""

    def __init__(
        self,
        recordings: RecordingRepository,
        adaptations: AdaptationService,
        engine: Engine,
        *,
        capacity: int,
        rng: np.random.Generator,
    ) -> None:
        self._recordings, self._adaptations, self._engine = recordings, adaptations, engine
        self._capacity, self._rng = capacity, rng
        self._open: OrderedDict[str, _Recording] = OrderedDict()
        self._lock = threading.Lock()

    def start(
        self, adaptation: Adaptation, explore: bool | None, idempotency_key: IdempotencyKey | None = None
    ) -> RecordingRow:
        """Begin an episode and commit to one hypothesis. Raises Busy."""
        belief = self._adaptations.adapted_policy(adaptation).belief
        with self._lock:  # a generator is not made for several threads
            explore, hypothesis = commit(adaptation, belief, explore, self._rng)
        self._adaptations.touch(adaptation)
        row = RecordingRow(new_id(), adaptation.id, adaptation.version, explore, hypothesis)
        return self._recordings.start(adaptation.tenant, row, idempotency_key)

    def act(
        self,
        adaptation: Adaptation,
        recording_id: str,
        observation: Array,
        reward: float | None,
        idempotency_key: IdempotencyKey | None = None,
    ) -> tuple[Array, int]:
        """The action now, `[a]` or a scalar, and the number of this step.

        Raises:
            EpisodeNotFound, EpisodeFinished, EpisodeOver, Busy: see there.
            InvalidData: a reward before anything was done.
        """
        recording = self._find(adaptation, recording_id)
        with recording.lock:
            for _ in range(_ATTEMPTS):
                try:
                    return self._act(adaptation, recording, observation, reward, idempotency_key)
                except StepConflict:  # by another server
                    self._read_on(recording)
        raise Busy("too many servers record this episode at once")

    def _act(
        self,
        adaptation: Adaptation,
        recording: _Recording,
        observation: Array,
        reward: float | None,
        idempotency_key: IdempotencyKey | None,
    ) -> tuple[Array, int]:
        episode = recording.episode
        if reward and not episode:
            self._read_on(recording)  # another server may have begun it
        if recording.last is not None and _repeats(idempotency_key, recording.last):
            return recording.last.action, len(episode) - 1
        try:
            episode.check(reward)
        except EpisodeOver:
            self._read_on(recording)  # it may have been finished elsewhere
            raise
        model = self._adaptations.model(adaptation)
        if recording.conditioning is None:
            policy = self._adaptations.adapted_policy(adaptation, recording.row.version)
            start = policy.conditioning_under(recording.row.hypothesis, model.runtime)
            recording.conditioning = OnlineConditioning(model.runtime, start)
        acted = self._engine.act(model.runtime, recording.conditioning.at(episode, observation), observation[None])
        key, fingerprint = (idempotency_key.key, idempotency_key.fingerprint) if idempotency_key else (None, None)
        step = Step(observation, acted.actions[0], reward, key, fingerprint)
        self._recordings.add(recording.row.id, len(episode), step)
        recording.add(step)
        self._adaptations.touch(adaptation)
        return step.action, len(episode) - 1

    def finish(
        self,
        adaptation: Adaptation,
        recording_id: str,
        observation: Array,
        reward: float | None,
        success: bool | None,
        idempotency_key: IdempotencyKey | None = None,
    ) -> Adaptation:
        """The adaptation one version on, the episode having become its newest trial.

        Raises:
            EpisodeNotFound, EpisodeFinished, EpisodeEmpty, TooManyEpisodes: see there.
        """
        done = self._adaptations.completed(idempotency_key)
        if done is not None:
            return done
        recording = self._find(adaptation, recording_id)
        with recording.lock:
            for _ in range(_ATTEMPTS):
                self._read_on(recording)
                episode = recording.episode.finish(observation, reward, success)
                self._adaptations.model(adaptation).spec.check(episode)
                ending = FinishRecording(recording_id, len(episode))
                try:
                    after = self._adaptations.learn(adaptation, "trial", [episode], idempotency_key, ending)
                    break
                except StepConflict:  # by another server, since we read on
                    continue
            else:
                raise Busy("too many servers record this episode at once")
        with self._lock:
            self._open.pop(recording_id, None)
        return after

    def forget(self, adaptation_id: str) -> None:
        """Drop every episode of an adaptation that is gone."""
        with self._lock:
            for key in [key for key, value in self._open.items() if value.row.adaptation == adaptation_id]:
                del self._open[key]

    @property
    def adaptations(self) -> set[str]:
        """Those whose episodes are in memory."""
        with self._lock:
            return {recording.row.adaptation for recording in self._open.values()}

    def _find(self, adaptation: Adaptation, recording_id: str) -> _Recording:
        """An episode in progress, from memory or from the tape."""
        with self._lock:
            found = self._open.get(recording_id)
            if found is not None and found.row.adaptation == adaptation.id:
                self._open.move_to_end(recording_id)
                return found
        if not is_id(recording_id):
            raise EpisodeNotFound("the adaptation has no such episode", field="episode", got=quote(recording_id))
        row = self._recordings.find(adaptation.id, recording_id)
        _check_open(row)
        horizon = self._adaptations.horizon(self._adaptations.model(adaptation))
        read = _Recording(row, EpisodeBuilder(horizon))
        for step in self._recordings.steps(recording_id):
            read.add(step)
        with self._lock:
            recording = self._open.setdefault(recording_id, read)
            while len(self._open) > self._capacity:
                self._open.popitem(last=False)
            return recording

    def _read_on(self, recording: _Recording) -> None:
        """Learn of the steps that other servers recorded. Raises EpisodeNotFound, EpisodeFinished."""
        try:
            _check_open(self._recordings.find(recording.row.adaptation, recording.row.id))
        except (EpisodeNotFound, EpisodeFinished):
            with self._lock:
                self._open.pop(recording.row.id, None)
            raise
        for step in self._recordings.steps(recording.row.id, since=len(recording.episode)):
            recording.add(step)


def _check_open(row: RecordingRow) -> None:
    if row.finished_as is not None:
        raise EpisodeFinished(f"the episode is finished: it is a trial since version {row.finished_as}")


def _repeats(idempotency_key: IdempotencyKey | None, last: Step) -> bool:
    """Whether the last step was asked for by this very POST, whose answer was lost on the way."""
    if idempotency_key is None or idempotency_key.key != last.key:
        return False
    if idempotency_key.fingerprint != last.fingerprint:
        raise IdempotencyKeyReused("this Idempotency-Key came with the step before", field="Idempotency-Key")
    return True
