"""Training jobs: meta-training that the service starts, follows, and registers the bundle of."""

from service.jobs.jobs import Jobs
from service.jobs.record import Event, Job, JobRequest

__all__ = ["Event", "Job", "JobRequest", "Jobs"]
