"""What a page may ask of its player: one function for each command, `{do: name, ...}`.

A page is not trusted: each value is checked where it is read. Knows no socket.
"""

from collections.abc import Callable, Mapping
from typing import Any

from metalearn.data.errors import InvalidData
from metalearn.data.values import number as as_number
from wtl.play.controls import action_of, numbers_of
from wtl.play.films import FilmStore
from wtl.play.memory import Role, changed_episode
from wtl.play.player import Player

Command = Mapping[str, Any]
SLOWEST, FASTEST = 0.5, 60.0  # steps per second


def carry_out(player: Player, command: Command) -> None:
    """Carry out a command; what is wrong with it becomes the player's problem."""
    name = command.get("do")
    if name != "input":
        player.problem = None

    def act() -> None:
        if not isinstance(name, str) or name not in COMMANDS:
            raise InvalidData("do", f"one of {', '.join(COMMANDS)}", repr(name)[:40])
        COMMANDS[name](player, command)

    player.guard(act)


def _choose(player: Player, command: Command) -> None:
    """`{family?, task?, model?}`: another task, drawn from the held-out ones if none is named."""
    found = player.choice if command.get("family") is None else player.choices.find(command["family"])
    model = None if command.get("model") is None else found.find_model(command["model"])
    player.leave()
    if found is not player.choice:
        player.set_choice(found)
    if model is not None:
        player.model = model
    player.set_task(command.get("task"))


def _open(player: Player, command: Command) -> None:
    """`{family, task, adaptation? | model?}`: come back to where a page was, if need be amid an episode.

    An adaptation has its model. Without one it is the usual one, unless another is named.
    """
    wanted = command.get("adaptation")
    here = player.memory.state.id if player.memory.state else None
    model = command.get("model") or player.choices.find(command.get("family")).model.name
    is_here = (here, player.stage.index, player.choice.name) == (wanted, command.get("task"), command.get("family"))
    if not is_here or (wanted is None and player.model.name != model):
        _choose(player, {**command, "model": model})
        if wanted is not None:
            player.run(player.memory.open(_text("adaptation", command)))
    elif here is not None and player.phase == "ready":
        player.refresh(player.memory.open(here))


def _refresh(player: Player, command: Command) -> None:
    """`{adaptation}`: another page has made a version of it."""
    state = player.memory.state
    if state is not None and state.id == command.get("adaptation"):
        player.refresh(player.memory.open(state.id))


def _demo(player: Player, command: Command) -> None:
    """`{by: "person" | "expert"}`: begin a demonstration."""
    player.leave()
    player.begin("demo", len(player.memory.context.demos))
    player.phase, player.who = "demo", "expert" if command.get("by") == "expert" else "person"
    player.running = player.who == "expert"


def _try(player: Player, command: Command) -> None:
    """`{explore?, paused?, elsewhere?}`: let the policy try, from the start of its first attempt or from elsewhere."""
    explore, paused = _flag("explore", command), bool(command.get("paused"))

    def begin() -> None:
        player.start_recording(explore)
        player.begin("trial", _next_start(player, command))
        player.phase, player.who, player.running = "attempt", "policy", not paused

    player.leave()
    if player.memory.state is None:  # nothing was shown
        player.run(player.memory.learn("demo", []), then=lambda: player.guard(begin))
    else:
        begin()


def _ask(player: Player, command: Command) -> None:
    """`{ask: {kind: value}, at?: [x, y]}`: ask for this alone; `at` is a place in the picture as the goal."""
    wanted = command.get("ask")
    if not isinstance(wanted, dict):
        raise InvalidData("ask", "an object", repr(wanted)[:40])
    if player.phase == "saving":
        raise InvalidData("ask", "to wait until the episode is learned from", "an episode on its way")
    if "at" in command:
        x, y = numbers_of("ask.goal", command["at"], 2)
        goal = player.stage.goal_at(x, y)
        if goal is None:
            raise InvalidData("ask.goal", "numbers: a place in this picture is no goal", "a place")
        wanted = wanted | {"goal": [float(f"{one:.4g}") for one in goal]}
    player.ask_for(wanted)


def _aim(player: Player, command: Command) -> None:
    """`{elsewhere?}`: show where the next attempt begins, to point to a goal in it. An episode that is played stays."""
    if player.phase == "ready":
        player.begin("trial", _next_start(player, command))


def _next_start(player: Player, command: Command) -> int:
    return len(player.memory.context.trials) if command.get("elsewhere") else 0


def _take(player: Player, _: Command) -> None:
    """The person takes over in the middle of an attempt."""
    if player.phase == "attempt":
        player.who, player.running, player.input = "person", False, None


def _give(player: Player, _: Command) -> None:
    """The person gives back to the policy."""
    if player.phase == "attempt":
        player.who, player.running = "policy", True


def _input(player: Player, command: Command) -> None:
    """`{seq, held, choice | at | values}`: what the person does now. A choice is one step; others last while held."""
    seq = command.get("seq")
    player.seq = seq if isinstance(seq, int) else 0
    if player.phase not in {"demo", "attempt"} or player.who != "person":
        return
    held = bool(command.get("held"))
    if player.controls.kind == "keys" or held:
        action = action_of(player.controls, player.stage, command)
        if player.controls.kind == "keys":
            player.step(action)
            return
    player.input = command if held else None
    player.running = held


def _step(player: Player, _: Command) -> None:
    """One step of whoever acts, and then stand still."""
    player.running = False
    player.step_once()


def _pause(player: Player, command: Command) -> None:
    """`{paused}`: stop the policy or the expert, or let it go on."""
    if player.phase in {"demo", "attempt"} and player.who != "person":
        player.running = not command.get("paused")


def _pace(player: Player, command: Command) -> None:
    """`{steps_per_s}`: how fast time runs."""
    wanted = as_number("steps_per_s", command.get("steps_per_s"))
    if wanted is None or not SLOWEST <= wanted <= FASTEST:
        raise InvalidData("steps_per_s", f"{SLOWEST} to {FASTEST}", repr(wanted))
    player.pace = wanted


def _score(player: Player, command: Command) -> None:
    """`{success}`: the person's score, which ends the episode."""
    success = _flag("success", command)
    if success is None:
        raise InvalidData("success", "true or false", "nothing")
    if player.phase in {"demo", "attempt", "review", "score"} and len(player.stage):
        player.keep(success)


def _discard(player: Player, _: Command) -> None:
    """Forget the episode that is being played."""
    player.leave()
    player.begin(player.stage.scene, 0)


def _edit(player: Player, command: Command) -> None:
    """`{role, number, delete: true | trim: [start, end] | success}`: change an episode that has been learned from."""
    role, number = _named(player, command)
    before = player.memory.episodes(role)[number]
    after = None
    if not command.get("delete"):
        start, end = _trim(command, len(before))
        after = changed_episode(before, start, end, _flag("success", command) if "success" in command else "same")
        _copy_film(player.films, before.digest, after.digest, start, end)
    player.leave()
    player.run(player.memory.edit(role, number, after))


def _fork(player: Player, command: Command) -> None:
    """`{version?}`: go on with a copy, as the adaptation was in a version."""
    version = command.get("version")
    if version is not None and (not isinstance(version, int) or isinstance(version, bool)):
        raise InvalidData("version", "a whole number", repr(version)[:40])
    if player.memory.state is not None:
        player.leave()
        player.run(player.memory.fork(version))


def _copy_film(films: FilmStore, before: str, after: str, start: int, end: int) -> None:
    film = films.load(before)
    if film is not None and not films.has(after):
        films.save(after, film.cut(start, end))


def _named(player: Player, command: Command) -> tuple[Role, int]:
    role, number = command.get("role"), command.get("number")
    if role not in ("demo", "trial"):  # anything may come, also what has no hash
        raise InvalidData("role", "demo or trial", repr(role)[:40])
    n = len(player.memory.episodes(role))
    if not isinstance(number, int) or not 0 <= number < n:
        raise InvalidData("number", f"one of {n} {role}s, counted from 0", repr(number)[:40])
    return role, number


def _trim(command: Command, n_steps: int) -> tuple[int, int]:
    given = command.get("trim", [0, n_steps])
    if not isinstance(given, list) or len(given) != 2 or not all(isinstance(one, int) for one in given):
        raise InvalidData("trim", "[start, end] in steps", repr(given)[:40])
    return given[0], given[1]


def _flag(name: str, command: Command) -> bool | None:
    value = command.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidData(name, "true, false or null", repr(value)[:40])
    return value


def _text(name: str, command: Command) -> str:
    value = command.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidData(name, "text", repr(value)[:40])
    return value


COMMANDS: Mapping[str, Callable[[Player, Command], None]] = {
    "choose": _choose,
    "open": _open,
    "refresh": _refresh,
    "demo": _demo,
    "try": _try,
    "ask": _ask,
    "aim": _aim,
    "take": _take,
    "give": _give,
    "input": _input,
    "step": _step,
    "pause": _pause,
    "pace": _pace,
    "score": _score,
    "discard": _discard,
    "edit": _edit,
    "fork": _fork,
}
