"""Reading XES (IEEE 1849) logs as a stream: one record per event, in the file's order.

Columns are named as process miners name them: an event's attribute by its key, a trace's as ``case:`` and its
key. Every value stays the text of its ``value`` attribute. Lists, containers and attributes of attributes
become JSON text. A DOCTYPE is refused before anything in it could act.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from orchestration.connectors.archive import ByteStream, Limits, Progress, open_expanded
from orchestration.connectors.errors import UnreadableFile
from orchestration.connectors.guarded_xml import guarded_elements, has_doctype, let_go
from orchestration.connectors.record_chunks import Record, RecordChunks
from orchestration.connectors.staging import Staged

_TYPES = {"date": "timestamp", "int": "int64", "float": "double", "boolean": "bool"}


def stage_xes(
    path: Path,
    scratch: Path,
    *,
    limits: Limits,
    progress: Progress | None = None,
    max_records: int | None = None,
) -> Staged:
    """Read an XES log into ``scratch``.

    Raises:
        UnreadableFile: The file is no well-formed XES, has a DOCTYPE, or exceeds a limit.
    """
    chunks = RecordChunks(scratch, limits)
    records, empty_traces, truncated = 0, 0, False
    with open_expanded(path, limits, progress) as stream:
        log = _Log(stream, limits)
        for case, events in log.traces():
            for number, event in enumerate(events, start=records + 1):
                event.update(case)
                chunks.add(number, event)
            empty_traces += not events  # it takes a record number and no row
            records += max(1, len(events))
            if max_records is not None and records >= max_records:
                truncated = True
                break
    chunks.flush()
    if not chunks.columns:
        raise UnreadableFile("The XES log holds no events.")
    return Staged(
        format="xes",
        columns=tuple((name, log.types.get(key, "string")) for key, name in chunks.columns.items()),
        relation=chunks.relation(),
        records=records,
        empty_traces=empty_traces,
        truncated=truncated,
        warnings=tuple(chunks.names.warnings),
    )


class _Log:
    """The traces of a log, parsed as the bytes arrive.

    Attributes:
        types: The type that the file gives each column where it first appears.
    """

    def __init__(self, stream: ByteStream, limits: Limits) -> None:
        self._stream, self._limits = stream, limits
        self.types: dict[str, str] = {}
        self._names: dict[str, dict[str, str]] = {"": {}, "case:": {}}  # by prefix: key to column

    def traces(self) -> Iterator[tuple[Record, list[Record]]]:
        """The attributes and the events of each trace."""
        events: list[Record] = []
        try:
            for element in self._elements():
                if element.tag.endswith("event"):
                    events.append(self._attributes(element, ""))
                    element.clear()
                    if len(events) > self._limits.trace_events:
                        raise UnreadableFile(f"A trace has more than {self._limits.trace_events:,} events.")
                else:
                    yield self._attributes(element, "case:"), events
                    events = []
                    let_go(element)
        except etree.XMLSyntaxError as error:
            raise UnreadableFile(
                f"The XES file is not well-formed XML: {error.msg}. Export the log again."
            ) from error

    def _elements(self) -> Iterator[Any]:
        """Each event and each trace as it ends."""
        return guarded_elements(self._stream, ("log",), ("trace", "event"), _check_root)

    def _attributes(self, element: Any, prefix: str) -> Record:
        record: Record = {}
        names = self._names[prefix]
        for attribute in element:
            key, value = attribute.get("key"), attribute.get("value")
            name = names.get(key)
            if name is None:
                if key is None:
                    if attribute.tag.endswith("event"):
                        continue
                    raise UnreadableFile(f"An XES attribute on line {attribute.sourceline} has no key.")
                name = names[key] = self._new_name(key, prefix, attribute)
            while name in record:  # a key given twice: keep both values
                name += "__2"
            if value is not None:
                record[name] = value
            if len(attribute):
                nested = json.dumps(_nested(attribute, self._limits.xml_depth), ensure_ascii=False)
                record[name if value is None else f"{name}:nested"] = nested
        return record

    def _new_name(self, key: str, prefix: str, attribute: Any) -> str:
        # An event's own "case:..." must not be taken for the trace's.
        name = f"event:{key}" if not prefix and key.startswith("case:") else prefix + key
        self.types[name] = _TYPES.get(etree.QName(attribute).localname, "string")
        return name


def _check_root(root: Any) -> None:
    """Refuse what is no XES log, before any of its content is parsed."""
    if root is None:
        raise UnreadableFile("The XML file has no <log>, so it is no XES event log.")
    if has_doctype(root):
        raise UnreadableFile(
            "The XES file has a DOCTYPE, which can carry attacks. Remove it and send it again."
        )
    if root.getparent() is not None or etree.QName(root).localname != "log":
        raise UnreadableFile("The XML file does not start with <log>, so it is no XES event log.")


def _nested(attribute: Any, depth: int) -> list[dict[str, Any]]:
    """The attributes below an attribute, as JSON values."""
    if not depth:
        raise UnreadableFile(f"XES attributes are nested too deeply on line {attribute.sourceline}.")
    nested = []
    for child in attribute:
        entry: dict[str, Any] = {"key": child.get("key"), "value": child.get("value")}
        if len(child):
            entry["nested"] = _nested(child, depth - 1)
        nested.append(entry)
    return nested
