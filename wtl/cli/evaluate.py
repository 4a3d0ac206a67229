"""`wtl evaluate` and `wtl benchmark`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from metalearn.data.errors import InvalidConfig
from wtl.cli import completions
from wtl.cli.bundles import bundle_folder
from wtl.cli.options import BundleName, Family, Seed, Threads, Workers
from wtl.folders import nothing_left_of_a_failure
from wtl.threads import use_threads

if TYPE_CHECKING:
    from metalearn.data.episode import Episode


def evaluate(
    bundle: BundleName,
    manifest: Annotated[
        str | None,
        typer.Option(
            help="Evaluation manifest: its name or a JSON file. [default: that of the bundle's experiment, else "
            "test tasks of its family]",
            autocompletion=completions.manifests,
        ),
    ] = None,
    family: Family = None,
    seed: Seed = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Number of episodes, instead of the manifest's number.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report to this JSON file, and as a page (.html) beside it."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Plot the report to this PNG file.")] = None,
    threads: Threads = None,
    save: Annotated[bool, typer.Option("--save", help="Store the report in the bundle.")] = False,
) -> None:
    """Evaluate a bundle on test tasks, and compare it with baselines, an upper bound and controls.

    \b
    Examples:
      wtl evaluate reach --manifest reach-m2
      wtl evaluate runs/reach-m2 --report report.json --plot report.png
      wtl evaluate reach --seed 7 --episodes 500    # other test tasks
      wtl evaluate runs/doors                       # test tasks of the family of your own that it was trained on
    """
    use_threads(threads)
    from metalearn.evaluation.table import print_report
    from wtl.runs import run_evaluation

    folder = bundle_folder(bundle)
    written = [path for path in (report, plot) if path]
    for path in written:
        if path.is_dir():
            raise InvalidConfig(f"{path} is a folder; name a file")
    with nothing_left_of_a_failure(*(path.parent for path in written)):
        for path in written:
            path.parent.mkdir(parents=True, exist_ok=True)  # fail before the work rather than after it
        page = report.with_suffix(".html") if report and report.suffix != ".html" else None
        result = run_evaluation(folder, manifest, family, seed, episodes, plot, save, Console(stderr=True), page)
    print_report(result, Console())
    if report:
        typer.echo(f"report: {result.write(report)}")


def benchmark(
    suite: Annotated[
        str | None,
        typer.Argument(help="Name of a suite. Without one the suites are listed.", autocompletion=completions.suites),
    ] = None,
    methods: Annotated[str | None, typer.Option(metavar="A,B,C", help="Run only these of the suite's methods.")] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Number of training seeds, instead of the suite's number.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="Run only these parts: methods, grid, tracks, speed, optimisers, generalisation; "
            "of mirror: recognition, imitation, and for reach beyond, better, mirror, told; "
            "of asks: plain, gambling, return, control, goal, play, better; of ask-words: manifests.",
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="Family of demonstrators of mirror: grid-manners or cheetah-manners. [default: reach-manners]",
            autocompletion=completions.families,
        ),
    ] = None,
    person: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=][KIND:]PATH",
            help="Episodes that a person recorded in the family of mirror (`wtl play`), to be recognised among "
            "demonstrators. May be given several times.",
        ),
    ] = None,
    tasks: Annotated[int, typer.Option(min=20, help="Test tasks of each part, of mirror, asks and ask-words.")] = 500,
    out: Annotated[Path | None, typer.Option(help="Folder of the report. [default: benchmarks/results/SUITE]")] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of the intermediate results. [default: runs/benchmark/SUITE]")
    ] = None,
    workers: Workers = 0,
    threads: Threads = None,
    page: Annotated[
        bool, typer.Option("--page", help="Only draw the page again from an existing report.json.")
    ] = False,
) -> None:
    """Train and evaluate every method of a suite, and write a report and a page with plots.

    Intermediate results are kept: when it is stopped or killed, the same command resumes where it was. Several
    commands may work on different parts of one suite at the same time.

    \b
    Examples:
      wtl benchmark                                  # list the suites
      wtl benchmark smoke                            # everything in a minute, results without meaning
      wtl benchmark reach-m2 --seeds 1 --methods wtl,bc,replay
      wtl benchmark reach-m2 --part optimisers       # episodes to match one demo and one trial
      wtl benchmark reach-m2 --page                  # draw the page again
      wtl benchmark mirror                           # whom does it imitate, recognise, and does it know itself?
      wtl benchmark mirror --part told --tasks 50    # a part of it, on few tasks
      wtl benchmark mirror --family grid-manners     # the same of walkers in a grid
      wtl benchmark mirror --person ann=ann.npz      # is Ann told from the others?
      wtl benchmark asks --part goal                 # does it do what it is asked for?
      wtl benchmark ask-words                        # tasks in words, shown, tried, and all of it together
    """
    use_threads(threads)
    if suite != "mirror" and (family or person):
        raise InvalidConfig("--family and --person are options of `wtl benchmark mirror`")
    if suite is None:
        from metalearn.benchmark.suites import list_suites

        Console().print(list_suites())
    elif suite == "mirror":
        from metalearn.benchmark.watching import REACH, run
        from service.settings import SHIPPED_MODELS

        folder = out or Path("benchmarks/results/mirror")
        run(
            runs or Path("runs"), SHIPPED_MODELS, folder, family=family or REACH, parts=_listed(part), tasks=tasks,
            people=_people(person or ()), say=typer.echo,
        )  # fmt: skip
    elif suite == "asks":
        from metalearn.benchmark import asking

        folder = out or Path("benchmarks/results/asks")
        asking.run(runs or Path("runs"), folder, parts=_listed(part), tasks=tasks, say=typer.echo)
    elif suite == "ask-words":
        from metalearn.benchmark.ask_words import run as ask

        folder = out or Path("benchmarks/results/ask-words")
        ask(runs or Path("runs"), folder, parts=_listed(part), tasks=tasks, say=typer.echo)
    elif page:
        from wtl.report_page import write_suite_page

        typer.echo(f"page: {write_suite_page(suite, out)}")
    else:
        from metalearn.benchmark.command import run_named
        from metalearn.listeners.console import stop_request
        from wtl.report_page import write_suite_page
        from wtl.runs import make_collector

        chosen, wanted = _listed(methods), _listed(part)
        folders = runs or Path("runs/benchmark") / suite, out or Path("benchmarks/results") / suite
        with (
            nothing_left_of_a_failure(*folders),
            make_collector(workers, False, None) as collector,
            stop_request() as request,
        ):
            stopped = run_named(suite, wanted, chosen, seeds, out, runs, collector, request.asked, Console())
        if stopped:
            raise typer.Exit(128 + (request.signal or 0))
        write_suite_page(suite, out)


def _listed(text: str | None) -> tuple[str, ...]:
    """`a,b` as ("a", "b")."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _people(given: Sequence[str]) -> dict[str, tuple["Episode", ...]]:
    """The episodes of each person, by name. Raises InvalidConfig."""
    from wtl.cli.recordings import read_sources, selection_of

    found = {}
    for text in given:
        name, equals, source = text.partition("=")
        if not equals:
            name, source = Path(text).stem, text
        found[name] = read_sources([source], None, selection_of(None, "auto", None))[0].episodes
    if len(found) < len(given):
        raise InvalidConfig("--person: expected a name of its own for each, as ann=ann.npz")
    return found
