"""Joining records into persons by what links them, with caps against joining what does not belong together.

Links count in three tiers: a person's word (``allow``), then vendors' ids, then shared keys. A person of a tier that
is too large, or that holds a pair which someone denied, is not joined: its records stay in the persons of the tier
before, and it is reported. A key that more persons share than one person can have, is left out and reported. So the
outcome depends on the set of links alone, never on the order in which they came.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.identity.components import components
from orchestration.identity.links import KEYS, LINKS, Coded, Codes, coded, ranked

_EXAMPLES = 5


@dataclass(frozen=True)
class Caps:
    """What one person can have.

    Attributes:
        persons_per_key: Persons of the tier before that one key may join.
        records_per_person: Records that links may join into one person.
    """

    persons_per_key: int = 5
    records_per_person: int = 100


@dataclass(frozen=True)
class Refused:
    """What was not joined.

    Attributes:
        reason: ``key_shared`` (a key above its cap), ``too_large`` (a person above the cap), or ``denied``.
        tier: Links of which tier would have joined it: ``strong`` or ``weak``.
        rule: The rule of the key; None unless ``key_shared``.
        key: The key; None unless ``key_shared``.
        persons: Persons that would have become one.
        records: Their records.
        examples: The first of the records, (system, native id).
    """

    reason: str
    tier: str
    rule: str | None
    key: str | None
    persons: int
    records: int
    examples: tuple[tuple[str, str], ...]


class ContradictingLinks(Exception):
    """People have said both that two records are one person and that they are not."""


@dataclass(frozen=True)
class Stitching:
    """Persons, and what was left apart.

    Attributes:
        links: As given.
        keys: As given.
        coded: Their records as numbers.
        person: For each record the smallest record of its person.
        usable_links: For each link whether it may join (``deny``, and what a person denied, may not).
        key_codes: For each row of keys the number of its key.
        usable_keys: For each row of keys whether its key may join.
        refused: What was not joined.
    """

    links: pa.Table
    keys: pa.Table
    coded: Coded
    person: Codes
    usable_links: npt.NDArray[np.bool_]
    key_codes: Codes
    usable_keys: npt.NDArray[np.bool_]
    refused: tuple[Refused, ...]

    def records(self) -> list[tuple[str, str]]:
        """(system, native id) of each record, by its number."""
        return list(zip(self.coded.systems.to_pylist(), self.coded.native_ids.to_pylist(), strict=True))


def stitch(links: pa.Table, keys: pa.Table, caps: Caps | None = None) -> Stitching:
    """Join the records of ``LINKS`` and ``KEYS`` into persons.

    Raises:
        ContradictingLinks: a denied pair is joined by ``allow`` links alone.
    """
    links, keys, caps = (
        links.select(LINKS.names).cast(LINKS),
        keys.select(KEYS.names).cast(KEYS),
        caps or Caps(),
    )
    records = coded(links, keys)
    count = len(records.systems)
    strength = {name: _is(links["strength"], name) for name in ("allow", "strong", "deny")}
    denied = records.left[strength["deny"]], records.right[strength["deny"]]
    usable = strength["allow"] | (strength["strong"] & ~_pairs_in(records, strength["deny"]))
    said = components(count, records.left[strength["allow"]], records.right[strength["allow"]])
    _require_no_contradiction(records, said, denied)

    joining = usable & strength["strong"]
    linked = components(
        count, np.append(said, records.left[joining]), np.append(_all(count), records.right[joining])
    )
    strong, refused = _kept_apart(records, said, linked, denied, caps, "strong")

    key_codes, key_rules, key_values = _key_codes(keys)
    usable_keys, shared = _within_cap(records, strong, key_codes, key_rules, key_values, caps)
    rows, codes = records.keyed[usable_keys], count + key_codes[usable_keys]
    joined = components(count + len(key_values), np.append(strong, rows), np.append(_all(count), codes))[
        :count
    ]
    person, refused_weak = _kept_apart(records, strong, joined, denied, caps, "weak")
    return Stitching(
        links, keys, records, person, usable, key_codes, usable_keys, (*refused, *shared, *refused_weak)
    )


def _all(count: int) -> Codes:
    return np.arange(count, dtype=np.int64)


def _is(column: pa.ChunkedArray, value: str) -> npt.NDArray[np.bool_]:
    return pc.equal(column, value).to_numpy(zero_copy_only=False).astype(bool)  # type: ignore[no-any-return]


def _pairs_in(records: Coded, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """For each link whether one of the given rows names the same two records."""
    low, high = np.minimum(records.left, records.right), np.maximum(records.left, records.right)
    pairs = low * len(records.systems) + high
    return np.isin(pairs, pairs[rows])


def _require_no_contradiction(records: Coded, said: Codes, denied: tuple[Codes, Codes]) -> None:
    for left, right in zip(*denied, strict=True):
        if said[left] == said[right]:
            one, other = _names(records, np.array([left, right]))
            raise ContradictingLinks(
                f"People have said that {' '.join(one)} and {' '.join(other)} are one person, and that they are "
                "not. Withdraw one of the two."
            )


def _kept_apart(
    records: Coded, before: Codes, joined: Codes, denied: tuple[Codes, Codes], caps: Caps, tier: str
) -> tuple[Codes, list[Refused]]:
    """The persons of a tier: those joined, save the refused ones, whose records stay as they were before."""
    sizes = np.bincount(joined, minlength=len(joined))
    parts = np.bincount(joined[before == _all(len(before))], minlength=len(joined))
    left, right = denied
    torn = np.zeros(len(joined), dtype=bool)
    torn[joined[left[joined[left] == joined[right]]]] = True
    # A person that people made themselves, or that was let pass before, is not of this tier's making.
    too_large = (sizes > caps.records_per_person) & (parts > 1)
    apart = torn | too_large
    person = np.where(apart[joined], before, joined)
    refused = [
        Refused(
            "denied" if torn[root] else "too_large", tier, None, None, int(parts[root]), int(sizes[root]),
            _names(records, members),
        )
        for root, members in _members(joined, apart)
    ]  # fmt: skip
    return person, refused


def _members(groups: Codes, wanted: npt.NDArray[np.bool_]) -> Iterator[tuple[int, Codes]]:
    """Each wanted group, such as a person, with the places where it stands."""
    places = np.flatnonzero(wanted[groups])
    if places.size:
        places = places[np.argsort(groups[places], kind="stable")]
        found, starts = np.unique(groups[places], return_index=True)
        yield from zip(found.tolist(), np.split(places, starts[1:]), strict=True)


def _key_codes(keys: pa.Table) -> tuple[Codes, pa.Array, pa.Array]:
    """The number of each row's key, and each key's rule and value."""
    rules, rule_codes = ranked(keys["rule"].combine_chunks())
    values, value_codes = ranked(keys["key"].combine_chunks())
    pairs, codes = np.unique(rule_codes * len(values) + value_codes, return_inverse=True)
    width = max(1, len(values))
    return codes.astype(np.int64), rules.take(pa.array(pairs // width)), values.take(pa.array(pairs % width))


def _within_cap(
    records: Coded, persons: Codes, key_codes: Codes, rules: pa.Array, values: pa.Array, caps: Caps
) -> tuple[npt.NDArray[np.bool_], list[Refused]]:
    """For each row of keys whether few enough persons share its key, and the keys that too many share."""
    pairs = np.unique(key_codes * len(persons) + persons[records.keyed])
    degree = np.bincount(pairs // max(1, len(persons)), minlength=len(values))
    shared = degree > caps.persons_per_key
    refused = []
    for key, rows in _members(key_codes, shared):
        sharing = np.unique(records.keyed[rows])
        refused.append(
            Refused(
                "key_shared", "weak", rules[key].as_py(), values[key].as_py(), int(degree[key]), len(sharing),
                _names(records, sharing),
            )
        )  # fmt: skip
    return ~shared[key_codes], refused


def _names(records: Coded, codes: Codes) -> tuple[tuple[str, str], ...]:
    return tuple(
        (records.systems[code].as_py(), records.native_ids[code].as_py())
        for code in codes[:_EXAMPLES].tolist()
    )
