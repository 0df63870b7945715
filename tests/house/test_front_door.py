"""The README's commands, the Makefile and the scripts behind it."""

import os
import re
import subprocess

import pytest

from tests.house.repository import PROJECT, committed_texts

MAKEFILE = (PROJECT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
SCRIPTS = sorted(name for name, text in committed_texts().items() if text.startswith("#!"))


def test_the_readme_starts_with_two_commands_of_the_makefile() -> None:
    start = re.search(
        r"^## Start\n.*?```console\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert start
    commands = re.findall(r"^\$ make ([a-z-]+)$", start[1], re.MULTILINE)
    assert commands == ["demo", "test"]
    assert set(commands) <= TARGETS


def test_every_make_target_in_the_documents_exists() -> None:
    documents = {
        name: text for name, text in committed_texts().items() if name.endswith(".md") or name == ".ci/run"
    }
    used = {
        target
        for text in documents.values()
        for target in re.findall(r"(?:`|^\$ |^)make ([a-z][a-z-]*)", text, re.MULTILINE)
    }
    assert used
    assert used <= TARGETS


def test_help_lists_the_targets_for_people() -> None:
    listing = subprocess.run(["make"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert {"demo", "test", "test-slow", "lint", "lock", "clean"} <= set(
        re.findall(r"make ([a-z-]+)", listing)
    )


@pytest.mark.parametrize(
    ("argument", "command"), [("ONCE=", "casetrail demo"), ("ONCE=1", "casetrail demo --once")]
)
def test_the_demo_runs_once_when_asked(argument: str, command: str) -> None:
    plan = ["make", "--dry-run", "--assume-old=.venv/.installed", "demo", argument]
    recipe = subprocess.run(plan, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert recipe.strip().endswith(command)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_can_be_executed(name: str) -> None:
    assert os.access(PROJECT / name, os.X_OK)


@pytest.mark.parametrize(
    "name", [name for name in SCRIPTS if "bash" in (PROJECT / name).read_text().split("\n", 1)[0]]
)
def test_bash_scripts_stop_at_the_first_error(name: str) -> None:
    assert "\nset -euo pipefail\n" in (PROJECT / name).read_text()
