"""Random queries through HTTP select what plain Python selects from the same rows."""

import operator
import random
from collections.abc import Callable
from typing import Any

import httpx

from casetrail_testkit import SalesforceServer
from tests.testkit.test_salesforce_rest import column, query

Row = dict[str, Any]
Test = Callable[[Row], bool]
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
ROWS = 60


def folded(value: Any) -> Any:
    """Text fields are compared without regard to case."""
    return value.lower() if isinstance(value, str) else value


def literal(field: str, value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str) and field in ("Name", "Id"):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)


def compared(row: Row, field: str, sign: str, value: Any) -> bool:
    """SOQL's comparison: null is equal to null only, and different from everything else."""
    own = folded(row[field]) if field == "Name" else row[field]
    wanted = folded(value) if field == "Name" else value
    if own is None or wanted is None:
        return {"=": own is wanted, "!=": own is not wanted}.get(sign, False)
    return OPERATORS[sign](own, wanted)


def comparison(rng: random.Random, rows: list[Row]) -> tuple[str, Test]:
    field = rng.choice(["Name", "Amount", "IsWon", "CloseDate", "SystemModstamp", "Id"])
    values = [rng.choice(rows)[field] for _ in range(3)]
    if rng.random() < 0.3:
        listed = ", ".join(literal(field, value) for value in values)
        if rng.random() < 0.5:
            return f"{field} IN ({listed})", lambda row: any(
                compared(row, field, "=", value) for value in values
            )
        return f"{field} NOT IN ({listed})", lambda row: all(
            compared(row, field, "!=", value) for value in values
        )
    value = values[0]
    signs = ["=", "!="] if value is None or isinstance(value, bool) or field == "Name" else list(OPERATORS)
    sign = rng.choice(signs)
    return f"{field} {sign} {literal(field, value)}", lambda row: compared(row, field, sign, value)


def test_random_queries(salesforce: SalesforceServer, org: httpx.Client) -> None:
    rng = random.Random(11)
    for number in range(ROWS):
        salesforce.store.create(
            "Opportunity",
            {
                "Name": rng.choice(["Acme", "acme", "it's", "back\\slash", "ü", "", None]),
                "Amount": rng.choice([None, 0.0, -2.5, 10.0, 1e6]),
                "IsWon": rng.random() < 0.5,
                "CloseDate": rng.choice([None, "2026-01-31", "2026-02-28"]),
                "SystemModstamp": f"2026-01-01T00:00:{number // 7:02}.000Z",
            },
        )
    rows = salesforce.store.rows("Opportunity")
    sizes = set()
    for _ in range(250):
        chosen = [comparison(rng, rows) for _ in range(rng.randint(1, 3))]
        soql = "SELECT Id FROM Opportunity WHERE " + " AND ".join(text for text, _ in chosen) + " ORDER BY Id"
        found = column(query(org, soql), "Id")
        assert found == [row["Id"] for row in rows if all(test(row) for _, test in chosen)], soql
        sizes.add(len(found))
    assert len(sizes) > 20
