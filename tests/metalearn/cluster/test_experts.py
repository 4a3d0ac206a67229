import json
from itertools import pairwise

import numpy as np
import pytest

from metalearn.data.errors import InvalidConfig
from metalearn.tasks.expert import FOLDER, Expert, load_expert


def small_expert(seed: int = 0) -> Expert:
    rng = np.random.default_rng(seed)
    sizes = (4, 8, 2)
    layers = [
        (rng.normal(size=(n, m)).astype(np.float32), rng.normal(size=n).astype(np.float32)) for m, n in pairwise(sizes)
    ]
    return Expert(tuple(layers))


def test_an_expert_is_a_tanh_network_with_clipped_actions():
    hidden, last = np.float32([[1.0], [-1.0]]), np.float32([[1.0, 0.0], [0.0, 5.0]])
    expert = Expert(((hidden, np.zeros(2, np.float32)), (last, np.float32([0.5, 0.0]))))
    action = expert.act(np.float32([[0.3]]))
    np.testing.assert_allclose(action, [[np.tanh(0.3) + 0.5, -1.0]], rtol=1e-6)


def test_an_expert_comes_back_from_disk_with_its_provenance(tmp_path):
    path, inputs = tmp_path / "deep" / "one.safetensors", np.ones((3, 4), np.float32)
    small_expert().save(path, {"seed": 5})
    np.testing.assert_array_equal(Expert.load(path).act(inputs), small_expert().act(inputs))
    assert json.loads(path.with_suffix(".json").read_text()) == {"seed": 5}


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_what_is_no_expert_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidConfig, match=r"x\.safetensors is not an expert"):
        Expert.load(path)


def test_every_shipped_expert_is_small_and_says_where_it_comes_from():
    shipped = list(FOLDER.glob("*.safetensors"))
    assert shipped
    for path in shipped:
        assert path.stat().st_size < 1_000_000
        load_expert(path.stem)
        provenance = json.loads(path.with_suffix(".json").read_text())
        assert {"algorithm", "stages", "seed", "env_steps", "mean_return", "versions"} <= provenance.keys()


def test_moments_of_pieces_are_the_moments_of_the_whole():
    from metalearn.cluster.env_runner import RunningMoments

    rows = np.random.default_rng(0).normal(3, [1, 5], (100, 2))
    moments = RunningMoments.unknown(2).updated(rows[:30]).updated(rows[30:40]).updated(rows[40:])
    np.testing.assert_allclose(moments.mean, rows.mean(0))
    np.testing.assert_allclose(moments.variance, rows.var(0))
    standardised = moments.standardise(rows)
    np.testing.assert_allclose([standardised.mean(), standardised.std()], [0, 1], atol=1e-6)


def test_an_expert_that_nobody_can_train_is_refused(tmp_path):
    from metalearn.cluster.experts import train_expert

    with pytest.raises(InvalidConfig, match=r"expected one of \['cheetah-vel'\], got 'cheeta'"):
        train_expert("cheeta", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_training_stops_resumes_and_exports_what_rllib_would_do(tmp_path):
    import ray
    import torch

    from metalearn.cluster.experts import Recipe, actor_of, build, train_expert

    small = {"n_envs": 4, "hidden": (16,), "n_epochs": 1, "minibatch": 400}
    said: list[str] = []
    ray.init(include_dashboard=False, num_cpus=1, log_to_driver=False)
    try:
        train_expert("cheetah-vel", tmp_path, recipe=Recipe(steps=1600, **small), tell=said.append)
        expert = train_expert("cheetah-vel", tmp_path, recipe=Recipe(steps=3200, **small), tell=said.append)
        algorithm = build("cheetah-vel", Recipe(steps=3200, **small), seed=0)
        algorithm.restore_from_path(str(tmp_path / "checkpoint"))
        runner = algorithm.env_runner
        assert runner.moments.count == 4 * 4 * 201
        seen = 3 * np.random.default_rng(0).normal(size=(5, 18)).astype(np.float32)
        with torch.no_grad():
            inputs = torch.from_numpy(runner.moments.standardise(seen))
            mean = runner.module.forward_inference({"obs": inputs})["action_dist_inputs"][:, :6].numpy()
        np.testing.assert_allclose(actor_of(algorithm).act(seen), np.clip(mean, -1, 1), atol=1e-5)
        assert expert.act(seen).shape == (5, 6)
    finally:
        ray.shutdown()
    assert [line.split()[0] for line in said] == ["1600", "3200"]
