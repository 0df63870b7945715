import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from orchestration.cli import services
from orchestration.settings import Settings

runner = CliRunner()


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    for command in (services.up, services.down, services.status, services.env):
        app.command()(command)
    return app


@pytest.fixture
def home(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CASETRAIL_HOME", str(installation.home))
    return installation.home


def secrets_of(home: Path) -> list[str]:
    known = json.loads((home / "endpoints.json").read_text())
    passwords = [value.split(":")[2].split("@")[0] for name, value in known.items() if name.endswith("_dsn")]
    return [known["s3_secret_key"], *passwords]


def test_up_is_idempotent_and_its_json_names_endpoints_without_secrets(app: typer.Typer, home: Path) -> None:
    done = runner.invoke(app, ["up", "--storage-only", "--json"])
    assert done.exit_code == 0, done.output
    listed = {service["name"]: service for service in json.loads(done.stdout)["services"]}
    assert listed["postgres"]["state"] == listed["s3"]["state"] == "running"
    assert listed["postgres"]["endpoint"].startswith("postgresql://127.0.0.1:")
    assert listed["s3"]["endpoint"].startswith("http://127.0.0.1:")
    assert listed["postgres"]["since"].endswith("+00:00")
    assert not any(secret in done.output for secret in secrets_of(home))


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_status_shows_no_secret_and_fails_while_something_is_stopped(
    app: typer.Typer, home: Path, options: list[str]
) -> None:
    done = runner.invoke(app, ["status", *options])
    assert done.exit_code == 1, "Dagster does not run in this installation"
    assert all(name in done.output for name in ("postgres", "s3", "webserver", "daemon"))
    assert not any(secret in done.output for secret in secrets_of(home))


def test_env_prints_what_a_shell_can_evaluate(app: typer.Typer, home: Path) -> None:
    lines = runner.invoke(app, ["env"]).stdout.splitlines()
    assert f"export DAGSTER_HOME={home}/dagster" in lines
    assert f"export CASETRAIL_HOME={home}" in lines
    variables = json.loads(runner.invoke(app, ["env", "--json"]).stdout)
    assert variables["DAGSTER_HOME"] == f"{home}/dagster"


def test_without_services_the_message_says_what_to_do(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASETRAIL_HOME", str(tmp_path))
    done = runner.invoke(app, ["env"])
    assert done.exit_code == 1
    assert "run `casetrail up`" in done.stderr
    assert "Traceback" not in done.output


def test_a_bad_setting_is_a_usage_error(
    app: typer.Typer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASETRAIL_QUERY_SECONDS", "soon")
    done = runner.invoke(app, ["status"])
    assert done.exit_code == 2
    assert "CASETRAIL_QUERY_SECONDS" in done.stderr
    assert "soon" not in done.stderr
