"""The adaptation that a page plays on: its episodes, its versions, and the changes to it, as requests to the server.

A change is a generator of requests, which gets their answers. Whoever sends them may send one again until it is
answered: it carries its idempotency key. Knows no connection, no environment and no page.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.parts import split
from service.client import AdaptationState, ClientError, Export, Model
from service.client import requests as ask

Role = Literal["demo", "trial"]
Change = Generator[ask.ApiRequest, Any, None]

MOST_VERSIONS = 60  # whose confidence is shown


@dataclass
class Memory:
    """What is known of the adaptation; everything of it is on the server.

    Attributes:
        model: the model that is adapted, in one version.
        others: models that an adaptation may be of as well.
        state: the newest version; None before anything was shown.
        context: its demonstrations and trials.
        history: one entry per version: number, episodes, ask, belief, confidence, value of another trial.
        edited_from: the id and the version that this one is an edited copy of, as far as this page knows.
    """

    model: Model
    others: tuple[Model, ...] = ()
    state: AdaptationState | None = None
    context: Context = field(default_factory=Context)
    history: tuple[Mapping[str, Any], ...] = ()
    edited_from: tuple[str, int] | None = None

    @property
    def model_name(self) -> str:
        """The model with its version, as requests name it."""
        return f"{self.model.name}@{self.model.version}"

    @property
    def asked(self) -> dict[str, Any]:
        """What is asked for, by kind."""
        return {} if self.state is None else dict(self.state.ask)

    def episodes(self, role: Role) -> tuple[Episode, ...]:
        """The demonstrations, or the trials, in order."""
        return self.context.demos if role == "demo" else self.context.trials

    def open(self, adaptation_id: str, version: int | None = None) -> Change:
        """Read an adaptation of the model, or of one of the others. Raises InvalidData: it is of yet another one."""
        found = AdaptationState.of((yield ask.get_adaptation(adaptation_id, version)))
        known = {one.name: one for one in (*self.others, self.model)}
        if found.model not in known:
            raise InvalidData("adaptation", f"one of the model {' or '.join(known)}", f"one of {found.model}")
        self.model = known[found.model]
        yield from self._take(found)

    def ask_for(self, wanted: Mapping[str, Any]) -> Change:
        """Ask for something else, or with an empty mapping for nothing, which makes a new version."""
        if self.state is None:
            answer = yield ask.create_adaptation(self.model_name, (), (), wanted, self.model.spec["rate_hz"])
        else:
            answer = yield ask.ask_for(self.state.id, wanted)
        yield from self._take(AdaptationState.of(answer))

    def learn(self, role: Role, episodes: Sequence[Episode]) -> Change:
        """Add episodes, which makes a new version; the first ones make the adaptation."""
        if self.state is None:
            demos, trials = (episodes, ()) if role == "demo" else ((), episodes)
            answer = yield ask.create_adaptation(self.model_name, demos, trials, None, self.model.spec["rate_hz"])
        else:
            answer = yield ask.add_episodes(self.state.id, f"{role}s", episodes)
        yield from self._take(AdaptationState.of(answer))

    def finish(self, recording: str, observation: Any, reward: float | None, success: bool | None) -> Change:
        """Make a trial of an episode that the server has recorded."""
        assert self.state is not None
        try:
            answer = yield ask.finish_episode(self.state.id, recording, observation, reward, success)
        except ClientError as error:
            if not error.type.endswith("episode-finished"):
                raise
            answer = yield ask.get_adaptation(self.state.id, None)  # the answer to the first request was lost
        yield from self._take(AdaptationState.of(answer))

    def fork(self, version: int | None = None) -> Change:
        """Go on with a copy of this adaptation, as it was in a version."""
        assert self.state is not None
        source = self.state.id, version or self.state.version
        yield from self._take(AdaptationState.of((yield ask.fork_adaptation(*source))))
        self.edited_from = source

    def edit(self, role: Role, number: int, changed: Episode | None) -> Change:
        """Put another episode in the place of one, or none.

        The server forgets nothing: this is a fork of the last version without that episode, with the others added anew.
        It asks for what is asked for now.
        """
        assert self.state is not None
        kept = {"demo": list(self.context.demos), "trial": list(self.context.trials)}
        kept[role][number : number + 1] = [] if changed is None else [changed]
        source = self.state.id, self.state.version
        before = self._last_without(role, number)
        if before is None:
            answer = yield ask.create_adaptation(
                self.model_name, kept["demo"], kept["trial"], self.asked, self.model.spec["rate_hz"]
            )
            n_demos, n_trials = len(kept["demo"]), len(kept["trial"])
        else:
            answer = yield ask.fork_adaptation(self.state.id, int(before["version"]), self.asked)
            n_demos, n_trials = int(before["n_demos"]), int(before["n_trials"])
        made = AdaptationState.of(answer)
        for name, episodes in (("demos", kept["demo"][n_demos:]), ("trials", kept["trial"][n_trials:])):
            for episode in episodes:
                made = AdaptationState.of((yield ask.add_episodes(made.id, name, [episode])))
        yield from self._take(made)
        self.edited_from = source

    def _last_without(self, role: Role, number: int) -> Mapping[str, Any] | None:
        """The newest version that does not hold an episode yet."""
        earlier = [row for row in self.history if row[f"n_{role}s"] <= number]
        return earlier[-1] if earlier else None

    def _take(self, state: AdaptationState) -> Change:
        """Read the episodes and the versions that go with a state."""
        context = Export.of((yield ask.export_adaptation(state.id, state.version, False))).context
        seen = {row["version"]: row for row in self.history} if self.state and self.state.id == state.id else {}
        history = []
        for version in range(max(1, state.version - MOST_VERSIONS + 1), state.version + 1):
            row = seen.get(version)
            if version == state.version:
                row = _row(state)
            elif row is None:
                row = _row(AdaptationState.of((yield ask.get_adaptation(state.id, version))))
            history.append(row)
        if self.state is None or self.state.id != state.id:
            self.edited_from = None
        self.state, self.context, self.history = state, context, tuple(history)


def changed_episode(
    episode: Episode, start: int = 0, end: int | None = None, success: bool | str | None = "same"
) -> Episode:
    """An episode cut to the steps `start` up to `end`, or with another outcome. Raises InvalidData."""
    end = len(episode) if end is None else end
    if not 0 <= start < end <= len(episode):
        raise InvalidData("trim", f"steps 0 <= start < end <= {len(episode)}", f"{start} and {end}")
    outcome = episode.success if isinstance(success, str) else success
    return replace(
        episode,
        observations=episode.observations[start : end + 1].copy(),
        actions=None if episode.actions is None else episode.actions[start:end].copy(),
        rewards=None if episode.rewards is None else episode.rewards[start:end].copy(),
        success=outcome,
    )


def lines_of(episode: Episode, most: int = 6, points: int = 60) -> list[list[float]]:
    """The numbers of an episode over time, each scaled to 0 .. 1, of the first few that change: to draw it by."""
    columns = [
        np.asarray(part, np.float64).reshape(len(part), -1)
        for part in split(episode.observations).values()
        if part.dtype != np.uint8
    ]
    if not columns:
        return []
    table = np.concatenate(columns, axis=1)
    table = table[np.linspace(0, len(table) - 1, min(points, len(table))).round().astype(int)]
    low, high = table.min(0), table.max(0)
    moving = np.flatnonzero(high - low > 1e-9)[:most]
    return [[round(float(v), 3) for v in (table[:, i] - low[i]) / (high[i] - low[i])] for i in moving]


def _row(state: AdaptationState) -> Mapping[str, Any]:
    names = ("version", "n_demos", "n_trials", "confidence", "value_of_trial", "novelty")
    belief = None if state.belief is None else asdict(state.belief)
    return {name: getattr(state, name) for name in names} | {"belief": belief, "ask": dict(state.ask)}
