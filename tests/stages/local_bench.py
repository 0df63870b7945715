"""A workbench over local files: the stages as they are, without S3 and PostgreSQL."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from orchestration.connectors.landing import land
from orchestration.connectors.mapping import Mapping
from orchestration.stages.refresh import run_stages
from orchestration.stages.selection import Base, BaseFile
from orchestration.stages.tree import LocalTree
from orchestration.stages.workbench import AnalysisParameters, RawPart, Workbench

WORKSPACE = "11111111-1111-4111-8111-111111111111"
ANALYSIS = "22222222-2222-4222-8222-222222222222"
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def land_parts(path: Path, mapping: Mapping, into: Path, rank: int) -> list[RawPart]:
    """Land a file as the ``rank``-th upload of the workspace."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    arrival_id = f"00000000-0000-4000-8000-{sha256[:12]}"
    folder = into / f"{rank}-{sha256[:8]}"
    folder.mkdir(parents=True)
    landing = land(path, mapping, first_month="2000-01", now=NOW, into=folder)
    return [
        RawPart(
            arrival_id=arrival_id,
            arrival_sha256=sha256,
            rank=rank,
            month=month,
            url=str(landed.path),
            object_key=f"{WORKSPACE}/raw/csv_upload/{month}/{sha256[:16]}.parquet",
            rows=landed.rows,
            content_sha256=hashlib.sha256(landed.path.read_bytes()).hexdigest(),
            columns=tuple(name for name, _kind in landing.columns),
            mapping=mapping.model_dump(mode="json"),
        )
        for month, landed in sorted(landing.months.items())
    ]


def local_bench(
    folder: Path,
    parts: Sequence[RawPart],
    *,
    parameters: AnalysisParameters | None = None,
    tree: LocalTree | None = None,
    threads: int = 2,
) -> Workbench:
    """A workbench whose sessions are plain DuckDB connections."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)

    def secure(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("set arrow_lossless_conversion = true")
        connection.execute(f"set threads = {threads}")
        connection.execute("set TimeZone = 'UTC'")

    @contextmanager
    def session() -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect() as connection:
            secure(connection)
            yield connection

    return Workbench(
        workspace_id=WORKSPACE,
        workspace_slug="acme",
        analysis_id=ANALYSIS,
        parameters=parameters or AnalysisParameters(),
        tree=tree or LocalTree(folder / "tree"),
        raw_parts=parts,
        session=session,
        secure=secure,
        lock=lambda _connection: None,
        scratch=scratch,
        as_of=NOW,
        threads=threads,
    )


def refreshed(bench: Workbench) -> Workbench:
    """The bench after all stages."""
    run_stages(bench)
    return bench


def base_of_bench(bench: Workbench) -> Base:
    """What a bench has made, as the release that a question is asked of."""
    files = {
        dataset: [
            BaseFile(month, bench.tree.url(file), file.rows, file.content_sha256)
            for month, file in bench.tree.files(dataset).items()
        ]
        for dataset in ("events", "cases", "variants", "process_map")
    }
    return Base("p", "c" * 64, bench.as_of, bench.parameters, files)


def hashes(bench: Workbench, dataset: str) -> dict[str, str]:
    """Content hash of each month of a dataset."""
    return {month: file.content_sha256 for month, file in bench.tree.files(dataset).items()}


def rows(bench: Workbench, dataset: str) -> list[dict[str, object]]:
    """All rows of a dataset, month after month."""
    found: list[dict[str, object]] = []
    for _month, file in sorted(bench.tree.files(dataset).items()):
        found += pq.read_table(bench.tree.url(file)).to_pylist()
    return found
