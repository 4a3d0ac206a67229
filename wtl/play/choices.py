"""What can be played: the families for which the server has a model. Knows no page."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.tasks.family import Family
from metalearn.tasks.registry import FAMILIES, find_family
from service.client import Model


@dataclass(frozen=True)
class Choice:
    """A family, under the name by which it was asked for, and the models that play it: usually the first."""

    name: str
    family: Family
    models: tuple[Model, ...]

    @property
    def model(self) -> Model:
        """The model that plays it unless another one is named."""
        return self.models[0]

    def find_model(self, name: object) -> Model:
        """One of the models. Raises InvalidData."""
        for one in self.models:
            if one.name == name:
                return one
        raise InvalidData("model", f"one of {', '.join(one.name for one in self.models)}", repr(name)[:60])

    @property
    def tasks(self) -> range:
        """The held-out tasks."""
        return self.family.splits["test"]

    def check_task(self, task: object) -> int:
        """A held-out task. Raises InvalidData."""
        if not isinstance(task, int) or isinstance(task, bool) or task not in self.tasks:
            expected = f"a held-out task, {self.tasks.start} to {self.tasks.stop - 1}"
            raise InvalidData("task", expected, repr(task)[:40])
        return task

    def draw_task(self, rng: np.random.Generator) -> int:
        """Any held-out task."""
        return self.tasks[int(rng.integers(len(self.tasks)))]


class Choices:
    """The families that may be played, by name. A page never names code: only what is listed here is imported.

    Args:
        models: those of the server.
        wanted: a registered family, or the user's own as `module:Class`; None for those of the models.
        model: the model to play it with; None for the one that was trained on it, or that has its spaces.

    Raises:
        InvalidConfig: the server has no model for it.
    """

    def __init__(self, models: Iterable[Model], wanted: str | None = None, model: str | None = None) -> None:
        self._models = list(models)
        self._loaded: dict[str, Choice] = {}
        found = [name for one in self._models if (name := _trained_on(one)) in FAMILIES]
        self.names = list(dict.fromkeys(found))  # several models may be of one family
        if wanted is not None:
            self.first = self._choice(wanted, model)
            self.names = [wanted, *(name for name in self.names if name != wanted)]
        elif not self.names:
            raise InvalidConfig("play what? The server has no model of a family that ships: name yours as module:Class")
        else:
            self.first = self.find("reach-m2" if "reach-m2" in self.names else self.names[0])

    def find(self, name: object) -> Choice:
        """A family that may be played. Raises InvalidData."""
        if name not in self.names:
            raise InvalidData("family", f"one of {', '.join(self.names)}", repr(name)[:60])
        return self._loaded.get(str(name)) or self._choice(str(name), None)

    def _choice(self, name: str, model: str | None) -> Choice:
        family = find_family(name)
        spec = family.spec.to_json()
        fitting = [one for one in self._models if one.spec == spec]
        named = [one for one in fitting if one.name == model]
        trained = [one for one in fitting if _trained_on(one) in {name, family.name}]
        if model is not None and not named:
            fitting = []
        best_first = [*named, *trained, *fitting]
        if not fitting:
            known = ", ".join(one.name for one in self._models) or "none"
            what = f"the model {model} does not have" if model else "no model of the server has"
            raise InvalidConfig(
                f"{what} the spaces of {name} (its models: {known}). Train one with `wtl train`, and name its folder "
                "with --models"
            )
        self._loaded[name] = Choice(name, family, tuple({one.name: one for one in best_first}.values()))
        return self._loaded[name]


def _trained_on(model: Model) -> str:
    experiment = model.provenance.get("experiment")
    return str(experiment.get("family", "")) if isinstance(experiment, dict) else ""
