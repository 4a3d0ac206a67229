"""`wtl adapt`, `wtl act`, `wtl check` and `wtl convert`: recordings to a served policy, and a look at them first."""

import json as json_text
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metalearn.data.errors import InvalidConfig
from wtl.cli.connection import HERE, Key, Url, connected
from wtl.cli.options import Json

if TYPE_CHECKING:
    from metalearn.data.formats import Recorded
    from metalearn.quality import Quality
    from service.client import Quality as AnsweredQuality

Demos = Annotated[list[Path] | None, typer.Option(help="Demos in a .npz, .safetensors or .json file; may be repeated.")]
Minari = Annotated[str | None, typer.Option(help="Demos of a Minari dataset on this machine: its id or folder.")]
Robomimic = Annotated[Path | None, typer.Option(help="Demos of a robomimic HDF5 file.")]
Lerobot = Annotated[Path | None, typer.Option(help="Demos of a LeRobot dataset: its folder.")]
Keys = Annotated[str | None, typer.Option(help="Observations to put together, in this order: a,b,c.")]
Success = Annotated[
    str, typer.Option(help="Solved or not: auto, reward, terminated, yes, no, unknown, or a key of the recording.")
]
Episodes = Annotated[str | None, typer.Option(help="Only these, counted from 0: 0,3,5-9.")]


@dataclass(frozen=True)
class Sources:
    """Where the user says that recordings are."""

    files: Sequence[Path]
    minari: str | None = None
    robomimic: Path | None = None
    lerobot: Path | None = None
    keys: str | None = None
    success: str = "auto"
    episodes: str | None = None

    def read(self) -> "Recorded":
        """Everything that was named, together. Raises InvalidData, InvalidConfig."""
        from metalearn.data.formats import Recorded, Selection, read_file, read_lerobot, read_minari, read_robomimic

        chosen = None if self.episodes is None else _numbers(self.episodes)
        keys = tuple(key.strip() for key in (self.keys or "").split(",") if key.strip())
        selection = Selection(keys, self.success, chosen)
        found = [read_file(file) for file in self.files]
        if chosen is not None and self.files:
            found = [
                Recorded(tuple(one.episodes[i] for i in selection.pick(len(one.episodes))), one.rate_hz)
                for one in found
            ]
        if self.minari is not None:
            found.append(read_minari(self.minari, selection))
        if self.robomimic is not None:
            found.append(read_robomimic(self.robomimic, selection))
        if self.lerobot is not None:
            found.append(read_lerobot(self.lerobot, selection))
        rates = {one.rate_hz for one in found if one.rate_hz is not None}
        return Recorded(tuple(e for one in found for e in one.episodes), rates.pop() if len(rates) == 1 else None)


def adapt(
    model: Annotated[str | None, typer.Option(help="Model to adapt, as reach, reach@3 or reach@stable.")] = None,
    demos: Demos = None,
    trials: Annotated[list[Path] | None, typer.Option(help="Scored trials, in a file like those of --demos.")] = None,
    minari: Minari = None,
    robomimic: Robomimic = None,
    lerobot: Lerobot = None,
    observations: Keys = None,
    success: Success = "auto",
    episodes: Episodes = None,
    to: Annotated[str | None, typer.Option(help="Add to this adaptation instead of making one.")] = None,
    url: Url = HERE,
    key: Key = None,
    json: Json = False,
) -> None:
    """Show a task to a served model: recordings in, an adaptation out, with a report on how the recordings look.

    \b
    Examples:
      wtl adapt --model reach --demos demo.npz
      wtl adapt --model reach --minari robot/reach-v0 --episodes 0-4
      wtl adapt --model lift --robomimic low_dim.hdf5 --observations robot0_eef_pos,object --episodes 0
      wtl adapt --model arm --lerobot datasets/pick --success yes
      wtl adapt --to ID --trials trial.npz      # learn from how it went
    """
    shown = Sources(demos or [], minari, robomimic, lerobot, observations, success, episodes).read()
    tried = Sources(trials or []).read()
    if (model is None) == (to is None):
        raise InvalidConfig("adapt what? Name a --model, or an adaptation to add to with --to")
    if not shown.episodes and not tried.episodes and to is not None:
        raise InvalidConfig("nothing to learn from: name --demos, --trials, --minari, --robomimic or --lerobot")
    rate_hz = shown.rate_hz or tried.rate_hz
    with connected(url, key) as client:
        quality: tuple[AnsweredQuality, ...] = ()
        if model is not None:
            adaptation = client.adapt(model, shown.episodes, tried.episodes, rate_hz=rate_hz)
            quality = adaptation.quality
        else:
            adaptation = client.adaptation(str(to))
            if shown.episodes:
                adaptation = adaptation.add_demos(shown.episodes, rate_hz)
                quality += adaptation.quality
            if tried.episodes:
                adaptation = adaptation.add_trials(tried.episodes, rate_hz)
                quality += adaptation.quality
    if json:
        names = ("id", "model", "model_version", "version", "n_demos", "n_trials", "confidence", "value_of_trial")
        answer = {name: getattr(adaptation, name) for name in (*names, "novelty", "created_at", "expires_at")}
        typer.echo(json_text.dumps(answer | {"quality": [_plain(one) for one in quality]}))
        return
    typer.echo(f"{adaptation.id}  version {adaptation.version} of {adaptation.model}@{adaptation.model_version}")
    typer.echo(f"demos: {adaptation.n_demos}, trials: {adaptation.n_trials}, {_trust(adaptation.confidence)}")
    _print_quality(quality)


def act(
    adaptation: Annotated[str, typer.Argument(help="Id of an adaptation.")],
    observations: Annotated[str, typer.Argument(help="A .json, .npz or .safetensors file, or - to read JSON.")] = "-",
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Observations to actions, as JSON. Nothing is recorded.

    \b
    Examples:
      wtl act ID observations.npz
      echo '[[0, 0.1, 0.2]]' | wtl act ID -
    """
    seen = _observations(observations)
    with connected(url, key) as client:
        actions = client.adaptation(adaptation).act(seen)
    typer.echo(json_text.dumps({"actions": actions.tolist()}))


def check(
    files: Annotated[list[Path] | None, typer.Argument(help="Demos in .npz, .safetensors or .json files.")] = None,
    model: Annotated[str, typer.Option(help="A shipped model, or a bundle's folder.")] = "reach",
    trials: Annotated[bool, typer.Option("--trials", help="They are trials, not demos.")] = False,
    minari: Minari = None,
    robomimic: Robomimic = None,
    lerobot: Lerobot = None,
    observations: Keys = None,
    success: Success = "auto",
    episodes: Episodes = None,
    json: Json = False,
) -> None:
    """Say how recordings look to a model, without a server: what `wtl adapt` would be answered.

    \b
    Examples:
      wtl check demo.npz --model reach
      wtl check --robomimic low_dim.hdf5 --observations robot0_eef_pos,object --model runs/lift/bundle
    """
    from metalearn.bundle import Bundle
    from metalearn.confidence import Confidence
    from metalearn.data.context import Context
    from metalearn.data.errors import InvalidData
    from metalearn.quality import inspect
    from wtl.cli.evaluate import bundle_folder

    bundle = Bundle.load(bundle_folder(model))
    found = Sources(files or [], minari, robomimic, lerobot, observations, success, episodes).read()
    if not found.episodes:
        raise InvalidConfig("check what? Name a file, --minari, --robomimic or --lerobot")
    for i, episode in enumerate(found.episodes):
        try:
            bundle.spec.check(episode)
        except InvalidData as error:
            raise error.within(f"{'trials' if trials else 'demos'}[{i}]") from error
    upload = Context(trials=found.episodes) if trials else Context(demos=found.episodes)
    quality = inspect(upload, bundle.spec, Confidence.of(bundle), rate_hz=found.rate_hz)
    if json:
        typer.echo(json_text.dumps([_plain(one) for one in quality]))
    else:
        _print_quality(quality)


def convert(
    out: Annotated[str, typer.Argument(help="A .npz or .safetensors file, or minari:ID.")],
    demos: Demos = None,
    minari: Minari = None,
    robomimic: Robomimic = None,
    lerobot: Lerobot = None,
    observations: Keys = None,
    success: Success = "auto",
    episodes: Episodes = None,
    model: Annotated[
        str, typer.Option(help="Whose spaces a Minari dataset gets: a shipped model or a folder.")
    ] = "reach",
) -> None:
    """Write recordings in another format.

    \b
    Examples:
      wtl convert demos.safetensors --robomimic low_dim.hdf5 --observations robot0_eef_pos,object
      wtl convert minari:robot/reach-v0 --demos episodes.npz --model reach
    """
    from metalearn.bundle import Bundle
    from metalearn.data.formats import write_file, write_minari
    from wtl.cli.evaluate import bundle_folder

    found = Sources(demos or [], minari, robomimic, lerobot, observations, success, episodes).read()
    if not found.episodes:
        raise InvalidConfig("convert what? Name --demos, --minari, --robomimic or --lerobot")
    kind, _, dataset_id = out.partition(":")
    if kind == "minari" and dataset_id:
        spec = Bundle.load(bundle_folder(model)).spec
        write_minari(dataset_id, [spec.check(episode) for episode in found.episodes], spec)
    else:
        write_file(Path(out), found.episodes, found.rate_hz)
    typer.echo(f"{len(found.episodes)} episodes: {out}")


def _observations(source: str) -> Any:
    """`[n, *o]` from a file or standard input. Raises InvalidConfig, InvalidData."""
    import numpy as np

    from metalearn.data.episode import numbers
    from metalearn.data.formats import decode_npz, decode_safetensors

    decoders = {".npz": decode_npz, ".safetensors": decode_safetensors}
    try:
        if source != "-" and Path(source).suffix in decoders:
            value: Any = decoders[Path(source).suffix](Path(source).read_bytes())
        else:
            value = json_text.loads(sys.stdin.read() if source == "-" else Path(source).read_text())
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"{source}: not JSON: {error}") from error
    given = value.get("observations") if isinstance(value, dict) else value
    if given is None:
        raise InvalidConfig(f"{source}: expected observations [n, o], got {', '.join(value) or 'nothing'}")
    array = numbers("observations", given, keep_uint8=True)
    return array[None] if array.ndim == 1 else np.asarray(array)


def _numbers(text: str) -> tuple[int, ...]:
    """`0,3,5-9` as numbers. Raises InvalidConfig."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or len(part) > 20 or int(last or first) > 10**7:
            raise InvalidConfig(f"--episodes: expected numbers such as 0,3,5-9, got {ascii(text)[:60]}")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def _trust(confidence: float | None) -> str:
    return "not calibrated" if confidence is None else f"the next attempt succeeds with probability {confidence:.2f}"


def _plain(quality: "Quality | AnsweredQuality") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(quality)


def _print_quality(quality: "Iterable[Quality | AnsweredQuality]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "episode", "steps", "seconds", "return", "success", "clipped", "novelty", "warnings", box=None, pad_edge=False
    )
    for one in quality:
        table.add_row(
            one.episode,
            f"{one.steps}/{one.horizon}",
            f"{one.duration_s:.2f}",
            "-" if one.total_reward is None else f"{one.total_reward:.4g}",
            {True: "yes", False: "no", None: "-"}[one.success],
            "-" if one.clipped is None else f"{100 * one.clipped:.0f}%",
            "-" if one.novelty is None else f"{one.novelty:.2f}",
            "\n".join(f"{remark.code}: {remark.message}" for remark in one.warnings) or "none",
        )
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else 160).print(table)
