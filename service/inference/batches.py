"""One forward pass of a model for the requests of many callers. Knows no threads and no queue."""

import math
import time
from collections.abc import Sequence

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from service.inference.requests import ActRequest, ActResult, BeliefRequest, HeadsRequest, Outcome, Request
from service.inference.runtime import Runtime


def infer_beliefs(runtime: Runtime, requests: Sequence[BeliefRequest]) -> list[Outcome]:
    """Infer the belief of each context. If the batch fails, each context is tried alone."""
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
            belief if all(np.isfinite(part).all() for part in belief.parts) else overflow("episodes"),
        )
        for request, belief in zip(requests, beliefs, strict=True)
    ]


def act(runtime: Runtime, requests: Sequence[ActRequest]) -> list[Outcome]:
    """Compute the actions of each request."""
    if not requests:
        return []
    began_s = time.perf_counter()
    try:
        actions = runtime.act(*_rows(requests))
    except Exception as error:
        return [(request.future, error) for request in requests]
    ended_s = _note(requests, began_s)
    infer_ms = (ended_s - began_s) * 1e3
    all_finite = finite(actions)
    outcomes: list[Outcome] = []
    start = 0
    for request in requests:
        end = start + len(request.observations)
        rows = actions[start:end]
        start = end
        if all_finite or finite(rows):
            outcomes.append((request.future, ActResult(rows, (began_s - request.times.queued_s) * 1e3, infer_ms)))
        else:
            outcomes.append((request.future, overflow("observations")))
    return outcomes


def heads(request: HeadsRequest) -> Outcome:
    """Compute what the policies of a request would do. One request is a batch by itself."""
    began_s = time.perf_counter()
    try:
        found = request.runtime.heads(request.latents, request.hypotheses, request.observations, request.actions)
    except Exception as error:
        return request.future, error
    _note([request], began_s)
    whole = bool(np.isfinite(found.out).all()) and bool(np.isfinite(found.log_sigma).all())
    return request.future, found if whole else overflow("episodes")


def finite(actions: Array) -> bool:
    """Return True if no action is NaN or infinite."""
    # The sum of squares needs one pass; only if it overflows, a second one decides.
    return math.isfinite(np.vdot(actions, actions)) or bool(np.isfinite(actions).all())


def repeated(conditioning: Array, n_rows: int) -> Array:
    """Repeat one conditioning for each row."""
    return conditioning[None] if n_rows == 1 else conditioning[None].repeat(n_rows, 0)


def overflow(field: str) -> InvalidData:
    """Make the error for finite inputs that overflow inside the model."""
    return InvalidData(field, "numbers that the model can bear", "an overflow in it")


def _rows(requests: Sequence[ActRequest]) -> tuple[Array, Array]:
    """Join the conditioning `[b, c]` and observations `[b, *o]` of all requests."""
    if len(requests) == 1:
        observations = requests[0].observations
        return repeated(requests[0].conditioning, len(observations)), observations
    conditioning = np.array([request.conditioning for request in requests])
    observations = np.concatenate([request.observations for request in requests])
    if len(observations) > len(requests):
        conditioning = np.repeat(conditioning, [request.n_rows for request in requests], axis=0)
    return conditioning, observations


def _note(requests: Sequence[Request], began_s: float) -> float:
    """Store the start and end of the batch in its requests, and return the end."""
    ended_s = time.perf_counter()
    for request in requests:
        request.times.began_s, request.times.ended_s = began_s, ended_s
    return ended_s
