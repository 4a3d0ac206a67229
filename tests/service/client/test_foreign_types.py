"""What users hand to the client: values of other libraries, wrong ones, and more than one request can hold."""

import asyncio
from collections.abc import Callable

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from service.client import Adaptation, AsyncClient, Client, ClientError, requests

HERE = [0.0, 0.5, 0.0]
Call = Callable[[Client, Adaptation, Episode], object]

WRONG: dict[str, tuple[Call, str]] = {
    "one demo": (lambda c, a, d: c.adapt("point", d), "demos: expected a list of Episode, got Episode"),
    "a number of demos": (lambda c, a, d: c.adapt("point", 3), "demos: expected a list of Episode, got 3"),
    "no demos at all": (lambda c, a, d: c.adapt("point", None), "demos: expected a list of Episode, got null"),
    "a demo as a dict": (
        lambda c, a, d: c.adapt("point", [d, d.to_dict()]),
        r"demos\[1\]: expected an Episode .*, got dict",
    ),
    "a demo as a path": (
        lambda c, a, d: a.add_demos(["x.npz"]),
        r"demos\[0\]: expected an Episode .*the string 'x.npz'",
    ),
    "demos as a path": (
        lambda c, a, d: a.add_trials("x.npz"),
        "trials: expected a list of Episode, got the string 'x.npz'",
    ),
    "nothing to add": (lambda c, a, d: a.add_trials([]), "trials: expected at least one Episode, got none"),
    "a model as a number": (lambda c, a, d: c.adapt(3, [d]), "model: expected text, got 3"),
    "a rate as text": (lambda c, a, d: c.adapt("point", [d], rate_hz="10 Hz"), "rate_hz: expected one finite number"),
    "an ask of another type": (lambda c, a, d: c.adapt("point", [d], ask={"x": object()}), "body: expected numbers"),
    "no observations": (lambda c, a, d: a.act(None), "observations: expected a rectangular array of numbers, got null"),
    "text as observations": (lambda c, a, d: a.act("here"), "observations: expected a rectangular array of numbers"),
    "ragged observations": (lambda c, a, d: a.act([[0, 0], [0]]), "observations: .* got ragged"),
    "a tensor that is learnt": (
        lambda c, a, d: a.act(torch.zeros(1, 3, requires_grad=True)),
        r"observations: .* got Tensor \(.*detach",
    ),
    "two rewards": (
        lambda c, a, d: a.episode().act(HERE, [1, 2]),
        "reward: expected one finite number or null, got a list",
    ),
    "a reward as text": (lambda c, a, d: a.episode().act(HERE, "1"), "reward: expected one finite number or null"),
    "a reward of NaN": (lambda c, a, d: a.episode().finish(HERE, np.nan), "reward: expected one finite number or null"),
    "half a success": (
        lambda c, a, d: a.episode().finish(HERE, 0, 0.5),
        "success: expected true, false, 1, 0, or null",
    ),
    "an id of another type": (lambda c, a, d: c.adaptation(a), "expected text, got Adaptation"),
    "a version as text": (lambda c, a, d: c.adaptation(a.id, "2"), "version: expected one finite number or null"),
    "half a version": (
        lambda c, a, d: c.set_alias("point", "stable", 1.5),
        "version: expected a whole number, got 1.5",
    ),
    "a choice of another type": (lambda c, a, d: a.episode(explore="yes"), "explore: expected true, false"),
    "an observation of the wrong type": (
        lambda c, a, d: c.policy(a)({"x": 1}),
        "observation: expected a rectangular array",
    ),
    "a body of another type": (lambda c, a, d: c.request("POST", "/v1/models", {"x": {1}}), "body: expected numbers"),
}


@pytest.mark.parametrize(("call", "expected"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_argument_is_named_with_what_was_expected(
    client: Client, demo: Episode, call: Call, expected: str
) -> None:
    adaptation = client.adapt("point", [demo])
    with pytest.raises(InvalidData, match=expected) as caught:
        call(client, adaptation, demo)
    assert caught.value.field
    assert caught.value.got


def test_values_of_other_libraries_are_taken_for_what_they_are(client: Client, demo: Episode) -> None:
    tensors = Episode.of(
        torch.tensor(demo.observations), torch.tensor(demo.actions), torch.tensor([[0], [1]]), torch.tensor(1)
    )
    adaptation = client.adapt("point", (one for one in (tensors,)), rate_hz=np.float32(10))
    assert adaptation.episodes().demos == (Episode.of(demo.observations, demo.actions, [0, 1], True),)
    assert adaptation.act(torch.tensor([HERE])).shape == (1, 2)
    episode = adaptation.episode(explore=np.bool_(False))
    episode.act(torch.tensor(HERE))
    episode.act(np.array(HERE, np.float64), reward=np.array([0.5]))
    after = episode.finish(HERE, reward=torch.tensor([[True]]), success=np.float32(1))
    [trial] = after.episodes().trials
    assert (trial.rewards.tolist(), trial.success) == ([0.5, 1.0], True)


def test_an_outcome_that_is_not_a_number_is_not_known(client: Client, demo: Episode) -> None:
    episode = client.adapt("point", [demo]).episode()
    episode.act(HERE)
    [trial] = episode.finish(HERE, None, float("nan")).episodes().trials
    assert (trial.success, trial.rewards) == (None, None)


@pytest.fixture
def many(demo: Episode, monkeypatch: pytest.MonkeyPatch) -> list[Episode]:
    """Five episodes, of which two fit into a request; the last one is like the one before."""
    size = sum(array.nbytes for array in demo.arrays().values())
    monkeypatch.setattr(requests, "PART_BYTES", 2 * size)
    made = [Episode.of(demo.observations + i / 100, demo.actions, demo.rewards, True) for i in range(4)]
    return [*made, made[3]]


def test_what_one_request_cannot_hold_is_sent_in_several(client: Client, demo: Episode, many: list[Episode]) -> None:
    adaptation = client.adapt("point", many, [demo])
    assert (adaptation.version, adaptation.n_demos, adaptation.n_trials) == (4, 5, 1)
    context = adaptation.episodes()
    assert (list(context.demos), list(context.trials)) == (many, [demo])
    assert [one.episode for one in adaptation.quality] == [*(f"demos[{i}]" for i in range(5)), "trials[0]"]
    assert adaptation.quality[4].duplicate_of == "stored"
    more = adaptation.add_demos([many[0], many[3], many[3]])
    assert (more.version, [one.episode for one in more.quality]) == (6, ["demos[0]", "demos[1]", "demos[2]"])
    small = client.adapt("point", many[:1], many[:1])
    assert (small.version, len(small.quality)) == (1, 2)


def test_a_part_that_is_refused_is_named_in_the_numbers_of_the_whole(
    client: Client, demo: Episode, many: list[Episode]
) -> None:
    wrong = Episode.of(demo.observations[:, :2], demo.actions)
    before = [one.id for one in client.adaptations()]
    with pytest.raises(ClientError, match=r"demos\[3\].observations") as caught:
        client.adapt("point", [*many[:3], wrong])
    assert caught.value.field == "demos[3].observations"
    assert [one.id for one in client.adaptations()] == before  # no half of an adaptation is left
    adaptation = client.adapt("point", many[:1])
    with pytest.raises(ClientError, match=r"\(2 of the demos had been added before\)"):
        adaptation.add_demos([*many[:2], wrong])
    assert client.adaptation(adaptation.id).n_demos == 3


def test_the_awaiting_client_does_the_same(app: FastAPI, demo: Episode, many: list[Episode]) -> None:
    async def scene() -> None:
        transport = httpx.ASGITransport(app=app)
        async with AsyncClient(http=httpx.AsyncClient(transport=transport, base_url="http://test")) as client:
            adaptation = await client.adapt("point", many)
            assert (adaptation.version, adaptation.n_demos, len(adaptation.quality)) == (3, 5, 5)
            assert (await adaptation.add_trials(many)).n_trials == 5
            with pytest.raises(InvalidData, match="trials: expected a list of Episode, got Episode"):
                await adaptation.add_trials(demo)
            with pytest.raises(ClientError, match=r"demos\[4\]"):
                await client.adapt("point", [*many[:4], Episode.of(np.zeros((3, 2)))])

    with TestClient(app):
        asyncio.run(scene())
