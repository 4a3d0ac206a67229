"""A cache of adapted policies, bounded in bytes."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from metalearn.adapter import Belief
from metalearn.confidence import ConfidenceEstimate
from metalearn.data.episode import Array
from service.inference.runtime import Runtime

Key = tuple[str, int]  # an adaptation and one of its versions
_OVERHEAD = 1024  # bytes of the Python objects around the arrays of one entry


@dataclass(frozen=True, eq=False)
class AdaptedPolicy:
    """A belief, the conditioning of its most probable hypothesis, and the confidence.

    `confidence` is None if the model is not calibrated.
    """

    belief: Belief
    conditioning: Array
    confidence: ConfidenceEstimate | None

    def conditioning_under(self, hypothesis: int, runtime: Runtime) -> Array:
        """Return the conditioning under any hypothesis; `runtime` must be the model of the belief."""
        return (
            self.conditioning
            if hypothesis == self.belief.map_hypothesis
            else runtime.conditioning(self.belief, hypothesis)
        )

    @property
    def n_bytes(self) -> int:
        """The approximate size in memory."""
        return self.belief.latent.nbytes + self.belief.probabilities.nbytes + self.conditioning.nbytes + _OVERHEAD


class BeliefCache:
    """A least-recently-used cache. Safe to share between threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._n_bytes = max_bytes, 0
        self._entries: OrderedDict[Key, AdaptedPolicy] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def n_bytes(self) -> int:
        """The size of all entries."""
        return self._n_bytes

    @property
    def adaptations(self) -> set[str]:
        """The adaptations with entries in the cache."""
        with self._lock:
            return {adaptation_id for adaptation_id, _ in self._entries}

    def get(self, key: Key) -> AdaptedPolicy | None:
        """Return an entry, or None, and mark it as the most recently used."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: Key, policy: AdaptedPolicy) -> None:
        """Add an entry, and drop the least recently used ones until the rest fits."""
        with self._lock:
            self._drop(key)
            self._entries[key] = policy
            self._n_bytes += policy.n_bytes
            while self._n_bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))

    def evict(self, adaptation_id: str) -> None:
        """Drop every version of an adaptation."""
        with self._lock:
            for key in [key for key in self._entries if key[0] == adaptation_id]:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        dropped = self._entries.pop(key, None)
        if dropped is not None:
            self._n_bytes -= dropped.n_bytes
