import json
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from benchmarks.ask_return import page
from benchmarks.offline.playing import Unpaid, returns_of
from metalearn.data.episode import Episode
from metalearn.data.spec import Spec
from metalearn.tasks.registry import find_family

SAFE = 2


def result(folder: Path, method: str, returns: list[list[float]], levels: list[float] | None) -> None:
    policy = {"levels": levels, "returns": [" ".join(map(str, row)) for row in returns]}
    data = {"episodes": 3, "steps": 3, "best return": 5.0}
    about = {"subject": "cheetah-distance", "seed": 0, "method": method, "data": data, "what": "", "processor_s": 60.0}
    (folder / f"{method}.json").write_text(json.dumps(about | {"policies": {method: policy}}))


def test_the_page_compares_the_best_ask_of_each_by_task(tmp_path: Path):
    result(tmp_path, "wtl", [[0.0, 2.0], [3.0, 5.0]], [0.0, 4.0])
    result(tmp_path, "decision-transformer", [[1.0, 3.0], [0.0, 0.0]], [0.0, 4.0])
    result(tmp_path, "ppo", [[2.0, 4.0]], None)
    rows = {row.split(" | ")[0].strip("| "): row.split(" | ") for row in page(tmp_path).splitlines()}
    assert rows["wtl"][4:7] == ["4.0", "4.00 (3.00..5.00)", ""]
    assert rows["decision-transformer"][4:7] == ["0.0", "2.00 (1.00..3.00)", "2.00 (2.00..2.00)"]
    assert rows["ppo"][2:7] == ["", "", "", "3.00 (2.00..4.00)", "1.00 (1.00..1.00)"]
    assert rows["4.0"][1:] == ["4.00 (3.00..5.00)", "0.00 (0.00..0.00) |"]


def test_returns_are_what_the_environment_paid():
    class Safe:
        def act(self, observations):
            return np.full(len(observations), SAFE)

    np.testing.assert_array_equal(returns_of(Unpaid(Safe()), find_family("gambling"), [0, 1, 2], [7, 8, 9]), np.ones(3))


def test_a_transformer_in_many_rows_acts_as_d3rlpy_does_in_one():
    pytest.importorskip("d3rlpy")  # installed apart: benchmarks/ask_return.py
    from benchmarks.offline.decision_transformer import TransformerActor, train_transformer

    spec = Spec(spaces.Box(-np.inf, np.inf, (3,), np.float32), spaces.Box(-1, 1, (2,)), horizon=30, rate_hz=1.0)
    rng = np.random.default_rng(0)
    episodes = [
        Episode.of(
            rng.normal(size=(31, 3)).astype(np.float32), rng.uniform(-1, 1, (30, 2)).astype(np.float32),
            rng.normal(size=30).astype(np.float32), False,
        )
        for _ in range(4)
    ]  # fmt: skip
    algo = train_transformer(episodes, spec, 2, 1, 0, lambda *_: None, terminated=False)
    ours, theirs = TransformerActor(algo, spec, 3.0, 2), [algo.as_stateful_wrapper(3.0) for _ in range(2)]
    for _ in range(25):
        seen, rewards = rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=2)
        expected = [one.predict(row, reward) for one, row, reward in zip(theirs, seen, rewards, strict=True)]
        np.testing.assert_allclose(ours.act(seen, rewards), expected, atol=1e-4)
