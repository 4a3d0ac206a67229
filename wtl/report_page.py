"""The report of an evaluation as one HTML page that opens from disk: the built page with the report's JSON inside."""

import json
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

from metalearn.data.episode import Episode
from metalearn.evaluation.evaluate import Story
from metalearn.evaluation.report import Report

PLACE = '<script type="application/json" id="report">null</script>'
NOT_BUILT = "no HTML report: its page is not built; run `make console` in the repository, or install the wheel"


def built_page() -> Traversable:
    """Where the page is, if it is built."""
    return files("service") / "console" / "built" / "report.html"


def write_page(report: Report, stories: Sequence[Story], path: Path, page: Traversable | None = None) -> Path | None:
    """Write the page with the report and the stories in it.

    Returns:
        `path`, or None where the page was not built.
    """
    page = page or built_page()
    if not page.is_file():
        return None
    told = [{"task": story.index, "episodes": _episodes(story)} for story in stories]
    filled = _escaped({"report": report.to_json(), "stories": told})
    html = page.read_text(encoding="utf-8").replace(PLACE, PLACE.replace("null", filled))
    path.write_text(html, encoding="utf-8")
    return path


def _escaped(value: object) -> str:
    """JSON in which nothing can end the script or begin a comment: `<`, `>` and `&` as escapes."""
    text = json.dumps(value)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _episodes(story: Story) -> list[dict[str, Any]]:
    named = (
        ("demonstration", "demo", story.demo),
        ("trial", "trial", story.trial),
        ("retrial", "trial", story.retrial),
    )
    return [_drawn(title, role, episode) for title, role, episode in named]


def _drawn(title: str, role: str, episode: Episode) -> dict[str, Any]:
    """As `DrawnEpisode` of service/console/src/drawing has it. Pictures (uint8) are left out."""
    names = episode.observations.dtype.names
    parts = {name: episode.observations[name] for name in names} if names else {"observation": episode.observations}
    parts = {name: values for name, values in parts.items() if values.dtype != np.uint8}
    return {
        "title": title,
        "role": role,
        "parts": [{"name": name, "kind": "vector", "shape": list(values.shape[1:])} for name, values in parts.items()],
        "observations": {name: _rows(values) for name, values in parts.items()},
        "actions": None if episode.actions is None else _rows(episode.actions),
        "rewards": None if episode.rewards is None else episode.rewards.tolist(),
        "success": episode.success,
    }


def _rows(values: np.ndarray) -> list[list[float]]:
    rows: list[list[float]] = values.reshape(len(values), -1).tolist()
    return rows
