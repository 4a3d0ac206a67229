"""Hindsight experience replay on FetchReach, beside policies that learnt to be asked from play alone.

    pip install --no-deps --target DIR -r benchmarks/others.txt
    PYTHONPATH=DIR python -m benchmarks.her [--play 5000 20000] [--steps 20000] [--tasks 100] [--seed 0]

The policies from play are made by `wtl train`, where they are not in the folder of runs yet. Stable-Baselines3's SAC
with HER (Andrychowicz et al. 2017, arXiv 1707.01495) acts in the same environment and is paid -1 for each step that is
not at the goal. After every 1,000 environment steps it tries 50 goals that nobody trains on; it ends when it was at all
of them in the end twice running, or after `--steps`. Then all try the same goals. What is in the folder of results is
not done again. Ends with the page of what is there.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.wrappers import TimeLimit
from jaxtyping import Bool, Float

from benchmarks.trained import ROOT, measure_once, table, train, write_page
from examples.families.fetch_goal import HORIZON, FetchGoal, Table
from metalearn.benchmark.asking import FETCH_NEAR, STREAM, asked_from_play
from metalearn.benchmark.figures import mean, rate
from metalearn.bundle import Bundle
from metalearn.model.inference import Inference
from metalearn.tasks.family import tasks_of
from metalearn.tasks.rollout import episode_seeds

RESULTS = ROOT / "benchmarks" / "results" / "her"
FAMILY, PLAYED = "examples.families.fetch_goal:FetchGoal", 4  # episodes of play in each task
EVERY, CHECKED = 1_000, 50
FIGURES = ("reached, at any step", "there at the end", "distance at the end, in metres")
Act = Callable[[dict[str, Any]], Any]


def from_play(n_steps: int, n_goals: int, seed: int, runs: Path) -> dict[str, Any]:
    """Train on so many environment steps of random actions, and ask for goals."""
    n_tasks = n_steps // (PLAYED * HORIZON)
    made = train(
        ["--family", FAMILY, "--set", "model.asks=goal", "--set", f"data.n_tasks={n_tasks}", "--seed", str(seed),
         "--set", "training.check_tasks=0", "--steps", "650", "--no-baselines"],
        runs / f"fetch-goal-{n_steps}-seed{seed}",
    )  # fmt: skip
    inference = Inference.load(Bundle.load(runs / f"fetch-goal-{n_steps}-seed{seed}" / "bundle"))
    figures = asked_from_play(inference, FetchGoal(), tasks_of(FetchGoal(), "test", n_goals, seed), seed)
    about = {"policy": "asked, from play", "command": made["command"], "processor_s": made["processor_s"]}
    return about | {"environment steps": n_tasks * PLAYED * HORIZON, **figures}


def hindsight_replay(n_steps: int, n_goals: int, seed: int) -> dict[str, Any]:
    """Train, look every so many steps, and test."""
    from stable_baselines3 import SAC, HerReplayBuffer
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(1)
    # The settings of RL Baselines3 Zoo for FetchReach (hyperparams/sac.yml), but for the size of the buffer: all steps.
    env = VecNormalize(DummyVecEnv([lambda: TimeLimit(Table(), HORIZON)]), norm_reward=False)
    model = SAC(
        "MultiInputPolicy", env, seed=seed, learning_rate=1e-3, batch_size=256, gamma=0.95, learning_starts=EVERY,
        ent_coef="auto", buffer_size=n_steps, replay_buffer_class=HerReplayBuffer,
        policy_kwargs={"net_arch": [64, 64]},
        replay_buffer_kwargs={"n_sampled_goal": 4, "goal_selection_strategy": "future"},
    )  # fmt: skip
    looks: list[dict[str, Any]] = []

    def act(seen: dict[str, Any]) -> Any:
        return model.predict(env.normalize_obs({k: v[None] for k, v in seen.items()}), deterministic=True)[0][0]

    spent = 0.0
    while model.num_timesteps < n_steps:
        started = time.process_time()
        model.learn(EVERY, reset_num_timesteps=False)
        spent += time.process_time() - started
        at_all, at_end, _ = tried(act, list(range(CHECKED)))
        looks.append(
            {"steps": model.num_timesteps, "at any step": float(at_all.mean()), "at the end": float(at_end.mean())}
        )
        print(f"{looks[-1]} {spent:.0f} s", flush=True)
        if len(looks) > 1 and all(look["at the end"] == 1 for look in looks[-2:]):
            break
    # The layouts of `asked_from_play`.
    at_all, at_end, distance = tried(
        act, episode_seeds(tasks_of(FetchGoal(), "test", n_goals, seed), STREAM + seed, 100)
    )
    figures = dict(zip(FIGURES, (rate(at_all), rate(at_end), mean(distance)), strict=True))
    about = {"policy": "HER", "command": "Stable-Baselines3, SAC", "processor_s": round(spent, 1), "looks": looks}
    return about | {"environment steps": model.num_timesteps, **figures}


def tried(act: Act, seeds: list[int]) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """One episode of each seed: whether it was near the goal at any step, whether at the end, and how far then (m)."""
    env, distances = TimeLimit(Table(), HORIZON), []
    for seed in seeds:
        seen, _ = env.reset(seed=seed)
        of_episode = []
        for _ in range(HORIZON):
            seen = env.step(act(seen))[0]
            of_episode.append(float(np.linalg.norm(seen["achieved_goal"] - seen["desired_goal"])))
        distances.append(of_episode)
    env.close()
    found = np.array(distances)
    return (found < FETCH_NEAR).any(1), found[:, -1] < FETCH_NEAR, found[:, -1]


def page(results: Path) -> str:
    """Every result in a folder, and HER's looks."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    head = ("policy", "seed", "environment steps", f"within {100 * FETCH_NEAR:.0f} cm of the goal at any step, %",
            "at the end, %", "distance at the end, cm", "processor, s")  # fmt: skip
    lines = ["# FetchReach: HER, and asking what learnt from play", ""]
    lines += [
        "Made by `python -m benchmarks.her`. Test goals, 95% intervals.", "", *table(head, map(_row, found)), "",
    ]  # fmt: skip
    for one in found:
        if "looks" in one:
            looks = one["looks"]
            shares = ([f"{100 * x[key]:.0f}" for x in looks] for key in ("at any step", "at the end"))
            rows = [[name, *cells] for name, cells in zip(("at any step, %", "at the end, %"), shares, strict=True)]
            steps = [f"{look['steps']:,}" for look in looks]
            lines += [f"HER, seed {one['seed']}, at its looks ({CHECKED} goals):", "", *table(["steps", *steps], rows)]
            lines += ["", *(_for_the_same(looks, other) for other in found if "looks" not in other), ""]
    return "\n".join(lines)


def _row(one: dict[str, Any]) -> list[str]:
    at_all, at_end, distance = (one[name] for name in FIGURES)
    rates = [f"{100 * x['rate']:.1f} ({100 * x['ci95'][0]:.1f}..{100 * x['ci95'][1]:.1f})" for x in (at_all, at_end)]
    cm = f"{100 * distance['mean']:.2f} ({100 * distance['ci95'][0]:.2f}..{100 * distance['ci95'][1]:.2f})"
    return [
        one["policy"], str(one["seed"]), f"{one['environment steps']:,}", *rates, cm, f"{one['processor_s']:.0f}",
    ]  # fmt: skip


def _for_the_same(looks: list[dict[str, Any]], other: dict[str, Any]) -> str:
    """The first look at which HER did at least as well as a policy from play, in a sentence."""
    said = f"As often as the policy from {other['environment steps']:,} steps of play (seed {other['seed']}):"
    firsts = []
    for name, key in (("at any step", FIGURES[0]), ("at the end", FIGURES[1])):
        enough = [look["steps"] for look in looks if look[name] >= other[key]["rate"]]
        firsts.append(f"{name} after {enough[0]:,} steps" if enough else f"{name} never")
    return f"* {said} {', '.join(firsts)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--play", nargs="*", type=int, default=[5_000, 20_000], help="environment steps of play")
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps that HER may take")
    parser.add_argument("--seed", type=int, default=0, help="of both, and of the goals that are tested")
    parser.add_argument("--tasks", type=int, default=100, help="goals that are tested")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "her", help="folder of the trainings")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of a JSON file per policy")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # where `examples` is
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    given.results.mkdir(parents=True, exist_ok=True)
    policies: dict[str, Callable[[], dict[str, Any]]] = {
        "her": partial(hindsight_replay, given.steps, given.tasks, given.seed),
        **{f"play-{n}": partial(from_play, n, given.tasks, given.seed, given.runs.resolve()) for n in given.play},
    }
    for name, measure in policies.items():
        measure_once(given.results, f"{name}-seed{given.seed}", lambda m=measure: {"seed": given.seed, **m()})
    write_page(given.results, page)


if __name__ == "__main__":
    main()
