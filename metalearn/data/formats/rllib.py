"""RLlib's JSON files: a batch of steps on each line, of which `eps_id` says the episode.

The pieces of an episode are joined across lines and files. Packed columns are pickles, and refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData, TooLarge
from metalearn.data.formats.arrays import Limits
from metalearn.data.formats.doubts import of_flags, of_names, of_next_observations
from metalearn.data.formats.selection import Recorded, Selection, Steps, gather, usable
from metalearn.data.formats.transitions import NO_END, ends_of, spans
from metalearn.data.quality import QualityWarning
from metalearn.data.reading import own_file, parse_json, refuse_pointer
from metalearn.data.values import column

_BEGIN = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*"type"\s*:\s*"(SampleBatch|MultiAgentBatch)"')
_ENDS = ("terminateds", "truncateds", "dones")
_NAMES = ("eps_id", "agent_index", "agent_id")
_PLAIN = "plain numbers, which RLlib writes with output_compress_columns=[]"
_PACKED = "a packed column, which is a pickle and is not read"
Columns = dict[str, Array]


def read_rllib(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = Limits(),  # noqa: B008  frozen
) -> Recorded:
    """The episodes in a file, or in the files `*.json` of a folder; observations are `obs`.

    Raises:
        InvalidData: not such a file, or an episode that cannot be used, naming file, field, expected and got.
        OSError: it cannot be read.
    """
    path = Path(path)
    try:
        return _read(path, selection, limits)
    except InvalidData as error:
        raise error.in_file(path) from error


def fits(path: Path) -> bool:
    """Whether a file begins as one of RLlib's."""
    with path.open("rb") as file:
        return _BEGIN.match(file.read(200)) is not None


def _read(path: Path, selection: Selection, limits: Limits) -> Recorded:
    if selection.observations not in {(), ("obs",)}:
        raise InvalidData("observations", "obs, which is all that there is", ", ".join(selection.observations))
    lines = _lines(path, selection, limits)
    read, unread = usable(
        Selection(skip_bad=selection.skip_bad),
        [line.where for line in lines],
        lambda i: (lines[i].file, *_batch(lines[i].text, selection)),
    )
    episodes = _joined([(file, columns) for file, columns, _ in read])
    doubts = dict.fromkeys(doubt for _, _, own in read for doubt in own)
    names = [f"episode {i}" for i in range(len(episodes))]
    found = gather(selection, names, lambda i: _steps(episodes[i], selection))
    return replace(found.remarked(*doubts), skipped=unread + found.skipped)


@dataclass(frozen=True)
class _Line:
    """A line of a file: where it is for errors, and the number of its file."""

    where: str
    file: int
    text: bytes


def _lines(path: Path, selection: Selection, limits: Limits) -> list[_Line]:
    """The lines of a file, or of the files in a folder in the order of the numbers in their names."""
    files = [path]
    if path.is_dir():
        files = sorted((one for one in path.glob("*.json") if not one.name.startswith(".")), key=_natural)
        files = [own_file(one, path, selection.links_under) for one in files]
    if not files:
        raise InvalidData("files", "*.json", "none")
    if (size := sum(one.stat().st_size for one in files)) > limits.n_bytes:
        raise TooLarge("file", f"at most {limits.n_bytes} bytes", str(size))
    found = []
    for number, file in enumerate(files):
        data = file.read_bytes()
        refuse_pointer(data, "file")
        of_file = f"{file.name} " if path.is_dir() else ""
        for row, text in enumerate(data.splitlines(), 1):
            if text.strip():
                found.append(_Line(f"{of_file}line {row}", number, text))
    if not found:
        raise InvalidData("lines", "at least one batch of steps", "none")
    return found


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts `..._10.json` after `..._9.json`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,18})", path.name)]


def _batch(text: bytes, selection: Selection) -> tuple[Columns, list[QualityWarning]]:
    """The columns of a line that are read, of one length, and doubts about the others. Raises InvalidData."""
    value = parse_json(text, "batch")
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "MultiAgentBatch":
        policies = value.get("policy_batches")
        if not isinstance(policies, dict) or len(policies) != 1:
            got = ", ".join(sorted(policies)) if isinstance(policies, dict) and policies else "none"
            raise InvalidData("policy_batches", "one policy, of which these are the episodes", got[:80])
        [value] = policies.values()
    elif kind != "SampleBatch":
        raise InvalidData("type", "SampleBatch or MultiAgentBatch", ascii(kind)[:40])
    if not isinstance(value, Mapping):
        raise InvalidData("batch", "columns by their names", type(value).__name__)
    action = selection.actions or "actions"
    useful = ("new_obs", "rewards", "t", *_NAMES, *_ENDS)
    chosen = (*useful, *selection.flag_keys, *selection.task_keys)
    columns = {"actions": _column(action, value.get(action)), "obs": _column("obs", value.get("obs"))}
    columns |= {name: _column(name, value[name]) for name in chosen if value.get(name) is not None}
    if not len(columns["actions"]):
        raise InvalidData(action, "at least one step", "none")
    for name, one in columns.items():
        if len(one) != len(columns["actions"]):
            raise InvalidData(name, f"{len(columns['actions'])} steps, as {action}", str(len(one)))
    named = [name for name, one in value.items() if one is not None]
    doubts = of_names(named, ("new_obs", "rewards", "eps_id", *_ENDS), ("obs", "actions", "prev_rewards"))
    return columns, [*doubts, *of_flags(named, selection.unasked_flags)]


def _column(name: str, value: object) -> Array:
    if isinstance(value, str):
        raise InvalidData(name, _PLAIN, _PACKED)
    if not isinstance(value, list):
        kinds = {dict: "an object of several columns", type(None): "none"}
        raise InvalidData(name, "a list of numbers", kinds.get(type(value), type(value).__name__))
    if name in _NAMES:  # of episodes and agents, which only have to be told apart
        return np.asarray([str(one) for one in value])
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidData(name, "a rectangular list of numbers", "ragged or mixed nesting") from error
    if array.size and array.dtype.kind not in "biuf":
        got = _PACKED if array.dtype.kind == "U" else "null, text or objects among them"
        raise InvalidData(name, _PLAIN if array.dtype.kind == "U" else "a rectangular list of numbers", got)
    return array


def _joined(read: Sequence[tuple[int, Columns]]) -> list[list[Columns]]:
    """The pieces of every episode, in the order in which the episodes begin.

    An id that comes again after its episode has ended is of another one. Without ids the lines of a file follow each
    other until a flag ends an episode. Raises InvalidData.
    """
    episodes: list[list[Columns]] = []
    going: dict[tuple[object, ...], list[Columns]] = {}
    for file, columns in read:
        ends = np.zeros(len(columns["actions"]), bool)
        for name in _ENDS:
            ends = ends | ends_of(name, columns[name]) if name in columns else ends
        ids = [columns[name].reshape(len(ends), -1) for name in _NAMES if name in columns]
        if "eps_id" not in columns and not any(name in columns for name in _ENDS):
            raise InvalidData("eps_id", f"the episode of every step, or flags such as {_ENDS[0]}", "neither")
        changes = [(one[1:] != one[:-1]).any(axis=1) for one in ids]
        last = ends.copy()
        for change in changes:
            last[:-1] |= change
        for rows in spans(last):
            key = (file if "eps_id" not in columns else None, *(one[rows.start].item(0) for one in ids))
            if key not in going:
                going[key] = []
                episodes.append(going[key])
            going[key].append({name: values[rows] for name, values in columns.items()})
            if ends[rows.stop - 1]:
                del going[key]
    return episodes


def _steps(pieces: Sequence[Columns], selection: Selection) -> Steps:
    """One episode. Raises InvalidData."""
    names = [name for name in pieces[0] if all(name in piece for piece in pieces)]
    for name in names:
        if len({piece[name].shape[1:] for piece in pieces}) > 1:
            raise InvalidData(name, "one shape in all batches", "several")
    own = {name: np.concatenate([piece[name] for piece in pieces]) for name in names}
    remarks = _doubts(own)
    observations = own["obs"]
    if "new_obs" in own:
        if own["new_obs"].shape != observations.shape:
            raise InvalidData("new_obs", f"shape {list(observations.shape)}, as obs", f"{list(own['new_obs'].shape)}")
        remarks += of_next_observations({"obs": observations}, {"obs": own["new_obs"]})
        observations = np.concatenate([observations, own["new_obs"][-1:]])
    terminated = next((own[name][-1] for name in ("terminateds", "dones") if name in own), None)
    return Steps(
        observations={"obs": observations},
        actions=own["actions"],
        rewards=own.get("rewards"),
        terminated=terminated,
        flags={key: own[key] for key in selection.flag_keys if key in own},
        remarks=tuple(remarks),
        labels={key: own[key] for key in selection.task_keys if key in own},
    )


def _doubts(own: Columns) -> list[QualityWarning]:
    """Remarks on an episode whose first or last steps are not there. Raises InvalidData if some between are not."""
    remarks = []
    if "t" in own and len(own["t"]):
        times = column("t", own["t"])
        if (gaps := np.flatnonzero(np.diff(times) != 1)).size:
            before, after = times[gaps[0]], times[gaps[0] + 1]
            raise InvalidData("t", f"{before + 1} after {before}, as steps that follow each other", str(after))
        if times[0] > 0:
            message = f"the recording begins at step {times[0]} of it, and what there is of it is used"
            remarks.append(QualityWarning("begin-unknown", message))
    if not any(name in own and own[name].reshape(-1)[-1:].any() for name in _ENDS):
        remarks.append(NO_END)
    return remarks
