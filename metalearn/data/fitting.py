"""Meets recordings with a spec: shapes, bounds and lengths, bad episodes and actions a little out of bounds.

What it changes or leaves out it says, as remarks and skipped episodes. Does not know where the recordings come from.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metalearn.data.episode import Array, Episode
from metalearn.data.formats.selection import Recorded, Selection, usable
from metalearn.data.quality import QualityWarning
from metalearn.data.spec import Spec

Remarks = tuple[QualityWarning, ...]


def fit_recorded(recorded: Recorded, spec: Spec, role: str, *, clip: bool = False, skip_bad: bool = False) -> Recorded:
    """The recorded episodes as ones of this spec.

    Args:
        recorded: what a reader gave.
        spec: of the model that they are for.
        role: "demos" or "trials", for errors.
        clip: move actions that are out of bounds to the bounds.
        skip_bad: leave out episodes that do not fit, instead of refusing all.

    Raises:
        InvalidData: an episode that does not fit, by its place; with `skip_bad` only if none fits.
    """
    if not recorded.episodes:
        return recorded
    names = [f"{role}[{i}]" for i in range(len(recorded.episodes))]

    def one(index: int) -> tuple[Episode, Remarks]:
        episode, remarks = recorded.episodes[index], recorded.remarks[index]
        if clip and (clipped := spec.clip(episode)) is not episode:
            remarks += (_moved(episode.actions, clipped.actions),)
            episode = clipped
        return spec.fit(episode), remarks

    kept, skipped = usable(Selection(skip_bad=skip_bad), names, one)
    remarks = tuple(own for _, own in kept)
    return replace(
        recorded,
        episodes=tuple(episode for episode, _ in kept),
        remarks=remarks,
        skipped=recorded.skipped + skipped,
    )


def _moved(before: Array | None, after: Array | None) -> QualityWarning:
    assert before is not None and after is not None  # clipping made a difference
    far = np.abs(before.reshape(after.shape) - after)
    message = f"{int((far > 0).sum())} of its actions' numbers were out of bounds, by up to {far.max():.3g}"
    return QualityWarning("actions-moved", f"{message}, and were moved to the bounds")


def say_skipped(recorded: Recorded) -> Recorded:
    """The same, with a remark at the first episode about those that were left out, so that reports have it."""
    if not recorded.skipped or not recorded.episodes:
        return recorded
    reasons = "; ".join(f"{one.episode}: {one.reason}" for one in recorded.skipped)
    n = len(recorded.skipped)
    said = QualityWarning("others-skipped", f"{n} other{'s' * (n > 1)} could not be used and were left out: {reasons}")
    return replace(recorded, remarks=((*recorded.remarks[0], said), *recorded.remarks[1:]))


def joined(parts: Sequence[Recorded]) -> Recorded:
    """The episodes of several recordings as one, with their rate if they agree on it; if not, remarks say so."""
    rates = {part.rate_hz for part in parts if part.rate_hz is not None}
    together = Recorded(
        tuple(episode for part in parts for episode in part.episodes),
        rates.pop() if len(rates) == 1 else None,
        tuple(remarks for part in parts for remarks in part.remarks),
        tuple(one for part in parts for one in part.skipped),
    )
    if len(rates) < 2:
        return together
    listed = ", ".join(f"{rate:g}" for rate in sorted(rates))
    message = f"the recordings are at {listed} Hz, and no rate is sent; --resample HZ brings them to one"
    return together.remarked(QualityWarning("rates-differ", message))
