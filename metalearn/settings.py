"""Settings: the fields of an experiment by their dotted names, as `model.n_frames=16`.

What can be set, what it means and how it is changed: the same for the command line, REST, jobs on Ray and sweeps.
Does not know what a field does.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from metalearn.config import Decided, Experiment, NamesCode, OfFixedPhases, Section, SetBy
from metalearn.data.errors import InvalidConfig

_KINDS = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}
_BOUNDS = {"ge": "at least {:,}", "gt": "more than {:,}", "le": "at most {:,}"}


class InvalidSetting(InvalidConfig):
    """A setting that there is not, or a value that it cannot have: which field, what was expected, what was got."""

    def __init__(self, field: str, expected: str, got: str, sentence: str = "") -> None:
        self.field, self.expected, self.got = field, expected, got
        self.sentence = sentence or f"{field}: expected {expected}, got {got}"
        super().__init__(self.sentence)

    def __reduce__(self) -> tuple[type["InvalidSetting"], tuple[str, str, str, str]]:
        """Exceptions cross process borders, where they are made anew."""
        return type(self), (self.field, self.expected, self.got, self.sentence)


@dataclass(frozen=True)
class Setting:
    """A field of an experiment.

    Attributes:
        name: `section.field`, or `seed`.
        expected: what a value has to be, in words.
        default: as JSON.
        meaning: what it decides, with its unit.
        decided: how an automatic training decides it where nobody sets it; empty: it has its default.
        of_fixed_phases: whether it has no effect in an automatic training.
        set_by: what decides it in place of a person; empty: nothing does.
        many: whether a value is a list.
        names_code: whether a value may name code, as module:function.
    """

    name: str
    expected: str
    default: Any
    meaning: str
    decided: str = ""
    of_fixed_phases: bool = False
    set_by: str = ""
    many: bool = False
    names_code: bool = False

    @property
    def shown_default(self) -> str:
        """The default in a few words, as it is written after `NAME=`."""
        return "-" if self.set_by else "automatic" if self.decided else json.dumps(self.default)

    @property
    def values(self) -> str:
        """What can be set, and what it is where nobody sets it, in words."""
        if self.set_by:
            return f"not for you to set: it follows from {self.set_by}"
        if self.of_fixed_phases:
            return f"{self.expected}; no effect in an automatic training"
        decided = f"; automatic: {self.decided}, otherwise {json.dumps(self.default)}" if self.decided else ""
        return self.expected + decided

    @classmethod
    def of(cls, name: str, info: FieldInfo, default: Any) -> "Setting":
        """What a field's annotation and its marks say."""
        return cls(
            name,
            _expected(info),
            default,
            info.description or "",
            decided=next((mark.how for mark in info.metadata if isinstance(mark, Decided)), ""),
            of_fixed_phases=any(isinstance(mark, OfFixedPhases) for mark in info.metadata),
            set_by=next((mark.what for mark in info.metadata if isinstance(mark, SetBy)), ""),
            many=any(get_origin(one) is tuple for one in (info.annotation, *get_args(info.annotation))),
            names_code=any(isinstance(mark, NamesCode) for mark in info.metadata),
        )


@cache
def settings() -> Mapping[str, Setting]:
    """All settings by name, in the order of the configuration."""
    found: dict[str, Setting] = {}
    usual = Experiment(name="any", family="").model_dump(mode="json")
    for name, part in Experiment.model_fields.items():
        if isinstance(part.annotation, type) and issubclass(part.annotation, Section):
            for field, info in part.annotation.model_fields.items():
                found[f"{name}.{field}"] = Setting.of(f"{name}.{field}", info, usual[name][field])
    return found | {"seed": Setting.of("seed", Experiment.model_fields["seed"], usual["seed"])}


def parse(pairs: Iterable[str]) -> dict[str, Any]:
    """`NAME=VALUE` each, as `value_of` reads values. Raises InvalidSetting."""
    read: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise InvalidSetting("--set", "NAME=VALUE, as model.n_frames=16", repr(pair))
        if name.strip() in read:
            raise InvalidSetting(name.strip(), "one value", "two")
        read[name.strip()] = value_of(text)
    return read


def value_of(text: str) -> Any:
    """JSON (`16`, `true`, `null`, `[1, 2]`), several numbers with commas between them, or else a word."""
    for candidate in (text, f"[{text}]"):
        try:
            return json.loads(candidate)
        except ValueError:
            continue
    return text.strip()


def with_settings(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """The experiment with other values of some fields, as {"model.n_frames": 16}, which then count as set.

    Raises:
        InvalidSetting: a field that there is not, with the nearest one, or that is not for people to set; a value
            that it cannot have.
    """
    if not changes:
        return experiment
    content = experiment.model_dump(exclude_unset=True)  # what nobody set may still be decided
    for name, value in changes.items():
        setting = _find(name)
        section, _, field = name.rpartition(".")
        (content.setdefault(section, {}) if section else content)[field] = _canonical(value, setting.many)
    try:
        return Experiment.model_validate(content, strict=True)
    except ValidationError as error:
        raise _fault(error) from error


def decided(
    experiment: Experiment,
    changes: Mapping[str, Any],
    *,
    seed: int | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    staleness: int | None = None,
) -> Experiment:
    """The experiment with settings and with what has an option of its own; None: not given.

    Raises:
        InvalidSetting: as `with_settings`; an option decides again what a setting or another option decides; a setting
            without effect, since the training is automatic.
    """
    if steps is not None and minutes is not None:
        both = "steps and minutes both say when the training ends: leave one of them out"
        raise InvalidSetting("minutes", "no minutes beside steps", "both", both)
    wanted = changed = with_settings(experiment, changes)
    wanted = wanted if seed is None else wanted.with_seed(seed)
    wanted = wanted if steps is None else wanted.with_steps(steps)
    wanted = wanted if minutes is None else wanted.with_minutes(minutes)
    wanted = wanted if staleness is None else wanted.with_staleness(staleness)
    for name in changes:
        if settings()[name].of_fixed_phases and wanted.training.automatic:
            free = "the phases of this training end by themselves, unless training.minutes and training.steps are null"
            raise InvalidSetting(name, "no value", "one", f"{name} has no effect: {free}")
        if _value(wanted, name) != _value(changed, name):
            given = {"seed": seed, "steps": steps, "minutes": minutes, "staleness": staleness}
            options = " or ".join(option for option, value in given.items() if value is not None)
            sentence = f"{name} is set, and {options} decides it too: leave one of them out"
            raise InvalidSetting(name, f"no value beside {options}", "both", sentence)
    return wanted


def _value(experiment: Experiment, name: str) -> Any:
    section, _, field = name.rpartition(".")
    return getattr(getattr(experiment, section) if section else experiment, field)


def _find(name: str) -> Setting:
    known = settings()
    if name not in known:
        by_field = {one.rpartition(".")[2]: one for one in known}
        close = difflib.get_close_matches(name, known, n=1) or [
            by_field[field] for field in difflib.get_close_matches(name.rpartition(".")[2], by_field, 1, cutoff=0.7)
        ]
        hint = f"did you mean {close[0]}?" if close else "`wtl settings` lists them"
        expected = close[0] if close else "a setting that `wtl settings` lists"
        raise InvalidSetting(name[:80], expected, "an unknown name", f"unknown setting {name[:80]!r}; {hint}")
    if by := known[name].set_by:
        raise InvalidSetting(name, "no value", "one", f"{name} is not for you to set: it follows from {by}")
    return known[name]


def _canonical(value: Any, many: bool) -> Any:
    """Several values where several are meant, and a whole number without its decimal point."""
    if many and isinstance(value, str):
        return tuple(value_of(part) for part in value.split(",") if part.strip())
    if many and value is not None:
        return tuple(value) if isinstance(value, list | tuple) else (value,)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fault(error: ValidationError) -> InvalidSetting:
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"]]
    setting = next(one for one in settings().values() if where[: one.name.count(".") + 1] == one.name.split("."))
    name = ".".join(where)
    if setting.many or name == setting.name:
        return InvalidSetting(setting.name, setting.expected, _short(first["input"]))
    if first["type"] == "missing":
        return InvalidSetting(name, "a value", "nothing")
    return InvalidSetting(name, first["msg"].removeprefix("Input should be "), _short(first["input"]))


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _expected(info: FieldInfo) -> str:
    """What a value has to be, in words, from the annotation and the bounds of a field."""
    bounds = [
        text.format(getattr(bound, name)) for bound in info.metadata for name, text in _BOUNDS.items()
        if getattr(bound, name, None) is not None
    ]  # fmt: skip
    several = get_args(info.annotation)
    null = NoneType in several
    kind = _kind(next(one for one in several if one is not NoneType) if null else info.annotation)
    examples = [f"as {' or '.join(map(str, info.examples))}"] if info.examples else []
    return ", ".join([kind + " or null" * null, *(bounds and [" and ".join(bounds)]), *examples])


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is tuple:
        return f"a list of {_KINDS.get(get_args(annotation)[0], 'an object').split(' ', 1)[1]}s"
    if issubclass(annotation, Section):
        return f"an object of {', '.join(annotation.model_fields)}"
    return _KINDS.get(annotation, "an object")
