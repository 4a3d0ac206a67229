"""The route that says who acted in some episodes. It stores nothing."""

from collections.abc import Mapping

from fastapi import APIRouter, Response

from metalearn.data.context import Context
from metalearn.data.errors import InvalidData
from service.adaptations.records import Adaptation
from service.api.dependencies import ContainerDep, RequestBodyDep
from service.api.openapi import PROBLEMS, request_body_docs
from service.api.schemas.adaptations import to_episodes
from service.api.schemas.recognitions import (
    Candidate,
    CandidateAnswer,
    NoneAnswer,
    RecognitionAnswer,
    RecognitionRequest,
    rows,
)
from service.api.scopes import requires
from service.container import Container
from service.recognitions import Agent, Recognised

router = APIRouter(
    prefix="/v1/recognitions", tags=["recognitions"], responses=PROBLEMS, dependencies=[requires("adapt")]
)


@router.post("", response_model=RecognitionAnswer, openapi_extra=request_body_docs(RecognitionRequest))
def recognise(request: RequestBodyDep, container: ContainerDep) -> Response:
    """Say which of some candidates acted in episodes, or none of them. Nothing is stored.

    Candidates are adaptations, models, experts, chance, and agents that are known by example episodes. The answer has a
    calibrated probability for each and a score for each step, and says whether the evidence is enough.
    """
    body = request.read(RecognitionRequest)
    if len(body.candidates) > container.settings.max_candidates:
        raise InvalidData("candidates", f"at most {container.settings.max_candidates}", f"{len(body.candidates)}")
    fields = [f"candidates[{i}]" for i in range(len(body.candidates))]
    ids = [one.adaptation for one in body.candidates if one.adaptation is not None]
    newest = container.adaptations.read_newest(request.tenant, ids)
    agents = [
        _agent(container, request.tenant, newest, one, i, field)
        for i, (one, field) in enumerate(zip(body.candidates, fields, strict=True))
    ]
    _check_names(agents)
    spec = next((agent.model.spec for agent in agents if agent.model is not None), None)
    if spec is None:
        raise InvalidData("candidates", "at least one with a model or an adaptation", "none")
    episodes = to_episodes("episodes", body.episodes, spec)
    _check_lengths(container, "episodes", [len(one) for one in episodes])
    return request.answer(_answer(agents, container.recognitions.recognise(agents, fields, episodes)))


def _agent(
    container: Container, tenant: str, newest: Mapping[str, Adaptation], body: Candidate, number: int, field: str
) -> Agent:
    """Return the agent of a candidate, which may be one of the `newest` adaptations.

    Raises:
        AdaptationNotFound, VersionNotFound, ModelNotFound, InvalidData: there is none.
    """
    if body.random:
        return Agent(body.name or "random", "random")
    if body.adaptation is not None:
        adaptation = newest.get(body.adaptation)
        if adaptation is None or body.version not in (None, adaptation.version):
            adaptation = container.adaptations.read(tenant, body.adaptation, body.version)
        name = body.name or f"{adaptation.id}@{adaptation.version}"
        return Agent(name, "adaptation", container.adaptations.model(adaptation), adaptation)
    try:
        model = container.registry.resolve(body.model or body.expert or "")
    except InvalidData as error:
        raise error.within(field) from error
    named = f"{model.name}@{model.version}"
    if body.expert is not None:
        return Agent(body.name or f"expert of {named}", "expert", model)
    if not body.episodes:
        return Agent(body.name or named, "model", model)
    try:
        demos = to_episodes("episodes", body.episodes, model.spec)
    except InvalidData as error:
        raise error.within(field) from error
    _check_lengths(container, f"{field}.episodes", [len(one) for one in demos])
    return Agent(body.name or f"examples {number}", "examples", model, context=Context(demos))


def _check_lengths(container: Container, field: str, lengths: list[int]) -> None:
    most = container.settings.max_episodes
    if len(lengths) > most:
        raise InvalidData(field, f"at most {most}", f"{len(lengths)}")
    for i, n_steps in enumerate(lengths):
        if n_steps > container.settings.max_steps:
            raise InvalidData(f"{field}[{i}]", f"at most {container.settings.max_steps} steps", f"{n_steps} steps")


def _check_names(agents: list[Agent]) -> None:
    """Do nothing if names differ. Raises InvalidData: an answer by name would be ambiguous."""
    seen: set[str] = set()
    for i, agent in enumerate(agents):
        if agent.name in seen:
            raise InvalidData(f"candidates[{i}].name", "a name that no other candidate has", repr(agent.name))
        seen.add(agent.name)


def _answer(agents: list[Agent], found: Recognised) -> RecognitionAnswer:
    seen = found.recognition
    probabilities, scores = seen.probabilities.round(6), [rows(of_episode) for of_episode in seen.scores]
    candidates = [
        CandidateAnswer(
            name=agent.name,
            kind=agent.kind,
            model=None if agent.model is None else agent.model.name,
            model_version=None if agent.model is None else agent.model.version,
            adaptation=None if agent.adaptation is None else agent.adaptation.id,
            version=None if agent.adaptation is None else agent.adaptation.version,
            probability=float(probabilities[i]),
            log_likelihood=round(float(seen.log_likelihoods[i]), 4),
            scores=[of_episode[i] for of_episode in scores],
        )
        for i, agent in enumerate(agents)
    ]
    return RecognitionAnswer(
        best=agents[seen.best].name if seen.best < len(agents) else None,
        enough_evidence=seen.enough,
        n_steps=seen.n_steps,
        calibrated=found.calibrated,
        without_actions=found.without_actions,
        candidates=candidates,
        none=NoneAnswer(probability=float(probabilities[-1]), scores=[of_episode[-1] for of_episode in scores]),
    )
