"""The named experiments: each a frozen value with a unique name."""

import difflib

from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data.errors import InvalidConfig

# A speed is read from many frames and the means between them, since within a stride it swings, and is wanted precisely;
# 17 numbers need no sines.
_CHEETAH = ModelConfig(n_frames=21, frame_means=True, fourier=(), n_hypotheses=1, policy_width=256)
_CHEETAH_TRAINING = TrainingConfig(
    warmup_steps=1500,
    rounds=2,
    round_steps=800,
    trials_per_task=2,
    steps_per_episode=32,
    freeze_batchnorm_after=0.5,
    check_steps=400,
    check_tasks=64,
)

_MANNERS = ModelConfig(
    n_frames=20,
    frame_means=True,
    fourier=(0.5, 1.0, 2.0, 4.0),
    latent_dim=128,
    n_hypotheses=1,
    policy_width=256,
    context_sigma=True,
)

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
    Experiment(
        name="reach-ask",
        family="reach-m2",
        manifest="reach-m2",
        data=DataConfig(n_tasks=24_576, chunk_tasks=512, graded_per_task=2),
        model=ModelConfig(asks=("return", "goal", "better", "words")),
        training=TrainingConfig(warmup_steps=1000, rounds=2, round_steps=700),
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
    # A manner is read from many frames, and how shaky a demonstrator is from the spread of its actions.
    *(
        Experiment(
            name=name,
            family=name,
            manifest=name,
            data=DataConfig(n_tasks=16_384, chunk_tasks=512, demos_per_task=2, expert_noise=0.1),
            model=_MANNERS,
            training=TrainingConfig(
                warmup_steps=3000, rounds=1, round_steps=2000, steps_per_episode=16, own_target=0.3
            ),
        )
        for name in ("reach-manners", "reach-plain")
    ),
    Experiment(
        name="grid-manners",
        family="grid-manners",
        manifest="grid-manners",
        data=DataConfig(n_tasks=16_384, chunk_tasks=512, demos_per_task=2),
        model=ModelConfig(n_frames=20, frame_means=True, latent_dim=128, n_hypotheses=1, policy_width=256),
        training=TrainingConfig(warmup_steps=1500, rounds=1, round_steps=700, steps_per_episode=16, own_target=0.3),
    ),
    Experiment(
        name="cheetah-manners",
        family="cheetah-manners",
        manifest="cheetah-manners",
        data=DataConfig(n_tasks=1024, chunk_tasks=128, demos_per_task=2, expert_noise=0.1),
        model=_CHEETAH.model_copy(update={"context_sigma": True, "latent_dim": 128}),
        training=_CHEETAH_TRAINING.model_copy(
            update={
                "warmup_steps": 1200,
                "rounds": 1,
                "round_steps": 600,
                "trials_per_task": 1,
                "steps_per_episode": 32,
            }
        ),
    ),
    # Whoever is watched is shaky now and then, and can be surpassed without another manner.
    Experiment(
        name="reach-better",
        family="reach-skilled",
        manifest="reach-skilled",
        data=DataConfig(n_tasks=8192, chunk_tasks=512, demos_per_task=2, expert_noise=0.1, graded_per_task=2),
        model=_MANNERS.model_copy(update={"asks": ("better",)}),
        training=TrainingConfig(warmup_steps=1500, rounds=1, round_steps=700, steps_per_episode=16, own_target=0.3),
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
        model=_CHEETAH,
        training=_CHEETAH_TRAINING,
    ),
    # What one can ask for: a return of cheetahs that are paid by the metre, better than shaky cheetahs, luck.
    Experiment(
        name="cheetah-distance",
        family="cheetah-distance",
        data=DataConfig(n_tasks=768, chunk_tasks=128, expert_noise=0.2, graded_per_task=2),
        model=_CHEETAH.model_copy(update={"asks": ("return",)}),
        training=_CHEETAH_TRAINING.model_copy(update={"steps_per_episode": 16}),
    ),
    Experiment(
        name="cheetah-better",
        family="cheetah-vel",
        manifest="cheetah-vel",
        data=DataConfig(n_tasks=768, chunk_tasks=128, expert_noise=0.2, graded_per_task=2),
        model=_CHEETAH.model_copy(update={"asks": ("better",)}),
        training=_CHEETAH_TRAINING.model_copy(update={"steps_per_episode": 16}),
    ),
    Experiment(
        name="gambling",
        family="gambling",
        data=DataConfig(n_tasks=64, demos_per_task=0, experts_per_task=0, graded_per_task=48, grades=(1.0,)),
        model=ModelConfig(n_hypotheses=1, asks=("return",)),
        training=TrainingConfig(warmup_steps=300, rounds=0, batch_tasks=64),
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
    Experiment(
        name="push-blind",
        family="push-blind",
        manifest="push-blind",
        data=DataConfig(n_tasks=1500, chunk_tasks=100, demo_noise=0.1, expert_noise=0.2),
        model=ModelConfig(n_frames=4, n_hypotheses=8),
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
    ),
    Experiment(
        name="push-blind-strict",
        family="push-blind-strict",
        manifest="push-blind-strict",
        data=DataConfig(n_tasks=1500, chunk_tasks=100, demo_noise=0.1, expert_noise=0.2),
        model=ModelConfig(n_frames=4, n_hypotheses=16),
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
    ),
    Experiment(
        name="push-blind-dense",
        family="push-blind-dense",
        manifest="push-blind-dense",
        data=DataConfig(n_tasks=1500, chunk_tasks=100, demo_noise=0.1, expert_noise=0.2),
        model=ModelConfig(n_frames=4, n_hypotheses=8),
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
    ),
    # BabyAI's missions are said in words. What is seen are symbols, of which there are few, and a bot knows the way.
    *(
        Experiment(
            name=name,
            family=name,
            manifest=name,
            data=DataConfig(n_tasks=n_tasks, chunk_tasks=64),
            model=ModelConfig(
                n_frames=5, fourier=(), n_hypotheses=4, latent_dim=128, policy_width=256, symbols=(11,), asks=("words",)
            ),
            training=TrainingConfig(
                warmup_steps=1500,
                rounds=1,
                round_steps=1500,
                trials_per_task=1,
                steps_per_episode=12,
                batch_tasks=64,
                average_share=0.1,
                check_steps=250,
                check_tasks=64,
            ),
        )
        for name, n_tasks in (
            ("babyai-go-to-red-ball", 1024),
            ("babyai-go-to-local", 4096),
            ("babyai-put-next-local", 8192),
        )
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
    # For a GPU, with cores or a cluster to simulate on.
    Experiment(
        name="ml10-large",
        model_name="ml10",
        family="ml10",
        manifest="ml10",
        data=DataConfig(n_tasks=20_000, chunk_tasks=50, demo_actions=False, demo_noise=0.05, expert_noise=0.2),
        model=ModelConfig(n_frames=16, n_hypotheses=8, encoder_width=1024, latent_dim=256, policy_width=512),
        training=TrainingConfig(
            warmup_steps=30_000,
            rounds=3,
            round_steps=20_000,
            trials_per_task=3,
            batch_tasks=256,
            learning_rate=6e-4,
            steps_per_episode=32,
            anneal_steps=2000,
            check_steps=2000,
            check_tasks=200,
        ),
    ),
)

USUAL_MINUTES = 20.0
"""That a training may take, where neither an experiment nor a person says how long."""


def own_experiment(name: str, family: str, data: DataConfig | None = None) -> Experiment:
    """The experiment of somebody's own family, or, where `family` is empty, of recordings: it decides by itself."""
    training = TrainingConfig(minutes=USUAL_MINUTES)
    if data is None:
        return Experiment(name=name, family=family, training=training)
    return Experiment(name=name, family=family, data=data, training=training)


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
