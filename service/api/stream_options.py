"""What a client chooses for a stream in the query of its URL: when a new episode begins, and how many actions it gets.

openpi's clients cannot say either in a frame: their `reset()` sends nothing, and their `ActionChunkBroker` counts on as
many actions in an answer as it plays back. Pure: knows neither WebSockets nor models.
"""

import difflib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metalearn.data.errors import InvalidData
from service.api.validation import describe, to_problem
from service.errors import quote

Mark = bool | int | float | str
_OF_RULE = {"steps": "horizon", "pause_s": "pause", "field": "field"}
"""The rule that a further option belongs to."""
_TAKEN = frozenset({"observation", "reward", "success", "reset", "explore"})


class StreamOptions(BaseModel):
    """The options of one stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    new_episode: Literal["reset", "horizon", "pause", "field"] = "reset"
    steps: int | None = Field(None, gt=0)
    pause_s: float | None = Field(None, gt=0, le=1e6, allow_inf_nan=False)
    field: str | None = Field(None, min_length=1, max_length=200)
    chunk: int = Field(1, gt=0)

    @classmethod
    def of(cls, query: Collection[tuple[str, str]]) -> "StreamOptions":
        """Read the names and values in the query of a URL. Raises InvalidData, InvalidPayload."""
        names = [name for name, _ in query]
        for name in names:
            if name not in cls.model_fields:
                close = difflib.get_close_matches(name, cls.model_fields, n=1)
                known = f"`{close[0]}`" if close else "one of " + ", ".join(cls.model_fields)
                raise InvalidData("query", known, f"the option {quote(name)}")
            if names.count(name) > 1:
                raise InvalidData(name, "one value", f"{names.count(name)} of them")
        try:
            options = cls.model_validate(dict(query))
        except ValidationError as error:
            raise to_problem(error) from error
        for name, rule in _OF_RULE.items():
            given, ruled = getattr(options, name) is not None, options.new_episode == rule
            if given and not ruled:
                raise InvalidData(name, f"none without new_episode={rule}", f"new_episode={options.new_episode}")
            if ruled and not given and name != "steps":
                raise InvalidData(name, f"a value, because of new_episode={rule}", "nothing")
        if options.field in _TAKEN:
            raise InvalidData("field", "a name without a meaning of its own", str(options.field))
        return options

    def within(self, horizon: int) -> "StreamOptions":
        """Return the options for a model with this horizon. Raises InvalidData."""
        for name in ("steps", "chunk"):
            if (value := getattr(self, name)) is not None and value > horizon:
                raise InvalidData(name, f"at most the horizon of the model, {horizon}", str(value))
        steps = self.steps or horizon if self.new_episode == "horizon" else None
        return self.model_copy(update={"steps": steps})

    def to_metadata(self) -> dict[str, Any]:
        """Describe the options in the first frame of the server."""
        rule = {"by": self.new_episode, "steps": self.steps, "pause_s": self.pause_s, "field": self.field}
        held = self.chunk > 1
        return {
            "new_episode": {name: value for name, value in rule.items() if value is not None},
            "chunk": {"length": self.chunk, "plan": "hold" if held else "closed-loop", "records": not held},
        }


@dataclass
class EpisodeRule:
    """Decides if a frame begins a new episode. Its state changes with steps that were taken, not with errors."""

    options: StreamOptions
    now: Callable[[], float] = time.monotonic
    _mark: Mark | None = None
    _stepped_s: float = 0.0

    def mark_of(self, message: dict[str, Any]) -> Mark | None:
        """Take the field of the rule out of a frame. Raises InvalidData."""
        name = self.options.field
        if name is None:
            return None
        if name not in message:
            raise InvalidData(name, "a field that tells episodes apart (new_episode=field)", "nothing")
        value = message.pop(name)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if not isinstance(value, Mark):
            raise InvalidData(name, "true or false, a number, or text", describe(value))
        return value

    def begins(self, mark: Mark | None, n_steps: int) -> bool:
        """Return True if the frame with this mark begins an episode, after `n_steps` of the one before."""
        if n_steps == 0:
            return False
        match self.options.new_episode:
            case "horizon":
                return n_steps >= (self.options.steps or 0)
            case "pause":
                return self.now() - self._stepped_s > (self.options.pause_s or 0)
            case "field":
                return mark if isinstance(mark, bool) else mark != self._mark
        return False

    def stepped(self, mark: Mark | None) -> None:
        """Note that a step was taken."""
        self._mark = mark
        if self.options.pause_s is not None:
            self._stepped_s = self.now()
