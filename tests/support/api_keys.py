"""API keys as tests make them."""

from collections.abc import Callable

ALL = ("adapt", "models:read", "models:write", "jobs", "metrics", "admin")
Make = Callable[..., dict[str, str]]
"""From a tenant, and optionally scopes and an expiry, to the headers of a request with a new key."""
