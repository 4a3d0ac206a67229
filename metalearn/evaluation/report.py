"""The report of an evaluation as frozen values, and `report.json` (schema 1), its form for machines.

Does not run anything and does not draw.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from metalearn.config import Config, faults
from metalearn.data.errors import InvalidConfig
from metalearn.data.reading import read_json

SCHEMA = 1


class Rate(Config):
    """A success rate in 0..1 with its 95% interval."""

    success: float
    ci95: tuple[float, float]


class Point(Rate):
    """One point of a curve: success of the attempt itself, given `trials` earlier attempts as context."""

    trials: int


class Gain(Config):
    """A difference over the same rows, with its 95% interval: of a method curve[1] - curve[0]."""

    mean: float
    ci95: tuple[float, float]


class Control(Rate):
    """The attempt with one thing wrong in its context, over the rows that can have it wrong."""

    n: int = Field(description="episodes that the rate rests on")
    instead_of: Rate | None = Field(description="the same rows with the right context; null: nobody kept it")
    lost: Gain | None = Field(None, description="`instead_of` minus the control, paired; null: nobody kept the rows")


class Return(Config):
    """Returns of episodes: their mean and interquartile mean, each with its 95% interval."""

    mean: float
    iqm: float
    ci95: tuple[float, float] = Field(description="of the interquartile mean")
    mean_ci95: tuple[float, float]


class ReturnPoint(Return):
    """Returns of the attempt after `trials` earlier ones."""

    trials: int


class MethodReport(Config):
    """The results of one method. `gain` and `given_first_failed` are None without a second attempt.

    `by_type` is None where the tasks are not of several types. `returns`, `return_gain` and `total_return` (all
    attempts together) are None where the manifest's measure is success.
    """

    curve: tuple[Point, ...]
    gain: Gain | None = None
    given_first_failed: Rate | None = Field(None, description="second attempt, where the first one failed")
    by_type: Mapping[str, tuple[Point, ...]] | None = Field(None, description="the curve of each type of task")
    returns: tuple[ReturnPoint, ...] | None = None
    return_gain: Gain | None = None
    total_return: Return | None = None


class ManifestRef(Config):
    """The name and digest of the manifest."""

    name: str
    digest: str
    held_out: str = Field("", description="what its tasks have that no training task has; empty: it does not say")


class Report(Config):
    """One evaluation. `n_episodes` is how many episodes each point of a curve rests on."""

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal[1] = Field(1, alias="schema")
    bundle: str | None
    manifest: ManifestRef
    n_tasks: int
    n_episodes: int
    seed: int
    methods: Mapping[str, MethodReport]
    controls: Mapping[str, Control]
    wall_s: float
    created: str = Field(description="ISO 8601, UTC")

    def to_json(self) -> dict[str, Any]:
        """As `report.json` has it."""
        value = self.model_dump(mode="json", by_alias=True)
        for method in value["methods"].values():
            for name in ("by_type", "returns", "return_gain", "total_return"):
                if method[name] is None:
                    del method[name]
        return value

    def same_result(self, other: "Report") -> bool:
        """Compare two reports apart from clocks and timings."""
        clocks = {"wall_s": 0.0, "created": ""}
        return self.model_copy(update=clocks) == other.model_copy(update=clocks)

    def with_method(self, name: str, method: MethodReport) -> "Report":
        """The same report with one method more, listed first."""
        others = {key: value for key, value in self.methods.items() if key != name}
        return self.model_copy(update={"methods": {name: method, **others}})

    def write(self, path: Path) -> Path:
        """Write `report.json`; folders are made where they are missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read what `write` wrote.

        Raises:
            InvalidConfig: no file there, an unknown schema, or something that is not a report.
        """
        try:
            return cls.from_json(read_json(path))
        except OSError as error:
            raise InvalidConfig(f"no report at {path}: {error.strerror}") from error
        except ValueError as error:
            raise InvalidConfig(f"report {path}: {error}") from error

    @classmethod
    def from_json(cls, value: object) -> "Report":
        """The report that `to_json` wrote. Raises InvalidConfig."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise InvalidConfig(f"report: {faults(error)}") from error
