"""Conformance of a path to the happy path: an optimal alignment of two sequences, by longest common subsequence.

For a sequential model without choice, moves in the log alone (inserted) and in the model alone (skipped) at cost 1
each, the cheapest alignment keeps a longest common subsequence; so its cost is |path| + |happy path| - 2 |LCS| and its
fitness 1 - cost / (|path| + |happy path|). The bits of one integer hold a row of the table of subsequence lengths
(Hyyrö 2004, "Bit-parallel LCS-length computation revisited"), and the rows are kept for the way back.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import duckdb
import pyarrow as pa
from duckdb.func import ARROW

Step = TypeVar("Step", bound=Hashable)


@dataclass(frozen=True)
class Alignment(Generic[Step]):
    """The steps that a path has beyond the happy path (``inserted``) and those that it lacks (``skipped``), in order.

    ``fitness`` is from 0 (nothing in common) to 1 (the same).
    """

    inserted: tuple[Step, ...]
    skipped: tuple[Step, ...]
    fitness: float

    @property
    def cost(self) -> int:
        """How many steps are inserted or skipped."""
        return len(self.inserted) + len(self.skipped)


class HappyPath(Generic[Step]):
    """A happy path, prepared for the alignment of many paths to it."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Note at which places each step stands."""
        self.steps = tuple(steps)
        self._all = (1 << len(self.steps)) - 1
        self._places: dict[Step, int] = {}
        for place, step in enumerate(self.steps):
            self._places[step] = self._places.get(step, 0) | 1 << place

    def align(self, path: Sequence[Step]) -> Alignment[Step]:
        """The alignment of a path; of several equally cheap ones, that which skips as late as it can.

        Takes time in proportion to the length of the path, for happy paths of up to some hundred steps.
        """
        rows = self._rows(path)
        inserted: list[Step] = []
        skipped: list[Step] = []
        there, here = len(self.steps), len(path)
        while there or here:
            if there and self._is_skipped(rows[here], there):
                there -= 1
                skipped.append(self.steps[there])
            elif here and self._is_inserted(rows, here, there):
                here -= 1
                inserted.append(path[here])
            else:
                here, there = here - 1, there - 1
        length = len(self.steps) + len(path)
        cost = len(inserted) + len(skipped)
        return Alignment(
            tuple(reversed(inserted)), tuple(reversed(skipped)), 1 - cost / length if length else 1.0
        )

    def _rows(self, path: Sequence[Step]) -> list[int]:
        """Row i: bit j is 0 where one more step of the happy path lengthens the LCS with the first i of the path."""
        row = self._all
        rows = [row]
        for step in path:
            matches = self._places.get(step, 0)
            row = ((row + (row & matches)) | (row & ~matches)) & self._all
            rows.append(row)
        return rows

    @staticmethod
    def _is_skipped(row: int, there: int) -> bool:
        """Whether the LCS is as long without the happy path's step before ``there``."""
        return bool(row >> (there - 1) & 1)

    @staticmethod
    def _is_inserted(rows: Sequence[int], here: int, there: int) -> bool:
        """Whether the LCS of the first ``there`` steps is as long without the path's step before ``here``."""
        mask = (1 << there) - 1
        return (rows[here] & mask).bit_count() == (rows[here - 1] & mask).bit_count()


_ALIGNMENT = pa.struct(
    [("fitness", pa.float64()), ("inserted", pa.list_(pa.string())), ("skipped", pa.list_(pa.string()))]
)


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``align_to_happy_path(happy_path varchar[], path varchar[])`` known to a DuckDB database.

    It gives a struct of ``fitness``, ``inserted`` and ``skipped``.
    """
    steps = duckdb.list_type("varchar")
    connection.create_function(
        "align_to_happy_path",
        _align_columns,
        [steps, steps],
        duckdb.struct_type({"fitness": "double", "inserted": steps, "skipped": steps}),
        type=ARROW,
    )


def _align_columns(happy_paths: pa.ChunkedArray, paths: pa.ChunkedArray) -> pa.Array:
    prepared: dict[tuple[str, ...], HappyPath[str]] = {}
    found = []
    for happy, path in zip(happy_paths.to_pylist(), paths.to_pylist(), strict=True):
        steps = tuple(happy)
        if steps not in prepared:
            prepared[steps] = HappyPath(steps)
        alignment = prepared[steps].align(path)
        found.append(
            {"fitness": alignment.fitness, "inserted": alignment.inserted, "skipped": alignment.skipped}
        )
    return pa.array(found, _ALIGNMENT)
