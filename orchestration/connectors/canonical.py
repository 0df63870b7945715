"""SQL of the canonical columns: case, activity, who, order and record key, as the mapping names them.

Times are only picked out as text here; ``timestamps`` reads them.
"""

import duckdb

from orchestration.connectors.mapping import Mapping
from orchestration.connectors.staging import Staged, ident, literal

SPACES = "' ' || chr(9) || chr(10) || chr(13)"
"""SQL of the characters that make a value blank."""

_NATURAL_DIGITS = 38  # integers longer than this are not put in order


def aliases(staged: Staged) -> dict[str, str]:
    """Column to the alias that it has inside our SQL, where no name of the source can meet one of ours."""
    return {name: f"c{position}" for position, name in enumerate(staged.names, start=1)}


def present(value: str, null: tuple[str, ...]) -> str:
    """SQL of a value, null where it is blank or a declared null marker."""
    markers = f" OR {value} IN ({', '.join(map(literal, null))})" if null else ""
    # What is blank sorts before "!", the character after the space; most values need no trimming to know.
    return f"CASE WHEN ({value} < '!' AND trim({value}, {SPACES}) = ''){markers} THEN NULL ELSE {value} END"


def canonical(session: duckdb.DuckDBPyConnection, staged: Staged, mapping: Mapping) -> str:
    """SQL of the canonical columns but the times; those as text."""
    alias = aliases(staged)

    def value(column: str | None) -> str:
        return present(alias[column], mapping.null) if column else "NULL::VARCHAR"

    columns = {
        "case_id": value(mapping.case_id),
        "activity": value(mapping.activity),
        "resource_id": value(mapping.resource),
        "role": value(mapping.role),
        "org_unit": value(mapping.org_unit),
        "lifecycle": value(mapping.lifecycle),
        "order_key": _order_key(session, staged, mapping, value(mapping.order)),
        "record_key": _record_key([value(column) for column in mapping.record_key]),
        "t_text": f"trim({value(mapping.timestamp)})",
        "s_text": f"trim({value(mapping.start_timestamp)})",
    }
    return ", ".join(f"{sql} AS {name}" for name, sql in columns.items())


def _order_key(session: duckdb.DuckDBPyConnection, staged: Staged, mapping: Mapping, value: str) -> str:
    """SQL of the order key: bigint if every value is an integer, else text whose order is the natural one.

    In text each run of digits is padded with zeros, so that 9 sorts before 10; digits after a point are a
    fraction and stay. Negative numbers among text are not put in order.
    """
    if mapping.order is None:
        return "NULL::BIGINT"
    column = present(ident(mapping.order), mapping.null)
    row = session.sql(
        f"SELECT bool_and(regexp_full_match(v, '[+-]?[0-9]+') AND try_cast(v AS BIGINT) IS NOT NULL) "
        f"FROM (SELECT {column} AS v FROM ({staged.relation})) WHERE v IS NOT NULL"
    ).fetchone()
    if row and row[0] is not False:
        return f"try_cast({value} AS BIGINT)"
    padded = rf"regexp_replace({value}, '(^|[^.0-9])([0-9]+)', '\1{'0' * _NATURAL_DIGITS}\2', 'g')"
    return rf"regexp_replace({padded}, '(^|[^.0-9])[0-9]*([0-9]{{{_NATURAL_DIGITS}}})', '\1\2', 'g')"


def _record_key(values: list[str]) -> str:
    """SQL of the sha256 of the length-prefixed values (UTF-8 bytes); a missing value is ``-``."""
    if not values:
        return "NULL::VARCHAR"
    parts = " || ".join(f"coalesce(strlen({value}) || ':' || {value}, '-')" for value in values)
    return f"CASE WHEN coalesce({', '.join(values)}) IS NULL THEN NULL ELSE sha256({parts}) END"
