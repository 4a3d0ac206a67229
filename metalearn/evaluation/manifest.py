"""Manifests: each freezes one benchmark, so that two reports that name one digest can be compared.

Committed ones are the JSON files in `manifests/`. Does not run anything.
"""

import difflib
import hashlib
import json
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, ValidationError

from metalearn.config import Config, faults
from metalearn.data.errors import InvalidConfig
from metalearn.data.reading import read_json_bytes
from metalearn.tasks.family import Family, tasks_of

DEFAULT_TASKS = 1000
"""Tasks of the manifest of a family that has none of its own."""


class Budget(Config):
    """The data about a task that a method may see before its last attempt."""

    demos: int = Field(ge=0, lt=1000)
    trials: int = Field(ge=0, lt=1000, description="own trials; the curve has one point more")
    demo_actions: bool = Field(True, description="false: demonstrations are handed over as observations alone")


class Manifest(Config):
    """A benchmark, frozen: the same tasks, layouts and rules for everybody."""

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal[1] = Field(1, alias="schema")
    name: str
    version: int = Field(1, ge=1)
    title: str
    notes: str = ""
    held_out: str = Field("", description="what test tasks have that no training task has, in words")
    family: str
    family_version: int = Field(1, ge=1)
    split: Literal["train", "validation", "test"] = "test"
    n_tasks: int = Field(ge=1)
    episodes_per_task: int = Field(1, ge=1, lt=1000)
    seed: int = Field(0, ge=0, description="decides tasks, layouts and what methods draw")
    horizon: int = Field(ge=1, description="most steps an episode may have")
    success: str = Field(description="the success rule, in words")
    budget: Budget
    measure: Literal["success", "return"] = Field("success", description="what figures are about, first of all")

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides a figure: all fields but title, notes and `held_out`.

        Fields that came later count where they are not at their default, so that older digests stay.
        """
        content = self.model_dump(mode="json", by_alias=True, exclude={"title", "notes", "held_out"})
        if self.measure == "success":
            del content["measure"]
        if self.budget.demo_actions:
            del content["budget"]["demo_actions"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def check(self, family: Family) -> "Manifest":
        """Return it if `family` is the one it was frozen for. Raises InvalidConfig."""
        for field, expected, got in (
            ("family", self.family, family.name),
            ("family version", self.family_version, family.version),
            ("horizon", self.horizon, family.spec.horizon),
        ):
            if expected != got:
                raise InvalidConfig(f"manifest {self.name}: {field}: expected {expected}, got {got}")
        return self

    def tasks(self, family: Family, *, seed: int | None = None, n_tasks: int | None = None) -> list[int]:
        """Its task indices; another seed draws fresh tasks of the same split. Raises InvalidConfig."""
        n = self.n_tasks if n_tasks is None else n_tasks
        if n < 1:
            raise InvalidConfig(f"tasks: expected at least 1, got {n}")
        return tasks_of(family, self.split, n, self.seed if seed is None else seed)


def default_manifest(family: Family, demos: int = 1, trials: int = 1) -> Manifest:
    """A manifest for any family, of its test tasks: what `wtl evaluate` measures where no other is named."""
    return Manifest(
        name=family.name,
        title=f"{family.name}: {DEFAULT_TASKS:,} test tasks, or as many as there are",
        family=family.name,
        family_version=family.version,
        n_tasks=min(DEFAULT_TASKS, len(family.splits["test"])),
        horizon=family.spec.horizon,
        success="what the family's environments put into `success` of their info",
        budget=Budget(demos=demos, trials=trials),
    )


def manifest_names() -> list[str]:
    """Names of the committed manifests."""
    return sorted(file.name.removesuffix(".json") for file in _folder().iterdir() if file.name.endswith(".json"))


def load_manifest(name_or_path: str | Path) -> Manifest:
    """A committed manifest by its name, or any by the path of its JSON file.

    Raises:
        InvalidConfig: an unknown name (with a suggestion), or a file that is not a manifest.
    """
    text = str(name_or_path)
    if text.endswith(".json"):
        return _parse(text, Path(text))
    names = manifest_names()
    if text not in names:
        close = difflib.get_close_matches(text, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"
        raise InvalidConfig(f"unknown manifest {text!r}; {hint}")
    with resources.as_file(_folder() / f"{text}.json") as path:
        return _parse(text, path)


def _folder() -> Traversable:
    return resources.files("metalearn.evaluation") / "manifests"


def _parse(name: str, path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(read_json_bytes(path))
    except OSError as error:
        raise InvalidConfig(f"no manifest at {path}: {error.strerror}") from error
    except ValidationError as error:
        known = {"schema", *Manifest.model_fields, *Budget.model_fields}
        raise InvalidConfig(f"manifest {name}: {faults(error, known)}") from error
