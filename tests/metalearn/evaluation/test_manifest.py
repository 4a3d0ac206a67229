import json
from pathlib import Path

import pytest
from support.corridor import Corridor, corridor_manifest

from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.manifest import Budget, load_manifest, manifest_names
from metalearn.tasks.registry import find_family


def test_the_committed_manifests_load_and_are_named_after_their_files() -> None:
    names = manifest_names()
    assert {"reach-m2", "reach-m4", "reach-colour", "push", "push-strict"} <= set(names)
    manifests = [load_manifest(name) for name in names]
    assert [manifest.name for manifest in manifests] == names
    assert len({manifest.digest for manifest in manifests}) == len(names)
    assert all(manifest.held_out for manifest in manifests)


@pytest.mark.parametrize("name", manifest_names())
def test_committed_manifests_fit_their_families(name: str) -> None:
    manifest = load_manifest(name)
    family = find_family(manifest.family)
    tasks = manifest.check(family).tasks(family)
    assert len(set(tasks)) == manifest.n_tasks
    assert set(tasks) <= set(family.splits["test"])


def test_typo_gets_a_suggestion() -> None:
    with pytest.raises(InvalidConfig, match="did you mean reach-m2"):
        load_manifest("reach_m2")
    with pytest.raises(InvalidConfig, match="known: "):
        load_manifest("xyzzy")


def test_manifest_of_ones_own_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(corridor_manifest().model_dump_json(by_alias=True))
    assert load_manifest(path) == corridor_manifest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_task": 3}, "n_task: unknown field; did you mean n_tasks"),
        ({"n_tasks": 0}, "n_tasks: Input should be greater"),
        ({"schema": 2}, "schema: Input should be 1"),
        ({"budget": {"demos": 1}}, "budget.trials: missing"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({**corridor_manifest().model_dump(mode="json", by_alias=True), **change}))
    with pytest.raises(InvalidConfig, match=message):
        load_manifest(path)


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no manifest at"):
        load_manifest(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InvalidConfig, match="Invalid JSON"):
        load_manifest(tmp_path / "broken.json")


def test_digest_covers_what_decides_a_figure_and_not_the_prose() -> None:
    digest = corridor_manifest().digest
    assert corridor_manifest(title="Another", notes="more", held_out="doors").digest == digest
    assert corridor_manifest(seed=1).digest != digest
    assert corridor_manifest(trials=2).digest != digest


def test_tasks_are_those_of_the_seed() -> None:
    manifest = corridor_manifest()
    assert manifest.tasks(Corridor()) == manifest.tasks(Corridor(), seed=0, n_tasks=200)
    assert manifest.tasks(Corridor()) != manifest.tasks(Corridor(), seed=1)
    with pytest.raises(InvalidConfig, match="at least 1"):
        manifest.tasks(Corridor(), n_tasks=0)


def test_later_fields_at_their_defaults_leave_older_digests_alone() -> None:
    assert load_manifest("reach-m2").digest.startswith("66b835a0f4bfcb5a")  # as in benchmarks/results
    digest = corridor_manifest().digest
    assert corridor_manifest(measure="return").digest != digest
    assert corridor_manifest(budget=Budget(demos=1, trials=1, demo_actions=False)).digest != digest
