"""An org's records: made, changed, deleted and merged while the server runs, with the stamps that Salesforce sets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from casetrail_testkit.clock import WITH_MILLISECONDS, Clock
from casetrail_testkit.salesforce.catalog import Field, SObject, standard_objects
from casetrail_testkit.salesforce.ids import number_of, record_id, with_suffix
from casetrail_testkit.tables import Tables, quoted

STAMPS = ("CreatedDate", "LastModifiedDate", "SystemModstamp")
RECYCLE_BIN = timedelta(days=15)
_CASTS = {"int": "integer", "double": "real", "currency": "real", "percent": "real", "boolean": "integer"}


class SalesforceStore:
    """The objects of one org and their records.

    Values are as SOQL results show them: text, numbers, booleans, None; times are text such as
    ``2026-01-02T03:04:05.000Z``. ``commits_in`` makes a change that is stamped now and seen later, as a long
    transaction's is. Methods raise ``ValueError`` for an object, a field or a record that is not there.
    """

    def __init__(self, clock: Clock) -> None:
        """An org with the standard objects and no record."""
        self.clock = clock
        self.tables = Tables(clock)
        self.objects: dict[str, SObject] = {}
        self.log_begins: dict[str, datetime] = {}
        """Objects whose log of deletes was purged: from when on it is complete."""
        self._last_number = 0
        with self.tables.transaction():
            for definition in standard_objects():
                self.define(definition)

    def define(self, definition: SObject) -> None:
        """Add an object, such as a custom one."""
        cursor = next((name for name in ("SystemModstamp", "CreatedDate") if definition.has(name)), "Id")
        self.tables.create(
            definition.name,
            [*(one.name for one in definition.fields.values()), "_deleted_at", "_purged"],
            key="Id",
            indexed=[cursor] if cursor != "Id" else [],
        )
        self.objects[definition.name.lower()] = definition

    def object(self, name: str) -> SObject:
        """The object of that name, whatever its case."""
        if name.lower() not in self.objects:
            raise ValueError(f"the org has no object {name}: define it first")
        return self.objects[name.lower()]

    def create(self, name: str, values: Mapping[str, Any], *, commits_in: float = 0) -> str:
        """Make a record; what is not given of Id and stamps is set. Its Id."""
        definition = self.object(name)
        row = {**self._set_by_system(definition), **self._spelled(definition, values)}
        self.tables.commit(
            lambda: self.tables.insert(definition.name, list(row), [list(row.values())]), commits_in
        )
        return str(row["Id"])

    def load(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Make many records in one go, as fast as it gets; how many. Id and stamps are set unless given.

        Those with ``IsDeleted`` are in the recycle bin from now on.
        """
        definition = self.object(name)
        named = list(self._spelled(definition, dict.fromkeys(columns)))
        set_by_system = self._set_by_system(definition)
        fixed = {name: value for name, value in set_by_system.items() if name not in ("Id", *named)}
        if "Id" in named:
            all_rows = ([*row, *fixed.values()] for row in rows)
        else:
            named = ["Id", *named]
            prefix, number = definition.key_prefix, self._next_number
            all_rows = ([record_id(prefix, number()), *row, *fixed.values()] for row in rows)
        table = quoted(definition.name)
        with self.tables.transaction():
            count = self.tables.insert(definition.name, [*named, *fixed], all_rows)
            if "IsDeleted" in named:
                sql = f"update {table} set _deleted_at = ? where IsDeleted and _deleted_at is null"
                self.tables.write(sql, (self._stamp(),))
        # Ids that are made from now on must not be among those that came.
        own = record_id(definition.key_prefix, 0)[:9]
        came = self.tables.first(f"select max(Id) from {table} where Id like ?", [f"{own}%"])
        if came and came[0]:
            self._last_number = max(self._last_number, number_of(came[0]))
        return count

    def update(self, name: str, record: str, values: Mapping[str, Any], *, commits_in: float = 0) -> None:
        """Change a record; stamps move to now unless ``values`` says otherwise."""
        definition = self.object(name)
        row = self._spelled(definition, values)
        if any(not definition.fields[column.lower()].calculated for column in row) or not row:
            row = {**self._modified(definition), **row}
        self.tables.commit(lambda: self._set(definition, record, row), commits_in)

    def delete(self, name: str, record: str, *, hard: bool = False, commits_in: float = 0) -> None:
        """Put a record into the recycle bin, or (``hard``, and always for CampaignMember) remove it without a trace."""
        definition = self.object(name)
        if hard or not definition.recycles:
            sql = f"delete from {quoted(definition.name)} where Id = ?"
            self.tables.commit(lambda: self._write_one(record, sql, []), commits_in)
        else:
            row = self._deleted(definition)
            self.tables.commit(lambda: self._set(definition, record, row), commits_in)

    def merge(self, name: str, winner: str, loser: str, *, commits_in: float = 0) -> None:
        """Merge ``loser`` into ``winner``: the loser is deleted and names its master, the winner is changed."""
        definition = self.object(name)
        master = self._spelled(definition, {"MasterRecordId": with_suffix(winner)})
        merged, changed = {**self._deleted(definition), **master}, self._modified(definition)

        def change() -> None:
            self._set(definition, loser, merged)
            self._set(definition, winner, changed)

        self.tables.commit(change, commits_in)

    def add_field(self, name: str, new: Field) -> None:
        """A column appears, empty in the records that are there."""
        definition = self.object(name)
        self.tables.add_column(definition.name, new.name)
        definition.fields[new.name.lower()] = new

    def remove_field(self, name: str, field: str) -> None:
        """A column disappears with its values."""
        definition = self.object(name)
        self._spelled(definition, {field: None})
        self.tables.drop_column(definition.name, definition.fields.pop(field.lower()).name)

    def retype_field(self, name: str, field: str, new_type: str) -> None:
        """A column changes its type, and its values with it; no stamp moves."""
        definition = self.object(name)
        self._spelled(definition, {field: None})
        old = definition.fields[field.lower()]
        definition.fields[field.lower()] = replace(old, type=new_type)
        cast = _CASTS.get(new_type, "text")
        column = quoted(old.name)
        self.tables.write(f"update {quoted(definition.name)} set {column} = cast({column} as {cast})")

    def rows(self, name: str, *, with_deleted: bool = False) -> list[dict[str, Any]]:
        """All records of an object that a query sees now, in the order in which they were made: a test's truth."""
        definition = self.object(name)
        fields = list(definition.fields.values())
        columns = ", ".join(quoted(one.name) for one in fields)
        visible = self.visible(definition, with_deleted)
        sql = f"select {columns} from {quoted(definition.name)} where {visible} order by _row"
        self.tables.settle()
        return [
            {one.name: _value(one, value) for one, value in zip(fields, row, strict=True)}
            for row in self.tables.read(sql)
        ]

    def visible(self, definition: SObject, with_deleted: bool) -> str:
        """The SQL condition of what ``query`` sees, or with deleted records what ``queryAll`` sees.

        Archived tasks and events are seen by ``queryAll`` only.
        """
        if not with_deleted:
            archived = " and IsArchived is not 1" if definition.has("IsArchived") else ""
            return f"_deleted_at is null{archived}"
        emptied = (self.clock.now() - RECYCLE_BIN).strftime(WITH_MILLISECONDS)
        return f"(_deleted_at is null or _deleted_at > '{emptied}' and _purged is null)"

    def empty_recycle_bin(self, name: str) -> None:
        """No query shows the object's deleted records any more; ``/deleted`` still tells of them."""
        table = quoted(self.object(name).name)
        self.tables.write(f"update {table} set _purged = 1 where _deleted_at is not null")

    def purge_delete_log(self, name: str) -> None:
        """Forget the object's deletes until now: ``/deleted`` then says that it begins later."""
        self.log_begins[self.object(name).name] = self.clock.now()

    def _set(self, definition: SObject, record: str, row: Mapping[str, Any]) -> None:
        sets = ", ".join(f"{quoted(column)} = ?" for column in row)
        self._write_one(record, f"update {quoted(definition.name)} set {sets} where Id = ?", [*row.values()])

    def _write_one(self, record: str, sql: str, parameters: list[Any]) -> None:
        if not self.tables.write(sql, [*parameters, with_suffix(record)]):
            raise ValueError(f"there is no record {record}")

    def _next_number(self) -> int:
        with self.tables.lock:
            self._last_number += 1
            return self._last_number

    def _stamp(self) -> str:
        return self.clock.now().strftime(WITH_MILLISECONDS)

    def _set_by_system(self, definition: SObject) -> dict[str, Any]:
        given = {"Id": None, "IsDeleted": False, **dict.fromkeys(STAMPS, self._stamp())}
        row = {name: value for name, value in given.items() if definition.has(name)}
        return row | {"Id": record_id(definition.key_prefix, self._next_number())}

    def _modified(self, definition: SObject) -> dict[str, Any]:
        stamp = self._stamp()
        return {name: stamp for name in ("LastModifiedDate", "SystemModstamp") if definition.has(name)}

    def _deleted(self, definition: SObject) -> dict[str, Any]:
        marked = {"IsDeleted": True} if definition.has("IsDeleted") else {}
        return {**self._modified(definition), **marked, "_deleted_at": self._stamp()}

    def _spelled(self, definition: SObject, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values under the fields' own spelling."""
        unknown = [name for name in values if not definition.has(name)]
        if unknown:
            raise ValueError(f"{definition.name} has no field {', '.join(unknown)}: add it with add_field")
        return {definition.fields[name.lower()].name: value for name, value in values.items()}


def _value(field: Field, value: Any) -> Any:
    return bool(value) if field.type == "boolean" and value is not None else value
