"""The settings of an installation: the only place that reads the environment.

Precedence: the environment (`CASETRAIL_*`), then `$CASETRAIL_HOME/endpoints.json`, which `casetrail up`
writes, then the defaults below. What a service is, and how it is started, belongs to
`orchestration.services`.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

ENDPOINTS_FILE = "endpoints.json"

Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", to_lower=True)]
PositiveInt = Annotated[int, Field(gt=0)]
SecretKey = Annotated[SecretStr, Field(min_length=32)]


class SettingsError(ValueError):
    """A setting has a value that cannot be used. The message names the variable, never its value."""


class ServicesNotRunning(RuntimeError):
    """No endpoint is known for a service that the caller needs."""


def default_buckets() -> dict[str, str]:
    """One bucket per region; a workspace's data stays in the bucket of its own region."""
    return {"EU": "casetrail-eu", "UK": "casetrail-uk", "US": "casetrail-us"}


class Installation(BaseSettings):
    """What can be known before any service runs. Durations are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="CASETRAIL_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        # A validation error would otherwise print the rejected value, which can be a connection string.
        hide_input_in_errors=True,
    )

    home: Path = Field(default_factory=lambda: Path.cwd() / ".casetrail")
    first_month: Month = "2000-01"
    operator: Email = "operator@casetrail.local"
    webserver_host: str = "127.0.0.1"
    webserver_port: PositiveInt = 3000
    feed_host: str = "127.0.0.1"
    feed_port: PositiveInt = 3100
    feed_token: SecretStr | None = None
    feed_topics: tuple[str, ...] = ()
    inbox_sweep_seconds: PositiveInt = 3600
    release_grace_seconds: PositiveInt = 3600
    keep_release_days: Annotated[int, Field(ge=0)] = 30
    keep_releases: PositiveInt = 3
    orphan_seconds: PositiveInt = 86_400
    max_run_seconds: PositiveInt = 7200
    max_concurrent_runs: PositiveInt = 2
    query_memory: str = "1GB"
    query_seconds: PositiveInt = 60
    s3_buckets: dict[str, str] = Field(default_factory=default_buckets)
    s3_signing_regions: dict[str, str] = Field(default_factory=dict)
    secret_key: SecretKey | None = None
    old_secret_keys: list[SecretKey] = Field(default_factory=list)
    notify_internal_hosts: list[str] = Field(default_factory=list)
    connector_internal_hosts: list[str] = Field(default_factory=list)
    secrets_folder: Path | None = None
    smtp_host: str | None = None
    smtp_port: PositiveInt = 587
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    smtp_from: Email = "casetrail@localhost"

    @model_validator(mode="after")
    def _home_is_absolute(self) -> Self:
        # Child processes get the path in their environment and may have another working directory.
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        return self

    @property
    def endpoints_file(self) -> Path:
        """The file through which `casetrail up` tells every other process where the services are."""
        return self.home / ENDPOINTS_FILE


class ExternalEndpoints(BaseSettings):
    """Endpoints that the environment names: services that casetrail uses but does not run."""

    model_config = Installation.model_config

    owner_dsn: SecretStr | None = None
    app_dsn: SecretStr | None = None
    system_dsn: SecretStr | None = None
    dagster_dsn: SecretStr | None = None
    s3_endpoint: str | None = None
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    s3_role_arn: str | None = None


class Settings(Installation):
    """Everything a stage, a command or a Dagster process needs to know.

    A `*_dsn` is anything that libpq takes: a URL or `key=value` pairs. The S3 keys are the broker's; nobody
    else may hold them, since a workspace gets its own credentials by assuming `s3_role_arn`.
    """

    owner_dsn: SecretStr
    app_dsn: SecretStr
    system_dsn: SecretStr
    dagster_dsn: SecretStr
    s3_endpoint: str
    s3_sts_endpoint: str
    s3_access_key: SecretStr
    s3_secret_key: SecretStr
    s3_role_arn: str

    @property
    def secret_keys(self) -> tuple[SecretStr, ...]:
        """The keys of stored secrets: all of them open, the first one seals. None: no secret can be stored."""
        return (self.secret_key, *self.old_secret_keys) if self.secret_key else ()

    @model_validator(mode="before")
    @classmethod
    def _sts_is_served_with_s3(cls, values: dict[str, Any]) -> dict[str, Any]:
        if "s3_endpoint" in values:
            values.setdefault("s3_sts_endpoint", values["s3_endpoint"])
        return values

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the endpoints file below the environment."""
        home = init_settings().get("home")
        installation = Installation(home=home) if home else Installation()
        endpoints = JsonConfigSettingsSource(settings_cls, json_file=installation.endpoints_file)
        return init_settings, env_settings, endpoints


def load_installation() -> Installation:
    """Read the settings that need no running service.

    Raises:
        SettingsError: a variable has an unusable value.
    """
    try:
        return Installation()
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def load_external_endpoints() -> ExternalEndpoints:
    """Read the endpoints that the environment names."""
    return ExternalEndpoints()


def load_settings(home: Path | None = None) -> Settings:
    """Read all settings; `home` overrides `CASETRAIL_HOME`.

    Raises:
        ServicesNotRunning: an endpoint is neither in the environment nor in the endpoints file.
        SettingsError: a variable has an unusable value.
    """
    try:
        # mypy sees required fields; their values come from the environment and the endpoints file.
        return Settings(home=home) if home else Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        missing = [_variable(e["loc"]) for e in error.errors() if e["type"] == "missing"]
        if missing:
            raise ServicesNotRunning(
                f"The services are not running: run `casetrail up`, or set {', '.join(missing)}."
            ) from None
        raise SettingsError(_explain(error)) from None


def inherited_environment() -> dict[str, str]:
    """Give a copy of the environment, for the processes that `orchestration.services` starts."""
    return dict(os.environ)


def named_secret(variable: str) -> SecretStr | None:
    """What the operator has put into a variable of the form ``CASETRAIL_SECRET_{WORKSPACE}__{NAME}``, if anything.

    Raises:
        SettingsError: the variable has another form. The settings of the installation have none such.
    """
    if not re.fullmatch(r"CASETRAIL_SECRET_[A-Z0-9_]+__[A-Z0-9]+(_[A-Z0-9]+)*", variable):
        raise SettingsError(f"{variable} is no variable of a secret: CASETRAIL_SECRET_WORKSPACE__NAME.")
    value = os.environ.get(variable)
    return SecretStr(value) if value else None


def _variable(location: tuple[int | str, ...]) -> str:
    return "CASETRAIL_" + str(location[0]).upper()


def _explain(error: ValidationError) -> str:
    return "; ".join(f"{_variable(e['loc'])}: {e['msg']}" for e in error.errors() if e["loc"])
