"""Builds the images, and runs them: with docker where a daemon answers, otherwise with Debian's buildah.

`python docker/images.py build serve train` prints each image's size and time. buildah needs root and no daemon; where
no image registry answers it gets its `debian:bookworm-slim` from debootstrap. Does not know what is in an image.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE = "docker.io/library/debian:bookworm-slim"
IMAGES = ("serve", "train")
LAST_BUILDS = ROOT / "runs" / "images"
LOCAL_WHEELS = "/wheels"
"""Where a build finds the wheels of this machine's pip configuration."""
UNWANTED = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
)
"""What the slim base image has not either."""


def name_of(image: str) -> str:
    """Its name and tag."""
    return f"localhost/wtl-{image}:{_version()}"


@dataclass(frozen=True)
class Built:
    """An image, and what it took."""

    name: str
    size_mb: float
    build_s: float
    engine: str

    def kept(self) -> "Built":
        """Itself, written down for whoever asks about the image later."""
        LAST_BUILDS.mkdir(parents=True, exist_ok=True)
        (LAST_BUILDS / f"{self.name.replace('/', '-')}.json").write_text(json.dumps(asdict(self)))
        return self


def last_build(image: str) -> Built:
    """What the last build of an image took. Raises FileNotFoundError."""
    return Built(**json.loads((LAST_BUILDS / f"{name_of(image).replace('/', '-')}.json").read_text()))


class Docker:
    """Images by a docker daemon."""

    engine = "docker"

    def build(self, image: str, arguments: Mapping[str, str]) -> Built:
        """Build `docker/IMAGE.Dockerfile`."""
        command = ["docker", "build", "--file", f"docker/{image}.Dockerfile", "--tag", name_of(image)]
        with _registry_configuration() as given:
            options = [f"--secret=id={name},src={path}" for name, path in given.items()]
            build_s = _timed([*command, *options, *_build_arguments(arguments), "."])
        size = _output(["docker", "image", "inspect", "--format", "{{.Size}}", name_of(image)])
        return Built(name_of(image), int(size) / 1e6, build_s, self.engine).kept()

    @contextlib.contextmanager
    def runner(self, image: str, volume: Path) -> Iterator[list[str]]:
        """The beginning of a command that runs one in the image, with a read-only root, `volume` as /data."""
        yield [
            "docker", "run", "--rm", "--init",
            f"--name=wtl-{secrets.token_hex(4)}", "--network=host", "--read-only", "--tmpfs=/tmp", "--shm-size=1g",
            "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--volume={volume}:/data", "--entrypoint=",
            name_of(image),
        ]  # fmt: skip

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """End what runs, as a power cut would."""
        words = [str(word) for word in process.args]  # type: ignore[union-attr]
        [name] = [word.partition("=")[2] for word in words if word.startswith("--name=")]
        _run(["docker", "kill", name])
        process.wait()


class Buildah:
    """Images by Debian's buildah, as root and without a daemon; run in namespaces of their own."""

    engine = "buildah"

    def __init__(self) -> None:
        self._environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}
        _installed("buildah", "debootstrap")
        if not _succeeds(["buildah", "info"], self._environment):  # no overlays in this kernel
            self._environment["STORAGE_DRIVER"] = "vfs"

    def build(self, image: str, arguments: Mapping[str, str]) -> Built:
        """Build `docker/IMAGE.Dockerfile`."""
        self._ensure_base()
        started_s = time.monotonic()
        with _registry_configuration() as given:
            options = [f"--secret=id={name},src={path}" for name, path in given.items()]
            wheels = _local_wheels()
            if wheels is not None:
                options.append(f"--volume={wheels}:{LOCAL_WHEELS}:ro")
            if image == "train":
                arguments = _torch_at_hand(wheels) | arguments
            _run(
                [
                    "buildah", "build", "--format=docker", "--layers=false", "--pull-never", "--squash=false",
                    "--file", f"docker/{image}.Dockerfile", "--tag", name_of(image),
                    *options, *_build_arguments(arguments), ".",
                ],
                self._environment,
            )  # fmt: skip
        return Built(name_of(image), self._size_mb(image), time.monotonic() - started_s, self.engine).kept()

    @contextlib.contextmanager
    def runner(self, image: str, volume: Path) -> Iterator[list[str]]:
        """The beginning of a command that runs one in the image, with a read-only root, `volume` as /data."""
        with self._mounted(image) as (container, root):
            config = json.loads(_output(["buildah", "inspect", container], self._environment))["Docker"]["config"]
            yield _in_namespaces(root, volume, config)

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """End what runs, as a power cut would. Whoever changes its user is not told when its parent dies."""
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)  # the first process of its namespace: all others go with it
        process.kill()
        process.wait()

    def _size_mb(self, image: str) -> float:
        with self._mounted(image) as (_, root):
            return (
                float(_output(["du", "--summarize", "--block-size=1000", "--one-file-system", str(root)]).split()[0])
                / 1e3
            )

    @contextlib.contextmanager
    def _mounted(self, image: str) -> Iterator[tuple[str, Path]]:
        container = _output(["buildah", "from", "--pull-never", name_of(image)], self._environment)
        try:
            yield container, Path(_output(["buildah", "mount", container], self._environment))
        finally:
            _run(["buildah", "rm", container], self._environment, stdout=subprocess.DEVNULL)

    def _ensure_base(self) -> None:
        """The base image: there already, pulled, or made of Debian's packages."""
        if _succeeds(["buildah", "inspect", "--type=image", BASE], self._environment):
            return
        if _succeeds(["timeout", "60", "buildah", "pull", BASE], self._environment):
            return
        print(f"no registry gives {BASE}: making it with debootstrap", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "root"
            _run(["debootstrap", "--variant=minbase", "bookworm", str(root)], stdout=subprocess.DEVNULL)
            for path in UNWANTED:
                shutil.rmtree(root / path)
                (root / path).mkdir()
            container = _output(["buildah", "from", "scratch"], self._environment)
            _run(["buildah", "add", "--quiet", container, str(root), "/"], self._environment, stdout=subprocess.DEVNULL)
            _run(["buildah", "config", "--cmd", "bash", container], self._environment)
            _run(["buildah", "commit", "--quiet", "--rm", container, BASE], self._environment)


Engine = Docker | Buildah


def find_engine() -> Engine:
    """Docker where a daemon answers, otherwise buildah."""
    return Docker() if shutil.which("docker") and _succeeds(["docker", "version"]) else Buildah()


def _in_namespaces(root: Path, volume: Path, config: Mapping[str, object]) -> list[str]:
    """A read-only root of its own mounts and processes; /tmp and /dev/shm in memory; no capabilities."""
    environment = [str(pair) for pair in config.get("Env") or ()]  # type: ignore[attr-defined]
    uid, _, gid = str(config["User"]).partition(":")
    script = f"""set -e
mount --rbind {root} {root}
mount -o remount,bind,ro {root}
mount --bind {volume} {root}/data
mount -t tmpfs -o mode=1777 tmpfs {root}/tmp
mount -t proc proc {root}/proc
mount -t tmpfs -o mode=755 tmpfs {root}/dev
for device in null zero full random urandom tty; do
    touch {root}/dev/$device; mount --bind /dev/$device {root}/dev/$device
done
ln -s /proc/self/fd {root}/dev/fd
mkdir -m 1777 {root}/dev/shm
mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm
mount -o remount,ro {root}/dev
for file in hosts resolv.conf; do mount --bind /etc/$file {root}/etc/$file 2>/dev/null || true; done
cd {root}
drop="--clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
exec chroot {root} setpriv --reuid {uid} --regid {gid} $drop -- env -i "$@" """
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script, "container", *environment]


def _torch_at_hand(wheels: Path | None) -> dict[str, str]:
    """Build arguments for torch on a CPU where its own index does not answer but a wheel lies on this machine."""
    found = sorted(wheels.glob("torch-*+cpu-cp311-*.whl")) if wheels else []
    if not found:
        return {}
    version = found[-1].name.split("-")[1]
    print(
        f"torch {version} from this machine's wheels, without torchvision (so without learn2learn's baseline)",
        flush=True,
    )
    return {"TORCH_BACKEND": "", "TORCH": f"--find-links {LOCAL_WHEELS} torch=={version}"}


@contextlib.contextmanager
def _registry_configuration() -> Iterator[dict[str, Path]]:
    """Secrets of a build: how pip here reaches its registry, and whom it trusts. Nothing of it stays in an image."""
    with tempfile.TemporaryDirectory() as folder:
        kept_secret: dict[str, Path] = {}
        settings = dict(
            line.split("=", 1) for line in _output([sys.executable, "-m", "pip", "config", "list"]).splitlines()
        )
        kept = {key.rpartition(".")[2]: value.strip("'") for key, value in settings.items()}
        options = {key: kept[key] for key in ("index-url", "proxy", "trusted-host", "timeout") if key in kept}
        certificates = os.environ.get("SSL_CERT_FILE") or kept.get("cert")
        if certificates and Path(certificates).is_file():
            kept_secret["ca.crt"] = Path(folder, "ca.crt")
            shutil.copy(certificates, kept_secret["ca.crt"])
            options["cert"] = "/run/ca.crt"
        if options:
            kept_secret["pip.conf"] = Path(folder, "pip.conf")
            kept_secret["pip.conf"].write_text(
                "[global]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())
            )
        yield kept_secret


def _local_wheels() -> Path | None:
    given = os.environ.get("PIP_FIND_LINKS", "")
    return Path(given) if given and Path(given).is_dir() else None


def _build_arguments(given: Mapping[str, str]) -> list[str]:
    about = {
        "VERSION": _version(),
        "REVISION": _output(["git", "rev-parse", "HEAD"]),
        "CREATED": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return [f"--build-arg={name}={value}" for name, value in (about | dict(given)).items()]


def _version() -> str:
    import tomllib

    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _installed(*packages: str) -> None:
    """Install what is missing from Debian."""
    missing = [package for package in packages if shutil.which(package) is None]
    if missing:
        _run(["apt-get", "install", "--yes", "--no-install-recommends", *missing])


def _timed(command: Sequence[str]) -> float:
    started_s = time.monotonic()
    _run(command)
    return time.monotonic() - started_s


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None, stdout: int | None = None) -> None:
    subprocess.run(["nice", *command], check=True, cwd=ROOT, env=environment, stdout=stdout)


def _output(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.stdout.strip()


def _succeeds(command: Sequence[str], environment: Mapping[str, str] | None = None) -> bool:
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Build the images that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["build"])
    parser.add_argument("images", nargs="*", default=IMAGES, metavar="IMAGE", help="serve, train (default: both)")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    arguments = dict(pair.split("=", 1) for pair in given.build_arg)
    engine = find_engine()
    for image in given.images:
        built = engine.build(image, arguments)
        print(f"{built.name}: {built.size_mb:,.0f} MB, built in {built.build_s:.0f} s with {built.engine}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
