"""What tells others about the repository is valid, and agrees with pyproject.toml."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def valid(path: Path) -> bool:
    check = ["check-jsonschema", "--builtin-schema", "vendor.citation-file-format", str(path)]
    return subprocess.run([Path(sys.executable).parent / check[0], *check[1:]], capture_output=True).returncode == 0


@pytest.mark.slow
def test_the_citation_is_valid_and_of_this_version():
    assert valid(ROOT / "CITATION.cff")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    told = citation["title"], citation["version"], citation["license"]
    assert told == (PROJECT["name"], PROJECT["version"], PROJECT["license"])


@pytest.mark.slow
def test_a_citation_without_authors_is_not_valid(tmp_path: Path):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    del citation["authors"]
    (tmp_path / "CITATION.cff").write_text(yaml.safe_dump(citation))
    assert not valid(tmp_path / "CITATION.cff")


def test_commits_are_checked_by_make_check_and_by_nothing_from_elsewhere():
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    assert [hook["entry"] for hook in repositories[0]["hooks"]] == ["make check"]


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_the_pythons_that_the_package_names_are_those_that_make_setup_takes(minor: int):
    assert f"Programming Language :: Python :: 3.{minor}" in PROJECT["classifiers"]
    assert f"python3.{minor}" in (ROOT / ".ci" / "prerequisites").read_text()
