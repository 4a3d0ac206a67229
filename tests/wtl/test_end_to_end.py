"""The main job in small: train, serve, and adapt over HTTP to tasks that were never seen."""

from pathlib import Path

import numpy as np
import pytest

from metalearn.config import DataConfig, Experiment, TrainingConfig
from metalearn.tasks.rollout import demonstrate
from metalearn.training.loop import train
from service.client import Client
from wtl.demo import serving

N_TASKS = 60


@pytest.mark.slow  # `make demo` is the same at full length
@pytest.mark.timeout(180)
def test_the_retrial_beats_the_trial_over_http(tmp_path: Path):
    from own_task import Doors

    steps = TrainingConfig(warmup_steps=250, rounds=2, round_steps=125, anneal_steps=40, check_tasks=64)
    doors = Experiment(name="doors", family="own_task:Doors", data=DataConfig(n_tasks=1024), training=steps)
    train(doors, tmp_path / "run").save(tmp_path / "models" / "doors")
    tasks = list(Doors.splits["test"][:N_TASKS])
    demos = demonstrate(Doors(), tasks, [9 * i for i in tasks], "demo").episodes
    success = np.zeros((N_TASKS, 2), bool)
    with serving(tmp_path / "models", tmp_path / "server.log") as url, Client(url) as client:
        for row, (task, demo) in enumerate(zip(tasks, demos, strict=True)):
            adaptation = client.adapt("doors", demos=[demo])
            for attempt in range(2):
                env = Doors().make(task)
                observation, _ = env.reset(seed=1000 * attempt + row)
                ended, reward = False, None
                with adaptation.episode() as episode:
                    while not ended:
                        observation, reward, terminated, truncated, info = env.step(episode.act(observation, reward))
                        ended = terminated or truncated
                    adaptation = episode.finish(observation, reward, success=info["success"])
                success[row, attempt] = info["success"]
    trial, retrial = success.mean(0)
    assert 0.3 < trial < 0.7
    assert retrial > 0.8
