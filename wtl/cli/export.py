"""`wtl export-adaptation`: what a server has learnt, taken away."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from metalearn.data.errors import InvalidConfig
from wtl.cli.connection import HERE, Key, Url, connected


def export_adaptation(
    adaptation: Annotated[str, typer.Argument(help="Id of an adaptation.")],
    out: Annotated[Path | None, typer.Option(help="The archive: its episodes, and its policy as policy.onnx.")] = None,
    minari: Annotated[str | None, typer.Option(help="Write its episodes as a Minari dataset of this id.")] = None,
    only: Annotated[Literal["demos", "trials"] | None, typer.Option(help="Of the dataset: only these.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="An older version; the newest if not given.")] = None,
    no_policy: Annotated[bool, typer.Option("--no-policy", help="An archive without policy.onnx.")] = False,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Take an adaptation away from its server: as an archive that runs without it, as a Minari dataset, or both.

    \b
    Examples:
      wtl export-adaptation ID --out task.zip
      wtl export-adaptation ID --minari robot/recorded-v0 --only trials
    """
    from metalearn.data.formats import write_minari

    if out is None and minari is None:
        raise InvalidConfig("export where to? Name an archive with --out, a dataset with --minari, or both")
    if only is not None and minari is None:
        raise InvalidConfig("--only chooses what goes into a dataset: name it with --minari")
    with connected(url, key) as client:
        exported = client.adaptation(adaptation, version).export(policy=out is not None and not no_policy)
    context = exported.context
    if minari is not None:
        found = {"demos": context.demos, "trials": context.trials, None: context.demos + context.trials}[only]
        where = f"adaptation {exported.manifest['adaptation']}, version {exported.manifest['version']}"
        write_minari(minari, found, exported.spec, f"{only or 'episodes'} of {where}")
        typer.echo(f"{len(found)} episodes: minari:{minari}")
    if out is not None:
        exported.write(out)
        held = "its policy" if exported.policy is not None else "no policy"
        typer.echo(f"{len(context.demos)} demos, {len(context.trials)} trials, {held}: {out}")
