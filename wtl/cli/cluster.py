"""`wtl submit`, `wtl tune` and `wtl rl-module`: what a Ray cluster takes from here, and gives back."""

from pathlib import Path
from typing import Annotated

import typer

from wtl.cli.evaluate import bundle_folder
from wtl.cli.options import Seed


def rl_module(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of a shipped model.")],
    out: Annotated[Path, typer.Argument(help="Folder of the checkpoint; new or empty.")],
) -> None:
    """Export the policy of a bundle as a checkpoint that RLlib's RLModule.from_checkpoint loads.

    \b
    Examples:
      wtl rl-module reach runs/reach-module
    """
    import logging

    from metalearn.bundle import Bundle
    from metalearn.cluster.policy_module import export_module

    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of its own use of what it deprecates
    folder = export_module(Bundle.load(bundle_folder(bundle)), out)
    typer.echo(f"checkpoint: {folder}\n  RLModule.from_checkpoint({str(folder.absolute())!r})")


def submit(
    experiment: Annotated[str, typer.Argument(help="A named experiment: `wtl experiments` lists them.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="After --: more arguments of `wtl train`.")] = None,
    address: Annotated[str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="Of the cluster's dashboard.")] = (
        "http://127.0.0.1:8265"
    ),
    storage: Annotated[
        str | None, typer.Option(help="Keep run and bundle at URL/ID, any fsspec URL; else on the job's node.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Fetch the bundle to OUT/bundle. [default: runs/ID]")] = None,
    name: Annotated[str | None, typer.Option("--id", help="Of the job, instead of one that follows from it.")] = None,
    working_dir: Annotated[
        Path | None, typer.Option(help="Upload this folder and run what is in it; else what the cluster has.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Go on with a job that failed or was stopped.")] = False,
    wait: Annotated[bool, typer.Option(help="Follow the log and fetch the bundle.")] = True,
) -> None:
    """Train on a Ray cluster as a job: submit it, follow it, fetch its bundle.

    Ctrl-C ends the watching, not the job: the same command finds it again, also from another machine. A cluster
    that wants a token gets that of RAY_AUTH_TOKEN, of the file RAY_AUTH_TOKEN_PATH, or of ~/.ray/auth_token.

    \b
    Examples:
      wtl submit reach-m2 --address http://head:8265
      wtl submit reach-m2 --working-dir . -- --seed 1 --steps 500
      wtl submit push --storage s3://bucket/runs
    """
    from rich.console import Console

    from metalearn.cluster.submit import Cluster, Submission, shown
    from metalearn.experiments import find_experiment

    wanted = Submission(find_experiment(experiment).name, tuple(arguments or ()), storage, name)
    console, cluster = Console(highlight=False), Cluster(address)
    started = cluster.submit(wanted, working_dir, again)
    console.print(f"job {wanted.id}: {'submitted' if started else 'was submitted before'}; {address}")
    if not wait:
        return
    folder = (out or Path("runs") / wanted.id) / "bundle"
    try:
        with console.status(f"job {wanted.id} at {address}"):
            for line in shown(cluster.follow(wanted.id)):
                console.print(line, markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print(f"job {wanted.id} goes on; the same command finds it again")
        raise
    bundle = cluster.fetch(wanted.id, folder)
    console.print(f"\n{bundle.name} is trained: {folder}\n  wtl evaluate {folder}\n  wtl serve --models {folder}")


def tune(
    experiment: Annotated[str, typer.Argument(help="A named experiment: `wtl experiments` lists them.")],
    space: Annotated[list[str], typer.Option(help="What to vary: KEY=a,b,c, or a JSON file. Several may be given.")],
    samples: Annotated[
        int | None, typer.Option(min=1, help="Draw so many runs at random, instead of every combination.")
    ] = None,
    storage: Annotated[str, typer.Option(help="Folder or fsspec URL that the sweep is kept below.")] = "runs/sweeps",
    name: Annotated[str | None, typer.Option(help="Of the sweep there. [default: EXPERIMENT]")] = None,
    steps: Annotated[int | None, typer.Option(min=10, help="Gradient steps of a run, instead of the usual.")] = None,
    seed: Seed = None,
    ray_address: Annotated[str | None, typer.Option(help="The Ray cluster, as host:port; else one here.")] = None,
) -> None:
    """Try settings of an experiment side by side on a Ray cluster, and stop early those that learn less (ASHA).

    Judged by success on validation tasks. Interrupted or killed, the same command goes on where it was.

    \b
    Examples:
      wtl tune reach-m2 --space training.learning_rate=1e-3,3e-3 --space model.n_hypotheses=2,4
      wtl tune push --space space.json --samples 32 --storage s3://bucket/sweeps
    """
    from rich.console import Console
    from rich.table import Table

    from metalearn.cluster.sweep import Sweep, parse_space, run_sweep
    from metalearn.experiments import find_experiment

    wanted = find_experiment(experiment)
    wanted = wanted if seed is None else wanted.with_seed(seed)
    wanted = wanted if steps is None else wanted.with_steps(steps)
    sweep = Sweep(wanted, parse_space(space), samples, storage, name or wanted.name)
    tried = run_sweep(sweep, ray_address)
    table = Table("trial", "retrial", "steps", "settings", box=None, pad_edge=False)
    for one in tried:
        settings = ", ".join(f"{key}={value}" for key, value in one.changes.items())
        table.add_row(f"{100 * one.first:.0f}%", f"{100 * one.success:.0f}%", str(one.steps), settings)
    Console().print(table)
    typer.echo(f"\nbest: {sweep.url}/best.json\nits run: {tried[0].run}")
