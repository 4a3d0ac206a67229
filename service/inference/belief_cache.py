"""Understood contexts in memory, bounded in bytes; the ones that were not used for longest go first."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from metalearn.adapter import Belief
from metalearn.confidence import Judgement
from metalearn.data.episode import Array
from service.inference.runtime import Runtime

Key = tuple[str, int]  # an adaptation and one of its versions
_AROUND = 1024  # bytes of Python objects around the arrays of one entry


@dataclass(frozen=True, eq=False)
class Understood:
    """What a model makes of a context, how it acts under the most probable hypothesis, and how far it can be trusted.

    `judgement` is None where the model cannot say.
    """

    belief: Belief
    stance: Array
    judgement: Judgement | None

    def stance_under(self, hypothesis: int, runtime: Runtime) -> Array:
        """How the model, which `runtime` is, acts under a hypothesis."""
        return self.stance if hypothesis == self.belief.most_probable else runtime.stance(self.belief, hypothesis)

    @property
    def n_bytes(self) -> int:
        """That it takes in memory, about."""
        return self.belief.code.nbytes + self.belief.probabilities.nbytes + self.stance.nbytes + _AROUND


class Beliefs:
    """A least-recently-used memory. Safe to share between threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._n_bytes = max_bytes, 0
        self._entries: OrderedDict[Key, Understood] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def n_bytes(self) -> int:
        """That all entries take."""
        return self._n_bytes

    @property
    def adaptations(self) -> set[str]:
        """Those that something is remembered of."""
        with self._lock:
            return {adaptation_id for adaptation_id, _ in self._entries}

    def get(self, key: Key) -> Understood | None:
        """What is remembered, now the most recently used."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: Key, understood: Understood) -> None:
        """Remember, and forget what there is no room for (this one too, if it alone is too large)."""
        with self._lock:
            self._drop(key)
            self._entries[key] = understood
            self._n_bytes += understood.n_bytes
            while self._n_bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))

    def forget(self, adaptation_id: str) -> None:
        """Drop every version of an adaptation."""
        with self._lock:
            for key in [key for key in self._entries if key[0] == adaptation_id]:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        gone = self._entries.pop(key, None)
        if gone is not None:
            self._n_bytes -= gone.n_bytes
