"""The landing page: what this server serves, and a first request that works when it is pasted. No script, no network.

Makes HTML of models. Does not know who may see them.
"""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from string import Template
from typing import Any

import numpy as np

from metalearn import __version__
from metalearn.data.spec import Spec
from service.api.examples import examples, simplest
from service.registry.registry import ModelInfo

_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?")
_JSON_HEADER = "-H 'Content-Type: application/json'"
_CONSOLE = '<a class="button" href="console">Open the console</a>\n'
_NO_MODELS = '<p class="note">No model can be shown here. A server with API keys shows them to nobody without a key: \
<code>curl -H "Authorization: Bearer wtl_..." {url}/v1/models</code></p>'


def landing_page(
    template: str, models: Sequence[ModelInfo], url: str, prefix: str = "", *, console: bool = False
) -> str:
    """Fill the template of the page.

    Args:
        template: HTML with `$base`, `$console`, `$models`, `$request` and `$version`.
        models: the models that whoever looks at the page may see.
        url: the address of the server as the browser knows it. One that could not stand in a shell is not shown.
        prefix: of the server's addresses; with it the links work at `/wtl` as they do at `/wtl/`.
        console: True if the server has the console.
    """
    base = f'<base href="{escape(prefix)}/">\n' if prefix else ""
    url = url.rstrip("/") if _PLAIN_URL.fullmatch(url) else "http://127.0.0.1:8000"
    shown = simplest(models)
    if shown is None:
        listed, request = _NO_MODELS.format(url=escape(url)), ""
    else:
        listed = f'<h2>Models</h2>\n<ul class="models">\n{"".join(map(_model, models))}</ul>'
        request = _first_request(shown, url)
    return Template(template).substitute(
        console=_CONSOLE if console else "", base=base, models=listed, request=request, version=escape(__version__)
    )


def _model(model: ModelInfo) -> str:
    spec = model.bundle.spec.to_json()
    rows = {
        "observation": _observation(model.bundle.spec),
        "action": _space(spec["action_space"]),
        "episode": f"up to {spec['horizon']} steps at {spec['rate_hz']:g} Hz",
        "success": _success(model.bundle.report),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows.items() if value)
    return f"<li><strong>{escape(model.name)}</strong> <small>version {model.version}</small>\n<dl>{listed}</dl></li>\n"


def _observation(spec: Spec) -> str:
    if not spec.composite:
        return _space(spec.to_json()["observation_space"])
    return ", ".join(f"{part.name} ({part.kind}, {_sizes(part.shape)})" for part in spec.parts)


def _space(space: dict[str, Any]) -> str:
    match space["type"]:
        case "discrete":
            return f"one of {space['n']} integers"
        case "multi_discrete":
            return f"{_sizes(np.shape(space['nvec']))} integers"
        case "multi_binary":
            return f"{_sizes(np.atleast_1d(space['n']))} zeros and ones"
    return f"{_sizes(space['shape'])} numbers"


def _sizes(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "1"


def _success(report: dict[str, Any] | None) -> str:
    """The success after 0, 1, ... trials, if the model was evaluated."""
    try:
        curve = (report or {})["methods"]["wtl"]["curve"]
        rates = [f"{100 * float(point['success']):.1f}" for point in curve]
    except (KeyError, TypeError, ValueError):
        return ""
    after = {0: "", 1: ", without a trial"}.get(len(rates), f", with 0 to {len(rates) - 1} trials")
    return f"{', '.join(rates)} %{after}" if rates else ""


def _first_request(model: ModelInfo, url: str) -> str:
    bodies = examples(model)
    adapt = f"curl -s {url}/v1/adaptations {_JSON_HEADER} -d '{json.dumps(bodies['AdaptationRequest'])}'"
    act = f"curl -s {url}/v1/adaptations/ID/act {_JSON_HEADER} -d '{json.dumps(bodies['ActRequest'])}'"
    real = "A real demonstration" if model.bundle.example is not None else "A demonstration of random numbers"
    return f"""<h2>First request</h2>
<p class="note">{real} of a task, for the model {escape(model.name)}. The answer has the id of the adaptation.</p>
<pre tabindex="0">{escape(adapt, quote=False)}</pre>
<p class="note">Then actions for two observations: put the id in place of ID.</p>
<pre tabindex="0">{escape(act, quote=False)}</pre>"""
