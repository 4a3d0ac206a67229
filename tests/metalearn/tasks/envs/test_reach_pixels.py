"""Pictures of the tasks of reach-m2; what holds for every reach is in `test_reach`."""

import numpy as np

from metalearn.tasks.envs.reach import reach_m2
from metalearn.tasks.envs.reach_pixels import ReachPixelsVectorEnv, reach_pixels
from metalearn.tasks.registry import find_family
from metalearn.tasks.rendering import blend_discs
from metalearn.tasks.rollout import demonstrate

TASKS = list(range(2_000_000, 2_000_020))


def looking(seeds: list[int]) -> ReachPixelsVectorEnv:
    env = reach_pixels().make_vec(TASKS[: len(seeds)])
    env.reset(seed=seeds)
    return env


def test_its_tasks_are_those_of_reach_m2() -> None:
    seen, told = (demonstrate(find_family(name), TASKS, TASKS, "trial") for name in ("reach-pixels", "reach-m2"))
    for a, b in zip(seen.episodes, told.episodes, strict=True):
        np.testing.assert_array_equal(a.actions, b.actions)
        assert a.observations.dtype == np.uint8
        assert a.observations.shape == (len(b) + 1, 64, 64, 3)


def test_what_it_achieved_is_read_from_the_picture() -> None:
    seen, told = (demonstrate(find_family(name), TASKS, TASKS, "trial") for name in ("reach-pixels", "reach-m2"))
    for a, b in zip(seen.episodes, told.episodes, strict=True):
        places = reach_m2().achieved_goal(b.observations)
        np.testing.assert_allclose(reach_pixels().achieved_goal(a.observations), places, atol=0.01)


def test_a_move_of_a_tenth_of_a_pixel_shows() -> None:
    env = looking([1])
    before = env.render_row(0)
    env.positions += 0.1 * 2.2 / 64
    assert (env.render_row(0) != before).any()


def test_objects_are_seen_where_they_are_and_in_the_colour_of_their_slot() -> None:
    env = looking([3])
    _, _, colours = reach_pixels().roles(env.colours[0], TASKS[0])
    for place, colour in zip([*env.objects[0], env.positions[0]], [*colours, np.ones(3)], strict=True):
        column, row = np.round((place * (1, -1) + 1.1) * 64 / 2.2 - 0.5).astype(int)
        np.testing.assert_array_equal(env.render_row(0)[row, column], np.round(255 * colour))


def test_pictures_of_rows_do_not_depend_on_each_other_and_are_not_written_to_later() -> None:
    together, alone = looking([5, 6, 7]), looking([5])
    first = together.render_row(0)
    np.testing.assert_array_equal(first, alone.render_row(0))
    kept = first.copy()
    together.step(np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(first, kept)
    assert (together.render_row(0) != kept).any()


def test_a_disc_beyond_the_edge_is_cut_off_and_one_within_covers_its_area() -> None:
    pictures = np.zeros((2, 9, 9, 1), np.uint8)
    blend_discs(pictures, np.array([[4.3, 3.8], [40.0, -20.0]]), 2.0, (255,))
    assert abs(pictures[0].sum() / 255 - 4 * np.pi) < 0.4
    assert pictures[1].sum() == 0
