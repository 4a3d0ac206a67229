"""Direct optimisation of one task at a time: the classical way to what one demonstration and one trial give here.

The shared face of `search` and `rl`, and the table of them. Knows no library: each has its own file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from metalearn.baselines.learning_curve import LearningCurve
from metalearn.baselines.rl import Rl, RlFromBc
from metalearn.baselines.search import Search

__all__ = ["OPTIMISERS", "LearningCurve", "Optimiser"]


@runtime_checkable
class Optimiser(Protocol):
    """Finds a policy for one task from nothing but its own scored episodes."""

    @property
    def name(self) -> str:
        """As in reports: `search`, `rl`, ..."""
        ...

    @property
    def what(self) -> str:
        """One sentence for tables and docs."""
        ...

    def optimise(
        self, family_name: str, index: int, n_episodes: int, seed: int, start: Path | None = None
    ) -> LearningCurve:
        """Optimise task `index` of a family for about `n_episodes` episodes.

        Args:
            family_name: as `find_family` takes it.
            index: of the task.
            n_episodes: training episodes; whole batches are used, so the curve's last point may be a little off.
            seed: of everything that is drawn.
            start: where the weights are that it starts from; only of use where `what` says so.

        Raises:
            InvalidConfig: no such family, no episodes, or a `start` that is missing, superfluous or does not fit.
        """
        ...


OPTIMISERS: Mapping[str, Optimiser] = {optimiser.name: optimiser for optimiser in (Search(), Rl(), RlFromBc())}
