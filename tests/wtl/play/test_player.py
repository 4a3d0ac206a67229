"""A player on a real server: what a page may ask for, without a page."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from own_task import Doors
from support.playing import ServerProcess

from metalearn.data.errors import InvalidConfig
from metalearn.tasks.registry import find_family
from metalearn.tasks.single_row import SingleRowEnv
from service.client import Client
from wtl.play.choices import Choices
from wtl.play.commands import carry_out
from wtl.play.controls import controls_of
from wtl.play.films import Film, FilmStore, encode
from wtl.play.player import Player
from wtl.play.stage import Stage
from wtl.play.view import state_of

REACH = 2_000_017


class Page:
    """A player, driven to the end of whatever goes on after each command."""

    def __init__(self, url: str, films: Path, family: str = "reach-m2") -> None:
        self.client, self.changed = Client(url, retries=0), list[str]()
        choices = Choices(self.client.models(), family)
        rng = np.random.default_rng(0)
        self.shown: list[dict[str, Any]] = []
        self.player = Player(
            Client(url, retries=0, timeout_s=5),
            choices,
            FilmStore(films),
            rng,
            lambda _, about: self.shown.append(dict(about)),
            self.changed.append,
        )

    def do(self, name: str, **command: Any) -> dict[str, Any]:
        self.begin(name, **command)
        for _ in range(500):
            if not self.player.busy or self.player.tick() >= 1:
                break
        return self.state

    def begin(self, name: str, **command: Any) -> None:
        carry_out(self.player, {"do": name, **command})

    @property
    def state(self) -> dict[str, Any]:
        return state_of(self.player)


@pytest.fixture
def make_page(server: ServerProcess, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def make(family: str = "reach-m2") -> Page:
        pages.append(Page(server.url, tmp_path / "films", family))
        return pages[-1]

    yield make
    for page in pages:
        page.player.close()
        page.client.close()


def shown(make_page: Callable[..., Page]) -> Page:
    page = make_page()
    page.do("choose", task=REACH)
    page.do("demo", by="expert")
    return page


def test_show_try_learn(make_page: Callable[..., Page]):
    page = shown(make_page)
    before = page.state["adaptation"]
    assert before["confidence"] == pytest.approx(0.5, abs=0.1)
    state = page.do("try")
    outcomes = [one["success"] for one in state["episodes"] if one["role"] == "trial"]
    state = page.do("try")
    assert len(outcomes) == 1
    assert state["episodes"][-1]["success"] is True  # it knows by now, whatever the first attempt was
    assert state["adaptation"]["version"] == 3
    assert state["adaptation"]["confidence"] > 0.95
    assert [row["n_trials"] for row in state["adaptation"]["history"]] == [0, 1, 2]


def test_what_was_played_is_what_the_server_has_and_every_episode_has_its_film(make_page: Callable[..., Page]):
    page = shown(make_page)
    state = page.do("try")
    known = page.client.adaptation(state["adaptation"]["id"]).episodes()
    assert [one["digest"] for one in state["episodes"]] == [one.digest for one in known.demos + known.trials]
    film = page.player.films.load(known.trials[0].digest)
    assert film is not None and len(film.pictures) == len(known.trials[0]) + 1


def test_a_person_takes_over_and_gives_back_and_the_trial_holds_the_actions_of_both(make_page: Callable[..., Page]):
    page = shown(make_page)
    page.begin("try", paused=True)
    page.begin("step")
    page.begin("take")
    page.begin("input", seq=1, held=True, at=[0.5, 0.5])
    page.player.tick()
    page.begin("input", seq=2, held=False)
    assert page.state["who"] == "person" and not page.state["running"]
    state = page.do("give")
    trial = page.client.adaptation(state["adaptation"]["id"]).episodes().trials[0]
    assert len(trial) == state["episode"]["step"]
    assert trial.digest == state["episodes"][-1]["digest"]


def test_an_episode_is_trimmed_scored_again_and_deleted_each_in_a_copy_that_leaves_the_original(
    make_page: Callable[..., Page],
):
    page = shown(make_page)
    original = page.do("try")["adaptation"]
    trimmed = page.do("edit", role="demo", number=0, trim=[1, 6])
    assert trimmed["episodes"][0]["steps"] == 5 and trimmed["episodes"][0]["film"]
    assert trimmed["adaptation"]["edited_from"] == {"id": original["id"], "version": original["version"]}
    success = trimmed["episodes"][1]["success"]
    scored = page.do("edit", role="trial", number=0, success=not success)
    assert scored["episodes"][1]["success"] is (not success)
    deleted = page.do("edit", role="trial", number=0, delete=True)
    assert [one["role"] for one in deleted["episodes"]] == ["demo"]
    assert len({original["id"], trimmed["adaptation"]["id"], scored["adaptation"]["id"]}) == 3
    assert page.client.adaptation(original["id"]).n_trials == 1


def test_a_fork_starts_from_a_version(make_page: Callable[..., Page]):
    page = shown(make_page)
    source = page.do("try")["adaptation"]
    fork = page.do("fork", version=1)["adaptation"]
    assert fork["id"] != source["id"]
    assert len(page.state["episodes"]) == 1


def test_a_page_comes_back_tomorrow(make_page: Callable[..., Page]):
    left = shown(make_page).do("try")
    page = make_page()
    state = page.do("open", family="reach-m2", task=REACH, adaptation=left["adaptation"]["id"])
    assert state["episodes"] == left["episodes"]
    assert state["adaptation"]["history"] == left["adaptation"]["history"]


def test_an_address_names_the_model_until_there_is_an_adaptation(make_page: Callable[..., Page]):
    page, here = make_page(), {"family": "reach-m2", "task": REACH, "adaptation": None}
    assert page.do("open", **here, model="reach-ask")["model"]["name"] == "reach-ask"
    page.begin("demo", by="person")
    assert page.do("open", **here, model="reach-ask")["phase"] == "demo"  # the same page, loaded again
    left = page.do("open", **here, model=None)
    assert (left["phase"], left["model"]["name"]) == ("ready", "reach")  # the usual one
    assert page.do("open", **here, model="key-to-door")["problem"]["field"] == "model"


GONE = {"phase": "ready", "running": False, "task": REACH, "adaptation": None, "episodes": []}


@pytest.mark.parametrize(
    "command",
    [
        {"name": "try"},
        {"name": "demo", "by": "expert"},
        {"name": "fork"},
        {"name": "refresh"},
    ],
    ids=lambda command: command["name"],
)
def test_an_adaptation_that_was_deleted_meanwhile_is_said_and_the_task_begins_anew(
    make_page: Callable[..., Page], command: dict[str, Any]
):
    page = shown(make_page)
    before = page.state["adaptation"]["id"]
    page.client.adaptation(before).delete()
    state = page.do(**command, adaptation=before)
    assert state["problem"]["title"] == "The adaptation is gone"
    assert state == {**state, **GONE}
    state = page.do("demo", by="expert")
    assert (state["problem"], state["adaptation"]["version"]) == (None, 1)
    assert state["adaptation"]["id"] != before


def test_an_adaptation_that_is_deleted_in_the_middle_of_an_attempt_ends_it(make_page: Callable[..., Page]):
    page = shown(make_page)
    page.begin("try", paused=True)
    page.begin("step")
    page.client.adaptation(page.state["adaptation"]["id"]).delete()
    state = page.do("pause", paused=False)
    assert state["problem"]["title"] == "The adaptation is gone"
    assert state == {**state, **GONE}


def asking(make_page: Callable[..., Page]) -> Page:
    page = make_page()
    page.do("choose", task=REACH, model="reach-ask")
    return page


def test_a_place_in_the_picture_is_a_goal_and_the_goal_is_there(make_page: Callable[..., Page]):
    page = asking(make_page)
    state = page.do("ask", ask={}, at=[0.75, 0.25])
    assert state["problem"] is None
    assert state["asking"]["asked"] == {"goal": [pytest.approx(0.55), pytest.approx(0.55)]}
    assert state["asking"]["place"] == pytest.approx([0.75, 0.25], abs=1e-4)
    assert state["adaptation"]["version"] == 1 and state["episodes"] == []  # no demonstration is needed
    assert page.do("try")["episodes"][0]["role"] == "trial"
    assert page.do("ask", ask={"goal": [9, 9]})["asking"]["place"] is None  # it is outside of the picture


def test_each_ask_is_a_version_and_a_page_that_comes_back_has_the_last_one_and_its_model(
    make_page: Callable[..., Page],
):
    page = asking(make_page)
    page.do("ask", ask={"words": "move to object number one"})
    state = page.do("ask", ask={"better": 0.25, "return": 1e6})
    assert "counts as" in state["asking"]["warnings"][0]
    assert [row["ask"] for row in state["adaptation"]["history"]] == [
        {"words": "move to object number one"},
        {"return": 1e6, "better": 0.25},
    ]
    again = make_page()  # whose usual model is another one
    found = again.do("open", family="reach-m2", task=REACH, adaptation=state["adaptation"]["id"])
    assert found["asking"] == state["asking"] and found["model"]["name"] == "reach-ask"
    assert again.do("choose")["model"]["name"] == "reach-ask"
    assert page.do("ask", ask={})["asking"]["asked"] == {}
    assert page.changed == [state["adaptation"]["id"]] * 3


def test_in_the_middle_of_an_attempt_an_ask_is_for_the_next_one(make_page: Callable[..., Page]):
    page = asking(make_page)
    page.do("try", paused=True)
    page.do("step")
    state = page.do("ask", ask={"better": True})
    assert state["phase"] == "attempt" and state["asking"]["asked"] == {"better": True}
    state = page.do("score", success=False)
    assert [row["ask"] for row in state["adaptation"]["history"]] == [{}, {"better": True}, {"better": True}]
    assert page.client.adaptation(state["adaptation"]["id"]).n_trials == 1


def test_an_ask_that_nobody_answers_in_an_attempt_is_not_said_to_be_kept(
    make_page: Callable[..., Page], server: ServerProcess
):
    page = asking(make_page)
    page.do("try", paused=True)
    page.do("step")
    server.kill()
    try:
        page.begin("ask", ask={"better": True})
        problem = page.state["problem"]
        assert page.state["phase"] == "attempt" and not problem.get("waiting")
        assert (problem["field"], problem["got"]) == ("ask", "no answer")
    finally:
        server.start()
    state = page.do("ask", ask={"better": True})
    assert state["problem"] is None and state["asking"]["asked"] == {"better": True}


def test_an_edited_copy_asks_for_what_was_asked_last(make_page: Callable[..., Page]):
    page = asking(make_page)
    page.do("ask", ask={"goal": [0.1, 0.2]})
    page.do("demo", by="expert")
    page.do("try")
    page.do("ask", ask={"better": True})
    assert page.do("edit", role="trial", number=0, delete=True)["asking"]["asked"] == {"better": True}
    assert page.do("edit", role="demo", number=0, delete=True)["asking"]["asked"] == {"better": True}


def test_where_the_next_attempt_begins_can_be_seen_before_it(make_page: Callable[..., Page]):
    page = asking(make_page)
    before = page.state["episode"]
    assert (before["scene"], page.do("aim")["episode"]["scene"]) == ("demo", "trial")
    page.begin("demo", by="person")
    assert page.do("aim")["episode"]["scene"] == "demo"  # an episode that is played stays


@pytest.mark.parametrize("place", [["x"], ValueError("no"), [float("nan")] * 2])
def test_an_environment_that_fails_to_say_where_its_goal_is_is_played_all_the_same(
    make_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch, place: Any
):
    def place_of_goal(*_: Any) -> Any:
        if isinstance(place, Exception):
            raise place
        return place

    monkeypatch.setattr(SingleRowEnv, "place_of_goal", place_of_goal)
    state = asking(make_page).do("ask", ask={"goal": [0.1, 0.2]})
    assert state["asking"]["place"] is None and state["problem"] is None


def test_an_attempt_of_an_environment_that_does_not_say_is_scored_by_the_person(make_page: Callable[..., Page]):
    page = shown(make_page)
    page.begin("try", paused=True)
    page.begin("step")
    state = page.do("score", success=False)
    assert state["phase"] == "ready"
    assert state["episodes"][-1] | {"success": False, "steps": 1} == state["episodes"][-1]


def test_a_server_that_is_gone_is_waited_for_and_nothing_is_lost_or_done_twice(
    make_page: Callable[..., Page], server: ServerProcess
):
    page = shown(make_page)
    page.begin("try", paused=True)
    page.begin("step")
    server.kill()
    try:
        page.begin("step")
        assert page.state["problem"]["waiting"] is True and page.state["phase"] == "attempt"
        page.player.running = True
        assert page.player.tick() == 1.0  # it will try again in a second
    finally:
        server.start()
    state = page.do("pause", paused=False)
    assert state["problem"] is None
    assert [one["role"] for one in state["episodes"]] == ["demo", "trial"]
    assert (
        page.client.adaptation(state["adaptation"]["id"]).episodes().trials[0].digest == state["episodes"][-1]["digest"]
    )


def test_keys_of_an_own_family(make_page: Callable[..., Page]):
    page = make_page("own_task:Doors")
    page.do("choose", task=20_000)
    assert page.state["controls"]["keys"][0] == {"action": 0, "key": "w", "other": "ArrowUp"}
    page.begin("demo", by="person")
    for _ in range(12):
        if page.state["phase"] == "demo":
            page.begin("input", choice=int(page.player.stage.expert_action()))
    state = page.do("step")
    assert state["episodes"][0]["success"] is True
    assert page.do("try")["adaptation"]["version"] == 2


@pytest.mark.parametrize(
    ("command", "field"),
    [
        ({"do": "rm"}, "do"),
        ({"do": "choose", "task": 17}, "task"),
        ({"do": "choose", "family": "os:system"}, "family"),
        ({"do": "input", "held": True, "at": [0.1]}, "input.at"),
        ({"do": "input", "held": True, "values": ["1", None]}, "input.values"),
        ({"do": "pace", "steps_per_s": 1e9}, "steps_per_s"),
        ({"do": "score", "success": "yes"}, "success"),
        ({"do": "edit", "role": "trial", "number": 7, "delete": True}, "number"),
        ({"do": "edit", "role": ["demo"], "number": 0, "delete": True}, "role"),
        ({"do": "edit", "role": "demo", "number": 0, "trim": [5, 2]}, "trim"),
        ({"do": "open", "family": "reach-m2", "task": REACH, "adaptation": 7}, "adaptation"),
        ({"do": "choose", "model": "key-to-door"}, "model"),
        ({"do": "ask", "ask": [1]}, "ask"),
        ({"do": "ask", "ask": {"goal": [0, 0]}}, "ask"),  # the model `reach` was trained for no ask
        ({"do": "ask", "ask": {}, "at": [0.5, "x"]}, "ask.goal"),
    ],
)
def test_a_command_that_is_none_is_refused_with_its_field(
    make_page: Callable[..., Page], command: dict[str, Any], field: str
):
    page = shown(make_page)
    if command["do"] == "input":
        page.begin("demo", by="person")
    page.do(**{"name" if key == "do" else key: value for key, value in command.items()})
    assert page.state["problem"]["field"] == field


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_ends_the_episode_and_what_the_page_gets_is_still_json(
    make_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch, reward: float
):
    class Odd(gym.Wrapper):
        def step(self, action: Any) -> Any:
            observation, _, *others = self.env.step(action)
            return observation, reward, *others

    make = Doors.make
    monkeypatch.setattr(Doors, "make", lambda *given: Odd(make(*given)))
    page = make_page("own_task:Doors")
    page.do("demo", by="person")
    page.do("input", seq=1, held=True, choice=page.player.controls.start)
    assert f"expected a finite reward, got {reward}" in page.state["problem"]["detail"]
    json.dumps(page.state, allow_nan=False)


@pytest.mark.parametrize(
    ("family", "kind"),
    [("dark-room", "keys"), ("key-to-door", "keys"), ("reach-colour", "pointer"), ("reach-m4", "pointer")],
)
def test_families_that_ship_are_drawn_and_steered_as_their_actions_are(family: str, kind: str):
    stage = Stage(find_family(family), find_family(family).splits["test"][0])
    assert (controls_of(stage).kind, stage.picture().std() > 1) == (kind, True)
    assert (stage.goal_at(0.5, 0.5) is not None) == (kind == "pointer")
    stage.close()


def test_a_family_that_no_model_plays_is_refused(server: ServerProcess):
    with (
        Client(server.url) as client,
        pytest.raises(InvalidConfig, match="no model of the server has the spaces of reach-pixels"),
    ):
        Choices(client.models(), "reach-pixels")


def test_a_film_is_read_as_it_was_written_and_a_damaged_one_is_none(tmp_path: Path):
    rng = np.random.default_rng(0)
    film = Film.of([encode(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)) for _ in range(4)])
    store = FilmStore(tmp_path)
    store.save("abc", film)
    assert store.load("abc") == film
    (tmp_path / "abc.film").write_bytes(film.to_bytes()[:-1])
    assert store.load("abc") is None
    assert store.load("../abc") is None
