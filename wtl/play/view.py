"""A player as the page shows it: one JSON object, sent whole whenever something changes. Knows no socket."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from metalearn.data.episode import Episode
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
        "model": {"name": choice.model.name, "version": choice.model.version},
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
        "adaptation": _adaptation(memory),
        "episodes": [
            _episode(role, number, episode, player)
            for role in _ROLES
            for number, episode in enumerate(memory.episodes(role))
        ],
        "exports": [{"kind": kind, "title": entry.title} for kind, entry in EXPORTS.items()],
        "problem": player.problem,
    }


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
