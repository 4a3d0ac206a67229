"""The Python client: numpy in, numpy out, msgpack in between. Needs numpy, httpx and msgpack, and no server code.

client = Client("http://127.0.0.1:8000")
adaptation = client.adapt("reach", demos=[demo])                          # watch
with adaptation.episode() as episode:                                     # try
    action = episode.act(observation)
    ...
    adaptation = episode.finish(observation, reward, success=success)     # learn

`AsyncClient` has the same methods, awaited. The requests (`requests`), the answers (`responses`) and the retries
(`retry`) are written once; `sync_client` and `async_client` only send them.
"""

from metalearn.data.quality import EpisodeQuality, QualityWarning
from service.client.async_client import (
    AsyncAdaptation,
    AsyncClient,
    AsyncPolicy,
    AsyncRecordedEpisode,
    AsyncTrainingJob,
)
from service.client.export import Export
from service.client.responses import (
    AdaptationState,
    AliasChange,
    Aliases,
    ClientError,
    JobEvent,
    JobState,
    Model,
    ModelVersion,
)
from service.client.sync_client import Adaptation, Client, Policy, RecordedEpisode, TrainingJob

__all__ = [
    "Adaptation",
    "AdaptationState",
    "AliasChange",
    "Aliases",
    "AsyncAdaptation",
    "AsyncClient",
    "AsyncPolicy",
    "AsyncRecordedEpisode",
    "AsyncTrainingJob",
    "Client",
    "ClientError",
    "EpisodeQuality",
    "Export",
    "JobEvent",
    "JobState",
    "Model",
    "ModelVersion",
    "Policy",
    "QualityWarning",
    "RecordedEpisode",
    "TrainingJob",
]
