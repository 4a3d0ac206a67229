"""Measurement of batches, to decide if one is faster than handing it to another thread."""

import weakref

from service.inference.runtime import Runtime

_TRY_EVERY = 32
"""One of so many batches that seem too long is tried on the event loop."""
_GROWTH = 1.25
"""The largest growth of a known duration with one batch: what a batch takes is what it takes undisturbed."""
_TRY_FACTOR = 8
"""A batch that seems longer than the limit times this is never tried."""

_HAND_OVER_S = 10e-6
"""Approximate cost of handing a request to the worker and its result back: a faster batch stays on the event loop."""
ALONE = 4
"""A single request may take so many times the limit: no batch forms meanwhile, and two threads would take turns."""


class LatencyTracker:
    """Durations of batches, by model and size, and the decision if a batch is short.

    In the worker a batch also waits for the interpreter lock. One that seems a little too long there is therefore
    tried on the event loop now and then.
    """

    def __init__(self, short_s: float) -> None:
        self._short_s = short_s
        self._known: dict[int, tuple[weakref.ref[Runtime], dict[int, float]]] = {}
        self._n_long = 0

    def record(self, runtime: Runtime, n_rows: int, taken_s: float) -> None:
        """Record the duration of a batch. Outliers, when other work had the processor or the lock, hardly count."""
        known, size = self._of(runtime), n_rows.bit_length()
        known[size] = min(taken_s, _GROWTH * known.get(size, taken_s))

    def is_short(self, runtime: Runtime, n_rows: int, n_requests: int = 1, patience: float = 1) -> bool:
        """Return True if a batch of this size is known to be short, or worth a try. An unknown size is neither.

        With `patience` it may take so many times the limit.
        """
        taken_s = self._of(runtime).get(n_rows.bit_length())
        short_s = max(self._short_s, n_requests * _HAND_OVER_S)
        if taken_s is None or taken_s <= patience * short_s:
            return taken_s is not None
        self._n_long += 1
        return self._n_long % _TRY_EVERY == 0 and taken_s <= _TRY_FACTOR * short_s

    def _of(self, runtime: Runtime) -> dict[int, float]:
        """Return the durations of a model, by identity: a WeakKeyDictionary takes a microsecond per look-up."""
        entry = self._known.get(id(runtime))
        if entry is None or entry[0]() is not runtime:
            self._known = {key: one for key, one in self._known.items() if one[0]() is not None}
            entry = self._known[id(runtime)] = (weakref.ref(runtime), {})
        return entry[1]
