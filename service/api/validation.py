"""Conversion of pydantic's validation errors to problems with short values of field, expected and got."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from service.errors import InvalidPayload, quote, shorten

_EXPECTED = {
    "missing": "a value (the field is required)",
    "extra_forbidden": "no such field",
    "invalid_key": "text for a field's name",
    "model_type": "an object",
    "list_type": "a list",
    "bool_type": "true, false or null",
    "float_type": "a number",
    "string_type": "a string",
}


def to_problem(error: ValidationError) -> InvalidPayload:
    """Convert the first of pydantic's errors to a problem."""
    first = error.errors(include_url=False)[0]
    field, expected, got = _path(first["loc"]), expectation(first), describe(first["input"])
    if first["type"] == "missing":
        got = "nothing"
    field = field or "body"
    return InvalidPayload(f"{field}: expected {expected}, got {got}", field=field, expected=expected, got=got)


def describe(value: Any) -> str:
    """Describe any value of a client in a few words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            return str(value)
        case int() | float():
            return str(value) if abs(value) < 1e18 else "a huge number"
        case str():
            return f"the string {quote(value)}"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
        case np.ndarray():
            return f"an array of shape {list(value.shape)}"
        case _:
            return type(value).__name__


def expectation(error: Mapping[str, Any]) -> str:
    """Word pydantic's expectation as the end of "expected ..."."""
    if error["type"] == "string_too_long":
        return f"at most {error['ctx']['max_length']} characters"
    known = _EXPECTED.get(error["type"])
    return known or error["msg"].removeprefix("Input should be ").removeprefix("Input should ")


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{shorten(part)}"
    return path.removeprefix(".")
