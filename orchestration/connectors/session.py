"""The DuckDB session that works on one foreign file: bounded memory, local files, no foreign extensions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from orchestration.connectors.staging import literal

MEMORY_LIMIT = "1GB"


@contextmanager
def local_session(scratch: Path, *files: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session in UTC that sees ``scratch``, where it also spills, and the given files; nothing else."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": str(scratch),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    with duckdb.connect(config=config) as session:
        session.execute("SET TimeZone = 'UTC'")
        session.execute(f"SET allowed_directories = [{literal(scratch)}]")
        session.execute(f"SET allowed_paths = [{', '.join(map(literal, files))}]")
        session.execute("SET enable_external_access = false")
        session.execute("SET lock_configuration = true")
        yield session
