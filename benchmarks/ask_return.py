"""Asked for a return: the policy of this project beside learners of others, on the same episodes in the same run.

    pip install --no-deps --target DIR -r benchmarks/others.txt    # no extra: d3rlpy pins a Gymnasium, RLlib another
    PYTHONPATH=DIR python -m benchmarks.ask_return gambling [--methods wtl decision-transformer]
    PYTHONPATH=DIR python -m benchmarks.ask_return cheetah-distance [--tasks 60] [--seed 0]
    PYTHONPATH=DIR python -m benchmarks.ask_return cheetah-distance --quick --runs DIR --results DIR   # does it work?

`wtl` is `wtl train SUBJECT`; if it is not in the folder of runs yet it is trained. All others but PPO learn from the
episodes of its dataset alone, `wtl-recorded` too: the same learner without own trials. Everybody acts in the same
layouts of held-out tasks. What is in the folder of results is not done again. Ends with the page of what is there.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.offline.playing import PaidActor, Unpaid, returns_of
from benchmarks.trained import ROOT, measure_once, table, train, write_page
from metalearn.benchmark.ask_controls import best_tenth, everybody, folder_beside, shuffled, steps_of, trained_on
from metalearn.benchmark.asking import (
    LEVELS,
    STREAM,
    asked,
    asked_and_achieved,
    returns_asked_for,
    trained_returns,
)  # fmt: skip
from metalearn.benchmark.figures import mean
from metalearn.bundle import Bundle, run_bundle
from metalearn.data.asks import NOTHING
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Episode
from metalearn.evaluation.protocol import returned
from metalearn.evaluation.statistics import paired_bootstrap
from metalearn.model.inference import Inference
from metalearn.tasks.family import Family, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import episode_seeds
from metalearn.training.collect import one_thread

RESULTS = ROOT / "benchmarks" / "results" / "ask-return"
LOOKS, LOOK_TASKS = 4, 20  # during a training of others, on validation tasks
OURS = "wtl"
Asked = tuple[Float[np.ndarray, " l"] | None, Float[np.ndarray, "l n"]]
"""Levels that were asked for (None: nothing, and l is 1), and the return of each of n tasks."""


@dataclass(frozen=True)
class Subject:
    """What is asked, of whom, and how long others learn.

    Attributes:
        n_tasks: held-out tasks.
        levels: returns to ask for; None: evenly over the trained range.
        terminated: whether episodes end in a terminal state, rather than when time is up.
        transformer_steps: of gradient descent.
        q_steps: of gradient descent.
        ppo_steps: of the environment; as many as the recorded episodes have.
    """

    n_tasks: int
    levels: tuple[float, ...] | None
    terminated: bool
    transformer_steps: int
    q_steps: int
    ppo_steps: int


SUBJECTS = {
    "gambling": Subject(500, (-15.0, -5.0, -2.5, 1.0, 5.0), True, 300, 3_000, 3_072),
    "cheetah-distance": Subject(60, None, False, 6_000, 20_000, 614_400),
}
QUICK = {"transformer_steps": LOOKS, "q_steps": 4, "ppo_steps": 1}
QUICK_TRAIN = ["--steps", "12", "--set", "data.n_tasks=16", "--set", "training.check_steps=100"]
QUICK_TRAIN += ["--set", "training.batch_tasks=8", "--set", "training.check_tasks=2"]


@dataclass(frozen=True, eq=False)
class Run:
    """One subject with one seed: its data, its tasks, and who learns from the one and acts in the other."""

    name: str
    seed: int
    n_tasks: int
    folder: Path
    quick: bool

    @property
    def subject(self) -> Subject:
        return SUBJECTS[self.name]

    @property
    def family(self) -> Family:
        return find_family(self.name)

    @cached_property
    def bundle(self) -> Bundle:
        """Of `wtl train`, which is called now if it has not been."""
        folder = self.folder / self.name
        if run_bundle(folder) is None:
            options = QUICK_TRAIN if self.quick else []
            train([self.name, "--seed", str(self.seed), "--no-baselines", *options], folder)
        return Bundle.load(folder / "bundle")

    @cached_property
    def ours(self) -> Inference:
        """Its policy."""
        return Inference.load(self.bundle)

    @property
    def own_trials(self) -> bool:
        """Whether it learnt from attempts of its own."""
        return bool(self.bundle.provenance["collections"])

    @cached_property
    def data(self) -> Dataset:
        """What `ours` was trained on."""
        _ = self.bundle
        return Dataset.load(self.folder / self.name / "dataset")

    @cached_property
    def episodes(self) -> list[Episode]:
        """All that can be an answer: what everybody else learns from."""
        return everybody(self.data)

    @cached_property
    def levels(self) -> Float[np.ndarray, " l"]:
        """The returns to ask for."""
        if self.subject.levels is not None:
            return np.array(self.subject.levels)
        return np.linspace(*trained_returns(self.ours), LEVELS)

    @cached_property
    def indices(self) -> list[int]:
        """Held-out tasks."""
        return tasks_of(self.family, "test", self.n_tasks, self.seed)

    def steps(self, of: str) -> int:
        """How long somebody learns."""
        return QUICK[of] if self.quick else int(getattr(self.subject, of))

    def returns(self, actor: PaidActor) -> Float[np.ndarray, " n"]:
        """Of held-out tasks, in the layouts in which ours acts."""
        return returns_of(actor, self.family, self.indices, episode_seeds(self.indices, STREAM + self.seed, 100))

    def look(self, actor: PaidActor) -> float:
        """The mean return of a few validation tasks."""
        few = tasks_of(self.family, "validation", min(LOOK_TASKS, self.n_tasks), self.seed)
        return float(returns_of(actor, self.family, few, episode_seeds(few, STREAM + self.seed, 101)).mean())


# -- the methods ----------------------------------------------------------------------------------------------------


def wtl(run: Run) -> dict[str, Any]:
    """`wtl train`, own trials included, which it learns from in hindsight."""
    record = (run.folder / run.name).with_suffix(".json")
    got = returns_asked_for(run.ours, run.family, run.indices, run.levels, run.seed)
    known = json.loads(record.read_text()) if record.exists() else {}
    trials = "own trials besides" if run.own_trials else "without own trials"
    about = {"what": f"the experiment as it is, {trials}", "processor_s": known.get("processor_s")}
    return about | _policies({"wtl": (run.levels, got)})


def wtl_recorded(run: Run) -> dict[str, Any]:
    """The same learner, with the recorded episodes alone."""
    return _own(run, "recorded", run.data, "wtl, recorded episodes alone", "the same learner without own trials")


def wtl_shuffled(run: Run) -> dict[str, Any]:
    """A control: what is asked for says nothing."""
    return _own(run, "shuffled", shuffled(run.data, run.seed), "wtl, shuffled labels", "each return is another one's")


def bc_of_best(run: Run) -> dict[str, Any]:
    """Imitation of the tenth of episodes with the highest returns."""
    title, what = "imitation of the best tenth", "the same network; nothing is asked for"
    return _own(run, "best-tenth", best_tenth(run.data), title, what, asks=())


def _own(
    run: Run, name: str, data: Dataset, title: str, what: str, asks: tuple[str, ...] = ("return",)
) -> dict[str, Any]:
    beside = run.folder / f"{run.name}-{name}-alone"
    kept = run_bundle(folder_beside(beside, run.bundle)) is not None
    started = time.process_time()
    bundle = trained_on(beside, run.bundle, data, asks)
    spent = None if kept else time.process_time() - started
    policy = Inference.load(bundle)
    if asks:
        found: Asked = run.levels, returns_asked_for(policy, run.family, run.indices, run.levels, run.seed)
    else:
        found = None, returned(asked(policy, run.family, run.indices, [NOTHING] * run.n_tasks, run.seed))[None]
    return {"what": f"{what}; {steps_of(bundle)} steps", "processor_s": spent} | _policies({title: found})


@one_thread()
def decision_transformer(run: Run) -> dict[str, Any]:
    """d3rlpy's, asked for the same returns."""
    from benchmarks.offline.decision_transformer import TransformerActor, drawn, most_probable, train_transformer

    spec, looks, started = run.family.spec, list[dict[str, float]](), time.process_time()
    best, few = float(run.levels.max()), min(LOOK_TASKS, run.n_tasks)

    def look(steps: int, algo: Any) -> None:
        at = time.process_time() - started
        looks.append({"steps": steps, "best asked": run.look(TransformerActor(algo, spec, best, few))})
        print(f"{looks[-1]} {at:.0f} s", flush=True)

    steps = run.steps("transformer_steps")
    algo = train_transformer(
        run.episodes, spec, steps, LOOKS, run.seed, look, terminated=run.subject.terminated
    )  # fmt: skip
    spent = time.process_time() - started
    rng = np.random.default_rng([run.seed, 26])
    ways = {"": most_probable} | ({", choices drawn": drawn(rng)} if spec.discrete else {})
    policies: dict[str, Asked] = {}
    for way, choose in ways.items():
        actors = (TransformerActor(algo, spec, float(level), run.n_tasks, choose) for level in run.levels)
        policies[f"Decision Transformer{way}"] = run.levels, np.stack([run.returns(actor) for actor in actors])
    return {"what": f"d3rlpy, {steps} steps", "processor_s": spent, "looks": looks} | _policies(policies)


@one_thread()
def q_learning(run: Run) -> dict[str, Any]:
    """RLlib's IQL; for choices, which that does not have, d3rlpy's discrete CQL."""
    spec, steps, started = run.family.spec, run.steps("q_steps"), time.process_time()
    if spec.discrete:
        from benchmarks.offline.decision_transformer import train_cql

        title, what = "CQL", "d3rlpy"
        actor: Any = train_cql(run.episodes, spec, steps, run.seed, terminated=run.subject.terminated)
    else:
        from benchmarks.offline.iql import train_iql

        title, what = "IQL", "RLlib"
        actor = train_iql(run.episodes, spec, steps, run.seed)
    spent = time.process_time() - started
    return {"what": f"{what}, {steps} steps", "processor_s": spent} | _policies({title: (None, _once(run, actor))})


@one_thread()
def ppo(run: Run) -> dict[str, Any]:
    """RLlib's PPO from nothing, in a training task, with as many environment steps as the recorded episodes have."""
    from benchmarks.offline.ppo import train_ppo

    started, looks = time.process_time(), list[dict[str, float]]()
    total = run.steps("ppo_steps")

    def look(steps: int, actor: Any) -> None:
        if steps >= len(looks) * total / LOOKS:
            looks.append({"environment steps": steps, "mean return": run.look(Unpaid(actor))})
            print(looks[-1], flush=True)

    [index] = tasks_of(run.family, "train", 1, run.seed)
    actor = train_ppo(run.family, index, total, run.seed, look)
    spent = time.process_time() - started
    n_steps = int(looks[-1]["environment steps"])
    about = {"what": f"RLlib, from scratch, {n_steps:,} environment steps of its own", "environment_steps": n_steps}
    return about | {"processor_s": spent, "looks": looks} | _policies({"PPO": (None, _once(run, actor))})


METHODS: dict[str, Callable[[Run], dict[str, Any]]] = {
    OURS: wtl,
    "wtl-recorded": wtl_recorded,
    "decision-transformer": decision_transformer,
    "q-learning": q_learning,
    "best-tenth": bc_of_best,
    "shuffled": wtl_shuffled,
    "ppo": ppo,
}


def measure(run: Run, method: str) -> dict[str, Any]:
    """Train and try one method."""
    found = METHODS[method](run)
    data = {"episodes": len(run.episodes), "steps": sum(map(len, run.episodes))}
    best = float(returned(run.episodes).max())
    return {"subject": run.name, "seed": run.seed, "method": method, "data": data | {"best return": best}, **found}


def _once(run: Run, actor: Any) -> Float[np.ndarray, "1 n"]:
    return run.returns(Unpaid(actor))[None]


def _policies(found: dict[str, Asked]) -> dict[str, Any]:
    return {
        "policies": {
            title: {
                "levels": None if levels is None else [round(float(level), 4) for level in levels],
                "returns": [" ".join(f"{value:.6g}" for value in row) for row in got],
            }
            for title, (levels, got) in found.items()
        }
    }


# -- the page -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Policy:
    """A measured policy: `got` are the returns of n tasks for each of l asks (one, where nothing is asked for)."""

    title: str
    about: dict[str, Any]
    levels: Float[np.ndarray, " l"] | None
    got: Float[np.ndarray, "l n"]

    @property
    def best(self) -> int:
        """The ask with the highest mean return."""
        return int(self.got.mean(1).argmax())


def page(results: Path) -> str:
    """Every result in a folder: for each subject and seed who follows, how good the best is, and what each ask got."""
    found = [json.loads(path.read_text()) for path in results.glob("*.json")]
    lines = []
    for name, subject in SUBJECTS.items():
        for seed in sorted({one["seed"] for one in found if one["subject"] == name}):
            of = {one["method"]: one for one in found if (one["subject"], one["seed"]) == (name, seed)}
            policies = [
                _read(title, of[m], one) for m in METHODS if m in of for title, one in of[m]["policies"].items()
            ]
            lines += [f"## {name}, seed {seed}", "", *_summary(policies, subject, seed), "", *_achieved(policies), ""]
    head = (
        "# Asked for a return\n\nMade by `python -m benchmarks.ask_return`. Means over held-out tasks, 95% intervals.\n"
    )
    return head + "\n" + "\n".join(lines)


def _read(title: str, about: dict[str, Any], one: dict[str, Any]) -> Policy:
    levels = None if one["levels"] is None else np.array(one["levels"])
    return Policy(title, about, levels, np.array([row.split() for row in one["returns"]], np.float64))


def _summary(policies: Sequence[Policy], subject: Subject, seed: int) -> list[str]:
    head = ("policy", "learnt from", "Spearman", "slope", "best ask", "its return", "`wtl` minus it",
            "recorded alone minus it", "processor, minutes")  # fmt: skip
    own = [next((p for p in policies if p.about["method"] == method), None) for method in (OURS, "wtl-recorded")]
    data, n_tasks = policies[0].about["data"], policies[0].got.shape[1]
    recorded = f"{data['episodes']:,} episodes, {data['steps']:,} steps, best return {data['best return']:.1f}"
    return [
        f"{recorded}; {n_tasks} test tasks.",
        "",
        *table(head, (_summary_row(one, own, subject, seed) for one in policies)),
    ]


def _summary_row(one: Policy, own: Sequence[Policy | None], subject: Subject, seed: int) -> list[str]:
    follows = {"spearman": "", "slope": ""}
    if one.levels is not None and subject.levels is None:
        figures = asked_and_achieved(one.levels, one.got, seed)
        follows = {name: _with_interval(figures[name]["value"], figures[name]["ci95"], 3) for name in follows}
    best, spent = one.got[one.best], one.about["processor_s"]
    reached = mean(best)
    return [
        one.title, one.about["what"], follows["spearman"], follows["slope"],
        "" if one.levels is None else f"{one.levels[one.best]:.1f}", _with_interval(reached["mean"], reached["ci95"]),
        *("" if ours is None or ours is one else _difference(ours, one, seed) for ours in own),
        "" if spent is None else f"{spent / 60:.1f}",
    ]  # fmt: skip


def _difference(ours: Policy, other: Policy, seed: int) -> str:
    rng = np.random.default_rng([seed, 27])
    return _with_interval(*paired_bootstrap(ours.got[ours.best], other.got[other.best], rng))


def _achieved(policies: Sequence[Policy]) -> list[str]:
    """What came of each ask."""
    following = [one for one in policies if one.levels is not None]
    levels = following[0].levels if following else np.zeros(0)
    assert levels is not None
    rows = ([f"{level:.1f}", *(_mean_cell(one.got[i]) for one in following)] for i, level in enumerate(levels))
    return table(("asked for", *(one.title for one in following)), rows)


def _mean_cell(got: Float[np.ndarray, " n"]) -> str:
    found = mean(got)
    return _with_interval(found["mean"], found["ci95"])


def _with_interval(value: float, interval: Sequence[float], digits: int = 2) -> str:
    low, high = interval
    return f"{value:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", nargs="?", choices=SUBJECTS, help="without one only the page is written")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--tasks", type=int, help="held-out tasks, instead of the subject's number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="hardly any training, to see whether it works at all")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="folder of the trainings")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of a JSON file per method")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    given.results.mkdir(parents=True, exist_ok=True)
    if given.subject:
        n_tasks = given.tasks or SUBJECTS[given.subject].n_tasks
        run = Run(given.subject, given.seed, n_tasks, given.runs.resolve(), given.quick)
        for method in given.methods:
            title = f"{given.subject}-{method}-seed{given.seed}"
            known = (given.results / f"{title}.json").exists()
            if method == "wtl-recorded" and not known and not run.own_trials:  # it is `wtl` itself
                continue
            measure_once(given.results, title, partial(measure, run, method))
    write_page(given.results, page)


if __name__ == "__main__":
    main()
