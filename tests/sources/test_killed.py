"""Syncs whose process is killed (SIGKILL) at a random moment, one after the other, while the source goes on writing."""

import os
import random
import subprocess
import sys
import time

import pytest

from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from tests.sources.conftest import STREAM, Connect, SourceDatabase
from tests.sources.test_pulls import T0, Tenant, account

CHILD = """
import sys
from orchestration.control_plane import connectors, database, workspaces
from orchestration.settings import load_settings
from orchestration.sources.types import postgres
from orchestration.stages.pulls import sync

settings, (slug, connector_id) = load_settings(), sys.argv[1:]
postgres.PAGE_ROWS, postgres.CHECKPOINT_ROWS = 200, 1000
with database.as_system(settings.system_dsn, None) as connection:
    workspace = workspaces.find_workspace(connection, slug)
    connector = connectors.get_connector(connection, workspace.id, connector_id)
print("ready", flush=True)
sync(settings, workspace, connector)
print("done", flush=True)
"""
KILLS = 25
ROWS_A_ROUND = 1500


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_that_are_killed_lose_and_double_nothing(
    settings: Settings, workspace: Workspace, source_database: SourceDatabase, connect: Connect
) -> None:
    tenant = Tenant(settings, workspace, source_database, connect)
    connector = connect({**STREAM, "overlap": 60})
    dice, written, killed = random.Random(11), 0, 0
    environment = {
        **os.environ,
        "CASETRAIL_HOME": str(settings.home),
        "CASETRAIL_CONNECTOR_INTERNAL_HOSTS": '["localhost", "127.0.0.1"]',
        "CASETRAIL_SECRET_KEY": "k" * 32,
    }
    for _ in range(KILLS):
        source_database.owner.execute(
            "insert into events select n, 'case ' || n %% 50, 's' || n, %(t0)s + n * interval '1 minute',"
            " %(t0)s + n / 100 * interval '1 second', false from generate_series(%(first)s::int, %(last)s::int) as n",
            {"t0": T0, "first": written, "last": written + ROWS_A_ROUND - 1},
        )
        written += ROWS_A_ROUND
        command = [sys.executable, "-c", CHILD, workspace.slug, connector.id]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(dice.uniform(0, 2.5))
            child.kill()
            killed += "done" not in child.stdout.read()
    assert killed > KILLS / 3, "most syncs came to their end: let them be killed earlier"
    tenant.sync(connector)
    landed = tenant.landed()
    assert len(landed) == len(set(landed)) == written
    account(tenant, connector)
