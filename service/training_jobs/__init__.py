"""Training jobs: meta-training that the service starts, follows, and registers the bundle of."""

from service.training_jobs.records import Event, Job, JobRequest
from service.training_jobs.supervisor import TrainingJobSupervisor

__all__ = ["Event", "Job", "JobRequest", "TrainingJobSupervisor"]
