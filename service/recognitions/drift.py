"""Drift watch: do the trials of an adaptation still look like the policy that was released?

In a thread of its own, through the engine, so that no request waits for it. What comes faster than it is looked at is
left out and counted.
"""

import queue
import threading

import numpy as np
import structlog

from metalearn.data.episode import Episode
from metalearn.recognition import Candidates
from metalearn.recognition.candidates import expand
from service.adaptations.records import Adaptation
from service.adaptations.service import AdaptationService
from service.inference import Engine
from service.observability.metrics import Metrics
from service.recognitions.service import PIECE_ROWS
from service.registry.model_cache import units_of

MOST_WAITING = 256
_log = structlog.get_logger("service")


class DriftWatch:
    """Compares the actions of trials with those of the version of the adaptation that acted."""

    def __init__(self, adaptations: AdaptationService, engine: Engine, metrics: Metrics) -> None:
        self._adaptations, self._engine, self._metrics = adaptations, engine, metrics
        self._waiting: queue.Queue[tuple[Adaptation, Episode] | None] = queue.Queue(MOST_WAITING)
        self._worker = threading.Thread(target=self._work, name="drift", daemon=True)

    def start(self) -> None:
        """Start to watch."""
        self._worker.start()

    def close(self) -> None:
        """Stop after what is being looked at; the rest is left out."""
        while True:
            try:
                self._waiting.put_nowait(None)
                break
            except queue.Full:
                self._waiting.get_nowait()
        self._worker.join()

    def watch(self, adaptation: Adaptation, *trials: Episode) -> None:
        """Look at trials of this version, later. Those without actions say nothing. Never blocks."""
        for trial in trials:
            if trial.actions is not None:
                try:
                    self._waiting.put_nowait((adaptation, trial))
                except queue.Full:
                    self._metrics.drift_left_out.inc()

    def _work(self) -> None:
        while (found := self._waiting.get()) is not None:
            adaptation, trial = found
            try:
                deviation = self.deviation(adaptation, trial)
            except Exception as error:  # a model may be busy, gone, or not recognise anybody
                self._metrics.drift_left_out.inc()
                _log.warning("a trial was not compared with its policy", adaptation=adaptation.id, error=str(error))
            else:
                self._metrics.drift.labels(adaptation.model).observe(deviation)

    def deviation(self, adaptation: Adaptation, trial: Episode) -> float:
        """Return how far the actions are from the policy's, under the hypothesis that they are nearest to.

        The root mean square difference in units of the model (halves of the range, usually); of choices the share
        that are others. An episode has one hypothesis, which may have been drawn.

        Raises:
            Busy, ModelUnavailable, NoHeads: it cannot be computed now.
        """
        model = self._adaptations.model(adaptation)
        candidates = Candidates.of([[expand(self._adaptations.adapted_policy(adaptation).belief)]])
        size, found, units = max(1, PIECE_ROWS // len(trial)), [], units_of(model)
        assert trial.actions is not None
        for start in range(0, len(candidates.owner), size):
            part = slice(start, start + size)
            heads = self._engine.heads(
                model.runtime, candidates.latents[part], candidates.hypotheses[part], trial.observations, trial.actions
            )
            found.append(heads.out)
        out, done = np.concatenate(found), units.encode_actions(trial.actions)
        if units.spec.discrete:
            cuts = np.cumsum(units.spec.action_choices)[:-1]
            pairs = zip(np.split(out, cuts, -1), np.split(done, cuts, -1), strict=True)
            other = np.any([mine.argmax(-1) != its.argmax(-1) for mine, its in pairs], axis=0)
            return float(other.mean(-1).min())
        low, high = units.bounds
        return float(np.sqrt(np.square(done - np.clip(out, low, high)).mean((1, 2))).min())
