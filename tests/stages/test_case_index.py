"""The case index, kept up to date change by change, is the one that is made of everything at once."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.stages import case_prefixes
from orchestration.stages.case_index import changed_event_months, stage_case_index
from orchestration.stages.case_prefixes import FOOTER_KEY, packed, prefixes_of
from orchestration.stages.tree import Draft, LocalTree
from orchestration.stages.workbench import RawPart, Workbench
from tests.stages.local_bench import hashes, local_bench

MONTHS = [f"2024-{number:02}" for number in range(1, 8)]
CASES = 12

Log = dict[str, dict[int, int]]
"""Month -> case -> what its events there are (their digest)."""

NUMBERS = itertools.count()


def case_id(case: int) -> UUID:
    return UUID(int=(case * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128)


def raw_part(month: str) -> RawPart:
    """What makes a month one that holds something."""
    return RawPart(
        arrival_id="a",
        arrival_sha256="",
        rank=1,
        month=month,
        url="",
        object_key="",
        rows=1,
        content_sha256="",
        columns=(),
        mapping={},
    )


def stage_events(bench: Workbench, log: Log) -> None:
    """Put the ``event_index`` of a log into the working tree, as far as it changed."""
    staged = bench.tree.files("event_index")
    for month, cases in log.items():
        rows = sorted((case_id(case).bytes, digest) for case, digest in cases.items())
        table = pa.table(
            {
                "global_case_id": pa.ExtensionArray.from_storage(
                    pa.uuid(), pa.array([i for i, _ in rows], pa.binary(16))
                ),
                "event_count": pa.array([1 + digest % 3 for _, digest in rows], pa.int32()),
                "digest_low": pa.array([digest for _, digest in rows], pa.uint64()),
                "digest_high": pa.array([digest for _, digest in rows], pa.uint64()),
            }
        )
        draft: Draft = bench.draft(
            "event_index", month, table.to_reader(), rows=len(rows), fingerprint="", code_version="test"
        )
        if month not in staged or staged[month].content_sha256 != draft.content_sha256:
            bench.tree.put([draft])
    bench.raw_parts = [raw_part(month) for month in log]


logs = st.dictionaries(
    st.sampled_from(MONTHS),
    st.dictionaries(st.integers(0, CASES - 1), st.integers(0, 3), max_size=CASES),
)


@pytest.fixture
def few_prefixes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One byte of each id: home months are read in vain."""
    with monkeypatch.context() as patch:
        patch.setattr(case_prefixes, "PREFIX_BYTES", 1)
        yield


def check(folder: Path, history: list[Log]) -> None:
    bench = local_bench(folder / f"kept-{next(NUMBERS)}", [])
    for log in history:
        stage_events(bench, log)
        before = bench.tree.files("case_index")
        remade = stage_case_index(bench)
        whole = local_bench(folder / f"whole-{next(NUMBERS)}", [])
        stage_events(whole, log)
        stage_case_index(whole)
        kept, made = bench.tree.files("case_index"), whole.tree.files("case_index")
        assert hashes(bench, "case_index") == hashes(whole, "case_index")
        for month, file in made.items():
            assert (file.fingerprint, file.inputs, file.rows, file.stats) == (
                kept[month].fingerprint,
                kept[month].inputs,
                kept[month].rows,
                kept[month].stats,
            )
            assert Path(kept[month].object_key).read_bytes() == Path(file.object_key).read_bytes()
        changed = {m for m in kept if m not in before or before[m].content_sha256 != kept[m].content_sha256}
        assert set(remade) == changed, "an unchanged home month is carried over"
        assert stage_case_index(bench) == []


@given(st.lists(logs, min_size=1, max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_kept_index_is_byte_by_byte_the_one_made_at_once(tmp_path: Path, history: list[Log]) -> None:
    check(tmp_path, history)


@given(st.lists(logs, min_size=2, max_size=4))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("few_prefixes")
def test_a_home_month_that_is_read_in_vain_stays_as_it_is(tmp_path: Path, history: list[Log]) -> None:
    check(tmp_path, history)


def test_a_case_that_loses_its_first_events_joins_a_home_month_that_has_not_changed(tmp_path: Path) -> None:
    march = {1: 1, 2: 1}
    check(tmp_path, [{"2024-01": {1: 1}, "2024-03": march}, {"2024-03": march}])


def test_a_new_month_reads_only_the_home_months_of_its_cases(tmp_path: Path) -> None:
    bench = local_bench(tmp_path, [])
    log: Log = {month: {number: 1} for number, month in enumerate(MONTHS[:5])}
    stage_events(bench, log)
    stage_case_index(bench)
    for month in MONTHS[:4]:  # Only the footer is left of what must not be read.
        path = Path(bench.tree.files("case_index")[month].object_key)
        footer = {FOOTER_KEY.encode(): pq.read_metadata(path).metadata[FOOTER_KEY.encode()]}
        with pq.ParquetWriter(path, pa.schema([("unreadable", pa.int8())])) as writer:
            writer.add_key_value_metadata(footer)
    stage_events(bench, log | {"2024-06": {4: 1, 9: 1}})
    assert stage_case_index(bench) == ["2024-05", "2024-06"]


def test_an_index_made_by_other_code_is_made_again(tmp_path: Path) -> None:
    bench = local_bench(tmp_path, [])
    stage_events(bench, {"2024-01": {1: 1}})
    stage_case_index(bench)
    (file,) = bench.tree.files("case_index").values()
    assert isinstance(bench.tree, LocalTree)
    object.__setattr__(file, "code_version", "other")
    assert changed_event_months(bench.tree.files("event_index"), {"2024-01": file}) == {"2024-01"}


@given(st.sets(st.integers(0, 2**128 - 1)))
def test_prefixes_are_packed_and_unpacked(ids: set[int]) -> None:
    storage = pa.array([UUID(int=i).bytes for i in ids], pa.binary(16))
    found = prefixes_of(pa.table({"id": pa.ExtensionArray.from_storage(pa.uuid(), storage)}))
    assert found.tolist() == sorted({i >> 88 for i in ids})
    assert packed(found) == b"".join(int(p).to_bytes(5, "big") for p in found)
