"""Starts Ray in this process, for whoever needs a cluster of its own."""

from typing import Any

ATTEMPTS = 3


def start_ray(**options: Any) -> None:
    """`ray.init(**options)`, tried again where Ray's own processes were not up within its 30 s: a busy machine."""
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(**options)
        except Exception as error:
            ray.shutdown()
            if "timed out during startup" not in str(error) or attempt == ATTEMPTS:  # Ray raises a bare Exception
                raise
        else:
            return
