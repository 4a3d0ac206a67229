"""Paths of a `wtl` that runs as a Ray job (`ray job submit --working-dir . -- wtl train ... --ray`).

A job runs in an unpacked copy of what was submitted, which the cluster deletes some time after the job.
"""

from pathlib import Path

_UNPACKED = "_ray_pkg_"


def persistent_path(folder: Path, cwd: Path, home: Path) -> Path:
    """Return a path that outlives the job: below `home` if `cwd` is a job's unpacked copy, else `folder` itself."""
    in_job = any(part.startswith(_UNPACKED) for part in cwd.parts)
    return home / folder if in_job else folder
