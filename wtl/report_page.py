"""The report of an evaluation as one HTML page that opens from disk: the built page with the report's JSON inside.

Episodes are drawn from their numbers, and as film strips: of the pictures among their observations, and of what the
environment renders when their actions are replayed in it.
"""

import base64
import json
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

from metalearn.benchmark.page import HTML, draw_page_again, results_folder
from metalearn.benchmark.report import read_report
from metalearn.benchmark.suites import find_suite
from metalearn.data.episode import Array, Episode
from metalearn.data.parts import observation_vectors, split
from metalearn.data.pictures import thumbnail, visible
from metalearn.evaluation.evaluate import Story
from metalearn.evaluation.report import Report
from metalearn.tasks.family import Family, Scene
from wtl.play.films import encode

MOST_PICTURES = 12  # of an episode
MOST_PIXELS = 200  # of a side
PLACE = '<script type="application/json" id="report">null</script>'
NOT_BUILT = "no HTML report: its page is not built; run `make console` in the repository, or install the wheel"


def built_page() -> Traversable:
    """Where the page is, if it is built."""
    return files("service") / "console" / "built" / "report.html"


def write_page(
    report: Report,
    stories: Sequence[Story],
    path: Path,
    family: Family | None = None,
    page: Traversable | None = None,
) -> Path | None:
    """Write the page with the report and the stories in it.

    Args:
        report: of an evaluation or a suite.
        stories: tasks to be drawn.
        path: of the page.
        family: of the tasks; None to render none of them.
        page: the built page; None for the one of this installation.

    Returns:
        `path`, or None where the page was not built.
    """
    page = page or built_page()
    if not page.is_file():
        return None
    told = [{"task": story.index, "episodes": _episodes(story, family)} for story in stories]
    filled = _escaped({"report": report.to_json(), "stories": told})
    html = page.read_text(encoding="utf-8").replace(PLACE, PLACE.replace("null", filled))
    path.write_text(html, encoding="utf-8")
    return path


def _escaped(value: object) -> str:
    """JSON in which nothing can end the script or begin a comment: `<`, `>` and `&` as escapes."""
    text = json.dumps(value)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def write_suite_page(name: str, out: Path | None = None) -> Path:
    """Draw the page of a suite again, and write `report.html` beside it, which it links to. Raises InvalidConfig."""
    folder = out or results_folder(find_suite(name))
    write_page(read_report(folder / "report.json"), [], folder / HTML)
    return draw_page_again(name, out)


def _episodes(story: Story, family: Family | None) -> list[dict[str, Any]]:
    scenes: tuple[Scene, ...] = ("demo", "trial", "trial")
    told = zip(("demonstration", "trial", "retrial"), scenes, (story.demo, story.trial, story.retrial), strict=True)
    seeds = story.seeds or (None, None, None)
    return [
        _drawn(title, scene, episode, _rendered(family, story.index, scene, seed, episode))
        for (title, scene, episode), seed in zip(told, seeds, strict=True)
    ]


def _drawn(title: str, role: str, episode: Episode, rendered: Sequence[Array]) -> dict[str, Any]:
    """As `DrawnEpisode` of service/console/src/drawing has it."""
    parts = {name or "observation": values for name, values in split(episode.observations).items()}
    films = {name: values for name, values in parts.items() if values.dtype == np.uint8 and values.ndim == 4}
    vectors = {name: values for name, values in parts.items() if name not in films}
    steps = _film_steps(episode)
    strips = {name: values[steps] for name, values in films.items()} | ({"rendered": rendered} if len(rendered) else {})
    return {
        "title": title,
        "role": role,
        "parts": [
            *({"name": name, "kind": "vector", "shape": list(values.shape[1:])} for name, values in vectors.items()),
            *({"name": name, "kind": "image", "shape": list(strip[0].shape)} for name, strip in strips.items()),
        ],
        "observations": {name: _rows(values) for name, values in vectors.items()}
        | {name: [_data_uri(picture) for picture in strip] for name, strip in strips.items()},
        "actions": None if episode.actions is None else _rows(episode.actions),
        "rewards": None if episode.rewards is None else episode.rewards.tolist(),
        "success": episode.success,
        "pictureSteps": steps.tolist(),
    }


def _film_steps(episode: Episode) -> Array:
    """The steps of which there are pictures: the first, the last, and some between them."""
    return np.unique(np.linspace(0, len(episode), MOST_PICTURES).round().astype(int))


def _rendered(family: Family | None, index: int, scene: Scene, seed: int | None, episode: Episode) -> list[Array]:
    """What the environment renders at the steps of the film; none where it renders nothing, or goes another way."""
    if family is None or seed is None or episode.actions is None:
        return []
    seen, steps, pictures = observation_vectors(episode.observations), set(_film_steps(episode).tolist()), []
    env = family.make(index, scene, "rgb_array")
    try:
        observation, _ = env.reset(seed=seed)
        for step in range(len(episode) + 1):
            if not np.allclose(family.spec.vector(observation), seen[step], atol=1e-3):
                return []
            if step in steps:
                picture: Any = env.render()
                if not isinstance(picture, np.ndarray) or picture.ndim != 3:
                    return []
                pictures.append(picture[..., :3].astype(np.uint8))
            if step < len(episode):
                observation = env.step(episode.actions[step])[0]
    except NotImplementedError:
        return []
    finally:
        env.close()
    return pictures


def _data_uri(picture: Array) -> str:
    shrunk = thumbnail(visible(picture)[..., :3], MOST_PIXELS)
    colours = np.ascontiguousarray(np.broadcast_to(shrunk, (*shrunk.shape[:2], 3)))
    return "data:image/jpeg;base64," + base64.b64encode(encode(colours)).decode()


def _rows(values: Array) -> list[list[float]]:
    rows: list[list[float]] = values.reshape(len(values), -1).tolist()
    return rows
