"""Every `casetrail` command in the documents is one that the command line takes."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from orchestration.cli import app
from tests.house.repository import documents

CONSOLE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
ROOT: Any = typer.main.get_command(app)


def typed_commands() -> list[str]:
    """Command lines a reader is told to type (or `make demo` types), from behind `casetrail` on."""
    blocks = "\n".join(block for text in documents().values() for block in CONSOLE.findall(text))
    lines = re.findall(r"^\$ (?:\.venv/bin/)?casetrail (.+)$", blocks, re.MULTILINE)
    return sorted({*lines, "demo --once"})


def named_commands() -> list[str]:
    """Commands that the text speaks of; some with arguments, some without."""
    return sorted(
        {name for text in documents().values() for name in re.findall(r"`casetrail ([^`]+)`", text)}
    )


def parse(command: Any, name: str, arguments: list[str]) -> None:
    """Parse as the command line would, down to the last command, without running any."""
    with command.make_context(name, list(arguments)) as context:
        rest = [*context._protected_args, *context.args]
        if hasattr(command, "commands") and (rest or not command.invoke_without_command):
            _, found, rest = command.resolve_command(context, rest)
            parse(found, name, rest)


@pytest.mark.parametrize("line", typed_commands())
def test_a_command_to_type_is_understood(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # What a shell takes for itself: a remark, and a file for standard input.
    arguments = shlex.split(re.sub(r" < \S+$", "", line.split(" #")[0]))
    for file in (
        argument for argument in arguments if argument.endswith((".csv", ".xes", ".parquet", ".json"))
    ):
        Path(file).touch()
    parse(ROOT, "casetrail", arguments)


@pytest.mark.parametrize("line", named_commands())
def test_a_command_that_is_spoken_of_exists(line: str) -> None:
    command = ROOT
    for word in line.split():
        if not hasattr(command, "commands"):
            break
        assert word in command.commands
        command = command.commands[word]
