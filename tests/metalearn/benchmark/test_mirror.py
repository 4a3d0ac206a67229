"""The mirror from end to end at its smallest, with policies that learnt nothing: it is the command that is tested."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metalearn.benchmark.mirror import AGENTS, shuffled
from metalearn.benchmark.store import read_json
from metalearn.benchmark.told import SUITES
from metalearn.benchmark.watching import ANY_PARTS, BETTER, FIRST, PARTS, PERSONS, SECOND, run
from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.asks import AskOffer
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.recognition import WATCHED, play_experts
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.recognition import InverseModel, RecognitionCalibration
from metalearn.recognition.calibration import EvidenceScale
from metalearn.tasks.family import tasks_of
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate
from service.settings import SHIPPED_MODELS

TASKS = 20

pytestmark = pytest.mark.timeout(600)  # many small cases: a slow machine takes minutes for what all tests share


def untrained(seed: int, name: str = "reach-manners", asks: tuple[str, ...] = ()) -> Bundle:
    """A bundle of random weights, with a calibration that was not fitted, so that nothing here takes long."""
    family = find_family(name)
    offers = (AskOffer("better", (0.0,), (1.0,), (0.0,), (1.0,), examples=(True, 0.25)),) if asks else ()
    config = ModelConfig(n_hypotheses=1, latent_dim=8, policy_width=16, asks=asks, ask_offers=offers)
    torch.manual_seed(seed)
    weights = ConditionalPolicy(config, family.spec).to_weights()
    bundle = Bundle(name, family.spec, config.model_dump(mode="json"), weights)
    inference = Inference.load(bundle)
    shown = play_experts(family, tasks_of(family, "validation", 4, seed), seed, WATCHED, 0)
    known = RecognitionCalibration(
        EvidenceScale(), InverseModel.fit(shown, inference.units),
        tuple(inference.infer_belief([Context((demo,)) for demo in shown])), fitted=True,
    )  # fmt: skip
    return bundle.with_recognition(known.to_weights(), {"siblings": 1.0})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with torch.random.fork_rng():
        for seed, name in enumerate((FIRST, SECOND)):
            untrained(seed).save(folder / name)
        untrained(2, "reach-skilled", ("better",)).save(folder / BETTER)
        untrained(3, "grid-manners").save(folder / "grid-manners-0")
    return folder


@pytest.fixture(scope="module")
def said(runs: Path) -> tuple[dict[str, Any], list[str]]:
    lines: list[str] = []
    for part in PARTS:  # one by one: what an earlier command measured stays in the report
        run(runs, SHIPPED_MODELS, runs / "out", parts=(part,), tasks=TASKS, say=lines.append)
    return read_json(runs / "out" / "report.json"), lines


def test_every_part_is_measured_and_said(said: tuple[dict[str, Any], list[str]]) -> None:
    report, lines = said
    assert set(PARTS) < set(report)
    assert report["n_tasks"] == TASKS
    assert sum(line.startswith("report: ") for line in lines) == len(PARTS)
    assert "mirror" in lines and "told" in lines


def test_the_mirror_names_one_of_five_agents(said: tuple[dict[str, Any], list[str]]) -> None:
    report = said[0]["mirror"]
    seen = [*report["by likelihood"].values(), *report["classifier with access to everything"].values()]
    for one in [*seen, report["linear, on summary statistics"]]:
        assert one["n"] == len(AGENTS) * TASKS // 2
        assert one["ci95"][0] <= one["accuracy"] <= one["ci95"][1]
        for taken in one["taken for"].values():
            assert sum(taken.values()) == pytest.approx(1.0)
    # A policy that shakes knows its own hand from another seed's, even if it learnt nothing.
    assert report["by likelihood"]["60"]["ci95"][0] > report["chance"]
    assert len(set(report["bundles"])) == 2


def test_told_wrongly_is_no_better_than_told(said: tuple[dict[str, Any], list[str]]) -> None:
    report = said[0]["told"]
    assert set(report) == set(SUITES)
    for suite in report.values():
        assert suite["told"]["n"] == TASKS
        assert suite["told"]["success"] >= suite["told wrongly"]["success"]
    assert report["reach"]["told, after a failure"]["success"] > 0.5


def test_shuffled_actions_are_those_of_one_other_episode_each_and_as_many_for_every_agent() -> None:
    def episode(agent: int, task: int, n: int) -> Episode:
        return Episode(np.full((n + 1, 2), agent, np.float32), np.full((n, 2), 10 * task + agent, np.float32))

    played = [[episode(agent, task, 3 + agent + task) for task in range(4)] for agent in range(5)]
    moved = shuffled(played, np.random.default_rng(0))
    givers = [np.unique(np.asarray(one.actions)) for row in moved for one in row]
    assert all(len(giver) == 1 for giver in givers)
    assert sorted(int(giver[0]) for giver in givers) == sorted(10 * t + a for a in range(5) for t in range(4))
    for agent, row in enumerate(moved):
        assert [len(one) for one in row] == [3, 4, 5, 6]
        assert all((one.observations == agent).all() for one in row)


def test_a_family_of_choices_is_measured_alike_and_beside_its_bounds(runs: Path) -> None:
    run(runs, SHIPPED_MODELS, runs / "out", family="grid-manners", tasks=TASKS, say=lambda line: None)
    report = read_json(runs / "out" / "grid-manners.json")
    assert set(ANY_PARTS) < set(report)
    seen = report["recognition"]
    assert seen["bound, 2 demonstrations"]["n_lineups"] == 3 * TASKS
    # Who knows the demonstrators is a bound of who has to learn them from two episodes.
    assert seen["bound, who knows the demonstrators"]["all"]["accuracy"] > 0.5
    assert report["imitation"]["the demonstrator itself"]["nearest"]["rate"] > 0.5


def test_a_person_is_one_more_agent(runs: Path) -> None:
    family = find_family("reach-manners")
    # Somebody's recordings: here a demonstrator's, since a test has no person.
    index = next(i for i in tasks_of(family, "test", 50, 0) if family.manner(i).skill > 0.9)
    episodes = demonstrate(family, [index] * 6, list(range(6)), "trial").episodes
    run(runs, SHIPPED_MODELS, runs / "out", people={"ann": episodes}, say=lambda line: None)
    report = read_json(runs / "out" / "report.json")[PERSONS]["ann"]
    assert report["the person, taken for the person"]["n"] == 4
    assert set(report["distance of manner to the person"]) == {"its imitator", "the demonstrators"}
    with pytest.raises(InvalidConfig, match="at least 3 episodes"):
        run(runs, SHIPPED_MODELS, runs / "out", people={"ann": episodes[:2]}, say=lambda line: None)


@pytest.mark.parametrize(("parts", "message"), [(("tald",), "unknown part 'tald'"), (("mirror",), "wtl train")])
def test_what_is_missing_is_said_in_a_sentence(tmp_path: Path, parts: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        run(tmp_path, SHIPPED_MODELS, tmp_path, parts=parts, say=print)
