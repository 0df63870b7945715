"""What is committed fits every machine: no path of one, no host of a package index."""

import re

import pytest

from tests.house.repository import committed_texts

TEXTS = committed_texts()
# A path that only makes sense where it was typed. Written so that it does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:work|tmp|root|home)\b")
INDEX_HOST = re.compile(r"\b(?:pypi|pythonhosted|npmjs|debian)[.](?:org|com)\b")


def found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in TEXTS.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_there_are_files_to_look_at() -> None:
    assert {"README.md", "Makefile", "orchestration/settings.py"} <= set(TEXTS)


def test_no_path_of_a_machine() -> None:
    assert found(MACHINE_PATH) == []


def test_no_host_of_a_package_index() -> None:
    assert found(INDEX_HOST) == []


@pytest.mark.parametrize(("text", "is_found"), [("cd {}work/x", True), ("'{}tmp'", True), ("a{}tmp", False)])
def test_the_pattern_of_a_machine_path(text: str, is_found: bool) -> None:
    assert bool(MACHINE_PATH.search(text.format("/"))) == is_found
