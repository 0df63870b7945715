"""The lock files: exact, hashed, one version for what runs and what is tested, and no index named."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.repository import PROJECT

LOCKS = sorted(path.name for path in (PROJECT / "requirements").glob("*.lock"))
ENTRY = re.compile(r"^([a-z0-9][a-z0-9.\-_]*)(?:\[[^\]]*\])?==([^\s;\\]+)((?:.*\\\n)*.*)", re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    """Package -> version."""
    text = (PROJECT / "requirements" / name).read_text()
    return {canonicalize_name(package): version for package, version, _ in ENTRY.findall(text)}


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_a_hash(name: str) -> None:
    text = (PROJECT / "requirements" / name).read_text()
    entries = ENTRY.findall(text)
    assert entries
    assert [package for package, _, rest in entries if "--hash=sha256:" not in rest] == []
    # Nothing but entries and comments: no option, no address.
    assert re.sub(r"^\s*#.*$", "", ENTRY.sub("", text), flags=re.MULTILINE).strip() == ""


@pytest.mark.parametrize("name", LOCKS)
def test_no_address_is_named(name: str) -> None:
    assert not re.search(r"://|\bindex\b|find-links", (PROJECT / "requirements" / name).read_text())


def test_what_is_tested_is_what_runs() -> None:
    run, dev = locked("run.lock"), locked("dev.lock")
    assert {package: dev.get(package) for package in run} == run
    assert locked("build.lock").items() <= dev.items()


def test_the_locks_satisfy_the_project() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = {
        "run.lock": project["dependencies"],
        "dev.lock": project["dependencies"] + project["optional-dependencies"]["dev"],
    }
    for name, requirements in wanted.items():
        versions = locked(name)
        for requirement in map(Requirement, requirements):
            version = versions.get(canonicalize_name(requirement.name))
            assert version, f"{requirement} is not in {name}: run `make lock`"
            assert requirement.specifier.contains(version, prereleases=True), (
                f"{requirement}: {name} has {version}"
            )
