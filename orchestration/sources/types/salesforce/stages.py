"""Which rows of ``OpportunityHistory`` change the stage: changes of amount, date or probability make rows too.

A row does so if the one before it of the same opportunity has another stage. What was before the rows in hand is
remembered within a read, and asked for otherwise. A change locks its opportunity until it commits, so that the rows of
one are seen in their order, and what was judged of a row stays true.
"""

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.sources.types.salesforce import rest
from orchestration.sources.types.salesforce.objects import within
from orchestration.sources.types.salesforce.org import Org
from orchestration.sources.types.salesforce.values import batch_of

NAME = "OpportunityHistory"
_FIELDS = {"OpportunityId": "reference", "CreatedDate": "datetime", "Id": "id", "StageName": "picklist"}
_PLACE = "place"


class Stages:
    """The last stage of the opportunities that were seen."""

    def __init__(self, *, from_beginning: bool) -> None:
        """``from_beginning``: there are no rows before the first that will come."""
        self._complete = from_beginning
        self._last = pa.table({name: pa.array([], pa.string()) for name in _FIELDS})

    def changed(self, org: Org, rows: pa.RecordBatch, cursor: str, low: datetime | None) -> pa.Array:
        """Whether each of the rows of a window, which are all that it has, changes the stage (bool).

        Args:
            org: Asked for what was before.
            rows: In any order.
            cursor: The field that the window is of.
            low: Where it begins.
        """
        before = [self._last]
        if not self._complete and low is not None:
            before.append(self._asked(org, rows, cursor, low))
        own = pa.Table.from_batches([rows.select(list(_FIELDS))]).append_column(
            _PLACE, pa.array(range(rows.num_rows), pa.int64())
        )
        earlier = pa.concat_tables(before)
        placeless = pa.nulls(earlier.num_rows, pa.int64())
        table = pa.concat_tables([earlier.append_column(_PLACE, placeless), own])
        table = table.sort_by([(name, "ascending") for name in ("OpportunityId", "CreatedDate", "Id")])
        same_opportunity = _equals_before(table["OpportunityId"])
        changes = pc.invert(pc.and_(same_opportunity, _equals_before(table["StageName"])))
        is_last = pc.invert(
            pa.concat_arrays([same_opportunity[1:], pa.array([False])[: len(same_opportunity)]])
        )
        self._last = table.filter(is_last).drop_columns([_PLACE])
        in_place = pa.table({_PLACE: table[_PLACE], "changes": changes}).filter(pc.is_valid(table[_PLACE]))
        return in_place.sort_by(_PLACE)["changes"].combine_chunks()

    def _asked(self, org: Org, rows: pa.RecordBatch, cursor: str, low: datetime) -> pa.Table:
        """The rows before the window of the opportunities that are not known."""
        ids = pc.unique(rows.column("OpportunityId"))
        unknown = ids.filter(
            pc.invert(pc.is_in(ids, self._last["OpportunityId"].combine_chunks()))
        ).to_pylist()
        batches = [batch_of([], _FIELDS)]
        for start in range(0, len(unknown), rest.IDS_AT_ONCE):
            listed = ", ".join(f"'{one}'" for one in unknown[start : start + rest.IDS_AT_ONCE] if one)
            query = (
                f"SELECT {', '.join(_FIELDS)} FROM {NAME} "
                f"WHERE OpportunityId IN ({listed}) AND {within(cursor, None, low)}"
            )
            batches += [batch for _total, batch in rest.batches(org, query, _FIELDS)]
        return pa.Table.from_batches(batches)


def _equals_before(values: pa.ChunkedArray) -> pa.Array:
    """Whether each value is that before it; the first is not, and null equals nothing."""
    flat = values.combine_chunks()
    equal = pc.fill_null(pc.equal(flat[1:], flat[:-1]), False)
    return pa.concat_arrays([pa.array([False])[: len(flat)], equal])
