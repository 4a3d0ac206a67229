"""Sweeps over an experiment's settings by Ray Tune: ASHA (Li et al., 2020, arXiv 1810.05934) on validation success.

A run's folder follows from its settings, and the loop resumes from its own checkpoints there: so a sweep that was
killed goes on, and what was trained is never trained again. Never looks at test tasks.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import fsspec
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator

from metalearn.cluster.connection import connect
from metalearn.cluster.workers import extend_search_path
from metalearn.config import Experiment
from metalearn.data.errors import InvalidConfig
from metalearn.data.names import check_file_names
from metalearn.data.reading import read_json
from metalearn.settings import decided, value_of, with_settings
from metalearn.training.events import Event
from metalearn.training.loop import train
from metalearn.training.run_store import RunStore

Range = Mapping[str, Sequence[float]]
Space = Mapping[str, Sequence[Any] | Range]
"""Of each dotted field of an experiment the values to try, or a range: {"uniform": [a, b]}, loguniform or randint."""

RANGES = {"uniform": tune.uniform, "loguniform": tune.loguniform, "randint": tune.randint}
REDUCTION = 3  # of runs, from one rung of ASHA to the next
RUNGS_FROM = 8  # the first rung is at this part of the steps
ATTEMPTS = 3


@dataclass(frozen=True)
class Sweep:
    """A sweep over settings of an experiment.

    Attributes:
        experiment: what all runs have in common.
        space: what they differ in.
        samples: runs drawn at random; None: every combination of the listed values.
        storage: folder or URL that any fsspec knows; the sweep is below it.
        name: of the sweep there.
    """

    experiment: Experiment
    space: Space
    samples: int | None
    storage: str
    name: str

    def __post_init__(self) -> None:
        check_file_names("--name", [self.name])
        for key, values in self.space.items():
            if not isinstance(values, Mapping):
                for value in values:
                    decided(self.experiment, {key: value})
                continue
            ((kind, bounds),) = values.items() if len(values) == 1 else ((None, ()),)
            if kind not in RANGES or len(bounds) != 2 or not bounds[0] < bounds[1]:
                raise InvalidConfig(f"{key}: expected one of {', '.join(RANGES)} with [low, high], got {dict(values)}")
            if self.samples is None:
                raise InvalidConfig(f"{key} is a range: say how many --samples to draw")
            decided(self.experiment, {key: bounds[0]})
        if not self.space:
            raise InvalidConfig("a sweep over nothing: give at least one KEY=a,b,c")
        if not self.experiment.family or self.experiment.training.check_tasks == 0:
            raise InvalidConfig("a sweep needs validation tasks: an experiment with a family and check_tasks")

    @cached_property
    def url(self) -> str:
        """The folder or URL of the sweep."""
        root = self.storage if "://" in self.storage else str(Path(self.storage).absolute())
        return f"{root.rstrip('/')}/{self.name}"

    def to_json(self) -> dict[str, Any]:
        """The fields that decide its results, as JSON."""
        return {"experiment": self.experiment.to_json(), "space": dict(self.space), "samples": self.samples}


@dataclass(frozen=True)
class TrialResult:
    """One run: its changes, the steps it took, and its success on validation tasks with and without a trial.

    `ended` says that it was not stopped early.
    """

    changes: dict[str, Any]
    steps: int
    success: float
    first: float
    run: str
    ended: bool

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"changes": self.changes, "steps": self.steps, "retrial": self.success, "trial": self.first} | {
            "run": self.run
        }


def run_sweep(sweep: Sweep, address: str | None = None) -> list[TrialResult]:
    """Run the sweep, or what is left of it; return the best run first. Writes `results.json` and `best.json`.

    Raises:
        InvalidConfig: another sweep of that name, no cluster, or nothing that succeeded.
    """
    _check_folder(sweep)
    connect(address)
    trainable = tune.with_resources(
        partial(
            _try,
            common=sweep.experiment.model_dump(mode="json", exclude_unset=True),
            url=sweep.url,
            search_path=tuple(sys.path),
        ),
        {"cpu": 1},
    )
    space = {key: _domain(values, sweep.samples) for key, values in sweep.space.items()}
    place = f"{sweep.url}/tune"
    if tune.Tuner.can_restore(place):
        tuner = tune.Tuner.restore(place, trainable, resume_errored=True, param_space=space)
    else:
        tuner = _tuner(sweep, trainable, space)
    # What was begun is counted by its runs, not by its reports: a run that went on reports only its later steps.
    tried = [
        _result_of(sweep, result.metrics) for result in tuner.fit() if result.metrics and "success" in result.metrics
    ]
    automatic = sweep.experiment.training.automatic
    if not tried:
        raise InvalidConfig(f"no run of {sweep.name} came to its first look at validation tasks; see {place}")
    # The longer a run was let go on the better it was; one that ended by itself may have taken few steps.
    tried.sort(key=lambda one: (one.ended, one.success) if automatic else (one.steps, one.success), reverse=True)
    _write(f"{sweep.url}/results.json", [one.to_json() for one in tried])
    best = with_settings(sweep.experiment, tried[0].changes)
    _write(f"{sweep.url}/best.json", tried[0].to_json() | {"experiment": best.to_json()})
    return tried


def _tuner(sweep: Sweep, trainable: Any, space: dict[str, Any]) -> Any:
    total = sweep.experiment.training.total_steps
    scheduler = ASHAScheduler(
        time_attr="steps",
        max_t=total,
        grace_period=max(1, min(total, total // RUNGS_FROM)),
        reduction_factor=REDUCTION,
    )
    return tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="success",
            mode="max",
            num_samples=sweep.samples or 1,
            scheduler=scheduler,
            search_alg=BasicVariantGenerator(random_state=sweep.experiment.seed),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=sweep.url,
            failure_config=tune.FailureConfig(max_failures=ATTEMPTS - 1),
            callbacks=[Lines()],
            verbose=0,
        ),
    )


class Lines(tune.Callback):  # type: ignore[misc]  # Ray has no types
    """A line for every look at validation tasks."""

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Print a line; Tune calls this."""
        if "success" in result:
            done = sum(one.is_finished() for one in trials)
            changes = ", ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
                                for key, value in result["config"].items())  # fmt: skip
            print(  # noqa: T201
                f"{done}/{len(trials)} done  {changes}: step {result['steps']}, "
                f"trial {100 * result['first']:.0f}%, retrial {100 * result['success']:.0f}%",
                flush=True,
            )


def _try(config: dict[str, Any], *, common: dict[str, Any], url: str, search_path: Sequence[str]) -> None:
    """One run, in a worker of Tune: told about every look at validation tasks, and stopped by it."""
    extend_search_path(search_path)
    experiment = with_settings(Experiment.model_validate(common), config)
    run = _run_url(url, experiment)
    if "://" in run:
        store = RunStore(Path(tune.get_context().get_trial_dir()) / "run", run)
        store.folder.mkdir(parents=True, exist_ok=True)
    else:
        store = RunStore(Path(run))

    def listen(event: Event) -> None:
        # The last look is told when the bundle is there: ASHA ends a run that came to the end at once.
        if len(event.success) > 1 and event.done < event.total:
            first, second, *_ = event.success
            tune.report({"steps": event.done, "success": second, "first": first, "loss": event.loss})

    bundle = train(experiment, store, listen=listen)
    last = bundle.provenance["history"][-1]
    seen = {"steps": last["step"], "success": last["retrial"], "first": last["trial"], "loss": last["loss"]}
    tune.report(seen | {"ended": True})


def parse_space(texts: Sequence[str]) -> Space:
    """`KEY=a,b,c` (values as JSON has them, or words), or the name of a JSON file. Raises InvalidConfig."""
    space: dict[str, Any] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if equals:
            space[key.strip()] = [value_of(part) for part in values.split(",")]
            continue
        try:
            read = read_json(Path(text))
        except (OSError, ValueError) as error:
            raise InvalidConfig(f"--space: expected KEY=a,b,c or a JSON file, got {text!r}") from error
        if not isinstance(read, dict) or not all(isinstance(v, list | dict) for v in read.values()):
            raise InvalidConfig(f"{text}: expected an object of lists and ranges")
        space |= read
    return space


def _domain(values: Sequence[Any] | Range, samples: int | None) -> Any:
    if isinstance(values, Mapping):
        ((kind, (low, high)),) = values.items()
        return RANGES[kind](low, high)
    return tune.grid_search(list(values)) if samples is None else tune.choice(list(values))


def _run_url(url: str, experiment: Experiment) -> str:
    digest = hashlib.sha256(json.dumps(experiment.to_json(), sort_keys=True).encode()).hexdigest()
    return f"{url}/runs/{digest[:16]}"


def _result_of(sweep: Sweep, metrics: Mapping[str, Any]) -> TrialResult:
    changes = dict(metrics["config"])
    run = _run_url(sweep.url, with_settings(sweep.experiment, changes))
    success, first = float(metrics["success"]), float(metrics["first"])
    return TrialResult(changes, int(metrics["steps"]), success, first, run, bool(metrics.get("ended")))


def _check_folder(sweep: Sweep) -> None:
    """Write `sweep.json`, or check that it describes the same sweep. Raises InvalidConfig."""
    place = f"{sweep.url}/sweep.json"
    filesystem, path = fsspec.url_to_fs(place)
    if not filesystem.exists(path):
        _write(place, sweep.to_json())
    elif json.loads(filesystem.cat_file(path)) != json.loads(json.dumps(sweep.to_json())):
        raise InvalidConfig(f"{sweep.url} holds another sweep: give this one another --name")


def _write(url: str, value: Any) -> None:
    filesystem, path = fsspec.url_to_fs(url)
    filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
    filesystem.pipe_file(path, (json.dumps(value, indent=1) + "\n").encode())
