"""D-REX's protocol: better than a few bad demonstrations, by asking, beside the clone and D-REX itself.

    python -m benchmarks.drex [--env HalfCheetah-v5 Hopper-v5] [--demos 1 4] [--seed 0] [--part asked drex]
    python -m benchmarks.drex --quick --runs DIR --results DIR    # does it work? a minute, and figures without meaning

PPO learns on the environment's reward, and an early look of it demonstrates (Brown, Goo and Niekum, 2019). Everybody
else is given one or four of these episodes, and no reward: a clone acts in each of 20 levels of noise, 5 episodes each.
`asked` trains the policy that follows `better` on them, asks it, and lets it try; `drex` learns D-REX's reward, and
RLlib's PPO optimises it. All looks of the demonstrator but its own are unseen episodes, which rankings are compared on.
A part that is in benchmarks/results/drex is not done again; within a part, what is in --runs is not. Ends with tables.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from benchmarks.surpassing.asking import AskedQuality, asked_policy
from benchmarks.surpassing.bradley_terry import BradleyTerry, train_rewards
from benchmarks.surpassing.demonstrating import BAD, demonstrations, looks_of, unscored, unseen
from benchmarks.surpassing.expecting import ExpectedReturn
from benchmarks.surpassing.grading import (
    GRADED_STREAM,
    LEVELS,
    PER_LEVEL,
    Clone,
    actions_of,
    flat,
    kept_rounds,
    to_ask_of,
)
from benchmarks.surpassing.locomotion import ROWS, Locomotion, n_steps, roll_out
from benchmarks.surpassing.optimising import learnt_pay, optimise
from benchmarks.surpassing.trying import acting_on, try_out
from benchmarks.trained import ROOT, measure_once, table, write_page
from metalearn.adapter import Actor
from metalearn.benchmark.figures import CONFIDENCE, RESAMPLES, mean
from metalearn.data.asks import NOTHING, Ask, Better
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.evaluation.protocol import returned
from metalearn.training.collect import one_thread

RESULTS = ROOT / "benchmarks" / "results" / "drex"
TEST_STREAM, FRESH_STREAM, OWN_STREAM, MISTIMED_STREAM = 1 << 50, 1 << 51, 1 << 52, 1 << 53
RANKING = "expectations, two kinds of noise"
"""By which own attempts are judged."""
ACTION_COST = {"HalfCheetah-v5": 0.1, "Hopper-v5": 0.001}
"""That D-REX's code adds to what it learnt, as the environments have it."""
PAPER = BradleyTerry()
ASKS = {"nothing": NOTHING, "better by 0.25": Ask((Better(0.25),)), "better": Ask((Better(),))}


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        looked_at: environment steps of the demonstrator, whose looks are the unseen episodes.
        cloned: gradient steps of the clone.
        asked: gradient steps of the policy that is asked.
        tried: environment steps of its own attempts.
        optimised: environment steps of PPO on D-REX's reward.
        test: episodes that a return is the mean of.
        reward: how D-REX's reward is learnt.
    """

    looked_at: int = 1_000_000
    cloned: int = 5_000
    asked: int = 1_500
    tried: int = 1_000_000
    optimised: int = 1_000_000
    test: int = 100
    reward: BradleyTerry = PAPER


QUICK = Size(16_384, 50, 20, 20_000, 8_192, 20, BradleyTerry(pairs=200, networks=2, width=16, steps=20))


@dataclass(frozen=True)
class Setting:
    """One environment, number of demonstrations and seed, and what all methods have in common there."""

    env: str
    n_demos: int
    seed: int
    runs: Path
    size: Size

    @property
    def title(self) -> str:
        return f"{self.env}-{self.n_demos}demo{'s' if self.n_demos > 1 else ''}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        return self.runs / self.title

    @cached_property
    def family(self) -> Locomotion:
        return Locomotion(self.env)

    @cached_property
    def _looks(self) -> tuple[Any, int, list[Episode]]:
        looks = looks_of(self.family, self.size.looked_at, self.seed, self.runs / f"{self.env}-looks-seed{self.seed}")
        return looks, *demonstrations(looks, BAD[self.env])

    @cached_property
    def demos(self) -> list[Episode]:
        """With their rewards, which only the figures read."""
        return self._looks[2][: self.n_demos]

    @cached_property
    def cloned(self) -> Clone:
        return Clone.of(self.family, self.demos, self.size.cloned, self.seed)

    @cached_property
    def rounds(self) -> list[list[Episode]]:
        """What everybody learns from, with rewards that only the figures read."""
        return self.graded(lambda _: self.cloned, GRADED_STREAM, "graded")

    def graded(
        self,
        acting: Callable[[int], Actor],
        stream: int,
        name: str,
        instead: Float[np.ndarray, "n a"] | None = None,
    ) -> list[list[Episode]]:
        """Rounds of an actor with noise, kept under a name."""
        return kept_rounds(self.family, acting, stream + self._stream, self.folder / name, instead)

    @property
    def _stream(self) -> int:
        return 10_000 * self.seed + 1_000 * self.n_demos

    @cached_property
    def strangers(self) -> dict[str, tuple[list[Episode], Int[np.ndarray, " e"]]]:
        """Sets of episodes that nobody learns from, and of each episode the look or level that it is of."""
        looks, chosen, _ = self._looks
        fresh, noise = flat(self.graded(lambda _: self.cloned, FRESH_STREAM, "fresh"))
        return {"looks": unseen(looks, chosen), "noise": (fresh, np.searchsorted(LEVELS, noise))}

    def about(self) -> dict[str, Any]:
        """What all methods share, and the steps that it took."""
        looks, chosen, _ = self._looks
        episodes, noise = flat(self.rounds)
        falls = {
            f"{level:.2f}": float(returned([e for e, n in zip(episodes, noise, strict=True) if n == level]).mean())
            for level in LEVELS
        }
        return {
            "env": self.env, "demos": self.n_demos, "seed": self.seed,
            "demonstrations": returned(self.demos).tolist(),
            "demonstrator's steps": int(looks.tasks[chosen].task),
            "graded steps": n_steps(episodes),
            "graded": falls,
            "looks": {r.task: float(returned(r.experts).mean()) for r in looks.tasks},
        }  # fmt: skip

    def ranked(self, rank: Callable[[Sequence[Episode]], Float[np.ndarray, " e"]]) -> dict[str, Any]:
        """How a ranking agrees with the true returns of each set of strangers."""
        return {name: agreement(returned(e), rank(e), of) for name, (e, of) in self.strangers.items()}

    def achieved(self, acting: Callable[[int], Actor]) -> dict[str, Any]:
        """The mean return of `acting` (on so many rows) in test episodes, and over that of the best demonstration."""
        rows = [ROWS] * (self.size.test // ROWS)
        returns = returned(roll_out(self.family, [(acting(n), n) for n in rows], TEST_STREAM + self.seed))
        best = float(returned(self.demos).max())
        return {"return": mean(returns), "over the best": mean(returns / best)}


def agreement(
    true: Float[np.ndarray, " e"], ranks: Float[np.ndarray, " e"], groups: Int[np.ndarray, " e"]
) -> dict[str, Any]:
    """Pearson's and Spearman's correlation of ranks and true returns, with intervals over groups of episodes."""
    from scipy.stats import rankdata

    rng, names = np.random.default_rng(41), np.unique(groups)
    members = [np.flatnonzero(groups == name) for name in names]
    draws = [np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))]) for _ in range(RESAMPLES)]
    found: dict[str, Any] = {"n": len(true), "true": [float(true.min()), float(true.max())]}
    for name, (x, y) in {"pearson": (true, ranks), "spearman": (rankdata(true), rankdata(ranks))}.items():
        values = [correlation(x[drawn], y[drawn]) for drawn in draws]
        found[name] = {"value": correlation(x, y), "ci95": [float(q) for q in np.percentile(values, CONFIDENCE)]}
    return found


def correlation(x: Float[np.ndarray, " e"], y: Float[np.ndarray, " e"]) -> float:
    """Pearson's; 0 where one of them never changes."""
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else 0.0


@one_thread()
def asked(setting: Setting) -> dict[str, Any]:
    """The clone, and the policy that is asked: its rankings, what it does at once, and what after attempts."""
    about = setting.about()
    processor = time.process_time()
    data = to_ask_of(setting.family, setting.demos, setting.rounds)
    policy = asked_policy(setting.title.lower(), data, setting.size.asked, setting.seed, setting.folder / "asked")
    demos, rng = unscored(setting.demos), np.random.default_rng(setting.seed)
    acting: dict[str, Callable[[int], Actor]] = {"clone": lambda _: setting.cloned}
    for name, ask in ASKS.items():
        acting[f"asked for {name}"] = lambda n, ask=ask: policy.adapt([Context(demos, (), ask)] * n, rng)
    better = acting["asked for better"]
    own = roll_out(setting.family, [(better(PER_LEVEL), PER_LEVEL)], OWN_STREAM + setting.seed)
    mistimed = setting.graded(better, MISTIMED_STREAM, "mistimed", actions_of(own))
    worst = min(data.tasks[0].others, key=lambda one: one.quality)
    rankings = {
        "what was asked for": AskedQuality(policy, worst.demos, worst.quality).rank,
        "expectations, one kind of noise": ExpectedReturn.of([flat(setting.rounds)]).rank,
        "expectations, two kinds of noise": ExpectedReturn.of([flat(setting.rounds), flat(mistimed)]).rank,
    }
    [belief] = policy.infer_belief([Context(demos, (), ASKS["better"])])
    tried = try_out(policy, belief.latent, rankings[RANKING], setting.family, setting.size.tried, setting.seed)
    acting["after own attempts"] = lambda n: acting_on(policy, np.repeat(tried.latent[None], n, 0))
    return about | {
        "own steps": n_steps(own) + n_steps(flat(mistimed)[0]) + tried.steps[-1],
        "attempts": {"steps": tried.steps, "ranks": tried.ranks},
        "ranking": {name: setting.ranked(rank) for name, rank in rankings.items()},
        "achieved": {name: setting.achieved(one) for name, one in acting.items()},
        "processor_s": round(time.process_time() - processor, 1),
    }


def drex(setting: Setting) -> dict[str, Any]:
    """D-REX's reward, and PPO on it."""
    about = setting.about()
    processor = time.process_time()
    episodes, noise = flat(setting.rounds)
    learnt, right = train_rewards(episodes, noise, setting.size.reward, setting.seed)
    curve: dict[str, Any] = {}

    def look(used: int, policy: Actor, _exploring: Actor) -> None:
        curve[str(used)] = setting.achieved(lambda _: policy)
        print(f"{setting.title} PPO on D-REX's reward {used}: {curve[str(used)]['return']['mean']:.0f}", flush=True)

    pay = learnt_pay(learnt.rewards, ACTION_COST[setting.env])
    optimise(setting.family, pay, setting.size.optimised, max(1, setting.size.optimised // 8), setting.seed, look)
    last = max(curve, key=int)
    return about | {
        "reward": asdict(setting.size.reward) | {"pairs that it got right": right},
        "own steps": int(last),
        "curve": curve,
        "ranking": {"D-REX": setting.ranked(learnt.rank)},
        "achieved": {"D-REX": curve[last]},
        "processor_s": round(time.process_time() - processor, 1),
    }


PARTS: dict[str, Callable[[Setting], dict[str, Any]]] = {"asked": asked, "drex": drex}


# -- the page -------------------------------------------------------------------------------------------------------

RANKED = """Correlation of rankings with the true returns of episodes that nobody learnt from: all other looks of the
demonstrator, most of them better than the demonstrations, and a clone with the noise that was trained on. 95% intervals
are over looks and levels."""
ACHIEVED = """Mean return of test episodes, with 95% intervals over them, and how many times that of the best
demonstration it is. Environment steps are those of the graded episodes and of own attempts, or of PPO."""


def page(results: Path) -> str:
    """Every result in a folder as tables in Markdown."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    head = ("environment", "demonstrations", "seed")
    ranked = [(one, name, sets) for one in found for name, sets in one["ranking"].items()]
    achieved = [(one, name, figures) for one in found for name, figures in one["achieved"].items()]
    lines = [
        RANKED,
        "",
        *table(
            (*head, "ranking", "looks, Pearson", "looks, Spearman", "noise, Pearson"),
            ([*_cells(one), name, *_agreements(sets)] for one, name, sets in _sorted(ranked)),
        ),
        "",
        ACHIEVED,
        "",
        *table(
            (*head, "best demonstration", "who", "return", "times the best", "environment steps"),
            (
                [*_cells(one), f"{max(one['demonstrations']):.0f}", name, *_figures(figures), _steps(one, name)]
                for one, name, figures in _sorted(achieved)
            ),
        ),
    ]
    return "\n".join(lines) + "\n"


def _sorted(rows: Sequence[tuple[dict[str, Any], str, Any]]) -> list[tuple[dict[str, Any], str, Any]]:
    """The parts of a setting together."""
    return sorted(rows, key=lambda row: (row[0]["env"], row[0]["demos"], row[0]["seed"]))


def _cells(one: dict[str, Any]) -> list[str]:
    return [one["env"], str(one["demos"]), str(one["seed"])]


def _agreements(sets: dict[str, Any]) -> list[str]:
    return [
        _said(sets[name][how]["value"], sets[name][how]["ci95"], 2)
        for name, how in (("looks", "pearson"), ("looks", "spearman"), ("noise", "pearson"))
    ]


def _figures(figures: dict[str, Any]) -> list[str]:
    return [
        _said(figures[name]["mean"], figures[name]["ci95"], digits)
        for name, digits in (("return", 0), ("over the best", 2))
    ]


def _steps(one: dict[str, Any], name: str) -> str:
    own = one["own steps"] if name in {"D-REX", "after own attempts"} else 0
    graded = 0 if name == "clone" else one["graded steps"]
    return f"{graded + own:,}"


def _said(value: float, interval: Sequence[float], digits: int) -> str:
    low, high = interval
    return f"{value:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", nargs="+", choices=BAD, default=list(BAD))
    parser.add_argument("--demos", nargs="+", type=int, choices=range(1, 6), default=[1, 4])
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="hardly anything, to see whether it works at all")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "drex", help="folder of what is made on the way")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of a JSON file per setting and part")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    given.results.mkdir(parents=True, exist_ok=True)
    size = QUICK if given.quick else Size()
    for part in given.part:
        for seed in given.seed:
            for env in given.env:
                for n_demos in given.demos:
                    setting = Setting(env, n_demos, seed, given.runs.resolve(), size)
                    measure_once(given.results, f"{setting.title}-{part}", partial(PARTS[part], setting))
    write_page(given.results, page)


if __name__ == "__main__":
    main()
