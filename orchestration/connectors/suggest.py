"""Proposing which column plays which part, from names and from what the values look like.

A proposal carries its confidence and its reason. Where two columns would do, or none is known by name, the
choice is a question: nothing that decides what a case is gets guessed. A record key is never proposed, since
it drops rows.
"""

from dataclasses import dataclass

import duckdb

from orchestration.connectors.errors import AmbiguousMapping, Question
from orchestration.connectors.lexicon import name_score
from orchestration.connectors.mapping import Hints
from orchestration.connectors.staging import Staged, ident
from orchestration.connectors.timestamps import read_column

REQUIRED = ("case_id", "activity", "timestamp")
_OPTIONAL = ("start_timestamp", "resource", "role", "org_unit", "lifecycle", "order")
_SAMPLE = 20_000
_CLOSE = 0.05  # two scores no further apart are a tie
_GOOD_ENOUGH = 0.5
_PARSES = 0.9  # share of the values of a time column that must read as times
_PARTS = {"case_id": "case", "activity": "activity", "timestamp": "time"}


@dataclass(frozen=True)
class Suggestion:
    """One part and the column proposed for it.

    Attributes:
        field: The mapping field.
        column: The proposed column, or the value of a field that names none.
        confidence: 0 to 1; 1 only for what was given.
        reason: Plain English.
    """

    field: str
    column: str
    confidence: float
    reason: str


@dataclass(frozen=True)
class _Profile:
    """What the values of a column in the sample look like."""

    rows: int
    values: int
    distinct: int

    @property
    def repeats(self) -> float:
        """Average occurrences of one value."""
        return self.values / self.distinct if self.distinct else 0.0


class _Columns:
    """The columns of a staged file, with their values' features looked up when needed."""

    def __init__(self, session: duckdb.DuckDBPyConnection, staged: Staged) -> None:
        self._session = session
        self.names = staged.names
        sample = f"SELECT * FROM ({staged.relation}) LIMIT {_SAMPLE}"
        session.execute(f"CREATE OR REPLACE TEMP TABLE suggestion_sample AS {sample}")
        self._times: dict[str, float] = {}

    def profile(self, column: str) -> _Profile:
        value = f"nullif({ident(column)}, '')"
        row = self._session.sql(
            f"SELECT count(*), count({value}), count(DISTINCT {value}) FROM suggestion_sample"
        ).fetchone()
        return _Profile(*row) if row else _Profile(0, 0, 0)

    def time_share(self, column: str) -> float:
        """The share of the values that read as times."""
        if column not in self._times:
            values = (
                f"SELECT trim({ident(column)}) AS v FROM suggestion_sample WHERE trim({ident(column)}) <> ''"
            )
            try:
                reading = read_column(self._session, values, None, field="timestamp", column=column)
                self._times[column] = reading.understood / reading.values if reading.values else 0.0
            except AmbiguousMapping:
                self._times[column] = 1.0  # dates, if of unclear order
        return self._times[column]


def suggest(
    session: duckdb.DuckDBPyConnection, staged: Staged, hints: Hints
) -> tuple[list[Suggestion], list[Question]]:
    """Propose a column for each part that the hints leave open, and ask where no proposal is safe."""
    given = {field: column for field, column in hints.named_columns() if field != "record_key"}
    suggestions = [Suggestion(field, column, 1.0, "given") for field, column in given.items()]
    columns, taken = _Columns(session, staged), set(given.values())
    questions: list[Question] = []
    for field in (*REQUIRED, *_OPTIONAL):
        if field in given:
            continue
        scores = _scores(columns, field, taken)
        if field == "timestamp" and not scores and "start_timestamp" not in given:
            scores = _scores(columns, "start_timestamp", taken)  # a log with start times only
        found = _best(scores) if scores else _by_values(columns, field, taken)
        if isinstance(found, Suggestion):
            suggestions.append(Suggestion(field, found.column, found.confidence, found.reason))
            taken.add(found.column)
        elif field in REQUIRED:
            questions.append(_question(field, found))
    return suggestions, questions


def _scores(columns: _Columns, field: str, taken: set[str]) -> dict[str, float]:
    """Score of each column that the name speaks for and the values do not speak against, best first."""
    scores = {}
    for column in columns.names:
        score = 0.0 if column in taken else name_score(field, column)
        if score:
            score *= _fit(columns, field, column)
        if score >= 0.3:
            scores[column] = score
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def _fit(columns: _Columns, field: str, column: str) -> float:
    """How well the values suit the part: 0 (they cannot) to 1."""
    if field in ("timestamp", "start_timestamp"):
        return 1.0 if columns.time_share(column) >= _PARSES else 0.0
    profile = columns.profile(column)
    if not profile.values:
        return 0.0 if profile.rows else 1.0  # a file without records has only names to go by
    if field == "activity" and profile.rows > 20 and profile.repeats < 2:
        return 0.4
    if field == "case_id" and profile.rows > 20 and (profile.repeats < 1.1 or profile.distinct == 1):
        return 0.8
    return 1.0


def _best(scores: dict[str, float]) -> Suggestion | list[str]:
    """The best column, or those that come into question if none is clearly good enough."""
    best = max(scores.values())
    tied = [column for column, score in scores.items() if score >= best - _CLOSE]
    if len(tied) > 1 or best < _GOOD_ENOUGH:
        return tied
    return Suggestion("", tied[0], min(0.95, round(best, 2)), "by its name, and its values fit")


def _by_values(columns: _Columns, field: str, taken: set[str]) -> Suggestion | list[str]:
    """A time column is known by its values if it is the only one; other parts are only candidates."""
    free = [column for column in columns.names if column not in taken]
    if field == "timestamp":
        times = [column for column in free if columns.time_share(column) >= _PARSES]
        return (
            Suggestion("", times[0], 0.7, "the only column whose values are times")
            if len(times) == 1
            else times
        )
    if field not in REQUIRED:
        return []
    profiles = {column: columns.profile(column) for column in free if columns.time_share(column) < _PARSES}
    limit = 1.1 if field == "case_id" else 2.0
    likely = [
        column for column, profile in profiles.items() if profile.distinct > 1 and profile.repeats >= limit
    ]
    # Cases have many different ids, activities few different names.
    return sorted(likely, key=lambda c: profiles[c].distinct, reverse=field == "case_id")[:5]


def _question(field: str, candidates: list[str]) -> Question:
    part = _PARTS[field]
    if not candidates:
        message = f"No column looks like the {part}."
    elif len(candidates) == 1:
        message = f"Only weak signs say that {candidates[0]!r} is the {part}."
    else:
        message = f"{len(candidates)} columns could be the {part}."
    option = {"case_id": "--case-id", "activity": "--activity", "timestamp": "--timestamp"}[field]
    return Question(field, option, tuple(candidates), message)
