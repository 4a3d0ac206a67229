"""The Python client, with numpy arrays as arguments and results. Needs numpy, httpx and msgpack, and no server code.

    client = Client("http://127.0.0.1:8000")
    adaptation = client.adapt("reach", demos=[demo])                          # watch
    with adaptation.episode() as episode:                                     # try
        action = episode.act(observation)
        ...
        adaptation = episode.finish(observation, reward, success=success)     # learn

`AsyncClient` has the same methods as coroutines. Both only send: the requests are in `requests`, the responses in
`responses`, and the retries in `retry`.
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
    DatasetInfo,
    ExperimentInfo,
    JobEvent,
    JobState,
    Model,
    ModelVersion,
    Recognition,
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
    "DatasetInfo",
    "EpisodeQuality",
    "ExperimentInfo",
    "Export",
    "JobEvent",
    "JobState",
    "Model",
    "ModelVersion",
    "Policy",
    "QualityWarning",
    "Recognition",
    "RecordedEpisode",
    "TrainingJob",
]
