"""Whatever is uploaded, corrected and killed in whatever order: the end is that of a clean upload of the final state.

A history is a drawn list of steps, so that hypothesis can shrink the one that fails. ``CASETRAIL_HISTORIES`` says how
many are tried in all; the quick suite tries a few.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from orchestration.connectors.landing import Landing, land
from orchestration.connectors.mapping import Mapping
from orchestration.connectors.probe import probe
from tests.stages.local_ledger import LocalLedger

ASKED = int(os.environ.get("CASETRAIL_HISTORIES", "0"))
FEW, SOME = 15, 8
"""Histories of the generated log in the quick suite, and of each real log in the slow one."""

COLUMNS = ("id", "version", "case", "activity", "time", "who", "agent")
BEGIN = datetime(2024, 1, 1)
BEFORE = datetime(2024, 5, 1, tzinfo=UTC)
"""When histories begin: rows of later days wait in quarantine until time has passed."""

PLAIN = Mapping(case_id="case", activity="activity", timestamp="time", resource="who", timezone="UTC")
KEYED = PLAIN.model_copy(update={"record_key": ("id",), "order": "version"})
REMAPS: tuple[dict[str, Any], ...] = (
    {"resource": "agent"},
    {"resource": None, "role": "who"},
    {"system": "crm"},
    {"timezone": "Pacific/Auckland"},
    {"record_key": ("id",), "order": "version"},
    {"record_key": ("id",), "order": None},
    {"record_key": (), "order": None},
    {"null": ("ship",)},
)

Row = tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One thing that happens. ``number`` picks what it happens to."""

    name: str
    number: int = 0
    rows: tuple[Row, ...] = ()


def generated_row() -> st.SearchStrategy[Row]:
    """Few ids, versions, cases and times, so that rows meet: equal, late, newer, at the same time, torn over months."""
    minutes = st.integers(0, 160).map(lambda day: day * 1440) | st.integers(0, 3)
    return st.tuples(
        st.integers(1, 9).map(str),
        st.integers(1, 12).map(str),
        st.sampled_from(("a", "b", "c", "d")),
        st.sampled_from(("order", "check", "ship", "pay")),
        minutes.map(lambda m: (BEGIN + timedelta(minutes=m)).strftime("%Y-%m-%dT%H:%M:%S")),
        st.sampled_from(("Ann", "Bob", "")),
        st.sampled_from(("x", "y")),
    )


def steps(rows: st.SearchStrategy[tuple[Row, ...]]) -> st.SearchStrategy[list[Step]]:
    """A history over files of these rows."""
    number = st.integers(0, 40)
    uploads = st.builds(Step, st.just("upload"), number, rows)
    others = st.one_of(
        st.builds(Step, st.just("replace"), number, rows),
        st.builds(Step, st.sampled_from(("retract", "again", "remap", "first_month", "later")), number),
        st.builds(Step, st.sampled_from(("readmit", "refresh", "killed")), number),
    )
    return st.lists(st.one_of(uploads, others, others), min_size=3, max_size=12)


@dataclass
class History:
    """Plays steps on a ledger."""

    ledger: LocalLedger
    folder: Path
    mapping: Mapping

    def play(self, history: Sequence[Step]) -> None:
        for step in history:
            getattr(self, f"_{step.name}")(step)

    def _upload(self, step: Step) -> None:
        self.ledger.upload(self._file(step.rows), self.mapping)

    def _again(self, step: Step) -> None:
        """Upload a file that came before; it counts if it was retracted or replaced since."""
        if self.ledger.versions:
            old = self.ledger.versions[step.number % len(self.ledger.versions)]
            self.ledger.upload(old.path, self.mapping)

    def _replace(self, step: Step) -> None:
        if landed := self.ledger.landed:
            self.ledger.replace_file(landed[step.number % len(landed)], self._file(step.rows))

    def _retract(self, step: Step) -> None:
        if landed := self.ledger.landed:
            self.ledger.retract(landed[step.number % len(landed)])

    def _remap(self, step: Step) -> None:
        """All that landed through the connector, and what comes next."""
        changes = REMAPS[step.number % len(REMAPS)]
        self.ledger.remap(changes)
        self.mapping = Mapping.model_validate(self.mapping.model_dump(mode="json") | changes)

    def _first_month(self, step: Step) -> None:
        self.ledger.first_month = ("2000-01", "2024-02", "2024-03")[step.number % 3]

    def _later(self, step: Step) -> None:
        self.ledger.now += timedelta(days=step.number)

    def _readmit(self, _step: Step) -> None:
        self.ledger.readmit()

    def _refresh(self, _step: Step) -> None:
        self.ledger.refresh()

    def _killed(self, step: Step) -> None:
        self.ledger.refresh(kill_after=step.number % 12)

    def _file(self, rows: tuple[Row, ...]) -> Path:
        text = "\n".join(",".join(row) for row in (COLUMNS, *rows)) + "\n"
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.csv"
        path.write_text(text)
        return path


def ends_as_a_clean_upload(
    history: Sequence[Step], mapping: Mapping, folder: Path, landings: dict[str, Landing], now: datetime
) -> None:
    """Play a history, let the automation finish, and compare month by month."""
    with tempfile.TemporaryDirectory(dir=folder) as played:
        ledger = LocalLedger(Path(played) / "played", landings, now=now)
        History(ledger, folder, mapping).play(history)
        ledger.readmit()
        ledger.refresh()
        clean = ledger.clean(Path(played) / "clean")
        assert ledger.content() == clean.content()
        assert ledger.released == (clean.released or ledger.released)
        rows = sum(file.rows for file in ledger.tree.files("events").values())
        landed = sum(version.arrival.landed or 0 for version in ledger.landed)
        lost = sum(e["rows"] for f in ledger.tree.files("events").values() for e in f.stats["lost"])
        assert rows + lost == landed, "no row is lost, none is counted twice"


@pytest.fixture(scope="module")
def workshop() -> Iterator[tuple[Path, dict[str, Landing]]]:
    """A folder for files, and how they landed; shared by histories."""
    folder = Path(tempfile.mkdtemp(prefix="casetrail-histories-"))
    yield folder, {}
    shutil.rmtree(folder)


def tried(histories: int) -> settings:
    return settings(
        max_examples=histories,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )


GENERATED = st.lists(generated_row(), min_size=1, max_size=8).map(tuple)
OLD = ("1", "1", "a", "order", "2024-01-05T00:00:00", "Ann", "x")
NEW = ("1", "2", "a", "pay", "2024-03-05T00:00:00", "", "")
UPLOAD_BOTH = [Step("upload", rows=(OLD,)), Step("upload", rows=(NEW,))]


@given(history=steps(GENERATED), keyed=st.booleans())
@example(history=[*UPLOAD_BOTH, Step("refresh"), Step("retract", 1)], keyed=True)
@example(history=[UPLOAD_BOTH[0], Step("refresh"), UPLOAD_BOTH[1], Step("killed", 1)], keyed=True)
@example(history=[UPLOAD_BOTH[0], Step("refresh"), UPLOAD_BOTH[1], Step("killed", 1)], keyed=False)
@example(history=[*UPLOAD_BOTH, Step("refresh"), Step("retract"), Step("retract")], keyed=False)
# Killed between the profiles of a home month and its explanation; then the month's only case moves away.
@example(history=[UPLOAD_BOTH[1], Step("killed", 5), UPLOAD_BOTH[0]], keyed=False)
# The first month is raised over what has landed and is in no release yet.
@example(
    history=[UPLOAD_BOTH[0], Step("first_month", 1), Step("refresh"), Step("first_month", 0)], keyed=True
)
@tried(ASKED // 2 or FEW)
@pytest.mark.timeout(7200)
def test_a_history_ends_as_a_clean_upload_of_its_final_state(
    workshop: tuple[Path, dict[str, Landing]], history: list[Step], keyed: bool
) -> None:
    ends_as_a_clean_upload(history, KEYED if keyed else PLAIN, *workshop, BEFORE)


@dataclass(frozen=True)
class Log:
    """A real log, the zone of its times, and how many of its longest cases are taken."""

    path: str
    cases: int
    timezone: str | None = None


LOGS = {
    "sepsis": Log("sepsis/Sepsis_Cases.xes.gz", 6),
    "bpic2012": Log("bpic2012/bpic2012.xes.gz", 4),
    "traffic_fines": Log("traffic_fines/traffic_fines.parquet", 4),
}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", LOGS)
def test_histories_of_real_cases_end_as_a_clean_upload(
    workshop: tuple[Path, dict[str, Landing]], shared_data: Path, tmp_path: Path, name: str
) -> None:
    pool = real_rows(shared_data, LOGS[name], tmp_path)
    slices = st.builds(
        lambda start, step, count: tuple(pool[(start + place * step) % len(pool)] for place in range(count)),
        st.integers(0, len(pool) - 1),
        st.sampled_from((1, 1, 3, 7)),
        st.integers(1, 40),
    )

    @given(history=steps(slices), keyed=st.booleans())
    @tried(ASKED // 6 or SOME)
    def histories(history: list[Step], keyed: bool) -> None:
        ends_as_a_clean_upload(
            history, KEYED if keyed else PLAIN, *workshop, datetime(2026, 1, 1, tzinfo=UTC)
        )

    histories()


def real_rows(shared_data: Path, log: Log, folder: Path) -> list[Row]:
    """The rows of the cases that last longest, in the log's order, with the columns of our files."""
    now = datetime(2026, 1, 15, tzinfo=UTC)
    path = shared_data / log.path
    mapping = probe(path, first_month="2000-01", now=now, max_records=20_000).mapping
    landing = land(path, mapping, first_month="2000-01", now=now, into=folder / "log")
    files = [str(file.path) for file in landing.months.values()]
    with duckdb.connect() as connection:
        return connection.execute(
            """
            with log as (from read_parquet(?)),
            longest as (
                select _case_id from log group by all
                order by max(_timestamp) - min(_timestamp) desc, _case_id limit ?
            )
            select (_row_number % 97)::varchar, (_row_number % 5)::varchar, replace(_case_id, ',', ' '),
                   replace(_activity, ',', ' '), strftime(_timestamp, '%Y-%m-%dT%H:%M:%S.%f'),
                   replace(coalesce(_resource_id, ''), ',', ' '), (_row_number % 3)::varchar
            from log semi join longest using (_case_id) order by _row_number
            """,
            [files, log.cases],
        ).fetchall()
