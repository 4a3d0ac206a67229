"""How an agent moves in `reach-manners`, in six numbers, and how near one manner is to another.

The distance was fixed before anything was trained: statistics of paths and nothing of the policy.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.evaluation.recognition import ACTED, MORE, WATCHED, play_experts
from metalearn.evaluation.statistics import wilson
from metalearn.model.inference import Inference
from metalearn.tasks.envs.reach import SPEED
from metalearn.tasks.envs.reach_manners import ReachManners, demonstrators
from metalearn.tasks.family import tasks_of
from metalearn.tasks.rollout import episode_seeds, rollout

FAR, NEAR = 0.45, 0.25  # distances to the target between three parts of the way
MIDWAY = (0.3, 0.5)  # where demonstrators hesitate
N_EPISODES, N_DEMONSTRATORS = 4, 5
STREAM = 1 << 43
SKILLED = 0.8


def statistics(episodes: list[Episode], target: int) -> Float[np.ndarray, " 6"]:
    """The manner of an agent, averaged over its steps in some episodes; NaN where it was never there.

    1. its speed, as a share of the fastest; 2. to 4. its heading, in radians from that to the target, far from it
    (> 0.45), midway and close by (< 0.25); 5. its speed midway (0.3 to 0.5) as a share of its speed elsewhere; 6. how
    much its heading changes from step to step, in radians.
    """
    steps = [_steps(episode, target) for episode in episodes]
    speed, heading, distance = (np.concatenate(column) for column in zip(*steps, strict=True))
    turned = [np.abs(_wrapped(np.diff(one[1]))) for one in steps if len(one[1]) > 1]
    midway = (distance > MIDWAY[0]) & (distance < MIDWAY[1])
    elsewhere = _mean(speed[~midway])
    return np.array([
        _mean(speed), _mean(heading[distance > FAR]), _mean(heading[(distance <= FAR) & (distance >= NEAR)]),
        _mean(heading[distance < NEAR]), _mean(speed[midway]) / max(elsewhere, 1e-6),
        _mean(np.concatenate(turned)) if turned else np.nan,
    ])  # fmt: skip


def _steps(episode: Episode, target: int) -> tuple[Array, Array, Array]:
    """Speed, heading relative to the target, and distance to it, of every step."""
    positions, offsets = episode.observations[:, :2], episode.observations[:, 2 + 2 * target : 4 + 2 * target]
    moved, towards = np.diff(positions, axis=0), offsets[:-1]
    heading = _wrapped(np.arctan2(moved[:, 1], moved[:, 0]) - np.arctan2(towards[:, 1], towards[:, 0]))
    return np.linalg.norm(moved, axis=-1) / SPEED, heading, np.linalg.norm(towards, axis=-1)


def distance(one: Float[np.ndarray, " 6"], other: Float[np.ndarray, " 6"], spread: Float[np.ndarray, " 6"]) -> float:
    """The root mean square difference, in deviations between demonstrators, of the statistics that both have."""
    return float(np.sqrt(np.nanmean(np.square((one - other) / spread))))


def imitation(
    inference: Inference, family: ReachManners, *, n_tasks: int, seed: int, plain: Inference | None = None
) -> dict[str, Any]:
    """Whom is the imitator nearest to, of five demonstrators of one goal, and does it succeed?

    In each held-out task it watches two demonstrations of one and acts four times. Its manner is compared with that of
    four other episodes of each demonstrator. Beside it: the same for four further episodes of who was watched.
    """
    spread = np.nanstd(_of_experts(family, tasks_of(family, "validation", 300, seed), seed), axis=0)
    indices = tasks_of(family, "test", n_tasks, seed)
    five = [demonstrators(family, index, N_DEMONSTRATORS, seed) for index in indices]
    flat = [int(task) for row in five for task in row]
    references = _of_experts(family, flat, seed).reshape(n_tasks, N_DEMONSTRATORS, -1)
    shown = [play_experts(family, indices, seed, WATCHED, 100 + k) for k in range(2)]
    contexts = [Context(demos) for demos in zip(*shown, strict=True)]
    acted = [play(inference, family, indices, contexts, seed, k) for k in range(N_EPISODES)]
    again = [play_experts(family, indices, seed, MORE, 200 + k) for k in range(N_EPISODES)]
    skilled = np.array([family.manner(index).skill >= SKILLED for index in indices])
    found: dict[str, Any] = {"n_tasks": n_tasks, "n_skilled": int(skilled.sum()), "seed": seed}
    for name, episodes in (("imitator", acted), ("the demonstrator itself", again)):
        manners = [
            statistics(list(row), indices[i] % family.n_objects) for i, row in enumerate(zip(*episodes, strict=True))
        ]
        near = np.array(
            [[distance(one, other, spread) for other in row] for one, row in zip(manners, references, strict=True)]
        )
        right = near.argmin(1) == 0
        success = np.array([[bool(e.success) for e in row] for row in episodes]).mean(0)
        found[name] = {
            "nearest": _rate(right), "nearest, skilled": _rate(right[skilled]),
            "distance to whom it watched": float(near[:, 0].mean()), "to the others": float(near[:, 1:].mean()),
            "success": float(success.mean()), "success, skilled": float(success[skilled].mean()),
        }  # fmt: skip
    if plain is not None:
        straight = [play(plain, family, indices, contexts, seed, k) for k in range(N_EPISODES)]
        success = np.array([[bool(e.success) for e in row] for row in straight]).mean(0)
        found["plain policy"] = {"success": float(success.mean()), "success, skilled": float(success[skilled].mean())}
    return found


def play(
    inference: Inference, family: ReachManners, indices: list[int], contexts: list[Context], seed: int, number: int
) -> list[Episode]:
    """One episode of the adapted policy in each task."""
    actor = inference.adapt(contexts, np.random.default_rng([seed, number]))
    env = family.make_vec(indices)
    return rollout(env, actor, episode_seeds(indices, STREAM + 8 * seed, number)).episodes


def _of_experts(family: ReachManners, indices: list[int], seed: int) -> Float[np.ndarray, "n 6"]:
    played = [play_experts(family, indices, seed, ACTED, 300 + k) for k in range(N_EPISODES)]
    rows = zip(*played, strict=True)
    return np.stack([statistics(list(row), indices[i] % family.n_objects) for i, row in enumerate(rows)])


def _rate(right: Array) -> dict[str, object]:
    k, n = int(right.sum()), len(right)
    return {"rate": k / n, "ci95": list(wilson(k, n)), "n": n}


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _wrapped(angles: Array) -> Array:
    wrapped: Array = (angles + np.pi) % (2 * np.pi) - np.pi
    return wrapped
