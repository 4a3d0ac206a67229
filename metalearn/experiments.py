"""The named experiments: each a frozen value with a unique name.

They have a family, what is shown of it, what can be asked for and a budget, and decide all else by themselves. One has
settings: those of a GPU.
"""

import difflib

from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data.errors import InvalidConfig

USUAL_MINUTES = 20.0
"""That a training may take, where neither an experiment nor a person says how long."""

_SHOWN = DataConfig()
_OBSERVED = DataConfig(demo_actions=False)  # demonstrations are observations alone, as in the manifest
_TWICE = DataConfig(demos_per_task=2)
_OF_EVERY_SPEED = DataConfig(n_tasks=768)  # as many episodes as others have learnt from (`benchmarks/ask_return.py`)
_GAMBLED = DataConfig(n_tasks=64, demos_per_task=0, experts_per_task=0, graded_per_task=48, grades=(1.0,))


def _automatic(
    name: str,
    *,
    model_name: str = "",
    family: str = "",
    manifest: str | None = "",
    data: DataConfig = _SHOWN,
    asks: tuple[str, ...] = (),
    minutes: float = USUAL_MINUTES,
) -> Experiment:
    """It decides all else by itself. Its family and manifest have its name unless given; None: it has no manifest."""
    return Experiment(
        name=name,
        model_name=model_name,
        family=family or name,
        manifest=name if manifest == "" else manifest,
        data=data,
        model=ModelConfig(asks=asks) if asks else ModelConfig(),
        training=TrainingConfig(minutes=minutes),
    )


_ALL = (
    _automatic("reach-m2", model_name="reach", minutes=3.0),
    _automatic("reach-m2-unseen"),
    _automatic("reach-m4"),
    _automatic("reach-m4-unseen"),
    _automatic("reach-colour"),
    _automatic("reach-dynamics", data=_OBSERVED, minutes=10),
    _automatic("dark-room"),
    _automatic("key-to-door", manifest="key-to-door-strict"),
    # Trained at half of Meta-World's radius, so that what is learnt is to bring the puck to the goal itself.
    _automatic("push", family="push-strict"),
    _automatic("push-blind"),
    _automatic("push-blind-strict"),
    _automatic("push-blind-dense"),
    _automatic("cheetah-vel"),
    _automatic("ml10", data=_OBSERVED),
    _automatic(
        "reach-ask", family="reach-m2", manifest="reach-m2", asks=("return", "goal", "better", "words"), minutes=10
    ),
    # Whom one watches shows goal and manner twice.
    _automatic("reach-manners", data=_TWICE, minutes=10),
    _automatic("reach-plain", data=_TWICE, minutes=10),
    _automatic("grid-manners", data=_TWICE, minutes=10),
    _automatic("cheetah-manners", data=_TWICE),
    # Whoever is watched is shaky now and then, and can be surpassed without another manner.
    _automatic(
        "reach-better", family="reach-skilled", manifest="reach-skilled", data=_TWICE, asks=("better",), minutes=10
    ),
    # What one can ask for: a return of cheetahs that are paid by the metre, better than shaky cheetahs, luck.
    _automatic("cheetah-distance", manifest=None, data=_OF_EVERY_SPEED, asks=("return",)),
    _automatic("cheetah-better", family="cheetah-vel", manifest="cheetah-vel", asks=("better",)),
    _automatic("gambling", manifest=None, data=_GAMBLED, asks=("return",), minutes=1),
    # BabyAI's missions are said in words.
    *(_automatic(f"babyai-{level}", asks=("words",)) for level in ("go-to-red-ball", "go-to-local", "put-next-local")),
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
