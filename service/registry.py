"""Which model is which: bundle folders become names with versions that stay the same for ever.

A registered bundle is kept in the data folder, so that adaptations made with it go on when the models folder
moves on. Does not know HTTP or sessions.
"""

import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from metalearn.bundle import Bundle
from metalearn.confidence import Confidence
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec
from service.engine import Runtime, RuntimeFactory
from service.errors import ModelNotFound, ModelUnavailable, quote
from service.storage import Storage

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


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

    @cached_property
    def example(self) -> Episode:
        """An episode that it takes as it is, as a demo and as a trial."""
        return self.spec.example_episode(np.random.default_rng(0))


def read_bundles(folder: Path) -> Mapping[str, Bundle]:
    """The bundles in `folder` by the names of their folders, or the one bundle that `folder` is.

    Raises:
        InvalidConfig: no such folder, a name that cannot stand in a URL, or a damaged bundle.
    """
    if (folder / "bundle.json").exists():
        bundle = Bundle.load(folder)
        found = {bundle.name: bundle}
    elif folder.is_dir():
        found = {path.parent.name: Bundle.load(path.parent) for path in sorted(folder.glob("*/bundle.json"))}
    else:
        raise InvalidConfig(f"no folder of models at {folder}")
    for name in found:
        if not _NAME.fullmatch(name):
            raise InvalidConfig(f"{name!r} cannot name a model: use letters, digits, dots, dashes and underscores")
    return found


class Registry:
    """The models on offer, and older versions of them on demand."""

    def __init__(self, storage: Storage, archive: Path, factory: RuntimeFactory) -> None:
        self._storage, self._archive, self._factory = storage, archive, factory
        self._models: dict[tuple[str, int], Model] = {}
        self._current: dict[str, int] = {}
        self._lock = threading.Lock()
        archive.mkdir(parents=True, exist_ok=True)

    def offer(self, name: str, bundle: Bundle, now: float) -> Model:
        """Register and load a bundle; from now on it is what `name` means."""
        bundle_id = bundle.id
        self._keep(bundle_id, bundle)
        version = self._storage.register(name, bundle_id, now)
        model = self._load(name, version, bundle)
        with self._lock:
            self._models[name, version] = model
            self._current[name] = version
        return model

    @property
    def on_offer(self) -> list[Model]:
        """Every model by name, in its current version."""
        return [self.get(name) for name in sorted(self._current)]

    def get(self, name: str, version: int | None = None) -> Model:
        """A model, in its current version unless said; an old version is loaded when first asked for.

        Raises:
            ModelNotFound: unknown name or version.
            ModelUnavailable: its files are gone or damaged.
        """
        version = self._current.get(name) if version is None else version
        if version is None or not _NAME.fullmatch(name):
            known = ", ".join(sorted(self._current)) or "none"
            raise ModelNotFound(f"there is no model {quote(name)}", field="name", expected=known, got=quote(name))
        with self._lock:
            model = self._models.get((name, version))
            if model is None:
                model = self._models[name, version] = self._revive(name, version)
            return model

    def loaded(self, name: str, version: int) -> Model | None:
        """A model that is in memory. Never waits."""
        return self._models.get((name, version))

    def resolve(self, reference: str) -> Model:
        """The model of a reference, `reach` or `reach@3`. Raises InvalidData."""
        name, at, version = reference.partition("@")
        expected = f"one of {', '.join(sorted(self._current)) or 'no models'}, or NAME@VERSION"
        if at and not _VERSION.fullmatch(version):
            raise InvalidData("model", expected, quote(reference))
        try:
            return self.get(name, int(version) if at else None)
        except ModelNotFound as error:
            raise InvalidData("model", expected, quote(reference)) from error

    def _revive(self, name: str, version: int) -> Model:
        bundle_id = self._storage.bundle(name, version)
        if bundle_id is None:
            got = str(version)
            raise ModelNotFound(f"{name} has no version {got}", field="version", got=got)
        try:
            bundle = Bundle.load(self._archive / bundle_id)
            return self._load(name, version, bundle)
        except InvalidConfig as error:
            raise ModelUnavailable(f"the files of {name}@{version} are gone or damaged") from error

    def _load(self, name: str, version: int, bundle: Bundle) -> Model:
        return Model(name, version, bundle, self._factory(bundle), Confidence.of(bundle))

    def _keep(self, bundle_id: str, bundle: Bundle) -> None:
        home = self._archive / bundle_id
        if not home.exists():
            bundle.save(draft := self._archive / f"{secrets.token_hex(8)}.tmp").rename(home)
            assert not draft.exists()
