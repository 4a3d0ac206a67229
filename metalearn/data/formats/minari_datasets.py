"""Minari datasets, by id or folder: read as episodes, and written from episodes. The home of minari.

A dataset that does not say its spaces is refused: Minari would make its environment to learn them, and so run
whatever code the metadata name.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidBytes, InvalidConfig, InvalidData, TooLarge
from metalearn.data.formats.arrays import DATASET_LIMITS, Limits
from metalearn.data.formats.doubts import of_flags, of_names
from metalearn.data.formats.hdf5 import numbered, opened
from metalearn.data.formats.naming import leaves
from metalearn.data.formats.selection import Recorded, Selection, Steps, gather
from metalearn.data.parts import SEPARATOR, split
from metalearn.data.reading import own_file, read_json
from metalearn.data.spaces import composite
from metalearn.data.values import describe

if TYPE_CHECKING:
    import minari

    import metalearn.data.spec

_UNREWARDED = "rewards_unknown"
_RATE = "rate_hz"
_DAMAGE = (AssertionError, OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError)


def read_minari(
    dataset: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = DATASET_LIMITS,
) -> Recorded:
    """The episodes of a dataset on this machine, by its id or its folder.

    Raises:
        InvalidData: no such dataset, a damaged one, or an episode that cannot be used.
    """
    folder = _folder(dataset)
    if not (folder / "metadata.json").is_file():
        raise InvalidData("dataset", "the id or the folder of a Minari dataset on this machine", ascii(str(dataset)))
    metadata = _metadata(folder / "metadata.json", selection.links_under)
    n_recorded, doubts = 0, dict.fromkeys(of_names(metadata, (_RATE,)))
    for path in sorted(folder.glob("[!._]*.hdf5")):
        # Everything in it is checked before Minari reads it.
        with opened(own_file(path, folder, selection.links_under), limits) as file:
            names = numbered(file, "episode")
            n_recorded += len(names)
            doubts.update(dict.fromkeys(doubt for name in names for doubt in of_names(file[name], ("infos",))))

    def steps(index: int) -> Steps:
        with _readable():
            [recorded] = found.iterate_episodes([index])
            return _steps(recorded, selection)

    try:
        with _readable():
            from minari import MinariDataset

            # Minari's main file, and the metadata, are in `data`.
            found = MinariDataset(folder)
            if not 0 <= int(found.total_episodes) <= limits.n_episodes:
                raise TooLarge("total_episodes", f"at most {limits.n_episodes}", str(found.total_episodes)[:20])
            said = metadata.get("total_episodes", n_recorded)
            if type(said) is not int or not said == found.total_episodes == n_recorded:
                expected = f"{n_recorded}, as there are groups episode_0, episode_1, ..."
                raise InvalidData("total_episodes", expected, describe(said))
            names = [f"episode {i}" for i in range(n_recorded)]
        return gather(selection, names, steps, rate_hz=metadata.get(_RATE)).remarked(*doubts)
    except InvalidData as error:
        raise error.in_file(dataset) from error


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what Minari raises at damaged files into InvalidBytes."""
    try:
        yield
    except InvalidData:
        raise
    except _DAMAGE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise InvalidBytes("dataset", "one that Minari can read", reason) from error


def write_minari(
    dataset_id: str, episodes: Sequence[Episode], spec: "metalearn.data.spec.Spec", description: str = ""
) -> None:
    """Write episodes as a new dataset on this machine. `read_minari` gives equal ones.

    Raises:
        InvalidData: an episode without actions, which Minari cannot hold.
        InvalidConfig: the id is none, or taken.
    """
    if not _is_id(dataset_id):
        raise InvalidConfig(f"{dataset_id!a} is no dataset id; use one such as robot/reach-v0")
    if not episodes:
        raise InvalidData("episodes", "at least one", "none")
    buffers = [_buffer(episode, spec, f"episodes[{i}]") for i, episode in enumerate(episodes)]
    if _folder(dataset_id).exists():
        raise InvalidConfig(f"there is a Minari dataset {dataset_id} already; choose another id")
    import minari

    dataset = minari.create_dataset_from_buffers(
        dataset_id,
        buffers,
        observation_space=spec.observation_space,
        action_space=spec.action_space,
        description=description or "episodes of watch, try, learn",
        algorithm_name="watch-try-learn",
        code_permalink="none",
        author="watch-try-learn",
        author_email="none",
        data_format="hdf5",
        jpeg_encoding=False,
    )
    dataset.storage.update_metadata({_RATE: spec.rate_hz})


def _folder(dataset: str | Path) -> Path:
    """Where a dataset is, or would be."""
    import minari  # noqa: F401  it is set up on import
    from minari.storage.datasets_root_dir import get_dataset_path

    if isinstance(dataset, Path) or not _is_id(dataset):
        given = Path(dataset)
        return given / "data" if (given / "data" / "metadata.json").is_file() else given
    return Path(get_dataset_path(dataset)) / "data"


def _is_id(text: str) -> bool:
    """Whether Minari takes it for an id, and it stays inside of Minari's folder."""
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(text)
    except (ValueError, TypeError):
        return False
    return not text.startswith("/") and ".." not in text.split("/")


def _metadata(path: Path, links_under: Path | None) -> Mapping[str, Any]:
    metadata = read_json(own_file(path, path.parent, links_under))
    for key in ("observation_space", "action_space"):
        if not isinstance(metadata, dict) or not isinstance(metadata.get(key), str):
            raise InvalidData(f"{path}: {key}", "the space, written down", "none")
    return metadata


def _steps(recorded: "minari.EpisodeData", selection: Selection) -> Steps:
    observations = {name or "observation": _columns(value) for name, value in leaves(recorded.observations)}
    actions = {name or "action": np.asarray(value) for name, value in leaves(recorded.actions)}
    keys = list(actions) if selection.actions is None else [selection.actions]
    if len(keys) != 1 or keys[0] not in actions:
        raise InvalidData("actions", f"one of {', '.join(actions)}", selection.actions or "several")
    infos = {} if recorded.infos is None else {name: np.asarray(value) for name, value in leaves(recorded.infos)}
    return Steps(
        observations=observations,
        actions=actions[keys[0]],
        rewards=None if infos.get(_UNREWARDED, np.zeros(1)).any() else np.asarray(recorded.rewards),
        terminated=recorded.terminations[-1] if len(recorded.terminations) else None,
        flags=infos,
        remarks=tuple(of_flags(infos, selection.unasked_flags)),
        labels={**observations, **infos},
    )


def _columns(value: Any) -> Array:
    array = np.asarray(value)
    return array[:, None] if array.ndim == 1 else array


def _nested(space: Any, parts: Mapping[str, Array], name: str = "") -> Any:
    """What is observed as Minari holds it: parts in mappings and tuples, as a Gymnasium space nests them."""
    if not composite(space):
        return parts[name]
    prefix, inner = (f"{name}{SEPARATOR}" if name else ""), space.spaces
    if isinstance(inner, Mapping):
        return {key: _nested(one, parts, f"{prefix}{key}") for key, one in inner.items()}
    return tuple(_nested(one, parts, f"{prefix}{i}") for i, one in enumerate(inner))


def _buffer(episode: Episode, spec: "metalearn.data.spec.Spec", where: str) -> "minari.data_collector.EpisodeBuffer":
    from minari.data_collector import EpisodeBuffer

    if episode.actions is None:
        raise InvalidData(f"{where}.actions", "actions, which Minari needs", "none")
    n = len(episode)
    ends = np.arange(n) == n - 1
    infos: dict[str, Array] = {}
    if episode.success is not None:
        infos["success"] = np.append(ends & episode.success, episode.success)
    if episode.rewards is None:
        infos[_UNREWARDED] = np.ones(n + 1, bool)
    return EpisodeBuffer(
        observations=_nested(spec.observation_space, split(episode.observations)),
        actions=episode.actions,
        rewards=list(np.zeros(n, np.float32) if episode.rewards is None else episode.rewards),
        terminations=list(ends & bool(episode.success)),
        truncations=list(ends & (not episode.success)),
        infos=infos,
    )
