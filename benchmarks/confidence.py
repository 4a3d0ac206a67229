"""Calibrate the shipped models, and measure on held-out test tasks what their confidence and novelty are worth.

    python benchmarks/confidence.py calibrate [MODEL ...]   # writes models/MODEL/confidence.safetensors
    python benchmarks/confidence.py measure [MODEL ...]     # writes benchmarks/results/confidence.{json,png,md}
    python benchmarks/confidence.py page                    # only the page and the picture again, from the JSON

Calibration plays validation tasks; `measure` plays test tasks, which calibration never sees.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metalearn.bundle import Bundle
from metalearn.confidence import Confidence, ConfidenceEstimate
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.evaluation.calibration import Bin, auroc, describe
from metalearn.evaluation.plots import draw_reliability
from metalearn.model.inference import Inference
from metalearn.tasks.envs.reach import Reach
from metalearn.tasks.family import Family, make_vec, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import RandomActor, demonstrate, episode_seeds, rollout
from metalearn.training import calibrate as calibration
from metalearn.training.collect import ProcessCollector

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
STREAM = 15_000
N_TASKS = {"reach": 2000, "reach-m4": 1500, "push": 200}  # of the test split; push is a simulation
N_VALIDATION = {"reach": 2048, "reach-m4": 2048, "push": 400}
N_DEMOS = {"reach": 1000, "reach-m4": 1000, "push": 100}
N_STRANGE = {"reach": 500, "reach-m4": 500, "push": 60}
SEED = 1


def say(what: str, done: int, total: int) -> None:
    print(f"{what} {done}/{total}", flush=True)


def calibrate(names: Sequence[str], workers: int) -> None:
    """Give each shipped model its confidence; weights and id stay."""
    for name in names:
        folder, started = ROOT / "models" / name, time.monotonic()
        bundle = Bundle.load(folder)
        collector = ProcessCollector(workers) if workers else None
        calibrated = calibration.calibrate(bundle, n_tasks=N_VALIDATION[name], collector=collector, progress=say)
        if collector is not None:
            collector.close()
        assert calibrated.id == bundle.id
        calibrated.save(folder)
        print(f"{name}: calibrated in {time.monotonic() - started:.0f} s")


def measure(name: str) -> dict[str, Any]:
    """Success prediction on attempts at test tasks, and how well strange demos are told, of one model."""
    bundle = Bundle.load(ROOT / "models" / name)
    plan = calibration.plan_of(bundle, "test", N_TASKS[name], SEED)
    assert plan is not None
    collector = calibration.SerialCollector()
    records = calibration.demonstrate(plan, collector, say)
    contexts = [Context(record.demos[:1]) for record in records]
    played = calibration.play(plan, bundle, records, contexts, collector, say)
    situations = list(played.situations())
    estimates = estimate_all(bundle, [context for _, context, _ in situations])
    n_trials = np.array([len(context.trials) for _, context, _ in situations])
    outcomes = np.stack([outcome for _, _, outcome in situations])
    found = success_figures(estimates, outcomes, n_trials)
    found["contexts_of_strange_demos"] = strange_contexts(bundle, plan, estimates, outcomes, n_trials)
    found |= {"bundle": bundle.id, "family": plan.family, "n_tasks": plan.n_tasks, "seed": SEED}
    return found | {"strange_demos": strange_demos(bundle, find_family(plan.family), N_DEMOS[name])}


def success_figures(estimates: Sequence[ConfidenceEstimate], outcomes: Array, n_trials: Array) -> dict[str, Any]:
    """Of the next attempt, of the one after it, and of the value of a trial; over all and by trials so far."""
    success = np.array([e.success for e in estimates])
    later = np.clip(success + np.array([e.value_of_trial for e in estimates]), 0, 1)
    found: dict[str, Any] = {}
    for name, predicted, came in (("next_attempt", success, outcomes[:, 0]), ("attempt_after", later, outcomes[:, 1])):
        known = ~np.isnan(came)
        found[name] = {"all": describe(predicted[known], came[known] > 0.5)}
        for trials in np.unique(n_trials[known]):
            here = known & (n_trials == trials)
            found[name][f"after_{trials}_trials"] = describe(predicted[here], came[here] > 0.5)
    both = ~np.isnan(outcomes[:, 1])
    found["value_of_trial"] = {
        f"after_{trials}_trials": {
            "predicted": float((later - success)[both & (n_trials == trials)].mean()),
            "measured": float((outcomes[:, 1] - outcomes[:, 0])[both & (n_trials == trials)].mean()),
        }
        for trials in np.unique(n_trials[both])
    }
    return found


def strange_contexts(
    bundle: Bundle, plan: calibration.Plan, estimates: Sequence[ConfidenceEstimate], outcomes: Array, n_trials: Array
) -> dict[str, Any]:
    """First attempts after demos that make no sense, of three kinds: those that calibration has seen, random
    walks, and the ordinary demo of another task, which nobody can tell from the right one.
    """
    small = replace(plan, n_tasks=min(plan.n_tasks, N_STRANGE[bundle.name]), n_attempts=1, seed=SEED + 1)
    collector = calibration.SerialCollector()
    family, rng = find_family(plan.family), np.random.default_rng(SEED)
    records = calibration.demonstrate(small, collector, say)
    shown_as = [Context(record.demos[:1]) for record in records]
    walks = random_walks(family, small.n_tasks)
    kinds = {
        "as in calibration": [
            calibration.strange(c, shown_as[i - 1], bundle.spec, rng) for i, c in enumerate(shown_as)
        ],
        "random walk": [Context((walk,)) for walk in walks],
        "demo of another task": [*shown_as[1:], shown_as[0]],
    }
    first = n_trials == 0
    ordinary = np.array([e.success for e in estimates])[first], outcomes[first, 0] > 0.5
    found = {}
    for kind, contexts in kinds.items():
        played = calibration.play(small, bundle, records, contexts, collector, say)
        predicted = np.array([e.success for e in estimate_all(bundle, contexts)])
        came = np.array([bool(attempts[0].success) for attempts in played.attempts])
        p, y = (np.concatenate(pair) for pair in zip(ordinary, (predicted, came), strict=True))
        found[kind] = describe(predicted, came) | {"auroc_with_ordinary_ones": auroc(p[~y], p[y])}
    return found


def estimate_all(bundle: Bundle, contexts: Sequence[Context]) -> list[ConfidenceEstimate]:
    """What the confidence of a bundle says of each context."""
    confidence = Confidence.of(bundle)
    assert confidence is not None, f"{bundle.name} is not calibrated"
    beliefs = Inference.load(bundle).infer_belief(contexts)
    found = (confidence.estimate(belief, context) for belief, context in zip(beliefs, contexts, strict=True))
    return [one for one in found if one is not None]  # None is for asks, and nothing is asked for here


def strange_demos(bundle: Bundle, family: Family, n: int) -> dict[str, Any]:
    """AUROC of the novelty score, in-family test demos against each alternative; share called unlike anything."""
    confidence = Confidence.of(bundle)
    assert confidence is not None
    assert confidence.novelty is not None
    ordinary = shown(family, n, STREAM)
    usual = confidence.novelty.scores(ordinary)
    found = {"in family": {"flagged": flagged(confidence, usual), "n": len(ordinary)}}
    for name, demos in alternatives(family, ordinary, n).items():
        scores = confidence.novelty.scores(demos)
        found[name] = {"auroc": auroc(usual, scores), "flagged": flagged(confidence, scores), "n": len(demos)}
    return found


def flagged(confidence: Confidence, scores: Array) -> float:
    """Share of demos with novelty of at least 0.99."""
    assert confidence.novelty is not None
    return float(np.mean([confidence.novelty.quantile(float(score)) >= 0.99 for score in scores]))


def alternatives(family: Family, ordinary: Sequence[Episode], n: int) -> dict[str, list[Episode]]:
    """Demos that are not the family's own."""
    rng = np.random.default_rng(0)
    found = {"random walk": random_walks(family, n)}
    found["time reversed"] = [Episode.of(demo.observations[::-1]) for demo in ordinary]
    found["ends as another demo ends"] = [
        joined(a, b) for a, b in zip(ordinary, [*ordinary[1:], ordinary[0]], strict=True)
    ]
    if isinstance(family, Reach):
        for m in range(1, family.n_objects):
            if m != family.n_candidates:
                other = Reach(f"reach-{m}-candidates", family.n_objects, m)
                found[f"reach, {m} candidates instead of {family.n_candidates}"] = shown(other, n, STREAM)
        orders = [rng.permutation(family.n_objects) for _ in ordinary]
        found["entities shuffled once (another task of the family)"] = [
            reordered(demo, [order] * len(demo.observations)) for demo, order in zip(ordinary, orders, strict=True)
        ]
        found["entities shuffled in every frame"] = [
            reordered(demo, [rng.permutation(family.n_objects) for _ in demo.observations]) for demo in ordinary
        ]
    else:
        found["pick-place"] = shown(find_family("pick-place"), n, STREAM)
        found["hand and puck exchanged"] = [hand_for_puck(demo) for demo in ordinary]
    return found


def shown(family: Family, n: int, stream: int) -> list[Episode]:
    """Demonstrations of test tasks."""
    demos: list[Episode] = []
    noise = 0.0 if isinstance(family, Reach) else 0.1  # as the models' own demonstrations
    for part in pieces(family, n):
        demos += demonstrate(family, part, episode_seeds(part, stream, 0), "demo", noise, seed=part[0]).episodes
    return demos


def random_walks(family: Family, n: int) -> list[Episode]:
    """Uniformly random actions in the demo scene."""
    found: list[Episode] = []
    for part in pieces(family, n):
        env = make_vec(family, part, "demo")
        found += rollout(env, RandomActor(env, part[0]), episode_seeds(part, STREAM + 1, 0)).episodes
        env.close()
    return found


def pieces(family: Family, n: int) -> list[list[int]]:
    """Test tasks in pieces that are stepped together."""
    indices = tasks_of(family, "test", n, STREAM)
    return [indices[i : i + 50] for i in range(0, n, 50)]


def joined(first: Episode, second: Episode) -> Episode:
    """The first half of one demo, the second half of another."""
    a, b = first.observations, second.observations
    return Episode.of(np.concatenate([a[: len(a) // 2 + 1], b[len(b) // 2 + 1 :]]))


def reordered(demo: Episode, orders: Sequence[Array]) -> Episode:
    """A reach demo whose objects stand in other slots, one order per observation."""
    own, objects = demo.observations[:, :2], demo.observations[:, 2:].reshape(len(demo) + 1, -1, 2)
    moved = np.stack([places[order] for places, order in zip(objects, orders, strict=True)])
    return Episode.of(np.concatenate([own, moved.reshape(len(own), -1)], 1))


def hand_for_puck(demo: Episode) -> Episode:
    """A Meta-World demo in which hand and puck have each other's places, in this frame and the one before."""
    seen = demo.observations.copy()
    for start in (0, 18):
        hand, puck = slice(start, start + 3), slice(start + 4, start + 7)
        seen[:, hand], seen[:, puck] = demo.observations[:, puck], demo.observations[:, hand]
    return Episode.of(seen)


def page(report: dict[str, Any]) -> Iterator[str]:
    """The measured figures as tables."""
    yield "# What confidence and novelty are worth\n"
    yield "From `confidence.json`, by `python benchmarks/confidence.py page`; measured by `... measure`.\n"
    yield "![predicted against measured success](confidence.png)\n"
    for name, found in report.items():
        yield f"## `{name}`\n"
        yield f"{found['n_tasks']:,} test tasks of `{found['family']}`, seed {found['seed']}.\n"
        yield from table(
            ["next attempt", "n", "predicted", "succeeded", "calibration error", "Brier", "Brier of the rate", "AUROC"],
            [[kind.replace("_", " "), *described(one)] for kind, one in found["next_attempt"].items()],
        )
        yield from table(
            ["value of one more trial", "predicted", "measured"],
            [
                [kind.replace("_", " "), f"{one['predicted']:.3f}", f"{one['measured']:.3f}"]
                for kind, one in found["value_of_trial"].items()
            ],
        )
        yield from table(
            ["first attempt after a strange demo", "n", "predicted", "succeeded", "AUROC, with ordinary ones"],
            [
                [kind, *described(one)[:3], number(one["auroc_with_ordinary_ones"])]
                for kind, one in found["contexts_of_strange_demos"].items()
            ],
        )
        yield from table(
            ["novelty of demos", "n", "called unlike anything (0.99 or more)", "AUROC against the family's own"],
            [
                [kind, f"{one['n']:,}", f"{one['flagged']:.3f}", number(one.get("auroc"))]
                for kind, one in found["strange_demos"].items()
            ],
        )


def described(one: dict[str, Any]) -> list[str]:
    """Format the result of `calibration.describe` as cells."""
    rates = [number(one[key]) for key in ("predicted", "rate", "ece", "brier", "brier_of_rate", "auroc")]
    return [f"{one['n']:,}", *rates]


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["calibrate", "measure", "page"])
    parser.add_argument("models", nargs="*", default=list(N_TASKS))
    parser.add_argument("--workers", type=int, default=0, help="processes that play; 0: this one")
    given = parser.parse_args()
    if given.what == "calibrate":
        calibrate(given.models, given.workers)
        return
    path = RESULTS / "confidence.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    for name in given.models if given.what == "measure" else ():
        report[name] = measure(name)
        path.write_text(json.dumps(report, indent=1) + "\n")  # what took minutes is kept if the next one fails
    panels = {name: [Bin(**b) for b in found["next_attempt"]["all"]["bins"]] for name, found in report.items()}
    draw_reliability(panels, RESULTS / "confidence.png")
    (RESULTS / "confidence.md").write_text("\n".join(page(report)))


if __name__ == "__main__":
    main()
