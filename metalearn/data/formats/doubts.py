"""What is doubtful about recorded steps, as remarks for the quality report: clocks with holes, observations that jump.

Refuses nothing. Does not know formats.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.names import near
from metalearn.data.quality import QualityWarning

_UNEVEN = 0.5  # of a step: a frame that comes later or earlier than this is missing, or twice there
_ANOTHER_RATE = 0.1
_LIKELY = 0.7  # `reward` for `rewards`, and for `next.reward`


def of_timestamps(times: Array, rate_hz: float | None) -> list[QualityWarning]:
    """A remark if seconds `[t]` have a hole, run backwards, or are at another rate than the recording says."""
    steps = np.diff(np.asarray(times, np.float64).reshape(-1))
    if not steps.size or not np.isfinite(steps).all():
        return [] if not steps.size else [QualityWarning("timestamps-unknown", "some of its timestamps are no numbers")]
    usual = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - usual) > _UNEVEN * abs(usual)) if usual > 0 else np.flatnonzero(steps <= 0)
    remarks = []
    if odd.size:
        worst = int(odd[np.argmax(np.abs(steps[odd] - usual))])
        what = f"a hole of {steps[worst]:.3g} s" if steps[worst] > 0 else f"a step back of {-steps[worst]:.3g} s"
        message = f"its timestamps have {what} after frame {worst}, where a step takes {usual:.3g} s"
        more = f" ({odd.size} such places)" if odd.size > 1 else ""
        remarks.append(QualityWarning("timestamps-uneven", message + more))
    if rate_hz is not None and usual > 0 and abs(1 / usual - rate_hz) > _ANOTHER_RATE * rate_hz:
        message = f"its timestamps are those of {1 / usual:.3g} Hz, and the recording says {rate_hz:.3g} Hz"
        remarks.append(QualityWarning("timestamps-differ", message))
    return remarks


def of_next_observations(seen: Mapping[str, Array], following: Mapping[str, Array]) -> list[QualityWarning]:
    """A remark if the observation after a step is not the one before the next step: `[t, ...]` each, by their keys."""
    jumps = [
        key
        for key, after in following.items()
        if after.shape == seen[key].shape and not np.array_equal(after[:-1], seen[key][1:], equal_nan=True)
    ]
    if not jumps:
        return []
    message = f"what is observed after a step is not what is observed before the next: {listed(jumps)}"
    return [QualityWarning("observations-jump", f"{message}; the latter is used")]


def of_names(present: Iterable[str], wanted: Sequence[str], known: Collection[str] = ()) -> list[QualityWarning]:
    """A remark for every field that a format may have, and this recording has under a name that is only near.

    Args:
        present: the names that the recording has.
        wanted: the fields that it may have.
        known: other names of the format, which are not meant for one of these.
    """
    names = sorted(present)
    others = [name for name in names if name not in wanted and name not in known]
    remarks = []
    for name in wanted:
        likely = [] if name in names else [one for one in others if near(one, [name], _LIKELY) is not None]
        if likely:
            remarks.append(
                QualityWarning("perhaps-meant", f"there is no {name}, and {likely[0]} is not read: is it meant?")
            )
    return remarks


def of_flags(present: Iterable[str], keys: Sequence[str]) -> list[QualityWarning]:
    """A remark if none of the flags that would do is there, but a name that is near one."""
    names = set(present)
    return [] if names.intersection(keys) else of_names(names, keys)[:1]


def of_numbered(present: Iterable[str], prefix: str) -> list[QualityWarning]:
    """A remark about groups whose names are near `PREFIX_0`, `PREFIX_1`, ..., and which are therefore not read."""
    usual = re.compile(rf"{prefix}_[0-9]+")
    odd = [
        name
        for name in present
        if not usual.fullmatch(name) and near(re.sub("[0-9]", "", name), [f"{prefix}_"], _LIKELY) is not None
    ]
    if not odd:
        return []
    return [QualityWarning("perhaps-meant", f"not read, as they are no {prefix}_NUMBER: {listed(odd)}")]


def listed(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(sorted(names)[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
