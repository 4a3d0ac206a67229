"""What a report says of an episode, by hand."""

import numpy as np
import pytest
from gymnasium import spaces

from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.quality import EpisodeQuality
from metalearn.data.spec import Spec
from metalearn.quality import inspect

SPEC = Spec(spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32), 10, 20.0)


def report(episode: Episode, role: str = "demos", spec: Spec = SPEC) -> EpisodeQuality:
    [found] = inspect(Context(**{role: (episode,)}), spec)
    return found


def codes(episode: Episode, role: str = "demos") -> set[str]:
    return {remark.code for remark in report(episode, role).warnings}


def moving(n_steps: int = 4, **fields: object) -> Episode:
    t = np.arange(n_steps + 1)[:, None]
    given = {"actions": np.stack([np.linspace(-0.5, 0.5, n_steps), np.zeros(n_steps)], 1), "success": True}
    return Episode.of(**({"observations": np.hstack([t, t * 0.5, t * 0 + 7])} | given | fields))


def test_numbers_of_a_good_episode() -> None:
    q = report(moving(rewards=[0, 0, 0, 1]))
    assert (q.steps, q.horizon, q.rate_hz, q.duration_s) == (4, 10, 20.0, 0.2)
    assert (q.clipped, q.constant_actions, q.constant_observations, q.total_reward) == (0, (1,), (2,), 1)
    assert q.warnings == ()


@pytest.mark.parametrize(
    ("episode", "role", "code"),
    [
        (moving(1), "demos", "short"),
        (moving(10, success=False), "trials", "at-horizon"),
        (moving(actions=np.full((4, 2), [[1, -1]]) * [[1], [1], [1], [0.5]]), "demos", "clipped-actions"),
        (moving(actions=np.full((4, 2), 0.25)), "demos", "constant-actions"),
        (moving(observations=np.ones((5, 3))), "demos", "constant-observations"),
        (moving(success=False), "demos", "failed-demo"),
        (moving(success=None), "trials", "no-outcome"),
        (moving(actions=None), "trials", "no-actions"),
    ],
)
def test_each_warning_has_its_cause(episode: Episode, role: str, code: str) -> None:
    assert codes(episode, role) == {code}


def test_half_of_the_numbers_at_a_bound_is_half() -> None:
    assert report(moving(actions=[[1, 0], [-1, 0], [1, 0], [-1, 0]])).clipped == 0.5


def test_unbounded_and_discrete_actions_are_never_clipped() -> None:
    free = Spec(SPEC.observation_space, spaces.Box(-np.inf, np.inf, (2,), np.float32), 10, 20.0)
    keys = Spec(SPEC.observation_space, spaces.Discrete(3), 10, 20.0)
    assert report(moving(), spec=free).clipped is None
    q = report(moving(actions=[0, 1, 2, 0]), spec=keys)
    assert (q.clipped, q.constant_actions) == (None, ())


CAMERA = Spec(
    spaces.Dict({"arm": spaces.Box(-9, 9, (2,)), "camera": spaces.Box(0, 255, (4, 4, 3), np.uint8)}),
    SPEC.action_space,
    10,
    20.0,
)


@pytest.mark.parametrize(
    ("camera", "expected"),
    [
        (np.zeros((5, 4, 4, 3)), {"black-pictures": "camera: every pixel is 0 in all 5 frames"}),
        (np.full((5, 4, 4, 3), 9), {"frozen-camera": "camera: all 5 frames are equal, as of a camera that froze"}),
        (np.arange(240).reshape(5, 4, 4, 3), {}),
    ],
)
def test_a_camera_that_is_black_or_froze_is_named(camera: np.ndarray, expected: dict[str, str]) -> None:
    t = np.arange(5)[:, None]
    seen = {"arm": np.hstack([t * 0 + 1, t]), "camera": camera.astype(np.uint8)}
    found = report(moving(observations=seen), spec=CAMERA)
    assert {one.code: one.message for one in found.warnings} == expected
    assert found.constant_observations == (0,)
