"""What happens on one page: a person shows a task, the policy tries it, the score is learned from.

A state machine without a thread, a socket or a clock of its own: `do` takes one command of the page (`commands`),
`tick` one step.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from metalearn.data.errors import InvalidData, WatchTryLearnError
from service.client import Client, ClientError
from service.client import requests as ask
from service.client.spaces import ModelSpaces
from wtl.play.choices import Choice, Choices
from wtl.play.controls import action_of, controls_of, rest
from wtl.play.films import Film, FilmStore, encode
from wtl.play.memory import Change, Memory, Role
from wtl.play.outgoing import WORTH_WAITING, Outgoing, is_gone, problem_of
from wtl.play.stage import Stage

Who = Literal["person", "expert", "policy"]
Phase = Literal["ready", "demo", "attempt", "review", "score", "saving"]
RETRY_S = 1.0


class Player:
    """One page's play.

    Args:
        client: the server.
        choices: the families that may be played, each with its model.
        films: where the pictures of episodes are kept.
        rng: draws tasks.
        show: is given every new picture as JPEG, with what belongs to it.
        changed: is told the id of an adaptation that has a new version.

    Attributes:
        phase: "ready"; "demo" and "attempt" while an episode is played; "review" of a demonstration that did not
            succeed and "score" of an attempt whose outcome is unknown; "saving" until the server has it.
        model: the one that the next adaptation is of.
        goals_are_places: whether a place in the picture is a goal (`Stage.goal_at`).
        who: acts now.
        running: whether time goes on by itself.
        pace: steps per second, while time runs.
        problem: what went wrong last, as RFC 9457 has it.
    """

    def __init__(
        self,
        client: Client,
        choices: Choices,
        films: FilmStore,
        rng: np.random.Generator,
        show: Callable[[bytes, Mapping[str, Any]], None],
        changed: Callable[[str], None],
    ) -> None:
        self.choices, self.films = choices, films
        self._client, self._outgoing, self._rng = client, Outgoing(client), rng
        self._show, self._changed = show, changed
        self._then: Callable[[], None] | None = None
        self.problem: Mapping[str, Any] | None = None
        self.who: Who = "person"
        self.input: Mapping[str, Any] | None = None
        self.seq = 0
        self.phase: Phase = "ready"
        self.running = False
        self._recording: str | None = None
        self._recorded_steps = 0
        self.set_choice(choices.first)
        self._set_stage(self._staged(None))

    def guard(self, act: Callable[[], None]) -> None:
        """Do something; what it raises on purpose becomes the problem that the page shows."""
        try:
            act()
        except WatchTryLearnError as error:
            self._refused(error)

    @property
    def busy(self) -> bool:
        """Whether `tick` has something to do."""
        return self.running or self._outgoing.pending

    def tick(self) -> float:
        """Send the next request, or take the next step, of whatever goes on; returns the seconds until the next one."""
        try:
            if self._outgoing.pending:
                if self._outgoing.send():
                    self._learned()
                return 0.0
            self.step(self._next_action())
            return 1 / self.pace
        except WatchTryLearnError as error:
            self._refused(error)
            if isinstance(error, ClientError) and error.status in WORTH_WAITING:
                return RETRY_S
            self.running = False
            if self.phase == "saving" and not self._outgoing.pending:
                self.phase = "ready"
            return 0.0

    # The task

    def set_choice(self, choice: Choice) -> None:
        """Play another family."""
        self.choice, self.model = choice, choice.model
        self._spaces = ModelSpaces(choice.model.spec)
        self.pace = min(30.0, max(8.0, choice.family.spec.rate_hz))

    def set_task(self, task: object) -> None:
        """Begin with a held-out task, or draw one. Raises InvalidData."""
        before, stage = self.stage, self._staged(task)
        before.close()
        self._set_stage(stage)

    def _staged(self, task: object) -> Stage:
        index = self.choice.draw_task(self._rng) if task is None else self.choice.check_task(task)
        return Stage(self.choice.family, index)

    def _set_stage(self, stage: Stage) -> None:
        self.stage = stage
        self.controls, self.has_expert = controls_of(stage), stage.has_expert
        self.goals_are_places = stage.goal_at(0.5, 0.5) is not None
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Nothing was shown yet."""
        self.memory = Memory(self.model, self.choice.models)
        self.begin("demo", 0)

    # An episode

    def begin(self, scene: Literal["demo", "trial"], number: int) -> None:
        """Put the start of an episode on the stage."""
        self.stage.begin(scene, number)
        self._pictures = list[bytes]()
        self.input, self._touched = None, False
        self._picture()

    def leave(self) -> None:
        """Drop the episode that is being played. The server deletes what it has recorded of it."""
        self.phase, self.running = "ready", False
        self._recording, self._recorded_steps = None, 0
        self._outgoing.drop()

    def start_recording(self, explore: bool | None) -> None:
        """Let the server commit to a hypothesis, for an episode that it records. Raises ClientError, InvalidData."""
        assert self.memory.state is not None
        self._recording = str(self._client.send(ask.start_episode(self.memory.state.id, explore))["id"])
        self._recorded_steps = 0

    def step(self, action: Any) -> None:
        """Take one step with an action, and do what follows from it."""
        if action is None or self.stage.over or self.phase not in {"demo", "attempt"}:
            self.running = False
            return
        self.stage.step(action)
        self._touched |= self.who != "policy"
        self._picture()
        if self.stage.over:
            self._ended()

    def step_once(self) -> None:
        """One step of whoever acts."""
        if self.phase in {"demo", "attempt"}:
            self.step(self._next_action())

    def keep(self, success: bool) -> None:
        """Learn from the episode that has just been played. It is sent whole where not all of it was the policy's."""
        role: Role = "demo" if self.stage.scene == "demo" else "trial"
        episode = self.stage.episode(success)
        self.films.save(episode.digest, Film.of(self._pictures))
        if role == "trial" and self._recording is not None and not self._touched:
            observed = self._spaces.observed(self.stage.observation)
            self.run(self.memory.finish(self._recording, observed, self.stage.reward, success))
        else:
            self.run(self.memory.learn(role, [episode]))

    def run(self, change: Change, then: Callable[[], None] | None = None) -> None:
        """Send a change to the server, and do something when it is complete."""
        self.phase, self.running, self._then = "saving", False, then
        self._outgoing.start(change)

    def ask_for(self, wanted: Mapping[str, Any]) -> None:
        """Ask for something else from the next version on. In the middle of an episode, which goes on as it began.

        Raises:
            ClientError, InvalidData: the model cannot follow, or nobody answers.
        """
        if self.phase == "ready":
            self.run(self.memory.ask_for(wanted))
            return
        at_once = Outgoing(self._client)
        at_once.start(self.memory.ask_for(wanted))
        try:
            while not at_once.send():
                pass
        except ClientError as error:
            if error.status in WORTH_WAITING:  # the episode that is played goes on, and only it is kept
                raise InvalidData("ask", "a server that answers; ask again once it does", "no answer") from error
            raise
        if self.memory.state is not None:
            self._changed(self.memory.state.id)

    def refresh(self, change: Change) -> None:
        """Read what another page has changed, without leaving the episode."""
        if not self._outgoing.pending:
            self._then = None
            self._outgoing.start(change)

    def close(self) -> None:
        """Close the environments and the connection."""
        self.stage.close()
        self._client.close()

    def _refused(self, error: WatchTryLearnError) -> None:
        """Say what went wrong. Without its adaptation the page begins anew with the same task."""
        self.problem = problem_of(error)
        if is_gone(error):
            self.leave()
            self._begin_anew()

    def _learned(self) -> None:
        self.problem, self.model = None, self.memory.model
        if self.phase != "saving":
            return
        self.phase, self._recording = "ready", None
        then, self._then = self._then, None
        if self.memory.state is not None:
            self._changed(self.memory.state.id)
        if then is not None:
            then()

    def _next_action(self) -> Any:
        if self.who == "expert":
            return self.stage.expert_action()
        if self.who == "policy":
            return self._policy_action()
        if self.controls.kind == "keys":
            return None
        return action_of(self.controls, self.stage, self.input or rest(self.controls))

    def _policy_action(self) -> Any:
        assert self.memory.state is not None
        if self._recording is None:
            self.start_recording(None)
        observed = self._spaces.observed(self.stage.observation)
        reward = self.stage.reward if self._recorded_steps else None
        request = ask.act_in_episode(self.memory.state.id, str(self._recording), observed, reward)
        try:
            action = self._client.send(request)["action"]
        except ClientError as error:
            self._touched = True  # nobody knows what the server has recorded: it gets the whole episode at the end
            if error.type.endswith("episode-not-found"):
                self._recording = None
            raise
        self._recorded_steps += 1
        self.problem = None
        return self._spaces.to_env_action(action)

    def _ended(self) -> None:
        """The environment has ended the episode."""
        self.running = False
        success = self.stage.success
        if self.phase == "demo" and success is not True:
            self.phase = "review"
        elif success is None:
            self.phase = "score"
        else:
            self.keep(success)

    def _picture(self) -> None:
        jpeg = encode(self.stage.picture())
        self._pictures.append(jpeg)
        self._show(jpeg, {"step": len(self.stage), "seq": self.seq})
