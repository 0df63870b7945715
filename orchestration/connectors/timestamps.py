"""Reading a column of times: which layouts occur, what they mean, and the SQL that converts the whole column.

The decision is made per column over the whole file. Each value is reduced to its *shape*, its text with every
digit as 9; a file has few shapes, and each is understood or not once. Day and month are told apart by a value
above 12, or asked for. An offset in the text is always applied (DuckDB's own cast to TIMESTAMP would drop
it).
"""

import re
from dataclasses import dataclass
from typing import Literal

import duckdb

from orchestration.connectors.errors import AmbiguousMapping, InvalidMapping, Question
from orchestration.connectors.staging import literal

NAMED_FORMATS = ("iso", "day-first", "month-first", "epoch-s", "epoch-ms")
_MAX_SHAPES = 1000
_LONGEST = 64
_EPOCH_DIGITS = {10: 1_000_000, 13: 1_000, 16: 1}  # microseconds per unit, by length of today's values

DateOrder = Literal["year", "name", "day-or-month"]

_TIME = (
    r"(?P<H>99?):(?P<M>99)(?::(?P<S>99)(?P<fraction>[.,]9{1,9})?)?"
    r"(?P<p> ?[AaPp][Mm])?(?: ?(?P<zone>Z|z|UTC|GMT|[+-]99(?::?99)?))?"
)
_DATES: tuple[tuple[DateOrder, str], ...] = (
    ("year", r"(?P<Y>9999)([-/.])(?P<m>99?)\2(?P<d>99?)"),
    ("day-or-month", r"(?P<one>99?)([-/.])(?P<two>99?)\2(?P<Y>9999)"),
    ("name", r"(?P<d>99?)[-/. ](?P<b>[A-Za-z]{3})[-/., ]{1,2}(?P<Y>9999)"),
    ("name", r"(?P<d>99?)[-/. ](?P<B>[A-Za-z]{4,9})[-/., ]{1,2}(?P<Y>9999)"),
    ("name", r"(?P<b>[A-Za-z]{3})[-/. ](?P<d>99?)[-/., ]{1,2}(?P<Y>9999)"),
    ("name", r"(?P<B>[A-Za-z]{4,9})[-/. ](?P<d>99?)[-/., ]{1,2}(?P<Y>9999)"),
)
_PATTERNS = tuple((order, re.compile(rf"{date}(?:(?:T|,? {{1,2}}){_TIME})?")) for order, date in _DATES)
_COMPACT = re.compile(r"(?P<Y>9999)(?P<m>99)(?P<d>99)(?:T?(?P<H>99)(?P<M>99)(?P<S>99)(?P<zone>Z)?)?")


@dataclass(frozen=True)
class Layout:
    """What one shape of text means; SQL fragments take the value in a column ``v``.

    Attributes:
        shape: The text with every digit as 9.
        local: SQL of the TIMESTAMP that is written, before any offset; null if it is none.
        offset: SQL of the offset in minutes, or None if the text has none.
        date_only: There is no time of day.
        description: What the layout is called in front of people.
    """

    shape: str
    local: str
    offset: str | None
    date_only: bool
    description: str


@dataclass(frozen=True)
class Reading:
    """How a column of times is read. Either ``layouts`` by shape, or one ``Layout`` for every value.

    Attributes:
        layouts: The understood shapes, most frequent first.
        by_shape: False if there is one layout and it reads every value, so that shapes need no telling apart.
        understood: Values whose shape is understood.
        values: All values of the column that are not null.
        date_order: ``day-first`` or ``month-first`` where that mattered.
    """

    layouts: tuple[Layout, ...]
    by_shape: bool
    understood: int
    values: int
    date_order: str | None = None

    @property
    def has_naive(self) -> bool:
        """Some values carry no offset, so that their zone must be told."""
        return any(layout.offset is None for layout in self.layouts)

    @property
    def description(self) -> str:
        """How the values are read, in words."""
        return "; ".join(dict.fromkeys(layout.description for layout in self.layouts)) or "not understood"

    def local(self, shape: str, value: str) -> str:
        """SQL of the written time."""
        return self._case(shape, value, [(layout, layout.local) for layout in self.layouts])

    def offset(self, shape: str, value: str) -> str:
        """SQL of the offset in minutes; null for a naive value."""
        return self._case(shape, value, [(x, x.offset) for x in self.layouts if x.offset is not None])

    def is_naive(self, shape: str) -> str:
        """SQL: does the value carry no offset?"""
        return self._among(shape, [layout for layout in self.layouts if layout.offset is None])

    def is_date_only(self, shape: str) -> str:
        """SQL: does the value carry no time of day?"""
        return self._among(shape, [layout for layout in self.layouts if layout.date_only])

    def _case(self, shape: str, value: str, branches: list[tuple[Layout, str]]) -> str:
        branches = [(layout, sql.replace("{v}", value)) for layout, sql in branches]
        if not branches:
            return "NULL"
        if not self.by_shape:
            return branches[0][1]
        return (
            f"CASE {shape} " + " ".join(f"WHEN {literal(x.shape)} THEN {sql}" for x, sql in branches) + " END"
        )

    def _among(self, shape: str, layouts: list[Layout]) -> str:
        if not layouts or not self.by_shape:
            return "true" if layouts else "false"
        return f"{shape} IN ({', '.join(literal(layout.shape) for layout in layouts)})"


def shape_sql(value: str) -> str:
    """SQL of a value's shape."""
    return f"translate({value}, '012345678', '999999999')"


def check_format(name: str) -> None:
    """Check a timestamp format.

    Raises:
        InvalidMapping: It is neither a named format nor a strptime pattern.
    """
    if name in NAMED_FORMATS:
        return
    try:
        if "%" in name:
            with duckdb.connect() as session:
                session.execute(f"SELECT try_strptime('', {literal(name)})")
            return
    except duckdb.Error as error:
        raise InvalidMapping(f"The timestamp format {name!r} is no strptime pattern: {error}") from None
    raise InvalidMapping(
        f"There is no timestamp format {name!r}. Give one of {', '.join(NAMED_FORMATS)}, "
        "or a pattern such as '%d.%m.%Y %H:%M'."
    )


def read_column(
    session: duckdb.DuckDBPyConnection, values: str, given: str | None, *, field: str, column: str
) -> Reading:
    """Decide how the values of a query with one column ``v`` are read.

    Args:
        session: Where the query runs.
        values: SQL of a query that gives the values as text in ``v``.
        given: The declared format, if any.
        field: The mapping field, for the question.
        column: The column's name, for the question.

    Raises:
        AmbiguousMapping: Day and month cannot be told apart.
    """
    # Texts too long for a time are one group, so that the shapes' counts add up to all values.
    shape = f"CASE WHEN length(v) <= {_LONGEST} THEN {shape_sql('v')} ELSE '' END"
    shapes = session.sql(
        f"SELECT {shape} AS shape, count(*) AS n FROM ({values}) WHERE v IS NOT NULL GROUP BY 1 "
        "ORDER BY n DESC, shape"
    ).fetchall()
    total = sum(n for _, n in shapes)
    shapes = shapes[:_MAX_SHAPES]
    if given is not None and (given.startswith("epoch-") or given not in NAMED_FORMATS):
        return Reading((_declared(given),), False, total, total)
    order = given if given in ("day-first", "month-first") else None
    numeric = [shape for shape, _ in shapes if (m := _match(shape)) and m[0] == "day-or-month"]
    if numeric and order is None and given is None:
        order = _date_order(session, values, numeric, field, column)
    read = [(layout, n) for shape, n in shapes if (layout := _layout(shape, order, iso_only=given == "iso"))]
    understood = sum(n for _, n in read)
    by_shape = len(read) != 1 or understood < total
    return Reading(
        tuple(layout for layout, _ in read), by_shape, understood, total, order if numeric else None
    )


def _date_order(
    session: duckdb.DuckDBPyConnection, values: str, shapes: list[str], field: str, column: str
) -> str:
    """``day-first`` or ``month-first``, proven by a value above 12."""
    first = second = 0
    for shape in shapes:
        found = _match(shape)
        assert found is not None
        one, two = (f"max(try_cast({_part(found[1], part, 'v')} AS INT))" for part in ("one", "two"))
        row = session.sql(
            f"SELECT {one}, {two} FROM ({values}) WHERE {shape_sql('v')} = {literal(shape)}"
        ).fetchone()
        first, second = max(first, (row and row[0]) or 0), max(second, (row and row[1]) or 0)
    if (first > 12) != (second > 12):
        return "day-first" if first > 12 else "month-first"
    why = (
        "has dates that can only be day first beside dates that can only be month first; those of the "
        "other kind will be quarantined."
        if first > 12
        else "has dates such as 03/04 whose day and month cannot be told apart: no value is above 12."
    )
    raise AmbiguousMapping(
        (
            Question(
                "timestamp_format",
                "--timestamp-format",
                ("day-first", "month-first"),
                f"{column!r} ({field}) {why}",
            ),
        )
    )


def _match(shape: str) -> tuple[DateOrder, re.Match[str]] | None:
    for order, pattern in _PATTERNS:
        if match := pattern.fullmatch(shape):
            return order, match
    return None


def _layout(shape: str, date_order: str | None, *, iso_only: bool) -> Layout | None:
    if set(shape) == {"9"} and len(shape) in _EPOCH_DIGITS:
        return None if iso_only else _epoch(shape)
    if compact := _COMPACT.fullmatch(shape):
        return _written(compact, {"m": "%m", "d": "%d"}, "compact ISO 8601")
    found = _match(shape)
    if found is None:
        return None
    order, match = found
    if order == "year":
        iso = shape[:10] == "9999-99-99" and not match["p"] and "," not in shape
        if iso and (match["H"] is None or match.end("H") - match.start("H") == 2):
            return _iso(match)
        return _written(match, {"m": "%m", "d": "%d"}, "year-month-day")
    if iso_only:
        return None
    if order == "name":
        return _written(match, {"d": "%d", "b": "%b", "B": "%B"}, "month by its English name")
    if date_order is None:
        return None
    parts = ("%d", "%m") if date_order == "day-first" else ("%m", "%d")
    return _written(match, {"one": parts[0], "two": parts[1]}, date_order)


def _iso(match: re.Match[str]) -> Layout:
    groups = match.groupdict()
    end = max(match.end(name) for name in ("d", "M", "S", "fraction") if groups[name] is not None)
    # DuckDB's cast reads up to nine digits of a fraction and truncates to microseconds.
    return Layout(
        match.string,
        f"try_cast(left({{v}}, {end}) AS TIMESTAMP)",
        _offset(match),
        match["M"] is None,
        "ISO 8601",
    )


def _written(match: re.Match[str], directives: dict[str, str], description: str) -> Layout:
    """A layout read by strptime; fraction and zone are taken out first."""
    groups = match.groupdict()
    directives = directives | {"Y": "%Y", "H": "%I" if groups.get("p") else "%H", "M": "%M", "S": "%S"}
    spans = sorted(
        (match.span(name), text) for name, text in directives.items() if groups.get(name) is not None
    )
    body_end = spans[-1][0][1]
    pattern, at = "", 0
    for (start, end), directive in spans:
        pattern += match.string[at:start] + directive
        at = end
    text = f"left({{v}}, {body_end})"
    if groups.get("p"):
        pattern += " %p"
        text += f" || ' ' || trim({_part(match, 'p', '{v}')})"
    local = f"try_strptime({text}, {literal(pattern)})"
    if groups.get("fraction"):
        digits = f"substr({_part(match, 'fraction', '{v}')}, 2, 6)"
        local += f" + to_microseconds(try_cast(rpad({digits}, 6, '0') AS BIGINT))"
    return Layout(match.string, local, _offset(match), groups.get("M") is None, description)


def _offset(match: re.Match[str]) -> str | None:
    """SQL of the offset in minutes; null where the text's offset is impossible."""
    zone = match.groupdict().get("zone")
    if zone is None:
        return None
    if zone[0] not in "+-":
        return "0"
    start = match.start("zone") + 1  # 1-based
    hours = f"try_cast(substr({{v}}, {start + 1}, 2) AS INT)"
    minutes = "try_cast(right({v}, 2) AS INT)" if len(zone) > 3 else "0"
    sign = f"CASE substr({{v}}, {start}, 1) WHEN '-' THEN -1 ELSE 1 END"
    return f"CASE WHEN {hours} < 16 AND {minutes} < 60 THEN ({sign}) * ({hours} * 60 + {minutes}) END"


def _epoch(shape: str) -> Layout:
    per_unit = _EPOCH_DIGITS[len(shape)]
    unit = {1_000_000: "seconds", 1_000: "milliseconds", 1: "microseconds"}[per_unit]
    return Layout(
        shape, f"make_timestamp(try_cast({{v}} AS BIGINT) * {per_unit})", "0", False, f"Unix epoch in {unit}"
    )


def _declared(given: str) -> Layout:
    if given.startswith("epoch-"):
        per_unit = 1_000_000 if given == "epoch-s" else 1_000
        micros = f"floor(try_cast({{v}} AS DECIMAL(30, 6)) * {per_unit})"
        # beyond these DuckDB's TIMESTAMP ends, and make_timestamp would fail for the whole column
        local = f"CASE WHEN abs({micros}) < 9e18 THEN make_timestamp(({micros})::BIGINT) END"
        return Layout("", local, "0", False, f"Unix epoch ({given})")
    aware = "%z" in given or "%Z" in given
    text = "regexp_replace({v}, '[Zz]$', '+00:00')" if "%z" in given else "{v}"
    local = f"try_strptime({text}, {literal(given)})::TIMESTAMP"
    date_only = not re.search(r"%-?[HIcXT]", given)
    return Layout("", local, "0" if aware else None, date_only, f"pattern {given}")


def _part(match: re.Match[str], group: str, value: str) -> str:
    start, end = match.span(group)
    return f"substr({value}, {start + 1}, {end - start})"
