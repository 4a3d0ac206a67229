"""The agents that somebody may have watched, each as the beliefs that its policy is a mixture of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from metalearn.adapter import Belief
from metalearn.data.context import Context
from metalearn.data.errors import InvalidData
from metalearn.data.spec import Spec
from service.adaptations.records import Adaptation
from service.adaptations.service import AdaptationService
from service.inference import Engine
from service.registry.registry import Model

AgentKind = Literal["adaptation", "model", "expert", "random", "examples"]


@dataclass(frozen=True, eq=False)
class Agent:
    """A candidate.

    Attributes:
        name: its name in the answer.
        kind: what it is; `model` is the policy before it has seen anything, `expert` any demonstrator of the kind that
            the model was trained on, `examples` whoever acts in the episodes of `context`.
        model: that says what it would do; None for `random`.
        adaptation: the version that acts, of the kind `adaptation`.
        context: what the kinds `model` and `examples` have seen.
    """

    name: str
    kind: AgentKind
    model: Model | None = None
    adaptation: Adaptation | None = None
    context: Context = field(default_factory=Context)

    def beliefs(self, engine: Engine, adaptations: AdaptationService) -> Sequence[Belief]:
        """Return what its policy is a mixture of. Blocks. Raises Busy, ModelUnavailable, InvalidData."""
        assert self.model is not None
        if self.kind == "expert":
            if not self.model.recognition.population:
                raise InvalidData(
                    "expert", "a model that knows its experts: `wtl models calibrate BUNDLE` adds them",
                    f"{self.model.name}@{self.model.version}, which does not",
                )  # fmt: skip
            return self.model.recognition.population
        if self.adaptation is not None:
            adaptations.touch(self.adaptation)
            return [adaptations.adapted_policy(self.adaptation).belief]
        return [engine.infer_belief(self.model.runtime, self.context)]


def check_alike(agents: Sequence[Agent], names: Sequence[str]) -> Model:
    """Return the first model, which reads the episodes. Raises InvalidData where others have other spaces."""
    models = [(agent.model, name) for agent, name in zip(agents, names, strict=True) if agent.model is not None]
    if not models:
        raise InvalidData("candidates", "at least one with a model or an adaptation", "none")
    first = models[0][0]
    for model, name in models[1:]:
        if _spaces(model.spec) != _spaces(first.spec):
            raise InvalidData(
                name, f"a model with the spaces of {first.name}@{first.version}", f"{model.name}@{model.version}"
            )
    return first


def _spaces(spec: Spec) -> tuple[object, object]:
    return spec.observation_space, spec.action_space
