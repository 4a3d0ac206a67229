"""Alerts, dashboards and scripts: metrics exist, every alert has a runbook, derived Jobs keep the policies."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import policies

from service.observability.metrics import Metrics

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "k8s" / "scripts"
ALERTS = yaml.safe_load((ROOT / "docker/prometheus/alerts.yml").read_text())["groups"]
MONITORING = list(yaml.safe_load_all((ROOT / "k8s/base/monitoring.yaml").read_text()))
[KUBERNETES_ALERTS] = [document["spec"]["groups"] for document in MONITORING if document["kind"] == "PrometheusRule"]
EVERY_ALERT = [rule for group in KUBERNETES_ALERTS for rule in group["rules"]]
PAGE = (ROOT / "docs/operations.md").read_text()
OURS = re.compile(r"\bwtl_[a-z_]+")
# What the database says, exposed while a service runs (service/api/gauges.py).
READ_WHEN_SCRAPED = re.findall(
    r'"(wtl_[a-z_]+)"', "".join(path.read_text() for path in (ROOT / "service").rglob("*.py"))
)


def exposed() -> set[str]:
    """The names of our time series."""
    names = {"wtl_build_info", *READ_WHEN_SCRAPED}
    for family in Metrics.make().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


def test_compose_and_kubernetes_have_the_same_alerts():
    assert [group for group in KUBERNETES_ALERTS if group["name"] != "wtl-kubernetes"] == ALERTS


@pytest.mark.parametrize("rule", EVERY_ALERT, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_where_its_runbook_is(rule: policies.Document):
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    anchor = rule["annotations"]["runbook_url"].partition("operations.md#")[2]
    assert anchor == rule["alert"].lower()
    assert f"### {rule['alert']}\n" in PAGE


def test_a_runbook_has_an_alert():
    runbooks = PAGE.partition("## Runbooks")[2].partition("\n## ")[0]
    assert set(re.findall(r"^### (\w+)$", runbooks, re.M)) == {rule["alert"] for rule in EVERY_ALERT}


def unknown_metrics(text: str) -> set[str]:
    return {name for name in OURS.findall(text) if name not in exposed()}


def test_alerts_ask_for_metrics_that_there_are():
    assert unknown_metrics(json.dumps([rule["expr"] for rule in EVERY_ALERT])) == set()
    assert unknown_metrics("rate(wtl_request_total[5m])") == {"wtl_request_total"}


@pytest.mark.parametrize(
    "dashboard", sorted((ROOT / "docker/grafana/dashboards").glob("*.json")), ids=lambda path: path.name
)
def test_dashboards_ask_for_metrics_that_there_are(dashboard: Path):
    queries = re.findall(r'"expr": "((?:[^"\\]|\\.)*)"', dashboard.read_text())
    assert queries
    assert unknown_metrics(" ".join(queries)) == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: expressions are not parsed")
def test_prometheus_understands_the_rules():
    done = subprocess.run(
        ["promtool", "check", "rules", ROOT / "docker/prometheus/alerts.yml"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", sorted(SCRIPTS.iterdir()), ids=lambda path: path.name)
def test_a_script_can_be_read_and_run(script: Path):
    assert script.stat().st_mode & 0o111
    text = script.read_text()
    if "python3" in text.splitlines()[0]:
        compile(text, script.name, "exec")
    else:
        assert subprocess.run(["sh", "-n", script], capture_output=True, timeout=60).returncode == 0


def derived(kind: str, name: str, *by: str) -> policies.Document:
    """The Job that a script makes of a rendered document."""
    rendered = subprocess.run(["kubectl", "kustomize", ROOT / "k8s/overlays/prod"], capture_output=True, timeout=60)
    only = subprocess.run([SCRIPTS / "only", kind, name], input=rendered.stdout, capture_output=True, timeout=60)
    made = subprocess.run(
        [sys.executable, SCRIPTS / by[0], *by[1:]], input=only.stdout, capture_output=True, timeout=60
    )
    assert made.returncode == 0, made.stderr.decode()
    return json.loads(made.stdout)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: nothing renders")
@pytest.mark.parametrize(
    ("kind", "name", "by", "runs"),
    [
        ("Job", "wtl-migrate", ("instead", "wtl-key-1", "keys", "create"), ["keys", "create"]),
        ("CronJob", "wtl-backup", ("restoring", "2026"), ["sh", "/opt/backup/restore.sh", "2026"]),
    ],
)
def test_what_a_script_makes_keeps_the_policies(kind: str, name: str, by: tuple[str, ...], runs: list[str]):
    import kubernetes_validate

    job = derived(kind, name, *by)
    kubernetes_validate.validate(job, "1.33", strict=True)
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert runs in (container.get("command"), container.get("args"))
    for rule in ("runs_as_somebody", "root_is_read_only", "gains_no_privilege", "has_limits", "mounts_no_token"):
        assert list(policies.RULES[rule]([job])) == []
