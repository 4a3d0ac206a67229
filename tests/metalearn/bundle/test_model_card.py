"""The model card of a bundle: what hubs read, and what people do."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from gymnasium import spaces
from support.pointing import SPEC, bundle

from metalearn.bundle import Bundle
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec
from service.settings import SHIPPED_MODELS

SHIPPED = sorted(path.parent for path in SHIPPED_MODELS.glob("*/bundle.json"))
DEMO = Episode.of(np.arange(9).reshape(3, 3) / 7, [[0.1, 0.2], [0.3, 1 / 3]], [0, 1], True)


def read(folder: Path) -> tuple[dict, str]:
    """The head of the card as hubs read it, and the text."""
    _, head, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), text


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_bundle_has_the_card_that_it_would_be_saved_with(folder: Path, tmp_path: Path) -> None:
    Bundle.load(folder).save(tmp_path)
    assert (folder / "README.md").read_text() == (tmp_path / "README.md").read_text()
    assert (folder / "example.json").read_text() == (tmp_path / "example.json").read_text()


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_hub_finds_the_measured_figures(folder: Path) -> None:
    head, text = read(folder)
    assert (head["license"], head["library_name"], head["pipeline_tag"]) == (
        "apache-2.0",
        "watch-try-learn",
        "robotics",
    )
    [model] = head["model-index"]
    [result] = model["results"]
    assert model["name"] == folder.name
    assert result["task"]["type"]
    assert result["dataset"]["type"]
    assert result["dataset"]["name"]
    measured = json.loads((folder / "report.json").read_text())["methods"]["wtl"]["curve"]
    assert [metric["value"] for metric in result["metrics"]] == pytest.approx(
        [p["success"] for p in measured], abs=5e-5
    )
    low, high = (f"{100 * end:.1f}" for end in measured[0]["ci95"])
    assert f"({low}..{high})" in text
    for heading in ("Use it", "Spaces", "Training data", "Evaluation", "Limits", "Provenance"):
        assert f"\n## {heading}\n" in text


def test_the_card_is_no_part_of_what_is_loaded(tmp_path: Path) -> None:
    one = bundle()
    (one.save(tmp_path) / "README.md").write_text("mine")
    again = Bundle.load(tmp_path)
    assert (again.id, again.example) == (one.id, None)


@pytest.mark.parametrize(
    ("provenance", "report"),
    [
        ({}, None),
        ({"experiment": "by hand"}, {"schema": 1}),
        ({"experiment": {"family": 3, "name": ["x"], "data": 0, "training": {"rounds": "2"}}}, {"methods": []}),
        (
            {"experiment": {"family": "a: b\n---", "name": "x"}, "n_tasks": None, "versions": []},
            {"methods": {"wtl": {"curve": [{"success": None}, 3]}}, "controls": {"x": {"success": 1}}},
        ),
        ({"recorded": True, "experiment": {"family": ""}}, {"methods": {"wtl": {"curve": "none"}}, "manifest": 1}),
    ],
)
def test_whatever_a_bundle_lacks_or_has_wrong_the_card_is_a_card(
    provenance: dict, report: dict | None, tmp_path: Path
) -> None:
    Bundle("odd: one", SPEC, {}, bundle().weights, provenance=provenance, report=report).save(tmp_path)
    head, text = read(tmp_path)
    assert head["license"] == "unknown" or "family" in provenance["experiment"]
    assert "model-index" not in head
    assert "# odd: one" in text


def test_a_model_of_recordings_says_what_was_measured_on_what(tmp_path: Path) -> None:
    measured = {"mean": -1.25, "standard_error": 0.1, "n_tasks": 12}
    held_out = {
        "why": "12 of 120 recorded tasks are not trained on",
        "likelihood": {"demos": measured, "trials": measured | {"standard_error": None, "n_tasks": 1}},
        "off_policy": {"says": "episodes as the policy would do them had a return of 3 \u00b1 1"},
    }
    one, experiment = bundle(), {"name": "doors", "family": ""}
    for recorded in (True, False):
        made = replace(one, provenance={"experiment": experiment, "recorded": recorded, "held_out": held_out})
        made.save(tmp_path)
        text = read(tmp_path)[1]
        assert ("Held out to decide when to stop: 12 of 120 recorded tasks are not trained on." in text) is recorded
        assert ("| demonstrations | -1.25 \u00b1 0.20 | 12 |" in text) is recorded
        assert ("| demonstrations and recorded trials | -1.25 | 1 |" in text) is recorded
        assert ("Recorded outcomes: episodes as the policy would do them" in text) is recorded


def test_a_model_of_other_tasks_claims_no_licence(tmp_path: Path) -> None:
    for provenance, licence in (
        ({"experiment": {"family": "reach-m2"}}, "apache-2.0"),
        ({"experiment": {"family": "my_tasks:Doors"}}, "unknown"),
        ({"experiment": {"family": "reach-m2"}, "recorded": True}, "unknown"),
    ):
        Bundle("one", SPEC, {}, bundle().weights, provenance=provenance).save(tmp_path)
        assert read(tmp_path)[0]["license"] == licence


def test_an_example_is_the_same_episode_after_saving(tmp_path: Path) -> None:
    bundle().with_example(DEMO).save(tmp_path)
    assert Bundle.load(tmp_path).example == DEMO
    assert "0.14285715," in (tmp_path / "example.json").read_text()
    assert bundle().with_example(DEMO).id == bundle().id


def test_an_example_of_pixels_is_the_same_episode_after_saving(tmp_path: Path) -> None:
    spec = Spec(spaces.Box(0, 255, (2, 2, 3), np.uint8), spaces.Discrete(3), 10, 1.0)
    demo = Episode.of(np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), [1], [0.5], None)
    Bundle("seen", spec, {}, bundle().weights).with_example(demo).save(tmp_path)
    assert Bundle.load(tmp_path).example == demo


@pytest.mark.parametrize("text", ["", "[]", '{"observations": [[0]]}', '{"other": 1}', '{"observations": [[0], [1]]}'])
def test_a_damaged_example_is_a_damaged_bundle(text: str, tmp_path: Path) -> None:
    bundle().with_example(DEMO).save(tmp_path)
    (tmp_path / "example.json").write_text(text)
    with pytest.raises(InvalidConfig, match=r"damaged|example\.json"):
        Bundle.load(tmp_path)


def test_an_example_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidData, match="observations"):
        bundle().with_example(Episode.of([[0], [1]]))
