"""Whom did I watch? Cases with known answers: an episode, and candidates of whom one may have acted in it.

Makes the cases of a family, computes the evidence, and measures accuracy, calibration and *none of these*.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metalearn.adapter import ActionHeads
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.data.units import Units
from metalearn.evaluation.calibration import auroc, calibration_error, expected_error
from metalearn.evaluation.statistics import wilson
from metalearn.model.inference import Inference
from metalearn.recognition import (
    Candidates,
    EpisodeEvidence,
    Recognition,
    RecognitionCalibration,
    evidence_of,
    recognise,
)
from metalearn.recognition.calibration import EvidenceScale
from metalearn.recognition.likelihood import taken
from metalearn.recognition.population import nearest
from metalearn.tasks.family import Family, VectorFamily
from metalearn.tasks.rollout import demonstrate, episode_seeds

STREAM = 1 << 42  # layouts that neither training nor other evaluations draw
WATCHED, ACTED, MORE = range(3)


@dataclass(frozen=True, eq=False)
class Case:
    """One question: which of these contexts' agents acted in the episode? `answer` is their number if none of them."""

    episode: Episode
    contexts: tuple[Context, ...]
    tasks: tuple[int, ...]
    answer: int


@dataclass(frozen=True, eq=False)
class Scored:
    """A case with what the policies of its candidates would do in the episode."""

    case: Case
    candidates: Candidates
    heads: ActionHeads
    experts: Candidates | None = None
    expert_heads: ActionHeads | None = None

    def evidence(
        self, units: Units, scale: EvidenceScale, n_steps: int, calibration: RecognitionCalibration | None = None
    ) -> EpisodeEvidence:
        """Of the first steps; of observations alone if a `calibration` is given, whose inverse tells the actions."""
        n = min(n_steps, len(self.case.episode))
        part = first_steps(self.case.episode, n)
        inverse = None if calibration is None else calibration.inverse
        part = part if inverse is None else part.without_actions()
        found = evidence_of(_first(self.heads, n), self.candidates, part, units, scale, inverse)
        if self.experts is None or self.expert_heads is None:
            return found
        others = evidence_of(_first(self.expert_heads, n), self.experts, part, units, scale, inverse)
        return EpisodeEvidence(found.steps, np.vstack([found.others, others.steps]), found.chance)


def _first(heads: ActionHeads, n: int) -> ActionHeads:
    return ActionHeads(heads.out[:, :n], heads.log_sigma)


def first_steps(episode: Episode, n: int) -> Episode:
    """The first n steps of an episode, without its outcome."""
    actions = None if episode.actions is None else episode.actions[:n]
    return Episode(episode.observations[: n + 1], actions)


def play_experts(family: Family, indices: Sequence[int], seed: int, kind: int, number: int) -> list[Episode]:
    """One episode of each task's expert: a demonstration (WATCHED), else in the scene of trials."""
    chunk = 500 if isinstance(family, VectorFamily) else 50
    seeds = episode_seeds(indices, STREAM + 8 * seed + kind, number)
    scene: Any = "demo" if kind == WATCHED else "trial"
    found: list[Episode] = []
    for start in range(0, len(indices), chunk):
        part = slice(start, start + chunk)
        found += demonstrate(family, indices[part], seeds[part], scene).episodes
    return found


def lineup(family: Family, index: int, n: int, rng: np.random.Generator, alike: float) -> list[int]:
    """`index` and n - 1 other tasks of its split, each with probability `alike` a sibling of it, if it has any."""
    split = next(indices for indices in family.splits.values() if index in indices)
    sibling: Callable[[int, np.random.Generator], int] | None = getattr(family, "sibling", None)
    found = [index]
    for _ in range(100 * n):
        draw = sibling if sibling is not None and rng.random() < alike else None
        other = split[int(rng.integers(len(split)))] if draw is None else draw(index, rng)
        if other not in found:
            found.append(other)
        if len(found) == n:
            break
    return found


def make_cases(
    family: Family, indices: Sequence[int], *, seed: int, n_candidates: int = 5, n_demos: int = 2,
    absent: float = 0.5, alike: float = 1.0,
) -> list[Case]:  # fmt: skip
    """A case for each task: its expert acts, and candidates were watched in `n_demos` other episodes each.

    With probability `absent` the one who acts is not among the candidates.
    """
    rng = np.random.default_rng([seed, STREAM])
    rows = [lineup(family, index, n_candidates + 1, rng, alike) for index in indices]
    flat = [task for row in rows for task in row]
    shown = [play_experts(family, flat, seed, WATCHED, number) for number in range(n_demos)]
    contexts = [Context(demos) for demos in zip(*shown, strict=True)]
    acted = play_experts(family, list(indices), seed, ACTED, 0)
    cases, start = [], 0
    for row, episode in zip(rows, acted, strict=True):
        own = list(zip(row, contexts[start : start + len(row)], strict=True))
        start += len(row)
        gone = rng.random() < absent
        picked = own[1:] if gone else own[:-1]
        order = rng.permutation(len(picked))
        answer = len(picked) if gone else int(np.flatnonzero(order == 0)[0])
        tasks, seen = zip(*(picked[i] for i in order), strict=True)
        cases.append(Case(episode, seen, tasks, answer))
    return cases


def score(inference: Inference, cases: Sequence[Case], known: RecognitionCalibration) -> list[Scored]:
    """The policies of the candidates, and of the nearest experts that the model knows, in each episode."""
    found = []

    def heads_of(candidates: Candidates, observations: Array, actions: Array) -> ActionHeads:
        return inference.heads(candidates.latents, candidates.hypotheses, observations, actions)

    for case in cases:
        candidates = Candidates.of([[belief] for belief in inference.infer_belief(case.contexts)])
        episode = case.episode
        assert episode.actions is not None
        heads = heads_of(candidates, episode.observations, episode.actions)
        experts = None
        if known.population:
            encoded, noise = taken(episode, inference.units, None)
            experts = nearest(
                known.everybody, episode.observations, episode.actions, encoded, noise, heads_of, inference.units,
                known.scale, in_order=inference.adapts_online,
            )  # fmt: skip
        others = None if experts is None else heads_of(experts, episode.observations, episode.actions)
        found.append(Scored(case, candidates, heads, experts, others))
    return found


def answers(
    scored: Sequence[Scored],
    units: Units,
    scale: EvidenceScale,
    n_steps: int = 1 << 30,
    calibration: RecognitionCalibration | None = None,
) -> list[Recognition]:
    """What is recognised in each case from its first steps."""
    return [recognise([one.evidence(units, scale, n_steps, calibration)], scale) for one in scored]


def measured(scored: Sequence[Scored], found: Sequence[Recognition]) -> dict[str, Any]:
    """Accuracy among the candidates, calibration, and AUROC of *none of these*, as JSON."""
    answer = np.array([one.case.answer for one in scored])
    p = np.stack([one.probabilities for one in found])
    there = answer < p.shape[1] - 1
    picked = p[:, :-1].argmax(1)
    k, n = int((picked == answer)[there].sum()), int(there.sum())
    best = p.max(1)
    report: dict[str, Any] = {
        "n": n,
        "accuracy": k / max(n, 1),
        "accuracy_ci95": list(wilson(k, n)) if n else None,
        "ece": calibration_error(best, p.argmax(1) == answer),
        "ece_if_calibrated": expected_error(best, np.random.default_rng(0)),
        "ece_of_all_answers": calibration_error(p.ravel(), np.eye(p.shape[1], dtype=bool)[answer].ravel()),
        "answered": float(np.mean([one.enough for one in found])),
        "mean_steps": float(np.mean([one.n_steps for one in found])),
    }
    if there.any() and not there.all():
        report["none_auroc"] = auroc(p[there, -1], p[~there, -1])
        report["n_none"] = int((~there).sum())
    if (enough := np.array([one.enough for one in found])).any():
        report["accuracy_where_enough"] = float((p.argmax(1) == answer)[enough].mean())
    return report


def shuffled(case: Case, rng: np.random.Generator) -> Case:
    """The case with the actions of its episode in another order: nobody's behaviour any more."""
    actions = case.episode.actions
    assert actions is not None
    return replace(case, episode=replace(case.episode, actions=_permuted(actions, rng)))


def _permuted(actions: Array, rng: np.random.Generator) -> Array:
    moved: Array = actions[rng.permutation(len(actions))].copy()
    return moved
