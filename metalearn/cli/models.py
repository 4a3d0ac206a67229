"""`wtl models`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from metalearn.data.errors import InvalidConfig

if TYPE_CHECKING:
    from metalearn.bundle import Bundle


def models(
    folder: Annotated[Path | None, typer.Argument(help="Folder of bundles; the shipped models if not given.")] = None,
) -> None:
    """List the bundles in a folder, with what they were measured at."""
    from rich.table import Table

    from metalearn.bundle import Bundle
    from service.settings import SHIPPED_MODELS

    if folder is not None and not folder.is_dir():
        raise InvalidConfig(f"no folder of bundles at {folder}")
    found = sorted((folder or SHIPPED_MODELS).glob("*/bundle.json"))
    table = Table("model", "id", "observation", "action", "success after 0, 1, ... trials", box=None, pad_edge=False)
    for path in found:
        bundle = Bundle.load(path.parent)
        size = ("discrete " if bundle.spec.discrete else "") + str(bundle.spec.action_size)
        table.add_row(bundle.name, bundle.id[:12], str(bundle.spec.observation_size), size, _curve(bundle))
    Console().print(table if found else f"no bundles in {folder or SHIPPED_MODELS}")


def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle, or of a run with one.")],
) -> None:
    """Write a bundle's policy as ONNX beside its weights, so that it is served where there is no torch.

    What `wtl train` makes has it already. The bundle stays the same one: the graphs refer to its weights.

    \b
    Examples:
      wtl export runs/reach-m2
      WTL_RUNTIME=onnx wtl serve --models runs/reach-m2/bundle
    """
    from metalearn.bundle import Bundle
    from metalearn.model.export import with_graphs

    folder = next((path for path in (bundle, bundle / "bundle") if (path / "bundle.json").exists()), bundle)
    exported = with_graphs(Bundle.load(folder))
    exported.save(folder)
    for name in exported.graphs:
        typer.echo(f"{folder / name}.onnx")


def _curve(bundle: "Bundle") -> str:
    if bundle.report is None:
        return "not measured"
    try:
        return ", ".join(f"{100 * point['success']:.1f}%" for point in bundle.report["methods"]["wtl"]["curve"])
    except (KeyError, TypeError, ValueError):
        return "measured by something else"
