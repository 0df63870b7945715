"""The part of SOQL that a connector needs, read strictly and turned into SQL.

``SELECT columns | count() FROM Object [WHERE comparison AND ...] [ORDER BY column [ASC|DESC] [NULLS FIRST|LAST], ...]
[LIMIT n]``. Literals must have the field's type, as in an org: a quoted time is refused, a date for a time too.
A column may be a field of the record that a reference points to, such as ``CreatedBy.Name``; conditions may not.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from casetrail_testkit.clock import WITH_MILLISECONDS, instant_of
from casetrail_testkit.salesforce.catalog import Field, SObject
from casetrail_testkit.salesforce.errors import refuse
from casetrail_testkit.salesforce.ids import with_suffix
from casetrail_testkit.tables import quoted

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<word>[A-Za-z_][\w.]*)
    | (?P<operator><=|>=|!=|<>|=|<|>)
    | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)
_NUMBERS = ("int", "double", "currency", "percent")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True)
class Literal:
    """A value of a WHERE: its kind is ``string``, ``instant``, ``date``, ``number``, ``boolean`` or ``null``."""

    kind: str
    value: Any


@dataclass(frozen=True)
class Comparison:
    """``field operator literals``; more literals than one only with IN and NOT IN."""

    field: str
    operator: str
    literals: tuple[Literal, ...]


@dataclass(frozen=True)
class Query:
    """A query as it was written; ``columns`` is empty for ``count()``."""

    object: str
    columns: tuple[str, ...]
    where: tuple[Comparison, ...] = ()
    order: tuple[tuple[str, bool, bool], ...] = ()
    """Field, whether descending, whether nulls come first."""
    limit: int | None = None


@dataclass(frozen=True)
class ParentField(Field):
    """A field of the record that a reference points to.

    Attributes:
        through: The reference, such as CreatedById.
        parent: The object that it points to.
        of_parent: The field's name there.
    """

    through: str = ""
    parent: str = ""
    of_parent: str = ""


@dataclass
class Selection:
    """A query that the org can answer: the fields to show, and the SQL behind the visible rows."""

    definition: SObject
    fields: list[Field]
    condition: str
    ordering: str
    parameters: list[Any] = field(default_factory=list)


def parse(text: str) -> Query:
    """Read a query.

    Raises:
        Refusal: MALFORMED_QUERY, with the place.
    """
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = list(_tokens(text))
        self.place = 0

    def query(self) -> Query:
        self.keyword("SELECT")
        columns = self.columns()
        self.keyword("FROM")
        name = self.word()
        where = self.separated(self.comparison, "AND") if self.accept("WHERE") else ()
        order = self.separated(self.ordering, ",") if self.accept("ORDER") else ()
        limit = int(self.take("number")) if self.accept("LIMIT") else None
        if self.place < len(self.tokens):
            raise self.unexpected()
        return Query(name, columns, where, order, limit)

    def columns(self) -> tuple[str, ...]:
        if self.peek() == ("word", "count") or self.peek() == ("word", "COUNT"):
            self.place += 1
            self.take("mark", "(")
            self.take("mark", ")")
            return ()
        return self.separated(self.word, ",")

    def comparison(self) -> Comparison:
        name = self.word()
        if self.accept("IN"):
            return Comparison(name, "IN", self.list_of_literals())
        if self.accept("NOT"):
            self.keyword("IN")
            return Comparison(name, "NOT IN", self.list_of_literals())
        operator = self.take("operator")
        return Comparison(name, "!=" if operator == "<>" else operator, (self.literal(),))

    def list_of_literals(self) -> tuple[Literal, ...]:
        self.take("mark", "(")
        literals = self.separated(self.literal, ",")
        self.take("mark", ")")
        return literals

    def literal(self) -> Literal:
        kind, text = self.peek()
        self.place += 1
        if kind == "string":
            unescaped = re.sub(r"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), text[1:-1])
            return Literal(kind, unescaped)
        if kind == "instant":
            return Literal(kind, instant_of(text))
        if kind == "date":
            return Literal(kind, text)
        if kind == "number":
            return Literal(kind, float(text) if "." in text else int(text))
        if kind == "word" and text.lower() in ("true", "false", "null"):
            lower = text.lower()
            return Literal("null", None) if lower == "null" else Literal("boolean", lower == "true")
        self.place -= 1
        raise self.unexpected()

    def ordering(self) -> tuple[str, bool, bool]:
        if self.place and self.tokens[self.place - 1][1].upper() == "ORDER":
            self.keyword("BY")
        name = self.word()
        descending = self.accept("DESC")
        if not descending:
            self.accept("ASC")
        nulls_first = True
        if self.accept("NULLS"):
            nulls_first = self.accept("FIRST")
            if not nulls_first:
                self.keyword("LAST")
        return name, descending, nulls_first

    def separated(self, item: Any, separator: str) -> tuple[Any, ...]:
        items = [item()]
        while self.accept(separator):
            items.append(item())
        return tuple(items)

    def word(self) -> str:
        return self.take("word")

    def keyword(self, word: str) -> None:
        if not self.accept(word):
            raise self.unexpected()

    def accept(self, word: str) -> bool:
        kind, text = self.peek()
        found = kind in ("word", "mark") and text.upper() == word
        self.place += found
        return found

    def take(self, kind: str, text: str | None = None) -> str:
        found = self.peek()
        if found[0] != kind or text not in (None, found[1]):
            raise self.unexpected()
        self.place += 1
        return found[1]

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.place] if self.place < len(self.tokens) else ("end", "<EOF>")

    def unexpected(self) -> Exception:
        return refuse(400, "MALFORMED_QUERY", f"unexpected token: '{self.peek()[1]}'")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise refuse(
                400, "MALFORMED_QUERY", f"unexpected character at {place}: {text[place : place + 10]!r}"
            )
        place = found.end()
        yield str(found.lastgroup), found[str(found.lastgroup)]


def select(query: Query, definition: SObject, objects: Mapping[str, SObject]) -> Selection:
    """Check the names and types of a query against its object, and those that it refers to (by lower-case name).

    Raises:
        Refusal: INVALID_FIELD.
    """
    parameters: list[Any] = []
    fields = [
        _of_parent(definition, name, objects) if "." in name else _known(definition, name)
        for name in query.columns
    ]
    conditions = [_condition(definition, comparison, parameters) for comparison in query.where]
    ordering = [_ordering(definition, *order) for order in query.order]
    return Selection(
        definition,
        fields,
        "".join(f" and {condition}" for condition in conditions),
        ", ".join([*ordering, "_row"]) + (f" limit {query.limit}" if query.limit is not None else ""),
        parameters,
    )


def column(definition: SObject, one: Field) -> str:
    """SQL of a selected field."""
    if not isinstance(one, ParentField):
        return quoted(one.name)
    return (
        f"(select parent.{quoted(one.of_parent)} from {quoted(one.parent)} as parent "
        f"where parent.Id = {quoted(definition.name)}.{quoted(one.through)})"
    )


def _of_parent(definition: SObject, path: str, objects: Mapping[str, SObject]) -> Field:
    relationship, _, name = path.partition(".")
    custom = relationship.lower().endswith("__r")
    through = definition.field(f"{relationship[:-3]}__c" if custom else f"{relationship}Id")
    if through is None or through.references is None:
        raise refuse(400, "INVALID_FIELD", f"Didn't understand relationship '{relationship}' in field path.")
    parent = objects[through.references.lower()]
    found = _known(parent, name)
    return ParentField(
        f"{relationship}.{found.name}",
        found.type,
        through=through.name,
        parent=parent.name,
        of_parent=found.name,
    )


def _known(definition: SObject, name: str) -> Field:
    found = definition.field(name)
    if found is None:
        raise refuse(400, "INVALID_FIELD", f"No such column '{name}' on entity '{definition.name}'.")
    return found


def _ordering(definition: SObject, name: str, descending: bool, nulls_first: bool) -> str:
    column = quoted(_known(definition, name).name)
    return f"{column} {'desc' if descending else 'asc'} nulls {'first' if nulls_first else 'last'}"


def _condition(definition: SObject, comparison: Comparison, parameters: list[Any]) -> str:
    """One comparison as SQL. Unlike SQL's, SOQL's != and NOT IN hold for null."""
    found = _known(definition, comparison.field)
    if not found.filterable:
        raise refuse(400, "INVALID_FIELD", f"field '{found.name}' can not be filtered in a query call")
    column = quoted(found.name) + (" collate nocase" if _ignores_case(found) else "")
    values = [_converted(found, literal) for literal in comparison.literals]
    parameters.extend(value for value in values if value is not None)
    operator = comparison.operator
    if operator in ("IN", "NOT IN"):
        places = ", ".join("?" for value in values if value is not None)
        listed = f"{column} {operator.lower()} ({places})"
        return f"({listed} or {column} is null)" if (None in values) == (operator == "IN") else listed
    if values[0] is None:
        if operator not in ("=", "!="):
            raise refuse(400, "MALFORMED_QUERY", f"null takes = or !=, not {operator}")
        return f"{column} is {'' if operator == '=' else 'not '}null"
    return f"{column} is not ?" if operator == "!=" else f"{column} {operator} ?"


def _ignores_case(found: Field) -> bool:
    return found.type in ("string", "picklist", "email", "phone")


def _converted(found: Field, literal: Literal) -> Any:
    """The literal as it is stored.

    Raises:
        Refusal: INVALID_FIELD, if it has not the field's type.
    """
    wanted = {"datetime": "instant", "date": "date", "boolean": "boolean"} | dict.fromkeys(_NUMBERS, "number")
    if literal.kind == "null":
        return None
    if literal.kind != wanted.get(found.type, "string"):
        quotes = " and should not be enclosed in quotes" if literal.kind == "string" else ""
        raise refuse(
            400,
            "INVALID_FIELD",
            f"value of filter criterion for field '{found.name}' must be of type {found.type}{quotes}",
        )
    if isinstance(literal.value, datetime):
        return literal.value.strftime(WITH_MILLISECONDS)
    if found.type in ("id", "reference"):
        return with_suffix(literal.value)
    return literal.value
