"""Pages: how many items, and where to go on."""

import base64
import binascii
from typing import Annotated

from fastapi import Query

from service.errors import BadParameter, quote


def cursor_of(position: int) -> str:
    """Where a page ended, as it travels."""
    return base64.urlsafe_b64encode(f"after:{position}".encode()).decode().rstrip("=")


def position_of(cursor: str) -> int:
    """Where the page before ended. Raises BadParameter."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        word, _, digits = text.partition(":")
        if word == "after" and digits.isdigit() and len(digits) < 19:
            return int(digits)
    except (binascii.Error, UnicodeError, ValueError):
        pass
    expected = "next_cursor of the page before"
    raise BadParameter(f"cursor: expected {expected}", field="cursor", expected=expected, got=quote(cursor))


Limit = Annotated[int, Query(ge=1, le=100, description="items on a page")]

Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before")]
