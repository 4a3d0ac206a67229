"""How long batches take: whether one is shorter than a change of threads."""

import weakref

from service.inference.runtime import Runtime

_TRY_EVERY = 32
"""One of so many batches that look long is tried on the event loop,"""
_WORTH_A_TRY = 8
"""and none that looks so many times too long."""


_HAND_OVER_S = 10e-6
"""About what handing one request to the worker and its answer back costs: what takes less on the loop stays there."""


class LatencyTracker:
    """How long batches take, per model and size: the decision whether one is short.

    In the worker a batch also waits for its turn at the interpreter, so one that looks too long there, but not by far,
    is tried on the event loop now and then.
    """

    def __init__(self, short_s: float) -> None:
        self._short_s = short_s
        self._known: dict[int, tuple[weakref.ref[Runtime], dict[int, float]]] = {}
        self._n_asked = 0

    def record(self, runtime: Runtime, n_rows: int, taken_s: float) -> None:
        """A batch took so long. One long one among short ones may have been a hiccup of the machine."""
        known, size = self._of(runtime), n_rows.bit_length()
        known[size] = min(taken_s, 2 * known.get(size, taken_s))

    def is_short(self, runtime: Runtime, n_rows: int, n_requests: int = 1) -> bool:
        """Whether a batch of this size is known to be short, or worth a try; what was never done is not."""
        taken_s = self._of(runtime).get(n_rows.bit_length())
        short_s = max(self._short_s, n_requests * _HAND_OVER_S)
        if taken_s is None or taken_s <= short_s:
            return taken_s is not None
        self._n_asked += 1
        return self._n_asked % _TRY_EVERY == 0 and taken_s <= _WORTH_A_TRY * short_s

    def _of(self, runtime: Runtime) -> dict[int, float]:
        """By identity: a dictionary of weak references takes a microsecond to look into."""
        entry = self._known.get(id(runtime))
        if entry is None or entry[0]() is not runtime:
            self._known = {key: one for key, one in self._known.items() if one[0]() is not None}
            entry = self._known[id(runtime)] = (weakref.ref(runtime), {})
        return entry[1]
