"""Models in memory: the current ones, a few others, and whatever somebody is using."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakValueDictionary

import numpy as np

from metalearn.bundle import Bundle
from metalearn.confidence import Confidence
from metalearn.data.episode import Episode
from metalearn.data.spec import Spec
from service.inference import Runtime

Key = tuple[str, int]  # name and version


@dataclass(frozen=True, eq=False)
class Model:
    """One version of a model, ready to act."""

    name: str
    version: int
    bundle: Bundle
    runtime: Runtime
    confidence: Confidence | None = None

    @property
    def spec(self) -> Spec:
        """Of the tasks it acts in."""
        return self.bundle.spec

    @property
    def asks(self) -> tuple[str, ...]:
        """The kinds of ask that it was trained for."""
        return tuple(self.bundle.model.get("asks", ()))

    @cached_property
    def example(self) -> Episode:
        """An episode that it takes as it is, as a demo and as a trial."""
        return self.spec.example_episode(np.random.default_rng(0))


class ModelCache:
    """Versions by name and number. Those that are not current are let go, the least recently used one first.

    One that is let go is not taken from whoever is using it, and is found here until they are done.

    Args:
        most: versions that stay beside the current ones.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[Key, Model] = {}
        self._alive: WeakValueDictionary[Key, Model] = WeakValueDictionary()
        self._used: dict[Key, int] = {}
        self._current: dict[str, int] = {}
        self._count = itertools.count()
        self._lock = threading.Lock()
        self._loading: dict[Key, threading.Lock] = {}

    @property
    def current(self) -> dict[str, int]:
        """The current versions, as far as they were asked for."""
        return dict(self._current)

    def note(self, name: str, version: int | None) -> None:
        """That this version is the current one now."""
        if self._current.get(name) == version:
            return
        with self._lock:
            if version is None:
                self._current.pop(name, None)
            else:
                self._current[name] = version
            self._let_go()

    def get(self, key: Key) -> Model | None:
        """A version that is in memory. Never waits."""
        model = self.cached(key)
        if model is not None:
            self._used[key] = next(self._count)
        return model

    def cached(self, key: Key) -> Model | None:
        """The same, and that is no use of it."""
        return self._kept.get(key) or self._alive.get(key)

    def load(self, key: Key, make: Callable[[], Model]) -> Model:
        """A version; made by whoever comes first, while others who want the same one wait, and nobody else does."""
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            model = self.get(key)
            if model is None:
                model = make()
            self.put(model)
        return model

    def put(self, model: Model) -> None:
        """Keep a version, for as long as there is room."""
        key = (model.name, model.version)
        with self._lock:
            self._kept[key] = self._alive[key] = model
            self._used[key] = next(self._count)
            self._let_go()

    def _let_go(self) -> None:
        others = [key for key in self._kept if self._current.get(key[0]) != key[1]]
        others.sort(key=lambda key: self._used.get(key, -1))
        for key in others[: max(0, len(others) - self._most)]:
            del self._kept[key]
        for key in [key for key in list(self._used) if key not in self._alive]:
            self._used.pop(key, None)
            if not (lock := self._loading.get(key)) or not lock.locked():
                self._loading.pop(key, None)
