"""How uploaded episodes look, before anybody learns from them: length, bounds, standstill, copies, likeness.

Says what is there and warns of what is probably not meant; refuses nothing. Does not know where episodes come from.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from metalearn.confidence import UNLIKE, Confidence
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.data.parts import split
from metalearn.data.quality import EpisodeQuality, QualityWarning
from metalearn.data.spec import Spec

FEW_STEPS = 3
MUCH_CLIPPED = 0.5
ANOTHER_RATE = 0.1  # a tenth faster or slower than the model's is another rate


def inspect(
    context: Context,
    spec: Spec,
    confidence: Confidence | None = None,
    *,
    stored: Collection[str] = (),
    rate_hz: float | None = None,
) -> list[EpisodeQuality]:
    """One entry per episode, demos first.

    Args:
        context: the upload; its episodes fit `spec`.
        spec: of the model.
        confidence: of the model, for the likeness of the demos to its training tasks.
        stored: digests of episodes that are known already.
        rate_hz: of the recording, if it is known.
    """
    named = [(f"demos[{i}]", demo) for i, demo in enumerate(context.demos)]
    named += [(f"trials[{i}]", trial) for i, trial in enumerate(context.trials)]
    novelty = _novelty(context, confidence)
    first: dict[str, str] = {}
    found = []
    for name, episode in named:
        copy_of = first.get(episode.digest) or ("stored" if episode.digest in stored else None)
        first.setdefault(episode.digest, name)
        found.append(_inspect(name, episode, spec, copy_of, novelty.get(name), rate_hz))
    return found


def _inspect(
    name: str, episode: Episode, spec: Spec, copy_of: str | None, novelty: float | None, rate_hz: float | None
) -> EpisodeQuality:
    actions, seen = episode.actions, episode.observations
    rate = rate_hz or spec.rate_hz
    still = _constant(actions) if actions is not None and actions.ndim == 2 else ()
    quality = EpisodeQuality(
        episode=name,
        steps=len(episode),
        horizon=spec.horizon,
        rate_hz=rate,
        duration_s=len(episode) / rate,
        clipped=None if actions is None else _clipped(actions, spec),
        constant_actions=still,
        constant_observations=_constant_numbers(seen, spec),
        duplicate_of=copy_of,
        total_reward=None if episode.rewards is None else float(episode.rewards.sum(dtype=np.float64)),
        success=episode.success,
        novelty=novelty,
        warnings=(),
    )
    warnings = [*_of_length(quality, spec), *_of_motion(quality, episode, spec), *_of_meaning(quality, episode)]
    return replace(quality, warnings=tuple(warnings))


def _of_length(q: EpisodeQuality, spec: Spec) -> list[QualityWarning]:
    remarks = []
    if q.steps < FEW_STEPS:
        remarks.append(
            QualityWarning("short", f"only {q.steps} step{'s' * (q.steps > 1)}: too few to show how it is done")
        )
    if q.steps == spec.horizon and not q.success:
        remarks.append(QualityWarning("at-horizon", f"it ends at the horizon of {spec.horizon} steps: was it cut off?"))
    if abs(q.rate_hz - spec.rate_hz) > ANOTHER_RATE * spec.rate_hz:
        rates = f"recorded at {q.rate_hz:g} Hz, and the model acts at {spec.rate_hz:g} Hz"
        message = f"{rates}: resample it (--resample {spec.rate_hz:g})"
        remarks.append(QualityWarning("rate-differs", message))
    return remarks


def _of_motion(q: EpisodeQuality, episode: Episode, spec: Spec) -> list[QualityWarning]:
    remarks = []
    if q.clipped is not None and q.clipped >= MUCH_CLIPPED:
        message = f"{100 * q.clipped:.0f}% of the actions' numbers are at their bounds: are they in the right unit?"
        remarks.append(QualityWarning("clipped-actions", message))
    if q.steps < FEW_STEPS:
        return remarks
    actions = episode.actions
    if actions is not None and bool((actions == actions[:1]).all()):
        remarks.append(QualityWarning("constant-actions", "the action never changes"))
    if bool((episode.observations == episode.observations[:1]).all()):
        remarks.append(QualityWarning("constant-observations", "nothing that is observed ever changes"))
        return remarks
    return remarks + _of_parts(episode, spec)


def _of_parts(episode: Episode, spec: Spec) -> list[QualityWarning]:
    """Pictures without light and cameras that froze. Other parts may be meant to stand still, such as a goal."""
    remarks = []
    given = split(episode.observations)
    for part in spec.parts:
        if part.kind != "image" or (values := given.get(part.name)) is None:
            continue
        called = part.name or "the picture"
        if not values.any():
            remarks.append(QualityWarning("black-pictures", f"{called}: every pixel is 0 in all {len(values)} frames"))
        elif bool((values == values[:1]).all()):
            message = f"{called}: all {len(values)} frames are equal, as of a camera that froze"
            remarks.append(QualityWarning("frozen-camera", message))
    return remarks


def _of_meaning(q: EpisodeQuality, episode: Episode) -> list[QualityWarning]:
    remarks, demo = [], q.episode.startswith("demos")
    if q.duplicate_of is not None:
        what = "an episode that is stored already" if q.duplicate_of == "stored" else q.duplicate_of
        code = "duplicate-stored" if q.duplicate_of == "stored" else "duplicate"
        remarks.append(QualityWarning(code, f"the same, number by number, as {what}: it adds little"))
    if episode.actions is None and not demo:
        remarks.append(QualityWarning("no-actions", "a trial without its actions: the model does not know what it did"))
    if demo and q.success is False:
        remarks.append(
            QualityWarning("failed-demo", "a demonstration that failed is taken for one that shows what is wanted")
        )
    if not demo and not episode.scored:
        remarks.append(QualityWarning("no-outcome", "neither success nor rewards: nobody said how the trial went"))
    if q.novelty is not None and q.novelty >= UNLIKE:
        remarks.append(QualityWarning("unlike-training", "unlike every demonstration that the model was trained on"))
    return remarks


def _novelty(context: Context, confidence: Confidence | None) -> Mapping[str, float]:
    """Of each demo by its name; empty where the model cannot say."""
    if confidence is None or confidence.novelty is None or not context.demos:
        return {}
    known = confidence.novelty
    return {f"demos[{i}]": known.quantile(float(s)) for i, s in enumerate(known.scores(context.demos))}


def _clipped(actions: Array, spec: Spec) -> float | None:
    """The share of numbers at a bound, of those that have one."""
    if spec.discrete:
        return None
    space: Any = spec.action_space
    low, high = space.low, space.high
    bounded = np.isfinite(low) & np.isfinite(high)
    if not bounded.any():
        return None
    slack = 1e-6 * (high - low)[bounded]
    own = actions[:, bounded]
    return float(((own <= low[bounded] + slack) | (own >= high[bounded] - slack)).mean())


def _constant_numbers(observations: Array, spec: Spec) -> tuple[int, ...]:
    """The places, in the vector of an observation, of numbers that never change; pictures are left out."""
    given, found = split(observations), []
    for part in spec.parts:
        values = given.get(part.name)
        if values is not None and part.kind != "image":
            found += [part.start + i for i in _constant(values.reshape(len(values), -1))]
    return tuple(found)


def _constant(rows: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero((rows == rows[:1]).all(0)))
