"""What may be shown of a configuration and what may not; references stay inside their workspace."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from orchestration.control_plane.errors import InvalidInput
from orchestration.sources.credentials import (
    join_config,
    resolve_reference,
    secret_fields,
    split_config,
)
from orchestration.sources.errors import ConfigurationError
from orchestration.sources.types.postgres import Config

PLAIN = {"host": "db.example.com", "database": "crm", "user": "reader"}
SECRET = {"password": SecretStr("s3cret!!")}


def joined(shown: dict[str, Any], sealed: dict[str, SecretStr], folder: Path | None = None) -> Any:
    return join_config(Config, shown, sealed, "acme", folder)


def test_what_is_shown_holds_a_marker_and_the_whole_comes_back() -> None:
    assert secret_fields(Config) == ["password"]
    split = split_config(Config, PLAIN, SECRET)
    assert split.shown["password"] == {"$secret": "password"}
    assert "s3cret!!" not in str(split)
    config, secrets = joined(split.shown, split.secrets)
    assert config.password.get_secret_value() == "s3cret!!"
    assert secrets == [config.password]
    assert (config.host, config.every_minutes, config.start) == ("db.example.com", 60, None)


def test_a_marker_keeps_what_is_sealed() -> None:
    split = split_config(Config, {**PLAIN, "password": {"$secret": "password"}}, {})
    assert (split.shown["password"], split.secrets) == ({"$secret": "password"}, {})
    with pytest.raises(ConfigurationError, match="password is not there"):
        joined(split.shown, {})


@pytest.mark.parametrize(
    ("values", "secrets", "told"),
    [
        ({**PLAIN, "password": "s3cret!!"}, {}, "password is a secret"),
        ({**PLAIN, "password": {"$ref": "vault:x"}}, {}, "password is a secret"),
        (PLAIN, {}, "password: Field required"),
        (PLAIN, {**SECRET, "token": SecretStr("s3cret!!")}, "no secret token"),
        ({**PLAIN, "port": "s3cret!!"}, SECRET, "port: Input should be a valid integer"),
        ({**PLAIN, "prot": 1}, SECRET, "prot: Extra inputs"),
        ({**PLAIN, "host": "a/socket"}, SECRET, "host: String should match"),
    ],
)
def test_what_does_not_fit_is_refused_without_repeating_it(
    values: dict[str, Any], secrets: dict[str, SecretStr], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        split_config(Config, values, secrets)
    assert "s3cret!!" not in str(caught.value)


def test_references_are_resolved_in_their_workspace_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "rival").mkdir()
    (tmp_path / "acme" / "crm").write_text("of acme\n")
    (tmp_path / "rival" / "crm").write_text("of rival")
    (tmp_path / "acme" / "link").symlink_to(tmp_path / "rival" / "crm")
    for name in ("CASETRAIL_SECRET_ACME__CRM", "CASETRAIL_SECRET_ACME__EU__CRM", "CASETRAIL_SECRET_KEY"):
        monkeypatch.setenv(name, f"value of {name}")

    def resolve(reference: str, slug: str = "acme") -> str:
        return resolve_reference(reference, slug, tmp_path).get_secret_value()

    assert resolve("env:CASETRAIL_SECRET_ACME__CRM") == "value of CASETRAIL_SECRET_ACME__CRM"
    assert resolve("file:crm") == "of acme"
    assert (
        resolve("env:CASETRAIL_SECRET_ACME__EU__CRM", "acme--eu") == "value of CASETRAIL_SECRET_ACME__EU__CRM"
    )
    for reference, slug, told in [
        ("env:CASETRAIL_SECRET_ACME__CRM", "rival", "named CASETRAIL_SECRET_RIVAL__NAME"),
        ("env:CASETRAIL_SECRET_ACME__EU__CRM", "acme", "named CASETRAIL_SECRET_ACME__NAME"),
        ("env:CASETRAIL_SECRET_KEY", "acme", "named CASETRAIL_SECRET_ACME__NAME"),
        ("env:CASETRAIL_SECRET_KEY", "key", "named CASETRAIL_SECRET_KEY__NAME"),
        ("env:HOME", "acme", "named CASETRAIL_SECRET_ACME__NAME"),
        ("env:CASETRAIL_SECRET_ACME__GONE", "acme", "is not set"),
        ("env:CASETRAIL_SECRET_ACME__", "acme", "no variable of a secret"),
        ("file:../rival/crm", "acme", "not inside"),
        ("file:/etc/hostname", "acme", "not inside"),
        ("file:link", "acme", "not inside"),
        ("file:gone", "acme", "cannot be read"),
        ("vault:x", "acme", "no reference"),
    ]:
        with pytest.raises(ConfigurationError, match=told):
            resolve(reference, slug)
    with pytest.raises(ConfigurationError, match="CASETRAIL_SECRETS_FOLDER"):
        resolve_reference("file:crm", "acme", None)


def test_a_reference_is_shown_and_resolved_when_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "crm").write_text("first")
    split = split_config(Config, {**PLAIN, "password": {"$ref": "file:crm"}}, {})
    assert split.shown["password"] == {"$ref": "file:crm"}
    (tmp_path / "acme" / "crm").write_text("rotated")
    assert joined(split.shown, {}, tmp_path)[0].password.get_secret_value() == "rotated"
