"""The original Watch, Try, Learn (Zhou, Jang et al. 2020, arXiv 1906.03352), trained in its two phases.

Phase I imitates experts given a demonstration; that policy is frozen and tries every training task once; phase II
imitates experts given (demonstration, trial, success). Does not know how the networks look inside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from metalearn.adapter import Actor
from metalearn.baselines.paper_network import (
    PaperConfig,
    PaperNetwork,
    RetrialNetwork,
    TrialNetwork,
    resampled,
    successes,
)
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.tasks.family import TaskId, make_vec
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import episode_seeds, rollout
from metalearn.training.collect import STREAM_TRIAL, Collector, chunked, one_thread

Progress = Callable[[int, int], None]


@one_thread()
def train_paper(
    dataset: Dataset,
    family_name: str,
    collector: Collector,
    config: PaperConfig,
    seed: int = 0,
    progress: Progress = lambda _done, _total: None,
) -> dict[str, Array]:
    """Phase I, one trial of the frozen trial policy in every training task, phase II.

    Args:
        dataset: tasks with at least one demonstration each; the demonstrations need no actions.
        family_name: the family of those tasks, to try them in.
        collector: where the trials are rolled out.
        config: the networks and the two phases.
        seed: of initial weights, batches and trials.
        progress: called with the gradient steps done and the gradient steps in all.

    Returns:
        Weights of both policies for `Paper.from_weights`, normaliser included.

    Raises:
        InvalidData: a task without a demonstration.
    """
    total, triplets = config.trial_steps + config.retrial_steps, _Triplets(dataset, config)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trial, retrial = TrialNetwork(dataset.spec, config), RetrialNetwork(dataset.spec, config)
    for network in (trial, retrial):
        triplets.fit_normaliser(network)
    generator = torch.Generator().manual_seed(seed)

    def trial_context(demo: Tensor, _task: Tensor) -> Tensor:
        return trial.context(triplets.demos[demo])

    _fit(trial, trial_context, triplets, config, config.trial_steps, generator, lambda done: progress(done, total))

    retrial.start_from(trial)
    tried = _try_every_task(trial, dataset, family_name, collector, config, seed)
    trials, success = resampled(tried, config.n_frames), successes(tried)

    def retrial_context(demo: Tensor, task: Tensor) -> Tensor:
        return retrial.context(triplets.demos[demo], trials[task], success[task])

    done_before = config.trial_steps
    _fit(
        retrial, retrial_context, triplets, config, config.retrial_steps, generator,
        lambda done: progress(done_before + done, total),
    )  # fmt: skip
    return {**_weights("trial", trial), **_weights("retrial", retrial)}


class Paper:
    """Both policies behind the verb `adapt`: the trial policy until there is a trial, then the retrial policy."""

    def __init__(self, trial: TrialNetwork, retrial: RetrialNetwork, spec: Spec) -> None:
        self._trial, self._retrial, self._spec = trial.eval(), retrial.eval(), spec

    @classmethod
    def from_weights(cls, weights: Mapping[str, Array], spec: Spec, config: PaperConfig) -> "Paper":
        """Read the weights of `train_paper` with `config`, for tasks of the same spec.

        Raises:
            InvalidConfig: weights of something else.
        """
        trial, retrial = TrialNetwork(spec, config), RetrialNetwork(spec, config)
        try:
            for prefix, network in (("trial.", trial), ("retrial.", retrial)):
                own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
                network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in own.items()})
        except RuntimeError as error:
            sentence = str(error).splitlines()[-1].strip()
            raise InvalidConfig(f"not the weights of wtl-paper for this spec: {sentence}") from error
        return cls(trial, retrial, spec)

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> "PaperActor":
        """Of several demonstrations the first is used, of several trials the last. Draws nothing.

        Raises:
            InvalidData: a context without a demonstration.
        """
        for i, context in enumerate(contexts):
            if not context.demos:
                raise InvalidData(f"contexts[{i}].demos", "a demonstration (wtl-paper cannot do without)", "none")
        tried = np.array([bool(context.trials) for context in contexts])
        parts: list[tuple[Array, PaperNetwork, Tensor]] = []
        with torch.no_grad():
            for rows, network in ((np.flatnonzero(~tried), self._trial), (np.flatnonzero(tried), self._retrial)):
                if len(rows):
                    parts.append((rows, network, self._context(network, [contexts[int(i)] for i in rows])))
        return PaperActor(parts, self._spec)

    def _context(self, network: PaperNetwork, contexts: Sequence[Context]) -> Float[Tensor, "b d"]:
        demos = resampled([context.demos[0] for context in contexts], network.config.n_frames)
        if isinstance(network, RetrialNetwork):
            last = [context.trials[-1] for context in contexts]
            return network.context(demos, resampled(last, network.config.n_frames), successes(last))
        assert isinstance(network, TrialNetwork)
        return network.context(demos)


class PaperActor:
    """Acts in b tasks, some under the trial policy and some under the retrial policy."""

    def __init__(self, parts: Sequence[tuple[Array, PaperNetwork, Tensor]], spec: Spec) -> None:
        self._parts, self._units = parts, Units.of_bounds(spec)

    @torch.no_grad()
    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The most probable action of each task."""
        flat = torch.from_numpy(observation_vectors(observations))
        spec = self._units.spec
        actions = np.zeros((len(flat), *spec.actions.shape), spec.actions.space.dtype)
        for rows, network, context in self._parts:
            actions[rows] = self._units.decode_actions(network.best(context, flat[rows]).numpy())
        return actions


# -- the trials between the phases --------------------------------------------------------------------------------


@dataclass(frozen=True)
class PaperChunk:
    """One attempt of a frozen trial policy in each of some tasks; `demos[i]` is what is shown of `indices[i]`."""

    family: str
    indices: tuple[int, ...]
    demos: tuple[Episode, ...]
    config: PaperConfig
    weights: dict[str, Array]
    stream: int


def try_once(chunk: PaperChunk) -> list[Episode]:
    """One scored episode of each task of the chunk."""
    family = find_family(chunk.family)
    network = TrialNetwork(family.spec, chunk.config)
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in chunk.weights.items()})
    with one_thread():
        with torch.no_grad():
            context = network.eval().context(resampled(chunk.demos, chunk.config.n_frames))
        actor: Actor = PaperActor([(np.arange(len(chunk.indices)), network, context)], family.spec)
        env = make_vec(family, chunk.indices, "trial")
        try:
            return rollout(env, actor, episode_seeds(chunk.indices, chunk.stream, 0)).episodes
        finally:
            env.close()


def _try_every_task(
    trial: TrialNetwork, dataset: Dataset, family_name: str, collector: Collector, config: PaperConfig, seed: int
) -> list[Episode]:
    indices = [TaskId.parse(record.task).index for record in dataset.tasks]
    demos = [record.demos[0] for record in dataset.tasks]
    weights = {name: value.detach().numpy() for name, value in trial.state_dict().items()}
    size, stream = config.chunk_tasks, STREAM_TRIAL + 10_000 * seed
    chunks = [
        PaperChunk(family_name, some, shown, config, weights, stream)
        for some, shown in zip(chunked(indices, size), chunked(demos, size), strict=True)
    ]
    return [episode for episodes in collector.map(try_once, chunks) for episode in episodes]


# -- one phase ----------------------------------------------------------------------------------------------------


class _Triplets:
    """Resampled demonstrations and steps to imitate of all tasks, drawn as indices."""

    def __init__(self, dataset: Dataset, config: PaperConfig) -> None:
        for record in dataset.tasks:
            if not record.demos:
                raise InvalidData(f"{record.task}.demos", "a demonstration (wtl-paper cannot do without)", "none")
        pairs = [pair for record in dataset.tasks for pair in record.targets()]
        seen = np.concatenate([observation_vectors(observations) for observations, _ in pairs])
        done = Units.of_bounds(dataset.spec).targets(np.concatenate([actions for _, actions in pairs]))
        self.observations, self.actions = torch.from_numpy(seen), torch.from_numpy(done)
        self.demos = resampled([demo for record in dataset.tasks for demo in record.demos], config.n_frames)
        self._n_tasks = len(dataset.tasks)
        self._demo_count, self._demo_start = _spans([len(record.demos) for record in dataset.tasks])
        self._expert_count, self._expert_start = _spans([len(record.experts) for record in dataset.tasks])
        self._step_count, self._step_start = _spans([len(actions) for _, actions in pairs])

    def fit_normaliser(self, network: PaperNetwork) -> None:
        """Mean and spread of everything that is shown or imitated on."""
        network.observations.fit(torch.cat([self.observations, self.demos.flatten(0, 1)]))

    def draw(
        self, n_tasks: int, n_steps: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"], Int[Tensor, "b t"]]:
        """Tasks, and of each a demonstration and random steps of its expert episodes."""
        task = torch.randint(self._n_tasks, (n_tasks,), generator=generator)
        which = torch.rand(n_tasks, generator=generator)
        demo = self._demo_start[task] + (which * self._demo_count[task]).long()
        rows = task[:, None]
        which, moment = torch.rand((2, n_tasks, n_steps), generator=generator)
        expert = self._expert_start[rows] + (which * self._expert_count[rows]).long()
        return task, demo, self._step_start[expert] + (moment * self._step_count[expert]).long()


def _spans(counts: Sequence[int]) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Return the number of episodes of each task, and the index of its first one among all."""
    n = torch.tensor(counts)
    return n, n.cumsum(0) - n


def _fit(
    network: PaperNetwork,
    context_of: Callable[[Tensor, Tensor], Tensor],
    triplets: _Triplets,
    config: PaperConfig,
    steps: int,
    generator: torch.Generator,
    progress: Callable[[int], None],
) -> None:
    """Maximum likelihood of the experts' actions given `context_of(demo, task)`."""
    optimiser = torch.optim.Adam(network.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, max(steps, 1), pct_start=0.1)
    for step in range(steps):
        task, demo, moment = triplets.draw(config.batch_tasks, config.steps_per_task, generator)
        context = context_of(demo, task)
        loss = network.losses(context, triplets.observations[moment], triplets.actions[moment]).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        progress(step + 1)


def _weights(prefix: str, network: PaperNetwork) -> dict[str, Array]:
    return {f"{prefix}.{name}": value.detach().numpy().copy() for name, value in network.state_dict().items()}
