"""The image: pinned, without root, without secrets, built from the hashed lock."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.house.repository import PROJECT

DOCKERFILE = (PROJECT / "Dockerfile").read_text()
INSTRUCTIONS = [
    (line.split(None, 1)[0], line.split(None, 1)[1])
    for line in re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    if line.strip()
]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def test_base_images_are_pinned_to_a_patch_release() -> None:
    images = {argument.split()[0] for argument in arguments("FROM")}
    assert len(images) == 1
    assert re.fullmatch(r"python:3\.1[12]\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", images.pop())


def test_packages_come_from_the_hashed_locks_only() -> None:
    installs = re.findall(r"pip install[^&]*", " ".join(arguments("RUN")))
    assert installs
    assert all(
        "--require-hashes -r requirements/" in i or "--no-deps --no-build-isolation" in i for i in installs
    )


def test_it_does_not_run_as_root() -> None:
    assert int(arguments("USER")[-1]) > 0


def test_it_has_a_healthcheck_and_an_entrypoint() -> None:
    for instruction in ("HEALTHCHECK", "ENTRYPOINT"):
        (script,) = re.findall(r'\["/app/([^"]+)"\]', " ".join(arguments(instruction)))
        assert (PROJECT / script).is_file()


def test_it_holds_no_secret() -> None:
    assert arguments("ARG") == []
    assert not re.search(r"(?i)password|secret_key|access_key|_dsn|token", " ".join(arguments("ENV")))


def test_the_build_context_is_named_file_by_file() -> None:
    patterns = [
        line for line in (PROJECT / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert patterns[0] == "*"
    allowed = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    assert [name for name in allowed if not (PROJECT / name).exists()] == []
    assert not {".git", ".venv", ".casetrail"} & set(allowed)


def started(role: str, tmp_path: Path) -> str:
    """The command line that the entrypoint ends in, told by stand-ins for Dagster's commands."""
    for command in ("dagster", "dagster-daemon", "dagster-webserver", "python"):
        stand_in = tmp_path / command
        stand_in.write_text('#!/bin/sh\necho "$(basename "$0") $*"\n')
        stand_in.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.defpath}", "CASETRAIL_WORKSPACE_FILE": "workspace.yaml"}
    run = [str(PROJECT / "docker/entrypoint"), *role.split()]
    return subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("role", "command"),
    [
        ("webserver", "dagster-webserver --host 0.0.0.0 --port 3000 --workspace workspace.yaml"),
        ("daemon", "dagster-daemon run --workspace workspace.yaml"),
        ("code-location", "python -m orchestration.code_server --host 0.0.0.0 --port 4000"),
        ("feed", "python -m orchestration.feed"),
        ("dagster api execute_run", "dagster api execute_run"),
    ],
)
def test_the_entrypoint_starts_what_it_is_asked_for(role: str, command: str, tmp_path: Path) -> None:
    assert started(role, tmp_path).startswith(command)
