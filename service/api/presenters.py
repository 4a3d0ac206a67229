"""Conversion of adaptations, models and training jobs to response bodies."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.config import Experiment
from metalearn.data.asks import AskOffer, kinds_of
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.quality import inspect
from service.adaptations.records import Adaptation, VersionRow
from service.api.schemas.adaptations import (
    AdaptationState,
    BeliefState,
    EpisodeBody,
    Origin,
    Uploaded,
    VersionState,
)
from service.api.schemas.datasets import DatasetState
from service.api.schemas.experiments import ExperimentState
from service.api.schemas.models import (
    AliasState,
    ModelCard,
    ModelSpec,
    ModelVersion,
    ModelVersionPage,
    ObservationPart,
    OfferedAsk,
)
from service.api.schemas.training_jobs import (
    TrainingJobState,
    TrainingProgress,
)
from service.container import Container
from service.inference import ActResult
from service.registry.catalog import AliasChange, ModelVersionRow
from service.registry.registry import Model, ModelInfo
from service.storage.dataset_store import UploadedDataset
from service.training_jobs import Job


def adaptation_state(container: Container, adaptation: Adaptation, *, confidence: bool = True) -> AdaptationState:
    """Present an adaptation, with its belief and confidence or without."""
    policy = container.adaptations.available_policy(adaptation) if confidence else None
    estimate = None if policy is None else policy.confidence
    return AdaptationState(
        id=adaptation.id,
        model=adaptation.model,
        model_version=adaptation.model_version,
        version=adaptation.version,
        n_demos=adaptation.n_demos,
        n_trials=adaptation.n_trials,
        ask=dict(adaptation.ask),
        ask_warnings=list(container.adaptations.ask_warnings(adaptation)),
        belief=None if policy is None else belief_state(policy.belief),
        confidence=None if estimate is None else round(estimate.success, 4),
        value_of_trial=None if estimate is None else round(estimate.value_of_trial, 4),
        novelty=None if estimate is None or estimate.novelty is None else round(estimate.novelty, 4),
        forked_from=origin_of(adaptation),
        created_at=iso(adaptation.created_at),
        expires_at=iso(container.clock.to_wall(adaptation.expires_at)),
    )


def belief_state(belief: Belief) -> BeliefState:
    """Present a belief."""
    entropy = round(max(0.0, belief.entropy / math.log(2)), 4)
    success = _rounded(belief.success) if belief.success is not None and belief.searches else None
    return BeliefState(probabilities=_rounded(belief.probabilities), success=success, entropy_bits=entropy)


def _rounded(shares: Array) -> list[float]:
    return [round(float(one), 4) for one in shares]


def origin_of(adaptation: Adaptation) -> Origin | None:
    """Return what an adaptation was forked from, or None if it is no fork."""
    if adaptation.origin is None or adaptation.origin_version is None:
        return None
    return Origin(id=adaptation.origin, version=adaptation.origin_version)


def version_state(row: VersionRow) -> VersionState:
    """Present one version of an adaptation."""
    return VersionState(**vars(row) | {"created_at": iso(row.created_at)})


def upload_answer(
    container: Container, adaptation: Adaptation, model: Model, upload: Context, rate_hz: float | None
) -> Uploaded:
    """Present an adaptation after an upload, with a quality report. A repeated POST gets the same report."""
    digests = [episode.digest for episode in upload.demos + upload.trials]
    stored = container.repository.earlier(adaptation, digests)
    quality = inspect(upload, model.spec, model.confidence, stored=stored, rate_hz=rate_hz)
    return Uploaded(**dict(adaptation_state(container, adaptation)), quality=quality)


def iso(seconds: float) -> str:
    """Format seconds since 1970 as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def offered_asks(offers: Sequence[AskOffer]) -> list[OfferedAsk]:
    """Present what a model can be asked for."""
    return [
        OfferedAsk(
            kind=offer.kind,
            accepts=kinds_of([offer.kind])[0].accepted(offer),
            size=len(offer.low),
            low=list(offer.low),
            high=list(offer.high),
            examples=list(offer.examples),
            encoder=offer.encoder or None,
        )
        for offer in offers
    ]


def model_card(info: ModelInfo) -> ModelCard:
    """Present an available model, with an example episode that it accepts."""
    return ModelCard(
        name=info.name,
        version=info.version,
        aliases=list(info.aliases),
        runtime=info.runtime,
        spec=ModelSpec(**info.bundle.spec.to_json()),
        parts=[
            ObservationPart(
                name=part.name,
                kind=part.kind,
                shape=list(part.shape),
                dtype="uint8" if part.dtype.name == "uint8" else "float32",
            )
            for part in info.bundle.spec.parts
        ],
        asks=offered_asks(info.bundle.asks),
        report=info.bundle.report,
        provenance=info.bundle.provenance,
        example=EpisodeBody(**example_of(info.bundle).to_json()),
    )


def example_of(bundle: Bundle) -> Episode:
    """Return the demonstration that a bundle has as its example; random numbers that fit its spec if it has none."""
    return bundle.example or bundle.spec.example_episode(np.random.default_rng(0))


def experiment_state(experiment: Experiment) -> ExperimentState:
    """Present an experiment that can be trained."""
    data, model, training = experiment.data, experiment.model, experiment.training
    fixed = not training.automatic
    return ExperimentState(
        name=experiment.name,
        model=experiment.model_name,
        family=experiment.family,
        suite=experiment.manifest,
        n_tasks=None if experiment.decides_tasks else data.n_tasks,
        demos_per_task=data.demos_per_task,
        batch_tasks=training.batch_tasks,
        minutes=training.minutes,
        steps=training.total_steps if fixed else training.steps,
        trials_per_task=training.trials_per_task if fixed else None,
        rounds=training.rounds if fixed else None,
        n_hypotheses=model.n_hypotheses if fixed else None,
        latent_dim=model.latent_dim if fixed else None,
    )


def alias_state(change: AliasChange) -> AliasState:
    """Present one change of an alias."""
    return AliasState(
        name=change.name, alias=change.alias, version=change.version, action=change.action, at=iso(change.at)
    )


def model_versions(container: Container, rows: Sequence[ModelVersionRow]) -> ModelVersionPage:
    """Present versions of models, each with the aliases that point at it."""
    registry = container.registry
    alias_targets = {name: registry.catalog.alias_targets(name).get(name, {}) for name in {row.name for row in rows}}
    items = [
        ModelVersion(
            name=row.name,
            version=row.version,
            bundle=row.bundle,
            registered_at=iso(row.registered_at),
            aliases=[alias for alias, version in alias_targets[row.name].items() if version == row.version],
            runtime=registry.runtime_of(row.name, row.version),
            asks=None if (offers := registry.asks(row)) is None else offered_asks(offers),
        )
        for row in rows
    ]
    return ModelVersionPage(items=items, next_cursor=None)


def dataset_state(dataset: UploadedDataset) -> DatasetState:
    """Present an uploaded data set, without its episodes."""
    return DatasetState(
        name=dataset.name,
        spec=dataset.spec,
        n_tasks=len(dataset.task_names),
        n_episodes=dataset.n_episodes,
        n_bytes=dataset.n_bytes,
        created_at=iso(dataset.created_at),
        updated_at=iso(dataset.updated_at),
    )


def training_job_state(job: Job) -> TrainingJobState:
    """Present a training job, without its log."""
    return TrainingJobState(
        id=job.id,
        experiment=job.experiment or None,
        dataset=job.dataset,
        family=job.family,
        seed=job.seed,
        steps=job.steps,
        minutes=job.minutes,
        settings=dict(job.settings),
        name=job.name,
        state=job.state,
        stop_requested=job.stop_requested,
        backend=job.backend,
        attempt=job.attempt,
        progress=None if job.progress is None else TrainingProgress(**job.progress),
        error=job.error,
        model=job.model,
        model_version=job.model_version,
        created_at=iso(job.created_at),
        started_at=None if job.started_at is None else iso(job.started_at),
        finished_at=None if job.finished_at is None else iso(job.finished_at),
    )


def act_response(result: ActResult, decode_ms: float, total_ms: float) -> dict[str, Any]:
    """Make the body of a response with actions and the duration of each stage."""
    timing = {"decode_ms": decode_ms, "queue_ms": result.queue_ms, "infer_ms": result.infer_ms, "total_ms": total_ms}
    return {"actions": result.actions, "server_timing": timing}


def server_timing(result: ActResult, decode_ms: float, encode_ms: float) -> str:
    """Format the Server-Timing header."""
    return (
        f"decode;dur={decode_ms:.3f}, queue;dur={result.queue_ms:.3f}, "
        f"infer;dur={result.infer_ms:.3f}, encode;dur={encode_ms:.3f}"
    )
