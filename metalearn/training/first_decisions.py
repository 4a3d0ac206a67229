"""What a training of a family decides before anything is demonstrated, as its environments tell."""

from metalearn.config import Experiment
from metalearn.data.asks import kinds_of
from metalearn.evaluation.protocol import has_expert
from metalearn.tasks.family import Family, VectorFamily
from metalearn.training.decisions import Decisions, decide_data


def decide_first(experiment: Experiment, family: Family) -> Decisions:
    """Fill in what nobody set of the data that will be collected in a family.

    Args:
        experiment: of a training that decides for itself.
        family: whose tasks it learns.
    """
    # Only who plays can do without an expert; to look for one takes a simulator.
    plays = any(kind.of_moment for kind in kinds_of(experiment.model.asks))
    expert = not plays or has_expert(family, family.splits["train"][0])
    n_train, together = len(family.splits["train"]), isinstance(family, VectorFamily)
    return decide_data(experiment, family.spec, n_train, side_by_side=together, expert=expert)
