"""What a client may ask of a training job: settings that exist, enough uploaded tasks, families that are allowed."""

from collections.abc import Collection

from metalearn.data.dataset import FEWEST_TASKS
from metalearn.experiments import EXPERIMENTS, own_experiment
from metalearn.settings import InvalidSetting, decided, settings
from service.errors import CodeNotAllowed, FamilyNotAllowed, InvalidPayload, quote
from service.storage.dataset_store import UploadedDataset
from service.training_jobs.records import JobRequest


def check_settings(job: JobRequest, modules: Collection[str]) -> None:
    """Check the settings of a job, and that they name code of these modules alone, or of modules inside of them.

    Raises:
        InvalidPayload: a setting is none, cannot have its value, or contradicts the rest of the request.
        CodeNotAllowed: a setting names code of another module.
    """
    experiment = EXPERIMENTS.get(job.experiment) or own_experiment("any", "")
    try:
        decided(experiment, job.settings, seed=job.seed, steps=job.steps, minutes=job.minutes)
    except InvalidSetting as error:
        field = error.field if error.field == "minutes" else f"settings.{error.field}"
        raise InvalidPayload(str(error), field=field, expected=error.expected, got=error.got) from error
    for name, value in job.settings.items():
        if settings()[name].names_code and ":" in str(value) and not _is_allowed(str(value), modules):
            raise CodeNotAllowed(
                f"this server does not import {quote(str(value))}",
                field=f"settings.{name}",
                expected=_allowed(modules, "code"),
                got=quote(str(value)),
            )


def check_family(family: str, modules: Collection[str]) -> None:
    """Raise FamilyNotAllowed unless the module of `module:Class` is one of these modules, or inside one of them."""
    if not _is_allowed(family, modules):
        raise FamilyNotAllowed(
            f"this server does not train families of {quote(family.partition(':')[0])}",
            field="family",
            expected=_allowed(modules, "a class"),
            got=quote(family),
        )


def _is_allowed(code: str, modules: Collection[str]) -> bool:
    module = code.partition(":")[0]
    return any(module == allowed or module.startswith(f"{allowed}.") for allowed in modules)


def _allowed(modules: Collection[str], what: str) -> str:
    return f"{what} of {', '.join(sorted(modules))}" if modules else "none: WTL_TRAINING_FAMILIES allows no module"


def check_enough_tasks(dataset: UploadedDataset) -> None:
    """Raise InvalidPayload if there are too few tasks to learn what tasks differ in."""
    n_tasks = len(dataset.task_names)
    if n_tasks < FEWEST_TASKS:
        expected, got = f"a data set of at least {FEWEST_TASKS} tasks", f"{n_tasks} in {quote(dataset.name)}"
        raise InvalidPayload(f"dataset: expected {expected}, got {got}", field="dataset", expected=expected, got=got)
