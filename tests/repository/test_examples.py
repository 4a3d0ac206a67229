import ast
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from metalearn.config import ModelConfig, TrainingConfig
from metalearn.tasks.family import Family
from metalearn.training.batches import TrainingSet

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
LINK = re.compile(r"\]\((?![a-z]+:)([^)#]+)")


@pytest.fixture
def own_task(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLES)
    import own_task

    yield own_task
    sys.modules.pop("own_task")


def test_the_family_of_the_example_is_one_and_its_environment_is_gymnasiums(own_task: ModuleType):
    family = own_task.Doors()
    assert isinstance(family, Family)
    for scene in ("demo", "trial"):
        check_env(family.make(0, scene), skip_render_check=True)


def test_the_demonstration_of_the_example_does_not_tell_opposite_doors_apart(own_task: ModuleType):
    north, south, east = (own_task.demonstrate(own_task.Doors(), [i], [5], "demo").episodes[0] for i in (0, 2, 1))
    assert north == south
    assert north != east


def test_failed_trials_that_were_recorded_become_context(own_task: ModuleType):
    data = TrainingSet(own_task.record(64), ModelConfig())
    batch = data.draw(TrainingConfig(), tried=True, generator=torch.Generator().manual_seed(0))
    failed = (batch.trials.success < 0) & batch.trials.mask
    assert 0.2 < failed.any(1).float().mean() < 0.7


@pytest.mark.slow
def test_the_example_learns_from_trials_with_an_expert_and_from_recorded_episodes(own_task: ModuleType):
    report = own_task.main(n_tasks=512, steps=200)
    for name, enough in (("wtl", 0.85), ("recorded", 0.65)):
        trial, retrial = (point.success for point in report.methods[name].curve)
        assert np.isclose(trial, 0.5, atol=0.08)
        assert retrial > enough


def faults_of(notebook: nbformat.NotebookNode, folder: Path) -> list[str]:
    """What is wrong with a notebook, as far as that can be seen without executing it."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found += [f"{cell.id}: no {link}" for link in LINK.findall(cell.source) if not (folder / link).exists()]
        elif cell.cell_type == "code":
            if cell.outputs or cell.execution_count is not None:
                found.append(f"{cell.id}: outputs of an execution")
            try:
                found += [f"{cell.id}: no {name}" for name in missing_imports(ast.parse(cell.source))]
            except SyntaxError as error:
                found.append(f"{cell.id}: {error}")
    return found


def missing_imports(code: ast.Module) -> list[str]:
    """What is imported, and does not exist."""
    wanted = []
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            wanted += [(name.name, None) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted += [(str(node.module), name.name) for name in node.names]
    return [f"{module}.{name}" if name else module for module, name in wanted if not is_there(module, name)]


def is_there(module: str, name: str | None) -> bool:
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    return name is None or hasattr(found, name)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_valid_without_outputs_and_imports_what_there_is(path: Path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)  # cells have ids
    assert faults_of(notebook, EXAMPLES) == []


def test_every_fault_of_a_notebook_is_found():
    v4 = nbformat.v4
    cells = [
        v4.new_code_cell("import numpy\nfrom numpy import zeros, nothing", id="a"),
        v4.new_code_cell("from metalearn.nowhere import anything", id="b"),
        v4.new_code_cell("1 +", id="c"),
        v4.new_code_cell("1", id="d", outputs=[v4.new_output("stream", text="1")], execution_count=1),
        v4.new_markdown_cell("[here](own_task.py), [web](https://example.org), [gone](gone.py#top)", id="e"),
    ]
    found = faults_of(v4.new_notebook(cells=cells), EXAMPLES)
    assert [fault[:2] for fault in found] == ["a:", "b:", "c:", "d:", "e:"]
    assert [found[0], found[1], found[4]] == [
        "a: no numpy.nothing",
        "b: no metalearn.nowhere.anything",
        "e: no gone.py",
    ]
