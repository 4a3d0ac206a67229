"""The named experiments: each a frozen value with a unique name.

Those of the suites have a family and a budget, and decide all else by themselves. Those that learn what can be asked
for, or whom they watch, have settings that were chosen for them, and one has those of a GPU.
"""

import difflib

from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data.errors import InvalidConfig

USUAL_MINUTES = 20.0
"""That a training may take, where neither an experiment nor a person says how long."""

_SHOWN = DataConfig()
_OBSERVED = DataConfig(demo_actions=False)  # demonstrations are observations alone, as in the manifest


def _suite(
    name: str,
    *,
    model_name: str = "",
    family: str = "",
    manifest: str = "",
    data: DataConfig = _SHOWN,
    minutes: float = USUAL_MINUTES,
) -> Experiment:
    training = TrainingConfig(minutes=minutes)
    return Experiment(
        name=name,
        model_name=model_name,
        family=family or name,
        manifest=manifest or name,
        data=data,
        training=training,
    )


_SUITES = (
    _suite("reach-m2", model_name="reach", minutes=3.0),
    _suite("reach-m2-unseen"),
    _suite("reach-m4"),
    _suite("reach-m4-unseen"),
    _suite("reach-colour"),
    _suite("reach-dynamics", data=_OBSERVED),
    _suite("dark-room"),
    _suite("key-to-door", manifest="key-to-door-strict"),
    # Trained at half of Meta-World's radius, so that what is learnt is to bring the puck to the goal itself.
    _suite("push", family="push-strict"),
    _suite("push-blind"),
    _suite("push-blind-strict"),
    _suite("push-blind-dense"),
    _suite("cheetah-vel"),
    _suite("ml10", data=_OBSERVED),
)

# A speed is read from many frames and the means between them, since within a stride it swings, and is wanted precisely;
# 17 numbers need no sines.
CHEETAH = ModelConfig(n_frames=21, frame_means=True, fourier=(), n_hypotheses=1, policy_width=256)
CHEETAH_TRAINING = TrainingConfig(
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
    *_SUITES,
    Experiment(
        name="reach-ask",
        family="reach-m2",
        manifest="reach-m2",
        data=DataConfig(n_tasks=24_576, chunk_tasks=512, graded_per_task=2),
        model=ModelConfig(asks=("return", "goal", "better", "words")),
        training=TrainingConfig(warmup_steps=1000, rounds=2, round_steps=700),
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
        model=CHEETAH.model_copy(update={"context_sigma": True, "latent_dim": 128}),
        training=CHEETAH_TRAINING.model_copy(
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
    # What one can ask for: a return of cheetahs that are paid by the metre, better than shaky cheetahs, luck.
    Experiment(
        name="cheetah-distance",
        family="cheetah-distance",
        data=DataConfig(n_tasks=768, chunk_tasks=128, expert_noise=0.2, graded_per_task=2),
        model=CHEETAH.model_copy(update={"asks": ("return",)}),
        training=CHEETAH_TRAINING.model_copy(update={"steps_per_episode": 16}),
    ),
    Experiment(
        name="cheetah-better",
        family="cheetah-vel",
        manifest="cheetah-vel",
        data=DataConfig(n_tasks=768, chunk_tasks=128, expert_noise=0.2, graded_per_task=2),
        model=CHEETAH.model_copy(update={"asks": ("better",)}),
        training=CHEETAH_TRAINING.model_copy(update={"steps_per_episode": 16}),
    ),
    Experiment(
        name="gambling",
        family="gambling",
        data=DataConfig(n_tasks=64, demos_per_task=0, experts_per_task=0, graded_per_task=48, grades=(1.0,)),
        model=ModelConfig(n_hypotheses=1, asks=("return",)),
        training=TrainingConfig(warmup_steps=300, rounds=0, batch_tasks=64),
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


def own_experiment(name: str, family: str) -> Experiment:
    """The experiment of somebody's own family, or, where `family` is empty, of recordings: it decides by itself."""
    return Experiment(name=name, family=family, training=TrainingConfig(minutes=USUAL_MINUTES))


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
