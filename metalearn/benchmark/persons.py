"""A person as one more agent: is the person told from demonstrators and from its own imitator, and imitated as it is?

Takes recorded episodes of a family of manners, as `wtl play` exports them. Nothing here stands in for a person.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from metalearn.benchmark.figures import rate
from metalearn.benchmark.manners import N_DEMONSTRATORS, N_WATCHED, demonstrators, distance, play, spread_of, watched
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.evaluation.recognition import Case, answers, score
from metalearn.model.inference import Inference
from metalearn.recognition import RecognitionCalibration
from metalearn.tasks.family import MannerFamily

FEWEST = N_WATCHED + 1
WHOLE = 1 << 30
MOST_GOALS = 16
ITSELF = "its imitator"


def person(
    inference: Inference, family: MannerFamily, known: RecognitionCalibration, episodes: Sequence[Episode], seed: int
) -> dict[str, Any]:
    """Recognise a person among four demonstrators of the same goal, and tell the person from its imitator.

    The first two episodes of each goal are watched; the others are asked about, as are as many of the policy that has
    watched the two, acting as shaky as they are. Candidates are the person, as its two episodes show it, and four
    demonstrators who were watched twice. An episode of the imitator counts as taken for the person.

    Raises:
        InvalidConfig: no goal was gone to in at least three episodes.
        InvalidData: an episode does not fit the family.
    """
    for number, episode in enumerate(episodes):
        try:
            family.spec.check(episode)
        except InvalidData as error:
            raise InvalidData(f"episodes[{number}].{error.field}", error.expected, error.got) from error
    spread = spread_of(family, seed)
    test = family.splits["test"]
    asked: list[tuple[str, Case]] = []
    far: dict[str, list[float]] = defaultdict(list)
    for goal, own in _by_goal(family, episodes).items():
        index = test[goal]
        seen = Context(tuple(own[:N_WATCHED]))
        others = [int(task) for task in demonstrators(family, index, N_DEMONSTRATORS, seed)[1:]]
        contexts = (seen, *watched(family, others, seed))
        rest = own[N_WATCHED:]
        acted = [play(inference, family, [index], [seen], seed, 900 + k, "sampled")[0] for k in range(len(rest))]
        for who, done in (("the person", rest), (ITSELF, acted)):
            asked += [(who, Case(episode, contexts, (index, *others), 0)) for episode in done]
        manner = family.statistics(rest, index)
        far[ITSELF].append(distance(family.statistics(acted, index), manner, spread))
        far["the demonstrators"] += [
            distance(family.statistics(context.demos, index), manner, spread) for context in contexts[1:]
        ]
    found = answers(score(inference, [case for _, case in asked], known), inference.units, known.scale, WHOLE)
    report: dict[str, Any] = {"n_episodes": len(episodes), "n_goals": len(far[ITSELF])}
    for who in ("the person", ITSELF):
        chosen = [one for (name, _), one in zip(asked, found, strict=True) if name == who]
        report[f"{who}, taken for the person"] = rate(
            np.array([one.probabilities[:-1].argmax() == 0 for one in chosen])
        ) | {
            "chance": 1 / N_DEMONSTRATORS,
            "probability of none of these": float(np.mean([one.probabilities[-1] for one in chosen])),
        }
    report["distance of manner to the person"] = {name: float(np.mean(values)) for name, values in far.items()}
    return report


def _by_goal(family: MannerFamily, episodes: Sequence[Episode]) -> dict[int, list[Episode]]:
    """The episodes of each goal that has enough of them; the number of a goal is an index within the test tasks."""
    goals: defaultdict[int, list[Episode]] = defaultdict(list)
    for episode in episodes:
        if episode.actions is not None and len(episode) >= 2 and (goal := family.goal_of(episode)) is not None:
            goals[goal].append(episode)
    enough = {goal: own for goal, own in sorted(goals.items()) if len(own) >= FEWEST}
    if not enough:
        raise InvalidConfig(
            f"persons: expected at least {FEWEST} episodes with actions that reach one goal, got "
            + (", ".join(f"{len(own)} for goal {goal}" for goal, own in sorted(goals.items())) or "none")
        )
    return enough
