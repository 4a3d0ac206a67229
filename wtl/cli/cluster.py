"""`wtl submit`, `wtl tune` and `wtl rl-module`: training jobs and sweeps on a Ray cluster, and policies for RLlib."""

from pathlib import Path
from typing import Annotated

import typer

from wtl.cli.bundles import bundle_folder
from wtl.cli.options import BundleName, ExperimentName, Minutes, RayAddress, Seed, Settings, Steps
from wtl.cli.tables import print_table
from wtl.folders import nothing_left_of_a_failure
from wtl.next_lines import command


def rl_module(
    bundle: BundleName,
    out: Annotated[Path, typer.Argument(help="Folder for the checkpoint, which must be new or empty.")],
) -> None:
    """Export a bundle's policy as a checkpoint for RLlib's RLModule.from_checkpoint.

    \b
    Examples:
      wtl rl-module reach runs/reach-module
    """
    import logging

    from metalearn.bundle import Bundle
    from metalearn.cluster.policy_module import export_module

    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of its own use of what it deprecates
    with nothing_left_of_a_failure(out):
        folder = export_module(Bundle.load(bundle_folder(bundle)), out)
    typer.echo(f"checkpoint: {folder}\n  RLModule.from_checkpoint({str(folder.absolute())!r})")


def submit(
    experiment: ExperimentName,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Further arguments for `wtl train`, after a --.")
    ] = None,
    address: Annotated[
        str, typer.Option(metavar="URL", envvar="RAY_API_SERVER_ADDRESS", help="Dashboard of the Ray cluster.")
    ] = "http://127.0.0.1:8265",
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Keep the run at URL/ID. [default: on the node that runs the job]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Fetch the bundle to OUT/bundle. [default: runs/ID]")] = None,
    name: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Id of the job. [default: made from the arguments]")
    ] = None,
    working_dir: Annotated[
        Path | None,
        typer.Option(help="Upload this folder and run the code in it. [default: what is installed there]"),
    ] = None,
    seed: Seed = None,
    steps: Steps = None,
    minutes: Minutes = None,
    settings: Settings = None,
    again: Annotated[bool, typer.Option("--again", help="Resume a job that failed or was stopped.")] = False,
    wait: Annotated[bool, typer.Option(help="Follow the log and fetch the bundle.")] = True,
) -> None:
    """Train on a Ray cluster: submit a job, follow its log, and fetch its bundle.

    Ctrl-C does not stop the job: the same command finds it again, from another machine too. The token for a cluster
    that asks for one comes from RAY_AUTH_TOKEN, from the file RAY_AUTH_TOKEN_PATH, or from ~/.ray/auth_token.

    \b
    Examples:
      wtl submit reach-m2 --address http://head:8265
      wtl submit reach-m2 --working-dir . --seed 1 --minutes 30 --set model.n_frames=16 -- --actors 8
      wtl submit push --storage s3://bucket/runs
    """
    from rich.console import Console

    from metalearn.cluster.submit import Cluster, Submission, arguments_of, shown
    from metalearn.experiments import find_experiment

    given = arguments_of(find_experiment(experiment), settings or (), seed=seed, steps=steps, minutes=minutes)
    wanted = Submission(experiment, (*given, *(arguments or ())), storage, name)
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
    console.print(f"\n{bundle.name} is trained: {folder}", soft_wrap=True, markup=False)
    for line in (command("evaluate", folder), command("serve", "--models", folder)):
        console.print(f"  {line}", soft_wrap=True, markup=False)


def tune(
    experiment: ExperimentName,
    space: Annotated[
        list[str],
        typer.Option(metavar="KEY=A,B|FILE", help="Values to try, or a JSON file of them. May be given several times."),
    ],
    samples: Annotated[
        int | None, typer.Option(min=1, help="Number of random combinations to try, instead of all of them.")
    ] = None,
    storage: Annotated[str, typer.Option(metavar="URL", help="Folder or URL to keep the sweep in.")] = "runs/sweeps",
    name: Annotated[str | None, typer.Option(help="Name of the sweep. [default: EXPERIMENT]")] = None,
    steps: Steps = None,
    seed: Seed = None,
    settings: Settings = None,
    ray_address: RayAddress = None,
) -> None:
    """Tune the settings of an experiment on a Ray cluster, with early stopping of the worse runs (ASHA).

    Runs are compared by their success on validation tasks. When it is stopped or killed, the same command resumes.

    \b
    Examples:
      wtl tune reach-m2 --space training.learning_rate=1e-3,3e-3 --space model.n_hypotheses=2,4
      wtl tune reach-m2 --set model.n_frames=16 --space model.latent_dim=64,128    # `wtl settings` lists the names
      wtl tune push --space space.json --samples 32 --storage s3://bucket/sweeps
    """
    from metalearn.cluster.sweep import Sweep, parse_space, run_sweep
    from metalearn.experiments import find_experiment
    from metalearn.settings import decided, parse

    given = parse(settings or ())
    wanted = decided(find_experiment(experiment), given, seed=seed, steps=steps)
    if steps is None and wanted.training.automatic and given.keys().isdisjoint(("training.minutes", "training.steps")):
        wanted = wanted.with_steps(wanted.training.total_steps)  # how far runs get in minutes depends on each other
    sweep = Sweep(wanted, parse_space(space), samples, storage, name or wanted.name)
    tried = run_sweep(sweep, ray_address)
    rows = []
    for one in tried:
        changes = ", ".join(f"{key}={value}" for key, value in one.changes.items())
        rows.append((f"{100 * one.first:.0f}%", f"{100 * one.success:.0f}%", str(one.steps), changes))
    print_table(("trial", "retrial", "steps", "settings"), rows, whole=("settings",))
    typer.echo(f"\nbest: {sweep.url}/best.json\nits run: {tried[0].run}")
