"""Starts Ray in this process, for whoever needs a cluster of its own."""

from typing import Any

from metalearn.data.errors import InvalidConfig

ATTEMPTS = 3


def start_ray(**options: Any) -> None:
    """`ray.init(**options)`; more than once if Ray's own processes do not come up within the 30 s that Ray gives them.

    Raises:
        InvalidConfig: they never do.
    """
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(**options)
        except Exception as error:
            ray.shutdown()
            if "timed out during startup" not in str(error):  # Ray raises a bare Exception
                raise
            if attempt == ATTEMPTS:
                raise InvalidConfig(
                    f"Ray has not come up within its 30 s, {ATTEMPTS} times: the machine has too much else to do; "
                    "end some of it, or name a cluster that runs with --ray-address"
                ) from error
        else:
            return
