"""The checks behind `/readyz`: inference thread, models, disk space and database."""

import shutil
import time
from collections.abc import Callable, Mapping

import structlog

from service.container import Container

_log = structlog.get_logger("service")
_KEEP_S = 1.0  # the database check writes, so frequent probes share one result


class Readiness:
    """The checks of one server, by name. A problem is one sentence without paths or addresses."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._checks: Mapping[str, Callable[[], str | None]] = {
            "engine": self._engine,
            "models": self._models,
            "disk": self._disk,
            "database": self._database,
        }
        self._found: tuple[float, Mapping[str, str]] = (-1e9, {})

    def problems(self) -> Mapping[str, str]:
        """Return the failed checks with their reasons. Results are cached for a second."""
        if self._container.draining.is_set():
            return {"shutdown": "the server is shutting down"}
        checked_s, found = self._found
        if time.monotonic() - checked_s > _KEEP_S:
            results = {name: self._run_check(name, check) for name, check in self._checks.items()}
            found = {name: problem for name, problem in results.items() if problem is not None}
            self._found = (time.monotonic(), found)
        return found

    @property
    def unusable(self) -> Mapping[str, str]:
        """Why bundles of the models folder cannot be used, which does not make the server unready."""
        return self._container.registry.unusable

    def _run_check(self, name: str, check: Callable[[], str | None]) -> str | None:
        try:
            return check()
        except Exception as error:
            _log.warning("not ready", check=name, error=repr(error))
            return f"the check of the {name} failed; the log says why"

    def _engine(self) -> str | None:
        return None if self._container.engine.alive else "the inference thread has stopped"

    def _models(self) -> str | None:
        if self._container.registry.has_models:
            return None
        return "; ".join(["there is no model to adapt", *(f"{name}: {why}" for name, why in self.unusable.items())])

    def _disk(self) -> str | None:
        free, needed = shutil.disk_usage(self._container.settings.data).free, self._container.settings.min_free_bytes
        return None if free >= needed else f"{free} bytes are free on the disk, {needed} are needed"

    def _database(self) -> str | None:
        try:
            self._container.repository.ping()
        except Exception as error:
            _log.warning("the database takes no writes", error=repr(error))
            return "the database takes no writes"
        return None
