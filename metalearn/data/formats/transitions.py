"""Steps of many episodes in one array after another: where each episode begins and ends, going by flags and jumps.

Does not know formats.
"""

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from metalearn.data.quality import QualityWarning
from metalearn.data.values import column

NO_END = QualityWarning(
    "end-unknown", "no flag says that it ended: the recording stops in it, and what there is of it is used"
)
CUT = QualityWarning(
    "cut-at-jump", "its last step is followed by one from elsewhere, without a flag that it ended: it was cut there"
)


def ends_of(field: str, flags: Array) -> Array:
    """Flags per step as booleans. Raises InvalidData for anything but true and false, 1 and 0."""
    given = column(field, flags)
    if given.dtype.kind not in "biuf" or not (known := (given == 0) | (given == 1)).all():
        where = 0 if given.dtype.kind not in "biuf" else int(np.flatnonzero(~known)[0])
        raise InvalidData(f"{field}[{where}]", "true, false, 1 or 0", str(given[where])[:40])
    return given.astype(bool)


def spans(ends: Array) -> list[slice]:
    """The steps of each episode, where `ends` `[n]` says which are the last ones; also those after the last end."""
    after = [int(i) + 1 for i in np.flatnonzero(ends)]
    if len(ends) and (not after or after[-1] < len(ends)):
        after.append(len(ends))
    return [slice(start, stop) for start, stop in zip([0, *after], after, strict=False)]


def jumps(observations: Array, following: Array) -> Array:
    """Of each step `[n]` but the last, whether the observation after it is not the one before the next step."""
    differ = (following[:-1] != observations[1:]).reshape(max(len(observations) - 1, 0), -1).any(axis=1)
    return np.append(differ, False) if len(observations) else np.zeros(0, bool)
