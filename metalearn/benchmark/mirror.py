"""Can it tell itself from others? Five agents act in the same tasks, and each is to be recognised from its steps.

itself      the policy, adapted to two demonstrations
other seed  a policy of the same training with another seed, adapted to the same
earlier     its own earlier version: adapted to the first demonstration alone
expert      whoever demonstrated
copy        the other policy, adapted to two episodes of the first: it imitates the imitator

All of them shake a little: a policy without noise knows itself at the first step, by doing what it would have done.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from metalearn.adapter import ActionHeads
from metalearn.benchmark.classifiers import classify
from metalearn.benchmark.figures import rate
from metalearn.benchmark.manners import play
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.evaluation.recognition import MORE, WATCHED, first_steps, play_experts
from metalearn.evaluation.statistics import wilson
from metalearn.model.inference import Inference
from metalearn.recognition import RecognitionCalibration
from metalearn.recognition.calibration import EvidenceScale
from metalearn.recognition.likelihood import step_log_likelihoods
from metalearn.tasks.envs.reach_manners import ReachManners
from metalearn.tasks.family import MannerFamily
from metalearn.tasks.rollout import episode_seeds, rollout

AGENTS = ("itself", "other seed", "earlier", "expert", "copy")
NOISE = 0.1  # of actions, in halves of their range
STREAM = 1 << 44
STEPS = (1, 2, 4, 8, 16, 60)
LONGEST, HIDDEN = 60, 64


@dataclass(frozen=True, eq=False)
class Stage:
    """n tasks times five agents: episodes `[agent][task]`, and what each agent's policy would do in them.

    Attributes:
        evidence: log-likelihood of each step, `[agent task candidate t]`, NaN after the end.
        features: residuals of each step to every candidate, `[agent task t f]`, zeros after the end.
        summaries: statistics of each episode, `[agent task s]`.
        lengths: `[agent task]`.
    """

    evidence: Float[np.ndarray, "k n c t"]
    features: Float[np.ndarray, "k n t f"]
    summaries: Float[np.ndarray, "k n s"]
    lengths: Int[np.ndarray, "k n"]

    def of_agent(self, agent: int) -> "Stage":
        """What one agent alone did."""
        one = slice(agent, agent + 1)
        return Stage(self.evidence[one], self.features[one], self.summaries[one], self.lengths[one])


class _Shaky:
    """An actor whose actions are disturbed."""

    def __init__(self, actor: Any, rng: np.random.Generator) -> None:
        self._actor, self._rng = actor, rng

    def act(self, observations: Array) -> Array:
        actions = self._actor.act(observations)
        disturbed: Array = np.clip(actions + self._rng.normal(0, NOISE, actions.shape), -1, 1).astype(np.float32)
        return disturbed


class _Expert:
    def __init__(self, env: Any) -> None:
        self._env = env

    def act(self, observations: Array) -> Array:
        return np.asarray(self._env.expert_actions())


def stage(
    first: Inference, second: Inference, family: ReachManners, indices: list[int], seed: int, scale: EvidenceScale
) -> tuple[Stage, Stage]:
    """Let the five agents act in each task, and compute the evidence for each.

    Also once more with shuffled actions: a control.
    """
    shown = [play_experts(family, indices, seed, WATCHED, 400 + k) for k in range(2)]
    two, one = [Context(d) for d in zip(*shown, strict=True)], [Context((d,)) for d in shown[0]]
    own = [play(first, family, indices, two, seed, 500 + k) for k in range(2)]
    copied = [Context(d) for d in zip(*own, strict=True)]
    policies = ((first, two), (second, two), (first, one), (None, two), (second, copied))
    played: list[list[Episode]] = []
    for number, (inference, contexts) in enumerate(policies):
        env, rng = family.make_vec(indices), np.random.default_rng([seed, STREAM, number])
        actor = _Expert(env) if inference is None else inference.adapt(contexts, rng)
        played.append(rollout(env, _Shaky(actor, rng), episode_seeds(indices, STREAM + 8 * seed, number)).episodes)
    mean = [inference or first for inference, _ in policies]
    beliefs = [m.infer_belief(contexts) for m, (_, contexts) in zip(mean, policies, strict=True)]
    candidates = [list(zip(mean, column, strict=True)) for column in zip(*beliefs, strict=True)]
    manners = [family.statistics(c.demos, index) for c, index in zip(two, indices, strict=True)]
    mixed = shuffled(played, np.random.default_rng([seed, STREAM, len(policies)]))
    found, control = (_looked_at_all(one, candidates, family, indices, manners, scale) for one in (played, mixed))
    return found, control


def shuffled(played: list[list[Episode]], rng: np.random.Generator) -> list[list[Episode]]:
    """The same episodes with actions that are drawn from those of another one, of any agent and task.

    All of a task are as long as its shortest, so that their number says nothing either.
    """
    givers = iter(rng.permutation(np.arange(sum(map(len, played)))))
    every = [episode.actions for episodes in played for episode in episodes]
    shortest = [min(map(len, episodes)) for episodes in zip(*played, strict=True)]

    def drawn(episode: Episode, n: int) -> Episode:
        actions = every[next(givers)]
        assert actions is not None
        return replace(first_steps(episode, n), actions=actions[rng.integers(len(actions), size=n)])

    return [[drawn(episode, n) for episode, n in zip(row, shortest, strict=True)] for row in played]


def _looked_at_all(
    played: list[list[Episode]], candidates: list[list[tuple[Inference, Any]]], family: MannerFamily,
    indices: list[int], manners: list[Array], scale: EvidenceScale,
) -> Stage:  # fmt: skip
    rows = [
        _looked_at(episode, who, scale)
        for episodes in played for episode, who in zip(episodes, candidates, strict=True)
    ]  # fmt: skip
    shape = (len(AGENTS), len(indices))
    summaries = np.stack([
        np.concatenate([s := family.statistics([episode], index), s - watched])
        for episodes in played for episode, index, watched in zip(episodes, indices, manners, strict=True)
    ])  # fmt: skip
    return Stage(
        np.stack([e for e, _ in rows]).reshape(*shape, len(AGENTS), LONGEST),
        np.stack([f for _, f in rows]).reshape(*shape, LONGEST, -1),
        np.nan_to_num(summaries).reshape(*shape, -1),
        np.array([[len(e) for e in episodes] for episodes in played]),
    )


def _looked_at(episode: Episode, candidates: list[tuple[Inference, Any]], scale: EvidenceScale) -> tuple[Array, Array]:
    """log p of each step under each candidate, which shakes as everybody does; and the residuals."""
    evidence, residuals = np.full((len(candidates), LONGEST), np.nan), np.zeros((LONGEST, 2 * len(candidates) + 2))
    assert episode.actions is not None
    n = len(episode)
    for c, (inference, belief) in enumerate(candidates):
        hypothesis = np.array([belief.map_hypothesis], np.int64)
        heads = inference.heads(belief.latent[None], hypothesis, episode.observations, episode.actions)
        done = inference.units.encode_actions(episode.actions)
        expert = AGENTS[c] == "expert"
        # A policy acts by its mean; a demonstrator as far from it as it is imitated badly.
        sigma = heads.log_sigma + np.float32(np.log(scale.sigma)) if expert else np.full_like(heads.log_sigma, -9.0)
        noise = np.full(2, NOISE**2, np.float32)
        plain = EvidenceScale(sigma=1.0, width=2.0, outliers=0.01)
        evidence[c, :n] = step_log_likelihoods(ActionHeads(heads.out, sigma), done, noise, inference.units, plain)[0][0]
        residuals[:n, 2 * c : 2 * c + 2] = done - np.clip(heads.out[0], -1, 1)
        residuals[:n, -2:] = done
    return evidence, residuals


def recognised(found: Stage, n_steps: int) -> Int[np.ndarray, "k n"]:
    """Who acted, by likelihood, from the first steps."""
    picked: Array = np.nansum(found.evidence[..., :n_steps], -1).argmax(-1)
    return picked


def classified(learnt: Stage, found: Stage, n_steps: int, linear: bool, seed: int) -> Int[np.ndarray, "k n"]:
    """Who acted, by a classifier that was trained on other tasks.

    The linear one sees summary statistics of the whole episode; the other one, a network over the steps, all that
    every candidate would have done, and what was done.
    """
    label = np.arange(len(AGENTS)).repeat(learnt.lengths.shape[1])
    x, y = (_inputs(one, n_steps, linear) for one in (learnt, found))
    picked: Array = classify(x, label, y, len(AGENTS), 0 if linear else HIDDEN, seed)
    return picked.reshape(found.lengths.shape)


def _inputs(one: Stage, n_steps: int, linear: bool) -> Float[np.ndarray, "n f"]:
    if linear:
        return one.summaries.reshape(-1, one.summaries.shape[-1])
    seen = one.features[..., :n_steps, :]
    n = np.minimum(one.lengths, n_steps)[..., None]
    log_likelihood = np.nansum(one.evidence[..., :n_steps], -1) / n
    moments = [seen.sum(-2) / n, np.sqrt(np.square(seen).sum(-2) / n), np.abs(seen).sum(-2) / n, log_likelihood]
    features = np.concatenate([*moments, log_likelihood - log_likelihood.max(-1, keepdims=True), n / LONGEST], -1)
    flat: Array = features.reshape(-1, features.shape[-1])
    return flat


def accuracy(picked: Int[np.ndarray, "k n"]) -> dict[str, Any]:
    """How often the right agent was named, with Wilson's interval, and for each agent whom it was taken for."""
    right = picked == np.arange(len(AGENTS))[:, None]
    k, n = int(right.sum()), right.size
    taken = {a: {b: float((picked[i] == j).mean()) for j, b in enumerate(AGENTS)} for i, a in enumerate(AGENTS)}
    return {"accuracy": k / n, "ci95": list(wilson(k, n)), "n": n, "taken for": taken}


def controls(learnt: Stage, found: Stage, mixed: Stage, seed: int) -> dict[str, Any]:
    """What nobody can know. Every method must be at chance.

    Two names for one policy: its own episodes, of which each is called one or the other at random. Shuffled actions:
    see `shuffled`; whose name is asked for is whoever came to the states.
    """
    rng, chance = np.random.default_rng([seed, MORE]), 1 / len(AGENTS)
    own, asked = learnt.of_agent(0), found.of_agent(0)
    names, right = (rng.integers(2, size=one.lengths.size) for one in (own, asked))
    report: dict[str, Any] = {
        f"two names, {name}": _rate(
            classify(_inputs(own, LONGEST, linear), names, _inputs(asked, LONGEST, linear), 2, hidden, seed) == right,
            0.5,
        )
        for name, linear, hidden in (("classifier", False, HIDDEN), ("linear", True, 0))
    }
    # Both names have the same likelihood at every step, so that it can only draw.
    report["two names, by likelihood"] = _rate(rng.integers(2, size=len(right)) == right, 0.5)
    who = np.arange(len(AGENTS))[:, None]
    report["shuffled actions, by likelihood"] = _rate((recognised(mixed, LONGEST) == who).ravel(), chance)
    picked = classified(learnt, mixed, LONGEST, False, seed)
    report["shuffled actions, classifier"] = _rate((picked == who).ravel(), chance)
    return report


def _rate(right: Array, chance: float) -> dict[str, Any]:
    found = rate(right.ravel())
    low, high = found["ci95"]
    return found | {"chance": chance, "at chance": bool(low <= chance <= high)}


def mirror(
    first: Inference, second: Inference, family: ReachManners, indices: list[int], others: list[int], seed: int,
    calibration: RecognitionCalibration,
) -> dict[str, Any]:  # fmt: skip
    """The table: accuracy against steps seen by likelihood, by both classifiers, chance, and the controls."""
    found, mixed = stage(first, second, family, indices, seed, calibration.scale)
    learnt = stage(first, second, family, others, seed + 1, calibration.scale)[0]
    return {
        "n_tasks": len(indices), "n_tasks_of_classifiers": len(others), "agents": list(AGENTS),
        "chance": 1 / len(AGENTS), "noise": NOISE, "seed": seed,
        "by likelihood": {str(n): accuracy(recognised(found, n)) for n in STEPS},
        "classifier with access to everything": {
            str(n): accuracy(classified(learnt, found, n, False, seed)) for n in STEPS
        },
        "linear, on summary statistics": accuracy(classified(learnt, found, LONGEST, True, seed)),
        "controls": controls(learnt, found, mixed, seed),
    }  # fmt: skip
