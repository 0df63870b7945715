"""What can be said of two records: the tables of links and keys, and their records as numbers.

A record is (system, native id), as an event names its case. Only statements that two records are one person belong in
these tables. That a person has an opportunity is a relation of two things, which the case rule reads; as a link it
would glue a whole company together.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Codes = npt.NDArray[np.int64]

LINKS = pa.schema(
    [
        ("left_system", pa.string()),
        ("left_id", pa.string()),
        ("right_system", pa.string()),
        ("right_id", pa.string()),
        ("strength", pa.string()),
        ("rule", pa.string()),
        ("evidence", pa.string()),
    ]
)
"""Two records, named. ``strength``: ``allow`` and ``deny`` are a person's word, ``strong`` is a vendor's id of the
other record. ``rule`` says which, such as ``marketo.sfdcLeadId``; ``evidence`` names the record that says so."""

KEYS = pa.schema(
    [
        ("system", pa.string()),
        ("native_id", pa.string()),
        ("rule", pa.string()),
        ("key", pa.string()),
        ("evidence", pa.string()),
    ]
)
"""A record and a value that it shares with others of the same person, such as the keyed hash of an address: weak."""


@dataclass(frozen=True)
class Coded:
    """The records of links and keys, numbered from 0 by system and native id, whatever order they came in.

    Attributes:
        systems: The system of each record.
        native_ids: The native id of each record.
        left: The record on the left of each link.
        right: The record on the right of each link.
        keyed: The record of each row of keys.
    """

    systems: pa.Array
    native_ids: pa.Array
    left: Codes
    right: Codes
    keyed: Codes


def coded(links: pa.Table, keys: pa.Table) -> Coded:
    """Number the records of a table of ``LINKS`` and one of ``KEYS``."""
    systems = _one(links["left_system"], links["right_system"], keys["system"])
    native_ids = _one(links["left_id"], links["right_id"], keys["native_id"])
    system_values, system_codes = ranked(systems)
    id_values, id_codes = ranked(native_ids)
    pairs, records = np.unique(system_codes * len(id_values) + id_codes, return_inverse=True)
    ends = np.split(records.astype(np.int64), [links.num_rows, 2 * links.num_rows])
    return Coded(
        system_values.take(pa.array(pairs // max(1, len(id_values)))),
        id_values.take(pa.array(pairs % max(1, len(id_values)))),
        *ends,
    )


def ranked(values: pa.Array) -> tuple[pa.Array, Codes]:
    """The distinct values in order, and for each value its place among them."""
    encoded = values.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return encoded.dictionary.take(pa.array(order)), place[encoded.indices.to_numpy()]


def _one(*columns: pa.ChunkedArray) -> pa.Array:
    chunks = [chunk for column in columns for chunk in column.chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())
