"""Limits on the size of an adaptation and of a tenant. Called in a transaction that has locked the tenant."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from service.adaptations.records import Adaptation
from service.errors import QuotaExceeded, TooManyEpisodes
from service.storage.statements import lock_tenant
from service.storage.tables import adaptations, tenants


@dataclass(frozen=True)
class Quota:
    """The limits.

    Attributes:
        n_episodes: episodes per adaptation.
        n_adaptations: adaptations per tenant.
        n_bytes: bytes of episodes per tenant.
    """

    n_episodes: int
    n_adaptations: int
    n_bytes: int

    def check_episodes(self, adaptation: Adaptation) -> None:
        """Raise TooManyEpisodes if the adaptation has too many episodes."""
        n_episodes, limit = adaptation.n_demos + adaptation.n_trials, self.n_episodes
        if n_episodes > limit:
            raise TooManyEpisodes(
                f"an adaptation holds at most {limit} episodes",
                field="episodes", expected=f"at most {limit}", got=str(n_episodes),
            )  # fmt: skip

    def add_adaptation(self, c: Connection, tenant: str, now: float) -> None:
        """Lock the tenant and count one more adaptation. Raises QuotaExceeded."""
        used = lock_tenant(c, tenant).n_adaptations
        if used >= self.n_adaptations:
            _refuse(c, tenant, "adaptations", self.n_adaptations, used + 1, now)
        count(c, tenant, 1, 0)

    def add_bytes(self, c: Connection, tenant: str, n_bytes: int, now: float) -> None:
        """Count more bytes of episodes. Raises QuotaExceeded."""
        count(c, tenant, 0, n_bytes)
        used = c.scalar(select(tenants.c.n_bytes).where(tenants.c.name == tenant))
        if n_bytes and used is not None and used > self.n_bytes:
            _refuse(c, tenant, "bytes of episodes", self.n_bytes, used, now)


def count(c: Connection, tenant: str, n_adaptations: int, n_bytes: int) -> None:
    """Add to the counts of a tenant; negative numbers subtract."""
    values = {"n_adaptations": tenants.c.n_adaptations + n_adaptations, "n_bytes": tenants.c.n_bytes + n_bytes}
    c.execute(update(tenants).where(tenants.c.name == tenant).values(values))


def _refuse(c: Connection, tenant: str, what: str, limit: int, got: int, now: float) -> None:
    soonest = c.scalar(select(func.min(adaptations.c.expires_at)).where(adaptations.c.tenant == tenant))
    wait_s = 60.0 if soonest is None else soonest - now
    raise QuotaExceeded(
        f"the tenant may have {limit} {what}: delete adaptations, or wait until some expire",
        field=what,
        expected=f"at most {limit}",
        got=str(got),
        headers={"Retry-After": str(max(1, int(wait_s) + 1))},
    )
