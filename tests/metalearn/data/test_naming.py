"""Arrays by name: what was taken apart is put together again, the numbered parts of a tuple too."""

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from metalearn.data.errors import InvalidBytes
from metalearn.data.formats import Selection, read_episodes, write_episodes
from metalearn.data.formats.naming import flatten, nest
from metalearn.data.spec import Spec

A, B, C = np.zeros(2), np.ones(3), np.arange(4)


def test_a_number_is_a_key_in_an_object_and_a_place_in_a_list() -> None:
    arrays, rest = flatten({"demos": [{"observations": {"0": A, "1/0": B, "arm/1": C}}, {"observations": A}]})
    assert sorted(arrays) == [
        "demos/0/observations/0", "demos/0/observations/1/0", "demos/0/observations/arm/1", "demos/1/observations",
    ]  # fmt: skip
    assert rest == {"demos": [{"observations": {"1": {}, "arm": {}}}, {}]}
    assert nest(arrays, rest) == {
        "demos": [{"observations": {"0": A, "1": {"0": B}, "arm": {"1": C}}}, {"observations": A}]
    }


def test_without_an_object_a_number_is_a_place_in_a_list() -> None:
    assert nest({"demos/0/observations/1": B, "demos/0/observations/0": A}, {}) == {"demos": [{"observations": [A, B]}]}


@pytest.mark.parametrize("value", [{"0": A}, {"0/a": A}, {"demos": {"1": {"2": [1]}, "1/2/0": A}}])
def test_what_cannot_be_a_name_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(InvalidBytes):
        flatten(value)


@pytest.mark.parametrize("name", ["x.npz", "x.safetensors", "lerobot"])
def test_episodes_of_a_tuple_are_written_and_read(tmp_path: Path, name: str) -> None:
    space = spaces.Tuple((spaces.Box(-1, 1, (2,)), spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 9, (3, 4))))))
    spec = Spec(space, spaces.Box(-1, 1, (2,), np.float32), horizon=9, rate_hz=10.0)
    episode = spec.example_episode(np.random.default_rng(0), 5)
    where = f"lerobot:{tmp_path / name}" if name == "lerobot" else tmp_path / name
    write_episodes(where, (episode,), spec=spec)
    [read] = read_episodes(where, Selection().for_model(spec)).episodes
    assert spec.fit(read) == episode
