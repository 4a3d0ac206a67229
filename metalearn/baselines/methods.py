"""Every method of a benchmark: how it is trained into a folder, and how it is read from there as an adapter.

Knows no manifest and no command line.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from metalearn.adapter import Adapter
from metalearn.baselines.bc import Bc, BcConfig, train_bc
from metalearn.baselines.demo_replay import DemoReplay, StateMatchedReplay
from metalearn.baselines.mil import Mil, MilConfig, train_mil
from metalearn.baselines.nearest_neighbour import NearestNeighbourIndex
from metalearn.baselines.offline import OfflineConfig, train_offline
from metalearn.baselines.paper import Paper, train_paper
from metalearn.baselines.paper_network import PaperConfig
from metalearn.baselines.trial_only import WithoutTrials, trial_only
from metalearn.bundle import Bundle
from metalearn.config import Config, Experiment
from metalearn.data.dataset import INDEX_FILE, Dataset
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.reading import read_arrays, read_json
from metalearn.data.spec import Spec
from metalearn.model.inference import Inference
from metalearn.training.collect import Collector
from metalearn.training.events import Event
from metalearn.training.loop import train

DEFAULTS_FOR_STEPS = 1700
"""Gradient steps of the experiment (`reach-m2`) that the default steps of the baselines go with."""

T = TypeVar("T")
C = TypeVar("C", BcConfig, OfflineConfig, MilConfig)
K = TypeVar("K", bound=Config)

Steps = Callable[[int, int], None]
"""Called with the steps done and the steps in all; may raise to end the training."""


@dataclass(frozen=True)
class Method:
    """One way to adapt.

    Attributes:
        name: in reports and on the command line.
        what: one sentence for tables.
        train: into a folder, from (experiment, folder, dataset, collector, seed, progress). Called again after it
            was stopped it goes on or starts again. The last thing it writes is `method.json`: name, config, seed,
            train_wall_s (of the call that came to the end).
        load: the adapter, from (folder, spec). Raises InvalidConfig.
        needs_demo_actions: whether demonstrations without actions are of no use to it.
        needs_demo: whether it can do nothing without a demonstration.
    """

    name: str
    what: str
    train: Callable[[Experiment, Path, Dataset, Collector, int, Steps], None]
    load: Callable[[Path, Spec], Adapter]
    needs_demo_actions: bool = False
    needs_demo: bool = False


# -- training into a folder ---------------------------------------------------------------------------------------


def _train_policy(
    name: str,
    derive: Callable[[Experiment], Experiment],
    experiment: Experiment,
    folder: Path,
    dataset: Dataset,
    collector: Collector,
    seed: int,
    progress: Steps,
) -> None:
    """The meta-training loop. A dataset that lies (or is linked) at `folder / "dataset"` is taken to be `dataset`."""
    started, derived = time.monotonic(), derive(experiment.with_seed(seed))
    if not (folder / "dataset" / INDEX_FILE).exists():
        dataset.save(folder / "dataset")

    def listen(event: Event) -> None:
        if event.phase == "train":
            progress(event.done, event.total)

    train(derived, folder, collector=collector, listen=listen)
    _finish(folder, name, derived.to_json(), seed, started)


def _train_network(
    name: str,
    trained: Callable[[Experiment, Dataset, Collector, int, Steps], tuple[Mapping[str, Array], Config]],
    experiment: Experiment,
    folder: Path,
    dataset: Dataset,
    collector: Collector,
    seed: int,
    progress: Steps,
) -> None:
    """A baseline that is weights and a configuration."""
    started = time.monotonic()
    weights, config = trained(experiment, dataset, collector, seed, progress)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in weights.items()}, folder / "weights.safetensors")
    _finish(folder, name, config.model_dump(mode="json"), seed, started)


def _finish(folder: Path, name: str, config: dict[str, Any], seed: int, started: float) -> None:
    made = {"name": name, "config": config, "seed": seed, "train_wall_s": round(time.monotonic() - started, 1)}
    unfinished = folder / "method.json.part"
    unfinished.write_text(json.dumps(made, indent=1) + "\n")
    unfinished.rename(folder / "method.json")


def _in_proportion(steps: int, experiment: Experiment) -> int:
    """Gradient steps of a baseline, as many more or fewer than its default as the policy itself is trained for."""
    return max(1, steps * experiment.training.total_steps // DEFAULTS_FOR_STEPS)


def _scaled(
    train: Callable[[Dataset, C, int, Steps], Mapping[str, Array]], config: C
) -> Callable[[Experiment, Dataset, Collector, int, Steps], tuple[Mapping[str, Array], Config]]:
    """Train a baseline by its own function, for as many steps as go with those of the experiment."""

    def trained(
        experiment: Experiment, dataset: Dataset, collector: Collector, seed: int, progress: Steps
    ) -> tuple[Mapping[str, Array], Config]:
        scaled = config.model_copy(update={"steps": _in_proportion(config.steps, experiment)})
        return train(dataset, scaled, seed, progress), scaled

    return trained


def _paper(
    experiment: Experiment, dataset: Dataset, collector: Collector, seed: int, progress: Steps
) -> tuple[Mapping[str, Array], Config]:
    config = PaperConfig(chunk_tasks=experiment.data.chunk_tasks)
    phases = {name: _in_proportion(getattr(config, name), experiment) for name in ("trial_steps", "retrial_steps")}
    config = config.model_copy(update=phases)
    return train_paper(dataset, experiment.family, collector, config, seed, progress), config


def _index(
    experiment: Experiment, dataset: Dataset, collector: Collector, seed: int, progress: Steps
) -> tuple[Mapping[str, Array], Config]:
    """Nothing is learnt: the training episodes are kept to be looked up."""
    return NearestNeighbourIndex.of(dataset).to_weights(), Config()


# -- reading from a folder ----------------------------------------------------------------------------------------


def _load_policy(folder: Path, spec: Spec) -> Adapter:
    bundle = Bundle.load(folder / "bundle")
    if bundle.spec.to_json() != spec.to_json():
        raise InvalidConfig(f"the policy of {folder} acts in other spaces than the tasks")
    return Inference.load(bundle)


def _load_network(make: Callable[[Mapping[str, Array], dict[str, Any]], T], folder: Path) -> T:
    """Raises InvalidConfig: nothing trained there, or not what was trained."""
    try:
        made = read_json(folder / "method.json")
        return make(read_arrays(folder / "weights.safetensors"), made["config"])
    except OSError as error:
        raise InvalidConfig(f"no trained method at {folder}: {error.filename}: {error.strerror}") from error
    except (KeyError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise InvalidConfig(f"the method at {folder} is damaged: {str(error).splitlines()[0]}") from error


def _network(
    from_weights: Callable[[Mapping[str, Array], Spec, K], Adapter], config: type[K]
) -> Callable[[Path, Spec], Adapter]:
    """Read a baseline that is weights and a configuration."""

    def load(folder: Path, spec: Spec) -> Adapter:
        return _load_network(lambda weights, given: from_weights(weights, spec, config.model_validate(given)), folder)

    return load


def _load_index(folder: Path) -> NearestNeighbourIndex:
    """Read the training episodes that are looked up."""
    return _load_network(lambda weights, _: NearestNeighbourIndex.from_weights(weights), folder)


def _same(experiment: Experiment) -> Experiment:
    return experiment


_ALL = (
    Method(
        "wtl",
        "one policy conditioned on any demonstrations and own scored trials; its first attempt explores",
        partial(_train_policy, "wtl", _same),
        _load_policy,
    ),
    Method(
        "wtl-paper",
        "the original of 2020: two phases, 40 frames, convolutions over time, no actions seen, a deterministic trial",
        partial(_train_network, "wtl-paper", _paper),
        _network(Paper.from_weights, PaperConfig),
        needs_demo=True,
    ),
    Method(
        "trial-only",
        "meta-imitation by conditioning: the network of wtl, trained without trials of its own and shown none",
        partial(_train_policy, "trial-only", trial_only),
        lambda folder, spec: WithoutTrials(_load_policy(folder, spec)),
    ),
    Method(
        "bc",
        "behaviour cloning of the experts of all tasks, without any context",
        partial(_train_network, "bc", _scaled(train_bc, BcConfig())),
        _network(Bc.from_weights, BcConfig),
    ),
    Method(
        "rllib-bc",
        "the network of bc, trained by RLlib's BC on a Parquet export of the same episodes",
        partial(_train_network, "rllib-bc", _scaled(train_offline, OfflineConfig(beta=0.0))),
        _network(Bc.from_weights, OfflineConfig),
    ),
    Method(
        "rllib-marwil",
        "the network of bc, trained by RLlib's MARWIL: steps that led to more than was expected count more",
        partial(_train_network, "rllib-marwil", _scaled(train_offline, OfflineConfig(beta=1.0))),
        _network(Bc.from_weights, OfflineConfig),
    ),
    Method(
        "mil",
        "meta-imitation by gradient steps (MAML, second order) on the demonstrations and on own successful trials",
        partial(_train_network, "mil", _scaled(train_mil, MilConfig(first_order=False))),
        _network(Mil.from_weights, MilConfig),
        needs_demo_actions=True,
    ),
    Method(
        "mil-first-order",
        "as mil, trained as if the inner gradient did not depend on the weights",
        partial(_train_network, "mil-first-order", _scaled(train_mil, MilConfig(first_order=True))),
        _network(Mil.from_weights, MilConfig),
        needs_demo_actions=True,
    ),
    Method(
        "replay",
        "the actions of the last own success, else of the demonstration, else of the most similar training task's "
        "expert, again by the clock",
        partial(_train_network, "replay", _index),
        lambda folder, spec: DemoReplay(_load_index(folder)),
    ),
    Method(
        "replay-matched",
        "the action that followed the most similar recorded observation, own or of experts in the most similar "
        "training tasks",
        partial(_train_network, "replay-matched", _index),
        lambda folder, spec: StateMatchedReplay(_load_index(folder)),
    ),
)

METHODS: Mapping[str, Method] = {method.name: method for method in _ALL}
