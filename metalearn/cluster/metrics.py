"""A listener that exports the metrics of a training run to the Ray cluster's dashboard and to Prometheus.

Knows nothing about the training but its events.
"""

from ray.util.metrics import Gauge

from metalearn.training.events import Event

GAUGES = {
    "loss": "wtl_loss",
    "trial": "wtl_trial_success",
    "retrial": "wtl_retrial_success",
    "ends_in_s": "wtl_ends_in_seconds",
}


class RayMetrics:
    """A listener of the loop, in a process that has joined a cluster."""

    def __init__(self, experiment: str) -> None:
        self._gauges = {
            field: Gauge(name, description=f"{field} of the training run, latest", tag_keys=("experiment",))
            for field, name in GAUGES.items()
        }
        self._success = Gauge(
            "wtl_success", description="success on validation tasks, latest", tag_keys=("experiment", "trials")
        )
        self._done = Gauge("wtl_progress", description="part of a phase that is done", tag_keys=("experiment", "phase"))
        self._steps = Gauge("wtl_gradient_steps", description="gradient steps so far", tag_keys=("experiment",))
        self._tags = {"experiment": experiment}

    def __call__(self, event: Event) -> None:
        """Set the gauges that the event has values for."""
        if event.total:
            self._done.set(event.done / event.total, {**self._tags, "phase": event.phase})
        known = event.to_json()
        for field in self._gauges.keys() & known.keys():
            self._gauges[field].set(known[field], self._tags)
        for trials, rate in enumerate(event.success):
            self._success.set(rate, {**self._tags, "trials": str(trials)})
        if event.phase == "train":
            self._steps.set(event.done, self._tags)
