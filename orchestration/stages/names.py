"""The names that a question uses, checked against the log of its release: a misspelt one is told, not answered.

Activities are known from the process map and from the cases' first activities, attributes from the columns of the
uploads. Only for performers, and for activities that a classifier makes of several columns, are the events read, and of
them those columns alone. Not here: what filters name (``mining.filters``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import duckdb

from orchestration.mining.event_log import label_sql
from orchestration.mining.filters import Mention, Sort, mentions
from orchestration.stages.events import attribute_columns
from orchestration.stages.question import UnusableQuestion
from orchestration.stages.selection import Base
from orchestration.stages.workbench import AnalysisParameters

Session = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]

_MOST_KNOWN = 10_000
"""So many of the most frequent names are looked through for those that were meant."""
_MOST_LISTED = 12
_MOST_TOLD = 10

_WORDS: Mapping[Sort, tuple[str, str]] = {
    "activity": ("activity", "activities"),
    "attribute": ("attribute", "attributes"),
    "resource_id": ("resource", "resources"),
    "role": ("role", "roles"),
    "org_unit": ("organisational unit", "organisational units"),
    "system": ("system", "systems"),
}

_MAPPED_AS = {"resource_id": "resource", "role": "role", "org_unit": "org_unit", "lifecycle": "lifecycle"}
"""Columns of events that a mapping may leave empty -> its field."""


@dataclass(frozen=True)
class Upload:
    """An upload that a release was made from: the columns of its raw files and its mapping."""

    columns: Sequence[str]
    mapping: Mapping[str, Any]


def check_names(asked: AnalysisParameters, base: Base, uploads: Sequence[Upload], session: Session) -> None:
    """Make sure that the log has the activities, attributes, performers and columns that a question names.

    What the rules of the standing analysis name is known too, though it may not have happened yet. ``session`` opens a
    DuckDB session that can read the files of the release; it is opened only if files must be read.

    Raises:
        UnusableQuestion: some name is unknown; the message tells its place, and the names that are like it.
    """
    _check_classifier(asked, uploads)
    by_sort: dict[Sort, list[Mention]] = {}
    for mention in _mentions(asked):
        by_sort.setdefault(mention.sort, []).append(mention)
    problems = [
        problem
        for sort, mentioned in by_sort.items()
        for problem in _unknown(mentioned, _known(sort, mentioned, asked, base, uploads, session))
    ]
    if problems:
        more = len(problems) - _MOST_TOLD
        raise UnusableQuestion(
            "\n".join([*problems[:_MOST_TOLD], *([f"and {more} more unknown names"] if more > 0 else [])])
        )


def _mentions(asked: AnalysisParameters) -> Iterator[Mention]:
    yield from mentions(asked.filters)
    for name in asked.completion.end_activities:
        yield Mention("completion.end_activities", "activity", name)
    for name in asked.happy_path or ():
        yield Mention("happy_path", "activity", name)
    for place, name in asked.explanation.target.activities.items():
        yield Mention(f"explanation.target.{place}", "activity", name)
    if asked.comparison:
        yield from mentions(asked.comparison.reference.filters, "comparison.reference.filters")
        yield from mentions(asked.comparison.compared.filters, "comparison.compared.filters")


def _check_classifier(asked: AnalysisParameters, uploads: Sequence[Upload]) -> None:
    """Without values every activity would carry the same "(missing)"."""
    empty = {column for column, field in _MAPPED_AS.items() if not any(u.mapping.get(field) for u in uploads)}
    for place, column in enumerate(asked.classifier):
        if column in empty:
            there = ", ".join(c for c in ("activity", *_MAPPED_AS, "system") if c not in empty)
            raise UnusableQuestion(
                f"classifier[{place}]: no upload has a column for {column}; accepted: {there}. "
                "`casetrail connector remap` gives one a part"
            )


def _known(
    sort: Sort,
    mentioned: Sequence[Mention],
    asked: AnalysisParameters,
    base: Base,
    uploads: Sequence[Upload],
    session: Session,
) -> list[str]:
    """The names of a sort, most frequent first: the mentioned ones that there are, and others up to ``_MOST_KNOWN``."""
    if sort == "attribute":
        return sorted({name for u in uploads for name in attribute_columns(u.columns, u.mapping)})
    with session() as connection:
        rows = connection.execute(
            f"""
            select name from ({_names_sql(sort, asked, base)}) where name is not null group by name
            qualify row_number() over (order by sum(occurrences) desc, name) <= $most
                or name in (select unnest($mentioned::varchar[]))
            order by sum(occurrences) desc, name
            """,
            {"most": _MOST_KNOWN, "mentioned": [mention.name for mention in mentioned]},
        ).fetchall()
    known = [name for (name,) in rows]
    if sort == "activity":
        known += [*base.parameters.completion.end_activities, *(base.parameters.happy_path or ())]
    return known


def _names_sql(sort: Sort, asked: AnalysisParameters, base: Base) -> str:
    """A relation (name, occurrences)."""
    if sort != "activity":
        return f"select {sort} as name, 1 as occurrences from read_parquet({base.urls('events')})"
    if asked.classifier != ("activity",):
        label = label_sql(asked.classifier)
        return f"select {label} as name, 1 as occurrences from read_parquet({base.urls('events')})"
    # The activity of a case with one event is in no edge of the map.
    return f"""
    select source_activity as name, frequency as occurrences from read_parquet({base.urls("process_map")})
    union all
    select target_activity, frequency from read_parquet({base.urls("process_map")})
    union all
    select start_activity, 1 from read_parquet({base.urls("cases")})
    """


def _unknown(mentioned: Sequence[Mention], known: Sequence[str]) -> Iterator[str]:
    there = set(known)
    for mention in mentioned:
        if mention.name not in there:
            one, several = _WORDS[mention.sort]
            what = f"there is no {one} {mention.name!r}" if known else f"the log has no {several}"
            yield f"{mention.path}: {what}{_meant(mention.name, known)}"


def _meant(name: str, known: Sequence[str]) -> str:
    """The names that may have been meant: all if they are few, else those like it, else the most frequent ones."""
    if not known:
        return ""
    if len(known) <= _MOST_LISTED:
        return f"; there are {_listed(known)}"
    folded = {other.casefold(): other for other in reversed(known)}
    close = get_close_matches(name.casefold(), folded)
    if close:
        return f"; closest: {_listed([folded[match] for match in close])}"
    return f"; of {len(known):,} the most frequent are {_listed(known[:_MOST_LISTED])}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
