"""`wtl export-adaptation`: an adaptation as an archive and a dataset, away from its server."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from metalearn.data.errors import InvalidConfig
from wtl.cli.connection import connected
from wtl.cli.options import DEFAULT_URL, AdaptationId, Key, Url


def export_adaptation(
    adaptation: AdaptationId,
    out: Annotated[
        Path | None, typer.Option(help="Write an archive here, with its episodes and its policy as policy.onnx.")
    ] = None,
    episodes_to: Annotated[
        str | None,
        typer.Option(metavar="[KIND:]PATH", help="Write its episodes here: trials.npz, minari:ID, or lerobot:DIR."),
    ] = None,
    only: Annotated[
        Literal["demos", "trials"] | None, typer.Option(help="Write only its demos, or only its trials.")
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Export this version instead of the newest.")] = None,
    no_policy: Annotated[bool, typer.Option("--no-policy", help="Leave policy.onnx out of the archive.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Export an adaptation from its server: as an archive that runs without one, as a dataset of its episodes, or both.

    \b
    Examples:
      wtl export-adaptation ID --out task.zip
      wtl export-adaptation ID --episodes-to minari:robot/recorded-v0 --only trials
      wtl export-adaptation ID --episodes-to lerobot:recorded
    """
    from metalearn.data.formats import write_episodes

    if out is None and episodes_to is None:
        raise InvalidConfig("export where to? Name an archive with --out, a dataset with --episodes-to, or both")
    if only is not None and episodes_to is None:
        raise InvalidConfig("--only chooses what goes into a dataset: name the dataset with --episodes-to")
    with connected(url, key) as client:
        exported = client.adaptation(adaptation, version).export(policy=out is not None and not no_policy)
    context = exported.context
    if episodes_to is not None:
        found = {"demos": context.demos, "trials": context.trials, None: context.demos + context.trials}[only]
        where = f"adaptation {exported.manifest['adaptation']}, version {exported.manifest['version']}"
        description = f"{only or 'episodes'} of {where}"
        write_episodes(episodes_to, found, rate_hz=exported.spec.rate_hz, spec=exported.spec, description=description)
        typer.echo(f"{len(found)} episodes: {episodes_to}")
    if out is not None:
        exported.write(out)
        held = "its policy" if exported.policy is not None else "no policy"
        typer.echo(f"{len(context.demos)} demos, {len(context.trials)} trials, {held}: {out}")
