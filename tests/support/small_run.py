"""A training of seconds, and a way to stop it."""

from collections.abc import Callable

from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig

SMALL = Experiment(
    name="small",
    family="reach-m2",
    data=DataConfig(n_tasks=40, chunk_tasks=16),
    model=ModelConfig(encoder_width=16, policy_width=16, latent_dim=8, n_hypotheses=2),
    training=TrainingConfig(
        warmup_steps=12,
        rounds=2,
        round_steps=6,
        batch_tasks=8,
        anneal_steps=4,
        average_share=0.2,
        check_steps=5,
        check_tasks=8,
    ),
)
ASKING = SMALL.model_copy(
    update={
        "model": SMALL.model.model_copy(update={"asks": ("return", "goal", "better")}),
        "data": SMALL.data.model_copy(update={"graded_per_task": 2}),
    }
)
"""The same, of a policy that learns to follow asks."""


def after(n: int) -> Callable[[], bool]:
    """Asked for the n-th time, says stop."""
    asked = iter(range(10_000))
    return lambda: next(asked) >= n - 1
