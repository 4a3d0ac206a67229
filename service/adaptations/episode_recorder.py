"""Recording of episodes while the server acts: one hypothesis per episode, which becomes a trial at its end.

A step is stored before its action is returned, so an episode survives the process and can continue at another server.
The copy in memory saves reads; the numbers of the steps in the database resolve conflicts.
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
    """An episode in progress, as far as this server knows it. Its lock keeps steps in order."""

    row: RecordingRow
    episode: EpisodeBuilder
    last: Step | None = None
    conditioning: OnlineConditioning | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, step: Step) -> None:
        """Add a step that is stored."""
        self.episode.append(step.observation, step.action, step.reward)
        self.last = step


class EpisodeRecorder:
    """Records the episodes of one server."""

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
        """Start an episode under one hypothesis. Raises Busy."""
        belief = self._adaptations.adapted_policy(adaptation).belief
        with self._lock:  # random generators are not thread-safe
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
        """Record an observation, and return the next action, `[a]` or a scalar, and the number of the step.

        Raises:
            EpisodeNotFound, EpisodeFinished, EpisodeOver, ModelUnavailable, IdempotencyKeyReused, Busy: see
                `service.errors`.
            InvalidData: a reward before the first action.
        """
        recording = self._find(adaptation, recording_id)
        with recording.lock:
            for _ in range(_ATTEMPTS):
                try:
                    return self._act(adaptation, recording, observation, reward, idempotency_key)
                except StepConflict:
                    self._read_new_steps(recording)
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
            self._read_new_steps(recording)  # another server may have recorded the first steps
        if recording.last is not None and _is_repeated(idempotency_key, recording.last):
            return recording.last.action, len(episode) - 1
        try:
            episode.check(reward)
        except EpisodeOver:
            self._read_new_steps(recording)  # raises EpisodeFinished if another server has finished it
            raise
        model = self._adaptations.model(adaptation)
        if recording.conditioning is None:
            policy = self._adaptations.adapted_policy(adaptation, recording.row.version)
            start = policy.conditioning_under(recording.row.hypothesis, model.runtime)
            recording.conditioning = OnlineConditioning(start)
        conditioning = recording.conditioning.at(model.runtime, episode, observation)
        result = self._engine.act(model.runtime, conditioning, observation[None])
        key, fingerprint = (idempotency_key.key, idempotency_key.fingerprint) if idempotency_key else (None, None)
        step = Step(observation, result.actions[0], reward, key, fingerprint)
        self._recordings.add(recording.row.id, len(episode), step)
        recording.add(step)
        recording.conditioning.keep(conditioning, episode)
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
        """End an episode, and return the next version of the adaptation, with the episode as its newest trial.

        Raises:
            EpisodeNotFound, EpisodeFinished, EpisodeEmpty, TooManyEpisodes, QuotaExceeded, IdempotencyKeyReused, Busy:
                see `service.errors`.
            InvalidData: the episode does not fit the spec of the model.
        """
        done = self._adaptations.completed(idempotency_key)
        if done is not None:
            return done
        recording = self._find(adaptation, recording_id)
        with recording.lock:
            for _ in range(_ATTEMPTS):
                self._read_new_steps(recording)
                episode = recording.episode.finish(observation, reward, success)
                self._adaptations.model(adaptation).spec.check(episode)
                ending = FinishRecording(recording_id, len(episode))
                try:
                    after = self._adaptations.learn(adaptation, "trial", [episode], idempotency_key, ending)
                    break
                except StepConflict:
                    continue
            else:
                raise Busy("too many servers record this episode at once")
        with self._lock:
            self._open.pop(recording_id, None)
        return after

    def acting_version(self, adaptation: Adaptation, recording_id: str) -> int:
        """Return the version of the adaptation that acts in a recorded episode. Raises EpisodeNotFound."""
        return self._recordings.find(adaptation.id, recording_id).version

    def forget(self, adaptation_id: str) -> None:
        """Drop every episode of a deleted adaptation from memory."""
        with self._lock:
            for key in [key for key, value in self._open.items() if value.row.adaptation == adaptation_id]:
                del self._open[key]

    @property
    def adaptations(self) -> set[str]:
        """The adaptations whose episodes are in memory."""
        with self._lock:
            return {recording.row.adaptation for recording in self._open.values()}

    def _find(self, adaptation: Adaptation, recording_id: str) -> _Recording:
        """Return an episode in progress, from memory or from the database."""
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
        stored = _Recording(row, EpisodeBuilder(horizon))
        for step in self._recordings.steps(recording_id):
            stored.add(step)
        with self._lock:
            recording = self._open.setdefault(recording_id, stored)
            while len(self._open) > self._capacity:
                self._open.popitem(last=False)
            return recording

    def _read_new_steps(self, recording: _Recording) -> None:
        """Add the steps that other servers have recorded. Raises EpisodeNotFound, EpisodeFinished."""
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


def _is_repeated(idempotency_key: IdempotencyKey | None, last: Step) -> bool:
    """Return True if this POST has recorded the last step already, and its response was lost."""
    if idempotency_key is None or idempotency_key.key != last.key:
        return False
    if idempotency_key.fingerprint != last.fingerprint:
        raise IdempotencyKeyReused("this Idempotency-Key belongs to the previous step", field="Idempotency-Key")
    return True
