"""One pass of a model over the jobs of many sessions. Pure: jobs in, outcomes out; knows no threads and no queue."""

import math
import time
from collections.abc import Sequence

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from service.inference.requests import Act, Acted, Outcome, Understand
from service.inference.runtime import Runtime


def understand(runtime: Runtime, jobs: Sequence[Understand]) -> list[Outcome]:
    """The belief of each context; one bad context is no reason to fail its neighbours."""
    if not jobs:
        return []
    began_s = time.perf_counter()
    try:
        beliefs = runtime.believe([job.context for job in jobs])
    except Exception as error:
        if len(jobs) == 1:
            return [(jobs[0].done, error)]
        return [outcome for job in jobs for outcome in understand(runtime, [job])]
    _note(jobs, began_s)
    return [
        (
            job.done,
            belief
            if np.isfinite(belief.code).all() and np.isfinite(belief.probabilities).all()
            else overflow("episodes"),
        )
        for job, belief in zip(jobs, beliefs, strict=True)
    ]


def act(runtime: Runtime, jobs: Sequence[Act]) -> list[Outcome]:
    """The actions of each job."""
    if not jobs:
        return []
    began_s = time.perf_counter()
    try:
        actions = runtime.act(*_rows(jobs))
    except Exception as error:
        return [(job.done, error) for job in jobs]
    ended_s = _note(jobs, began_s)
    infer_ms = (ended_s - began_s) * 1e3
    sound = finite(actions)
    outcomes: list[Outcome] = []
    start = 0
    for job in jobs:
        end = start + len(job.observations)
        rows = actions[start:end]
        start = end
        if sound or finite(rows):
            outcomes.append((job.done, Acted(rows, (began_s - job.times.queued_s) * 1e3, infer_ms)))
        else:
            outcomes.append((job.done, overflow("observations")))
    return outcomes


def finite(actions: Array) -> bool:
    """Whether all are numbers."""
    # The sum of squares takes one look; where it overflows, a second one decides.
    return math.isfinite(np.vdot(actions, actions)) or bool(np.isfinite(actions).all())


def repeated(stance: Array, n_rows: int) -> Array:
    """One stance for each row."""
    return stance[None] if n_rows == 1 else stance[None].repeat(n_rows, 0)


def overflow(field: str) -> InvalidData:
    """What is wrong with numbers that make a model answer with none."""
    return InvalidData(field, "numbers that the model can bear", "an overflow in it")


def _rows(jobs: Sequence[Act]) -> tuple[Array, Array]:
    """Stances `[b, s]` and observations `[b, *o]` of all jobs."""
    if len(jobs) == 1:
        observations = jobs[0].observations
        return repeated(jobs[0].stance, len(observations)), observations
    stances = np.array([job.stance for job in jobs])
    observations = np.concatenate([job.observations for job in jobs])
    if len(observations) > len(jobs):
        stances = np.repeat(stances, [job.n_rows for job in jobs], axis=0)
    return stances, observations


def _note(jobs: Sequence[Understand | Act], began_s: float) -> float:
    """The time now, when the pass of these jobs ended."""
    ended_s = time.perf_counter()
    for job in jobs:
        job.times.began_s, job.times.ended_s = began_s, ended_s
    return ended_s
