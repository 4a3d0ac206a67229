"""Random ids, and the check that a client's id is one before it reaches the database or the disk."""

import re
import secrets

_ID = re.compile(r"[0-9a-f]{24}")


def new_id() -> str:
    """Return a random id of 24 hexadecimal digits, which nobody can guess."""
    return secrets.token_hex(12)


def is_id(text: str) -> bool:
    """Return True if `new_id` could have made this id."""
    return _ID.fullmatch(text) is not None
