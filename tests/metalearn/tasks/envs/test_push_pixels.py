"""Push in pictures, drawn by MuJoCo off screen; goals, physics and rewards are tested with `push`."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from support.opengl import skip_unless_drawn

from metalearn.data.errors import InvalidConfig
from metalearn.tasks.envs.metaworld.camera import open_camera
from metalearn.tasks.envs.metaworld.push_and_pick import Push
from metalearn.tasks.envs.metaworld.push_pixels import PushPixels, PushPixelsVectorEnv
from metalearn.tasks.rollout import demonstrate

TASKS = [2_000_000, 2_000_001, 2_000_002]


@pytest.fixture(autouse=True)
def drawn() -> None:
    skip_unless_drawn("push-pixels")


def begun(seeds: list[int]) -> PushPixelsVectorEnv:
    env = PushPixels().make_vec(TASKS[: len(seeds)])
    env.reset(seed=seeds)
    return env


def test_an_episode_is_pictures_and_the_arm_and_its_expert_succeeds() -> None:
    for scene in ("demo", "trial"):
        run = demonstrate(PushPixels(), TASKS, TASKS, scene)
        assert run.success.all()
        for episode in run.episodes:
            PushPixels().spec.check(episode)
            assert episode.observations["camera"].dtype == np.uint8


def test_its_goals_are_those_of_push_and_no_picture_shows_them() -> None:
    assert [PushPixels().goal(i).tolist() for i in TASKS] == [Push().goal(i).tolist() for i in TASKS]
    env = PushPixels().make_vec(TASKS)
    first, _ = env.reset(seed=[7, 7, 7])
    after = env.step(np.tile(np.array([0.5, 0.5, -1, 0], np.float32), (3, 1)))[0]
    for observations in (first, after):
        assert all((part == part[0]).all() for part in observations.values())
    assert len({tuple(goal) for goal in env.goals}) == 3


def test_an_episode_is_decided_by_task_seed_and_actions_and_not_by_other_rows() -> None:
    alone, together = (
        demonstrate(PushPixels(), TASKS[:1], [4], "trial"),
        demonstrate(PushPixels(), TASKS, [4, 5, 6], "trial"),
    )
    assert alone.episodes[0] == together.episodes[0]
    assert together.episodes[0] != together.episodes[1]


def test_hand_and_puck_are_seen_to_move() -> None:
    env = begun([1])
    pictures = [env.render_row(0)]
    for _ in range(12):
        env.step(env.expert_actions())
        pictures.append(env.render_row(0))
    assert all((a != b).any() for a, b in pairwise(pictures))
    red = [(p[..., 0] > 180) & (p[..., 1] < 60) for p in (pictures[0], pictures[-1])]
    places = [np.argwhere(mask).mean(0) for mask in red]
    assert np.linalg.norm(places[1] - places[0]) > 5  # the puck, in pixels


def test_what_was_observed_is_not_written_to_later_and_what_has_ended_is_not_drawn_again() -> None:
    env = begun([1, 2])
    before, *_ = env.step(env.expert_actions())
    kept = {name: part.copy() for name, part in before.items()}
    n_drawn: list[int] = []
    shoot = env._camera.shoot
    try:
        env._camera.shoot = lambda rows: (n_drawn.append(len(rows)), shoot(rows))[1]  # type: ignore[method-assign]
        for _ in range(40):
            env.step(env.expert_actions())
    finally:
        del env._camera.shoot
    assert all((before[name] == part).all() for name, part in kept.items())
    assert n_drawn[0] == 2
    assert n_drawn[-1] == 0


def test_where_nothing_can_be_drawn_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco.egl", None)
    with pytest.raises(InvalidConfig, match=r"expected OpenGL off screen .*apt install libegl1") as caught:
        open_camera.__wrapped__("push-v3")
    assert "\n" not in str(caught.value)
