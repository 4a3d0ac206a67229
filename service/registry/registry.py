"""The models of a server: registration of bundles, selection by name, version or alias, and loading.

A registered bundle is stored, so that its adaptations keep working after the models folder has changed. Aliases are
read from the database each time. Models are loaded when they are needed. Knows neither HTTP nor adaptations.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from metalearn.bundle import Bundle, run_bundle
from metalearn.confidence import Confidence
from metalearn.data.asks import AskOffer
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.recognition import RecognitionCalibration
from service.errors import BundleUnusable, ModelNotFound, ModelUnavailable, quote
from service.inference import RuntimeFactory
from service.registry.bundle_store import BundleStore
from service.registry.catalog import CURRENT, AliasChange, ModelCatalog, ModelVersionRow
from service.registry.model_cache import Model, ModelCache
from service.registry.models_folder import NAME, ModelsFolder, check_name, reason

__all__ = ["Model", "ModelInfo", "Registry"]
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_ALIAS = re.compile(r"[a-z][a-z0-9-]{0,62}")
_log = structlog.get_logger("service")


@dataclass(frozen=True, eq=False)
class ModelInfo:
    """The description of a version, which need not be loaded; `runtime` is None if it is not in memory."""

    name: str
    version: int
    bundle: Bundle
    aliases: tuple[str, ...]
    runtime: str | None


class Registry:
    """The available models, and their older versions on demand.

    Args:
        catalog: the versions and aliases in the database.
        bundles: the store of registered bundles.
        factory: makes a runtime of a bundle.
        most_loaded: the number of versions in memory beside the current ones.
    """

    def __init__(
        self, catalog: ModelCatalog, bundles: BundleStore, factory: RuntimeFactory, most_loaded: int = 4
    ) -> None:
        self.catalog = catalog
        self._bundles, self._factory = bundles, factory
        self._memory = ModelCache(most_loaded)
        self._asks: dict[str, tuple[AskOffer, ...]] = {}  # by the id of a bundle, which they are a part of
        self.unusable: Mapping[str, str] = {}
        """Why bundles of the models folder cannot be used, by name, as of the last `scan`."""

    def register(self, bundle: Bundle, name: str) -> Model:
        """Load and store a bundle as the current version of `name`. One that is registered again keeps its version.

        Raises:
            InvalidConfig: the bundle cannot be loaded, or the name is invalid; nothing has changed.
        """
        return self._publish(self._load_model(name, 0, bundle))

    def scan(self, folder: Path, *, again: bool = False) -> list[Model]:
        """Register the bundles in a folder. A bundle that was found there before does not move the alias `current`.

        Those that cannot be used are noted in `unusable`, and the log says why.

        Args:
            folder: the folder of bundles.
            again: True to make models in the folder available again whose alias `current` was deleted.

        Raises:
            InvalidConfig: there is no such folder, or it is one bundle, which cannot be used.
        """
        return self._publish_all(self._load_folder(folder), again=again)

    def register_from(self, folder: Path, name: str | None) -> list[ModelVersionRow]:
        """Register the bundle of this name in a folder of bundles, or all of them.

        Raises:
            InvalidData: there is no such bundle.
            BundleUnusable: a bundle cannot be used; nothing has changed.
        """
        try:
            if name is None:
                drafts = self._load_folder(folder)
                if self.unusable:
                    raise InvalidConfig("; ".join(f"{name}: {why}" for name, why in self.unusable.items()))
                models = self._publish_all(drafts, again=True)
            else:
                models = [self._publish(self._load_model(name, 0, _bundle_in(folder, name)), found=True)]
        except InvalidConfig as error:
            _log.warning("a bundle cannot be registered", error=str(error))
            what = "a bundle in the models folder" if name is None else f"the bundle {name}"
            raise BundleUnusable(f"{what} cannot be used by this server: {reason(error, folder)}") from error
        return [self._registered(model.name, model.version) for model in models]

    @property
    def names(self) -> list[str]:
        """The names of the available models."""
        return sorted(name for name, alias_targets in self.catalog.alias_targets().items() if CURRENT in alias_targets)

    @property
    def has_models(self) -> bool:
        """True if a model is available."""
        return bool(self._memory.current or self.names)

    @property
    def available(self) -> list[ModelInfo]:
        """Every available model in its current version, by name. Those whose files are missing are left out."""
        found = []
        for name, alias_targets in sorted(self.catalog.alias_targets().items()):
            if CURRENT in alias_targets:
                try:
                    found.append(self._info(name, alias_targets[CURRENT], alias_targets))
                except ModelUnavailable as error:
                    _log.warning("a model is left out of the list", error=str(error))
        return found

    def info(self, name: str, version: int | None = None) -> ModelInfo:
        """Describe a version of a model, by default the current one. Raises ModelNotFound, ModelUnavailable."""
        version = self._current(name) if version is None else version
        return self._info(name, version, self.catalog.alias_targets(name).get(name, {}))

    def get(self, name: str, version: int | None = None) -> Model:
        """Return a version of a model, by default the current one; load it if it is not in memory.

        Raises:
            ModelNotFound: the name or version is unknown.
            ModelUnavailable: the files are missing or damaged.
        """
        key = (name, self._current(name) if version is None else version)
        return self._memory.get(key) or self._memory.load(key, lambda: self._reload(*key))

    def cached_model(self, name: str, version: int) -> Model | None:
        """Return a version if it is in memory, else None. Never blocks."""
        return self._memory.get((name, version))

    def runtime_of(self, name: str, version: int) -> str | None:
        """Return the name of the runtime of a version, or None if it is not in memory."""
        model = self._memory.cached((name, version))
        return None if model is None else getattr(model.runtime, "name", type(model.runtime).__name__)

    def asks(self, row: ModelVersionRow) -> tuple[AskOffer, ...] | None:
        """Return what a version was trained for beyond the task itself, or None if its files are missing or damaged."""
        if row.bundle not in self._asks:
            try:
                self._asks[row.bundle] = self._info(row.name, row.version, {}).bundle.asks
            except ModelUnavailable:
                return None
        return self._asks[row.bundle]

    def set_alias(self, name: str, alias: str, version: int) -> AliasChange:
        """Point an alias at a version, which is loaded first, so that no request waits for it or gets a damaged one.

        Raises:
            ModelNotFound: there is no such model.
            InvalidData: the model has no such version.
            ModelUnavailable: the files are missing or damaged; nothing has changed.
        """
        known = [row.version for row in self.catalog.versions(name)]
        if version in known:
            self.get(name, version)
        change = self.catalog.set(name, alias, version)
        if alias == CURRENT:
            self._memory.note(name, version)
        return change

    def unset_alias(self, name: str, alias: str) -> None:
        """Delete an alias. Raises AliasNotFound."""
        self.catalog.delete(name, alias)
        if alias == CURRENT:
            self._memory.note(name, None)

    def resolve(self, reference: str) -> Model:
        """Return the model for `reach`, `reach@3` or `reach@stable`. Raises InvalidData, ModelUnavailable."""
        name, at, which = reference.partition("@")
        try:
            if not at or _VERSION.fullmatch(which):
                return self.get(name, int(which) if at else None)
            version = self.catalog.find(name, which) if _ALIAS.fullmatch(which) and NAME.fullmatch(name) else None
            if version is not None:
                return self.get(name, version)
        except ModelNotFound:
            pass
        expected = f"one of {', '.join(self.names) or 'no models'}, or NAME@VERSION, or NAME@ALIAS"
        raise InvalidData("model", expected, quote(reference))

    def _current(self, name: str) -> int:
        version = self.catalog.find(name) if NAME.fullmatch(name) else None
        self._memory.note(name, version)
        if version is None:
            known = ", ".join(self.names) or "none"
            raise ModelNotFound(f"there is no model {quote(name)}", field="name", expected=known, got=quote(name))
        return version

    def _load_folder(self, folder: Path) -> list[Model]:
        """Load the bundles in a folder, and note those that cannot be used. Raises InvalidConfig."""
        found = ModelsFolder.read(folder)
        unusable, drafts = dict(found.unusable), []
        for name, bundle in found.bundles.items():
            try:
                drafts.append(self._load_model(name, 0, bundle))
            except InvalidConfig as error:
                if found.alone:
                    raise
                unusable[name] = reason(error, folder)
        for name, why in unusable.items():
            _log.error("a bundle in the models folder cannot be used", bundle=name, reason=why)
        self.unusable = unusable
        return drafts

    def _publish_all(self, drafts: Sequence[Model], *, again: bool) -> list[Model]:
        names = set(self.names)
        return [self._publish(draft, found=True, automatic=not again or draft.name in names) for draft in drafts]

    def _publish(self, draft: Model, *, found: bool = False, automatic: bool = False) -> Model:
        """Register a loaded model and give it its version; see `ModelCatalog.register`."""
        bundle_id = draft.bundle.id
        self._bundles.keep(bundle_id, draft.bundle)
        version = self.catalog.register(draft.name, bundle_id, found=found, automatic=automatic)
        model = replace(draft, version=version)
        self._memory.note(draft.name, self.catalog.find(draft.name))
        self._memory.put(model)
        return model

    def _load_model(self, name: str, version: int, bundle: Bundle) -> Model:
        """Make a version ready to act. Raises InvalidConfig."""
        check_name(name)
        try:
            return Model(
                name, version, bundle, self._factory(bundle), Confidence.of(bundle), RecognitionCalibration.of(bundle)
            )
        except InvalidConfig:
            raise
        except Exception as error:  # whatever a damaged graph makes its library raise
            raise InvalidConfig(f"it cannot be loaded: {type(error).__name__}: {error}") from error

    def _reload(self, name: str, version: int) -> Model:
        bundle = self._read(name, version)
        try:
            return self._load_model(name, version, bundle)
        except InvalidConfig as error:
            raise ModelUnavailable(f"{name}@{version} cannot be loaded here") from error

    def _read(self, name: str, version: int) -> Bundle:
        """Return the bundle of a version. Raises ModelNotFound, ModelUnavailable."""
        bundle_id = self.catalog.bundle(name, version)
        if bundle_id is None:
            self._current(name)  # raises if even the name is unknown
            got = str(version)
            raise ModelNotFound(f"{name} has no version {got}", field="version", got=got)
        try:
            return self._bundles.read(bundle_id)
        except InvalidConfig as error:
            raise ModelUnavailable(f"the files of {name}@{version} are gone or damaged") from error

    def _info(self, name: str, version: int, alias_targets: Mapping[str, int]) -> ModelInfo:
        model = self._memory.cached((name, version))
        bundle = self._read(name, version) if model is None else model.bundle
        aliases = tuple(alias for alias, target in alias_targets.items() if target == version)
        return ModelInfo(name, version, bundle, aliases, self.runtime_of(name, version))

    def _registered(self, name: str, version: int) -> ModelVersionRow:
        return next(row for row in self.catalog.versions(name) if row.version == version)


def _bundle_in(folder: Path, name: str) -> Bundle:
    """Read the bundle of this name in a folder of bundles. Raises InvalidData, InvalidConfig."""
    alone = run_bundle(folder)
    if alone is not None:
        bundle = Bundle.load(alone)
        if bundle.name != name:
            raise InvalidData("name", bundle.name, quote(name))
        return bundle
    # A valid name is one part of a path and never `..`, so files outside of the folder cannot be read.
    at = run_bundle(folder / name) if NAME.fullmatch(name) else None
    if at is None:
        there = sorted(path.name for path in folder.iterdir() if run_bundle(path) is not None)
        raise InvalidData("name", f"a bundle in the models folder: {', '.join(there) or 'there is none'}", quote(name))
    return Bundle.load(at)
