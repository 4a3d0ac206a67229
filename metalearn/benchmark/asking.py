"""`wtl benchmark asks`: does it do what it is asked for? A return, a goal, better than who was watched.

Takes bundles that are trained already, by the experiments of `RUNS`, and trains the controls beside them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr

from metalearn.benchmark.ask_controls import best_tenth, everybody, shuffled, trained_on, unlike
from metalearn.benchmark.figures import CONFIDENCE, RESAMPLES, lines, mean, rate
from metalearn.benchmark.store import read_json, write_json
from metalearn.bundle import Bundle, run_bundle
from metalearn.data.asks import NOTHING, Ask, AskOffer, Better, Goal, Return
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.protocol import returned, succeeded
from metalearn.model.inference import Inference
from metalearn.tasks.envs.gambling import PAYS
from metalearn.tasks.envs.reach import HORIZON, Reach, ReachVectorEnv
from metalearn.tasks.family import Family, SerialVectorEnv, make_vec, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate, episode_seeds, rollout

RUNS = {
    "plain": ("reach-m2", "reach-ask"),
    "gambling": ("gambling",),
    "return": ("cheetah-distance",),
    "control": ("cheetah-distance",),
    "goal": ("reach-ask",),
    "play": ("fetch-goal",),
    "better": ("cheetah-better", "reach-ask"),
}
"""The runs that each part measures."""

PARTS = tuple(RUNS)
TRAINED_BY = {
    "fetch-goal": "--family examples.families.fetch_goal:FetchGoal --set model.asks=goal --set data.n_tasks=25 "
    "--set training.check_tasks=0 --steps 650"
}
"""What `wtl train` is given for runs that are no experiment."""
STREAM = 1 << 45
LEVELS, GRADES = 11, (0.0, 0.2, 0.4, 0.6, 0.8)
FETCH_NEAR = 0.05  # of a goal, in metres, as the environment has it
NEAR = 0.1  # of a place, where reach is; what touches an object
Say = Callable[[str], None]
Measure = Callable[[Path, int, int], dict[str, Any]]


def run(folder: Path, out: Path, *, parts: tuple[str, ...] = (), tasks: int = 500, seed: int = 0, say: Say) -> None:
    """Measure, write `report.json` after every part, and say the figures.

    Args:
        folder: of the trained runs.
        out: of the report; parts that were measured with the same seed stay in it.
        parts: of `PARTS`; all of them if not given.
        tasks: test tasks of each part; where a simulator is slow, a part of them.
        seed: of tasks and layouts.
        say: is given each line.

    Raises:
        InvalidConfig: an unknown part, or a bundle is missing; the message has the command that trains it.
    """
    if unknown := set(parts) - set(PARTS):
        raise InvalidConfig(f"unknown part {min(unknown)!r}; known: {', '.join(PARTS)}")
    measures: dict[str, Measure] = {
        "plain": plain, "gambling": gambling, "return": returns, "control": control, "goal": goals, "play": from_play,
        "better": better,
    }  # fmt: skip
    header = {"seed": seed}
    kept = read_json(out / "report.json")
    report = (kept if isinstance(kept, dict) and kept.items() >= header.items() else {}) | header
    for part in parts or PARTS:
        report[part] = {"at most": tasks, **measures[part](folder, tasks, seed)}
        write_json(out / "report.json", report)
        for line in lines(part, report[part]):
            say(line)
    say(f"report: {out / 'report.json'}")


# -- the parts ------------------------------------------------------------------------------------------------------


def plain(folder: Path, tasks: int, seed: int) -> dict[str, Any]:
    """Watch, try, learn without an ask: does what was trained to be asked lose anything?"""
    found: dict[str, Any] = {}
    for name in RUNS["plain"]:
        inference, family, indices = _of(folder, name, tasks, seed)
        demos = demonstrate(family, indices, episode_seeds(indices, STREAM + seed, 0), "demo").episodes
        contexts, success = [Context((demo,)) for demo in demos], []
        for attempt in range(3):
            trials = play(inference, family, indices, contexts, seed, attempt)
            success.append(rate(succeeded(trials)))
            contexts = [c.with_trial(trial) for c, trial in zip(contexts, trials, strict=True)]
        found[name] = {f"after {n} trials": one for n, one in enumerate(success)}
    return found


def gambling(folder: Path, tasks: int, seed: int) -> dict[str, Any]:
    """What three arms pay whoever is asked for a return that one of them pays by luck, and whom that misleads."""
    inference, family, indices = _of(folder, "gambling", tasks, seed)
    found: dict[str, Any] = {"worth of the arms": [float(np.mean(pays)) for pays in PAYS]}
    data = Dataset.load(_run_folder(folder, "gambling") / "dataset")
    others = {
        "": inference,
        ", luck not averaged out": _beside(folder, "gambling", "naive", unlike(data)),
        ", shuffled labels": _beside(folder, "gambling", "shuffled", shuffled(data, seed)),
    }
    for value in (-15.0, -5.0, -2.5, 1.0, 5.0):
        for name, policy in others.items():
            found[f"asked for {value:g}{name}"] = _gambled(policy, family, indices, Ask((Return(value),)), seed)
    imitator = _beside(folder, "gambling", "best-tenth", best_tenth(data), ())
    found["imitation of the best tenth"] = _gambled(imitator, family, indices, NOTHING, seed)
    return found


def _beside(folder: Path, name: str, control: str, data: Dataset, asks: tuple[str, ...] = ("return",)) -> Inference:
    """What a control of a run learnt from other data."""
    subject = Bundle.load(_run_folder(folder, name) / "bundle")
    return Inference.load(trained_on(folder / f"{name}-{control}", subject, data, asks))


def _gambled(inference: Inference, family: Family, indices: list[int], ask: Ask, seed: int) -> dict[str, Any]:
    played = asked(inference, family, indices, [ask] * len(indices), seed)
    arms = np.bincount([int(e.actions[0]) for e in played if e.actions is not None], minlength=len(PAYS))
    return {"mean return": mean(returned(played)), "arms": arms.tolist()}


def returns(folder: Path, tasks: int, seed: int) -> dict[str, Any]:
    """Asked and achieved returns of a cheetah that is paid by the metre."""
    inference, family, indices = _of(folder, "cheetah-distance", min(tasks, 200), seed)
    found = {"asked": _asked_returns(inference, family, indices, seed)}
    data = Dataset.load(_run_folder(folder, "cheetah-distance") / "dataset")
    every = everybody(data)
    found["best return in the training data"] = {"return": float(returned(every).max()), "n": len(every)}
    return found


def control(folder: Path, tasks: int, seed: int) -> dict[str, Any]:
    """The same cheetah if its labels were shuffled, and one that imitates the best episodes and is never asked."""
    _, family, indices = _of(folder, "cheetah-distance", min(tasks, 200), seed)
    data = Dataset.load(_run_folder(folder, "cheetah-distance") / "dataset")
    name = "cheetah-distance"
    misled = _beside(folder, name, "shuffled", shuffled(data, seed))
    imitator = _beside(folder, name, "best-tenth", best_tenth(data), ())
    episodes = asked(imitator, family, indices, [NOTHING] * len(indices), seed)
    return {
        "shuffled labels": _asked_returns(misled, family, indices, seed),
        "imitation of the best tenth": mean(returned(episodes)),
    }


def goals(folder: Path, tasks: int, seed: int) -> dict[str, Any]:
    """Asked for a place without any demonstration, and for where the target is."""
    inference, family, indices = _of(folder, "reach-ask", tasks, seed)
    assert isinstance(family, Reach)
    rng = np.random.default_rng([seed, 22])
    places = rng.uniform(-0.6, 0.6, (len(indices), 2))
    played = asked(inference, family, indices, [_goal(place) for place in places], seed)
    nearest = [
        np.linalg.norm(family.achieved_goal(e.observations) - place, axis=1).min()
        for e, place in zip(played, places, strict=True)
    ]
    env = make_vec(family, indices, "trial")
    assert isinstance(env, ReachVectorEnv)
    env.reset(seed=episode_seeds(indices, STREAM + seed, 100))
    targets = env.goal.copy()
    env.close()
    at_target = asked(inference, family, indices, [_goal(target) for target in targets], seed)
    nothing = asked(inference, family, indices, [NOTHING] * len(indices), seed)
    return {
        f"any place, within {NEAR} of it": rate(np.array(nearest) < NEAR),
        "the target's place, no demonstration": rate(succeeded(at_target)),
        "nothing asked for, no demonstration": rate(succeeded(nothing)),
    }


def from_play(folder: Path, tasks: int, seed: int) -> dict[str, Any]:
    """FetchReach, asked for the environment's own goals, by a policy that nobody ever showed anything."""
    inference, family, indices = _of(folder, "fetch-goal", min(tasks, 100), seed)
    return asked_from_play(inference, family, indices, seed)


def asked_from_play(inference: Inference, family: Family, indices: list[int], seed: int) -> dict[str, Any]:
    """The rates, in layouts that depend on tasks and seed alone."""
    layouts = episode_seeds(indices, STREAM + seed, 100)
    env = make_vec(family, indices, "trial")
    assert isinstance(env, SerialVectorEnv)
    env.reset(seed=layouts)
    places = [np.array(one.unwrapped.goal) for one in env.envs]  # type: ignore[attr-defined]
    env.close()
    played = asked(inference, family, indices, [_goal(place) for place in places], seed)
    ends = [float(np.linalg.norm(e.observations["achieved_goal"][-1] - p)) for e, p in zip(played, places, strict=True)]
    return {
        "reached, at any step": rate(succeeded(played)),
        "there at the end": rate(np.array(ends) < FETCH_NEAR),
        "distance at the end, in metres": mean(np.array(ends)),
    }


def better(folder: Path, tasks: int, seed: int) -> dict[str, Any]:
    """Tasks shown by demonstrators of five grades of skill, without an ask and asked to be better."""
    found: dict[str, Any] = {}
    for name, score in (("cheetah-better", returned), ("reach-ask", _quickness)):
        if run_bundle(folder / name) is None:
            found[name] = {"left out": f"no run {name}"}
            continue
        inference, family, indices = _of(folder, name, min(tasks, 100) if name != "reach-ask" else tasks, seed)
        found[name] = {
            f"{share:.0%} at random": _graded(inference, family, indices, share, score, seed) for share in GRADES
        }
    return found


def _graded(
    inference: Inference, family: Family, indices: list[int], share: float, score: Callable[[Sequence[Episode]], Array],
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    at_random, layouts = [share] * len(indices), episode_seeds(indices, STREAM + seed, 100)
    shown = demonstrate(family, indices, episode_seeds(indices, STREAM + seed, 1), "demo", 0.0, seed + 1, at_random)
    themselves = score(demonstrate(family, indices, layouts, "trial", 0.0, seed + 2, at_random).episodes)
    expert = score(demonstrate(family, indices, layouts, "trial").episodes)
    random = score(demonstrate(family, indices, layouts, "trial", 0.0, seed + 3, [1.0] * len(indices)).episodes)
    asks = {"nothing": NOTHING, "better": Ask((Better(),))}
    played = {
        n: score(asked(inference, family, indices, [a] * len(indices), seed, shown.episodes)) for n, a in asks.items()
    }
    span = float(expert.mean() - random.mean())
    possible = expert > themselves
    return {
        "who was watched": mean(themselves), "the expert": mean(expert), "at random": mean(random),
        "asked for nothing": mean(played["nothing"]),
        "distance to who was watched, of expert minus random": mean((played["nothing"] - themselves) / span),
        "asked to be better": mean(played["better"]),
        "better than who was watched, where the expert is": (
            rate(played["better"][possible] > themselves[possible]) if possible.any() else None
        ),
    }  # fmt: skip


# -- playing and measuring ------------------------------------------------------------------------------------------


def asked(
    inference: Inference, family: Family, indices: list[int], asks: Sequence[Ask], seed: int,
    demos: Sequence[Episode] | None = None,
) -> list[Episode]:  # fmt: skip
    """One attempt in each task, asked for something, in the same layouts whatever is asked."""
    shown: Sequence[tuple[Episode, ...]] = [()] * len(indices) if demos is None else [(demo,) for demo in demos]
    contexts = [Context(one, (), ask) for one, ask in zip(shown, asks, strict=True)]
    return play(inference, family, indices, contexts, seed, 100)


def play(
    inference: Inference, family: Family, indices: list[int], contexts: Sequence[Context], seed: int, attempt: int
) -> list[Episode]:
    """One attempt in each task."""
    env = make_vec(family, indices, "trial")
    try:
        actor = inference.adapt(contexts, np.random.default_rng([seed, attempt]))
        return rollout(env, actor, episode_seeds(indices, STREAM + seed, attempt)).episodes
    finally:
        env.close()


def _asked_returns(inference: Inference, family: Family, indices: list[int], seed: int) -> dict[str, Any]:
    """Levels over the trained range, every task asked for each."""
    low, high = trained_returns(inference)
    levels = np.linspace(low, high, LEVELS)
    got = returns_asked_for(inference, family, indices, levels, seed)
    return {"range": [low, high], **asked_and_achieved(levels, got, seed), "n": len(indices)}


def trained_returns(inference: Inference) -> tuple[float, float]:
    """The range of returns that a policy was trained to be asked for, in the environment's unit."""
    [offer] = [AskOffer.of(vars(one)) for one in inference.policy.config.ask_offers if one.kind == "return"]
    return offer.low[0], offer.high[0]


def returns_asked_for(
    inference: Inference, family: Family, indices: list[int], levels: Float[np.ndarray, " l"], seed: int
) -> Float[np.ndarray, "l n"]:
    """What each of n tasks returned that was asked for each of l returns, in the same layouts for every level."""
    asks: Callable[[float], list[Ask]] = lambda value: [Ask((Return(value),))] * len(indices)  # noqa: E731
    return np.stack([returned(asked(inference, family, indices, asks(float(level)), seed)) for level in levels])


def asked_and_achieved(levels: Float[np.ndarray, " l"], got: Float[np.ndarray, "l n"], seed: int) -> dict[str, Any]:
    """Spearman's correlation of l asks with what n tasks achieved, the slope of the means, and these means.

    Intervals are over resampled tasks.
    """
    n_tasks = got.shape[1]
    rng = np.random.default_rng([seed, 23])
    draws = rng.integers(n_tasks, size=(RESAMPLES, n_tasks))
    return {
        "spearman": _with_interval(_spearman, levels, got, draws),
        "slope": _with_interval(_slope, levels, got, draws),
        "achieved": {f"{level:.1f}": mean(row) for level, row in zip(levels, got, strict=True)},
    }


def _spearman(levels: Float[np.ndarray, " l"], got: Float[np.ndarray, "l n"]) -> float:
    return float(spearmanr(np.repeat(levels, got.shape[1]), got.ravel()).statistic)


def _slope(levels: Float[np.ndarray, " l"], got: Float[np.ndarray, "l n"]) -> float:
    return float(np.polyfit(levels, got.mean(1), 1)[0])


def _with_interval(
    statistic: Callable[[Array, Array], float], levels: Array, got: Float[np.ndarray, "l n"], draws: Array
) -> dict[str, Any]:
    """A statistic with its percentile interval over resampled tasks."""
    values = [statistic(levels, got[:, tasks]) for tasks in draws]
    return {"value": statistic(levels, got), "ci95": [float(x) for x in np.percentile(values, CONFIDENCE)]}


def _quickness(episodes: Sequence[Episode]) -> Float[np.ndarray, " n"]:
    """Of reach, where every touch ends an episode: the share of the horizon that was left."""
    return np.array([1 - len(episode) / HORIZON for episode in episodes])


def _goal(place: Array) -> Ask:
    return Ask((Goal(tuple(float(x) for x in place)),))


def _of(folder: Path, name: str, tasks: int, seed: int) -> tuple[Inference, Family, list[int]]:
    """The policy of a run, its family, and held-out tasks."""
    bundle = Bundle.load(_run_folder(folder, name) / "bundle")
    family = find_family(bundle.provenance["experiment"]["family"])
    return Inference.load(bundle), family, tasks_of(family, "test", tasks, seed)


def _run_folder(folder: Path, name: str) -> Path:
    if run_bundle(folder / name) is None:
        how = TRAINED_BY.get(name, name)
        raise InvalidConfig(f"no bundle at {folder / name}: `wtl train {how} --out {folder / name}` makes it")
    return folder / name
