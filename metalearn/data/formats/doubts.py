"""What is doubtful about recorded steps, as remarks for the quality report: clocks with holes, observations that jump.

Refuses nothing. Does not know formats.
"""

from collections.abc import Iterable, Mapping, Sequence

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


def of_names(present: Iterable[str], wanted: Sequence[str]) -> list[QualityWarning]:
    """A remark for every field that a format may have, and this recording has under a name that is only near."""
    names = sorted(present)
    remarks = []
    for name in wanted:
        likely = [] if name in names else [one for one in names if near(one, [name], _LIKELY) is not None]
        if likely:
            remarks.append(
                QualityWarning("perhaps-meant", f"there is no {name}, and {likely[0]} is not read: is it meant?")
            )
    return remarks


def listed(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(sorted(names)[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
