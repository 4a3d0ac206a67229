"""Arguments and options that several commands share, so that one name means one thing everywhere."""

import math
from pathlib import Path
from typing import Annotated

import typer

from wtl.cli import completions


def finite(value: float | None) -> float | None:
    """Refuse NaN and infinity, which pass the bounds of an option: no comparison with NaN holds."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number, got {value}")
    return value


DEFAULT_URL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(envvar="WTL_URL", help="Address of the server.")]
Key = Annotated[
    str | None, typer.Option(envvar="WTL_API_KEY", help="API key for the server: wtl_...", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]

ExperimentName = Annotated[
    str,
    typer.Argument(help="Name of an experiment; `wtl experiments` lists them.", autocompletion=completions.experiments),
]
BundleName = Annotated[
    str,
    typer.Argument(
        help="Name of a shipped model, or the folder of a bundle or of a run.", autocompletion=completions.models
    ),
]
AdaptationId = Annotated[str, typer.Argument(metavar="ID", help="Id of an adaptation, as `wtl adapt` printed it.")]

Seed = Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Random seed, instead of the usual one.")]
Steps = Annotated[int | None, typer.Option(min=10, help="Gradient steps in total, instead of the experiment's number.")]
Minutes = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        max=100_000,
        callback=finite,
        help="Minutes that the training may take, instead of a number of steps. [default: 20, unless an experiment or "
        "--steps says otherwise]",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set a field of the configuration, as model.n_frames=16; `wtl settings` lists them. May be given several "
        "times.",
        autocompletion=completions.settings,
    ),
]
Workers = Annotated[int, typer.Option(min=0, help="Collect episodes in this many processes; 0: in this one.")]
Family = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:CLASS",
        help="Your own family of tasks; `wtl new-task` writes one to begin with.",
        autocompletion=completions.families,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Threads that compute. [default: WTL_THREADS, else OMP_NUM_THREADS, else 1, which is best for the models "
        "here and on a busy machine]",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="Ray cluster to use. [default: the one that this machine belongs to, or a new one]"
    ),
]
ModelsFolder = Annotated[
    Path | None,
    typer.Option(help="Folder of bundles, one bundle, or a run's folder. [default: the shipped models]"),
]
