"""Columns and scalars on the wire: by the rule that files follow."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from metalearn.data.errors import InvalidData
from metalearn.data.spec import Spec
from service.api.schemas.adaptations import EpisodeBody, StepRequest
from service.api.schemas.observations import to_observation, to_observations
from service.client.spaces import ModelSpaces

ONE = Spec(spaces.Box(-9, 9, (1,), np.float32), spaces.Box(-1, 1, (1,), np.float32), 50, 20.0)
CHOICE = Spec(spaces.Box(-9, 9, (1,), np.float32), spaces.Discrete(3), 50, 20.0)


@pytest.mark.parametrize("spec", [ONE, CHOICE])
@pytest.mark.parametrize("column", [lambda values: values, lambda values: [[value] for value in values], np.array])
def test_one_component_has_an_axis_or_has_none(spec: Spec, column: Any) -> None:
    body = EpisodeBody(observations=column([0.0, 0.5, 1.0]), actions=column([0, 1]), rewards=column([0, 1]), success=1)
    plain = EpisodeBody(observations=[[0.0], [0.5], [1.0]], actions=[[0], [1]], rewards=[0, 1], success=True)
    assert body.to_episode(spec) == plain.to_episode(spec)


@pytest.mark.parametrize("value", [0.5, [0.5], np.array(0.5), np.array([0.5]), np.array([0.5], np.float32)])
def test_a_single_observation_of_one_number_may_be_a_number(value: Any) -> None:
    observation = to_observation(StepRequest(observation=value).observation, ONE)
    assert (observation.tolist(), observation.shape) == ([0.5], (1,))


@pytest.mark.parametrize("value", [[0.5, 1.0], [[0.5], [1.0]]])
def test_a_batch_of_single_numbers_may_be_a_list(value: Any) -> None:
    assert to_observations("observations", value, ONE, 10).tolist() == [[0.5], [1.0]]


def test_a_model_of_several_components_takes_no_single_numbers() -> None:
    spec = Spec(spaces.Box(-9, 9, (2,), np.float32), ONE.action_space, 50, 20.0)
    with pytest.raises(InvalidData, match=r"observation: expected shape \[2\]"):
        to_observation(0.5, spec)
    with pytest.raises(InvalidData, match="observations: expected shape"):
        to_observations("observations", [0.5, 1.0], spec, 10)


def test_the_client_gives_observations_of_one_number_their_axis() -> None:
    spaces_of = ModelSpaces(ONE.to_json())
    for given, shape in {0.5: (1,), (0.5,): (1,), (0.5, 1.0): (2, 1), ((0.5,), (1.0,)): (2, 1)}.items():
        assert spaces_of.observed(given).shape == shape


PARTS = Spec(
    spaces.Dict(
        arm=spaces.Box(-9, 9, (2,), np.float32), eye=spaces.Box(0, 255, (4, 4, 3), np.uint8), gear=spaces.Discrete(3)
    ),
    ONE.action_space, 50, 20.0,
)  # fmt: skip
READY = {"arm": np.ones(2, np.float32), "eye": np.full((4, 4, 3), 7, np.uint8), "gear": np.array(2, np.float32)}


def test_parts_that_need_no_conversion_are_read_as_others_are() -> None:
    ready, converted = (
        to_observation(value, PARTS) for value in (READY, {"arm": [1, 1], "eye": READY["eye"].astype(int), "gear": 2})
    )
    assert ready == converted
    assert ready["eye"].base is not READY["eye"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"arm": np.array([1, np.nan], np.float32)}, "observation.arm: expected finite"),
        ({"arm": np.array([1, 2e9], np.float32)}, r"observation.arm: expected numbers from .* got 2e\+09 at \[1\]"),
        ({"gear": np.array(7, np.float32)}, "observation.gear: expected integers from 0 to 2"),
        ({"eye": np.zeros((4, 4), np.uint8)}, r"observation.eye: expected uint8 \[4, 4, 3\]"),
        ({"nose": np.zeros(2)}, "observation"),
    ],
)  # fmt: skip
def test_parts_that_need_no_conversion_are_checked(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidData, match=said):
        to_observation(READY | changed, PARTS)
