"""Which home months may hold a case: the beginnings of its cases' ids, in the footer of each ``case_index`` file.

A case that gets an event in a month where it had none can live in any earlier home month. Footers take five bytes a
case of the history, the files themselves ten times as much. Reading them is a cost that grows with the history.
Ids are hashes: with 60,000 cases in a month, one of a thousand home months is read in vain.
"""

from collections.abc import Mapping

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

FOOTER_KEY = "casetrail.case_prefixes"
PREFIX_BYTES = 5

Prefixes = npt.NDArray[np.uint64]


def prefixes_of(ids: pa.Table) -> Prefixes:
    """The distinct prefixes, in order, of a table's one column of UUIDs."""
    column = ids.column(0).combine_chunks()
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    stored = [
        np.frombuffer(c.storage.buffers()[1], dtype=np.uint8, count=16 * len(c), offset=16 * c.offset)
        for c in chunks
        if len(c)
    ]
    together = np.concatenate(stored) if stored else np.empty(0, dtype=np.uint8)
    return np.unique(_numbers(together.reshape(-1, 16)[:, :PREFIX_BYTES]))


def packed(prefixes: Prefixes) -> bytes:
    """Prefixes as a footer keeps them: five bytes each."""
    return prefixes.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - PREFIX_BYTES :].tobytes()


def homes_that_may_hold(
    connection: duckdb.DuckDBPyConnection, urls: Mapping[str, str], wanted: Prefixes
) -> set[str]:
    """The home months (of those in ``urls``: home -> file) with a case whose id begins like a wanted one."""
    if not urls or not len(wanted):
        return set()
    home_of = {url: home for home, url in urls.items()}
    rows = connection.execute(
        "select file_name, value from parquet_kv_metadata($urls) where key = $key::blob",
        {"urls": list(urls.values()), "key": FOOTER_KEY},
    ).fetchall()
    return {
        home_of[url] for url, value in rows if np.isin(_unpacked(value), wanted, assume_unique=True).any()
    }


def _unpacked(value: bytes) -> Prefixes:
    return _numbers(np.frombuffer(value, dtype=np.uint8).reshape(-1, PREFIX_BYTES))


def _numbers(digits: npt.NDArray[np.uint8]) -> Prefixes:
    """Rows of bytes, most significant first, as numbers."""
    wide = np.zeros((len(digits), 8), dtype=np.uint8)
    wide[:, 8 - PREFIX_BYTES :] = digits
    return wide.view(">u8").reshape(-1).astype(np.uint64)
