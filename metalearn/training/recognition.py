"""Calibrating recognition: what evidence is worth, what actions do, and whom the model knows, on validation tasks.

Fits nine numbers by maximum likelihood of the right answers. The policy stays as it is.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from metalearn.adapter import ActionHeads
from metalearn.bundle import Bundle
from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig
from metalearn.data.units import Units
from metalearn.evaluation.recognition import MORE, WATCHED, Scored, make_cases, play_experts, score
from metalearn.model.inference import Inference
from metalearn.recognition import InverseModel, RecognitionCalibration
from metalearn.recognition.calibration import EvidenceScale
from metalearn.recognition.likelihood import chance, predictive, step_log_likelihoods
from metalearn.recognition.posterior import posterior
from metalearn.tasks.family import tasks_of
from metalearn.tasks.registry import find_family
from metalearn.training.calibrate import plan_of
from metalearn.training.collect import one_thread
from metalearn.training.minutes import RECOGNITION

MOST_CASES, FEWEST_CASES, POPULATION, EPISODES = 400, 8, 256, 64
EPISODES_A_CASE = 10  # that its experts play: of six candidates, half of them twice, and of who is to be recognised
SIBLINGS = 0.5  # how often a candidate is one that is as alike as the family has them
MOST_EVALUATIONS, MOST_STEPS = 40, 40  # of the search, and of each descent in it
N_COUNTED = 6  # numbers that say what evidence counts, beside three for residuals
SHRINKING = 1e-3
LARGEST_ENCODED = 512  # numbers beside pictures in an observation, from which on no inverse is fitted

Progress = Callable[[str, int, int], None]


def calibrate_recognition(
    bundle: Bundle, *, n_cases: int | None = None, seed: int = 0, siblings: float = SIBLINGS,
    progress: Progress | None = None,
) -> Bundle:  # fmt: skip
    """Return the same bundle (same weights, same id) with a calibrated recognition.

    A bundle whose tasks nobody can play, or whose family has no expert or hardly any validation tasks, comes back as
    it is.

    Args:
        bundle: a trained policy.
        n_cases: validation tasks whose experts are to be recognised, at most 400; None: where minutes count about as
            many as a fiftieth of those of the training allows.
        seed: which tasks and layouts.
        siblings: how often a candidate is a sibling of who acted, rather than the expert of any task.
        progress: is told what is done of what; may raise to stop.
    """
    plan = plan_of(bundle, "validation", min(MOST_CASES, n_cases or MOST_CASES), seed)
    if plan is None or plan.n_tasks < FEWEST_CASES:
        return bundle
    tell = progress or (lambda what, done, total: None)
    family = find_family(plan.family)
    indices = tasks_of(family, plan.split, plan.n_tasks, seed + MORE)
    # Experts of other tasks than those of the cases, as far as there are any.
    strangers = tasks_of(family, plan.split, min(POPULATION, len(family.splits[plan.split])), seed + MORE + 1)
    tell("recognition: episodes", 0, 1)
    try:
        began = time.monotonic()
        shown = [Context((demo,)) for demo in play_experts(family, strangers, seed, WATCHED, 99)]
        if n_cases is None:
            a_case = EPISODES_A_CASE * (time.monotonic() - began) / len(strangers)
            indices = indices[: max(FEWEST_CASES, int(min(MOST_CASES, plan.seconds(RECOGNITION) / a_case)))]
        # Half of the candidates were watched once, the others twice.
        halves = indices[::2], indices[1::2]
        cases = [
            case
            for number, half in enumerate(halves)
            for case in make_cases(family, half, seed=seed + number, n_demos=number + 1, alike=siblings)
        ]
    except InvalidConfig as error:
        if "no expert" in str(error):
            return bundle
        raise
    with one_thread():
        inference = Inference.load(bundle)
        others = play_experts(family, indices[:EPISODES], seed, MORE, 0)
        inverse = InverseModel.fit([*others, *(case.episode for case in cases[:EPISODES])], inference.units)
        known = RecognitionCalibration(EvidenceScale(), inverse, tuple(inference.infer_belief(shown)), fitted=True)
        scored = score(inference, cases, known)
        tell("recognition: scale", 0, 1)
        found = replace(known, scale=fit_scale(scored, inference.units, np.random.default_rng([seed, 16])))
    tell("recognition: scale", 1, 1)
    made = {"family": plan.family, "split": plan.split, "n_cases": len(cases), "seed": seed, "siblings": siblings}
    return bundle.with_recognition(found.to_weights(), made)


def fit_scale(scored: Sequence[Scored], units: Units, rng: np.random.Generator) -> EvidenceScale:
    """The scale that makes the right answers most likely, after any number of steps.

    Every case is looked at whole, and from as many of its first steps as were drawn, uniformly by their logarithm. What
    residuals count is searched for; what evidence counts then follows by a gradient, since its log-likelihoods are
    known.
    """
    lengths = [len(one.case.episode) for one in scored]
    first = [min(n, int(np.exp(rng.uniform(0, np.log(n + 1))))) for n in lengths]
    cells = _Cells([*scored, *scored], [*lengths, *first], units)
    answers = np.array([one.case.answer for one in scored] * 2)
    found = np.zeros(N_COUNTED)

    def fitted(residuals: Float[np.ndarray, " 3"]) -> tuple[float, Float[np.ndarray, " 6"]]:
        candidates, others = cells.log_likelihoods(_scale(np.append(residuals, np.zeros(N_COUNTED))))

        def surprise(counted: Float[np.ndarray, " 6"]) -> float:
            scale = _scale(np.append(residuals, counted))
            p = posterior(candidates, others, cells.n_steps, cells.chance, scale)[np.arange(len(answers)), answers]
            return float(-np.log(np.maximum(p, 1e-12)).mean()) + SHRINKING * float(np.square(counted).sum())

        best = minimize(surprise, found, method="L-BFGS-B", options={"maxiter": MOST_STEPS})
        return float(best.fun) + SHRINKING * float(np.square(residuals).sum()), best.x

    def search(residuals: Float[np.ndarray, " 3"]) -> float:
        lost, found[:] = fitted(residuals)
        return lost

    start = np.zeros(3)
    simplex = np.vstack([start, start + 0.5 * np.eye(3)])
    options = {"maxfev": MOST_EVALUATIONS, "xatol": 0.02, "fatol": 1e-4, "initial_simplex": simplex}
    residuals = minimize(search, start, method="Nelder-Mead", options=options).x
    return _scale(np.append(residuals, fitted(residuals)[1]))


class _Cells:
    """Every step of every case under every policy, in one array: as many small ones would take ten times as long."""

    def __init__(self, scored: Sequence[Scored], steps: Sequence[int], units: Units) -> None:
        self._scored, self._units = scored, units
        self.n_steps, self.chance = np.array(steps), chance(units)
        out, log_sigma, done = [], [], []
        for one, n in zip(scored, steps, strict=True):
            actions = one.case.episode.actions
            assert actions is not None
            for heads in (one.heads, one.expert_heads):
                if heads is not None:
                    m, a = heads.log_sigma.shape
                    out.append(heads.out[:, :n].reshape(m * n, 1, a))
                    log_sigma.append(heads.log_sigma.repeat(n, 0))
                    done.append(np.tile(units.encode_actions(actions[:n]), (m, 1))[:, None])
        self._heads = ActionHeads(np.concatenate(out), np.concatenate(log_sigma))
        self._done = np.concatenate(done)

    def log_likelihoods(self, scale: EvidenceScale) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, "n w"]]:
        """Of all steps of each case: under its candidates, and under others; -inf where a case has fewer of them."""
        nothing = np.zeros(self._done.shape[-1], np.float32)
        narrow, wide = step_log_likelihoods(self._heads, self._done, nothing, self._units, scale)
        most = max(one.candidates.n for one in self._scored)
        candidates, others = (np.full((len(self._scored), most + more), -np.inf) for more in (0, 2))
        start = 0
        for row, (one, n) in enumerate(zip(self._scored, self.n_steps, strict=True)):
            cells = slice(start, start + len(one.candidates.owner) * n)
            start = cells.stop
            near, far = (predictive(part[cells].reshape(-1, n), one.candidates) for part in (narrow, wide))
            candidates[row, : len(near)], others[row, : len(far)] = near.sum(1), far.sum(1)
            others[row, most] = self.chance * n
            if one.experts is not None:
                cells = slice(start, start + len(one.experts.owner) * n)
                start = cells.stop
                others[row, most + 1] = predictive(narrow[cells].reshape(-1, n), one.experts).sum()
        return candidates, others


def _scale(numbers: Float[np.ndarray, " 9"]) -> EvidenceScale:
    """Nine numbers without bounds as a scale; zeros are the defaults."""
    sigma, width, outliers, weight, dependence, nobody, *by_lead, by_steps = (float(x) for x in np.clip(numbers, -6, 6))
    default = EvidenceScale()
    return EvidenceScale(
        sigma=default.sigma * np.exp(sigma),
        width=1 + (default.width - 1) * np.exp(width),
        outliers=0.5 / (1 + (0.5 / default.outliers - 1) * np.exp(-outliers)),
        weight=default.weight * np.exp(weight),
        dependence=float(1 / (1 + np.exp(-dependence))),
        nobody=2 * nobody,
        weight_lead=by_lead[0],
        nobody_lead=by_lead[1],
        nobody_steps=by_steps,
    )
