"""RLlib's reader of the Parquet files of `metalearn.baselines.offline`: a row is a whole episode, and stays one.

Imports Ray: import it late. RLlib's own reader cuts episodes into single steps, and a step has no return.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.offline.offline_prelearner import OfflinePreLearner

from metalearn.data.episode import Array


class WholeEpisodes(OfflinePreLearner):  # type: ignore[misc]  # Ray has no types
    """Rows to episodes; what makes batches of them (returns, values, masks) is RLlib's learner pipeline."""

    def _map_sample_batch_to_episode(self, batch: Mapping[str, Any], **_: Any) -> dict[str, list[SingleAgentEpisode]]:
        columns = (batch[name] for name in ("eps_id", "obs", "actions", "rewards"))
        return {"episodes": [self._episode(*row) for row in zip(*columns, strict=True)]}

    def _postprocess_and_sample(self, episodes: list[SingleAgentEpisode]) -> list[SingleAgentEpisode]:
        return episodes

    def _episode(self, name: Any, observations: Array, actions: Array, rewards: Array) -> SingleAgentEpisode:
        """An episode that ends in a terminal state: what comes after its last step is worth nothing."""
        space = self.config.action_space
        done = np.stack(list(actions)) if actions.dtype == object else np.asarray(actions)
        episode = SingleAgentEpisode(
            id_=str(name),
            observations=list(np.stack(list(observations)).astype(np.float32)),
            actions=list(done.astype(space.dtype)),
            rewards=[float(reward) for reward in rewards],
            terminated=True,
            len_lookback_buffer=0,
        )
        episode.to_numpy()
        return episode
