"""Ids that nobody guesses, and how to tell one before it reaches a database or a disk."""

import re
import secrets

_ID = re.compile(r"[0-9a-f]{24}")


def new_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_hex(12)


def is_id(text: str) -> bool:
    """Whether `new_id` could have made it; nothing else reaches the database or the disk."""
    return _ID.fullmatch(text) is not None
