"""Which statements people may run: one SELECT, over given relations, with functions that only compute.

The statement is judged by its syntax tree, as DuckDB's own parser sees it, and by allow-lists: what is not
named here is refused. Limits of time, memory and rows belong to ``query`` and ``query_child``.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

from orchestration.lake.query_functions import FUNCTIONS, TABLE_FUNCTIONS

LONGEST_STATEMENT = 100_000
"""Characters."""

_TABLE_REFERENCES = frozenset(
    {"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT", "SHOW_REF"}
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class StatementRefused(ValueError):
    """The statement is not one that people may run here."""


def check(connection: duckdb.DuckDBPyConnection, sql: str, relations: Collection[str]) -> frozenset[str]:
    """The names among ``relations`` that the statement reads, if it may be run.

    Nothing of the statement is bound or executed; ``connection`` only parses.

    Raises:
        StatementRefused: with what is not allowed and, where it helps, what is.
    """
    read: set[str] = set()
    tree = _parse(connection, sql)
    ctes = _cte_names(connection, tree, relations)
    for node in _nodes(tree):
        if "function_name" in node:
            _check_function(node, FUNCTIONS)
        elif _is_table_reference(node):
            name = _check_table_reference(node, relations, ctes)
            read |= {name} & set(relations)
    return frozenset(read)


def _parse(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    if len(sql) > LONGEST_STATEMENT:
        raise StatementRefused(f"the statement is longer than {LONGEST_STATEMENT:,} characters")
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise StatementRefused(f"the statement cannot be read: {error}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise StatementRefused("write exactly one SELECT statement")
    row = connection.execute("select json_serialize_sql(?::varchar)", [sql]).fetchall()[0]
    try:
        answer = json.loads(row[0])
    except RecursionError:
        raise StatementRefused("the statement is nested too deeply") from None
    if answer["error"]:
        raise StatementRefused(f"this form of SELECT is not supported here: {answer['error_message']}")
    return answer["statements"]


def _cte_names(
    connection: duckdb.DuckDBPyConnection, tree: Any, relations: Collection[str]
) -> frozenset[str]:
    """The names that WITH gives, which must not be such that they mean something else out of its scope."""
    rows = connection.execute("select lower(view_name) from duckdb_views() where internal").fetchall()
    taken = {row[0] for row in rows}
    names = {entry["key"] for node in _nodes(tree) for entry in node.get("cte_map", {}).get("map", ())}
    for name in names:
        if not _NAME.fullmatch(name) or name.lower() in taken:
            raise StatementRefused(f"WITH cannot use the name {name!r}: choose a plain, new one")
    return frozenset(name.lower() for name in names)


def _check_function(node: dict[str, Any], allowed: frozenset[str]) -> None:
    name = node["function_name"].lower()
    if name not in allowed:
        raise StatementRefused(f"the function {name} is not allowed in queries")


def _is_table_reference(node: dict[str, Any]) -> bool:
    return "sample" in node and "alias" in node


def _check_table_reference(node: dict[str, Any], relations: Collection[str], ctes: frozenset[str]) -> str:
    kind = node["type"]
    if kind not in _TABLE_REFERENCES or (kind == "SHOW_REF" and not node["query"]):
        raise StatementRefused("FROM can hold the relations, subqueries, joins and VALUES")
    if kind == "TABLE_FUNCTION":
        _check_function(node["function"], TABLE_FUNCTIONS)
    if kind != "BASE_TABLE":
        return ""
    name: str = node["table_name"].lower()
    in_main = not node["catalog_name"] and node["schema_name"].lower() in {"", "main"}
    if not in_main or name not in {*relations, *ctes}:
        raise StatementRefused(
            f"there is no relation {node['table_name']}: a query can read {', '.join(sorted(relations))}"
        )
    return name


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of the syntax tree; not recursive, as people choose the depth."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
