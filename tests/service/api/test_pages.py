"""The landing page and the documentation: no network, strict headers, any prefix, and nothing that a key protects."""

import html
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from support.api_keys import Make
from support.pointing import PointingRuntime, bundle, settings_in
from support.serving import served

from metalearn.data.episode import Episode
from service.api.landing import landing_page
from service.app import create_app
from service.registry.registry import ModelInfo
from service.settings import SHIPPED_MODELS, Settings

PAGES = ("/", "/docs")
ASSETS = ("swagger-ui.js", "swagger-ui.css", "start.js", "landing.css", "favicon.png")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REFERENCE = re.compile(r"""(?:href|src)=["']([^"']+)["']""")


def commands(page: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_needs_nothing_but_this_server(http: TestClient, page: str) -> None:
    answer = http.get(page)
    assert answer.headers["content-type"].startswith("text/html")
    for reference in REFERENCE.findall(answer.text):
        assert re.match(r"[a-z]", reference), reference
        assert "//" not in reference
        assert http.get(f"/{reference}").status_code in {200, 503}, reference


@pytest.mark.parametrize("path", [*PAGES, *(f"/docs/{name}" for name in ASSETS)])
def test_pages_and_files_have_the_headers_of_everything_else(http: TestClient, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    assert http.head(path).status_code == 200
    assert http.post(path).status_code == 405
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "unsafe" not in policy.replace("style-src 'self' 'unsafe-inline'", "")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"


def test_the_landing_page_has_no_script_and_follows_dark_mode(http: TestClient) -> None:
    assert "<script" not in http.get("/").text
    assert "prefers-color-scheme: dark" in http.get("/docs/landing.css").text


def test_the_commands_of_the_landing_page_work_as_they_are(tmp_path: Path) -> None:
    app = create_app(Settings(data=tmp_path, models=SHIPPED_MODELS))
    with served(app) as url, httpx.Client(base_url=url) as http:
        page = http.get("/").text
        adapt, act = commands(page)
        assert adapt.startswith(f"curl -s {url}/v1/adaptations ")
        body = shlex.split(adapt)[-1]
        made = http.post("/v1/adaptations", content=body, headers={"Content-Type": "application/json"}).json()
        assert made["quality"][0]["warnings"] == []
        path = f"/v1/adaptations/{made['id']}/act"
        answer = http.post(path, content=shlex.split(act)[-1], headers={"Content-Type": "application/json"})
        assert len(answer.json()["actions"]) == 2


@pytest.mark.parametrize("host", ["a'b", "a;b", "$(touch x)", "<b>", "a b"])
def test_a_host_that_a_shell_could_run_is_not_shown(host: str) -> None:
    model = ModelInfo("point", 1, bundle(), ("current",), None)
    page = landing_page("$base $models $request $version", [model], f"http://{host}/")
    assert host not in html.unescape(page)
    assert "curl -s http://127.0.0.1:8000/v1/adaptations" in page


def test_models_are_shown_to_nobody_without_a_key_once_there_is_one(http: TestClient, make: Make) -> None:
    assert "point" in http.get("/").text
    assert '"point"' in http.get("/openapi.json").text
    make("robots")
    shown, document = http.get("/"), http.get("/openapi.json")
    assert (shown.status_code, document.status_code) == (200, 200)
    assert "point" not in shown.text
    assert '"point"' not in document.text
    assert "Authorization: Bearer" in shown.text


def test_a_server_without_models_has_a_landing_page(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with TestClient(create_app(Settings(data=tmp_path / "data", models=tmp_path / "models"))) as http:
        assert http.get("/").status_code == 200
        assert http.get("/openapi.json").status_code == 200


def test_below_a_prefix_the_pages_and_the_document_have_it(tmp_path: Path) -> None:
    app = create_app(settings_in(tmp_path), runtime_factory=PointingRuntime)
    with TestClient(app, base_url="http://127.0.0.1", root_path="/wtl") as http:
        assert http.get("/openapi.json").json()["servers"] == [{"url": "/wtl"}]
        assert commands(http.get("/").text)[0].startswith("curl -s http://127.0.0.1/wtl/v1/adaptations ")


def test_a_report_of_any_shape_makes_a_page(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    for i, report in enumerate(({"methods": 3}, {"methods": {"wtl": {"curve": [{"success": "x"}]}}}, {})):
        bundle(f"m{i}", gain=i + 2.0).with_report(report).save(tmp_path / "models" / f"m{i}")
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        assert http.get("/").text.count("<li>") == 4


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_without_a_network_shows_the_models_and_every_operation(tmp_path: Path) -> None:
    app = create_app(settings_in(tmp_path), runtime_factory=PointingRuntime)

    def shown(url: str) -> str:
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--enable-logging=stderr",
            "--virtual-time-budget=20000", "--dump-dom", url,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert "Content Security Policy" not in done.stderr, done.stderr
        return done.stdout

    with served(app) as url:
        assert "<strong>point</strong>" in shown(url)
        page = shown(f"{url}/docs")
    operations = sum(len(item) for item in app.openapi()["paths"].values())
    assert len(re.findall(r'class="opblock-summary-path"', page)) == operations
    assert "Adapt a model to a task from demonstrations" in page


def test_the_demonstration_of_the_page_is_the_one_of_the_bundle(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    demo = Episode.of([[0, 0, 0.25], [1, 0, 0.5]], [[1, 0.125]])
    bundle().with_example(demo).save(tmp_path / "models" / "point")
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        assert "[[1.0, 0.125]]" in commands(http.get("/").text)[0]
