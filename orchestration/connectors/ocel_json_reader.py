"""Reading OCEL 2.0 JSON as a stream: one event or object in memory at a time."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestration.connectors.archive import Limits, Progress, open_expanded
from orchestration.connectors.errors import UnreadableFile
from orchestration.connectors.jsonl_reader import WrittenFloat, json_text, no_constant, unique_fields
from orchestration.connectors.ocel import OcelTables
from orchestration.connectors.text import CleanText

_CHUNK = 1 << 20


def read_ocel_json(
    path: Path, scratch: Path, *, limits: Limits, progress: Progress | None = None
) -> OcelTables:
    """Read a log into tables in ``scratch``.

    Raises:
        UnreadableFile: The file is no OCEL 2.0 JSON, or exceeds a limit.
    """
    tables, events = OcelTables(scratch, limits), 0
    with open_expanded(path, limits, progress) as stream:
        text = CleanText(stream, None)
        for section, element in _Document(text, limits).elements():
            if section not in ("events", "objects"):
                continue
            if not isinstance(element, dict):
                raise UnreadableFile(
                    f"An element of {section!r} in the OCEL log is no object: {element!r:.60}."
                )
            if section == "events":
                events += 1
                _add_event(tables, events, element)
            else:
                _add_object(tables, element)
    tables.nul_count += text.nul_count
    tables.close()
    return tables


def _add_event(tables: OcelTables, number: int, event: dict[str, Any]) -> None:
    attributes = {
        str(attribute.get("name")): json_text(attribute.get("value"))
        for attribute in _list(event, "attributes")
    }
    eid = json_text(event.get("id"))
    tables.add_event(number, eid, json_text(event.get("type")), json_text(event.get("time")), attributes)
    for relation in _list(event, "relationships"):
        tables.add_link(eid, json_text(relation.get("objectId")))


def _add_object(tables: OcelTables, thing: dict[str, Any]) -> None:
    oid = json_text(thing.get("id"))
    tables.add_object(oid, json_text(thing.get("type")))
    for attribute in _list(thing, "attributes"):
        tables.add_value(
            oid,
            str(attribute.get("name")),
            json_text(attribute.get("time")),
            json_text(attribute.get("value")),
        )


def _list(element: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects, empty where the element has none."""
    found = element.get(name) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise UnreadableFile(f"The {name} of {element.get('id')!r} in the OCEL log are no list of objects.")
    return found


class _Document:
    """A JSON document that is an object of lists, read an element at a time."""

    def __init__(self, text: CleanText, limits: Limits) -> None:
        self._text, self._limits = text, limits
        self._utf8 = codecs.getincrementaldecoder("utf-8")()  # a read may end inside a character
        self._json = json.JSONDecoder(
            parse_float=WrittenFloat, parse_constant=no_constant, object_pairs_hook=unique_fields
        )
        self._buffer, self._at, self._ended = "", 0, False

    def elements(self) -> Iterator[tuple[str, Any]]:
        """(name of the list, element) in the document's order; what is no list is passed over."""
        self._expect("{")
        if self._next() == "}":
            raise UnreadableFile("The OCEL log is empty.")
        while True:
            section = str(self._value())
            self._expect(":")
            if self._next() == "[":
                self._at += 1
                for element in self._list_elements():
                    yield section, element
            else:
                self._value()
            if self._expect(",}") == "}":
                break
        if self._next():
            raise UnreadableFile("Something follows the end of the OCEL log. Export it again.")

    def _list_elements(self) -> Iterator[Any]:
        if self._next() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            if self._expect(",]") == "]":
                return

    def _next(self) -> str:
        """The next character that is no space, not consumed; empty at the end."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if self._ended:
                return ""
            self._fill()

    def _expect(self, one_of: str) -> str:
        found = self._next()
        if not found or found not in one_of:
            raise UnreadableFile(
                f"The OCEL log is no well-formed JSON: {' or '.join(one_of)} was expected, "
                f"not {found!r}. Export it again."
            )
        self._at += 1
        return found

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._json.raw_decode(self._buffer, self._at)
                if end < len(self._buffer) or self._ended:  # else a number might go on
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                if self._ended:
                    raise UnreadableFile(
                        f"The OCEL log is no well-formed JSON: {error.msg}. Export it again."
                    ) from None
            except (ValueError, RecursionError) as error:
                raise UnreadableFile(f"The OCEL log cannot be read: {error}") from None
            if len(self._buffer) - self._at > self._limits.record_bytes:
                raise UnreadableFile(
                    f"The OCEL log is no well-formed JSON, or one of its elements is longer than "
                    f"{self._limits.record_bytes:,} bytes."
                )
            self._fill()

    def _fill(self) -> None:
        chunk = self._text.read(_CHUNK)
        self._ended = not chunk
        self._buffer = self._buffer[self._at :] + self._utf8.decode(chunk, self._ended)
        self._at = 0
