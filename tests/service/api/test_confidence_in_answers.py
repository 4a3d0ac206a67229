"""How far an adaptation can be trusted, over HTTP: said with every answer, the same after a restart."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.bundles import made
from support.pointing import PointingRuntime, bundle, calibrated, settings_in

from metalearn.data.context import Context
from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Adaptation, Client
from service.client.responses import BeliefState
from service.inference import TorchRuntime
from service.settings import Settings

AFTER_A_TRIAL = pytest.approx(1 / (1 + np.exp(-1)), abs=1e-3)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_in(tmp_path)
    calibrated(bundle()).save(tmp_path / "models" / "point")
    return settings


def said(adaptation: Adaptation) -> tuple[float | None, float | None, float | None]:
    return adaptation.confidence, adaptation.value_of_trial, adaptation.novelty


def test_every_answer_says_how_far_it_can_be_trusted(client: Client, demo: Episode) -> None:
    adaptation = client.adapt("point", demos=[demo])
    assert said(adaptation) == (0.5, 0.0, 0.625)
    learnt = adaptation.add_trials([demo])
    assert (learnt.confidence, learnt.novelty) == (AFTER_A_TRIAL, 0.625)
    assert learnt.value_of_trial == pytest.approx(0.5 - learnt.confidence, abs=1e-3)
    with adaptation.episode() as episode:
        episode.act(demo.observations[0])
        assert episode.finish(demo.observations[1], success=False).confidence == AFTER_A_TRIAL
    assert [item.confidence for item in client.adaptations()] == [AFTER_A_TRIAL]
    assert said(client.adaptation(adaptation.id, version=1)) == said(adaptation)


def test_every_answer_says_what_is_believed(client: Client, demo: Episode) -> None:
    adaptation = client.adapt("point", demos=[demo])
    assert adaptation.belief == BeliefState((0.6, 0.4), 0.971)
    learnt = adaptation.add_trials([replace(demo, success=True)])
    assert learnt.belief is not None and learnt.belief.probabilities[0] > 0.9 > learnt.belief.entropy_bits
    assert client.adaptation(adaptation.id).belief == learnt.belief
    assert client.adaptation(adaptation.id, version=1).belief == adaptation.belief
    assert [item.belief for item in client.adaptations()] == [learnt.belief]


def test_a_model_that_searches_says_what_succeeds_and_acts_under_that(tmp_path: Path, rng: np.random.Generator) -> None:
    settings, searching = settings_in(tmp_path), made("searching")
    searching.save(tmp_path / "models" / "searching")
    [known] = TorchRuntime.load(searching).infer_belief([Context((demo := searching.spec.example_episode(rng),))])
    assert known.success is not None
    with TestClient(create_app(settings)) as http:
        client = Client(http=http)
        adaptation = client.adapt("searching", demos=[demo])
        assert adaptation.belief is not None
        assert adaptation.belief.success == pytest.approx(known.success, abs=1e-3)
        best = adaptation.act(demo.observations[:1])[0]
        for _ in range(5):  # a first attempt explores, and yet draws nothing
            with adaptation.episode() as episode:
                np.testing.assert_array_equal(episode.act(demo.observations[0]), best)


def test_the_strangest_demo_counts_and_without_demos_nothing_is_strange(client: Client, demo: Episode) -> None:
    near = Episode.of(np.full((2, 3), 0.1))
    assert client.adapt("point", demos=[near]).novelty == 0.125
    assert client.adapt("point", demos=[near, demo, near]).novelty == 0.625
    assert client.adapt("point").novelty is None
    assert client.adapt("point").confidence == 0.5


def test_it_is_the_same_after_a_restart(settings: Settings, demo: Episode) -> None:
    def serve() -> Iterator[Client]:
        with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
            yield Client(http=http)

    for client in serve():
        before = client.adapt("point", demos=[demo], trials=[demo])
    for client in serve():
        assert said(client.adaptation(before.id)) == said(before)


def test_a_model_without_calibration_says_only_what_it_believes(tmp_path: Path, demo: Episode) -> None:
    settings = settings_in(tmp_path / "plain")
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        adaptation = Client(http=http).adapt("point", demos=[demo])
        assert said(adaptation) == (None, None, None)
        assert adaptation.belief == BeliefState((0.6, 0.4), 0.971)  # which needs no calibration
        [listed] = http.get("/v1/adaptations", params={"confidence": False}).json()["items"]
        assert listed["belief"] is None


def test_the_document_says_what_the_numbers_mean(http: TestClient) -> None:
    fields = http.get("/openapi.json").json()["components"]["schemas"]["AdaptationState"]["properties"]
    assert "next attempt succeeds" in fields["confidence"]["description"]
    assert all(fields[name]["description"] for name in ("value_of_trial", "novelty"))
