"""`wtl adapt`, `wtl act`, `wtl check` and `wtl convert`: bring recordings to a served model, and look at them first."""

import json as json_text
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metalearn.data.errors import InvalidConfig
from metalearn.data.quality import EpisodeQuality, remarked
from wtl.cli import completions
from wtl.cli.asks import Asks, asked
from wtl.cli.bundles import bundle_folder
from wtl.cli.connection import connected
from wtl.cli.options import DEFAULT_URL, AdaptationId, Json, Key, Url
from wtl.cli.recordings import (
    Actions,
    Clip,
    Episodes,
    Filter,
    From,
    LinksUnder,
    Observations,
    Parts,
    Resample,
    SkipBad,
    Success,
    TrialsFrom,
    fitted,
    has_keys,
    read_sources,
    say,
    selection_of,
)
from wtl.cli.tables import print_table
from wtl.cli.task_sets import (
    Demos,
    HeldOut,
    Horizon,
    Rate,
    TaskBy,
    describe,
    read_task_set,
    save_task_set,
)

if TYPE_CHECKING:
    from metalearn.data.formats import Recorded
    from metalearn.data.spec import Spec
    from service.client import Adaptation, Client


def adapt(
    model: Annotated[
        str | None,
        typer.Option(help="Model to adapt: reach, reach@3 or reach@stable.", autocompletion=completions.models),
    ] = None,
    demos_from: From = None,
    trials_from: TrialsFrom = None,
    observations: Observations = None,
    parts: Parts = False,
    actions: Actions = None,
    success: Success = "auto",
    episodes: Episodes = None,
    filter_key: Filter = None,
    resample: Resample = None,
    skip_bad: SkipBad = False,
    clip: Clip = False,
    links_under: LinksUnder = None,
    to: Annotated[
        str | None, typer.Option(metavar="ID", help="Add to this adaptation instead of making a new one.")
    ] = None,
    ask: Asks = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    json: Json = False,
) -> None:
    """Adapt a served model to the task of some recordings, and print a report on how the recordings look.

    \b
    Examples:
      wtl adapt --model reach --from demo.npz
      wtl adapt --model reach --from minari:robot/reach-v0 --episodes 0-4
      wtl adapt --model lift --from robomimic:low_dim.hdf5 --observations robot0_eef_pos,object --episodes 0
      wtl adapt --model arm --from lerobot:datasets/pick --success yes
      wtl adapt --to ID --trials-from trial.npz      # add a trial and how it went
      wtl adapt --model arm --ask return=120 --ask goal=0.3,0.2
      wtl adapt --to ID --ask better                 # ask for something else from now on
    """
    if (model is None) == (to is None):
        raise InvalidConfig("adapt what? Name either a --model, or with --to an adaptation to add to")
    wanted = asked(ask)
    if to is not None and not demos_from and not trials_from and wanted is None:
        raise InvalidConfig(
            "nothing to add: name recordings with --from or --trials-from, or what to ask for with --ask"
        )
    selection = selection_of(
        observations,
        success,
        episodes,
        actions=actions,
        filter_key=filter_key,
        resample=resample,
        skip_bad=skip_bad,
        links_under=links_under,
        parts=parts,
    )
    with connected(url, key) as client:
        keyed = has_keys((*(demos_from or ()), *(trials_from or ())))
        spec = _spec_of(client, model, to) if keyed or skip_bad or clip else None
        shown, tried = read_sources(demos_from, trials_from, selection.for_model(spec) if spec else selection)
        if spec is not None and (skip_bad or clip):
            shown, tried = fitted((shown, tried), spec, clip=clip, skip_bad=skip_bad)
        say((shown, tried), remarks=False)
        if model is not None:
            rate_hz = shown.rate_hz or tried.rate_hz
            adaptation = client.adapt(model, shown.episodes, tried.episodes, wanted, rate_hz)
        else:
            adaptation = _extended(client.adaptation(str(to)), shown, tried, wanted)
    quality = remarked(adaptation.quality, {"demos": shown.remarks, "trials": tried.remarks})
    if json:
        names = ("id", "model", "model_version", "version", "n_demos", "n_trials", "ask", "ask_warnings", "confidence")
        more = ("value_of_trial", "novelty", "created_at", "expires_at")
        answer = {name: getattr(adaptation, name) for name in (*names, *more)}
        skipped = [asdict(one) for one in shown.skipped + tried.skipped]
        typer.echo(json_text.dumps(answer | {"quality": [asdict(one) for one in quality], "skipped": skipped}))
        return
    typer.echo(f"{adaptation.id}  version {adaptation.version} of {adaptation.model}@{adaptation.model_version}")
    typer.echo(f"demos: {adaptation.n_demos}, trials: {adaptation.n_trials}, {_trust(adaptation.confidence)}")
    if adaptation.ask:
        typer.echo(f"asked for: {json_text.dumps(adaptation.ask)}")
    for warning in adaptation.ask_warnings:
        typer.echo(f"ask: {warning}", err=True)
    _print_quality(quality)


def act(
    adaptation: AdaptationId,
    observations: Annotated[
        str, typer.Argument(help="File in a format with a content type (see `wtl formats`), or - to read JSON.")
    ] = "-",
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Print an adapted policy's actions for some observations, as JSON. The server records nothing.

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
    demos_from: From = None,
    trials_from: TrialsFrom = None,
    model: Annotated[str, typer.Option(help="Name of a shipped model, or the folder of a bundle.")] = "reach",
    observations: Observations = None,
    parts: Parts = False,
    actions: Actions = None,
    success: Success = "auto",
    episodes: Episodes = None,
    filter_key: Filter = None,
    resample: Resample = None,
    skip_bad: SkipBad = False,
    clip: Clip = False,
    links_under: LinksUnder = None,
    json: Json = False,
) -> None:
    """Check recordings against a model without a server, and print the report that `wtl adapt` would print.

    \b
    Examples:
      wtl check --from demo.npz --model reach
      wtl check --from robomimic:low_dim.hdf5 --observations robot0_eef_pos,object --model runs/lift/bundle
    """
    from metalearn.bundle import Bundle
    from metalearn.confidence import Confidence
    from metalearn.data.context import Context
    from metalearn.quality import inspect

    bundle = Bundle.load(bundle_folder(model))
    if not demos_from and not trials_from:
        raise InvalidConfig("check what? Name recordings with --from or --trials-from")
    selection = selection_of(
        observations,
        success,
        episodes,
        actions=actions,
        filter_key=filter_key,
        resample=resample,
        skip_bad=skip_bad,
        links_under=links_under,
        parts=parts,
    )
    read = read_sources(demos_from, trials_from, selection.for_model(bundle.spec))
    shown, tried = fitted(read, bundle.spec, clip=clip, skip_bad=skip_bad)
    say((shown, tried), remarks=False)
    upload = Context(demos=shown.episodes, trials=tried.episodes)
    found = inspect(upload, bundle.spec, Confidence.of(bundle), rate_hz=shown.rate_hz or tried.rate_hz)
    quality = remarked(found, {"demos": shown.remarks, "trials": tried.remarks})
    if json:
        typer.echo(json_text.dumps([asdict(one) for one in quality]))
    else:
        _print_quality(quality)


def convert(
    out: Annotated[
        str,
        typer.Argument(
            metavar="[KIND:]PATH",
            help="Where to: a file, KIND:PATH as minari:ID, or dataset:DIR for a data set that `wtl train` takes.",
        ),
    ],
    demos_from: From = None,
    observations: Observations = None,
    parts: Parts = False,
    actions: Actions = None,
    success: Success = "auto",
    episodes: Episodes = None,
    filter_key: Filter = None,
    resample: Resample = None,
    skip_bad: SkipBad = False,
    clip: Clip = False,
    links_under: LinksUnder = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model that the episodes have to fit; a Minari dataset needs one, for its spaces."),
    ] = None,
    task_by: TaskBy = "file",
    demos: Demos = 1,
    held_out: HeldOut = 0.0,
    rate: Rate = None,
    horizon: Horizon = None,
) -> None:
    """Write recordings in another format. `wtl formats` lists the formats.

    \b
    Examples:
      wtl convert demos.safetensors --from robomimic:low_dim.hdf5 --observations robot0_eef_pos,object
      wtl convert minari:robot/reach-v0 --from episodes.npz --model reach
      wtl convert lerobot:recorded --from episodes.npz --model reach
      wtl convert dataset:training --from lerobot:DIR --task-by instruction --held-out 0.1
    """
    from metalearn.bundle import Bundle
    from metalearn.data.formats import write_episodes
    from metalearn.data.task_sets import TaskRule

    if not demos_from:
        raise InvalidConfig("convert what? Name recordings with --from")
    if clip and model is None:
        raise InvalidConfig("--clip moves actions into the bounds of a model: name the --model")
    selection = selection_of(
        observations,
        success,
        episodes,
        actions=actions,
        filter_key=filter_key,
        resample=resample,
        skip_bad=skip_bad,
        links_under=links_under,
        parts=parts,
    )
    spec = None if model is None else Bundle.load(bundle_folder(model)).spec
    selection = selection if spec is None else selection.for_model(spec)
    kind, _, target = out.partition(":")
    if kind == "dataset":
        if not target:
            raise InvalidConfig("convert where to? Name the folder, as dataset:DIR")
        rule = TaskRule(demos, held_out)
        made = read_task_set(
            demos_from, selection, rule, task_by=task_by, rate_hz=rate, horizon=horizon, spec=spec, clip=clip
        )
        aside = save_task_set(made, Path(target))
        typer.echo(f"{describe(made)}: {target}")
        if made.held_out is not None:
            typer.echo(f"{len(made.held_out.tasks)} tasks held out: {aside}")
        return
    found = read_sources(demos_from, None, selection)
    if spec is not None:
        found = fitted(found, spec, clip=clip, skip_bad=skip_bad)
    say(found, remarks=True)
    [recorded, _] = found
    write_episodes(out, recorded.episodes, rate_hz=recorded.rate_hz, spec=spec)
    typer.echo(f"{len(recorded.episodes)} episodes: {out}")


def _extended(
    adaptation: "Adaptation", shown: "Recorded", tried: "Recorded", wanted: dict[str, Any] | None
) -> "Adaptation":
    """The adaptation with recordings added, that asks for something else if anything is wanted, and all reports."""
    rate_hz = shown.rate_hz or tried.rate_hz
    quality: tuple[EpisodeQuality, ...] = ()
    if shown.episodes:
        adaptation = adaptation.add_demos(shown.episodes, rate_hz)
        quality += adaptation.quality
    if tried.episodes:
        adaptation = adaptation.add_trials(tried.episodes, rate_hz)
        quality += adaptation.quality
    if wanted is not None:
        adaptation = adaptation.ask_for(wanted)
    return replace(adaptation, quality=quality)


def _spec_of(client: "Client", model: str | None, to: str | None) -> "Spec":
    """The spec of the model that is adapted, or was. Raises ClientError."""
    from metalearn.data.spec import Spec

    name, version = (None, None) if to is None else ((known := client.adaptation(to)).model, known.model_version)
    if name is None:
        name, _, which = str(model).partition("@")
        version = int(which) if which.isdecimal() else client.aliases(name).current.get(which) if which else None
        if which and version is None:
            raise InvalidConfig(f"--model: {name} has no version or alias {which}")
    return Spec.from_json(dict(client.model(name, version).spec))


def _observations(source: str) -> Any:
    """`[n, *o]`, or those of each part by name, from a file or standard input. Raises InvalidConfig, InvalidData."""
    import numpy as np

    from metalearn.data.errors import InvalidData
    from metalearn.data.formats import FORMATS, Limits, find_format
    from metalearn.data.values import numbers

    found, path = (FORMATS["json"], "") if source == "-" else find_format(source)
    if found.decode is None:
        known = ", ".join(entry.name for entry in FORMATS.values() if entry.decode)
        raise InvalidConfig(f"{source}: expected a file of {known}, got {found.name}")
    try:
        value = found.decode(sys.stdin.read().encode() if source == "-" else Path(path).read_bytes(), Limits())
    except InvalidData as error:
        raise error.in_file(source) from error
    given = value.get("observations") if isinstance(value, dict) else value
    if given is None:
        raise InvalidConfig(f"{source}: expected observations [n, o], got {', '.join(value) or 'nothing'}")
    if isinstance(given, dict):
        return given  # of each part: the client reads it
    array = numbers("observations", given, keep_uint8=True)
    return array[None] if array.ndim == 1 else np.asarray(array)


def _trust(confidence: float | None) -> str:
    return "not calibrated" if confidence is None else f"the next attempt succeeds with probability {confidence:.2f}"


def _print_quality(quality: Iterable[EpisodeQuality]) -> None:
    rows = [
        (
            one.episode,
            f"{one.steps}/{one.horizon}",
            f"{one.duration_s:.2f}",
            "-" if one.total_reward is None else f"{one.total_reward:.4g}",
            {True: "yes", False: "no", None: "-"}[one.success],
            "-" if one.clipped is None else f"{100 * one.clipped:.0f}%",
            "-" if one.novelty is None else f"{one.novelty:.2f}",
            "\n".join(f"{remark.code}: {remark.message}" for remark in one.warnings) or "none",
        )
        for one in quality
    ]
    columns = ("episode", "steps", "seconds", "return", "success", "clipped", "novelty", "warnings")
    if rows:
        print_table(columns, rows, whole=("episode",))
