"""The documents say what is there: links, paths, commands and settings."""

import re
from pathlib import PurePosixPath

import pytest

from orchestration.settings import Settings
from tests.house.repository import PROJECT, documents

DOCUMENTS = documents()
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
OUR_FOLDERS = {
    "orchestration",
    "casetrail_testkit",
    "dbt_project",
    "tests",
    "benchmarks",
    "docs",
    "scripts",
    "docker",
    "requirements",
}


def anchors(page: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def missing_targets(name: str) -> list[str]:
    missing = []
    for target in LINK.findall(FENCED.sub("", DOCUMENTS[name])):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        page = (PROJECT / name).parent / path if path else PROJECT / name
        if not page.exists() or (anchor and anchor not in anchors(page.read_text())):
            missing.append(target)
    return missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    assert missing_targets(name) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_in_the_text_exist(name: str) -> None:
    paths = [
        code
        for code in CODE.findall(FENCED.sub("", DOCUMENTS[name]))
        if PurePosixPath(code).parts[:1] and PurePosixPath(code).parts[0] in OUR_FOLDERS and " " not in code
    ]
    assert [path for path in paths if "/" in path and not any(PROJECT.glob(path.rstrip("/")))] == []


def test_the_readme_lists_the_folders_of_the_package() -> None:
    layout = re.search(r"^## Layout\n+```\n(.+?)^```", DOCUMENTS["README.md"], re.DOTALL | re.MULTILINE)
    assert layout
    listed = set(re.findall(r"(\w+)/", layout[1])) - {"orchestration"}
    packages = {path.parent.name for path in (PROJECT / "orchestration").glob("*/__init__.py")}
    assert packages <= listed
    assert [name for name in listed - packages if not (PROJECT / name).is_dir()] == []


def test_operations_lists_every_setting_once() -> None:
    listed = re.findall(r"^\| `CASETRAIL_(\w+)` \|", DOCUMENTS["docs/operations.md"], re.MULTILINE)
    assert sorted(listed) == sorted(name.upper() for name in Settings.model_fields)


def test_every_design_note_is_in_their_index() -> None:
    notes = {path.name for path in (PROJECT / "docs/design-notes").glob("*.md")} - {"README.md"}
    assert set(LINK.findall(DOCUMENTS["docs/design-notes/README.md"])) == notes
