"""The suites of `wtl benchmark`: each names an experiment, a manifest and what is measured beside the methods.

Values only. Does not know how anything is trained or measured.
"""

import difflib

from pydantic import Field
from rich.console import RenderableType
from rich.table import Table

from metalearn.benchmark.by_hand import benchmarked_experiment
from metalearn.config import Config, Experiment
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.manifest import Manifest, load_manifest

METHODS = (
    "wtl", "wtl-paper", "trial-only", "constant-skill", "skill-search", "bc", "bc-matched", "mil", "mil-matched",
    "mil-first-order", "replay", "replay-matched",
)  # fmt: skip
PARTS = ("methods", "grid", "tracks", "speed", "optimisers", "generalisation")
"""The parts of a suite, each of which can be run by itself."""


class Grid(Config):
    """Success for every number of demonstrations up to `max_demos` and of own trials up to `max_trials`."""

    max_demos: int = Field(3, ge=0)
    max_trials: int = Field(5, ge=0)
    tasks: int = Field(500, ge=1, description="episodes behind each cell")


class Direct(Config):
    """Optimisers that get one task at a time and as many of its episodes as they may use."""

    names: tuple[str, ...] = ("search", "rl", "rl-from-bc")
    tasks: int = Field(8, ge=1)
    episodes: int = Field(1000, ge=1)


class Generalisation(Config):
    """Success on test tasks against training tasks, and against training steps far past a flat training loss."""

    sizes: tuple[int, ...] = ()
    long_steps: float = Field(0.0, ge=0, description="so many times the experiment's steps; 0: not run")
    tasks: int = Field(500, ge=1, description="of the manifest, for each point")


class Suite(Config):
    """One benchmark of everything. `train_tasks`, `steps` and `test_tasks` make an experiment smaller."""

    name: str
    title: str
    experiment: str
    manifest: str
    methods: tuple[str, ...] = METHODS
    seeds: int = Field(3, ge=1, description="training seeds; every one has its own training tasks")
    grid: Grid | None = Grid()
    direct: Direct | None = Direct()
    generalisation: Generalisation | None = None
    tracks: tuple[str, ...] = Field((), description="other manifests that wtl is measured on")
    train_tasks: int | None = None
    steps: int | None = None
    test_tasks: int | None = None

    def seeded_experiment(self, seed: int) -> Experiment:
        """Return the experiment with a training seed. Raises InvalidConfig if it is unknown."""
        experiment = benchmarked_experiment(self.experiment).with_seed(seed)
        if self.train_tasks is not None:
            data = experiment.data.model_copy(update={"n_tasks": self.train_tasks})
            experiment = experiment.model_copy(update={"data": data})
        return experiment if self.steps is None else experiment.with_steps(self.steps)

    def load_manifest(self) -> Manifest:
        """Return the manifest of the evaluation. Raises InvalidConfig if it is unknown."""
        manifest = load_manifest(self.manifest)
        return manifest if self.test_tasks is None else manifest.model_copy(update={"n_tasks": self.test_tasks})


def _reach(name: str, title: str, **changes: object) -> Suite:
    """A suite whose simulator is cheap enough for everything."""
    sizes = Generalisation(sizes=(8, 32, 128, 512, 2048, 8192, 24_576), long_steps=4.0)
    fields = {"experiment": name, "manifest": name, "grid": Grid(), "direct": Direct(), "generalisation": sizes}
    return Suite.model_validate({"name": name, "title": title, **fields, **changes})


def _robot(name: str, title: str, **changes: object) -> Suite:
    """A suite on a physics engine: fewer tasks in the grid, one training seed unless more are asked for."""
    fields = {"experiment": name, "manifest": name, "seeds": 1, "grid": Grid(tasks=200), "direct": Direct(tasks=4)}
    return Suite.model_validate({"name": name, "title": title, **fields, **changes})


_ALL = (
    _reach("reach-m2", "Reach: which of two objects was meant?"),
    _reach("reach-m4", "Reach: which of four objects was meant?"),
    _reach("reach-m2-unseen", "Reach: which of two objects, in pairs that training never showed?", seeds=1),
    _reach("reach-m4-unseen", "Reach: which of four objects, in sets of four that training never showed?", seeds=1),
    _reach("reach-dynamics", "Reach with unknown dynamics: how does this body answer to actions?"),
    _reach("reach-colour", "Reach: objects known by their colour, in colours that were not trained on"),
    _robot("push", "Meta-World push: the demonstration shows the goal", tracks=("push-strict",)),
    _robot("push-blind", "Meta-World push: only trials can tell the goal", tracks=("push-blind-strict",)),
    _robot("push-blind-dense", "Meta-World push: only trials can tell the goal, with a dense reward"),
    _reach("dark-room", "Dark Room: where is the goal?", generalisation=None, tracks=("dark-room-no-demo",)),
    _reach(
        "key-to-door",
        "Dark Key-to-Door: which place has the key?",
        manifest="key-to-door-strict",
        generalisation=None,
        tracks=("key-to-door", "key-to-door-no-demo"),
    ),
    _robot(
        "cheetah-vel",
        "HalfCheetah-Vel: how fast is it to run?",
        grid=Grid(tasks=100),
        direct=None,
        tracks=("cheetah-vel-no-demo",),
    ),
    _robot(
        "ml10",
        "Meta-World ML10: types of task that were not trained on",
        grid=Grid(tasks=50),
        direct=None,
        generalisation=Generalisation(sizes=(300, 1500), tasks=250),
        tracks=("ml10-frozen", "ml10-no-demo"),
    ),
    Suite(
        name="smoke",
        title="Smoke: everything in seconds, figures of no meaning",
        experiment="reach-m2",
        manifest="reach-m2",
        methods=("wtl", "trial-only", "replay"),
        seeds=2,
        grid=Grid(max_demos=1, max_trials=2, tasks=20),
        direct=Direct(names=("search",), tasks=2, episodes=100),
        generalisation=Generalisation(sizes=(32, 128), long_steps=2.0, tasks=20),
        train_tasks=128,
        tracks=("reach-m2",),
        steps=20,
        test_tasks=40,
    ),
)

SUITES = {suite.name: suite for suite in _ALL}


def find_suite(name: str) -> Suite:
    """The suite of that name. Raises InvalidConfig, with a suggestion."""
    if name in SUITES:
        return SUITES[name]
    close = difflib.get_close_matches(name, SUITES, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(SUITES)}."
    raise InvalidConfig(f"unknown suite {name!r}; {hint}")


def list_suites() -> RenderableType:
    """Every suite in a line."""
    table = Table("suite", "what it asks", "methods", "seeds", "beside them", box=None, pad_edge=False)
    for suite in SUITES.values():
        beside = {"grid": suite.grid, "optimisers": suite.direct, "generalisation": suite.generalisation}
        extra = ", ".join(name for name, there in beside.items() if there)
        table.add_row(suite.name, suite.title, str(len(suite.methods)), str(suite.seeds), extra)
    return table
