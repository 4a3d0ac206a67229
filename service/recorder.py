"""Episodes that the server records while it acts: one hypothesis each, every step kept, a trial in the end.

A step is appended to a file of its episode before it is answered, so an episode outlives the server's process
(not a power cut: steps are not fsynced one by one; the finished trial is).
"""

import errno
import shutil
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidData
from service.codecs import decode_msgpack, encode_msgpack
from service.engine import Engine
from service.errors import (
    AdaptationNotFound,
    EpisodeEmpty,
    EpisodeFinished,
    EpisodeNotFound,
    EpisodeOver,
    IdempotencyKeyReused,
    quote,
)
from service.queries import Adaptation, Post, RecordingRow
from service.sessions import Sessions, is_id, new_id
from service.storage import Storage


@dataclass(frozen=True, eq=False)
class Step:
    """What was seen, what was done, and what the *previous* action earned."""

    observation: Array
    action: Array
    reward: float | None
    post: Post | None = None


@dataclass(eq=False)
class _Recording:
    """An episode in progress. Its lock keeps steps in order."""

    row: RecordingRow
    file: Path
    steps: list[Step]
    lock: threading.Lock = field(default_factory=threading.Lock)
    finished: bool = False

    def check_open(self) -> None:
        """Raise EpisodeFinished if it became a trial while somebody waited for the lock."""
        if self.finished:
            raise EpisodeFinished("the episode is finished and takes nothing more")


class Recorder:
    """The recorded episodes of one server."""

    def __init__(
        self,
        folder: Path,
        storage: Storage,
        sessions: Sessions,
        engine: Engine,
        *,
        capacity: int,
        rng: np.random.Generator,
    ) -> None:
        self._folder, self._storage, self._sessions, self._engine = folder, storage, sessions, engine
        self._capacity, self._rng = capacity, rng
        self._open: OrderedDict[str, _Recording] = OrderedDict()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._tidy()

    def start(self, adaptation: Adaptation, explore: bool | None, post: Post | None = None) -> RecordingRow:
        """Begin an episode and commit to one hypothesis. Raises Busy."""
        explore = not adaptation.scored if explore is None else explore
        belief = self._sessions.belief(adaptation)
        with self._lock:  # a generator is not made for several threads
            hypothesis = belief.draw(self._rng) if explore else belief.most_probable
        self._sessions.touch(adaptation)
        row = RecordingRow(new_id(), adaptation.id, adaptation.version, explore, hypothesis)
        return self._storage.add_recording(row, post)

    def act(
        self,
        adaptation: Adaptation,
        recording_id: str,
        observation: Array,
        reward: float | None,
        post: Post | None = None,
    ) -> tuple[Array, int]:
        """The action now, `[a]` or a scalar, and the number of this step.

        Raises:
            EpisodeNotFound, EpisodeFinished, EpisodeOver, Busy: see there.
            InvalidData: a reward before anything was done.
        """
        recording = self._find(adaptation, recording_id)
        with recording.lock:
            recording.check_open()
            steps = recording.steps
            if _repeats(post, steps):
                return steps[-1].action, len(steps) - 1
            model = self._sessions.model(adaptation)
            if len(steps) >= model.spec.horizon:
                raise EpisodeOver(f"the episode has its {model.spec.horizon} steps and can only be finished")
            if reward and not steps:
                raise InvalidData("reward", "none before the first action", str(reward))
            belief = self._sessions.belief(adaptation, recording.row.version)
            if steps:
                seen = np.stack([*(step.observation for step in steps), observation])
                belief = model.runtime.after(belief, seen, np.stack([step.action for step in steps]))
            acted = self._engine.act(model.runtime, belief, recording.row.hypothesis, observation[None])
            step = Step(observation, acted.actions[0], reward, post)
            _append(recording.file, step, adaptation.id)
            steps.append(step)
            self._sessions.touch(adaptation)
            return step.action, len(steps) - 1

    def finish(
        self,
        adaptation: Adaptation,
        recording_id: str,
        observation: Array,
        reward: float | None,
        success: bool | None,
        post: Post | None = None,
    ) -> Adaptation:
        """The adaptation one version on, the episode having become its newest trial.

        Raises:
            EpisodeNotFound, EpisodeFinished, EpisodeEmpty, TooManyEpisodes: see there.
        """
        done = self._storage.answered(post)
        if done is not None:
            return done
        recording = self._find(adaptation, recording_id)
        with recording.lock:
            recording.check_open()
            if not recording.steps:
                raise EpisodeEmpty("no action was asked for in this episode: there is nothing to learn from")
            episode = _episode(recording.steps, observation, reward, success)
            self._sessions.model(adaptation).spec.check(episode)
            after = self._sessions.learn(adaptation, "trial", [episode], post, recording_id)
            recording.finished = True
            recording.file.unlink(missing_ok=True)
        with self._lock:
            self._open.pop(recording_id, None)
        return after

    def forget(self, adaptation_id: str) -> None:
        """Drop every episode of an adaptation that is gone."""
        with self._lock:
            for key in [key for key, value in self._open.items() if value.row.adaptation == adaptation_id]:
                del self._open[key]
        shutil.rmtree(self._folder / adaptation_id, ignore_errors=True)

    def _find(self, adaptation: Adaptation, recording_id: str) -> _Recording:
        """An episode in progress, from memory or from its file."""
        with self._lock:
            found = self._open.get(recording_id)
            if found is not None and found.row.adaptation == adaptation.id:
                self._open.move_to_end(recording_id)
                return found
            if not is_id(recording_id):
                raise EpisodeNotFound("the adaptation has no such episode", field="episode", got=quote(recording_id))
            row = self._storage.recording(adaptation.id, recording_id)
            if row.finished_as is not None:
                raise EpisodeFinished(f"the episode is finished: it is a trial since version {row.finished_as}")
            file = self._folder / adaptation.id / f"{recording_id}.msgpack"
            file.parent.mkdir(exist_ok=True)
            recording = self._open[recording_id] = _Recording(row, file, _read(file))
            while len(self._open) > self._capacity:
                self._open.popitem(last=False)
            return recording

    def _tidy(self) -> None:
        """Remove the files of episodes that ended in a crash between their last two writes."""
        unfinished = self._storage.unfinished()
        for file in self._folder.glob("*/*.msgpack"):
            if file.stem not in unfinished:
                file.unlink()


def _repeats(post: Post | None, steps: list[Step]) -> bool:
    """Whether the last step was asked for by this very POST, whose answer was lost on the way."""
    last = steps[-1].post if steps else None
    if post is None or last is None or post.key != last.key:
        return False
    if post.fingerprint != last.fingerprint:
        raise IdempotencyKeyReused("this Idempotency-Key came with the step before", field="Idempotency-Key")
    return True


def _episode(steps: list[Step], observation: Array, reward: float | None, success: bool | None) -> Episode:
    """The steps as an episode. If any reward was sent, a step without one earned nothing."""
    rewards = [step.reward for step in steps[1:]] + [reward]
    return Episode.of(
        observations=np.stack([step.observation for step in steps] + [observation]),
        actions=np.stack([step.action for step in steps]),
        rewards=None if all(r is None for r in rewards) else [r or 0.0 for r in rewards],
        success=success,
    )


def _append(file: Path, step: Step, adaptation_id: str) -> None:
    post = None if step.post is None else [step.post.key, step.post.fingerprint]
    record = msgpack.packb(encode_msgpack([step.observation, np.asarray(step.action), step.reward, post]))
    try:
        with file.open("ab", buffering=0) as log:
            size = log.tell()
            if log.write(record) < len(record):
                log.truncate(size)  # a torn step in the middle would hide the ones after it
                raise OSError(errno.ENOSPC, "the step could not be written")
    except FileNotFoundError as error:  # its folder goes with the adaptation
        raise AdaptationNotFound(adaptation_id) from error


def _read(file: Path) -> list[Step]:
    """The steps in a file. A step that a crash cut short was never answered: it is cut off."""
    if not file.exists():
        return []
    content = file.read_bytes()
    steps, n_whole = [], 0
    unpacker = msgpack.Unpacker(BytesIO(content), max_buffer_size=max(1, len(content)))
    for packed in unpacker:
        observation, action, reward, post = _decoded(packed)
        steps.append(Step(observation, action, reward, None if post is None else Post(*post)))
        n_whole = unpacker.tell()
    if n_whole < len(content):
        with file.open("r+b") as log:
            log.truncate(n_whole)
    return steps


def _decoded(packed: bytes) -> Any:
    return decode_msgpack(packed, max_containers=16)
