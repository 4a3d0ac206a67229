"""Whom does an imitator move like? The nearest of five demonstrators of one goal, by statistics of what they did.

The statistics are the family's (`MannerFamily`), were fixed before anything was trained, and have nothing of the policy
in them. An imitator acts in two ways: by its most probable action, and by drawing actions as it saw them vary.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from metalearn.benchmark.figures import rate
from metalearn.data.asks import Ask
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.evaluation.recognition import ACTED, MORE, WATCHED, play_experts
from metalearn.evaluation.recognition import STREAM as STREAM_WATCHED
from metalearn.model.inference import Inference
from metalearn.tasks.family import MannerFamily, make_vec, tasks_of
from metalearn.tasks.rollout import demonstrate, episode_seeds, rollout

N_EPISODES, N_DEMONSTRATORS, N_WATCHED = 4, 5, 2
STREAM = 1 << 43
SKILLED = 0.8
FOR_SPREAD = 300  # demonstrators of validation tasks, whose deviations are the unit of the distance
AT_ONCE = 500  # rows of an environment
SHAKY = (0.3, 0.6)  # how often demonstrators act at random whom a policy is asked to surpass
MARGIN = 0.15  # in deviations: by how much a manner may be missed more than after watching it done well

Way = Literal["most probable", "sampled"]
WAYS: tuple[Way, ...] = ("most probable", "sampled")


def distance(one: Float[np.ndarray, " s"], other: Float[np.ndarray, " s"], spread: Float[np.ndarray, " s"]) -> float:
    """The root mean square difference, in deviations between demonstrators, of the statistics that both have."""
    return float(np.sqrt(np.nanmean(np.square((one - other) / spread))))


def demonstrators(family: MannerFamily, index: int, n: int, seed: int) -> Int[np.ndarray, " n"]:
    """`index` and n - 1 siblings of it: the same goal, n different demonstrators."""
    rng = np.random.default_rng([0xDE3, seed, index])
    found = [index]
    while len(found) < n:
        other = family.sibling(index, rng)
        if other not in found:
            found.append(other)
    return np.array(found)


def imitation(
    inference: Inference, family: MannerFamily, *, n_tasks: int, seed: int, plain: Inference | None = None
) -> dict[str, Any]:
    """Whom is the imitator nearest to, of five demonstrators of one goal, and does it succeed?

    In each held-out task it watches two demonstrations of one and acts four times. Its manner is compared with that of
    four other episodes of each demonstrator. Beside it: the same for four further episodes of who was watched.
    """
    spread = spread_of(family, seed)
    indices = tasks_of(family, "test", n_tasks, seed)
    five = [demonstrators(family, index, N_DEMONSTRATORS, seed) for index in indices]
    flat = [int(task) for row in five for task in row]
    references = _of_experts(family, flat, seed).reshape(n_tasks, N_DEMONSTRATORS, -1)
    contexts = watched(family, indices, seed)
    skilled = np.array([family.skill(index) >= SKILLED for index in indices])
    found: dict[str, Any] = {"n_tasks": n_tasks, "n_skilled": int(skilled.sum()), "seed": seed}
    played = {f"imitator, {way}": _four(inference, family, indices, contexts, seed, way) for way in WAYS}
    played["the demonstrator itself"] = [play_experts(family, indices, seed, MORE, 200 + k) for k in range(N_EPISODES)]
    for name, episodes in played.items():
        manners = _statistics(family, indices, episodes)
        near = np.array(
            [[distance(one, other, spread) for other in row] for one, row in zip(manners, references, strict=True)]
        )
        right = near.argmin(1) == 0
        found[name] = {
            "nearest": rate(right), "nearest, skilled": rate(right[skilled]),
            "distance to whom it watched": float(near[:, 0].mean()), "to the others": float(near[:, 1:].mean()),
            **_successes(episodes, skilled),
        }  # fmt: skip
    if plain is not None:
        found["plain policy"] = _successes(_four(plain, family, indices, contexts, seed, "most probable"), skilled)
    return found


def better(inference: Inference, family: MannerFamily, *, n_tasks: int, seed: int) -> dict[str, Any]:
    """Asked to be better than a shaky demonstrator, is it more skilled, and does it keep the manner?

    The demonstrators of `family` are skilled; a shaky one is one of them who acts at random in a share of the steps.
    Manners are compared with those of the skilled one: `distance` after watching it shaky, asked for nothing and asked
    to be better, and after watching it skilled, which is what `MARGIN` is about.
    """
    spread = spread_of(family, seed)
    indices = tasks_of(family, "test", n_tasks, seed)
    references = _of_experts(family, indices, seed)
    plain, asked = Ask(), Ask.from_json({"better": True})
    cases: list[tuple[str, float, Ask, Way]] = [("skilled, asked for nothing", 0.0, plain, "most probable")]
    for share in SHAKY:
        cases += [
            (f"{share:.0%} at random, asked for nothing, most probable", share, plain, "most probable"),
            (f"{share:.0%} at random, asked for nothing, sampled", share, plain, "sampled"),
            (f"{share:.0%} at random, asked to be better", share, asked, "most probable"),
        ]
    found: dict[str, Any] = {"n_tasks": n_tasks, "seed": seed, "margin": MARGIN}
    base = np.zeros(0)
    for name, share, ask, way in cases:
        shown = [_shaky(family, indices, share, seed, k) for k in range(N_WATCHED)]
        contexts = [Context(demos, ask=ask) for demos in zip(*shown, strict=True)]
        episodes = _four(inference, family, indices, contexts, seed, way)
        manners = _statistics(family, indices, episodes)
        far = np.array([distance(a, b, spread) for a, b in zip(manners, references, strict=True)])
        base = base if len(base) else far
        found[name] = _mean_with_interval("distance", far) | _steps_and_success(episodes)
        if ask:
            found[name] |= _mean_with_interval("distance beyond that of skilled", far - base)
    for share in SHAKY:
        found[f"{share:.0%} at random, themselves"] = _steps_and_success(
            [_shaky(family, indices, share, seed, 10 + k) for k in range(N_EPISODES)]
        )
    return found


def watched(family: MannerFamily, indices: Sequence[int], seed: int) -> list[Context]:
    """What an imitator watches in each task: two demonstrations."""
    shown = [play_experts(family, indices, seed, WATCHED, 100 + k) for k in range(N_WATCHED)]
    return [Context(demos) for demos in zip(*shown, strict=True)]


def play(
    inference: Inference, family: MannerFamily, indices: Sequence[int], contexts: Sequence[Context], seed: int,
    number: int, way: Way = "most probable",
) -> list[Episode]:  # fmt: skip
    """One episode of the adapted policy in each task."""
    rng = np.random.default_rng([seed, number])
    seeds = episode_seeds(indices, STREAM + 8 * seed, number)
    found: list[Episode] = []
    for start in range(0, len(indices), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        adapt = inference.adapt if way == "most probable" else inference.adapt_sampling
        env = make_vec(family, indices[part])
        found += rollout(env, adapt(contexts[part], rng), seeds[part]).episodes
        env.close()
    return found


def spread_of(family: MannerFamily, seed: int) -> Float[np.ndarray, " s"]:
    """The deviation of each statistic between demonstrators of validation tasks."""
    of_all = _of_experts(family, tasks_of(family, "validation", FOR_SPREAD, seed), seed)
    spread: Array = np.nanstd(of_all, axis=0)
    return spread


def _four(
    inference: Inference, family: MannerFamily, indices: list[int], contexts: list[Context], seed: int, way: Way
) -> list[list[Episode]]:
    return [play(inference, family, indices, contexts, seed, k, way) for k in range(N_EPISODES)]


def _shaky(family: MannerFamily, indices: list[int], share: float, seed: int, number: int) -> list[Episode]:
    seeds = episode_seeds(indices, STREAM_WATCHED + 8 * seed, 700 + number)
    at_random = [share] * len(indices)
    return demonstrate(family, indices, seeds, "demo", seed=seeds[0], at_random=at_random).episodes


def _of_experts(family: MannerFamily, indices: list[int], seed: int) -> Float[np.ndarray, "n s"]:
    played = [play_experts(family, indices, seed, ACTED, 300 + k) for k in range(N_EPISODES)]
    return _statistics(family, indices, played)


def _statistics(
    family: MannerFamily, indices: Sequence[int], played: Sequence[Sequence[Episode]]
) -> Float[np.ndarray, "n s"]:
    rows = zip(indices, zip(*played, strict=True), strict=True)
    return np.stack([family.statistics(row, index) for index, row in rows])


def _success(episodes: Sequence[Sequence[Episode]]) -> Float[np.ndarray, " n"]:
    """The share of successes in each task."""
    shares: Array = np.array([[bool(e.success) for e in row] for row in episodes]).mean(0)
    return shares


def _successes(episodes: Sequence[Sequence[Episode]], skilled: Array) -> Mapping[str, float]:
    success = _success(episodes)
    return {"success": float(success.mean()), "success, skilled": float(success[skilled].mean())}


def _steps_and_success(episodes: Sequence[Sequence[Episode]]) -> dict[str, Any]:
    steps = np.array([[len(e) for e in row] for row in episodes], np.float64).mean(0)
    return _mean_with_interval("success", _success(episodes)) | _mean_with_interval("steps", steps)


def _mean_with_interval(name: str, values: Float[np.ndarray, " n"]) -> dict[str, Any]:
    """The mean over tasks, and its 95% interval by the normal approximation."""
    middle, half = float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))
    return {name: middle, f"{name}, ci95": [middle - half, middle + half]}
