"""A player as the page shows it: one JSON object, sent whole whenever something changes. Knows no socket."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from metalearn.data.episode import Episode
from metalearn.data.errors import WatchTryLearnError
from wtl.play.exports import EXPORTS
from wtl.play.films import FilmStore
from wtl.play.memory import Memory, Role, lines_of
from wtl.play.player import Player


def state_of(player: Player) -> dict[str, Any]:
    """What there is to see and to do now."""
    choice, stage, memory = player.choice, player.stage, player.memory
    spec = choice.family.spec
    return {
        "type": "state",
        "family": choice.name,
        "families": player.choices.names,
        "task": stage.index,
        "tasks": [choice.tasks.start, choice.tasks.stop - 1],
        "model": {"name": memory.model.name, "version": memory.model.version},
        "models": [one.name for one in choice.models],
        "horizon": spec.horizon,
        "rate_hz": spec.rate_hz,
        "pace": player.pace,
        "controls": player.controls.to_json(),
        "expert": player.has_expert,
        "phase": player.phase,
        "who": player.who,
        "running": player.running,
        "episode": {
            "scene": stage.scene,
            "step": len(stage),
            "reward": round(stage.total_reward, 4),
            "success": stage.success,
            "over": stage.over,
        },
        "asking": _asking(player),
        "adaptation": _adaptation(memory),
        "episodes": [
            _episode(role, number, episode, player)
            for role in _ROLES
            for number, episode in enumerate(memory.episodes(role))
        ],
        "exports": [{"kind": kind, "title": entry.title} for kind, entry in EXPORTS.items()],
        "problem": player.problem,
    }


def _asking(player: Player) -> Mapping[str, Any]:
    """What the model can be asked for, what it is asked for now, and where in the picture the goal is."""
    memory = player.memory
    asked = memory.asked
    return {
        "offers": [{name: one[name] for name in _OFFERED} for one in memory.model.asks],
        "asked": asked,
        "warnings": [] if memory.state is None else list(memory.state.ask_warnings),
        "points": player.goals_are_places,
        "place": _place(player, asked.get("goal")),
    }


_OFFERED = ("kind", "accepts", "low", "high", "examples")


def _place(player: Player, goal: Any) -> list[float] | None:
    """Where the goal is, in the picture as it is now; None if it cannot be seen, or the environment fails to say."""
    if goal is None or not player.goals_are_places:
        return None
    try:
        place = player.stage.place_of_goal(goal)
    except WatchTryLearnError:
        return None
    return place if place is not None and all(0 <= one <= 1 for one in place) else None


_ROLES: tuple[Role, ...] = ("demo", "trial")


def _adaptation(memory: Memory) -> Mapping[str, Any] | None:
    state = memory.state
    if state is None:
        return None
    copied = memory.edited_from
    return {
        "id": state.id,
        "version": state.version,
        "belief": None if state.belief is None else asdict(state.belief),
        "confidence": state.confidence,
        "value_of_trial": state.value_of_trial,
        "novelty": state.novelty,
        "expires_at": state.expires_at,
        "history": list(memory.history),
        "forked_from": None if state.forked_from is None else asdict(state.forked_from),
        "edited_from": None if copied is None else {"id": copied[0], "version": copied[1]},
    }


def _episode(role: Role, number: int, episode: Episode, player: Player) -> dict[str, Any]:
    films: FilmStore = player.films
    film = films.has(episode.digest)
    return {
        "role": role,
        "number": number,
        "digest": episode.digest,
        "steps": len(episode),
        "success": episode.success,
        "reward": None if episode.rewards is None else round(float(episode.rewards.sum()), 4),
        "film": film,
        "lines": [] if film else lines_of(episode),
    }
