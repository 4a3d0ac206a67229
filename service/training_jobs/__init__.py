"""Training jobs: start meta-training on this machine or a Ray cluster, follow it, and register its bundle.

The life of a job belongs here. The training itself is `wtl train`, which runs in a process of its own.
"""

from service.training_jobs.records import Event, Job, JobRequest
from service.training_jobs.supervisor import TrainingJobSupervisor

__all__ = ["Event", "Job", "JobRequest", "TrainingJobSupervisor"]
