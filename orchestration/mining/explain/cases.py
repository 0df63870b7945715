"""Cases as columns in memory: joined from months to windows, and narrowed to samples.

What belongs here: the shape of a set of cases, and what can be done with any such set. What does not: where cases
come from (`population`), and features of them (`features`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.signedinteger[Any]]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]
Rows = dict[str, Ints]
"""Several rows per case, as columns; `case` is the index of the case in its set."""

PERFORMER_COLUMNS = ("resource", "role", "org_unit")
NOBODY = -1
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


@dataclass(frozen=True)
class Attribute:
    """An attribute's value per case: as text, null where missing, and as a number, NaN where it is none."""

    words: pa.ChunkedArray
    numbers: Floats

    @property
    def is_number(self) -> bool:
        """Whether there are values, all of them numbers."""
        present = len(self.words) - int(self.words.null_count)
        return present > 0 and int(np.count_nonzero(~np.isnan(self.numbers))) == present

    @cached_property
    def encoded(self) -> pa.DictionaryArray:
        """The words as codes; the dictionary holds the words of these cases and no others."""
        return self.words.combine_chunks().dictionary_encode()

    @cached_property
    def codes(self) -> Ints:
        """Each case's code in `encoded`, -1 where the attribute is missing."""
        return np.asarray(self.encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False))


@dataclass(frozen=True)
class CaseSet:
    """Raw traits of some cases, ordered by case number; times are in microseconds, UTC.

    `steps` are in order of time: activity, previous activity (-1 at the first), `wait_us` since then, and who performed
    it. `visits` have a row per case and activity: how often it happened (`count`), and its first known performers.
    Activities and performers are codes, -1 is nobody. `values` are those of the target: the cycle times in seconds,
    until another target is posed (`targets`). `late` are the attributes that come after the first event, with another
    record of the case.
    """

    case_no: Ints
    sample_key: Keys
    start_us: Ints
    end_us: Ints
    cycle_us: Ints
    values: Floats
    steps: Rows
    visits: Rows
    attributes: dict[str, Attribute]
    late: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """The number of cases."""
        return len(self.case_no)


def numbers_of(words: pa.ChunkedArray) -> Floats:
    """Each word as a finite number, NaN where it is none."""
    trimmed = pc.utf8_trim_whitespace(words)
    is_number = pc.match_substring_regex(trimmed, _NUMBER)
    numbers = pc.if_else(is_number, trimmed, pa.scalar(None, trimmed.type)).cast(pa.float64()).to_numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)


def count_visits(steps: Rows) -> Rows:
    """The visits that some steps make; steps are ordered by case and time."""
    place = steps["case"].astype(np.int64) * (int(steps["activity"].max(initial=0)) + 1) + steps["activity"]
    order = np.argsort(place, kind="stable")
    first = np.flatnonzero(np.diff(place[order], prepend=-1))
    visits: Rows = {
        "case": steps["case"][order][first],
        "activity": steps["activity"][order][first],
        "count": np.diff(first, append=len(order)).astype(np.int32),
    }
    for name in PERFORMER_COLUMNS:
        performer = np.pad(steps[name][order], (0, 1), constant_values=NOBODY)
        known = np.where(performer[:-1] == NOBODY, len(order), np.arange(len(order)))
        visits[name] = performer[np.minimum.reduceat(known, first)] if len(first) else performer[:0]
    return visits


def keep_cases(cases: CaseSet, kept: Flags) -> CaseSet:
    """Some of the cases."""
    index = np.cumsum(kept, dtype=np.int32) - 1

    def keep_rows(rows: Rows) -> Rows:
        of_kept = np.flatnonzero(kept[rows["case"]])
        narrowed = {name: column[of_kept] for name, column in rows.items()}
        return narrowed | {"case": index[narrowed["case"]]}

    return CaseSet(
        case_no=cases.case_no[kept],
        sample_key=cases.sample_key[kept],
        start_us=cases.start_us[kept],
        end_us=cases.end_us[kept],
        cycle_us=cases.cycle_us[kept],
        values=cases.values[kept],
        steps=keep_rows(cases.steps),
        visits=keep_rows(cases.visits),
        attributes={
            key: Attribute(attribute.words.filter(pa.array(kept)), attribute.numbers[kept])
            for key, attribute in cases.attributes.items()
        },
        late=cases.late,
    )


def join_cases(parts: Sequence[CaseSet]) -> CaseSet:
    """One set of at least one, which follow each other by case number and have the same attributes."""
    offsets = np.cumsum([0, *(len(part) for part in parts[:-1])], dtype=np.int32)

    def join_rows(sets: Sequence[Rows]) -> Rows:
        joined = {name: np.concatenate([rows[name] for rows in sets]) for name in sets[0]}
        return joined | {"case": joined["case"] + np.repeat(offsets, [len(rows["case"]) for rows in sets])}

    return CaseSet(
        case_no=np.concatenate([part.case_no for part in parts]),
        sample_key=np.concatenate([part.sample_key for part in parts]),
        start_us=np.concatenate([part.start_us for part in parts]),
        end_us=np.concatenate([part.end_us for part in parts]),
        cycle_us=np.concatenate([part.cycle_us for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        steps=join_rows([part.steps for part in parts]),
        visits=join_rows([part.visits for part in parts]),
        attributes={
            key: Attribute(
                pa.chunked_array(
                    [chunk for part in parts for chunk in part.attributes[key].words.chunks], pa.string()
                ),
                np.concatenate([part.attributes[key].numbers for part in parts]),
            )
            for key in parts[0].attributes
        },
        late=frozenset().union(*(part.late for part in parts)),
    )
