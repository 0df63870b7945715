"""Where an installation and its workspaces leave traces: tables, objects, files. Each as (place, text)."""

import io
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from orchestration.control_plane.workspaces import Workspace
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.services.postgres import Postgres
from orchestration.settings import Settings
from tests.e2e.conftest import PROJECT

Texts = Iterator[tuple[str, str]]


def tables(settings: Settings, dsn: SecretStr, *names: str) -> Texts:
    """The rows of these tables of a database, or of all; sealed values as they are."""
    database = str(conninfo_to_dict(dsn.get_secret_value())["dbname"])
    # As the superuser: row-level security would hide from the owner what there is.
    with psycopg.connect(Postgres(settings.home).admin_dsn(database).get_secret_value()) as connection:
        there = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (table,) in there:
            if names and table not in names:
                continue
            query = sql.SQL("select * from {}").format(sql.Identifier(table))
            for number, row in enumerate(connection.execute(query)):
                yield f"{table}/{number}", " ".join(_as_text(value) for value in row if value is not None)


def _as_text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return zlib.decompress(value).decode()
    except zlib.error:
        return value.decode("latin-1")


def objects(settings: Settings, workspace: Workspace, *kinds: str) -> Texts:
    """The objects of a workspace on S3, of these kinds, Parquet as text with its metadata."""
    store = WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))
    for entry in store.list():
        if entry.key.split("/")[1] not in kinds:
            continue
        data = store.get(entry.key)
        text = data.decode(errors="replace")
        if data.startswith(b"PAR1"):
            table = pq.read_table(io.BytesIO(data))
            text = f"{table.schema.metadata} {table.to_pylist()}"
        yield entry.key, text


def files(folder: Path) -> Texts:
    """Every file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes().decode(errors="replace")


def home_files(home: Path) -> Texts:
    """What lies in the home beside the data of the servers and what has a channel of its own."""
    for path in sorted(home.iterdir()):
        if path.is_file():
            yield str(path), path.read_text(errors="replace")
    yield from files(home / "processes")


def working_folder() -> Texts:
    """Every file of the project that git would keep, or leaves lying."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=PROJECT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (PROJECT / name).is_file():
            yield name, (PROJECT / name).read_bytes().decode(errors="replace")
