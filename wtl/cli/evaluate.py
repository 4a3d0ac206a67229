"""`wtl evaluate` and `wtl benchmark`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metalearn.data.errors import InvalidConfig
from wtl.cli.options import Seed


def evaluate(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of a shipped model.")],
    manifest: Annotated[
        str | None, typer.Option(help="The benchmark: its name or a JSON file. The experiment's if not given.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="The manifest's family, if it is your own module:Class.")] = None,
    seed: Seed = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="So many episodes, instead of the manifest's.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the report here (PNG).")] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep the report in the bundle.")] = False,
) -> None:
    """Measure a bundle on tasks that it has never seen, beside baselines, bound and controls.

    \b
    Examples:
      wtl evaluate reach --manifest reach-m2
      wtl evaluate runs/reach-m2 --json report.json --picture report.png
      wtl evaluate reach --seed 7 --episodes 500    # fresh unseen tasks
    """
    from metalearn.evaluation.table import print_report
    from wtl.runs import run_evaluation

    folder = bundle_folder(bundle)
    for path in (json, picture):
        if path and path.is_dir():
            raise InvalidConfig(f"{path} is a folder; name a file")
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)  # fail before the work rather than after it
    report = run_evaluation(folder, manifest, family, seed, episodes, picture, save, Console(stderr=True))
    print_report(report, Console())
    if json:
        typer.echo(f"report: {report.write(json)}")


def benchmark(
    suite: Annotated[str | None, typer.Argument(help="Which suite; without one they are listed.")] = None,
    methods: Annotated[str | None, typer.Option(help="Only these of the suite's methods, as a,b,c.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Training seeds, instead of the suite's number.")] = None,
    part: Annotated[
        str | None, typer.Option(help="Only these: methods,grid,tracks,speed,optimisers,generalisation.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report. [default: benchmarks/results/SUITE]")] = None,
    runs: Annotated[Path | None, typer.Option(help="Folder of the work. [default: runs/benchmark/SUITE]")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Collect in so many processes; 0: in this one.")] = 0,
    page: Annotated[bool, typer.Option("--page", help="Only draw the page again, from its report.json.")] = False,
) -> None:
    """Train what is not trained, measure everything side by side, and write a report and a page with pictures.

    Whatever is done is kept in the folder of the work: stopped or killed, the same command goes on where it was.
    Several commands may work on different parts of one suite at a time.

    \b
    Examples:
      wtl benchmark                                  # list the suites
      wtl benchmark smoke                            # everything in a minute, figures of no meaning
      wtl benchmark reach-m2 --seeds 1 --methods wtl,bc,replay
      wtl benchmark reach-m2 --part optimisers       # episodes to match one demo and one trial
      wtl benchmark reach-m2 --page                  # draw the page again
    """
    if suite is None:
        from metalearn.benchmark.suites import list_suites

        Console().print(list_suites())
    elif page:
        from metalearn.benchmark.page import draw_page_again

        typer.echo(f"page: {draw_page_again(suite, out)}")
    else:
        from metalearn.benchmark.command import run_named
        from metalearn.listeners.console import stop_request
        from wtl.runs import where_to_collect

        chosen, wanted = _listed(methods), _listed(part)
        with where_to_collect(workers, False, None) as collector, stop_request() as request:
            stopped = run_named(suite, wanted, chosen, seeds, out, runs, collector, request.asked, Console())
        if stopped:
            raise typer.Exit(128 + (request.signal or 0))


def _listed(text: str | None) -> tuple[str, ...]:
    """`a,b` as ("a", "b")."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def bundle_folder(name: str) -> Path:
    """The folder that a user means: a bundle's, a run's, or a shipped model by its name."""
    from service.settings import SHIPPED_MODELS

    given = Path(name)
    for folder in (given, given / "bundle", SHIPPED_MODELS / given.name):
        if (folder / "bundle.json").exists():
            return folder
    shipped = ", ".join(sorted(path.parent.name for path in SHIPPED_MODELS.glob("*/bundle.json"))) or "none"
    raise InvalidConfig(f"no bundle at {name} (shipped models: {shipped})")
