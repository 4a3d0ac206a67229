"""One batch of requests of many callers through a model. Pure; knows no threads and no queue."""

import math
import time
from collections.abc import Sequence

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from service.inference.requests import ActRequest, ActResult, BeliefRequest, Outcome
from service.inference.runtime import Runtime


def infer_beliefs(runtime: Runtime, requests: Sequence[BeliefRequest]) -> list[Outcome]:
    """The belief of each context; one bad context is no reason to fail its neighbours."""
    if not requests:
        return []
    began_s = time.perf_counter()
    try:
        beliefs = runtime.infer_belief([request.context for request in requests])
    except Exception as error:
        if len(requests) == 1:
            return [(requests[0].future, error)]
        return [outcome for request in requests for outcome in infer_beliefs(runtime, [request])]
    _note(requests, began_s)
    return [
        (
            request.future,
            belief
            if np.isfinite(belief.latent).all() and np.isfinite(belief.probabilities).all()
            else overflow("episodes"),
        )
        for request, belief in zip(requests, beliefs, strict=True)
    ]


def act(runtime: Runtime, requests: Sequence[ActRequest]) -> list[Outcome]:
    """The actions of each request."""
    if not requests:
        return []
    began_s = time.perf_counter()
    try:
        actions = runtime.act(*_rows(requests))
    except Exception as error:
        return [(request.future, error) for request in requests]
    ended_s = _note(requests, began_s)
    infer_ms = (ended_s - began_s) * 1e3
    sound = finite(actions)
    outcomes: list[Outcome] = []
    start = 0
    for request in requests:
        end = start + len(request.observations)
        rows = actions[start:end]
        start = end
        if sound or finite(rows):
            outcomes.append((request.future, ActResult(rows, (began_s - request.times.queued_s) * 1e3, infer_ms)))
        else:
            outcomes.append((request.future, overflow("observations")))
    return outcomes


def finite(actions: Array) -> bool:
    """Whether all are numbers."""
    # The sum of squares takes one look; where it overflows, a second one decides.
    return math.isfinite(np.vdot(actions, actions)) or bool(np.isfinite(actions).all())


def repeated(conditioning: Array, n_rows: int) -> Array:
    """One conditioning for each row."""
    return conditioning[None] if n_rows == 1 else conditioning[None].repeat(n_rows, 0)


def overflow(field: str) -> InvalidData:
    """What is wrong with numbers that make a model answer with none."""
    return InvalidData(field, "numbers that the model can bear", "an overflow in it")


def _rows(requests: Sequence[ActRequest]) -> tuple[Array, Array]:
    """Conditioning `[b, c]` and observations `[b, *o]` of all requests."""
    if len(requests) == 1:
        observations = requests[0].observations
        return repeated(requests[0].conditioning, len(observations)), observations
    conditioning = np.array([request.conditioning for request in requests])
    observations = np.concatenate([request.observations for request in requests])
    if len(observations) > len(requests):
        conditioning = np.repeat(conditioning, [request.n_rows for request in requests], axis=0)
    return conditioning, observations


def _note(requests: Sequence[BeliefRequest | ActRequest], began_s: float) -> float:
    """The time now, when the batch of these requests ended."""
    ended_s = time.perf_counter()
    for request in requests:
        request.times.began_s, request.times.ended_s = began_s, ended_s
    return ended_s
