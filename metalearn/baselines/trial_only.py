"""Meta-imitation by conditioning: our own network without trials of its own, shown demonstrations alone.

What is left of the method without trying: the difference to `wtl` is what the own trials are worth.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metalearn.adapter import Actor, Adapter
from metalearn.config import Experiment
from metalearn.data.context import Context


def trial_only(experiment: Experiment) -> Experiment:
    """The same experiment, steps and schedule included, in which no trial of its own is ever collected.

    Expert episodes still play a trial in some training contexts: without them the network never learns to go
    anywhere before its hypotheses compete, and is an easy opponent (a first attempt of 14% to 17% on `reach-m2`).
    """
    alone = experiment.training.model_copy(update={"trials_per_task": 0})
    return experiment.model_copy(
        update={
            "name": f"{experiment.name}-trial-only",
            "model_name": f"{experiment.model_name}-trial-only",
            "training": alone,
        }
    )


class WithoutTrials:
    """An adapter that is never told of trials: every attempt is a first attempt."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> Actor:
        """Adapt to the demonstrations (and the ask) alone. Raises the errors of the adapter."""
        return self._adapter.adapt([replace(context, trials=()) for context in contexts], rng)
