"""The report of a benchmark as frozen values: an evaluation's report of seed 0, and the results of the suite.

Does not run anything and does not draw.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from metalearn.benchmark.store import write_json
from metalearn.config import Config
from metalearn.data.errors import InvalidConfig
from metalearn.data.reading import read_json
from metalearn.evaluation.report import MethodReport, Point, Rate, Report, Return

Interval = tuple[float, float]


class Trained(Config):
    """A method and its training: a description, and the time of its training with each seed."""

    what: str
    seeds: tuple[int, ...]
    train_wall_s: tuple[float, ...]
    train_cpu_s: tuple[float, ...] = Field((), description="processor time of the training process; () if unknown")
    adaptation_ms: float | None = Field(None, description="median of one `adapt`: 1 demo, 1 trial, 1 task, 1 thread")


class Spread(Config):
    """The curve with each training seed, and its spread: what another training would give, not evaluation noise."""

    seeds: tuple[int, ...]
    curves: tuple[tuple[float, ...], ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...] = Field(description="over seeds, n - 1; 0 for one seed")
    total_returns: tuple[float, ...] | None = Field(None, description="mean return of all attempts, per seed")


class Difference(Config):
    """`wtl` minus a method in the attempt after `trials` trials, paired by task."""

    trials: int
    mean: float
    ci95: Interval


class Cell(Rate):
    """Success of the attempt after `trials` own trials, shown `demos` demonstrations."""

    demos: int
    trials: int
    mean_return: float | None = None


class DirectPoint(Rate):
    """Success after so many training episodes, mean over tasks; the interval is a bootstrap over tasks."""

    episodes: int
    mean_return: float


class DirectCurve(Config):
    """An optimiser, one task at a time."""

    what: str
    n_tasks: int
    curve: tuple[DirectPoint, ...]
    episodes_to_match: tuple[int | None, ...] = Field(description="per task; null: never within the budget")
    median_to_match: int | None = Field(description="null: more than half of the tasks never matched")
    budget: int
    wall_s: float
    cpu_s: float = Field(0.0, description="processor time; 0 if unknown")


class SizePoint(Config):
    """`wtl` trained on `tasks` tasks for `steps` steps."""

    tasks: int
    steps: int
    train_loss: float = Field(description="mean of the last looks")
    curve: tuple[Point, ...]


class StepPoint(Config):
    """A look during a long training: success on validation tasks."""

    step: int
    train_loss: float
    trial: float
    retrial: float


class GeneralisationCurves(Config):
    """Held-out success against the number of training tasks, and along a long training."""

    usual_steps: int
    sizes: tuple[SizePoint, ...] = ()
    steps: tuple[StepPoint, ...] = ()
    after_long: SizePoint | None = None


class SuiteResults(Config):
    """The results of a suite beyond the report of one evaluation."""

    name: str
    title: str
    experiment: str
    measure: str
    budget: Mapping[str, Any]
    trained: Mapping[str, Trained]
    left_out: Mapping[str, str] = {}
    seeds: Mapping[str, Spread]
    comparisons: Mapping[str, tuple[Difference, ...]]
    return_comparisons: Mapping[str, tuple[Difference, ...]] = {}
    control_returns: Mapping[str, Return] = Field({}, description="of controls that all rows can have wrong")
    grid: tuple[Cell, ...] = ()
    tracks: Mapping[str, MethodReport] = Field({}, description="`wtl` of seed 0 on other manifests")
    target_to_match: float | None = None
    optimisers: Mapping[str, DirectCurve] = {}
    generalisation: GeneralisationCurves | None = None
    speed: Mapping[str, float] = {}
    verdicts: Mapping[str, str] = {}


class SuiteReport(Report):
    """`benchmarks/results/SUITE/report.json`: schema 1 of an evaluation, with seed 0's figures, and `suite`."""

    suite: SuiteResults

    def timeless(self) -> "SuiteReport":
        """The same results without clocks and timings."""
        trained = {
            name: one.model_copy(update={"train_wall_s": (), "train_cpu_s": (), "adaptation_ms": None})
            for name, one in self.suite.trained.items()
        }
        optimisers = {
            name: one.model_copy(update={"wall_s": 0.0, "cpu_s": 0.0}) for name, one in self.suite.optimisers.items()
        }
        suite = self.suite.model_copy(update={"trained": trained, "optimisers": optimisers, "speed": {}})
        return self.model_copy(update={"wall_s": 0.0, "created": "", "suite": suite})

    def same_result(self, other: Report) -> bool:
        """Compare two reports apart from clocks and timings."""
        return isinstance(other, SuiteReport) and self.timeless() == other.timeless()

    def write(self, path: Path) -> Path:
        """Write `report.json` in one move."""
        write_json(path, self.to_json())
        return path


def read_report(path: Path) -> SuiteReport:
    """The report of a suite.

    Raises:
        InvalidConfig: no file there, an unknown schema, or something that is not such a report.
    """
    try:
        report = SuiteReport.from_json(read_json(path))
    except OSError as error:
        raise InvalidConfig(f"no report at {path}: {error.strerror}; run the suite first") from error
    except ValueError as error:
        raise InvalidConfig(f"report {path}: {error}") from error
    assert isinstance(report, SuiteReport)
    return report
