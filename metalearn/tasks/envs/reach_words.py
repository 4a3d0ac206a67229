"""What reach's tasks are in words: an object by its number, or by its colour. Knows no environment."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from metalearn.data.episode import Array

NUMBERS = (
    ("first", "one"),
    ("second", "two"),
    ("third", "three"),
    ("fourth", "four"),
    ("fifth", "five"),
    ("sixth", "six"),
)
BY_NUMBER = (
    "go to the {ordinal} object",
    "go to object {number}",
    "go to object number {number}",
    "move to the {ordinal} thing",
    "move to object number {number}",
    "reach the {ordinal} object",
    "reach object {number}",
    "touch the {ordinal} one",
    "touch number {number}",
    "the {ordinal} object, please",
    "your target is the {ordinal} object",
    "drive to thing number {number}",
)
BY_NUMBER_HELD_OUT = (
    "head for the {ordinal} item",
    "could you approach object {number}?",
    "it is item number {number} that I want",
    "steer towards the {ordinal} of them",
    "walk over to the {ordinal} object",
    "get to target {number}",
)
BY_COLOUR = (
    "go to the {colour} object",
    "go to the {colour} one",
    "move to the {colour} thing",
    "reach the {colour} object",
    "touch the {colour} one",
    "the {colour} object, please",
    "your target is the {colour} object",
    "drive to the {colour} thing",
)
BY_COLOUR_HELD_OUT = (
    "head for the {colour} item",
    "could you approach the {colour} object?",
    "it is the {colour} thing that I want",
    "walk over to the {colour} target",
    "steer towards whatever is {colour}",
)
COLOURS = {
    "black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0), "grey": (0.5, 0.5, 0.5), "red": (1.0, 0.0, 0.0),
    "green": (0.0, 0.8, 0.0), "blue": (0.0, 0.0, 1.0), "yellow": (1.0, 1.0, 0.0), "cyan": (0.0, 1.0, 1.0),
    "magenta": (1.0, 0.0, 1.0), "orange": (1.0, 0.5, 0.0), "brown": (0.5, 0.25, 0.1), "pink": (1.0, 0.7, 0.8),
    "purple": (0.5, 0.0, 0.5), "violet": (0.5, 0.0, 1.0), "navy blue": (0.0, 0.0, 0.5), "sky blue": (0.5, 0.8, 1.0),
    "teal": (0.0, 0.5, 0.5), "turquoise": (0.25, 0.85, 0.75), "olive": (0.5, 0.5, 0.0), "maroon": (0.5, 0.0, 0.0),
    "dark green": (0.0, 0.4, 0.0), "lime": (0.7, 1.0, 0.0), "pale green": (0.6, 1.0, 0.6), "lavender": (0.75, 0.7, 1.0),
    "salmon": (1.0, 0.5, 0.45), "hot pink": (1.0, 0.3, 0.7), "crimson": (0.85, 0.1, 0.25), "gold": (0.85, 0.7, 0.1),
    "beige": (0.95, 0.9, 0.7), "royal blue": (0.2, 0.4, 0.9), "plum": (0.7, 0.35, 0.7), "slate": (0.35, 0.4, 0.6),
    "spring green": (0.0, 1.0, 0.5), "moss green": (0.45, 0.65, 0.3),
}  # fmt: skip
"""Colours by their names, in shares of red, green and blue."""
COMPARED = (("redder", "less red"), ("greener", "less green"), ("bluer", "less blue"), ("lighter", "darker"))
"""Words for more and for less of red, of green, of blue and of all three."""


def numbered(slot: int, templates: Sequence[str]) -> Iterator[str]:
    """Sentences about the object in a slot."""
    ordinal, number = NUMBERS[slot]
    return (template.format(ordinal=ordinal, number=number) for template in templates)


def coloured(colours: Float[np.ndarray, "m 3"], target: int, templates: Sequence[str]) -> Iterator[str]:
    """Sentences about one of m colours in [-1, 1], as no other of them is called."""
    colour = _name(colours, target)
    return (template.format(colour=colour) for template in templates)


def _name(colours: Array, target: int) -> str:
    """The nearest of `COLOURS`; of two that have the same, in which they differ most as well."""
    known = np.array(list(COLOURS.values()))
    shares = (colours + 1) / 2
    nearest = np.linalg.norm(shares[:, None] - known, axis=-1).argmin(-1)
    name = list(COLOURS)[nearest[target]]
    same = np.flatnonzero((nearest == nearest[target]) & (np.arange(len(colours)) != target))
    if not same.size:
        return name
    gaps = np.append(shares[target], shares[target].mean()) - np.append(shares[same[0]], shares[same[0]].mean())
    axis = int(np.abs(gaps).argmax())
    return f"{COMPARED[axis][int(gaps[axis] < 0)]} {name}"
