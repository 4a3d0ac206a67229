"""Callers: a tenant with its scopes. Knows neither keys nor requests."""

from dataclasses import dataclass
from typing import Literal, get_args

from service.errors import Forbidden

Scope = Literal["adapt", "models:read", "models:write", "jobs", "metrics", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope)

DEFAULT_TENANT = "default"


@dataclass(frozen=True)
class Caller:
    """A tenant with the scopes and the prefix of its key; `key` is None if the server needs no keys."""

    tenant: str
    scopes: frozenset[str]
    key: str | None = None

    def check(self, scope: Scope) -> None:
        """Raise Forbidden unless the caller has the scope."""
        if scope not in self.scopes:
            raise Forbidden(scope, ", ".join(sorted(self.scopes)))


ANYBODY = Caller(DEFAULT_TENANT, frozenset(SCOPES))
