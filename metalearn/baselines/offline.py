"""BC and MARWIL as RLlib has them, from a Parquet export of the demonstrations that everything else learns from.

The network is that of `bc`, so that what differs is who trains it. RLlib is imported when something is learnt;
what was learnt acts without it.
"""

import logging
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field

from metalearn.baselines.bc import BcConfig
from metalearn.baselines.mixture import initial_network
from metalearn.baselines.ray_start import start_ray
from metalearn.baselines.rl import choices_of, vectors_of
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidData
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.training.collect import one_thread

EPISODES_PER_FILE = 4096
EPISODES_PER_PIECE = 64
"""Episodes that RLlib turns into batches at a time."""
LIGHT = {"num_cpus": 0.25}  # reading and mapping run side by side, on a machine of one core too
FINAL_RATE = 0.02  # of the learning rate, where its linear fall ends


class OfflineConfig(BcConfig):
    """Settings of RLlib's training of the network of `bc`."""

    beta: float = Field(0.0, ge=0, le=1, description="of MARWIL: how much better steps count more; 0 is BC")
    discount: float = Field(0.99, gt=0, le=1)
    batch_steps: int = Field(2048, ge=1, description="steps of episodes in one update")
    max_episodes: int = Field(16_384, ge=1, description="expert episodes read, of the first tasks")


def export_parquet(dataset: Dataset, folder: Path, max_episodes: int | None = None) -> int:
    """Write the experts' episodes, one per row, to `folder` (made if absent); returns how many.

    Columns: `eps_id`, `task`, `obs` `[t+1][o]`, `actions` `[t][a]` (or choices counted from 0, `[t]` or `[t][k]`) to
    imitate,
    `rewards` `[t]`, `success`. Observations are flat float32.

    Raises:
        InvalidData: an expert without actions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, n_rows = islice(_rows(dataset), max_episodes), 0
    for number, piece in enumerate(iter(lambda: list(islice(rows, EPISODES_PER_FILE)), [])):
        pq.write_table(pa.Table.from_pylist(piece, _schema(dataset.spec)), folder / f"episodes-{number:05d}.parquet")
        n_rows += len(piece)
    return n_rows


@one_thread()
def train_offline(
    dataset: Dataset,
    config: OfflineConfig,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Array]:
    """Train on the experts' episodes of a dataset; returns weights for `Bc.from_weights`, normaliser included.

    Uses the Ray cluster that this process has joined, or starts one for as long as it takes.

    Raises:
        InvalidData: an expert without actions; for MARWIL, without rewards and success.
    """
    if config.beta:
        _check_scored(dataset)
    with (
        tempfile.TemporaryDirectory() as folder,
        torch.random.fork_rng(devices=[]),  # RLlib seeds the generator of the process
        _ray(),
    ):
        export_parquet(dataset, Path(folder), config.max_episodes)
        algorithm = _algorithm(dataset, config, seed, Path(folder))
        try:
            for step in range(config.steps):
                algorithm.train()
                progress(step + 1, config.steps)
            (weights,) = algorithm.learner_group.get_weights().values()
        finally:
            algorithm.offline_data.batch_iterators = None  # left to the collector it would look for Ray in vain
            algorithm.stop()
    prefix = "actor.net."
    return {name.removeprefix(prefix): np.array(weights[name]) for name in weights if name.startswith(prefix)}


def _algorithm(dataset: Dataset, config: OfflineConfig, seed: int, folder: Path) -> Any:
    from ray.rllib.algorithms.bc import BCConfig
    from ray.rllib.algorithms.marwil import MARWILConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from metalearn.baselines.offline_reader import WholeEpisodes
    from metalearn.baselines.rl_module import ActorCritic

    for name in ("ray", "ray.data", "ray.rllib"):
        logging.getLogger(name).setLevel(logging.ERROR)  # it warns of its own use of what it deprecates
    network = initial_network(dataset, config, seed)
    scale = {name: network.observations.get_buffer(name).numpy().copy() for name in ("mean", "std")}
    model_config = {"spec": dataset.spec.to_json(), "cloned": network, **scale}
    rate, n_steps = config.learning_rate, config.steps * config.batch_steps
    chosen = MARWILConfig().training(beta=config.beta) if config.beta else BCConfig()
    return (
        chosen.environment(**_spaces(dataset.spec))
        .env_runners(num_env_runners=0)
        .learners(num_learners=0)
        .training(
            lr=[[0, rate], [n_steps, FINAL_RATE * rate]],
            gamma=config.discount,
            train_batch_size_per_learner=config.batch_steps,
            grad_clip=1.0,
            grad_clip_by="global_norm",
        )
        .offline_data(
            input_=[str(folder)],
            input_read_method="read_parquet",
            input_read_method_kwargs=LIGHT,
            input_read_sample_batches=True,
            input_read_batch_size=EPISODES_PER_PIECE,
            prelearner_class=WholeEpisodes,
            # Whole episodes that end: returns depend on no network, and what is mapped once stays right.
            materialize_data=False,
            materialize_mapped_data=True,
            map_batches_kwargs={"concurrency": 1, **LIGHT},
            iter_batches_kwargs={"local_shuffle_buffer_size": 4 * config.batch_steps, "local_shuffle_seed": seed},
            dataset_num_iters_per_learner=1,
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=ActorCritic, model_config=model_config))
        .debugging(seed=seed, log_level="ERROR")
        .build_algo()
    )


def _spaces(spec: Spec) -> dict[str, gym.Space[Any]]:
    """As the Parquet has them: observations are flat, discrete actions count from 0."""
    return {"observation_space": vectors_of(spec), "action_space": choices_of(spec)}


def _rows(dataset: Dataset) -> Iterator[dict[str, Any]]:
    known: Counter[str] = Counter()  # two tasks may have one name, and their episodes are two all the same
    for record in dataset.tasks:
        for episode, (_, actions) in zip(record.experts, record.targets(), strict=True):
            known[record.task] += 1
            counted = Units(dataset.spec).targets(actions)  # in the units of the actions themselves
            yield {
                "eps_id": f"{record.task}/{known[record.task] - 1}",
                "task": record.task,
                "obs": observation_vectors(episode.observations).tolist(),
                "actions": counted.tolist(),
                "rewards": _rewards(episode).tolist(),
                "success": episode.success,
            }


def _rewards(episode: Episode) -> Array:
    """As recorded; else 1 for the last step of a success."""
    if episode.rewards is not None:
        return episode.rewards
    rewards = np.zeros(len(episode), np.float32)
    rewards[-1:] = float(bool(episode.success))
    return rewards


def _check_scored(dataset: Dataset) -> None:
    for record in dataset.tasks:
        for i, episode in enumerate(record.experts):
            if episode.rewards is None and episode.success is None:
                raise InvalidData(
                    f"{record.task}.experts[{i}]", "rewards or success, to know what is better", "neither"
                )


def _schema(spec: Spec) -> pa.Schema:
    vectors = pa.list_(pa.list_(pa.float32()))
    numbers = pa.int64() if len(spec.action_choices) < 2 else pa.list_(pa.int64())
    return pa.schema(
        [
            ("eps_id", pa.string()),
            ("task", pa.string()),
            ("obs", vectors),
            ("actions", pa.list_(numbers) if spec.discrete else vectors),
            ("rewards", pa.list_(pa.float32())),
            ("success", pa.bool_()),
        ]
    )


@contextmanager
def _ray() -> Iterator[None]:
    """The cluster of this process, or one of its own. `ray.init` takes SIGTERM for itself: it is given back."""
    import ray

    if ray.is_initialized():
        yield
        return
    main = threading.current_thread() is threading.main_thread()
    handler: Any = signal.getsignal(signal.SIGTERM) if main else None
    start_ray(include_dashboard=False, log_to_driver=False, configure_logging=False)
    if main:
        signal.signal(signal.SIGTERM, handler)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
    finally:
        ray.shutdown()
