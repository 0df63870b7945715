"""Which runs are alive: a run's process holds a session lock for as long as it lives, and loses it when it dies.

Dagster cannot tell that the process of a run was killed; PostgreSQL can, since its connection is gone.
"""

from collections.abc import Iterable
from contextlib import ExitStack

from pydantic import SecretStr

from orchestration.control_plane.database import Connection, connect, lock_key

_held = ExitStack()
_held_for: set[str] = set()


def prove_alive(dsn: SecretStr | str, run_id: str) -> None:
    """Hold the run's lock from now on, until this process ends or proves another run alive."""
    if run_id in _held_for:
        return
    _held.close()
    _held_for.clear()
    connection = _held.enter_context(connect(dsn, autocommit=True))
    connection.execute("select pg_advisory_lock(%s)", (_key(run_id),))
    _held_for.add(run_id)


def alive_runs(connection: Connection, run_ids: Iterable[str]) -> set[str]:
    """Those of the runs whose process holds its lock at this moment."""
    rows = connection.execute(
        """
        select (classid::bigint << 32 | objid::bigint) as key
        from pg_locks
        where locktype = 'advisory' and objsubid = 1 and granted
        """
    ).fetchall()
    held = {row["key"] for row in rows}
    return {run_id for run_id in run_ids if _key(run_id) in held}


def _key(run_id: str) -> int:
    return lock_key(f"run {run_id}")
