"""The parameters of pages: the number of items, and the cursor of the next page."""

import base64
import binascii
from typing import Annotated, Literal

from fastapi import Query

from service.errors import BadParameter, quote


def cursor_of(position: int) -> str:
    """Encode the position of the last item of a page as a cursor."""
    return base64.urlsafe_b64encode(f"after:{position}".encode()).decode().rstrip("=")


def position_of(cursor: str) -> int:
    """Decode a cursor. Raises BadParameter."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        word, _, digits = text.partition(":")
        if word == "after" and digits.isdigit() and len(digits) < 19:
            return int(digits)
    except (binascii.Error, UnicodeError, ValueError):
        pass
    raise BadParameter.of("cursor", "next_cursor of the previous page", quote(cursor))


Limit = Annotated[int, Query(ge=1, le=100, description="Largest number of items on the page.")]

Order = Annotated[Literal["oldest", "newest"], Query(description="Which item is the first one.")]

Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the previous page.")]
