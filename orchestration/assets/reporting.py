"""How a stage's outcomes look in Dagster: metadata for each partition, a picture, a short text, asset checks."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import dagster as dg

from orchestration.partitions import partition_key
from orchestration.stages.workbench import MonthOutcome

_BAR_HEIGHT, _WIDTH = 14, 300


def report_months(
    context: dg.AssetExecutionContext, slug: str, outcomes: Iterable[MonthOutcome], asset_key: str
) -> None:
    """Attach each month's outcome to the materialisation of its partition."""
    for outcome in outcomes:
        context.add_asset_metadata(
            month_metadata(outcome), asset_key=asset_key, partition_key=partition_key(slug, outcome.month)
        )


def month_metadata(outcome: MonthOutcome) -> dict[str, Any]:
    """What the UI shows of a month: first what a person reads, then numbers that plot, last the lineage."""
    stats = outcome.stats
    metadata: dict[str, Any] = {
        "dagster/row_count": outcome.rows,
        "text": dg.MetadataValue.md(sentence(outcome)),
        "state": outcome.state,
    }
    if stats.get("top"):
        metadata["picture"] = dg.MetadataValue.md(bar_chart(stats["top"]))
    for name in ("narrative", "bottlenecks"):
        if stats.get(name):
            metadata[name] = dg.MetadataValue.md(stats[name])
    metadata |= {name: value for name, value in stats.items() if isinstance(value, int | float)}
    if outcome.audits:
        metadata["audits"] = dg.MetadataValue.md(audit_table(outcome.audits))
    if outcome.content_sha256:
        metadata |= {"content_sha256": outcome.content_sha256, "seconds": outcome.seconds}
    if outcome.object_key:
        metadata |= {
            "object": outcome.object_key,
            "bytes": outcome.bytes,
            "code_version": outcome.code_version,
        }
    if outcome.inputs:
        metadata["inputs"] = dg.MetadataValue.json(list(outcome.inputs))
    return metadata


def audit_table(audits: Sequence[Mapping[str, Any]]) -> str:
    """The audits of a month as a Markdown table."""
    rows = [f"| {a['audit']} | {'passed' if a['passed'] else '**failed**'} | {a['detail']} |" for a in audits]
    return "\n".join(["| audit | result | detail |", "|---|---|---|", *rows])


def column_schema(columns: Mapping[str, str]) -> dict[str, dg.TableSchema]:
    """Asset metadata that shows the columns (name -> type) of a dataset's files."""
    return {"dagster/column_schema": dg.TableSchema([dg.TableColumn(n, t) for n, t in columns.items()])}


def sentence(outcome: MonthOutcome) -> str:
    """One plain sentence about a month."""
    name = outcome.dataset.replace("_", " ")
    if outcome.state == "empty":
        return f"Nothing in {outcome.month}."
    verb = {"made": "made in this run", "carried over": "carried over: its inputs are unchanged"}.get(
        outcome.state, outcome.state
    )
    return f"**{outcome.rows:,}** rows of {name} in {outcome.month}, {verb}."


def bar_chart(bars: Sequence[Sequence[Any]]) -> str:
    """A small bar chart as Markdown. The UI shows Markdown under 1,000 characters in place, so labels are cut."""
    greatest = max(value for _label, value in bars) or 1
    for kept in range(len(bars), 0, -1):
        picture = _svg(bars[:kept], greatest)
        markdown = f"![chart](data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()})"
        if len(markdown) < 1000:
            return markdown
    return ""


def _svg(bars: Sequence[Sequence[Any]], greatest: float) -> str:
    rows = []
    for place, (_label, value) in enumerate(bars):
        y = place * _BAR_HEIGHT
        rows.append(f"<path d='M0 {y}h{max(1, round(_WIDTH * value / greatest))}v12H0'/>")
    labels = "".join(
        f"<tspan x='4' y='{place * _BAR_HEIGHT + 10}'>{escape(str(label)[:24])}: {value:,}</tspan>"
        for place, (label, value) in enumerate(bars)
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{len(bars) * _BAR_HEIGHT}'>"
        f"<g fill='#8bd'>{''.join(rows)}</g><text font-size='10'>{labels}</text></svg>"
    )


def check_results(
    outcomes: Sequence[MonthOutcome], asset_key: str, names: Iterable[str]
) -> Iterator[dg.AssetCheckResult]:
    """One result per audit: passed when it passed in every month; the months that failed are named."""
    for name in names:
        results = [(o.month, a) for o in outcomes for a in o.audits if a["audit"] == name]
        failed = [f"{month}: {a['detail']}" for month, a in results if not a["passed"]]
        yield dg.AssetCheckResult(
            asset_key=asset_key,
            check_name=name,
            passed=not failed,
            metadata={"months_checked": len(results), "failed": dg.MetadataValue.json(failed)},
        )
