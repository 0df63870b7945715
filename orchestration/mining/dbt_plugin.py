"""Our hook in dbt-duckdb: what happens to a DuckDB connection before the first model runs.

dbt-duckdb loads this module by the name that stands in the profile. Starting dbt is in `dbt_build.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin

from orchestration.mining import conformance, working_time
from orchestration.mining.packing import GENERAL, Packing, describe_events


@dataclass
class Session:
    """One build's part of a dbt run.

    Attributes:
        prepare: Makes the `input` schema, and locks the connection.
        packing: The packing to use; None lets the data choose.
        connection: The build's database, once dbt has opened it.
        error: What went wrong while it was prepared.
    """

    prepare: Callable[[duckdb.DuckDBPyConnection], None]
    packing: Packing | None = None
    connection: duckdb.DuckDBPyConnection | None = None
    error: BaseException | None = None

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Prepare the database and choose the packing."""
        self.connection = connection
        if self.error is not None:  # dbt asks again for each node after a failure
            raise self.error
        try:
            conformance.register(connection)
            working_time.create_elapsed_time(connection)
            self.prepare(connection)
            fitting = describe_events(connection)
        except BaseException as error:
            self.error = error
            raise
        self.packing = self.packing or fitting


SESSIONS: dict[str, Session] = {}
"""Sessions of this process by the token that stands in the profile of their run."""


class Plugin(BasePlugin):
    """Hands dbt's connection to the session of the run; without one, makes an empty input by hand."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Find the session of the profile's token."""
        token = plugin_config.get("session")
        self._session = Session(_make_empty_input, GENERAL) if token is None else SESSIONS[token]

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Prepare the database, once."""
        self._session.open(conn)

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Give a new cursor the packing variables, which it does not inherit."""
        if self._session.packing is not None:
            self._session.packing.apply(cursor)


def _make_empty_input(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("create schema input")
    connection.execute(
        "create table input.events "
        '(global_case_id uuid, "timestamp" timestamp, tie_order integer, activity varchar)'
    )
    connection.execute(
        "create table input.parameters (workspace_id uuid, analysis_id uuid, workspace_slug varchar, "
        "end_activities varchar[], silence_us bigint, as_of timestamp, left_edge timestamp, happy_path varchar[])"
    )
