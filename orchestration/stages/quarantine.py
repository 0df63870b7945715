"""The quarantine of a workspace: how many records for which reason, some of them, or all of them as a file.

Not here: putting records there (``connectors.quarantine``) and letting them land after all (``corrections.readmit``).
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from orchestration.control_plane.arrivals import Arrival, ArrivalFile
from orchestration.lake.objects import WorkspaceStore
from orchestration.lake.session import text
from orchestration.lake.views import ViewSource, view_sql


def reasons(files: Sequence[ArrivalFile]) -> dict[str, int]:
    """Records for each reason in these quarantine files, most first, as the ledger tells."""
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(file.stats.get("reasons", {"not recorded": file.rows}))
    return dict(counts.most_common())


def sample(
    store: WorkspaceStore, arrivals: Sequence[Arrival], files: Sequence[ArrivalFile], per_reason: int
) -> list[dict[str, Any]]:
    """The first records of each reason, with the file that they came in."""
    with _rejected(store, arrivals, files) as connection:
        found = connection.execute(
            """
            select * from rejected
            qualify row_number() over (partition by reason order by file_name, arrival_id, row_number) <= ?
            order by reason, file_name, arrival_id, row_number
            """,
            [per_reason],
        )
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def export(
    store: WorkspaceStore,
    arrivals: Sequence[Arrival],
    files: Sequence[ArrivalFile],
    to: Path,
    reason: str | None = None,
) -> int:
    """Write the quarantined records (of one reason, if given) to a CSV or Parquet file, by its name; how many."""
    form = "format parquet" if to.suffix == ".parquet" else "format csv, header"
    condition = "true" if reason is None else f"reason = {text(reason)}"
    with _rejected(store, arrivals, files) as connection:
        (rows,) = connection.execute(
            f"""
            copy (select * from rejected where {condition} order by file_name, arrival_id, row_number)
            to {text(str(to))} ({form})
            """
        ).fetchall()[0]
        return int(rows)


@contextmanager
def _rejected(
    store: WorkspaceStore, arrivals: Sequence[Arrival], files: Sequence[ArrivalFile]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session with the view ``rejected`` over local copies of the files."""
    names = {arrival.id: arrival.file_name for arrival in arrivals}
    with (
        tempfile.TemporaryDirectory(prefix="casetrail-quarantine-") as folder,
        duckdb.connect() as connection,
    ):
        local = {}
        for file in files:
            path = Path(folder) / f"{file.arrival_id}.parquet"
            store.download(file.object_key, path)
            local[str(path)] = (file.arrival_id, names[file.arrival_id])
        view = view_sql("quarantine", ViewSource(urls=list(local), arrivals=local))
        connection.execute(f"create temp view rejected as {view}")
        yield connection
