"""Personal fields of records, pulled or uploaded: hashed under the workspace's key, or left out, before any is stored.

Equal values of a workspace stay equal; without its key nobody can try values against the hashes, and the same value in
another workspace has another hash. Pure: pages in, pages out.
"""

import hmac
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from orchestration.connectors.personal import spoilt_part
from orchestration.identity import email_keys
from orchestration.sources.errors import ConfigurationError
from orchestration.sources.protocol import Page, Personal, SourceConfig, SourceType
from orchestration.sources.registry import identities

Rules = Mapping[str, Mapping[str, Personal]]
"""By stream and column, what becomes of personal fields; what is kept is not in it."""

_VERSION = b"casetrail-pseudonym-1"
"""Begins what is hashed, so that no pseudonym is the link key of an address."""


def personal_rules(type_: SourceType, config: SourceConfig) -> dict[str, dict[str, Personal]]:
    """What a configuration says of personal fields, and what its type says of the others."""
    said, named = type_.personal(config), config.personal
    merged = {stream: said.get(stream, {}) | named.get(stream, {}) for stream in [*said, *named]}
    hidden = dict[str, dict[str, Personal]]()
    for stream, columns in merged.items():
        for column, rule in columns.items():
            if rule != "keep":
                hidden.setdefault(stream, {})[column] = rule
    return hidden


def require_usable(type_: SourceType, config: SourceConfig) -> None:
    """Check that events and links can be made of what is left of personal fields.

    Raises:
        ConfigurationError: an event needs what is dropped or hashed, or an address would link without being hashed.
    """
    rules = personal_rules(type_, config)
    for stream, mapping in type_.mappings(config).items():
        if problem := spoilt_part(mapping.named_columns(), rules.get(stream, {})):
            raise ConfigurationError(f"{stream}: {problem}")
    for stream, said in identities(type_, config).items():
        for column in said.keys:
            if column not in rules.get(stream, {}):
                raise ConfigurationError(
                    f"{stream}: the column {column} links records of one person, and would be kept as it is: "
                    "set personal to email there."
                )


def require_columns(config: SourceConfig, stream: str, columns: Iterable[str]) -> None:
    """Check that a stream has the columns that the configuration calls personal: one may have been renamed.

    Raises:
        ConfigurationError: one is not there.
    """
    columns = tuple(columns)
    if missing := [name for name in config.personal.get(stream, {}) if name not in columns]:
        raise ConfigurationError(
            f"{stream}: personal names {', '.join(missing)}, which the stream does not have. Was it renamed? "
            f"There are: {', '.join(columns)}."
        )


@dataclass(frozen=True)
class PersonalFields:
    """Takes the personal values out of the pages of a pull.

    Attributes:
        config: What it says is required: a column that it names has to be there.
        rules: What becomes of which columns.
        key: The workspace's; None where nothing is hashed.
        refused: By stream and column, how many addresses link nobody, by reason.
    """

    config: SourceConfig
    rules: Rules
    key: bytes | None
    refused: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def hidden(self, page: Page) -> Page:
        """The page without personal values.

        Raises:
            ConfigurationError: a column that the configuration calls personal is not there.
        """
        require_columns(self.config, page.stream, page.columns)
        rules = self.rules.get(page.stream, {})
        if not rules:
            return page
        names = [name for name in page.records.schema.names if rules.get(name) != "drop"]
        arrays = [self._hidden(page, name, rules.get(name)) for name in names]
        columns = {name: kind for name, kind in page.columns.items() if rules.get(name) != "drop"}
        return replace(page, columns=columns, records=pa.record_batch(arrays, names))

    def _hidden(self, page: Page, name: str, rule: Personal | None) -> pa.Array:
        values = page.records.column(name)
        if rule is None:
            return values
        values, refused = hashed(values, rule, self.key)
        if rule == "email":
            self.refused.setdefault((page.stream, name), Counter()).update(refused)
        return values

    def account(self) -> dict[str, dict[str, Any]]:
        """By stream and column what became of it, and why how many addresses link nobody; no values."""
        told = dict[str, dict[str, Any]]()
        for stream, columns in self.rules.items():
            for column, rule in columns.items():
                entry = told.setdefault(stream, {}).setdefault(column, {"rule": rule})
                if (stream, column) in self.refused:
                    entry["linking_nobody"] = dict(self.refused[stream, column])
        return told

    def told(self) -> list[str]:
        """Of each column whose addresses do not all link somebody, how many do not, and why."""
        return [
            f"{stream}.{column}: {', '.join(f'{n:,} {reason}' for reason, n in sorted(reasons.items()))} link nobody"
            for (stream, column), reasons in sorted(self.refused.items())
            if reasons
        ]


def needs_key(rules: Rules) -> bool:
    """Whether anything is hashed."""
    return any(rule in ("pseudonym", "email") for columns in rules.values() for rule in columns.values())


def hashed(values: pa.Array, rule: Personal, key: bytes | None) -> tuple[pa.Array, Counter[str]]:
    """Texts under ``pseudonym`` or ``email``, and how many addresses link nobody, by reason.

    Raises:
        ValueError: there is no key.
    """
    if key is None:
        raise ValueError("personal values are to be hashed, and there is no key")
    if rule == "pseudonym":
        return pseudonyms(values, key), Counter()
    return email_keys(values, key)


def pseudonyms(values: pa.Array, key: bytes) -> pa.Array:
    """HMAC-SHA256 of each text, in hex. What is null or empty stays so, and says nothing."""
    encoded = values.dictionary_encode()
    hashed = [
        hmac.digest(key, _VERSION + value.encode(), "sha256").hex() if value else value
        for value in encoded.dictionary.to_pylist()
    ]
    return pa.array(hashed, pa.string()).take(encoded.indices)
