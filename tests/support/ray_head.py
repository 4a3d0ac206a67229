"""A Ray head on loopback that wants tokens, as a process of its own."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

TOKEN = "a-token-that-nobody-guesses-0123456789"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def environment(home: Path, token: str = TOKEN) -> dict[str, str]:
    given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "HOME": str(home)}
    left_out = ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR")
    return {name: value for name, value in os.environ.items() if name not in left_out} | given


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a cluster that wants a token, and the home of whoever uses it."""
    home, port = tmp_path_factory.mktemp("h"), free_port()
    command = ["ray", "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={port}", f"--temp-dir={home}/ray"]
    command += [f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"]
    log = (home / "log").open("w")
    process = subprocess.Popen(
        command, cwd=home, stdout=log, stderr=subprocess.STDOUT, env=environment(home), start_new_session=True
    )
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 180
    try:
        while not answers(address):
            assert process.poll() is None, (home / "log").read_text()[-3000:]
            assert time.monotonic() < deadline, (home / "log").read_text()[-3000:]
            time.sleep(2)
        yield address, home
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def answers(address: str) -> bool:
    asked = {"Authorization": f"Bearer {TOKEN}"}
    try:
        return httpx.get(f"{address}/api/jobs/", headers=asked, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
