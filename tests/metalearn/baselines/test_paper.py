"""The original method on a task whose demo leaves two meanings and whose trial tells which one was meant."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from metalearn.adapter import Adapter
from metalearn.baselines.paper import Paper, PaperChunk, train_paper, try_once
from metalearn.baselines.paper_network import PaperConfig, RetrialNetwork, TrialNetwork, resampled, successes
from metalearn.config import DataConfig
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec
from metalearn.tasks.registry import find_family
from metalearn.training.collect import DemonstrationChunk, SerialCollector, demonstrate_chunk

DISCRETE = Spec(spaces.Box(-5, 5, (3,)), spaces.Discrete(3, start=1), 20, 10.0)
SMALL = PaperConfig(n_frames=8, kernel=3, filters=(8, 4), hidden=16, embedding=4, trial_steps=4, retrial_steps=4,
                    batch_tasks=8, chunk_tasks=4)  # fmt: skip
REACH = find_family("reach-m2")


def episode(spec: Spec, rng: np.random.Generator, success: bool | None = True) -> Episode:
    shown = spec.example_episode(rng, int(rng.integers(1, 6)))
    return Episode(shown.observations, shown.actions, shown.rewards, success)


@pytest.fixture(scope="module")
def reach() -> Dataset:
    chunk = DemonstrationChunk("reach-m2", tuple(range(10)), DataConfig(), 0)
    return Dataset(REACH.spec, tuple(demonstrate_chunk(chunk)))


@pytest.fixture(scope="module")
def weights(reach) -> dict[str, np.ndarray]:
    return train_paper(reach, "reach-m2", SerialCollector(), SMALL, 1)


@pytest.fixture(params=[REACH.spec, DISCRETE], ids=["continuous", "discrete"])
def fresh(request) -> tuple[Spec, Paper]:
    torch.manual_seed(0)
    return request.param, Paper(TrialNetwork(request.param, SMALL), RetrialNetwork(request.param, SMALL), request.param)


def acts(paper: Adapter, contexts: list[Context], spec: Spec) -> np.ndarray:
    seen = np.repeat(spec.example_episode(np.random.default_rng(7), 1).observations[:1], len(contexts), 0)
    return paper.adapt(contexts, np.random.default_rng(0)).act(seen)


def test_resampling_keeps_both_ends_and_repeats_what_is_short():
    short = Episode.of([[0.0], [1.0], [2.0]], [[0.1], [0.2]])
    frames = resampled([short], 5)[0, :, 0]
    assert frames[[0, -1]].tolist() == [0, 2]
    assert set(frames.tolist()) == {0, 1, 2}
    assert (frames.diff() >= 0).all()


def test_success_is_plus_or_minus_one_and_zero_where_nobody_said():
    rng = np.random.default_rng(0)
    assert successes([episode(DISCRETE, rng, said) for said in (True, False, None)]).tolist() == [1, -1, 0]


def test_actions_stay_in_their_space(fresh):
    spec, paper = fresh
    rng = np.random.default_rng(1)
    contexts = [Context((episode(spec, rng),)), Context((episode(spec, rng),), (episode(spec, rng, False),))]
    actions = acts(paper, contexts, spec)
    assert actions.dtype == spec.action_space.dtype
    assert all(spec.action_space.contains(action) for action in actions)


def test_it_is_told_neither_what_was_done_nor_of_other_demos_nor_of_earlier_trials(fresh):
    spec, paper = fresh
    rng = np.random.default_rng(2)
    demo, other, first, last = (episode(spec, rng) for _ in range(4))
    plain = Context((demo,), (last,))
    same = [
        plain,
        Context((demo.without_actions(),), (last.without_actions(),)),
        Context((demo, other), (first, last)),
    ]
    latents = context_latents(paper, same)
    torch.testing.assert_close(latents[1:], latents[:1].expand(2, -1))


def test_the_retrial_depends_on_demo_on_trial_and_on_success(fresh):
    spec, paper = fresh
    rng = np.random.default_rng(3)
    demo, other, trial, third = (episode(spec, rng) for _ in range(4))
    failed = Episode(trial.observations, trial.actions, trial.rewards, False)
    changed = [Context((d,), (t,)) for d, t in ((demo, trial), (other, trial), (demo, third), (demo, failed))]
    latents = context_latents(paper, changed)
    assert all(not torch.allclose(latents[0], latent) for latent in latents[1:])


def test_rows_with_and_without_a_trial_act_the_same_alone_and_in_company(fresh):
    spec, paper = fresh
    rng = np.random.default_rng(4)
    contexts = [
        Context((episode(spec, rng),), tuple(episode(spec, rng, False) for _ in range(n))) for n in (0, 1, 0, 2)
    ]
    together = acts(paper, contexts, spec)
    alone = np.concatenate([acts(paper, [context], spec) for context in contexts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_context_without_a_demonstration_is_refused(fresh):
    spec, paper = fresh
    rng = np.random.default_rng(5)
    with pytest.raises(InvalidData, match=r"contexts\[1\]\.demos"):
        paper.adapt([Context((episode(spec, rng),)), Context((), (episode(spec, rng),))], rng)


def test_the_frozen_trial_policy_gives_one_scored_trial_per_task(reach):
    network = TrialNetwork(REACH.spec, SMALL)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    demos = tuple(record.demos[0] for record in reach.tasks[:3])
    chunk = PaperChunk("reach-m2", (0, 1, 2), demos, SMALL, weights, 13)
    episodes = try_once(chunk)
    assert [episode.success is not None for episode in episodes] == [True] * 3
    assert [episode.digest for episode in try_once(chunk)] == [episode.digest for episode in episodes]


def test_equal_seeds_give_equal_weights_and_the_trial_policy_is_frozen_in_phase_two(reach, weights):
    again = train_paper(reach, "reach-m2", SerialCollector(), SMALL, 1)
    assert all(np.array_equal(again[name], weights[name]) for name in weights)
    longer = train_paper(reach, "reach-m2", SerialCollector(), SMALL.model_copy(update={"retrial_steps": 8}), 1)
    frozen = [name for name in weights if name.startswith("trial.")]
    assert all(np.array_equal(longer[name], weights[name]) for name in frozen)
    assert any(not np.array_equal(longer[name], weights[name]) for name in weights if name not in frozen)


def test_progress_counts_both_phases(reach):
    seen: list[tuple[int, int]] = []
    train_paper(reach, "reach-m2", SerialCollector(), SMALL, 1, lambda done, total: seen.append((done, total)))
    assert seen == [(i, 8) for i in range(1, 9)]


def test_weights_of_something_else_are_refused(weights):
    with pytest.raises(InvalidConfig, match="not the weights of wtl-paper"):
        Paper.from_weights(weights, DISCRETE, SMALL)


def context_latents(paper: Paper, contexts: list[Context]) -> torch.Tensor:
    """What the actor is told of each task."""
    ((_, _, latents),) = paper.adapt(contexts, np.random.default_rng(0))._parts
    return latents
