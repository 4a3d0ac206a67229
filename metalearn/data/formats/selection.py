"""How a recording becomes an episode: which observations in which order, which actions, what counts as success.

Does not know files.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidData
from metalearn.data.formats.parts import keys_of, observed
from metalearn.data.quality import QualityWarning
from metalearn.data.spec import Spec
from metalearn.data.values import any_flag, column, flag, flags

SUCCESS_KEYS = ("success", "is_success", "next.success")
T = TypeVar("T")
INSTRUCTION_KEYS = ("instruction", "language_instruction", "task", "mission")
WORDS = {"yes": True, "no": False, "unknown": None}


@dataclass(frozen=True)
class Selection:
    """Which part of a recording to use, and how strictly.

    Attributes:
        observations: keys to concatenate, in this order, or to keep as parts; may be empty where there is only one.
        success: `auto` (a success flag if there is one, else what is usual in the format), `reward` (some reward is
            positive), `terminated` (the environment ended it), `yes`, `no`, `unknown`, or a key: its last value,
            as `any:KEY` whether it was ever true.
        episodes: which, counted from 0 in the order of the recording; None for all.
        actions: the key of the actions, where that is not the usual one.
        skip_bad: leave out episodes that cannot be used, instead of refusing all.
        links_under: a folder that links of a dataset may lead into, such as the cache that downloaded it.
        task_by: what says which task an episode is of: `instruction`, the sentence that goes with it, or a key that
            has one value in each episode; empty where all episodes are of one task.
        filter_key: the name of a subset that the recording itself lists, such as `train`; empty for all of it.
            `episodes` then counts within the subset.
        resample_hz: steps per second to bring the episodes to; None to leave them as they are.
        recorded_hz: steps per second of recordings that are to be brought to another rate, and do not say their own.
        parts: keep the keys as parts with names, also where they could be one vector; with no keys, all of them.
        of_model: the names of the parts that a known model has, which keys are matched to; empty for a vector.
    """

    observations: tuple[str, ...] = ()
    success: str = "auto"
    episodes: tuple[int, ...] | None = None
    actions: str | None = None
    skip_bad: bool = False
    links_under: Path | None = None
    task_by: str = ""
    filter_key: str = ""
    resample_hz: float | None = None
    recorded_hz: float | None = None
    parts: bool = False
    of_model: tuple[str, ...] = ()

    @property
    def by_name(self) -> bool:
        """Whether parts are wanted, whatever the recording holds."""
        return self.parts or bool(self.of_model)

    def for_model(self, spec: Spec) -> "Selection":
        """The same for a model: with the names of the parts of its observations, if they have names."""
        return replace(self, of_model=tuple(part.name for part in spec.parts) if spec.composite else ())

    def pick(self, n_episodes: int) -> Sequence[int]:
        """The numbers of the episodes to read, of this many. Raises InvalidData."""
        if n_episodes == 0:
            raise InvalidData("episodes", "at least one episode", "none")
        wanted = range(n_episodes) if self.episodes is None else self.episodes
        if not wanted:
            raise InvalidData("episodes", f"at least one number from 0 to {n_episodes - 1}", "none")
        for index in wanted:
            if not 0 <= index < n_episodes:
                raise InvalidData("episodes", f"numbers from 0 to {n_episodes - 1}", str(index))
        return wanted

    def keys_among(self, known: Sequence[str], usual: tuple[str, ...], unread: str = "") -> tuple[str, ...]:
        """The keys of the observations to read: those that are named, of the model, all for parts, or else `usual`.

        Raises:
            InvalidData: an unknown one, or none for a part of the model; `unread` is then said of other keys.
        """
        if self.of_model and not self.observations:
            return tuple(keys_of(self.of_model, known, unread).values())
        wanted = self.observations or (tuple(known) if self.parts else usual)
        for key in wanted:
            if key not in known:
                raise InvalidData("observations", f"some of {', '.join(known) or 'none'}", ascii(key)[:80])
        return wanted

    @property
    def task_keys(self) -> tuple[str, ...]:
        """The keys that may say the task of an episode, the first of those that it has."""
        return INSTRUCTION_KEYS if self.task_by == "instruction" else (self.task_by,) if self.task_by else ()

    @property
    def flag_keys(self) -> tuple[str, ...]:
        """The keys of flags that the rule of success may read; a reader need not look at any others."""
        if self.success in {"reward", "terminated", *WORDS}:
            return ()
        return SUCCESS_KEYS if self.success == "auto" else (self.success.removeprefix("any:"),)

    @property
    def unasked_flags(self) -> tuple[str, ...]:
        """Those of them that may be missing, as nobody asked for one by its name."""
        return SUCCESS_KEYS if self.success == "auto" else ()


@dataclass(frozen=True)
class Skipped:
    """An episode that was left out, by its name in the recording, and why."""

    episode: str
    reason: str


@dataclass(frozen=True)
class Recorded:
    """The episodes of a dataset, its steps per second if it says so, and what is worth knowing about the reading.

    Attributes:
        episodes: what was read.
        rate_hz: steps per second; None where the dataset does not say.
        remarks: what was left out, assumed or doubtful, for each of `episodes`.
        skipped: what could not be used, with `Selection.skip_bad`.
        tasks: of which task each of `episodes` is; empty strings unless `Selection.task_by` says what tells.
    """

    episodes: tuple[Episode, ...]
    rate_hz: float | None = None
    remarks: tuple[tuple[QualityWarning, ...], ...] = ()
    skipped: tuple[Skipped, ...] = ()
    tasks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.tasks) != len(self.episodes):
            object.__setattr__(self, "tasks", ("",) * len(self.episodes))
        if len(self.remarks) != len(self.episodes):
            object.__setattr__(self, "remarks", ((),) * len(self.episodes))

    @classmethod
    def of(cls, episodes: Sequence[Episode], rate_hz: object = None) -> "Recorded":
        """Make one. A rate that is not a positive number is not used, and a remark says so."""
        known = isinstance(rate_hz, int | float) and not isinstance(rate_hz, bool) and 0 < rate_hz < math.inf
        made = cls(tuple(episodes), float(rate_hz) if known else None)  # type: ignore[arg-type]
        return made if known or rate_hz is None else made.remarked(_UNKNOWN_RATE)

    def remarked(self, *remarks: QualityWarning) -> "Recorded":
        """The same, with remarks about every episode."""
        return replace(self, remarks=tuple(own + remarks for own in self.remarks))


_UNKNOWN_RATE = QualityWarning("rate-unknown", "the recording's rate is not a positive number, and is not used")


@dataclass(frozen=True)
class Steps:
    """One episode as recorded: t actions, and t or t + 1 of every observation, by their keys.

    `terminated` is the last flag of it, and `flags` are as recorded too: they are read only if they are asked for.
    `remarks` say what the reader left out, or found doubtful; `labels` hold what may say its task.
    """

    observations: Mapping[str, Array]
    actions: Array
    rewards: Array | None = None
    terminated: object = None
    flags: Mapping[str, Array] = field(default_factory=dict)
    remarks: tuple[QualityWarning, ...] = ()
    labels: Mapping[str, object] = field(default_factory=dict)


def gather(
    selection: Selection,
    names: Sequence[str],
    read: Callable[[int], Steps],
    *,
    rate_hz: object = None,
    usual_success: str = "unknown",
    subset: Callable[[str], Sequence[int]] | None = None,
) -> Recorded:
    """The episodes that `selection` picks: how every format that records steps reads them.

    Args:
        selection: which, and whether bad ones are left out.
        names: of all episodes of the recording, for errors.
        read: the steps of the i-th of them.
        rate_hz: steps per second, as the recording says it.
        usual_success: the rule of success in this format.
        subset: the numbers of the episodes in a subset by its name, or InvalidData; None where there are no subsets.

    Raises:
        InvalidData: a selection of nothing, or an episode that cannot be used; with `skip_bad` only if none can.
    """

    def one(index: int) -> tuple[Episode, tuple[QualityWarning, ...], str]:
        steps = read(index)
        return (*_convert(steps, selection, usual_success), _task(steps, selection))

    among = range(len(names)) if not selection.filter_key else _subset(selection.filter_key, subset)
    kept, skipped = usable(selection, [names[index] for index in among], lambda i: one(among[i]))
    made = Recorded.of([episode for episode, _, _ in kept], rate_hz)
    remarks = tuple(own + more for (_, own, _), more in zip(kept, made.remarks, strict=True))
    return replace(made, remarks=remarks, skipped=skipped, tasks=tuple(task for _, _, task in kept))


def _subset(key: str, subset: Callable[[str], Sequence[int]] | None) -> Sequence[int]:
    if subset is None:
        raise InvalidData("filter", "none, since the recording lists no subsets of its episodes", ascii(key)[:80])
    return subset(key)


def _task(steps: Steps, selection: Selection) -> str:
    """The name of the episode's task. Raises InvalidData where nothing says it, or its value changes."""
    if not selection.task_by:
        return ""
    found = [steps.labels[key] for key in selection.task_keys if key in steps.labels]
    if not found:
        known = ", ".join(sorted(steps.labels)) or "nothing"
        raise InvalidData("task", f"a value of {selection.task_by}, of {known}", "none")
    if isinstance(found[0], str | bytes):
        text = found[0] if isinstance(found[0], str) else found[0].decode(errors="replace")
    else:
        rows = np.atleast_1d(np.asarray(found[0]))
        if not len(rows) or not (rows == rows[:1]).all():
            raise InvalidData("task", f"one value of {selection.task_by} in an episode", f"{len(rows)} that differ")
        value = rows[0]
        text = value.decode(errors="replace") if isinstance(value, bytes) else " ".join(map(str, np.ravel(value)))
    if not text.strip():
        raise InvalidData("task", f"a value of {selection.task_by}", "nothing")
    return " ".join(text.split())[:200]


def usable(selection: Selection, names: Sequence[str], read: Callable[[int], T]) -> tuple[list[T], tuple[Skipped, ...]]:
    """What `read` gives for the chosen episodes, and with `skip_bad` those that it refuses. Raises InvalidData."""
    kept, skipped = [], []
    for index in selection.pick(len(names)):
        try:
            kept.append(read(index))
        except InvalidData as error:
            if not selection.skip_bad:
                raise error.within(names[index]) if names[index] else error from error
            skipped.append(Skipped(names[index] or "episode", str(error)))
    if not kept:
        first = skipped[0]
        got = f"{len(skipped)} that cannot ({first.episode}: {first.reason})"
        raise InvalidData("episodes", "at least one that can be used", got)
    return kept, tuple(skipped)


def _convert(steps: Steps, selection: Selection, usual: str) -> tuple[Episode, tuple[QualityWarning, ...]]:
    """The episode, and remarks. A recording without the observation after the last action loses that action."""
    observations = observed(steps.observations, selection.observations, selection.of_model, selection.parts)
    actions = np.asarray(steps.actions)
    if actions.ndim == 0:
        raise InvalidData("actions", "one per step, [t, a]", "a single number")
    n_seen, n_done = len(observations), len(actions)
    if n_seen not in {n_done, n_done + 1}:
        raise InvalidData("observations", f"{n_done} or {n_done + 1} of them for {n_done} actions", str(n_seen))
    rewards = None if steps.rewards is None else column("rewards", np.asarray(steps.rewards))
    if rewards is not None and len(rewards) != n_done:
        raise InvalidData("rewards", f"{n_done} of them for {n_done} actions", str(len(rewards)))
    success, remarks = _success(steps, selection.success, usual)
    n_steps = n_seen - 1
    if n_steps < n_done:
        remarks = (_lost(rewards), *remarks)
    kept = None if rewards is None else rewards[:n_steps]
    return Episode.of(observations, actions[:n_steps], kept, success), steps.remarks + remarks


def _lost(rewards: Array | None) -> QualityWarning:
    reward = float(rewards[-1]) if rewards is not None and rewards.size else 0.0
    which = f", and with it a reward of {reward:g}" if reward else ""
    return QualityWarning(
        "last-action-lost", f"no observation was recorded after the last action, which is left out{which}"
    )


def _success(steps: Steps, rule: str, usual: str) -> tuple[bool | None, tuple[QualityWarning, ...]]:
    assumed: tuple[QualityWarning, ...] = ()
    if rule == "auto":
        rule = next((key for key in SUCCESS_KEYS if np.size(steps.flags.get(key, ()))), usual)
        if rule == usual == "reward" and steps.rewards is not None:
            message = "there is no success flag, and a positive reward is taken for success"
            assumed = (QualityWarning("success-assumed", message),)
    return _by_rule(steps, rule), assumed


def _by_rule(steps: Steps, rule: str) -> bool | None:
    if rule in WORDS:
        return WORDS[rule]
    if rule == "reward":
        return None if steps.rewards is None else bool((np.asarray(steps.rewards) > 0).any())
    if rule == "terminated":
        return flag("terminated", steps.terminated)
    key = rule.removeprefix("any:")
    recorded = np.asarray(steps.flags.get(key, ()))
    if not recorded.size:
        known = ", ".join((*sorted(steps.flags), "auto", "reward", "terminated", *WORDS))
        raise InvalidData("success", f"one of {known}", key or "nothing")
    found = flags(key, recorded)
    return any_flag(found) if rule.startswith("any:") else found[-1]
