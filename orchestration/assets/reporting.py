"""How a stage's outcomes look in Dagster: metadata for each partition, a picture, a short text, asset checks.

The UI renders Markdown, and with it images from any host. So what comes from a log (names of activities, of
columns, explanations that quote them) is shown as plain text or drawn into the picture, and never as Markdown.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import dagster as dg

from orchestration.assets.bottlenecks import bottleneck_table
from orchestration.assets.refused_joins import refused_joins_table
from orchestration.partitions import partition_key
from orchestration.stages.workbench import MonthOutcome

MOST_INLINE = 1000
"""The UI shows shorter Markdown in place and hides longer behind a link."""

_BAR_HEIGHT, _WIDTH, _LABEL = 14, 300, 24
_ROWS = {
    "raw_records": "raw records",
    "process_map": "edges of the process map",
    "provenance": "events",
}
_CAPTIONS = {
    "events": "Events by activity",
    "cases": "Cases by cycle time",
    "variants": "Cases by path",
    "process_map": "Passages by step",
    "explanations": "Days by step",
}
_MARKDOWN = re.compile(r"([!-/:-@\[-`{-~])")
_SHOWN_OTHERWISE = {"rows", "events"}
_DAY_US = 86_400_000_000


def report_months(
    context: dg.AssetExecutionContext,
    slug: str,
    outcomes: Iterable[MonthOutcome],
    asset_key: str,
    pictures: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
) -> None:
    """Attach each month's outcome, and its pictures by dataset and month, to the materialisation of its partition."""
    for outcome in outcomes:
        drawn = (pictures or {}).get((outcome.dataset, outcome.month), {})
        context.add_asset_metadata(
            {**month_metadata(outcome), **drawn},
            asset_key=asset_key,
            partition_key=partition_key(slug, outcome.month),
        )


def materialisations(
    slug: str,
    outcomes: Iterable[MonthOutcome],
    asset_key: str,
    pictures: Mapping[tuple[str, str], Mapping[str, Any]],
) -> Iterator[dg.AssetMaterialization]:
    """Each month's outcome as a materialisation of its partition, for a run that is not the asset's own."""
    for outcome in outcomes:
        drawn = pictures.get((outcome.dataset, outcome.month), {})
        versions = {"code_version": outcome.code_version, "data_version": outcome.content_sha256}
        yield dg.AssetMaterialization(
            asset_key=asset_key,
            partition=partition_key(slug, outcome.month),
            metadata={**month_metadata(outcome), **drawn},
            tags={f"dagster/{name}": version for name, version in versions.items() if version},
        )


def month_metadata(outcome: MonthOutcome) -> dict[str, Any]:
    """What the UI shows of a month: first what a person reads, then numbers that plot, last the lineage."""
    stats = outcome.stats
    metadata: dict[str, Any] = {
        "text": dg.MetadataValue.md(sentence(outcome)),
        "dagster/row_count": outcome.rows,
        **_narrative(stats),
        **bottleneck_table(stats),
        **refused_joins_table(stats),
    }
    if stats.get("top"):
        metadata["picture"] = dg.MetadataValue.md(
            bar_chart(stats["top"], _CAPTIONS.get(outcome.dataset, outcome.dataset))
        )
    metadata |= {**clock(stats), **numbers(stats)}
    if outcome.audits:
        metadata["audits"] = dg.MetadataValue.md(audit_list(outcome.audits))
    metadata["state"] = outcome.state
    if outcome.content_sha256:
        metadata["content_sha256"] = outcome.content_sha256
    if outcome.object_key:
        metadata |= {
            "object": outcome.object_key,
            "bytes": outcome.bytes,
            "seconds": outcome.seconds,
            "code_version": outcome.code_version,
        }
    if outcome.inputs:
        metadata["inputs"] = dg.MetadataValue.json(list(outcome.inputs))
    return metadata


def clock(stats: Mapping[str, Any]) -> dict[str, dg.MetadataValue[Any]]:
    """``clock`` where durations are working time; nothing where they are elapsed time."""
    if stats.get("clock") != "working":
        return {}
    told = "Durations are working time, by the analysis's calendar: a day is 24 hours of work."
    return {"clock": dg.MetadataValue.text(told)}


def sentence(outcome: MonthOutcome) -> str:
    """One plain sentence about a month, in Markdown; it holds nothing that comes from a log."""
    if outcome.state == "empty":
        return f"Nothing in {outcome.month}."
    what = _ROWS.get(outcome.dataset, outcome.dataset)
    how = {"made": "made in this run", "carried over": "carried over: the inputs are unchanged"}.get(
        outcome.state, outcome.state
    )
    return f"**{outcome.rows:,}** {what} in {outcome.month}, {how}."


def numbers(stats: Mapping[str, Any]) -> dict[str, int | float]:
    """The numbers among the facts of a month; the UI plots each over the months. Sums of microseconds become days."""
    shown: dict[str, int | float] = {}
    for name, value in stats.items():
        if name in _SHOWN_OTHERWISE or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if name.endswith("_us"):
            shown[f"{name.removesuffix('_us')}_days"] = round(value / _DAY_US, 3)
        else:
            shown[name] = value
    if stats.get("completed") and stats.get("total_cycle_time_us") is not None:
        mean = stats["total_cycle_time_us"] / stats["completed"] / _DAY_US
        shown = {"mean_cycle_time_days": round(mean, 3), **shown}
    return shown


def _narrative(stats: Mapping[str, Any]) -> dict[str, dg.MetadataValue[Any]]:
    """The explanation and each bottleneck on a line of its own."""
    told = {"narrative": stats["narrative"]} if stats.get("narrative") else {}
    bottlenecks = str(stats.get("bottlenecks") or "").split("\n\n")
    told |= {f"bottleneck {place}": text for place, text in enumerate(bottlenecks, start=1) if text}
    return {name: dg.MetadataValue.text(text) for name, text in told.items()}


def audit_list(audits: Sequence[Mapping[str, Any]]) -> str:
    """The audits of a month as a Markdown list."""
    return "\n".join(
        f"- {'passed' if audit['passed'] else '**failed**'}: {_plain(audit['audit'])}, {_plain(audit['detail'])}"
        for audit in audits
    )


def _plain(text: str) -> str:
    """Markdown that shows the text as it is."""
    return _MARKDOWN.sub(r"\\\1", text)


def bar_chart(bars: Sequence[Sequence[Any]], caption: str) -> str:
    """A small bar chart of (label, number) as Markdown; the last bars are left out where it would not be shown inline.

    Labels are cut at 24 characters; ``caption`` is ours and short, the labels may come from a log.
    """
    greatest = max(value for _label, value in bars) or 1
    for kept in range(len(bars), 0, -1):
        picture = base64.b64encode(_svg(bars[:kept], greatest).encode()).decode()
        markdown = f"{caption}\n\n![chart](data:image/svg+xml;base64,{picture})"
        if len(markdown) < MOST_INLINE:
            break
    return markdown


def _svg(bars: Sequence[Sequence[Any]], greatest: float) -> str:
    drawn, labels = [], []
    for place, (label, value) in enumerate(bars):
        y = place * _BAR_HEIGHT
        drawn.append(f"M0 {y}h{max(1, round(_WIDTH * value / greatest))}v12H0")
        labels.append(f"<tspan x='4' y='{y + 10}'>{_printable(label)}: {value:,}</tspan>")
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{len(bars) * _BAR_HEIGHT}'>"
        f"<path fill='#8bd' d='{''.join(drawn)}'/>"
        f"<text font-size='10' font-family='sans-serif'>{''.join(labels)}</text></svg>"
    )


def _printable(label: Any) -> str:
    """The label as it may stand in XML, which has no place for control characters."""
    cut = str(label)[:_LABEL]
    return escape("".join(character if character.isprintable() else " " for character in cut), quote=False)


def check_results(
    outcomes: Mapping[str, Sequence[MonthOutcome]], asset_key: str, names: Iterable[str]
) -> Iterator[dg.AssetCheckResult]:
    """One result per audit over the outcomes of each workspace: passed when it passed in every month."""
    for name in names:
        results = [
            (str(partition_key(slug, outcome.month)), audit)
            for slug, of_workspace in outcomes.items()
            for outcome in of_workspace
            for audit in outcome.audits
            if audit["audit"] == name
        ]
        failed = [f"{partition}: {audit['detail']}" for partition, audit in results if not audit["passed"]]
        yield dg.AssetCheckResult(
            asset_key=asset_key,
            check_name=name,
            passed=not failed,
            metadata={"months_checked": len(results), **({"failed": "; ".join(failed)} if failed else {})},
        )


def column_schema(
    columns: Mapping[str, str], nullable: Iterable[str] | None = None
) -> dict[str, dg.TableSchema]:
    """Asset metadata that shows the columns (name -> type) of a dataset's files, and which of them may be null."""
    may_be_null = set(columns if nullable is None else nullable)
    shown = [
        dg.TableColumn(name, kind, constraints=dg.TableColumnConstraints(nullable=name in may_be_null))
        for name, kind in columns.items()
    ]
    return {"dagster/column_schema": dg.TableSchema(shown)}
