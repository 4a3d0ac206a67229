"""A thread for one player: commands go in, states and pictures come out, and time passes at the player's pace.

The environment and the requests to the server live in this thread alone, so that neither stops the page, and an
environment that draws with OpenGL is only ever used by the thread that made it.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from metalearn.data.errors import WatchTryLearnError
from wtl.play.commands import carry_out
from wtl.play.outgoing import problem_of
from wtl.play.player import Player
from wtl.play.view import state_of

_log = structlog.get_logger("play")
Command = Mapping[str, Any]
Show = Callable[[bytes, Mapping[str, Any]], None]

QUEUED = 256
"""Commands that may wait; what a page sends beyond that is dropped, as it would come too late anyway."""

TELL_S = 0.1
"""Between two states of an episode that runs."""


class Worker:
    """Runs a player in a thread of its own.

    Args:
        make: makes the player, in the thread, and is given a function that shows a picture.
        publish: is given every new state.
        show: is given every new picture.
    """

    def __init__(
        self, make: Callable[[Show], Player], publish: Callable[[Mapping[str, Any]], None], show: Show
    ) -> None:
        self._make, self._publish, self._show = make, publish, show
        self._commands: queue.Queue[Command | None] = queue.Queue(QUEUED)
        self._published: Mapping[str, Any] | None = None
        self._was_running, self._told_at = False, 0.0
        self._thread = threading.Thread(target=self._run, name="play", daemon=True)
        self._thread.start()

    def do(self, command: Command) -> None:
        """Have a command carried out, soon."""
        try:
            self._commands.put_nowait(command)
        except queue.Full:
            _log.warning("a command came too late", do=str(command.get("do"))[:40])

    def close(self) -> None:
        """End the thread after the command that it carries out now."""
        while True:
            try:
                self._commands.put_nowait(None)
                return
            except queue.Full:
                self._commands.get_nowait()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            player = self._make(self._show)
        except WatchTryLearnError as error:
            self._publish({"type": "state", "phase": "broken", "problem": problem_of(error)})
            return
        self._tell(player)
        due = 0.0
        while True:
            command = self._next(player, due)
            if command is None:
                break
            was_running = player.running
            if command:
                self._safely(player, lambda: carry_out(player, command))  # noqa: B023  called at once
                if player.busy and not was_running:
                    due = time.monotonic()
            if player.busy and time.monotonic() >= due:
                began = time.monotonic()
                due = max(due, began - 0.1) + (self._safely(player, player.tick) or 0.0)
            self._tell(player)
        player.close()

    def _next(self, player: Player, due: float) -> Command | None:
        """The next command; an empty one when it is time for a step; None to end."""
        try:
            if not player.busy:
                return self._commands.get()
            wait_s = due - time.monotonic()
            return self._commands.get(timeout=wait_s) if wait_s > 0 else self._commands.get_nowait()
        except queue.Empty:
            return {}

    def _safely(self, player: Player, act: Callable[[], Any]) -> Any:
        """What nobody foresaw ends the episode, and not the thread."""
        try:
            return act()
        except Exception as error:
            _log.exception("an error in play")
            player.leave()
            player.problem = {"title": "Something broke", "detail": f"{type(error).__name__}: {error}"[:300]}

    def _tell(self, player: Player) -> None:
        """Publish the state if it is another one; while time runs not at every step, which pictures count as well."""
        now = time.monotonic()
        if player.running and self._was_running and now - self._told_at < TELL_S:
            return
        self._was_running, self._told_at = player.running, now
        state = state_of(player)
        if state != self._published:
            self._published = state
            self._publish(state)
