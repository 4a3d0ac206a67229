"""Set before torch and Ray are imported: one thread per process, a local Ray without tokens, and the names of clients
that speak to an application without a socket."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("WTL_ALLOWED_HOSTS", "testserver,in.process,test")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from hypothesis import settings
from support.ray_head import head  # noqa: F401

# `make test-all` asks for the thorough profile.
settings.register_profile("quick", max_examples=20)
settings.register_profile("thorough", max_examples=200)
settings.load_profile("quick")
