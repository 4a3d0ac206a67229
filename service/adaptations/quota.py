"""How much there may be of an adaptation and of a tenant. Functions of an open connection, the tenant being locked."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from service.adaptations.records import Adaptation
from service.errors import QuotaExceeded, TooManyEpisodes
from service.storage.statements import lock_tenant
from service.storage.tables import adaptations, tenants


@dataclass(frozen=True)
class Quota:
    """Episodes of an adaptation; adaptations of a tenant, and bytes of their episodes."""

    n_episodes: int
    n_adaptations: int
    n_bytes: int

    def check_episodes(self, adaptation: Adaptation) -> None:
        """Raises TooManyEpisodes."""
        n_episodes, limit = adaptation.n_demos + adaptation.n_trials, self.n_episodes
        if n_episodes > limit:
            raise TooManyEpisodes(
                f"an adaptation holds at most {limit} episodes",
                field="episodes", expected=f"at most {limit}", got=str(n_episodes),
            )  # fmt: skip

    def add_adaptation(self, c: Connection, tenant: str, now: float) -> None:
        """Lock the tenant and count one more. Raises QuotaExceeded."""
        has = lock_tenant(c, tenant).n_adaptations
        if has >= self.n_adaptations:
            _refuse(c, tenant, "adaptations", self.n_adaptations, has + 1, now)
        count(c, tenant, 1, 0)

    def add_bytes(self, c: Connection, tenant: str, n_bytes: int, now: float) -> None:
        """Count so many more. Raises QuotaExceeded."""
        count(c, tenant, 0, n_bytes)
        has = c.scalar(select(tenants.c.n_bytes).where(tenants.c.name == tenant))
        if n_bytes and has is not None and has > self.n_bytes:
            _refuse(c, tenant, "bytes of episodes", self.n_bytes, has, now)


def count(c: Connection, tenant: str, n_adaptations: int, n_bytes: int) -> None:
    """The tenant has so many more, or fewer."""
    has = {"n_adaptations": tenants.c.n_adaptations + n_adaptations, "n_bytes": tenants.c.n_bytes + n_bytes}
    c.execute(update(tenants).where(tenants.c.name == tenant).values(has))


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
