"""The steps that take most time as a table, whose cells the UI shows as they are: labels come from a log."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

_DAY_SECONDS = 86_400
_COLUMNS = {
    "rank": "int",
    "from": "string",
    "to": "string",
    "passages": "int",
    "share_percent": "float",
    "total_days": "float",
    "mean_days": "float",
    "median_days": "float",
    "p90_days": "float",
    "goes_with": "string",
}


def bottleneck_table(stats: Mapping[str, Any]) -> dict[str, dg.MetadataValue[Any]]:
    """``bottlenecks``: a row for each of an explanation's bottlenecks; nothing where it has none."""
    if not stats.get("steps"):
        return {}
    records = [
        dg.TableRecord(
            {
                "rank": rank,
                "from": step["source"],
                "to": step["target"],
                "passages": step["count"],
                "share_percent": round(100 * step["share"], 1),
                **{
                    f"{name}_days": _days(step[f"{name}_seconds"])
                    for name in ("total", "mean", "median", "p90")
                },
                "goes_with": ", ".join(step["factors"]),
            }
        )
        for rank, step in enumerate(stats["steps"], start=1)
    ]
    columns = [dg.TableColumn(name, kind) for name, kind in _COLUMNS.items()]
    return {"bottlenecks": dg.MetadataValue.table(records, schema=dg.TableSchema(columns))}


def _days(seconds: float) -> float:
    return round(seconds / _DAY_SECONDS, 3)
