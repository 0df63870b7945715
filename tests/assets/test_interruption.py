"""A run that is cancelled in the middle of a query is cancelled, not failed."""

import os
import signal
import threading

import dagster as dg
import duckdb
import pytest

from orchestration.resources import interruptible

SECONDS_OF_WORK = "select sum(sqrt(one.range * two.range)) from range(20000) as one, range(50000) as two"


def test_a_query_that_is_cancelled_ends_the_run_as_cancelled() -> None:
    @dg.asset
    def long_query() -> None:
        with interruptible():
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            duckdb.connect().execute(SECONDS_OF_WORK)
        pytest.fail("the query came to its end")

    # Of it Dagster makes a cancelled run, if somebody asked for its end.
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        dg.materialize([long_query])


def test_what_fails_by_itself_fails_as_itself() -> None:
    with pytest.raises(duckdb.CatalogException), interruptible():
        duckdb.connect().execute("select * from nothing")
