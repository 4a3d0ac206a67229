"""Artifacts of a submitted job: the last step stores its bundle, so that the submitter can fetch it.

    python -m metalearn.cluster.artifacts FOLDER --job ID [--to URL]

With a URL of any filesystem that fsspec knows, the bundle goes there. Without one it becomes a log file of the
node that the job ran on, which the dashboard serves: nothing need be shared but the address of the submission.
"""

import argparse
import hashlib
import io
import json
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import fsspec
import ray

from metalearn.bundle import Bundle
from metalearn.cluster.jobs import persistent_path
from metalearn.data.errors import InvalidConfig

LOG_PREFIX = "handed over: "


@dataclass(frozen=True)
class ArtifactRef:
    """Reference to a stored bundle: a URL, or a log file of a node, with the SHA-256 of the content."""

    url: str | None
    node: str | None
    file: str | None
    sha256: str

    @property
    def log_line(self) -> str:
        """The line of the job's log that names it."""
        return LOG_PREFIX + json.dumps(asdict(self))

    @classmethod
    def from_log(cls, log: str) -> "ArtifactRef":
        """Parse the last reference in a job's log. Raises InvalidConfig if there is none."""
        for line in reversed(log.splitlines()):
            if line.startswith(LOG_PREFIX):
                return cls(**json.loads(line.removeprefix(LOG_PREFIX)))
        raise InvalidConfig("the job's log does not say where its bundle is")


def pack_bundle(folder: Path) -> bytes:
    """Pack a bundle's folder as a tar: the same bytes for the same content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = tarfile.TarInfo(str(path.relative_to(folder)))
                entry.size = path.stat().st_size
                with path.open("rb") as content:
                    tar.addfile(entry, content)
    return buffer.getvalue()


def unpack_bundle(content: bytes, sha256: str, folder: Path) -> Bundle:
    """Write a packed bundle to `folder` and read it.

    Raises:
        InvalidConfig: other content than was packed, names that lead out of the folder, or no bundle.
    """
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InvalidConfig("what was fetched is not what the job handed over: it was cut short or changed")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for entry in tar:
            name = PurePosixPath(entry.name)
            if not entry.isfile() or name.is_absolute() or ".." in name.parts:
                raise InvalidConfig(f"not a bundle: it holds {entry.name!r}")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(tar.extractfile(entry).read())  # type: ignore[union-attr]
    return Bundle.load(folder)


def store_artifact(folder: Path, job: str, url: str | None) -> ArtifactRef:
    """Store a bundle at `url`, or among this node's logs. Raises InvalidConfig if `folder` holds no complete bundle."""
    Bundle.load(folder)
    content = pack_bundle(folder)
    digest, name = hashlib.sha256(content).hexdigest(), f"wtl-{job}.tar"
    if url is not None:
        place = f"{url.rstrip('/')}/{name}"
        with fsspec.open(place, "wb", auto_mkdir=True) as file:
            file.write(content)
        return ArtifactRef(place, None, None, digest)
    joined = ray.init(address="auto", log_to_driver=False, configure_logging=False)
    logs, node = Path(joined.address_info["session_dir"]) / "logs", ray.get_runtime_context().get_node_id()
    (logs / name).write_bytes(content)
    return ArtifactRef(None, node, name, digest)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Leave a job's bundle where it can be fetched.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--job", required=True)
    parser.add_argument("--to")
    given = parser.parse_args()
    artifact = store_artifact(persistent_path(given.folder, Path.cwd(), Path.home()), given.job, given.to)
    print(artifact.log_line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
