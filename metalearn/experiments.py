"""The named experiments: each a frozen value with a unique name."""

import difflib

from metalearn.config import DataConfig, EntityLayout, Experiment, ModelConfig, TrainingConfig
from metalearn.data.errors import InvalidConfig

_ALL = (
    Experiment(
        name="reach-m2",
        model_name="reach",
        family="reach-m2",
        manifest="reach-m2",
        data=DataConfig(n_tasks=24_576, chunk_tasks=512),
        training=TrainingConfig(warmup_steps=700, rounds=2, round_steps=500),
    ),
    Experiment(
        name="reach-m4",
        family="reach-m4",
        manifest="reach-m4",
        data=DataConfig(n_tasks=24_576, chunk_tasks=512),
        model=ModelConfig(n_hypotheses=8),
        training=TrainingConfig(warmup_steps=1000, rounds=3, round_steps=700, trials_per_task=3),
    ),
    Experiment(
        name="reach-colour",
        family="reach-colour",
        manifest="reach-colour",
        data=DataConfig(n_tasks=24_576, chunk_tasks=512),
        model=ModelConfig(n_hypotheses=4, code_size=128, entities=EntityLayout(start=2, count=4, size=5, place=2)),
        training=TrainingConfig(warmup_steps=1500, rounds=3, round_steps=1000),
    ),
    # Trained at half of Meta-World's radius, so that what is learnt is to bring the puck to the goal itself.
    Experiment(
        name="push",
        family="push-strict",
        manifest="push",
        data=DataConfig(n_tasks=2000, chunk_tasks=50, experts_per_task=2, demo_noise=0.1, expert_noise=0.2),
        model=ModelConfig(n_frames=4, n_hypotheses=1, policy_width=256),
        training=TrainingConfig(
            warmup_steps=2500,
            rounds=1,
            round_steps=1500,
            trials_per_task=1,
            steps_per_episode=32,
            check_steps=500,
            check_tasks=100,
        ),
    ),
)

EXPERIMENTS = {experiment.name: experiment for experiment in _ALL}


def find_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        InvalidConfig: an unknown name, with a suggestion.
    """
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    close = difflib.get_close_matches(name, EXPERIMENTS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(EXPERIMENTS)}."
    raise InvalidConfig(f"unknown experiment {name!r}; {hint}")
