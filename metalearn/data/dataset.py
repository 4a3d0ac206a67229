"""Recorded tasks: what was demonstrated and what an expert did, per task, in memory and on disk.

On disk: `dataset.json` and one safetensors file per shard of tasks, in which pictures are compressed. Never pickle.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.pixels import packed, unpacked
from metalearn.data.reading import read_arrays, read_json
from metalearn.data.spec import Spec

SCHEMA = 4
READABLE = (2, 3, SCHEMA)
"""Schemas that are read: before 3, pictures were not compressed; before 4, there was nobody but the expert."""
INDEX_FILE = "dataset.json"
TASKS_PER_SHARD = 1024
FEWEST_TASKS = 2
DAMAGE = (
    json.JSONDecodeError,
    UnicodeDecodeError,
    RecursionError,
    SafetensorError,
    KeyError,
    TypeError,
    AttributeError,
)
"""What reading a file raises that is not what it should be."""


@dataclass(frozen=True)
class Demonstrator:
    """The episodes in one task of somebody other than the expert.

    Attributes:
        source: who that is, as `expert, 40% at random`.
        quality: from 0, at random, to 1, the expert.
        demos: how the task was shown.
        episodes: in the scene where the policy will act.
    """

    source: str
    quality: float
    demos: tuple[Episode, ...]
    episodes: tuple[Episode, ...]


@dataclass(frozen=True)
class TaskRecord:
    """What is known of one training task.

    Attributes:
        task: its id, `family/index`.
        demos: how it was shown (scene "demo").
        experts: expert episodes in the scene where the policy will act (scene "trial"), as executed.
        labels: for each of `experts` the actions to imitate on its observations, `[t, a]` or `[t]`; they
            differ from the executed ones where noise was added to the expert. Empty: the executed ones.
        trials: recorded scored trials, in order, if there are any.
        others: demonstrators of less skill, whose episodes answer asks.
        sentences: that describe the task.
    """

    task: str
    demos: tuple[Episode, ...]
    experts: tuple[Episode, ...]
    labels: tuple[Array, ...] = ()
    trials: tuple[Episode, ...] = ()
    others: tuple[Demonstrator, ...] = ()
    sentences: tuple[str, ...] = ()

    def check(self, spec: Spec) -> "TaskRecord":
        """Return it if its episodes fit the spec, and there is something to imitate. Raises InvalidData."""
        if not self.experts and not any(one.episodes for one in self.others):
            raise InvalidData(f"{self.task}.experts", "at least one episode to imitate", "none")
        if self.labels and len(self.labels) != len(self.experts):
            expected = f"none, or one array for each of {len(self.experts)} experts"
            raise InvalidData(f"{self.task}.labels", expected, str(len(self.labels)))
        for place, episode in self._places():
            try:
                spec.check(episode)
            except InvalidData as error:
                raise error.within(f"{self.task}.{place}") from error
        for i, label in enumerate(self.labels):
            try:
                spec.check(Episode(self.experts[i].observations, label.copy()))
            except InvalidData as error:
                raise error.within(f"{self.task}.labels[{i}]") from error
        for _ in self.targets():
            pass
        return self

    def packed(self) -> "TaskRecord":
        """The same episodes in less memory, once each."""

        def of(episodes: Sequence[Episode]) -> tuple[Episode, ...]:
            return tuple(episode.packed() for episode in episodes)

        others = tuple(replace(one, demos=of(one.demos), episodes=of(one.episodes)) for one in self.others)
        return replace(self, demos=of(self.demos), experts=of(self.experts), trials=of(self.trials), others=others)

    def episodes(self) -> Iterator[Episode]:
        """Every episode."""
        yield from (episode for _, episode in self._places())

    def _places(self) -> Iterator[tuple[str, Episode]]:
        """Every episode, and where it stands."""
        for name in ("demos", "experts", "trials"):
            yield from ((f"{name}[{i}]", episode) for i, episode in enumerate(getattr(self, name)))
        for i, one in enumerate(self.others):
            yield from ((f"others[{i}].demos[{j}]", episode) for j, episode in enumerate(one.demos))
            yield from ((f"others[{i}].episodes[{j}]", episode) for j, episode in enumerate(one.episodes))

    def targets(self) -> Iterator[tuple[Array, Array]]:
        """Each expert episode as `(observations [t, o], actions to imitate [t, a])`. Raises InvalidData."""
        for i, episode in enumerate(self.experts):
            actions = self.labels[i] if self.labels else episode.actions
            if actions is None:
                raise InvalidData(f"{self.task}.experts[{i}].actions", "actions to imitate", "none")
            yield episode.observations[:-1], actions


@dataclass(frozen=True)
class Dataset:
    """Recorded tasks that share a spec."""

    spec: Spec
    tasks: tuple[TaskRecord, ...]

    def check(self) -> "Dataset":
        """Return it if every episode fits the spec and it can be trained on. Raises InvalidData."""
        for record in self.tasks:
            record.check(self.spec)
        if len(self.tasks) < FEWEST_TASKS:
            raise InvalidData("tasks", f"at least {FEWEST_TASKS}, to learn what tasks differ in", str(len(self.tasks)))
        twice = [name for name, n in Counter(record.task for record in self.tasks).items() if n > 1]
        if twice:
            raise InvalidData("tasks", "names that differ", f"{twice[0]} twice")
        return self

    def save(self, folder: Path) -> None:
        """Write it to `folder`, made if absent."""
        folder.mkdir(parents=True, exist_ok=True)
        shards = []
        for start in range(0, len(self.tasks), TASKS_PER_SHARD):
            name = f"tasks-{start // TASKS_PER_SHARD:05d}.safetensors"
            arrays: dict[str, Array] = {}
            shard = self.tasks[start : start + TASKS_PER_SHARD]
            # Numbers name the arrays, since the names of tasks are a user's: two may be the same, or hold a slash.
            entries = [_pack(str(i), record, arrays) for i, record in enumerate(shard)]
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / name)
            shards.append({"file": name, "tasks": entries})
        index = {"schema": SCHEMA, "spec": self.spec.to_json(), "shards": shards}
        scratch = folder / "dataset.tmp"  # the index comes last, and in one move: half a dataset is none
        scratch.write_text(json.dumps(index))
        scratch.replace(folder / INDEX_FILE)

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Read what `save` wrote.

        Raises:
            InvalidConfig: no dataset there, one of an unknown schema, or a damaged one.
        """
        try:
            index = read_json(folder / INDEX_FILE)
            if index["schema"] not in READABLE:
                raise InvalidConfig(f"dataset {folder}: expected schema {SCHEMA}, got {index['schema']}")
            spec, tasks = Spec.from_json(index["spec"]), list[TaskRecord]()
            for shard in index["shards"]:
                arrays = read_arrays(folder / Path(shard["file"]).name)
                found = unpack_shard(shard, arrays)
                tasks.extend([record.packed() for record in found] if spec.bulky else found)
            return cls(spec, tuple(tasks))
        except OSError as error:
            raise InvalidConfig(f"no dataset at {folder}: {error.filename}: {error.strerror}") from error
        except InvalidData as error:
            raise InvalidConfig(f"dataset {folder} is damaged: {error}") from error
        except DAMAGE as error:
            raise InvalidConfig(f"dataset {folder} is damaged: {error!r}") from error


def unpack_shard(shard: dict[str, Any], arrays: dict[str, Array]) -> list[TaskRecord]:
    """The tasks of one shard: its entry in `dataset.json`, and the arrays of its file. Raises one of DAMAGE."""
    episodes: defaultdict[str, dict[str, Array]] = defaultdict(dict)
    for path, array in arrays.items():
        *place, name = path.split("/", 3)  # the name of a part may have more of them
        episodes["/".join(place)][name] = array
    return [_unpack(str(i), entry, episodes, arrays) for i, entry in enumerate(shard["tasks"])]


def _pack(key: str, record: TaskRecord, arrays: dict[str, Array]) -> dict[str, Any]:
    """Put the arrays of `record` into `arrays`, under `key`, and return what JSON has to know to find them again."""
    entry: dict[str, Any] = {"task": record.task, "labels": len(record.labels)}
    for role in ("demos", "experts", "trials"):
        entry[role] = _pack_episodes(f"{key}/{role}", getattr(record, role), arrays)
    for i, label in enumerate(record.labels):
        arrays[f"{key}/labels/{i}"] = label
    entry["others"] = [
        {"source": one.source, "quality": one.quality}
        | {
            role: _pack_episodes(f"{key}/others.{i}.{role}", getattr(one, role), arrays)
            for role in ("demos", "episodes")
        }
        for i, one in enumerate(record.others)
    ]
    entry["sentences"] = list(record.sentences)
    return entry


def _pack_episodes(prefix: str, episodes: Sequence[Episode], arrays: dict[str, Array]) -> list[dict[str, Any]]:
    entries = []
    for i, episode in enumerate(episodes):
        own = episode.arrays()
        shapes = {name: list(array.shape) for name, array in own.items() if array.dtype == np.uint8}
        own |= {name: packed(own[name]) for name in shapes}
        arrays |= {f"{prefix}/{i}/{name}": array for name, array in own.items()}
        entries.append({"success": episode.success, "pictures": shapes})
    return entries


def _unpack(
    key: str, entry: dict[str, Any], found: Mapping[str, dict[str, Array]], arrays: Mapping[str, Array]
) -> TaskRecord:
    def episodes(role: str, entries: Sequence[dict[str, Any]]) -> tuple[Episode, ...]:
        return tuple(_unpack_episode(f"{key}/{role}/{i}", e, found) for i, e in enumerate(entries))

    demos, experts, trials = (episodes(role, entry[role]) for role in ("demos", "experts", "trials"))
    labels = tuple(arrays[f"{key}/labels/{i}"] for i in range(entry["labels"]))
    others = tuple(
        Demonstrator(
            str(one["source"]),
            float(one["quality"]),
            episodes(f"others.{i}.demos", one["demos"]),
            episodes(f"others.{i}.episodes", one["episodes"]),
        )
        for i, one in enumerate(entry.get("others", ()))
    )
    return TaskRecord(
        entry["task"], demos, experts, labels, trials, others, tuple(map(str, entry.get("sentences", ())))
    )


def _unpack_episode(key: str, entry: dict[str, Any], found: Mapping[str, dict[str, Array]]) -> Episode:
    own = found[key]
    pictures = {name: unpacked(own[name], shape, f"{key}/{name}") for name, shape in entry.get("pictures", {}).items()}
    return Episode.of_arrays(own | pictures, entry["success"])
