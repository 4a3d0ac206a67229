"""A server with something to see: adaptations of shipped models to tasks that they try for real, and a fork."""

from collections.abc import Sequence

from metalearn.tasks.family import Family
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate
from service.client import Adaptation, Client

TASKS = {"reach": ("reach-m2", (2_000_017, 2_000_021)), "reach-m4": ("reach-m4", (2_000_003, 2_000_031))}
"""Held-out tasks by the model that is adapted to them."""


def adapt(client: Client, model: str, family: Family, task: int, trials: int) -> Adaptation:
    """Show a model a task and let it try."""
    adaptation = client.adapt(model, demos=[demonstrate(family, [task], [0], "demo").episodes[0]])
    for seed in range(1, trials + 1):
        adaptation = attempt(adaptation, family, task, seed)
    return adaptation


def attempt(adaptation: Adaptation, family: Family, task: int, seed: int) -> Adaptation:
    """Let it try once more, and say how it went."""
    env = family.make(task)
    (observation, _), reward, done, info = env.reset(seed=seed), None, False, {}
    with adaptation.episode() as episode:
        while not done:
            observation, reward, terminated, truncated, info = env.step(episode.act(observation, reward))
            done = terminated or truncated
        return episode.finish(observation, reward, success=bool(info["success"]))


def furnish(client: Client, models: Sequence[str] = tuple(TASKS)) -> Adaptation:
    """Adapt each model to its tasks, and fork the last adaptation; the fork tries once more and is returned."""
    last, family = None, None
    for model in models:
        name, tasks = TASKS[model]
        family = find_family(name)
        for task in tasks:
            last = adapt(client, model, family, task, 2 if model == "reach" else 3)
    assert last is not None and family is not None
    return attempt(last.fork(2), family, TASKS[models[-1]][1][-1], 9)
