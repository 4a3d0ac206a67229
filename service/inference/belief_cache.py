"""Adapted policies in memory, bounded in bytes; the ones that were not used for longest go first."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from metalearn.adapter import Belief
from metalearn.confidence import ConfidenceEstimate
from metalearn.data.episode import Array
from service.inference.runtime import Runtime

Key = tuple[str, int]  # an adaptation and one of its versions
_AROUND = 1024  # bytes of Python objects around the arrays of one entry


@dataclass(frozen=True, eq=False)
class AdaptedPolicy:
    """What a model infers from a context, its conditioning under the most probable hypothesis, and how far to trust it.

    `confidence` is None where the model cannot say.
    """

    belief: Belief
    conditioning: Array
    confidence: ConfidenceEstimate | None

    def conditioning_under(self, hypothesis: int, runtime: Runtime) -> Array:
        """The conditioning under any hypothesis, computed by `runtime`, which is the model."""
        return (
            self.conditioning
            if hypothesis == self.belief.map_hypothesis
            else runtime.conditioning(self.belief, hypothesis)
        )

    @property
    def n_bytes(self) -> int:
        """That it takes in memory, about."""
        return self.belief.latent.nbytes + self.belief.probabilities.nbytes + self.conditioning.nbytes + _AROUND


class BeliefCache:
    """A least-recently-used cache. Safe to share between threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._n_bytes = max_bytes, 0
        self._entries: OrderedDict[Key, AdaptedPolicy] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def n_bytes(self) -> int:
        """That all entries take."""
        return self._n_bytes

    @property
    def adaptations(self) -> set[str]:
        """Those that something is cached of."""
        with self._lock:
            return {adaptation_id for adaptation_id, _ in self._entries}

    def get(self, key: Key) -> AdaptedPolicy | None:
        """What is cached, now the most recently used."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: Key, policy: AdaptedPolicy) -> None:
        """Keep it, and drop what there is no room for (this one too, if it alone is too large)."""
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
        gone = self._entries.pop(key, None)
        if gone is not None:
            self._n_bytes -= gone.n_bytes
