"""Personal fields: what is called so is hashed or left out, and what could not do without it is told."""

import re
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
from pydantic import SecretStr

from orchestration.identity import email_keys
from orchestration.sources.errors import ConfigurationError
from orchestration.sources.personal import PersonalFields, personal_rules, pseudonyms, require_usable
from orchestration.sources.protocol import Identity, Page, Personal, SourceConfig, SourceType
from orchestration.sources.types import postgres
from tests.sources.conftest import STREAM

KEY = b"0123456789abcdef0123456789abcdef"


def hidden(rules: dict[str, Personal], **columns: list[str | None]) -> tuple[Page, PersonalFields]:
    records = pa.record_batch({name: pa.array(values, pa.string()) for name, values in columns.items()})
    page = Page("people", dict.fromkeys(columns, "text"), records, pa.array(range(len(records))))
    fields = PersonalFields(SourceConfig(), {"people": rules}, KEY)
    return fields.hidden(page), fields


def typed(
    personal: dict[str, dict[str, Personal]], identity: dict[str, Identity] | None = None
) -> SourceType:
    """A type that says so of its fields."""
    said: Any = {"personal": personal, "identity": identity or {}, "mappings": {}}
    return cast(
        SourceType,
        SimpleNamespace(**{name: lambda _config, value=value: value for name, value in said.items()}),
    )


def config(**changes: Any) -> postgres.Config:
    fields = {"host": "h", "database": "d", "user": "u", "password": SecretStr("p"), "streams": [STREAM]}
    return postgres.Config.model_validate(fields | changes)


def test_values_are_hashed_or_left_out_and_the_others_stay() -> None:
    page, _ = hidden(
        {"name": "drop", "phone": "pseudonym", "mail": "email"},
        id=["1", "2", "3"],
        name=["Ada", "Bob", None],
        phone=["+49 1", None, "+49 1"],
        mail=["ada@acme.com", None, "ADA@acme.com "],
    )
    assert page.columns == {"id": "text", "phone": "text", "mail": "text"}
    assert page.records.schema.names == ["id", "phone", "mail"]
    assert page.records["id"].to_pylist() == ["1", "2", "3"]
    for column in ("phone", "mail"):
        first, nothing, third = page.records[column].to_pylist()
        assert re.fullmatch("[0-9a-f]{64}", first)
        assert (nothing, third) == (None, first)


def test_a_pseudonym_is_no_link_key_and_needs_the_workspaces_key() -> None:
    values = pa.array(["ada@acme.com", "ada@acme.com", ""])
    one, same, empty = pseudonyms(values, KEY).to_pylist()
    assert one == same
    assert empty == ""
    assert one != pseudonyms(values, KEY[::-1])[0].as_py()
    assert one != email_keys(values, KEY)[0][0].as_py()


def test_addresses_that_link_nobody_are_counted_by_reason_and_not_told() -> None:
    page, fields = hidden(
        {"mail": "email"}, mail=["info@acme.com", "ada@acme.com", "info@acme.com", "x", None]
    )
    assert [key is None for key in page.records["mail"].to_pylist()] == [True, False, True, True, True]
    assert fields.account() == {
        "people": {"mail": {"rule": "email", "linking_nobody": {"role": 2, "malformed": 1}}}
    }
    assert fields.told() == ["people.mail: 1 malformed, 2 role link nobody"]


def test_the_configuration_has_the_last_word() -> None:
    type_ = typed({"lead": {"Email": "email", "Phone": "drop"}, "user": {"Name": "pseudonym"}})
    said = config(personal={"lead": {"Phone": "keep", "Title": "drop"}, "task": {"Subject": "keep"}})
    assert personal_rules(type_, said) == {
        "lead": {"Email": "email", "Title": "drop"},
        "user": {"Name": "pseudonym"},
    }


@pytest.mark.parametrize(
    ("column", "rule", "part"),
    [
        ("order_id", "drop", "case_id"),
        ("order_id", "email", "case_id"),
        ("status", "drop", "activity"),
        ("at", "pseudonym", "timestamp"),
        ("id", "email", "record_key"),
        ("id", "drop", "record_key"),
    ],
)
def test_what_events_need_is_neither_dropped_nor_spoilt(column: str, rule: Personal, part: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"events: personal says {rule} of the column {column}.* {part}:"
    ):
        require_usable(postgres, config(personal={"events": {column: rule}}))
    require_usable(postgres, config(personal={"events": {column: "keep"}, "other": {column: rule}}))


def test_a_case_can_go_under_a_pseudonym() -> None:
    require_usable(postgres, config(personal={"events": {"order_id": "pseudonym", "status": "pseudonym"}}))


@pytest.mark.parametrize("rule", ["email", "pseudonym", "drop", "keep", None])
def test_an_address_does_not_link_as_it_is(rule: Personal | None) -> None:
    links = {"lead": Identity(system="crm", record="Id", key=("Id",), keys=("Email",))}
    type_ = typed({"lead": {"Email": rule} if rule else {}}, links)
    if rule in (None, "keep"):
        with pytest.raises(
            ConfigurationError, match=r"lead: the column Email links .* set personal to email"
        ):
            require_usable(type_, config())
    else:
        require_usable(type_, config())


def test_a_personal_column_that_is_not_there_may_have_been_renamed() -> None:
    said = SourceConfig(personal={"people": {"e_mail": "drop"}})
    page = Page("people", {"mail": "text"}, pa.record_batch({"mail": ["ada@acme.com"]}), pa.array([0]))
    with pytest.raises(ConfigurationError, match=r"people: personal names e_mail.*renamed\? There are: mail"):
        PersonalFields(said, {"people": {"e_mail": "drop"}}, None).hidden(page)
    # What only the type says of other versions of its source is no problem.
    kept = PersonalFields(SourceConfig(), {"people": {"e_mail": "drop"}}, None).hidden(page)
    assert kept.records["mail"].to_pylist() == ["ada@acme.com"]


def test_nothing_is_hashed_without_a_key() -> None:
    page = Page("people", {"mail": "text"}, pa.record_batch({"mail": ["ada@acme.com"]}), pa.array([0]))
    with pytest.raises(ValueError, match="there is no key"):
        PersonalFields(SourceConfig(), {"people": {"mail": "email"}}, None).hidden(page)
