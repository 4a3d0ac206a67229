"""The one verb: every method, ours and the baselines, turns contexts into an actor in the same way.

Also `Belief`, what a conditional model makes of a context. Knows neither torch nor environments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Shaped

from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.data.units import Units


@dataclass(frozen=True, eq=False)
class Belief:
    """What a context says: an embedding `latent [d]` and a distribution over z task hypotheses.

    One hypothesis is chosen per episode and kept (posterior sampling). A model that searches chooses among y = 2 z
    behaviours, the hypotheses as something was shown and then as if nothing had been: `success` is how likely an
    attempt under each succeeds, and `worth` the expected number of successes of it and the next one, which decides.
    All are 0 where nothing can be said, as nobody knows how a trial went; then the choice is as of any model.
    """

    latent: Float32[np.ndarray, " d"]
    probabilities: Float32[np.ndarray, " z"]
    success: Float32[np.ndarray, " y"] | None = None
    worth: Float32[np.ndarray, " y"] | None = None

    @property
    def parts(self) -> list[Array]:
        """All its arrays."""
        found = (self.latent, self.probabilities, self.success, self.worth)
        return [part for part in found if part is not None]

    @property
    def n_choices(self) -> int:
        """How many hypotheses, or behaviours, can be acted under."""
        return len(self.probabilities if self.worth is None else self.worth)

    @property
    def searches(self) -> bool:
        """Whether what is tried next follows from what was tried before, and how that went."""
        return self.worth is not None and bool(self.worth.any())

    @property
    def map_hypothesis(self) -> int:
        """The hypothesis to act on when it matters to succeed."""
        decides = self.worth if self.worth is not None and self.searches else self.probabilities
        return int(decides.argmax())

    def sample(self, rng: np.random.Generator) -> int:
        """A hypothesis to try, which an exploring episode commits to: drawn as it is likely unless a model searches."""
        if self.searches:
            return self.map_hypothesis
        p = self.probabilities.astype(np.float64)
        return int(rng.choice(len(p), p=p / p.sum()))

    @property
    def entropy(self) -> float:
        """In nats; what another trial could still tell."""
        p = self.probabilities[self.probabilities > 0].astype(np.float64)
        return float(-(p * np.log(p)).sum())


@dataclass(frozen=True, eq=False)
class ActionHeads:
    """What m policies would do at t observations: means of actions in their units, or logits of choices.

    Attributes:
        out: `[m t a]`, where a is the components of an action, or the choices of all components.
        log_sigma: `[m a]`, the logarithm of the deviation around a mean; of no meaning for choices.
    """

    out: Float32[np.ndarray, "m t a"]
    log_sigma: Float32[np.ndarray, "m a"]


def sample_actions(
    out: Float32[np.ndarray, "n a"], deviation: Float32[np.ndarray, "#n a"], units: Units, rng: np.random.Generator
) -> Shaped[np.ndarray, "n *a"]:
    """An action of each row, drawn from its distribution and moved into the action space.

    Args:
        out: means in their units, or logits of all choices.
        deviation: around the means, in their units; of no meaning for choices.
        units: of the model.
        rng: draws.
    """
    if not units.spec.discrete:
        drawn = out + deviation * rng.standard_normal(out.shape)
        return units.decode_actions(drawn.astype(np.float32))
    cuts = np.cumsum(units.spec.action_choices)[:-1]
    # The largest of logits with Gumbel noise is a draw from their softmax (E. J. Gumbel, 1954).
    picked = [(part + rng.gumbel(size=part.shape)).argmax(-1) for part in np.split(out, cuts, -1)]
    chosen: Array = picked[0] if len(picked) == 1 else np.stack(picked, -1)
    return units.decode_actions(chosen)


@runtime_checkable
class Actor(Protocol):
    """Acts in b tasks side by side, for one episode each. May keep state from step to step."""

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The action of each task, `[b, a]` float32 or `[b]` int64; row i belongs to context i."""
        ...


@runtime_checkable
class Adapter(Protocol):
    """A method that adapts to tasks from their contexts, without seeing anything else of the tasks."""

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> Actor:
        """An actor for the next episode of each of the b tasks.

        A method that draws hypotheses explores in tasks whose context has no scored trial, and takes
        the most probable hypothesis in the others.
        """
        ...
