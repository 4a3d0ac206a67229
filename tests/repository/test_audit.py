"""The audit of dependencies passes here, and fails for each thing that it is there for."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


def audit(lock: Path) -> tuple[int, str]:
    command = [sys.executable, str(ROOT / ".ci" / "audit.py"), "--offline", "--lock", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_what_is_pinned_and_installed_passes() -> None:
    assert audit(ROOT / "requirements.lock")[0] == 0


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ("\nfastapi==", "\nfastapi>=", "not a pinned version: fastapi>="),
        (
            "\nfastapi==",
            "\nfastapi==0.1 ; python_version < '3'\nslowapi==",
            "fastapi: in pyproject.toml and not in the lock",
        ),
        ("\nfastapi==0", "\nfastapi==9", "fastapi: 0."),
        ("\nfastapi==0", "\nfastapi==0.0", "pyproject.toml wants >=0.165"),
        ("\nfastapi==", "\nzzz==1.0\nfastapi==", "zzz: pinned without a hash"),
        ("\nfastapi==", "\nfastapi @ git+https://example.org/fastapi\nfastapi==", "not a pinned version: fastapi @"),
    ],
)
def test_each_check_can_fail(tmp_path: Path, before: str, after: str, finding: str) -> None:
    assert before in LOCK
    lock = tmp_path / "requirements.lock"
    lock.write_text(LOCK.replace(before, after, 1))
    code, text = audit(lock)
    assert (code, finding in text) == (1, True), text


def test_packages_that_could_not_be_looked_up_do_not_count_as_checked() -> None:
    from audit import told

    report = {
        "dependencies": [
            {"name": "a", "version": "1.0", "vulns": []},
            {"name": "b", "version": "2.0", "vulns": [{"id": "PYSEC-1"}, {"id": "CVE-2"}]},
            {"name": "c", "skip_reason": "not found"},
        ]
    }
    findings, n_checked, n_skipped = told(report)
    assert (n_checked, n_skipped) == (2, 1)
    assert [finding.rpartition(" ")[2] for finding in findings] == ["PYSEC-1", "CVE-2"]


def test_a_requirement_that_is_not_installed_is_found(tmp_path: Path) -> None:
    from audit import incompatible

    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    about = tmp_path / "env" / "lib" / version / "site-packages" / "lonely-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lonely\nVersion: 1.0\nRequires-Dist: friend>=2\n")
    assert any("`lonely` requires `friend>=2`" in finding for finding in incompatible(str(python)))


def test_licences_that_nobody_allowed_are_found() -> None:
    from audit import allowed

    for text in ("MIT", "BSD-3-Clause AND MIT", "Apache License 2.0", "GPL-2.0 OR MIT", "LGPL-3.0", "MPL-2.0"):
        assert allowed(text), text
    for text in ("", "GPL-3.0", "AGPL-3.0-only", "GNU Affero General Public License v3", "SSPL", "GPLv2 and MIT"):
        assert not allowed(text), text
