"""Models in memory: the current versions, a few others, and those in use."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from metalearn.bundle import Bundle
from metalearn.confidence import Confidence
from metalearn.config import ModelConfig
from metalearn.data.asks import AskOffer
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.recognition import RecognitionCalibration
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
    recognition: RecognitionCalibration = field(default_factory=RecognitionCalibration)

    @property
    def spec(self) -> Spec:
        """The spec of the tasks that the model acts in."""
        return self.bundle.spec

    @property
    def asks(self) -> tuple[AskOffer, ...]:
        """What the model was trained for beyond the task itself."""
        return self.bundle.asks


def units_of(model: Model) -> Units:
    """Return the units that a model counts in."""
    return Units(model.spec, **dict(ModelConfig.model_validate(model.bundle.model).units))


class ModelCache:
    """Loaded versions. Those that are not current are dropped, the least recently used first.

    A dropped version is still found here while a caller uses it.

    Args:
        most: the number of versions that stay beside the current ones.
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
        """The current version of each model, as far as it is known here."""
        return dict(self._current)

    def note(self, name: str, version: int | None) -> None:
        """Set the current version of a model; None: it has none."""
        if self._current.get(name) == version:
            return
        with self._lock:
            if version is None:
                self._current.pop(name, None)
            else:
                self._current[name] = version
            self._drop_unused()

    def get(self, key: Key) -> Model | None:
        """Return a version if it is in memory, else None, and mark it as used. Never blocks."""
        model = self.cached(key)
        if model is not None:
            self._used[key] = next(self._count)
        return model

    def cached(self, key: Key) -> Model | None:
        """Return a version if it is in memory, else None, without marking it as used."""
        return self._kept.get(key) or self._alive.get(key)

    def load(self, key: Key, make: Callable[[], Model]) -> Model:
        """Return a version, made by the first caller. Others wait for it only if they need the same version."""
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            model = self.get(key)
            if model is None:
                model = make()
            self.put(model)
        return model

    def put(self, model: Model) -> None:
        """Add a version."""
        key = (model.name, model.version)
        with self._lock:
            self._kept[key] = self._alive[key] = model
            self._used[key] = next(self._count)
            self._drop_unused()

    def _drop_unused(self) -> None:
        others = [key for key in self._kept if self._current.get(key[0]) != key[1]]
        others.sort(key=lambda key: self._used.get(key, -1))
        for key in others[: max(0, len(others) - self._most)]:
            del self._kept[key]
        for key in [key for key in list(self._used) if key not in self._alive]:
            self._used.pop(key, None)
            if not (lock := self._loading.get(key)) or not lock.locked():
                self._loading.pop(key, None)
