"""The suites' experiments with settings that were chosen by hand, and phases of given lengths.

A comparison of methods takes the same steps on every machine, and gives all of them the same tasks and updates. What a
training within some minutes reaches depends on how fast the machine is; it is beside these in
`benchmarks/no_knobs.py`.
"""

from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.experiments import find_experiment

_ALL = (
    *(
        Experiment(
            name=name,
            model_name=model_name,
            family=name,
            manifest=name,
            data=DataConfig(n_tasks=24_576, chunk_tasks=512),
            training=TrainingConfig(warmup_steps=700, rounds=2, round_steps=500),
        )
        for name, model_name in (("reach-m2", "reach"), ("reach-m2-unseen", "reach-m2-unseen"))
    ),
    *(
        Experiment(
            name=name,
            family=name,
            manifest=name,
            data=DataConfig(n_tasks=24_576, chunk_tasks=512),
            model=ModelConfig(n_hypotheses=8),
            training=TrainingConfig(warmup_steps=1000, rounds=3, round_steps=700, trials_per_task=3),
        )
        for name in ("reach-m4", "reach-m4-unseen")
    ),
    Experiment(
        name="reach-colour",
        family="reach-colour",
        manifest="reach-colour",
        data=DataConfig(n_tasks=24_576, chunk_tasks=512),
        model=ModelConfig(n_hypotheses=4, latent_dim=128),
        training=TrainingConfig(warmup_steps=1500, rounds=3, round_steps=1000),
    ),
    Experiment(
        name="reach-dynamics",
        family="reach-dynamics",
        manifest="reach-dynamics",
        data=DataConfig(n_tasks=24_576, chunk_tasks=512, demo_actions=False, expert_noise=0.2),
        model=ModelConfig(dynamics_rank=2),
        training=TrainingConfig(warmup_steps=700, rounds=2, round_steps=600, trials_per_task=2),
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
    Experiment(
        name="cheetah-vel",
        family="cheetah-vel",
        manifest="cheetah-vel",
        data=DataConfig(n_tasks=1024, chunk_tasks=128, expert_noise=0.2),
        # A speed is read from many frames and the means between them, since within a stride it swings, and is wanted
        # precisely; 17 numbers need no sines.
        model=ModelConfig(n_frames=21, frame_means=True, fourier=(), n_hypotheses=1, policy_width=256),
        training=TrainingConfig(
            warmup_steps=1500,
            rounds=2,
            round_steps=800,
            trials_per_task=2,
            steps_per_episode=32,
            freeze_batchnorm_after=0.5,
            check_steps=400,
            check_tasks=64,
        ),
    ),
    Experiment(
        name="dark-room",
        family="dark-room",
        manifest="dark-room",
        data=DataConfig(n_tasks=8192, chunk_tasks=512),
        model=ModelConfig(n_frames=4, fourier=(), n_hypotheses=8),
        training=TrainingConfig(
            warmup_steps=600,
            rounds=1,
            round_steps=400,
            trials_per_task=3,
            steps_per_episode=10,
            demo_dropout=0.3,
        ),
    ),
    Experiment(
        name="key-to-door",
        family="key-to-door",
        manifest="key-to-door-strict",
        data=DataConfig(n_tasks=8192, chunk_tasks=512),
        model=ModelConfig(n_frames=7, fourier=()),
        training=TrainingConfig(
            warmup_steps=1600,
            rounds=2,
            round_steps=800,
            trials_per_task=2,
            steps_per_episode=8,
            demo_dropout=0.1,
            expert_trial=0.5,
            anneal_steps=500,
            learning_rate=2e-3,
            check_steps=200,
            check_tasks=128,
        ),
    ),
    # What is demonstrated is not the goal, and could only be learnt by heart: so it is often left out.
    *(
        Experiment(
            name=name,
            family=name,
            manifest=name,
            data=DataConfig(n_tasks=1500, chunk_tasks=100, demo_noise=0.1, expert_noise=0.2),
            model=ModelConfig(n_frames=4, n_hypotheses=n_hypotheses),
            training=TrainingConfig(
                warmup_steps=2000,
                rounds=1,
                round_steps=1500,
                trials_per_task=5,
                steps_per_episode=8,
                demo_dropout=0.3,
                check_steps=500,
                check_tasks=100,
            ),
        )
        for name, n_hypotheses in (("push-blind", 8), ("push-blind-strict", 16), ("push-blind-dense", 8))
    ),
    Experiment(
        name="ml10",
        family="ml10",
        manifest="ml10",
        data=DataConfig(n_tasks=1500, chunk_tasks=50, demo_actions=False, demo_noise=0.05, expert_noise=0.2),
        model=ModelConfig(n_frames=8, policy_width=256),
        training=TrainingConfig(
            warmup_steps=2500,
            rounds=1,
            round_steps=1500,
            trials_per_task=3,
            steps_per_episode=12,
            check_steps=500,
            check_tasks=100,
        ),
    ),
)

BY_HAND = {experiment.name: experiment for experiment in _ALL}


def benchmarked_experiment(name: str) -> Experiment:
    """The experiment that a benchmark trains: by hand where it is a suite's. Raises InvalidConfig: an unknown name."""
    return BY_HAND.get(name) or find_experiment(name)
