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

from service.client.answers import (
    AdaptationState,
    Aliases,
    AliasMove,
    ClientError,
    Model,
    ModelVersion,
    Quality,
    QualityWarning,
    TrainingJob,
)
from service.client.awaiting import AsyncAdaptation, AsyncClient, AsyncRecordedEpisode
from service.client.blocking import Adaptation, Client, RecordedEpisode
from service.client.exported import Export
from service.client.policy import Policy

__all__ = [
    "Adaptation",
    "AdaptationState",
    "AliasMove",
    "Aliases",
    "AsyncAdaptation",
    "AsyncClient",
    "AsyncRecordedEpisode",
    "Client",
    "ClientError",
    "Export",
    "Model",
    "ModelVersion",
    "Policy",
    "Quality",
    "QualityWarning",
    "RecordedEpisode",
    "TrainingJob",
]
