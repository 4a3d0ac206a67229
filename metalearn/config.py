"""Configuration as frozen values. A typo is an error with a suggestion; nothing is read from the environment."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from metalearn.data.asks import AskOffer, kinds_of
from metalearn.data.errors import InvalidConfig
from metalearn.data.sentences import ENCODERS, MINILM

SCRATCH = "scratch"
"""The `image_encoder` that is trained with the rest."""

EVENT_LOG = "progress.jsonl"
"""File in the folder of a run: the events of the run as JSON lines, for whoever follows it."""


class Config(BaseModel):
    """A frozen value; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def faults(error: ValidationError, fields: Collection[str] = (), *, values: bool = True) -> str:
    """Everything that is wrong in a file or in settings, in one line: field, what was expected, what was got.

    Args:
        error: what the check of the whole found.
        fields: the names that are known, for a suggestion where one is not.
        values: whether to show what was got; not where it may be a secret.
    """
    return "; ".join(_fault(one, fields, values) for one in error.errors(include_url=False))


def _fault(one: Any, fields: Collection[str], values: bool) -> str:
    where = ".".join(map(str, one["loc"]))
    if one["type"] == "missing":
        said = "missing"
    elif one["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(one["loc"][-1]), fields, n=1)
        said = f"unknown field; did you mean {close[0]}?" if close else "unknown field"
    else:
        got = "" if one["type"] == "json_invalid" or not values else f", got {one['input']!r:.60}"
        said = " ".join(one["msg"].split()) + got
    return f"{where}: {said}" if where else said


@dataclass(frozen=True)
class SetBy:
    """Marks a field that is no setting of its own: `what` decides it."""

    what: str


@dataclass(frozen=True)
class Decided:
    """Marks a field that an automatic training decides (`metalearn.training.decisions`), unless somebody sets it."""

    how: str


@dataclass(frozen=True)
class OfFixedPhases:
    """Marks a field without effect in an automatic training, whose phases end by themselves."""


@dataclass(frozen=True)
class NamesCode:
    """Marks a field that may name code, as module:function, which is imported where the training runs."""


class Section(Config):
    """A section of an experiment: every field has a description, and numbers are finite (`metalearn.settings`)."""

    model_config = ConfigDict(allow_inf_nan=False)


class UnitsConfig(Config):
    """The units that a network counts in, offset and size of each (`metalearn.data.units`); set by training."""

    actions: tuple[tuple[float, float], ...] = Field((), description="of each component of an action; none: as it is")
    reward: tuple[float, float] = (0.0, 1.0)


class ModelConfig(Section):
    """The conditional policy (`metalearn.model.policy`)."""

    n_frames: Annotated[int, Decided("from the length of the episodes")] = Field(
        3, ge=2, le=10_000, description="frames of an episode that the encoder sees, ends kept"
    )
    frame_means: Annotated[bool, Decided("from the length of the episodes")] = Field(
        False, description="a frame also holds the means over the steps since the frame before"
    )
    fourier: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0), description="frequencies of the sines of an observation's numbers, in units of pi; none: no "
        "sines",
    )  # fmt: skip
    encoder_width: int = Field(256, ge=1, le=16_384, description="units of a hidden layer of the encoder of contexts")
    latent_dim: Annotated[int, Decided("128")] = Field(64, ge=1, le=16_384, description="size of a context's embedding")
    max_trials: Annotated[int, SetBy("training.trials_per_task and the recorded trials")] = Field(
        1, ge=1, description="trials in the longest training context; more count as so many"
    )
    n_hypotheses: Annotated[int, Decided("8")] = Field(
        4, ge=1, le=1024, description="z, hypotheses a context distributes its belief over"
    )
    policy_width: int = Field(128, ge=1, le=16_384, description="units of a hidden layer of the policy")
    context_sigma: Annotated[bool, Decided("from how much demonstrators differ in how unsteady they are")] = Field(
        False, description="read the spread of continuous actions from the context too: how skilled or how shaky "
        "whoever was watched is; `wtl recognise` tells agents by it",
    )  # fmt: skip
    dynamics_rank: Annotated[int, Decided("from how much tasks differ in what an action does")] = Field(
        0,
        ge=0,
        le=1024,
        description="dimensions of what tasks differ in as to the effect of an action; 0: not looked for",
    )
    memory: Annotated[int, Decided("32 where the policy can try, else 0")] = Field(
        0, ge=0, le=16_384, description="numbers in which an episode is remembered while it lasts; 0: it is not"
    )
    search: Annotated[int, SetBy("training, where validation tasks are solved more often with it")] = Field(
        0,
        ge=0,
        le=4096,
        description="tasks of which it is remembered which hypotheses solve them, to choose what to try next; 0: the "
        "most probable one is tried",
    )
    asks: tuple[str, ...] = Field(
        (), description="kinds of ask that the model is trained for: return, goal, better, words, in any combination"
    )
    ask_offers: Annotated[tuple[AskOffer, ...], SetBy("training, from what episodes were an answer to")] = Field(
        (), description="ranges and units of the asks that the model was trained for"
    )
    sentence_encoder: str = Field(MINILM, description=f"what turns words into numbers: {' or '.join(ENCODERS)}")
    image_encoder: Annotated[str, NamesCode()] = Field(
        SCRATCH,
        pattern=r"^(scratch|[\w.]+:\w+)$",
        examples=["scratch", "package.module:function"],
        description="what reads pictures: scratch, trained with the rest; or module:function, which returns a "
        "torch.nn.Module that makes features [n, k] of pictures [n, c, h, w] from 0 to 1 and stays as it is",
    )
    symbols: Annotated[tuple[int, ...], Decided("from the numbers that pictures hold")] = Field(
        (),
        description="of each part that has the shape of a picture, in their order: its numbers below this one are "
        "symbols, each with a meaning of its own; 0: they are brightnesses, as in all parts if nothing is given",
    )
    units: Annotated[UnitsConfig, SetBy("training, from the bounds of the spaces and the training data")] = Field(
        UnitsConfig(), description="units of actions and rewards that the networks count in"
    )

    @field_validator("sentence_encoder")
    @classmethod
    def _known_encoder(cls, name: str) -> str:
        if name not in ENCODERS:
            raise ValueError(f"expected {' or '.join(ENCODERS)}, got {name!r}")
        return name

    @field_validator("asks")
    @classmethod
    def _known_asks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names once each, in the order of the kinds."""
        try:
            return tuple(kind.name for kind in kinds_of(names))
        except InvalidConfig as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="before")
    @classmethod
    def _without_layout(cls, value: Any) -> Any:
        """What was trained earlier says `entities: null`; now the observation space says what lists entities."""
        if not isinstance(value, Mapping) or "entities" not in value:
            return value
        if value["entities"] is not None:
            raise ValueError("entities: expected no layout: a Dict space declares entities, as a part [m, e]")
        return {name: entry for name, entry in value.items() if name != "entities"}


class DataConfig(Section):
    """What is demonstrated before training starts."""

    n_tasks: Annotated[
        int, Decided("49,152, of large pictures 16,384; fewer of a family with fewer, in few minutes or steps")
    ] = Field(16_384, ge=1, description="tasks to train on; few are learnt by heart, and then no trial ever fails")
    chunk_tasks: Annotated[int, Decided("from whether the family steps many tasks at once")] = Field(
        64, ge=1, description="tasks rolled out side by side"
    )
    demos_per_task: int = Field(1, ge=0, description="episodes of the expert that a task's context may show")
    experts_per_task: int = Field(2, ge=0, description="episodes of the expert that are imitated, per task")
    graded_per_task: Annotated[int, Decided("2 where a return, a goal or better is asked for, else 0")] = Field(
        0, ge=0, description="demonstrators of less skill per task: the expert, who acts at random now and then"
    )
    grades: tuple[float, ...] = Field(
        (0.2, 0.4, 0.6, 0.8, 1.0), min_length=1, description="how often those act at random, from which each draws one"
    )
    play_per_task: Annotated[int, Decided("2 where a goal is asked for, else 0")] = Field(
        0, ge=0, description="episodes of random actions, each held for some steps, per task: who plays needs no expert"
    )
    demo_actions: bool = Field(True, description="whether demonstrations come with their actions")
    demo_noise: float = Field(
        0.0, ge=0, description="standard deviation of the action noise of demonstrations, in halves of the range"
    )
    expert_noise: Annotated[float, Decided("from whether actions are continuous")] = Field(
        0.0, ge=0, description="standard deviation of the action noise of imitated episodes, in halves of the range"
    )

    @field_validator("grades")
    @classmethod
    def _shares(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if wrong := [value for value in values if not 0 <= value <= 1]:
            raise ValueError(f"expected numbers from 0 to 1, got {wrong[0]:g}")
        return values


class TrainingConfig(Section):
    """The meta-training loop (`metalearn.training.loop`)."""

    minutes: float | None = Field(
        None, gt=0, description="minutes that a training may take, collecting and calibration included, baselines "
        "not; null: as long as its steps take; 20 for a family, recordings and most experiments",
    )  # fmt: skip
    steps: int | None = Field(
        None, ge=1, description="most gradient steps of a training whose phases end by themselves; null: as many as "
        "its minutes allow",
    )  # fmt: skip
    warmup_steps: Annotated[int, OfFixedPhases()] = Field(
        1000, ge=1, description="gradient steps of phase I, before any trial of its own"
    )
    rounds: Annotated[int, OfFixedPhases()] = Field(
        2, ge=0, description="rounds of collecting own trials and learning on"
    )
    round_steps: Annotated[int, OfFixedPhases()] = Field(800, ge=1, description="gradient steps of a round")
    trials_per_task: Annotated[int, Decided("3 where the policy can try, else 0")] = Field(
        1, ge=0, description="longest sequence of own trials that is collected"
    )
    staleness: int = Field(
        0, ge=0, description="gradient steps that trials may lag behind the policy that learns from them; 0: wait"
    )
    batch_tasks: int = Field(128, ge=2, le=1_000_000, description="tasks in the batch of a gradient step")
    learning_rate: float = Field(1.5e-3, gt=0, description="step size of AdamW at its highest")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay of AdamW, per step and unit of learning rate")
    average_share: Annotated[float, Decided("0.1")] = Field(
        0.0, ge=0, le=1, description="share of the steps so far, the last ones, over which weights are averaged for "
        "looks, for own trials and for the bundle; 0: the weights of the last step",
    )  # fmt: skip
    steps_per_episode: Annotated[int, Decided("16, of large pictures 6")] = Field(
        0, ge=0, description="random steps of a target imitated per update; 0: all"
    )
    prior_weight: float = Field(
        0.5, gt=0, description="weight of log p(z | context), in sizes of the gradient of a step's log-likelihood: the "
        "more precise actions are, the larger that is",
    )  # fmt: skip
    demo_dropout: float = Field(
        0.05, ge=0, le=1, description="probability that a context comes without its demonstrations"
    )
    expert_trial: float = Field(
        0.7, ge=0, le=1, description="how often an expert's episode plays a trial while there are none"
    )
    ask_share: float = Field(
        1.0, gt=0, description="contexts that ask for something in a batch, for each of its `batch_tasks` contexts "
        "that do not; without effect where model.asks is empty",
    )  # fmt: skip
    own_target: float = Field(0.5, ge=0, le=1, description="how often the policy's own relabelled attempt is imitated")
    anneal_steps: int = Field(
        200, ge=1, description="steps of annealing from one behaviour for all hypotheses to hypotheses that compete"
    )
    freeze_batchnorm_after: Annotated[float, OfFixedPhases()] = Field(
        1.0, ge=0, le=1, description="share of the steps after which BatchNorm is frozen: it normalises with "
        "running statistics, since the mean of a batch is noise to whatever a latent says precisely",
    )  # fmt: skip
    check_steps: int = Field(100, ge=1, description="gradient steps between looks at held-out success")
    check_tasks: int = Field(
        256, ge=0, description="most validation tasks that such a look tries; fewer, but 64, where the minutes of a "
        "training and a slow simulator do not allow them; 0: it is not looked at",
    )  # fmt: skip

    @property
    def automatic(self) -> bool:
        """Whether phases end by themselves, within some minutes or steps, and what nobody set is decided from data."""
        return self.minutes is not None or self.steps is not None

    @property
    def total_steps(self) -> int:
        """Gradient steps in all, or the most, unless minutes decide."""
        return self.steps or self.warmup_steps + self.rounds * self.round_steps


class Experiment(Config):
    """Everything that decides a training run."""

    name: str
    family: str = Field(description="a registered family, or module:Class; empty: recorded episodes alone")
    model_name: str = Field("", validate_default=True, description="of the bundle; the experiment's unless given")
    manifest: str | None = Field(None, description="what the finished bundle is evaluated on")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of everything that is drawn at random")

    @field_validator("model_name", mode="after")
    @classmethod
    def _default_model_name(cls, value: str, info: Any) -> str:
        return value or str(info.data.get("name", ""))

    @property
    def decides_tasks(self) -> bool:
        """Whether the training decides how many tasks it demonstrates."""
        return self.training.automatic and "n_tasks" not in self.data.model_fields_set

    def with_seed(self, seed: int) -> "Experiment":
        """The same experiment with another seed."""
        return self.model_copy(update={"seed": seed})

    def with_steps(self, steps: int) -> "Experiment":
        """The same experiment with at most `steps` gradient steps in all, shared out to the phases."""
        training = self.training
        if training.automatic:
            return self.model_copy(update={"training": training.model_copy(update={"minutes": None, "steps": steps})})
        round_steps = max(1, steps * training.round_steps // training.total_steps)
        update = {
            "warmup_steps": max(1, steps - training.rounds * round_steps),
            "round_steps": round_steps,
            "anneal_steps": max(1, steps * training.anneal_steps // training.total_steps),
            "check_steps": min(training.check_steps, steps),
            "minutes": None,
        }
        return self.model_copy(update={"training": training.model_copy(update=update)})

    def with_minutes(self, minutes: float | None) -> "Experiment":
        """The same experiment, whose training may take so many minutes; None: as long as its steps take."""
        return self.model_copy(update={"training": self.training.model_copy(update={"minutes": minutes})})

    def with_staleness(self, steps: int) -> "Experiment":
        """The same experiment with trials that may be so many gradient steps old when they are first learnt from."""
        return self.model_copy(update={"training": self.training.model_copy(update={"staleness": steps})})

    def to_json(self) -> dict[str, Any]:
        """As JSON, without what nobody set: that may still be decided from data."""
        return self.model_dump(mode="json", exclude_unset=True)
