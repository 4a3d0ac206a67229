"""Connections to a Ray cluster: joining or starting one, and noticing that its head is gone."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from metalearn.baselines.ray_start import start_ray
from metalearn.data.errors import InvalidConfig, WatchTryLearnError

CONNECT_TIMEOUT_S = 5.0
PROBE_S = 1.0
RAY_PATIENCE, RAY_PATIENCE_S = "RAY_gcs_rpc_server_reconnect_timeout_s", 60.0
"""After so long without a head Ray ends the process unasked: the variable that says it, and its default."""


class ClusterLost(WatchTryLearnError):
    """A cluster whose head does not answer any more."""


class HeadMonitor:
    """Probes in a thread of its own whether the head of a cluster answers at `address`.

    A head that comes back within half of Ray's own patience is waited for; later, nobody could say anything any more.
    """

    def __init__(self, address: str, patience_s: float | None = None, probe_s: float = PROBE_S) -> None:
        ray_patience_s = float(os.environ.get(RAY_PATIENCE, RAY_PATIENCE_S))
        self.address, self._probe_s = address, probe_s
        self._patience_s = ray_patience_s / 2 if patience_s is None else patience_s
        self._silent_since: float | None = None
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @classmethod
    def joined(cls) -> "HeadMonitor":
        """Monitor the head of the cluster that this process has joined."""
        return cls(ray.get_runtime_context().gcs_address)

    @property
    def lost(self) -> bool:
        """True if the head has been silent for too long."""
        since = self._silent_since
        return since is not None and time.monotonic() - since > self._patience_s

    def check(self) -> None:
        """Raise ClusterLost if it is lost."""
        if self.lost:
            raise ClusterLost(
                f"the head of the Ray cluster, {self.address}, has not answered for {self._patience_s:.0f} s: "
                "once a cluster is there again, the same command goes on from the last checkpoint"
            )

    def get(self, reference: Any) -> Any:
        """`ray.get`, for as long as there is a head. Raises ClusterLost."""
        while True:
            self.check()
            try:
                return ray.get(reference, timeout=self._probe_s)
            except GetTimeoutError:
                continue

    def close(self) -> None:
        """Stop the thread."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self._probe_s):
            asked = time.monotonic()
            if _answers(self.address):
                self._silent_since = None
            elif self._silent_since is None:
                self._silent_since = asked


def describe_cluster() -> dict[str, Any]:
    """Describe the joined cluster for the provenance: Ray's version, the job, nodes, CPUs and GPUs."""
    context, resources = ray.get_runtime_context(), ray.cluster_resources()
    metadata = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")).get("metadata", {})
    return {
        "ray": ray.__version__,
        "job": metadata.get("job_submission_id", context.get_job_id()),
        "nodes": sum(node["Alive"] for node in ray.nodes()),
        "cpus": int(resources.get("CPU", 0)),
        "gpus": int(resources.get("GPU", 0)),
    }


def connect(address: str | None, n_cpus: int | None = None) -> bool:
    """Join or start a cluster; return False if this process had joined one before.

    A cluster that is started has `n_cpus` at least, and asks for a token unless RAY_AUTH_MODE says otherwise.

    Raises:
        InvalidConfig: no cluster at `address`.
    """
    if address is not None and not _answers(address):
        raise InvalidConfig(f"no Ray cluster at {address}: nobody answers; `ray start --head` starts one")
    if ray.is_initialized():
        return False
    with _kept_signal_handler():
        if address is None:
            try:
                ray.init(address="auto", log_to_driver=False)
            except ConnectionError:
                address = "local"
            else:
                return True
        try:
            if address == "local":
                # Ray asks for a token by itself; set after its import, RAY_AUTH_MODE would half arrive.
                n_cpus = max(n_cpus or 1, os.cpu_count() or 1)
                start_ray(address="local", include_dashboard=False, num_cpus=n_cpus, log_to_driver=False)
            else:
                ray.init(address=address, log_to_driver=False)
        except InvalidConfig:
            raise
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            raise InvalidConfig(f"no Ray cluster at {address}: {str(error).strip().splitlines()[0]}") from error
    return True


def _answers(address: str) -> bool:
    """Probe `host:port`, since Ray itself tries for minutes. True if the address cannot be parsed."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return True
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError):
        return False
    return True


@contextmanager
def _kept_signal_handler() -> Iterator[None]:
    """`ray.init` takes SIGTERM for itself; a training run needs it to write its checkpoint."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler: Any = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
