"""The demo, with an untrained policy: what it reports has to be what the service did, good or bad."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.evaluation.manifest import load_manifest
from metalearn.evaluation.protocol import Protocol
from metalearn.evaluation.report import Report
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family
from service.client import Client
from wtl.demo import DemoFailed, play_over_rest, run_demo, serving

pytestmark = pytest.mark.slow


def untrained(experiment: str, out: Path) -> Path:
    family = find_family(experiment)
    torch.manual_seed(0)
    config = ModelConfig(encoder_width=16, policy_width=16, latent_dim=8)
    policy = ConditionalPolicy(config, family.spec)
    bundle = Bundle("reach", family.spec, config.model_dump(mode="json"), policy.to_weights())
    return bundle.save(out / "bundle")


def test_demo_leaves_models_report_and_plot_behind(tmp_path: Path) -> None:
    console = Console(record=True, width=100)
    report = run_demo(
        tmp_path,
        train=untrained,
        adapters=lambda bundle: {"wtl": Inference.load(bundle), "bc": Inference.load(bundle)},
        n_tasks=6,
        console=console,
    )
    assert Report.read(tmp_path / "report.json") == report
    assert list(report.methods) == ["wtl", "bc", "random", "expert", "bayes"]
    assert report.manifest.digest == load_manifest("reach-m2").digest
    assert (tmp_path / "report.png").stat().st_size > 10_000
    assert Bundle.load(tmp_path / "models" / "reach").id == report.bundle
    said = console.export_text()
    last = said.splitlines()[-1]  # the line that opens Play on what was trained
    assert f"wtl play reach-m2 --models {tmp_path / 'models'} --open" in last
    assert "Adapt to 6 test tasks over REST" in said


def test_every_task_is_an_adaptation_that_learns_from_each_attempt(tmp_path: Path) -> None:
    untrained("reach-m2", tmp_path / "models" / "x").rename(tmp_path / "models" / "reach")
    (tmp_path / "models" / "x").rmdir()
    protocol = Protocol.of(find_family("reach-m2"), load_manifest("reach-m2"), n_tasks=5)
    with serving(tmp_path / "models", tmp_path / "server.log") as url:
        played = play_over_rest(url, "reach", protocol, lambda stage, done, total: None)
        with Client(url) as client:
            served = list(client.adaptations())
    assert [(adaptation.n_demos, adaptation.n_trials) for adaptation in served] == [(1, 2)] * 5
    assert [len(episodes) for episodes in played.attempts] == [5, 5]
    assert played.n_actions == sum(len(episode) for episodes in played.attempts for episode in episodes)


def test_server_that_cannot_start_is_reported_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "models" / "broken").mkdir(parents=True)
    (tmp_path / "models" / "broken" / "bundle.json").write_text("{")
    with pytest.raises(DemoFailed, match=r"server\.log"), serving(tmp_path / "models", tmp_path / "server.log"):
        pass
