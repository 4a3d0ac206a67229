"""The Python client: numpy in, numpy out, msgpack in between. Needs httpx; knows no server code but the codecs.

client = Client("http://127.0.0.1:8000")
adaptation = client.adapt("reach", demos=[demo])                          # watch
with adaptation.episode() as episode:                                     # try
    action = episode.act(observation)
    ...
    adaptation = episode.finish(observation, reward, success=success)     # learn

`AsyncClient` has the same verbs, awaited. What is asked (`calls`), what is answered (`answers`), and when to try
again (`exchange`) is written once; `blocking` and `awaiting` only send it.
"""

from service.client.async_client import AsyncAdaptation, AsyncClient, AsyncRecordedEpisode, AsyncTrainingJob
from service.client.export import Export
from service.client.policy import AsyncPolicy, Policy
from service.client.responses import (
    AdaptationState,
    Aliases,
    AliasMove,
    ClientError,
    JobEvent,
    JobState,
    Model,
    ModelVersion,
    Quality,
    QualityWarning,
)
from service.client.sync_client import Adaptation, Client, RecordedEpisode, TrainingJob

__all__ = [
    "Adaptation",
    "AdaptationState",
    "AliasMove",
    "Aliases",
    "AsyncAdaptation",
    "AsyncClient",
    "AsyncPolicy",
    "AsyncRecordedEpisode",
    "AsyncTrainingJob",
    "Client",
    "ClientError",
    "Export",
    "JobEvent",
    "JobState",
    "Model",
    "ModelVersion",
    "Policy",
    "Quality",
    "QualityWarning",
    "RecordedEpisode",
    "TrainingJob",
]
