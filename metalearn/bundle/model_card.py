"""The model card of a bundle: `README.md`, with a head that model hubs read and text for people.

Made of what `bundle.json` and `report.json` say and of nothing else. Whatever they lack is left out.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from metalearn.data.asks import AskOffer, kinds_of

FEW = 8
"""Choices that are listed one by one."""
TAGS = ("meta-learning", "imitation-learning", "few-shot-learning", "in-context-learning", "onnx")
METHODS = {
    "wtl": "this policy",
    "bc": "behaviour cloning, without context",
    "mil": "one-shot imitation by gradient steps (MIL)",
    "replay": "replaying the demonstration",
    "random": "random actions",
    "expert": "the expert that demonstrates",
    "bayes": "the best possible",
}
KNOWN = {
    "demos": "demonstrations",
    "expert": "demonstrations and another episode of the expert",
    "trials": "demonstrations and recorded trials",
    "asks": "what the episode was an answer to",
}
CONTROLS = {
    "other_task_trial": "after a trial of another task",
    "same_demo_other_target": "after a trial for another target",
    "flipped_reward": "after its own trial, with the score flipped",
    "other_task_demo": "after a demonstration of another task",
    "other_type_demo": "after a demonstration of another type of task",
}
Json = Mapping[str, Any]


def model_card(head: Json, report: Json | None, *, has_example: bool) -> str:
    """Write the card of a bundle.

    Args:
        head: the content of `bundle.json`.
        report: the content of `report.json`, if the bundle was evaluated.
        has_example: True if the bundle has a demonstration in `example.json`.
    """
    experiment = _object(_object(head["provenance"]).get("experiment"))
    evaluation = _object(report)
    parts = (
        _front_matter(head, experiment, evaluation),
        _title(head, experiment),
        _use(head, has_example),
        _asking(head),
        _spaces(head["spec"]),
        _training(head, experiment),
        _evaluation(evaluation),
        _limits(head, experiment),
        _provenance(head, experiment),
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _front_matter(head: Json, experiment: Json, report: Json) -> list[str]:
    """The YAML that hubs read. JSON strings are YAML strings, so every text of a user is quoted as JSON."""
    family = _word(experiment, "family") or "recorded episodes"
    lines = ["---", f"license: {_licence(head, experiment)}", "library_name: watch-try-learn", "pipeline_tag: robotics"]
    lines += ["tags:", *(f"- {tag}" for tag in TAGS), f"- {_text(family)}"]
    curve = _curve(report, "wtl")
    if curve:
        manifest = _word(_object(report.get("manifest")), "name") or family
        lines += [
            "model-index:",
            f"- name: {_text(head['name'])}",
            "  results:",
            "  - task:",
            "      type: robotics",
            '      name: "Act in test tasks"',
            "    dataset:",
            f"      type: {_text(manifest)}",
            f"      name: {_text(f'{manifest}, test tasks')}",
            "    metrics:",
        ]
        for point in curve:
            name = f"Success rate after {_trials(point['trials'])}"
            lines += ["    - type: success_rate", f"      name: {_text(name)}", f"      value: {point['success']:.4f}"]
    return [*lines, "---"]


def _title(head: Json, experiment: Json) -> list[str]:
    family = _word(experiment, "family")
    about = f" for tasks of `{family}`" if family else ""
    return [
        f"# {head['name']}",
        "",
        f"A policy{about} that learns a task from a demonstration and from its own scored trials, in milliseconds",
        "and without a gradient step. It was meta-trained with watch-try-learn. Saving the bundle writes this file.",
    ]


def _use(head: Json, has_example: bool) -> list[str]:
    name = head["name"]
    demo = f'client.model("{name}").example' if has_example else "Episode.of(observations)  # [t + 1, o]"
    imports = ["from service.client import Client"]
    imports = imports if has_example else ["from metalearn.data.episode import Episode", *imports]
    more = ["`example.json` is such a demonstration, as a body of the REST API has it."] if has_example else []
    return [
        "## Use it",
        "",
        "```bash",
        "pip install watch-try-learn",
        "wtl serve --models .   # in this folder",
        "```",
        "",
        "```python",
        *imports,
        "",
        'with Client("http://127.0.0.1:8000") as client:',
        f"    demo = {demo}",
        f'    adaptation = client.adapt("{name}", demos=[demo])  # watch',
        "    with adaptation.episode() as episode:  # try",
        "        action = episode.act(demo.observations[0])",
        "        adaptation = episode.finish(demo.observations[1], reward=0.0, success=False)  # learn",
        "```",
        *(["", *more] if more else []),
    ]


def _asking(head: Json) -> list[str]:
    """What can be asked for, as a table, and an example."""
    offers = [AskOffer.of(offer) for offer in head["model"].get("ask_offers", ())]
    if not offers:
        return []
    rows = [(offer, kinds_of([offer.kind])[0].accepted(offer)) for offer in offers]
    example = {offer.kind: offer.examples[-1] for offer in offers if offer.examples}
    return [
        "## Ask for it",
        "",
        "Beyond the task itself, an adaptation can ask for any combination of these, with or without a demonstration:",
        "",
        "| `ask` | takes | for example |",
        "|---|---|---|",
        *(f"| `{o.kind}` | {takes} | {', '.join(f'`{_text(one)}`' for one in o.examples)} |" for o, takes in rows),
        "",
        "```json",
        json.dumps({"model": head["name"], "demos": [], "ask": example}, ensure_ascii=False),
        "```",
    ]


def _spaces(spec: Json) -> list[str]:
    return [
        "## Spaces",
        "",
        "| | |",
        "|---|---|",
        *(f"| observation{name} | {_space(space)} |" for name, space in _parts(spec["observation_space"])),
        f"| action | {_space(spec['action_space'])} |",
        f"| longest episode | {spec['horizon']} steps |",
        f"| control rate | {spec['rate_hz']:g} Hz |",
    ]


def _training(head: Json, experiment: Json) -> list[str]:
    provenance, data, training = (
        head["provenance"],
        _object(experiment.get("data")),
        _object(experiment.get("training")),
    )
    if not experiment:
        return []
    source = "recorded episodes" if provenance.get("recorded") else "demonstrations of a scripted or trained expert"
    n_tasks = _count(provenance, "n_tasks") or _count(data, "n_tasks")
    counted = f"{n_tasks:,} tasks" if n_tasks else "tasks"
    family = _word(experiment, "family")
    of = f" of `{family}`" if family else ""
    lines = ["## Training data", "", f"It was trained on {counted}{of}, from {source}."]
    collected = provenance.get("collections")
    rounds = len(collected) if isinstance(collected, list) else _count(training, "rounds")
    trials = _count(training, "trials_per_task")
    if rounds and trials and not provenance.get("recorded"):
        lines.append(
            f"After the warm-up it collected up to {_trials(trials)} of its own per task, in {rounds} "
            f"round{'s' * (rounds != 1)}, and learnt from them too."
        )
    return lines + (_held_out(_object(provenance.get("held_out"))) if provenance.get("recorded") else [])


def _held_out(held_out: Json) -> list[str]:
    """What was measured on recordings that were kept apart, where nobody could let the policy act."""
    why, lines = _word(held_out, "why"), []
    if why:
        lines += ["", f"Held out to decide when to stop: {why}."]
    measured = {name: _object(one) for name, one in _object(held_out.get("likelihood")).items()}
    known = {name: one for name, one in measured.items() if isinstance(one.get("mean"), int | float)}
    if known:
        lines += ["", "| held-out actions, given | nats per action | tasks |", "|---|---|---|"]
        lines += [
            f"| {KNOWN.get(name, name)} | {_likelihood(one)} | {_count(one, 'n_tasks')} |"
            for name, one in known.items()
        ]
    says = _word(_object(held_out.get("off_policy")), "says")
    return [*lines, "", f"Recorded outcomes: {says}."] if says else lines


def _likelihood(measured: Json) -> str:
    """A mean, with two standard errors on either side where there are several tasks."""
    error = measured.get("standard_error")
    return f"{measured['mean']:.2f}" + (f" ± {2 * error:.2f}" if isinstance(error, int | float) else "")


def _evaluation(report: Json) -> list[str]:
    methods = [name for name in _object(report.get("methods")) if _curve(report, name)]
    if "wtl" not in methods:
        return ["## Evaluation", "", "It was not evaluated."]
    columns = _curve(report, "wtl")
    manifest = _object(report.get("manifest"))
    name, held_out = _word(manifest, "name") or "unknown", _word(manifest, "held_out")
    lines = [
        "## Evaluation",
        "",
        f"Success in %, with 95% intervals, on {_count(report, 'n_tasks'):,} test tasks of manifest `{name}`.",
        *([f"What no training task has: {held_out}."] if held_out else []),
        "",
        "| | " + " | ".join(f"after {_trials(point['trials'])}" for point in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name in methods:
        known = {point["trials"]: point for point in _curve(report, name)}
        cells = [_rate(known[point["trials"]]) if point["trials"] in known else "" for point in columns]
        lines.append(f"| {METHODS.get(name, name)} | " + " | ".join(cells) + " |")
    controls = {name: rate for name, rate in _object(report.get("controls")).items() if _is_rate(rate)}
    if controls:
        lines += ["", "Controls, which should be worse than the policy where its context matters:", ""]
        lines += [f"* {CONTROLS.get(name, name)}: {_rate(rate)}" for name, rate in controls.items()]
    return lines


def _limits(head: Json, experiment: Json) -> list[str]:
    family = f" (`{_word(experiment, 'family')}`)" if _word(experiment, "family") else ""
    tried = (
        "* It was trained and measured in simulation. It has not been tried on a robot."
        if _is_ours(head, experiment)
        else "* Nothing is known about it outside of its own training data and of the evaluation above."
    )
    return [
        "## Limits",
        "",
        "* It acts in the spaces above only, and expects observations on the scale of its training data.",
        f"* It generalises within the kind of task that it was trained on{family}: not to other kinds of tasks.",
        tried,
        "* Its calibrated confidence holds for tasks of that kind only.",
    ]


def _provenance(head: Json, experiment: Json) -> list[str]:
    provenance = head["provenance"]
    versions = _object(provenance.get("versions"))
    name = _word(experiment, "name")
    rows = {
        "bundle": f"`{head['id']}`",
        "experiment": f"`{name}`, seed {_count(experiment, 'seed')}" if name else "",
        "created": _word(provenance, "created"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value]
    more = "`bundle.json` has the whole configuration, the learning curve and the digests of the weights."
    return ["## Provenance", "", "| | |", "|---|---|", *lines, "", more]


def _licence(head: Json, experiment: Json) -> str:
    """Apache-2.0 where every input is this project's; only its maker can say it of anything else."""
    return "apache-2.0" if _is_ours(head, experiment) else "unknown"


def _is_ours(head: Json, experiment: Json) -> bool:
    """True if the tasks are in this package and the episodes were made by it."""
    family = _word(experiment, "family")
    return bool(family) and ":" not in family and not head["provenance"].get("recorded")


def _parts(space: Json, name: str = "") -> list[tuple[str, Json]]:
    """Each space that has no others within, and what its row in the table is called beside "observation"."""
    if space["type"] not in {"dict", "tuple"}:
        return [(f" `{name}`" if name else "", space)]
    inner = space["spaces"]
    members = inner.items() if isinstance(inner, dict) else enumerate(inner)
    return [part for key, one in members for part in _parts(one, f"{name}/{key}" if name else str(key))]


def _space(space: Json) -> str:
    match space["type"]:
        case "discrete":
            return f"one integer, {_range(space['start'], space['n'])}"
        case "multi_discrete":
            starts, counts = (np.ravel(space[name]).tolist() for name in ("start", "nvec"))
            several = ", ".join(_range(start, n) for start, n in zip(starts, counts, strict=True))
            return f"{len(counts)} integers" + (f": {several}" if len(counts) <= FEW else ", in `bundle.json`")
        case "multi_binary":
            return f"zeros and ones of shape {np.atleast_1d(space['n']).tolist()}"
    return _box(space)


def _range(start: int, n: int) -> str:
    return f"{start} to {start + n - 1}"


def _box(space: Json) -> str:
    shape = ", ".join(map(str, space["shape"]))
    low, high = space["low"], space["high"]
    if isinstance(low, list) or isinstance(high, list):
        bounds = "with bounds per component in `bundle.json`"
    elif low is None and high is None:
        bounds = "without bounds"
    else:
        bounds = f"from {'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"
    return f"{space['dtype']} of shape [{shape}], {bounds}"


def _curve(report: Json, method: str) -> list[Json]:
    points = _object(_object(report.get("methods")).get(method)).get("curve")
    found = points if isinstance(points, list) else []
    return [p for p in found if _is_rate(p) and isinstance(p.get("trials"), int)]


def _is_rate(value: object) -> bool:
    known = _object(value)
    ends = known.get("ci95")
    numbers = [known.get("success"), *(ends if isinstance(ends, list | tuple) and len(ends) == 2 else [None])]
    return all(isinstance(number, int | float) for number in numbers)


def _rate(rate: Json) -> str:
    low, high = rate["ci95"]
    return f"{100 * rate['success']:.1f} ({100 * low:.1f}..{100 * high:.1f})"


def _trials(n: int) -> str:
    return f"{n} trial{'s' * (n != 1)}"


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _word(value: Json, key: str) -> str:
    """The text of a field; empty if it has none."""
    found = value.get(key)
    return found if isinstance(found, str) else ""


def _count(value: Json, key: str) -> int:
    """The number of a field; 0 if it has none."""
    found = value.get(key)
    return found if isinstance(found, int) else 0


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
