"""`wtl jobs`: training jobs of a server."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from wtl.cli import completions
from wtl.cli.connection import connected
from wtl.cli.options import DEFAULT_URL, Json, Key, Minutes, Seed, Settings, Steps, Url
from wtl.cli.tables import print_table

if TYPE_CHECKING:
    from service.client import Client, TrainingJob

jobs = typer.Typer(
    name="jobs",
    help="Train models on a server or on its Ray cluster, and follow the training jobs.",
    no_args_is_help=True,
)
JobId = Annotated[str, typer.Argument(metavar="ID", help="Id of a job; `wtl jobs list` shows them.")]


@jobs.command()
def create(
    experiment: Annotated[
        str | None,
        typer.Argument(
            help="Name of an experiment; `wtl experiments` lists them.", autocompletion=completions.experiments
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="Train on an uploaded data set; a folder of one is uploaded first."),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(metavar="MODULE:CLASS", help="Your own family of tasks, of a module that the server allows."),
    ] = None,
    seed: Seed = None,
    steps: Steps = None,
    minutes: Minutes = None,
    settings: Settings = None,
    name: Annotated[str | None, typer.Option(help="Name of the model. [default: the experiment's]")] = None,
    job_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Your own id of the job; the same request twice is then one job."),
    ] = None,
    wait: Annotated[bool, typer.Option("--follow", help="Show the progress of the job until it ends.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Start a training job. The server serves its model as soon as it has finished.

    \b
    Examples:
      wtl jobs create reach-m2 --follow
      wtl jobs create reach-m4 --seed 1 --name reach-m4-second --url http://robots:8000
      wtl jobs create reach-m2 --set model.n_frames=16 --minutes 30
      wtl jobs create --dataset training --name mine    # a folder that `wtl convert dataset:training` made
    """
    from metalearn.settings import parse

    with connected(url, key) as client:
        if dataset is not None and Path(dataset).is_dir():
            dataset = _upload(client, Path(dataset))
        job = client.train(
            experiment,
            dataset=dataset,
            family=family,
            seed=seed,
            steps=steps,
            minutes=minutes,
            settings=parse(settings or ()),
            name=name,
            job_id=job_id,
        )
    typer.echo(job.id)
    if wait:
        follow(job.id, url, key)


def _upload(client: "Client", folder: Path) -> str:
    """Upload the data set in a folder under the folder's name, and return that."""
    from metalearn.data.dataset import Dataset

    found = client.put_dataset(folder.resolve().name, Dataset.load(folder).check())
    typer.echo(f"uploaded {found.name}: {found.n_tasks} tasks, {found.n_episodes} episodes", err=True)
    return found.name


@jobs.command("list")
def list_all(url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False) -> None:
    """List the training jobs, the oldest first."""
    with connected(url, key) as client:
        found = list(client.jobs())
    if as_json:
        public = [{name: value for name, value in vars(job).items() if not name.startswith("_")} for job in found]
        typer.echo(json.dumps(public, indent=1))
        return
    rows = [
        (
            job.id,
            job.experiment or job.dataset or job.family or "",
            job.state,
            _progress(job),
            _model(vars(job)),
            job.created_at[:16],
        )
        for job in found
    ]
    if not rows:
        typer.echo("no training jobs")
        return
    columns = ("job", "experiment", "state", "progress", "model", "created")
    print_table(columns, rows, whole=("job", "experiment", "model"))


@jobs.command()
def show(job_id: JobId, url: Url = DEFAULT_URL, key: Key = None) -> None:
    """Print everything that the server knows of a job, as JSON."""
    from urllib.parse import quote

    with connected(url, key) as client:
        typer.echo(json.dumps(client.request("GET", f"/v1/training-jobs/{quote(job_id, safe='')}"), indent=1))


@jobs.command()
def logs(job_id: JobId, url: Url = DEFAULT_URL, key: Key = None) -> None:
    """Print the end of a job's output."""
    with connected(url, key) as client:
        typer.echo(client.job(job_id).log(), nl=False)


@jobs.command()
def stop(job_id: JobId, url: Url = DEFAULT_URL, key: Key = None) -> None:
    """Stop a job. A job that has ended stays as it is."""
    with connected(url, key) as client:
        job = client.job(job_id).stop()
    typer.echo(f"{job.id}: {job.state if job.ended else 'stopping'}")


@jobs.command("follow")
def follow(job_id: JobId, url: Url = DEFAULT_URL, key: Key = None) -> None:
    """Show the progress of a job until it ends, and exit with 1 if it failed. Ctrl-C does not stop the job."""
    from metalearn.listeners.progress import show_progress

    console = Console()
    last: Mapping[str, Any] = {}
    with connected(url, key) as client, show_progress(console) as show_stage:
        for event in client.job(job_id).follow():
            if event.kind == "progress":
                data = event.data
                show_stage(data["phase"], data["done"], data["total"], _measured(data), data.get("ends_in_s"))
            else:
                last = event.data
                console.print(_state(last), highlight=False, soft_wrap=True, markup=False)
    if last.get("state") == "failed":
        raise typer.Exit(1)


def _state(data: Mapping[str, Any]) -> str:
    made = f": {_model(data)}" if data.get("model") else ""
    return str(data["state"]) + made + (f": {data['error']}" if data.get("error") else "")


def _model(job: Mapping[str, Any]) -> str:
    return f"{job['model']}@{job['model_version']}" if job.get("model") else ""


def _progress(job: "TrainingJob") -> str:
    from metalearn.listeners.progress import ending_in_words

    if not (now := job.progress):
        return ""
    said = (f"{now['phase']} {now['done']}/{now['total']}", _success(now))
    left = "" if job.ended else ending_in_words(now.get("ends_in_s"))
    return "  ".join(text for text in (*said, left) if text)


def _measured(data: Mapping[str, Any]) -> str:
    """Success on held-out tasks where it was measured, else the loss."""
    return _success(data) or (f"loss {data['loss']:.3f}" if data.get("loss") is not None else "")


def _success(data: Mapping[str, Any]) -> str:
    from metalearn.listeners.progress import success_in_words

    older = [data[name] for name in ("trial", "retrial") if data.get(name) is not None]  # all that older servers say
    return success_in_words(data.get("success") or older)
