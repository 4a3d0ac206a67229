"""`wtl models`: the models in a folder, and the versions and aliases of models at a server. `wtl export`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metalearn.data.errors import InvalidConfig
from wtl.cli.connection import connected
from wtl.cli.options import DEFAULT_URL, Json, Key, Url
from wtl.cli.tables import print_table

if TYPE_CHECKING:
    from metalearn.bundle import Bundle
    from service.client import AliasChange


class _FolderFirst(typer.core.TyperGroup):
    """Takes `wtl models FOLDER` for `wtl models list FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        asks = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if asks else ["list", *args])


models = typer.Typer(
    name="models",
    help="List the models in a folder (`wtl models [FOLDER]`), and manage versions and aliases at a server.",
    cls=_FolderFirst,
)
Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model.")]
Alias = Annotated[
    str, typer.Argument(help="Name of an alias, such as stable. A name without an alias means `current`.")
]


@models.command("list")
def list_folder(
    folder: Annotated[
        Path | None, typer.Argument(help="Of bundles, one bundle, or of a run. [default: the shipped models]")
    ] = None,
) -> None:
    """List the bundles in a folder, with their evaluated success."""
    from service.registry.models_folder import ModelsFolder
    from service.settings import SHIPPED_MODELS

    at = folder or SHIPPED_MODELS
    if not at.is_dir():
        raise InvalidConfig(f"no folder of bundles at {at}")
    found = ModelsFolder.read(at)
    rows = []
    for name, bundle in found.bundles.items():
        size = ("discrete " if bundle.spec.discrete else "") + str(bundle.spec.action_size)
        asks = ", ".join(offer.kind for offer in bundle.asks) or "-"
        rows.append((name, bundle.id[:12], str(bundle.spec.observation_size), size, asks, _curve(bundle)))
    if rows:
        columns = ("model", "id", "observation", "action", "asks", "success after 0, 1, ... trials")
        print_table(columns, rows, whole=("model", "id"))
    elif not found.unusable:
        typer.echo(f"no bundles in {at}")
    if found.unusable:
        raise InvalidConfig(
            "; ".join(f"the bundle {name} cannot be used: {why}" for name, why in found.unusable.items())
        )


@models.command("upgrade")
def upgrade_folder(
    folder: Annotated[Path, typer.Argument(help="Of bundles, one bundle, or of a run.")],
) -> None:
    """Upgrade bundles of an earlier schema in place: the same numbers under the names of today.

    A bundle without an example demonstration or a model card (README.md) gets them, if its tasks can be run here.

    \b
    Examples:
      wtl models upgrade models
      wtl models upgrade runs/reach-m2/bundle
    """
    from metalearn.bundle_upgrade import upgrade

    failed = []
    for one in upgrade(folder):
        if one.problem is not None:
            failed.append(f"{one.folder}: {one.problem}")
        elif one.added:
            typer.echo(f"{one.folder}: {' and '.join(one.added)} added; it is {(one.before or '')[:12]} as before")
        elif one.after is None:
            typer.echo(f"{one.folder}: is of this schema already")
        else:
            typer.echo(f"{one.folder}: {(one.before or '')[:12]} is {one.after[:12]} now")
    if failed:
        raise InvalidConfig("not upgraded, and left as it was: " + "; ".join(failed))


@models.command("calibrate")
def calibrate_folder(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle, or of a run.")],
    cases: Annotated[int, typer.Option(min=8, help="Validation tasks whose experts are to be recognised.")] = 400,
) -> None:
    """Calibrate how a bundle recognises agents, on validation tasks of its family, and add its ONNX graphs.

    Bundles of `wtl train` are calibrated already. The id of the bundle stays the same: its policy does.

    \b
    Examples:
      wtl models calibrate runs/reach-m2
    """
    from metalearn.bundle import Bundle, run_bundle
    from metalearn.model.export import with_graphs
    from metalearn.training.recognition import calibrate_recognition

    folder = run_bundle(bundle) or bundle
    found = calibrate_recognition(Bundle.load(folder), n_cases=cases)
    if found.recognition is None:
        raise InvalidConfig(f"{folder}: its tasks have no expert here, or too few of them are for validation")
    with_graphs(found).save(folder)
    made = found.provenance["recognition"]
    typer.echo(f"{folder}: calibrated on {made['n_cases']} {made['split']} tasks of {made['family']}")


@models.command()
def register(
    name: Annotated[str | None, typer.Argument(help="Name of the bundle's folder. [default: all that are new]")] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Register a bundle of a running server's models folder as the current version of its model.

    \b
    Examples:
      wtl models register reach --url http://robots:8000
    """
    with connected(url, key) as client:
        for row in client.register(name):
            typer.echo(f"{row.name}@{row.version}  {row.bundle[:12]}")


@models.command()
def alias(
    name: Name,
    alias: Alias,
    version: Annotated[int, typer.Argument(min=1, help="Version to point the alias at.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Point an alias at a version of a model.

    \b
    Examples:
      wtl models alias reach stable 2
      wtl adapt --model reach@stable --from demos.npz
    """
    with connected(url, key) as client:
        _print_change(client.set_alias(name, alias, version))


@models.command()
def rollback(name: Name, alias: Alias, url: Url = DEFAULT_URL, key: Key = None) -> None:
    """Point an alias at the version it had before. Repeat it to go further back."""
    with connected(url, key) as client:
        _print_change(client.rollback(name, alias))


@models.command()
def aliases(name: Name, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False) -> None:
    """List the aliases of a model, and the history of their changes, the newest first."""
    with connected(url, key) as client:
        found = client.aliases(name)
    if as_json:
        typer.echo(
            json.dumps({"current": found.current, "history": [vars(change) for change in found.history]}, indent=1)
        )
        return
    typer.echo(", ".join(f"{name}@{one} is {version}" for one, version in found.current.items()) or "no aliases")
    rows = [
        (change.at[:19], change.alias, "-" if change.version is None else str(change.version), change.action)
        for change in found.history
    ]
    print_table(("at", "alias", "version", "by"), rows, whole=("at", "alias"))


def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle, or of a run.")],
) -> None:
    """Add ONNX graphs of the policy to a bundle, so that it can be served without torch.

    Bundles of `wtl train` have them already. The id of the bundle stays the same: the graphs refer to its weights.

    \b
    Examples:
      wtl export runs/reach-m2
      WTL_RUNTIME=onnx wtl serve --models runs/reach-m2/bundle
    """
    from metalearn.bundle import Bundle, run_bundle
    from metalearn.model.export import with_graphs

    folder = run_bundle(bundle) or bundle
    exported = with_graphs(Bundle.load(folder))
    exported.save(folder)
    for name in exported.graphs:
        typer.echo(f"{folder / name}.onnx")


def _print_change(change: "AliasChange") -> None:
    meaning = "nothing" if change.version is None else f"version {change.version}"
    typer.echo(f"{change.name}@{change.alias} is {meaning} now")


def _curve(bundle: "Bundle") -> str:
    if bundle.report is None:
        return "not measured"
    try:
        return ", ".join(f"{100 * point['success']:.1f}%" for point in bundle.report["methods"]["wtl"]["curve"])
    except (KeyError, TypeError, ValueError):
        return "measured by something else"
