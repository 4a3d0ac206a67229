"""Bodies of the route that recognises agents. Strict, as all are."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from metalearn.data.episode import Array
from service.api.schemas.adaptations import Body, Episodes, Share
from service.settings import MOST_CANDIDATES

_Scores = Annotated[list[list[float]], Field(description="For each episode, a number for each step.")]


class Candidate(Body):
    """Somebody who may have acted. Give exactly one of `adaptation`, `model`, `expert` and `random`."""

    name: str | None = Field(
        None, min_length=1, max_length=200, description="Name of the candidate in the answer. Made up if absent."
    )
    adaptation: str | None = Field(None, max_length=200, description="Id of an adaptation, which acts as adapted.")
    version: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Version of the adaptation. The newest one if null or absent."
    )
    model: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Name of a model, optionally with a version or an alias. Without `episodes` it acts as it does "
        "before it has seen anything; with them the candidate is whoever acts in them.",
    )
    episodes: Episodes = Field(
        [], description="Example episodes of an agent that nobody has a policy of, beside `model`."
    )
    expert: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Name of a model: the candidate is any demonstrator of the kind that it was trained on.",
    )
    random: Literal[True] | None = Field(None, description="True for an agent that acts uniformly at random.")

    @model_validator(mode="after")
    def _is_one(self) -> "Candidate":
        given = [name for name in ("adaptation", "model", "expert", "random") if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none of them"
            raise PydanticCustomError(
                "candidate", "one of adaptation, model, expert and random, got {got}", {"got": got}
            )
        if self.version is not None and self.adaptation is None:
            raise PydanticCustomError("candidate", "version only beside an adaptation")
        if self.episodes and self.model is None:
            raise PydanticCustomError("candidate", "episodes only beside a model")
        if "episodes" in self.model_fields_set and not self.episodes:
            raise PydanticCustomError("candidate", "episodes: at least one, got none")
        return self


class RecognitionRequest(Body):
    """Episodes in all of which one agent acted, and the candidates."""

    episodes: Episodes = Field(
        min_length=1, description="Episodes in all of which the same agent acted, with or without their actions."
    )
    candidates: Annotated[
        list[Candidate], Field(min_length=1, max_length=MOST_CANDIDATES, description="Who may have acted.")
    ]


class CandidateAnswer(Body):
    """What the episodes say about one candidate."""

    name: str = Field(description="Name of the candidate.")
    kind: Literal["adaptation", "model", "expert", "random", "examples"] = Field(description="What the candidate is.")
    model: str | None = Field(description="Name of the model that says what it would do. Null for `random`.")
    model_version: int | None = Field(description="Version of the model.")
    adaptation: str | None = Field(description="Id of the adaptation, if it is one.")
    version: int | None = Field(description="Version of the adaptation.")
    probability: Share = Field(description="Probability that this candidate acted.")
    log_likelihood: float = Field(description="Logarithm of the density of all actions together, in nats.")
    scores: _Scores


class NoneAnswer(Body):
    """What the episodes say about *none of these*."""

    probability: Share = Field(description="Probability that none of the candidates acted.")
    scores: _Scores


class RecognitionAnswer(Body):
    """The agent that acted, with the probabilities of all candidates and of `none`, which add up to 1.

    A score says by how many nats a step is likelier under a candidate than under all on average.
    """

    best: str | None = Field(description="Name of the most probable candidate. Null if none of them is.")
    enough_evidence: bool = Field(description="True if the best answer is 20 times as likely as the next one.")
    n_steps: int = Field(description="Number of steps seen, of all episodes.")
    calibrated: bool = Field(
        description="True if the evidence was scaled on validation tasks of the first model. Probabilities of others "
        "are in the right order, and no more."
    )
    without_actions: int = Field(description="Number of episodes whose actions were inferred from their observations.")
    candidates: list[CandidateAnswer] = Field(description="The candidates, in the order of the request.")
    none: NoneAnswer = Field(description="That it was none of them.")


REQUESTS = (RecognitionRequest,)


def rows(scores: Array) -> list[list[float]]:
    """Convert scores `[k, t]`, to 4 decimals."""
    found: list[list[float]] = scores.round(4).tolist()
    return found
