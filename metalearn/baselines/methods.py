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
from metalearn.baselines.mil_weights import MilWeights, MilWeightsConfig, train_mil_weights
from metalearn.baselines.nearest_neighbour import NearestNeighbourIndex
from metalearn.baselines.offline import OfflineConfig, train_offline
from metalearn.baselines.paper import Paper, train_paper
from metalearn.baselines.paper_network import PaperConfig
from metalearn.baselines.skills import ConstantSkill, Skills, SkillsConfig, SkillSearch, best_skill, find_skills
from metalearn.baselines.trial_only import WithoutTrials, trial_only
from metalearn.bundle import Bundle
from metalearn.config import Config, Experiment
from metalearn.data.dataset import INDEX_FILE, Dataset
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.reading import read_arrays, read_json
from metalearn.data.spec import Spec
from metalearn.model.inference import Inference
from metalearn.tasks.registry import find_family
from metalearn.training.collect import Collector
from metalearn.training.events import Event
from metalearn.training.loop import train

PROBE_STEPS = (3, 23)
"""Gradient steps of two short trainings whose difference says what a step costs."""

DEFAULTS_FOR_STEPS = 1700
"""Gradient steps of the experiment (`reach-m2`) that the default steps of the baselines go with."""

POLICY = "wtl"
"""The method that the others are compared with, and whose skills some of them use."""

MATCHED = (("", 1.0, "as much as"), ("-4x", 4.0, "four times"))
"""Baselines with the processor time of the policy: suffix of the name, share of the time, and the same in words."""

T = TypeVar("T")
C = TypeVar("C", BcConfig, OfflineConfig, MilConfig, MilWeightsConfig)
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
        builds_on: the method whose training it looks into, which lies in the folder beside its own; None: no other.
    """

    name: str
    what: str
    train: Callable[[Experiment, Path, Dataset, Collector, int, Steps], None]
    load: Callable[[Path, Spec], Adapter]
    needs_demo_actions: bool = False
    needs_demo: bool = False
    builds_on: str | None = None


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
    _keep(weights, folder)
    _finish(folder, name, config.model_dump(mode="json"), seed, started)


def _train_skills(
    name: str,
    chosen: Callable[[Inference, Experiment, Skills, SkillsConfig, int], Mapping[str, Array]],
    experiment: Experiment,
    folder: Path,
    dataset: Dataset,
    collector: Collector,
    seed: int,
    progress: Steps,
) -> None:
    """The skills of the policy in the folder beside, and what is chosen among them."""
    started, bundle = time.monotonic(), Bundle.load(folder.parent / POLICY / "bundle")
    inference, config = Inference.load(bundle), SkillsConfig(policy=bundle.id)
    skills = find_skills(inference, find_family(experiment.family), dataset, config.n_clusters, seed)
    _keep({**skills.to_weights(), **chosen(inference, experiment, skills, config, seed)}, folder)
    _finish(folder, name, config.model_dump(mode="json"), seed, started)


def _keep(weights: Mapping[str, Array], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in weights.items()}, folder / "weights.safetensors")


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


def _train_matched(
    name: str,
    share: float,
    train: Callable[[Dataset, C, int, Steps], Mapping[str, Array]],
    config: C,
    experiment: Experiment,
    folder: Path,
    dataset: Dataset,
    collector: Collector,
    seed: int,
    progress: Steps,
) -> None:
    """A baseline with the mixture of the policy in the folder beside, for `share` times the processor time of that."""
    started, seconds = time.monotonic(), share * _processor_s(folder.parent / POLICY)
    config = config.model_copy(update={"n_components": max(config.n_components, experiment.model.n_hypotheses)})
    steps = max(1, int(seconds / _step_s(train, config, dataset, seed)))
    config = config.model_copy(update={"steps": steps})
    _keep(train(dataset, config, seed, progress), folder)
    _finish(folder, name, config.model_dump(mode="json"), seed, started)


def _processor_s(folder: Path) -> float:
    """Processor time of a training that a benchmark ran in a folder. Raises InvalidConfig: nobody wrote it down."""
    try:
        return float(read_json(folder / "cpu_s.json"))
    except (OSError, TypeError, ValueError) as error:
        raise InvalidConfig(
            f"{folder / 'cpu_s.json'}: expected the processor seconds of a training: {error}"
        ) from error


def _step_s(
    train: Callable[[Dataset, C, int, Steps], Mapping[str, Array]], config: C, dataset: Dataset, seed: int
) -> float:
    """Processor seconds of a gradient step: a longer training minus a shorter one, which begin alike."""

    def seconds(steps: int) -> float:
        started = time.process_time()
        train(dataset, config.model_copy(update={"steps": steps}), seed, lambda _done, _total: None)
        return time.process_time() - started

    few, many = PROBE_STEPS
    seconds(1)  # what is done once in a process
    return max(seconds(many) - seconds(few), 1e-6) / (many - few)


def _paper(
    experiment: Experiment, dataset: Dataset, collector: Collector, seed: int, progress: Steps
) -> tuple[Mapping[str, Array], Config]:
    config = PaperConfig(chunk_tasks=experiment.data.chunk_tasks)
    phases = {name: _in_proportion(getattr(config, name), experiment) for name in ("trial_steps", "retrial_steps")}
    config = config.model_copy(update=phases)
    return train_paper(dataset, experiment.family, collector, config, seed, progress), config


def _best_skill(
    inference: Inference, experiment: Experiment, skills: Skills, config: SkillsConfig, seed: int
) -> Mapping[str, Array]:
    best = best_skill(inference, find_family(experiment.family), skills, config.validation_tasks, seed)
    return {"chosen": np.array([best])}


def _index(
    experiment: Experiment, dataset: Dataset, collector: Collector, seed: int, progress: Steps
) -> tuple[Mapping[str, Array], Config]:
    """Nothing is learnt: the training episodes are kept to be looked up."""
    return NearestNeighbourIndex.of(dataset).to_weights(), Config()


# -- reading from a folder ----------------------------------------------------------------------------------------


def _load_policy(folder: Path, spec: Spec) -> Inference:
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


def _skills(make: Callable[[Inference, Mapping[str, Array]], Adapter]) -> Callable[[Path, Spec], Adapter]:
    """Read what uses the skills of the policy in the folder beside."""

    def load(folder: Path, spec: Spec) -> Adapter:
        def with_policy(weights: Mapping[str, Array], given: dict[str, Any]) -> Adapter:
            bundle = Bundle.load(folder.parent / POLICY / "bundle")
            if bundle.id != SkillsConfig.model_validate(given).policy:
                raise InvalidConfig(f"the skills at {folder} are of another policy than the one beside them")
            return make(_load_policy(folder.parent / POLICY, spec), weights)

        return _load_network(with_policy, folder)

    return load


def _load_index(folder: Path) -> NearestNeighbourIndex:
    """Read the training episodes that are looked up."""
    return _load_network(lambda weights, _: NearestNeighbourIndex.from_weights(weights), folder)


def _same(experiment: Experiment) -> Experiment:
    return experiment


_ALL = (
    Method(
        POLICY,
        "one policy conditioned on any demonstrations and own scored trials; its first attempt explores",
        partial(_train_policy, POLICY, _same),
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
        "constant-skill",
        "one skill of wtl for all tasks, whatever is shown or tried: the mean latent of the training type (or cluster) "
        "that is best on validation tasks",
        partial(_train_skills, "constant-skill", _best_skill),
        _skills(lambda policy, weights: ConstantSkill(policy, Skills.from_weights(weights), int(weights["chosen"][0]))),
        builds_on=POLICY,
    ),
    Method(
        "skill-search",
        "win-stay, lose-shift over the skills of wtl, those nearest to the demonstration first",
        partial(_train_skills, "skill-search", lambda *_: {}),
        _skills(lambda policy, weights: SkillSearch(policy, Skills.from_weights(weights))),
        builds_on=POLICY,
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
    *(
        Method(
            f"mil-matched{suffix}",
            f"as mil, with a mixture as large as that of wtl and {words} its processor time",
            partial(_train_matched, f"mil-matched{suffix}", share, train_mil, MilConfig()),
            _network(Mil.from_weights, MilConfig),
            needs_demo_actions=True,
            builds_on=POLICY,
        )
        for suffix, share, words in MATCHED
    ),
    *(
        Method(
            f"bc-matched{suffix}",
            f"as bc, with a mixture as large as that of wtl and {words} its processor time",
            partial(_train_matched, f"bc-matched{suffix}", share, train_bc, BcConfig()),
            _network(Bc.from_weights, BcConfig),
            builds_on=POLICY,
        )
        for suffix, share, words in MATCHED
    ),
    Method(
        "mil-weights",
        "as mil, but the gradient steps move all weights: MAML as it was published, by learn2learn",
        partial(_train_network, "mil-weights", _scaled(train_mil_weights, MilWeightsConfig())),
        _network(MilWeights.from_weights, MilWeightsConfig),
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
