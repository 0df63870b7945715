"""One SQL view that gives every staged record its canonical columns, and a reason if it cannot be landed.

``reason`` is null for a record that lands, ``non_event`` for one that holds nothing, else a ``REASONS`` code;
the first that applies, in the order of the table. Nothing is read or written here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from orchestration.connectors.canonical import SPACES, aliases, canonical, present
from orchestration.connectors.errors import AmbiguousMapping, Question
from orchestration.connectors.mapping import Mapping
from orchestration.connectors.staging import Staged, ident, literal
from orchestration.connectors.timestamps import Reading, read_column, shape_sql
from orchestration.connectors.zones import intervals, rules, zone

FUTURE_TOLERANCE = timedelta(days=1)
"""How far ahead of our clock a source's clock may be."""

NON_EVENT = "non_event"
IN_FUTURE = "in_future"
_NO_TIME = datetime(9999, 1, 1)
"""Python knows no later year."""

REASONS = {
    "ragged_row": "The record does not have as many fields as the header.",
    "unparseable_record": "The line is no JSON object.",
    "missing_case_id": "The case id is empty.",
    "missing_activity": "The activity is empty.",
    "missing_timestamp": "The time is empty.",
    "unparseable_timestamp": "This is no time in the column's format ({reading}).",
    "nonexistent_local_time": "Clocks were set forward over this local time in {timezone}; it never was.",
    "before_first_month": "The time is before the first month of the workspace, {first_month}.",
    IN_FUTURE: "The time is more than a day after the file was read.",
    "missing_record_key": "All columns of the record key are empty.",
}
"""Why a record is put into quarantine, in the order in which reasons are judged."""

_MARGIN = timedelta(days=2)  # local days reach beyond the UTC days of the bounds
_LANDED_AS = {
    "_timestamp": "t_utc",
    "_start_timestamp": "s_utc",
    "_case_id": "case_id",
    "_activity": "activity",
    "_resource_id": "resource_id",
    "_role": "role",
    "_org_unit": "org_unit",
    "_lifecycle": "lifecycle",
    "_order_key": "order_key",
    "_record_key": "record_key",
}


@dataclass(frozen=True)
class Bounds:
    """The times that may land: from the first moment of ``first_month`` to a day after ``now`` (UTC)."""

    first_month: str
    now: datetime

    def __post_init__(self) -> None:
        """Check both.

        Raises:
            ValueError: ``first_month`` is no month, or ``now`` has no time zone.
        """
        datetime.strptime(self.first_month, "%Y-%m")
        if self.now.tzinfo is None:
            raise ValueError("now needs a time zone")

    @property
    def earliest(self) -> datetime:
        """The first moment, as naive UTC."""
        return datetime.strptime(self.first_month, "%Y-%m")

    @property
    def latest(self) -> datetime:
        """The last moment, as naive UTC."""
        return self.now.astimezone(UTC).replace(tzinfo=None) + FUTURE_TOLERANCE


@dataclass(frozen=True)
class Classified:
    """The view over a staged file.

    The view is called ``classified``: the source's columns, ``LANDED_COLUMNS``, ``_month`` (such as 202401,
    UTC), ``_local_twice`` (a local time occurred twice) and the verdict, ``_reason``, with the ``_field`` and
    ``_value`` that it is about.

    Attributes:
        reading: How the timestamp column is read.
        start_reading: How the start timestamp column is read, if mapped.
        messages: Plain English for each reason.
    """

    reading: Reading
    start_reading: Reading | None
    messages: dict[str, str]


def readings(
    session: duckdb.DuckDBPyConnection, staged: Staged, mapping: Mapping
) -> tuple[Reading, Reading | None]:
    """How the mapped time columns are read, judged over all staged records.

    Raises:
        AmbiguousMapping: Day and month cannot be told apart, or a zone is needed.
    """
    main = _reading(session, staged, mapping, "timestamp", mapping.timestamp)
    if mapping.start_timestamp is None:
        return main, None
    return main, _reading(session, staged, mapping, "start_timestamp", mapping.start_timestamp)


def classify(
    session: duckdb.DuckDBPyConnection, staged: Staged, mapping: Mapping, bounds: Bounds
) -> Classified:
    """Create the view ``classified`` in the session.

    Raises:
        AmbiguousMapping: Day and month cannot be told apart, or a zone is needed.
    """
    main, start = readings(session, staged, mapping)
    times = {"t": main, "s": start} if start else {"t": main}
    source = ", ".join(f"{ident(name)} AS {alias}" for name, alias in aliases(staged).items())
    query = f"SELECT _row_number, {source} FROM ({staged.relation})"
    query = f"SELECT *, {canonical(session, staged, mapping)} FROM ({query})"
    query = f"SELECT *, {', '.join(shape_sql(x + '_text') + f' AS {x}_shape' for x in times)} FROM ({query})"
    query = f"SELECT *, {', '.join(_parsed(x, reading) for x, reading in times.items())} FROM ({query})"
    for name, reading in times.items():
        query = _in_utc(session, query, name, reading, mapping.timezone, bounds)
    if not start:
        query = f"SELECT *, NULL::TIMESTAMP AS s_utc, false AS s_gap, false AS s_twice FROM ({query})"
    session.execute(f"CREATE OR REPLACE TEMP VIEW classified AS {_judged(query, staged, mapping, bounds)}")
    words = {"reading": main.description, "timezone": mapping.timezone, "first_month": bounds.first_month}
    return Classified(main, start, {reason: text.format(**words) for reason, text in REASONS.items()})


def first_admission(session: duckdb.DuckDBPyConnection) -> datetime | None:
    """When the first of the classified records that are in the future may land (UTC); None: not in this era."""
    row = session.sql(
        f"SELECT min(_timestamp) FROM classified WHERE _reason = '{IN_FUTURE}' "
        f"AND _timestamp < TIMESTAMP {literal(_NO_TIME)}"
    ).fetchone()
    return (row[0] - FUTURE_TOLERANCE).replace(tzinfo=UTC) if row and row[0] else None


def _reading(
    session: duckdb.DuckDBPyConnection, staged: Staged, mapping: Mapping, field: str, column: str
) -> Reading:
    values = f"SELECT trim({present(ident(column), mapping.null)}) AS v FROM ({staged.relation})"
    reading = read_column(session, values, mapping.timestamp_format, field=field, column=column)
    if reading.has_naive and mapping.timezone is None:
        what = "dates without a time" if all(x.date_only for x in reading.layouts) else "times without a zone"
        raise AmbiguousMapping(
            (
                Question(
                    "timezone", "--timezone", ("UTC", "Europe/Berlin"), f"{column!r} ({field}) has {what}."
                ),
            )
        )
    return reading


def _parsed(name: str, reading: Reading) -> str:
    shape, text = f"{name}_shape", f"{name}_text"
    return (
        f"({reading.local(shape, text)})::TIMESTAMP AS {name}_local, "
        f"({reading.offset(shape, text)})::INT AS {name}_offset, "
        f"{reading.is_naive(shape)} AS {name}_naive, {reading.is_date_only(shape)} AS {name}_date_only"
    )


def _in_utc(
    session: duckdb.DuckDBPyConnection,
    query: str,
    name: str,
    reading: Reading,
    timezone: str | None,
    bounds: Bounds,
) -> str:
    """Add ``_utc``, ``_gap`` (it never was) and ``_twice`` (the first of two) of one time."""
    with_offset = f"{name}_local - to_minutes({name}_offset)"
    if not reading.has_naive or timezone is None:
        added = f"{with_offset} AS {name}_utc, false AS {name}_gap, false AS {name}_twice"
        return f"SELECT *, {added} FROM ({query})"
    first, last = bounds.earliest.date() - _MARGIN, bounds.latest.date() + _MARGIN
    covering = intervals(zone(timezone), first, last)
    if len(covering) == 1:  # a zone without changes, such as UTC
        naive = f"{name}_local - to_microseconds({covering[0].offset // timedelta(microseconds=1)})"
        added = f"CASE WHEN {name}_naive THEN {naive} ELSE {with_offset} END AS {name}_utc"
        return f"SELECT *, {added}, false AS {name}_gap, false AS {name}_twice FROM ({query})"
    session.register("zone_rules_in", rules(covering))
    session.execute("CREATE OR REPLACE TEMP TABLE zone_rules AS FROM zone_rules_in")
    session.unregister("zone_rules_in")
    # Outside the rules' days nothing lands, so that any offset will do there.
    naive = f"{name}_local - to_microseconds(coalesce(z.offset_us, 0))"
    return (
        f"SELECT q.*, CASE WHEN {name}_naive THEN {naive} ELSE {with_offset} END AS {name}_utc, "
        # The first moment of a day that starts inside a gap is the moment of the change itself.
        f"{name}_naive AND NOT {name}_date_only AND coalesce(z.kind = 'gap', false) AS {name}_gap, "
        f"{name}_naive AND coalesce(z.kind = 'overlap', false) AS {name}_twice "
        f"FROM ({query}) q LEFT JOIN zone_rules z ON {name}_local::DATE = z.day "
        f"AND {name}_local >= z.from_local AND {name}_local < z.to_local"
    )


def _judged(query: str, staged: Staged, mapping: Mapping, bounds: Bounds) -> str:
    """SQL of the view: canonical columns under their landed names, and the verdict."""
    alias = aliases(staged)
    blank = " AND ".join(f"coalesce(trim({c}, {SPACES}), '') = ''" for c in alias.values())
    timestamp = (mapping.timestamp, alias[mapping.timestamp])
    start = (
        (mapping.start_timestamp, alias[mapping.start_timestamp]) if mapping.start_timestamp else ("", "NULL")
    )
    key = (", ".join(mapping.record_key), "NULL")
    # (condition, reason, (field, value)); the first that holds is the verdict
    verdicts = [
        (f"case_id IS NULL AND {blank}", NON_EVENT, ("", "NULL")),
        ("case_id IS NULL", "missing_case_id", (mapping.case_id, alias[mapping.case_id])),
        ("activity IS NULL", "missing_activity", (mapping.activity, alias[mapping.activity])),
        ("t_text IS NULL", "missing_timestamp", timestamp),
        ("t_utc IS NULL", "unparseable_timestamp", timestamp),
        ("t_gap", "nonexistent_local_time", timestamp),
        ("s_text IS NOT NULL AND s_utc IS NULL", "unparseable_timestamp", start),
        ("s_gap", "nonexistent_local_time", start),
        (f"t_utc < TIMESTAMP {literal(bounds.earliest)}", "before_first_month", timestamp),
        (f"t_utc > TIMESTAMP {literal(bounds.latest)}", IN_FUTURE, timestamp),
    ]
    if mapping.record_key:
        verdicts.append(("record_key IS NULL", "missing_record_key", key))

    def case(results: list[str]) -> str:
        return (
            "CASE "
            + " ".join(f"WHEN {v[0]} THEN {r}" for v, r in zip(verdicts, results, strict=True))
            + " END"
        )

    columns = ["_row_number", *(f"{alias} AS {ident(name)}" for name, alias in aliases(staged).items())]
    columns += [f"{sql} AS {landed}" for landed, sql in _LANDED_AS.items()]
    columns += [
        "year(t_utc) * 100 + month(t_utc) AS _month",
        "t_twice OR s_twice AS _local_twice",
        f"{case([literal(v[1]) for v in verdicts])} AS _reason",
        f"{case([literal(v[2][0]) for v in verdicts])} AS _field",
        f"{case([v[2][1] for v in verdicts])} AS _value",
    ]
    return f"SELECT {', '.join(columns)} FROM ({query})"
