"""openpi's own client, broker and runtime: episodes that its `reset()` does not announce, and actions in chunks."""

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.runtime.agents.policy_agent import PolicyAgent
from openpi_client.runtime.environment import Environment
from openpi_client.runtime.runtime import Runtime
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from support.pointing import PointingRuntime, settings_in
from support.serving import served
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from service.api.stream_options import EpisodeRule, StreamOptions
from service.app import create_app
from service.client import Client
from service.errors import InvalidPayload

HORIZON = 50
HERE = np.array([0.5, 0.5, 0.0], np.float32)


class Online(PointingRuntime):
    """Adds all actions so far to the conditioning, so that its updates can be seen."""

    adapts_online = True

    def update(self, conditioning: Any, observations: Any, actions: Any) -> Any:
        return conditioning + 0.01 * len(actions)


@pytest.fixture(scope="module", params=["picows", "websockets"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = settings_in(tmp_path_factory.mktemp("openpi")).model_copy(update={"stream_listener": request.param})
    with served(create_app(settings, runtime_factory=Online), settings) as where:
        yield where


@pytest.fixture
def address(url: str, demo: Episode) -> str:
    with Client(url) as client:
        return f"{url.replace('http', 'ws')}/v1/adaptations/{client.adapt('point', demos=[demo]).id}/stream"


@pytest.fixture
def policies() -> Iterator[list[WebsocketClientPolicy]]:
    opened: list[WebsocketClientPolicy] = []
    yield opened
    for policy in opened:
        policy._ws.close()


@pytest.fixture
def connected(address: str, policies: list[WebsocketClientPolicy]) -> Any:
    def connected(query: str = "") -> WebsocketClientPolicy:
        policies.append(WebsocketClientPolicy(f"{address}?{query}" if query else address))
        return policies[-1]

    return connected


def test_without_options_a_new_episode_begins_with_a_reset_and_an_answer_has_one_action(connected: Any) -> None:
    policy = connected()
    metadata = policy.get_server_metadata()
    assert metadata["new_episode"] == {"by": "reset"}
    assert metadata["chunk"] == {"length": 1, "plan": "closed-loop", "records": True}
    for _ in range(HORIZON):
        assert policy.infer({"state": HERE}).keys() == {"actions", "server_timing"}
    with pytest.raises(RuntimeError, match="episode-over"):
        policy.infer({"state": HERE})


@pytest.mark.parametrize(("query", "steps"), [("new_episode=horizon", HORIZON), ("new_episode=horizon&steps=7", 7)])
def test_a_new_episode_begins_after_the_horizon(connected: Any, query: str, steps: int) -> None:
    policy = connected(query)
    assert policy.get_server_metadata()["new_episode"] == {"by": "horizon", "steps": steps}
    numbers = [policy.infer({"state": HERE})["episode"] for _ in range(2 * steps + 1)]
    assert numbers == [1] * steps + [2] * steps + [3]


def test_a_new_episode_begins_after_a_pause(connected: Any) -> None:
    policy = connected("new_episode=pause&pause_s=0.3")
    assert policy.get_server_metadata()["new_episode"] == {"by": "pause", "pause_s": 0.3}
    assert [policy.infer({"state": HERE})["episode"] for _ in range(3)] == [1, 1, 1]
    time.sleep(0.4)
    policy.reset()
    assert policy.infer({"state": HERE, "prompt": "go"})["episode"] == 2


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([True, False, False, True, False], [1, 1, 1, 2, 2]),
        ([0, 0, 1, 1, 5], [1, 1, 2, 2, 3]),
        ([np.int64(3), np.array([3]), np.array(4)], [1, 1, 2]),
        (["a", "a", "b"], [1, 1, 2]),
    ],
)
def test_a_new_episode_begins_by_a_field(connected: Any, values: list[Any], numbers: list[int]) -> None:
    policy = connected("new_episode=field&field=begins")
    assert policy.get_server_metadata()["new_episode"] == {"by": "field", "field": "begins"}
    assert [policy.infer({"state": HERE, "begins": value})["episode"] for value in values] == numbers


def test_an_error_neither_begins_nor_ends_an_episode(connected: Any) -> None:
    policy = connected("new_episode=field&field=begins")
    policy.infer({"observation": HERE, "begins": 1})
    for wrong in ({"observation": HERE}, {"observation": HERE, "begins": [1]}, {"observation": HERE[:2], "begins": 2}):
        with pytest.raises(RuntimeError, match="invalid-payload"):
            policy.infer(wrong)
    assert policy.infer({"observation": HERE, "reward": 1.0, "begins": 1})["episode"] == 1
    assert policy.infer({"observation": HERE, "reward": 1.0, "begins": 2})["episode"] == 2
    assert policy.infer({"observation": HERE, "begins": 2, "success": True})["steps"] == 1
    assert policy.infer({"observation": HERE, "begins": 2})["episode"] == 3


def test_the_conditioning_of_an_episode_does_not_reach_the_next(connected: Any) -> None:
    policy = connected("new_episode=horizon&steps=3")
    policy.infer({"reset": True, "explore": False})
    first, second = ([policy.infer({"state": HERE})["actions"][0, 0] for _ in range(3)] for _ in range(2))
    assert sorted(set(first)) == sorted(first)
    assert len(set(first)) == 3
    assert abs(second[0]) in {abs(first[0]), np.float32(1.0)}  # of either hypothesis, without the steps before


class Counting(Environment):
    """Counts the actions that arrive, in episodes of so many steps."""

    def __init__(self, n_steps: int) -> None:
        self._n_steps, self._left = n_steps, 0
        self.actions: list[Any] = []

    def reset(self) -> None:
        self._left = self._n_steps

    def is_episode_complete(self) -> bool:
        return self._left == 0

    def get_observation(self) -> dict[str, Any]:
        return {"state": HERE}

    def apply_action(self, action: dict[str, Any]) -> None:
        self._left -= 1
        self.actions.append(action["actions"])


def test_openpis_runtime_plays_episodes_in_chunks(connected: Any) -> None:
    policy = connected("chunk=5&new_episode=horizon&steps=10")
    assert policy.get_server_metadata()["chunk"] == {"length": 5, "plan": "hold", "records": False}
    environment = Counting(10)
    agent = PolicyAgent(ActionChunkBroker(policy, action_horizon=5))
    Runtime(environment, agent, [], max_hz=0, num_episodes=3, max_episode_steps=10).run()
    assert len(environment.actions) == 30
    assert {action.shape for action in environment.actions} == {(2,)}
    assert policy.infer({"state": HERE})["episode"] == 4
    policy._ws.close()


def test_a_chunk_holds_one_action_and_is_neither_adapted_to_nor_a_trial(connected: Any) -> None:
    policy = connected("chunk=8")
    answers = [policy.infer({"state": HERE})["actions"] for _ in range(7)]  # 7 * 8 > 50
    assert {answer.shape for answer in answers} == {(8, 2)}
    assert len(np.unique(np.concatenate(answers), axis=0)) == 1
    with pytest.raises(RuntimeError, match="7 chunks of its horizon"):
        policy.infer({"state": HERE})
    with pytest.raises(RuntimeError, match="nobody observed"):
        policy.infer({"observation": HERE, "success": True})
    assert policy.infer({"reset": True})["reset"]
    assert policy.infer({"state": HERE})["actions"].shape == (8, 2)


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ("new_epsiode=horizon", "query", "`new_episode`"),
        ("new_episode=never", "new_episode", "reset"),
        ("new_episode=pause", "pause_s", "a value"),
        ("new_episode=pause&pause_s=nan", "pause_s", "finite"),
        ("new_episode=pause&pause_s=-1", "pause_s", "greater than 0"),
        ("pause_s=3", "pause_s", "none without new_episode=pause"),
        ("new_episode=field", "field", "a value"),
        ("new_episode=field&field=observation", "field", "a name"),
        ("new_episode=field&field=", "field", "at least 1 character"),
        ("new_episode=horizon&steps=51", "steps", "at most the horizon of the model, 50"),
        ("steps=5", "steps", "none without new_episode=horizon"),
        ("chunk=0", "chunk", "greater than 0"),
        ("chunk=51", "chunk", "at most the horizon of the model, 50"),
        ("chunk=many", "chunk", "integer"),
        ("chunk=3&chunk=4", "chunk", "one value"),
    ],
)
def test_options_that_contradict_are_refused_before_the_stream_opens(
    address: str, query: str, field: str, expected: str
) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"{address}?{query}", compression=None):
        pass
    answer = refused.value.response
    problem = json.loads(answer.body)
    assert (answer.status_code, problem["field"]) == (422, field)
    assert expected in problem["expected"]


def test_a_rule_follows_its_clock() -> None:
    seconds = [0.0]
    rule = EpisodeRule(StreamOptions(new_episode="pause", pause_s=2.0), now=lambda: seconds[0])
    rule.stepped(None)
    seconds[0] = 2.0
    assert not rule.begins(None, 1)
    seconds[0] = 2.1
    assert rule.begins(None, 1)
    assert not rule.begins(None, 0)


def test_options_are_read_from_text() -> None:
    assert StreamOptions.of([("chunk", "3")]).within(10).chunk == 3
    with pytest.raises(InvalidPayload):
        StreamOptions.of([("chunk", "3.5")])
    with pytest.raises(InvalidData):
        StreamOptions.of([("chunk", "11")]).within(10)
