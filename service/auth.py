"""Who asks, and what they may."""

from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["adapt", "models:read", "models:write", "jobs", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
DEFAULT_TENANT = "default"


@dataclass(frozen=True)
class Caller:
    """A tenant, through one of its keys; or whoever is on this machine, where nobody needs one."""

    tenant: str
    scopes: frozenset[str]
    key: str | None = None


ANYBODY = Caller(DEFAULT_TENANT, frozenset(SCOPES))
