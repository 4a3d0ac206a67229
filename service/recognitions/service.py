"""Who acted? The evidence of episodes for every candidate, computed by the engine in small pieces.

Between two pieces the engine serves other requests, so that a large recognition delays nobody's actions for long.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metalearn.adapter import ActionHeads
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidData
from metalearn.data.units import Units
from metalearn.recognition import (
    Candidates,
    EpisodeEvidence,
    Recognition,
    RecognitionCalibration,
    evidence_of_each,
    recognise,
)
from metalearn.recognition.likelihood import chance, taken
from metalearn.recognition.population import nearest
from service.adaptations.service import AdaptationService
from service.errors import NotRecognisable
from service.inference import Engine, NoHeads
from service.recognitions.agents import Agent, check_alike
from service.registry.model_cache import Model, units_of

PIECE_ROWS = 4096
"""Observations times policies in one piece: one or two milliseconds."""


@dataclass(frozen=True, eq=False)
class Recognised:
    """An answer: the recognition, and what it rests on.

    Attributes:
        recognition: rows are the agents in order, then *none of these*.
        calibrated: whether the evidence was scaled on validation tasks of the model.
        without_actions: of how many of the episodes the actions were inferred.
    """

    recognition: Recognition
    calibrated: bool
    without_actions: int


class Recognitions:
    """Recognises agents with the models of one server.

    Args:
        adaptations: of the server.
        engine: computes.
        max_rows: the most policies times steps of one recognition.
    """

    def __init__(self, adaptations: AdaptationService, engine: Engine, max_rows: int) -> None:
        self._adaptations, self._engine, self._max_rows = adaptations, engine, max_rows

    def recognise(self, agents: Sequence[Agent], fields: Sequence[str], episodes: Sequence[Episode]) -> Recognised:
        """Say who acted in all of these episodes. Blocks.

        Args:
            agents: the candidates, at least one of which has a model.
            fields: of each in the request, for errors.
            episodes: that fit the spec of the first model.

        Raises:
            InvalidData: models of different spaces, too much at once, actions that nobody can infer.
            Busy: the queue is full, or the model took too long.
            NotRecognisable: the bundle of a model was exported before this was known.
        """
        first = check_alike(agents, fields)
        calibration = first.recognition
        parts = self._parts(agents)
        n_policies = sum(len(candidates.owner) for _, _, candidates in parts)
        if (n_rows := n_policies * sum(map(len, episodes))) > self._max_rows:
            raise InvalidData("candidates", f"at most {self._max_rows} policies times steps", str(n_rows))
        evidence = self._evidence(agents, parts, episodes, units_of(first))
        found = recognise(evidence, calibration.scale)
        return Recognised(found, calibration.fitted, sum(episode.actions is None for episode in episodes))

    def _parts(self, agents: Sequence[Agent]) -> list[tuple[Model, list[int], Candidates]]:
        """Return the candidates by model, with their numbers among the agents."""
        by_model: dict[tuple[str, int], tuple[Model, list[int]]] = {}
        for number, agent in enumerate(agents):
            if agent.model is not None:
                by_model.setdefault((agent.model.name, agent.model.version), (agent.model, []))[1].append(number)
        return [
            (model, numbers, Candidates.of([agents[i].beliefs(self._engine, self._adaptations) for i in numbers]))
            for model, numbers in by_model.values()
        ]

    def _evidence(
        self,
        agents: Sequence[Agent],
        parts: Sequence[tuple[Model, list[int], Candidates]],
        episodes: Sequence[Episode],
        units: Units,
    ) -> list[EpisodeEvidence]:
        """Return the evidence of each episode for all agents."""
        random = [np.full((1, len(episode)), chance(units)) for episode in episodes]
        steps = [np.tile(one, (len(agents), 1)) for one in random]
        # Chance is one of the others unless it is a candidate.
        others = [[] if any(agent.kind == "random" for agent in agents) else [one] for one in random]
        for model, numbers, candidates in parts:
            for i, found in enumerate(self._evidence_of(model, candidates, episodes)):
                steps[i][numbers] = found.steps
                others[i].append(found.others[:-1])
            if model.recognition.population and not any(agents[number].kind == "expert" for number in numbers):
                for i, found in enumerate(self._evidence_of(model, self._experts(model, episodes), episodes)):
                    others[i].append(found.steps)
        both = zip(steps, map(np.vstack, others), strict=True)
        return [EpisodeEvidence(some, rest, chance(units)) for some, rest in both]

    def _evidence_of(self, model: Model, candidates: Candidates, episodes: Sequence[Episode]) -> list[EpisodeEvidence]:
        """Return the evidence of each episode for candidates of one model. Raises Busy, NotRecognisable, InvalidData.

        Where nothing is remembered, short episodes are one to the model: as many small passes would take twice as long.
        """
        units, known = units_of(model), model.recognition
        done = [_actions(number, episode, units, known) for number, episode in enumerate(episodes)]
        if model.runtime.adapts_online:
            parts = [
                self._pieces(model, candidates, episode.observations, actions)
                for episode, actions in zip(episodes, done, strict=True)
            ]
            heads = ActionHeads(np.concatenate([one.out for one in parts], axis=1), parts[0].log_sigma)
        else:
            heads = self._pieces(model, candidates, _joined(episodes), np.concatenate(done))
        return evidence_of_each(heads, candidates, episodes, units, known.scale, known.inverse)

    def _experts(self, model: Model, episodes: Sequence[Episode]) -> Candidates:
        """Return the experts that the model knows who are nearest to whoever acted: somebody else of the same kind."""

        def heads_of(candidates: Candidates, observations: Array, actions: Array) -> ActionHeads:
            return self._pieces(model, candidates, observations, actions)

        units, known, online = units_of(model), model.recognition, model.runtime.adapts_online
        looked_at = episodes[:1] if online else episodes
        actions = [_actions(number, episode, units, known) for number, episode in enumerate(looked_at)]
        told = [taken(episode, units, known.inverse) for episode in looked_at]
        return nearest(
            known.everybody, _joined(looked_at), np.concatenate(actions), np.concatenate([done for done, _ in told]),
            np.max([noise for _, noise in told], axis=0), heads_of, units, known.scale, in_order=online,
        )  # fmt: skip

    def _pieces(self, model: Model, candidates: Candidates, observations: Array, actions: Array) -> ActionHeads:
        """Return what the policies would do at these steps, some of the policies after the others."""
        size = max(1, PIECE_ROWS // len(actions))
        found = []
        for start in range(0, len(candidates.owner), size):
            latents, hypotheses = (part[start : start + size] for part in (candidates.latents, candidates.hypotheses))
            try:
                found.append(self._engine.heads(model.runtime, latents, hypotheses, observations, actions))
            except NoHeads as error:
                raise NotRecognisable(model.name, model.version) from error
        return ActionHeads(np.concatenate([one.out for one in found]), np.concatenate([one.log_sigma for one in found]))


def _joined(episodes: Sequence[Episode]) -> Array:
    """Return the observations that were acted on, one episode after the other, and one more."""
    return np.concatenate([*(episode.observations[:-1] for episode in episodes), episodes[-1].observations[-1:]])


def _actions(number: int, episode: Episode, units: Units, known: RecognitionCalibration) -> Array:
    """Return the actions, or the most probable ones. Raises InvalidData where nothing tells them."""
    if episode.actions is not None:
        return episode.actions
    if known.inverse is None:
        raise InvalidData(
            f"episodes[{number}].actions",
            "actions, or a model that knows what they do: `wtl models calibrate BUNDLE` makes it one", "none",
        )  # fmt: skip
    encoded, _ = taken(episode, units, known.inverse)
    if not units.spec.discrete:
        return units.decode_actions(encoded)
    cuts = np.cumsum(units.spec.action_choices)[:-1]
    chosen = np.stack([part.argmax(-1) for part in np.split(encoded, cuts, -1)], -1)
    return units.decode_actions(chosen[:, 0] if len(units.spec.action_choices) == 1 else chosen)
