"""The ordeal's definitions, but a release is made in two transactions: what the ordeal's reader must see."""

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from orchestration.control_plane import releases
from orchestration.control_plane.releases import ExplanationRow, NewRelease
from tests.faults.broken_swaps import commit_and_go_on, releases_publish
from tests.faults.ordeal_definitions import defs

__all__ = ["defs"]

BETWEEN_SECONDS = 4.0


def swap_in_two_transactions(
    connection: psycopg.Connection[Any], release: NewRelease, explanations: Sequence[ExplanationRow]
) -> str:
    """Files and pointer in the first, the explanations that belong to them in the second, some seconds later."""
    provenance_id = releases_publish(connection, release, [])
    commit_and_go_on(connection, release.workspace_id)
    time.sleep(BETWEEN_SECONDS)
    with connection.cursor(row_factory=dict_row) as cursor:
        releases._insert_explanations(cursor, release, provenance_id, explanations)
    return provenance_id


releases.publish = swap_in_two_transactions
