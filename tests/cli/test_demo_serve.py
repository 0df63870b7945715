"""``casetrail demo serve`` as a person types it."""

import csv
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from casetrail_testkit import MarketoServer, SalesforceServer
from orchestration.cli import app
from orchestration.cli.demo_serve import fill_marketo, fill_salesforce
from orchestration.demo.lead_to_cash import write_lead_to_cash


@pytest.fixture
def log(tmp_path: Path) -> list[dict[str, str]]:
    path = tmp_path / "log.csv"
    write_lead_to_cash(path, cases=50, months=2, cut_at_end=True)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_sample_company_is_in_both_systems(log: list[dict[str, str]]) -> None:
    with SalesforceServer() as org, MarketoServer() as subscription:
        loaded = fill_salesforce(org, log)
        assert loaded["Lead"] == 50
        assert {name: len(org.store.rows(name)) for name in loaded} == loaded
        assert "Region__c" in org.store.rows("Opportunity")[0]
        assert fill_marketo(subscription, log)["lead"] == 50
        linked = {lead["sfdcLeadId"] for lead in subscription.store.leads()}
        assert linked == {lead["Id"] for lead in org.store.rows("Lead")}
        assert len({activity["id"] for activity in subscription.store.activities()}) > 50


def test_a_folder_without_tables_and_a_taken_port_are_told(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["demo", "serve", "marketo", "--port", "0", "--data", str(tmp_path)])
    assert refused.exit_code == 2
    assert "marketo_TABLE_data.csv" in refused.output
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = CliRunner().invoke(app, ["demo", "serve", "salesforce", "--port", port])
    assert refused.exit_code == 2
    assert "name another with --port" in refused.output


@pytest.mark.slow
def test_it_prints_what_a_client_needs_and_ends_with_ctrl_c() -> None:
    command = [sys.executable, "-c", "from orchestration.cli import main; main()"]
    arguments = ["demo", "serve", "salesforce", "--port", "0", "--cases", "20"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        printed = ""
        while "Ctrl-C" not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        url = re.findall(r"http://\S+", printed)[0].rstrip(",")
        shown = dict(re.findall(r"^  (\w+ \w+) +(\S+)$", printed, re.MULTILINE))
        assert Path(shown["private key"]).read_text().startswith("-----BEGIN PRIVATE KEY-----")
        answer = httpx.post(
            f"{url}/services/oauth2/token",
            data={"grant_type": "client_credentials"},
            auth=(shown["consumer key"], shown["consumer secret"]),
        )
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        query = {"q": "SELECT count() FROM Lead"}
        counted = httpx.get(f"{url}/services/data/v62.0/query", params=query, headers=headers)
        assert counted.json()["totalSize"] == 20
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stdout.read() == "Stopped.\n"
    assert not Path(shown["private key"]).exists()
