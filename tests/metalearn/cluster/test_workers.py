import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from support.worker_functions import die, die_once, refuse, slowly, square, threads

from metalearn.cluster.connection import ClusterLost, HeadMonitor
from metalearn.cluster.jobs import persistent_path
from metalearn.cluster.workers import IN_FLIGHT, PATIENCE_S, RayCollector, WorkersLost
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.training.collect import PrefetchingCollector

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def collector():
    with RayCollector("local", n_actors=2, spare=1) as collector:  # a CPU for the collector of another test
        yield collector


@pytest.mark.slow
def test_results_come_in_the_order_of_the_items(collector):
    assert list(collector.map(square, range(10))) == [n * n for n in range(10)]


@pytest.mark.slow
def test_a_worker_has_one_thread(collector):
    assert list(collector.map(threads, [0])) == ["1"]


@pytest.mark.slow
def test_a_lost_worker_loses_no_result(collector, tmp_path):
    results = list(collector.map(partial(die_once, tmp_path / "died"), range(6)))
    assert (tmp_path / "died").exists()
    assert results == [n * n for n in range(6)]


@pytest.mark.slow
def test_what_the_function_raises_is_raised_as_it_is(collector):
    with pytest.raises(InvalidData, match="observations: expected finite numbers, got nan") as caught:
        list(collector.map(refuse, [0]))
    assert type(caught.value) is InvalidData


@pytest.mark.slow
def test_work_goes_on_in_the_background_behind_newer_work(collector):
    behind = collector.map(slowly, range(40))
    assert list(collector.map(square, [2, 3])) == [4, 9]
    assert isinstance(collector, PrefetchingCollector)
    deadline = time.monotonic() + 60
    while len(behind.done) < 40 and time.monotonic() < deadline:
        collector.advance()
        assert collector.in_flight <= 2 * IN_FLIGHT  # however much there is to do
        time.sleep(0.01)
    assert list(behind) == [n * n for n in range(40)]


@pytest.mark.slow
def test_an_actor_that_is_killed_from_outside_is_replaced(collector):
    lost, results = collector.counts["lost"], collector.map(slowly, range(60))
    found = [next(results) for _ in range(10)]
    os.kill(collector.pids[0], signal.SIGKILL)
    assert [*found, *results] == [n * n for n in range(60)]
    assert collector.counts["lost"] == lost + 1


@pytest.mark.slow
def test_work_that_kills_every_worker_is_given_up(collector):
    with pytest.raises(WorkersLost):
        list(collector.map(die, [0]))
    assert list(collector.map(square, [5])) == [25]


@pytest.mark.slow
def test_the_handler_of_sigterm_is_still_ours(collector):
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_address_where_nobody_answers_is_one_sentence_that_says_what_to_do():
    with pytest.raises(InvalidConfig, match=r"no Ray cluster at 127\.0\.0\.1:1: nobody answers; `ray start --head`"):
        RayCollector("127.0.0.1:1", n_actors=1)


@pytest.mark.slow  # Ray tries for ten seconds
def test_a_cluster_that_wants_a_token_is_one_sentence_to_who_has_none(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}
        command = [sys.executable, "-m", "wtl.cli", "train", "reach-m2", "--ray-address", address]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert found.returncode == 2
    said = found.stderr.strip().splitlines()[-1]
    assert said.startswith(f"wtl: no Ray cluster at {address}: ")
    assert "token" in said


def wait_until(holds, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_a_head_that_does_not_answer_any_more_is_noticed_and_said():
    server = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{server.getsockname()[1]}"
    head = HeadMonitor(address, patience_s=0.1, probe_s=0.01)
    try:
        time.sleep(0.3)
        head.check()
        server.close()
        wait_until(lambda: head.lost)
        with pytest.raises(
            ClusterLost, match=f"head of the Ray cluster, {address}, .* goes on from the last checkpoint"
        ):
            head.check()
    finally:
        head.close()


def test_a_head_that_comes_back_in_time_is_not_lost():
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    head = HeadMonitor(f"127.0.0.1:{port}", patience_s=3600, probe_s=0.01)
    try:
        server.close()
        wait_until(lambda: head._silent_since is not None)
        with socket.create_server(("127.0.0.1", port)):
            wait_until(lambda: head._silent_since is None)
        head.check()
    finally:
        head.close()


def test_a_command_leaves_before_ray_would_end_it_unasked(monkeypatch):
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "20")
    head = HeadMonitor("127.0.0.1:1")
    head.close()
    assert 0 < head._patience_s < 20


@pytest.mark.slow
def test_workers_that_are_first_wanted_late_are_not_missed_at_once(collector):
    with RayCollector(n_actors=1) as late:
        late._last_progress_s -= 2 * PATIENCE_S
        assert list(late.map(square, [3])) == [9]


def test_what_a_job_leaves_outlives_the_copy_that_it_runs_in():
    unpacked = Path("/tmp/ray/session_1/runtime_resources/working_dir_files/_ray_pkg_0123")
    assert persistent_path(Path("runs/a"), unpacked, Path("/home/me")) == Path("/home/me/runs/a")
    assert persistent_path(Path("/shared/a"), unpacked, Path("/home/me")) == Path("/shared/a")
    assert persistent_path(Path("runs/a"), Path("/work"), Path("/home/me")) == Path("runs/a")


@pytest.mark.slow
def test_figures_of_a_run_are_metrics_of_the_cluster(collector):
    import httpx
    import ray

    from metalearn.cluster.metrics import RayMetrics
    from metalearn.training.events import Event

    listen = RayMetrics("reach-m2")
    listen(Event("train", 10, 40, loss=2.0, success=(0.25, 0.75), ends_in_s=90.0))
    (node,) = ray.nodes()
    url, deadline = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", time.monotonic() + 60
    shown: dict[str, float] = {}
    while not shown and time.monotonic() < deadline:
        time.sleep(1)
        lines = [line for line in httpx.get(url, timeout=10).text.splitlines() if line.startswith("ray_wtl_")]
        shown = {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines}
    assert shown["ray_wtl_retrial_success"] == 0.75
    assert 'trials="1"' in next(line for line in lines if line.startswith("ray_wtl_success{") and "0.75" in line)
    assert shown["ray_wtl_ends_in_seconds"] == 90
    assert shown["ray_wtl_progress"] == 0.25
    assert shown["ray_wtl_gradient_steps"] == 10
