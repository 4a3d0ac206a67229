"""When a training looks at validation tasks: by steps, or by the time that it has."""

from metalearn.training.looks import LEAST_OFTEN, LOOKING, Looks


def test_without_minutes_steps_alone_decide() -> None:
    looks = Looks(100, None)
    assert [step for step in range(1, 301) if looks.due(step, 1e9 * step)] == [100, 200, 300]


def test_slow_steps_are_looked_at_by_time() -> None:
    looks, minutes = Looks(100, 10.0), 10.0
    times = [step for step in range(1, 100) if looks.due(step, 8.0 * step)]
    assert times[0] == 1 + LEAST_OFTEN * 60 * minutes / 8


def test_costly_looks_take_at_most_their_share_of_the_time() -> None:
    looks, now, looking = Looks(10, 60.0), 0.0, 0.0
    for step in range(1, 2000):
        now += 1.0
        if looks.due(step, now):
            looks.took(step, now, now + 30.0)
            now, looking = now + 30.0, looking + 30.0
    assert 0.5 * LOOKING < looking / now <= LOOKING * 1.05


def test_what_is_to_be_seen_again_is_looked_at_soon_whatever_a_look_costs() -> None:
    looks = Looks(100, 20.0)
    looks.took(100, 0.0, 50.0)
    assert not looks.due(200, 60.0)
    assert not looks.due(199, 60.0, again=True)
    assert looks.due(200, 60.0, again=True)
