"""Pictures of planar scenes: an image for `render`, many small ones to observe, a drawing of an episode for reports."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

SIZE = 400  # pixels per side
EDGE = 1.1  # of the plane that is drawn, from its middle
_INK = (30, 30, 30)


def draw_plane(
    agent: Float[np.ndarray, "2"],
    objects: Float[np.ndarray, "n 2"],
    colours: Float[np.ndarray, "n 3"],
    target: int | None = None,
    radius: float = 0.1,
    goal: Float[np.ndarray, "2"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """The plane [-1.1, 1.1]^2 from above: objects as discs, the agent as a black dot.

    The target has a rim; a goal that is no object is a small ring.
    """
    pictures = np.full((1, SIZE, SIZE, 3), 255, np.uint8)

    def disc(place: Float[np.ndarray, "2"], size: float, colour: Sequence[float] | Float[np.ndarray, "3"]) -> None:
        centre = (EDGE + np.array([[-place[1], place[0]]])) / (2 * EDGE) * SIZE - 0.5
        blend_discs(pictures, centre, size / (2 * EDGE) * SIZE, colour)

    for i, (place, colour) in enumerate(zip(objects, colours, strict=True)):
        if i == target:
            disc(place, 1.35 * radius, (0, 0, 0))
            disc(place, 1.2 * radius, (255, 255, 255))
        disc(place, radius, 255 * colour)
    if goal is not None:
        disc(goal, 0.5 * radius, _INK)
        disc(goal, 0.36 * radius, (255, 255, 255))
    disc(agent, 0.5 * radius, _INK)
    return pictures[0]


def blend_discs(
    pictures: UInt8[np.ndarray, "b h w c"],
    centres: Float[np.ndarray, "b 2"],
    radius: float,
    colour: Sequence[float] | Float[np.ndarray, " c"],
) -> None:
    """Blend a disc of one colour (0 .. 255) into each of b pictures, in place.

    `centres` are rows and columns, in pixels from the middle of the first. At the rim colours are mixed by how much of
    a pixel the disc covers, so that a move by a fraction of a pixel shows. What lies outside of a picture is cut off.
    """
    side = 2 * int(np.ceil(radius + 0.5)) + 1
    first = np.clip(np.round(centres).astype(np.int64) - side // 2, 0, np.array(pictures.shape[1:3]) - side)
    rows, columns = first[:, :1] + np.arange(side), first[:, 1:] + np.arange(side)
    distance = np.hypot(rows[:, :, None] - centres[:, 0, None, None], columns[:, None] - centres[:, 1, None, None])
    cover = np.clip(radius + 0.5 - distance, 0, 1)[..., None]
    patch = np.arange(len(pictures))[:, None, None], rows[:, :, None], columns[:, None]
    pictures[patch] = np.round((1 - cover) * pictures[patch] + cover * np.asarray(colour)).astype(np.uint8)


def draw_scene(
    axes: Any,
    path: Float[np.ndarray, "t 2"],
    objects: Float[np.ndarray, "n 2"],
    candidates: Sequence[int],
    target: int,
    colours: Float[np.ndarray, "n 3"],
    success: bool | None,
) -> None:
    """Draw an episode into matplotlib axes: its path from a ring to a dot, and all but the candidates faint."""
    from matplotlib.patches import Circle

    for slot, (place, colour) in enumerate(zip(objects, colours, strict=True)):
        alpha = 1.0 if slot in candidates else 0.25
        axes.add_patch(Circle(tuple(place), 0.1, facecolor=colour, alpha=alpha, linewidth=0))
        if slot == target:
            axes.add_patch(Circle(tuple(place), 0.15, fill=False, edgecolor="black", linewidth=1.2))
    colour = {True: "#117733", False: "#aa3333", None: "#444444"}[success]
    axes.plot(*path.T, color=colour, linewidth=1.8, solid_capstyle="round", zorder=3)
    axes.plot(*path[0], marker="o", markersize=5, markerfacecolor="white", markeredgecolor=colour, zorder=4)
    axes.plot(*path[-1], marker="o", markersize=5, color=colour, zorder=4)
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
