"""`wtl jobs`: training jobs of a server."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from wtl.cli.connection import HERE, Key, Url, connected
from wtl.cli.options import Json

if TYPE_CHECKING:
    from service.client import Client

jobs = typer.Typer(name="jobs", help="Meta-train on a server or its cluster.", no_args_is_help=True)
JobId = Annotated[str, typer.Argument(help="Of the job: `wtl jobs list` shows them.")]
_QUIET_S = 10.0


@jobs.command()
def create(
    experiment: Annotated[str, typer.Argument(help="A named experiment: `wtl experiments` lists them.")],
    seed: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Another seed than the usual one.")] = None,
    steps: Annotated[int | None, typer.Option(min=10, help="Gradient steps in all, instead of the usual.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model. [default: the experiment's]")] = None,
    job_id: Annotated[
        str | None, typer.Option("--id", help="Your own name of the job; the same again is one job.")
    ] = None,
    wait: Annotated[bool, typer.Option("--follow", help="Follow it to its end.")] = False,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Start a training; its model is served when it is done.

    \b
    Examples:
      wtl jobs create reach-m2 --follow
      wtl jobs create reach-m4 --seed 1 --name reach-m4-second --url http://robots:8000
    """
    body = {"experiment": experiment, "seed": seed, "steps": steps, "name": name, "id": job_id}
    with connected(url, key) as client:
        made = client.request("POST", "/v1/training-jobs", {k: v for k, v in body.items() if v is not None})
    typer.echo(made["id"])
    if wait:
        follow(made["id"], url, key)


@jobs.command("list")
def list_all(url: Url = HERE, key: Key = None, as_json: Json = False) -> None:
    """Every training job, oldest first."""
    from rich.table import Table

    with connected(url, key) as client:
        found = list(_pages(client))
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    table = Table("job", "experiment", "state", "progress", "model", "created", box=None, pad_edge=False)
    for job in found:
        table.add_row(job["id"], job["experiment"], job["state"], _progress(job), _model(job), job["created_at"][:16])
    Console().print(table if found else "no training jobs")


@jobs.command()
def show(job_id: JobId, url: Url = HERE, key: Key = None) -> None:
    """All that is known of a job, as JSON."""
    with connected(url, key) as client:
        typer.echo(json.dumps(client.request("GET", _path(job_id)), indent=1))


@jobs.command()
def logs(job_id: JobId, url: Url = HERE, key: Key = None) -> None:
    """The end of what the training printed."""
    with connected(url, key) as client:
        typer.echo(client.request("GET", f"{_path(job_id)}/logs")["text"], nl=False)


@jobs.command()
def stop(job_id: JobId, url: Url = HERE, key: Key = None) -> None:
    """Stop a job; one that has ended stays as it is."""
    with connected(url, key) as client:
        job = client.request("DELETE", _path(job_id))
    typer.echo(f"{job['id']}: {job['state'] if not _active(job) else 'stopping'}")


@jobs.command("follow")
def follow(job_id: JobId, url: Url = HERE, key: Key = None) -> None:
    """Watch a job to its end. Ctrl-C stops watching, not the job; exits with 1 if the job failed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console()
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[figures]}"))  # fmt: skip
    last: Mapping[str, Any] = {}
    with connected(url, key) as client, Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}
        for event in client.job(job_id).follow():
            data = event.data
            last = data if event.kind == "state" else last
            if event.kind == "progress":
                phase = data["phase"]
                if phase not in tasks:
                    tasks[phase] = bars.add_task(phase, total=data["total"], figures="")
                bars.update(tasks[phase], completed=data["done"], total=data["total"], figures=_figures(data))
            if not console.is_terminal or event.kind == "state":
                _say(console, event.kind, data)
    if last.get("state") == "failed":
        raise typer.Exit(1)


def _say(console: Console, kind: str, data: Mapping[str, Any]) -> None:
    if kind == "progress":
        text = f"{data['phase']:<12} {data['done']}/{data['total']}  {_figures(data)}".rstrip()
    else:
        made = f": {_model(data)}" if data.get("model") else ""
        text = data["state"] + made + (f": {data['error']}" if data.get("error") else "")
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def _pages(client: "Client") -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        params = {"limit": 100} | ({} if cursor is None else {"cursor": cursor})
        page = client.request("GET", "/v1/training-jobs", None, **params)
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _path(job_id: str) -> str:
    from urllib.parse import quote

    return f"/v1/training-jobs/{quote(job_id, safe='')}"


def _active(job: dict[str, Any]) -> bool:
    return job["state"] in {"queued", "running"}


def _model(job: Mapping[str, Any]) -> str:
    return f"{job['model']}@{job['model_version']}" if job.get("model") else ""


def _progress(job: dict[str, Any]) -> str:
    now = job["progress"]
    return f"{now['phase']} {now['done']}/{now['total']}" if now else ""


def _figures(data: Mapping[str, Any]) -> str:
    """Held-out success where it was measured, else the loss."""
    rates = [f"{name} {100 * data[name]:.0f}%" for name in ("trial", "retrial") if data.get(name) is not None]
    return "  ".join(rates) or (f"loss {data['loss']:.3f}" if data.get("loss") is not None else "")
