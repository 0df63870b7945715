"""What was not joined across systems, as a table whose cells the UI shows as they are: ids come from the sources."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

_COLUMNS = {"reason": "string", "links": "string", "persons": "int", "records": "int", "such_as": "string"}
_REASONS = {
    "key_shared": "more persons share the key than one person can be",
    "too_large": "the person would be too large",
    "denied": "somebody said that two of them are not one",
}


def refused_joins_table(stats: Mapping[str, Any]) -> dict[str, dg.MetadataValue[Any]]:
    """``refused_joins``: a row for each; nothing where everything was joined."""
    if not stats.get("refused_joins"):
        return {}
    records = [
        dg.TableRecord(
            {
                "reason": _REASONS[join["reason"]],
                "links": join["rule"] or join["tier"],
                "persons": join["persons"],
                "records": join["records"],
                "such_as": ", ".join(":".join(record) for record in join["examples"]),
            }
        )
        for join in stats["refused_joins"]
    ]
    columns = [dg.TableColumn(name, kind) for name, kind in _COLUMNS.items()]
    return {"refused_joins": dg.MetadataValue.table(records, schema=dg.TableSchema(columns))}
