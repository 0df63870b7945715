"""Reaching a connector's source: its configuration with the secrets in it, and nothing of them in what is written down.

Who may do it is decided before, as the acting user: what opens the secrets is the pipeline.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from orchestration.addresses import InternalAddress, allowed_address
from orchestration.control_plane import connector_secrets, connectors, database, workspace_keys
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.database import Connection
from orchestration.control_plane.errors import ControlPlaneError, InvalidInput
from orchestration.control_plane.sealing import NoSecretKey, SealBroken
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from orchestration.sources.credentials import join_config, secret_fields, split_config
from orchestration.sources.errors import ConfigurationError, SourceError, TransientError
from orchestration.sources.personal import (
    PersonalFields,
    needs_key,
    personal_rules,
    require_columns,
    require_usable,
)
from orchestration.sources.protocol import Context, Personal, SourceConfig, SourceType, Stream, StreamCheck
from orchestration.sources.redaction import Redactor, redacted_logs
from orchestration.sources.registry import shown_source, source_type


class UnexpectedFailure(SourceError):
    """A defect of a connector type, or an answer that it does not know. The trace is without secrets."""


@dataclass(frozen=True)
class OpenedSource:
    """A connector's type with what it needs to reach its source."""

    type: SourceType
    config: Any
    context: Context

    def told(self, error: SourceError) -> str:
        """What went wrong, without secrets: for whoever catches it before ``using_source`` does."""
        return self.context.redactor.redact(str(error))


def add_source(
    connection: Connection,
    settings: Settings,
    workspace_id: str,
    type: str,
    name: str,
    values: Mapping[str, Any],
    secrets: Mapping[str, SecretStr],
) -> Connector:
    """Make a connector and seal its secrets; it is ``disabled`` until ``check_source`` has tried it.

    Raises:
        InvalidInput: the configuration is none of this type.
        NoSecretKey: the installation cannot keep secrets.
        NotAllowed: the acting user is no admin of the workspace.
    """
    split = split_config(source_type(type).Config, values, secrets)
    made = connectors.add_connector(connection, workspace_id, type, name, split.shown)
    connector_secrets.put_secrets(connection, settings.secret_keys, workspace_id, made.id, split.secrets)
    return made


def change_source(
    connection: Connection,
    settings: Settings,
    connector: Connector,
    values: Mapping[str, Any],
    secrets: Mapping[str, SecretStr],
) -> None:
    """Give a connector other values; those that are not named stay, secrets too.

    Raises:
        InvalidInput: the configuration is none of this type, or would send stored secrets to another place.
        NotAllowed: the acting user is no admin of the workspace.
    """
    model = source_type(connector.type).Config
    config = {**connector.config, **values}
    for name in secret_fields(model):
        moved = [f for f in model.secrets_go_to if config.get(f) != connector.config.get(f)]
        if moved and name not in secrets and name in config:
            # Else whoever may change a connector could have its secrets sent to a server of their own.
            raise InvalidInput(f"With another {', '.join(moved)} the secret {name} must be given again.")
    split = split_config(model, config, secrets)
    connectors.set_config(connection, connector.workspace_id, connector.id, split.shown)
    connector_secrets.put_secrets(
        connection, settings.secret_keys, connector.workspace_id, connector.id, split.secrets
    )
    for name in secret_fields(model):
        if split.shown.get(name) != {"$secret": name}:
            connector_secrets.forget_secret(connection, connector.workspace_id, connector.id, name)


def check_source(
    settings: Settings, workspace: Workspace, connector: Connector, *, enable: bool = False
) -> list[StreamCheck]:
    """Try a connector and note how it is; one that is disabled stays so unless it is to be enabled.

    Raises:
        SourceError: it cannot be tried, or a person must act; noted too.
    """
    noting = noting_problems(settings, connector, even_if_disabled=enable)
    with noting, using_source(settings, workspace, connector) as source:
        checks = source.type.check(source.config, source.context)
        if problems := [f"{check.stream}: {check.problem}" for check in checks if check.problem]:
            raise ConfigurationError(" ".join(problems))
        _require_personal(source.config, checks)
        personal_fields(settings, workspace, source)
    if connector.status != "disabled" or enable:
        with database.as_system(settings.system_dsn, workspace.id) as connection:
            connectors.set_status(connection, workspace.id, connector.id, "connected")
    return checks


def discover_source(settings: Settings, workspace: Workspace, connector: Connector) -> list[Stream]:
    """What a connector's source has.

    Raises:
        SourceError: it cannot be reached.
    """
    with using_source(settings, workspace, connector) as source:
        return source.type.discover(source.config, source.context)


def personal_fields(settings: Settings, workspace: Workspace, source: OpenedSource) -> PersonalFields:
    """What takes the personal values out of a source's records, with the workspace's key where any is hashed.

    Raises:
        ConfigurationError: events or links need other than that, or the key is unusable.
    """
    require_usable(source.type, source.config)
    rules = personal_rules(source.type, source.config)
    if not needs_key(rules):
        return PersonalFields(source.config, rules, None)
    try:
        with database.as_system(settings.system_dsn, workspace.id) as connection:
            key = workspace_keys.workspace_key(connection, settings.secret_keys, workspace.id)
    except (NoSecretKey, SealBroken) as error:
        raise ConfigurationError(str(error)) from None
    source.context.redactor.add(SecretStr(key.hex()))
    return PersonalFields(source.config, rules, key)


def shown_personal(connector: Connector) -> dict[str, dict[str, Personal]]:
    """By stream and column, what becomes of a connector's personal fields, by what it is configured to be."""
    return personal_rules(*shown_source(connector.type, connector.config))


def _require_personal(config: SourceConfig, checks: Sequence[StreamCheck]) -> None:
    if unknown := sorted(set(config.personal) - {check.stream for check in checks}):
        there = ", ".join(check.stream for check in checks) or "none"
        raise ConfigurationError(f"personal names the stream {', '.join(unknown)}. There are: {there}.")
    for check in checks:
        if check.columns is not None:
            require_columns(config, check.stream, check.columns)


@contextmanager
def noting_problems(
    settings: Settings, connector: Connector, *, even_if_disabled: bool = False
) -> Iterator[None]:
    """What goes wrong with a source is noted on its connector: an error if a person must act."""
    try:
        yield
    except SourceError as error:
        is_error = isinstance(error, ConfigurationError)
        with database.as_system(settings.system_dsn, connector.workspace_id) as connection:
            connectors.record_problem(
                connection,
                connector.workspace_id,
                connector.id,
                str(error),
                is_error=is_error,
                even_if_disabled=even_if_disabled,
            )
        raise


@contextmanager
def using_source(settings: Settings, workspace: Workspace, connector: Connector) -> Iterator[OpenedSource]:
    """A connector's source; no log record and no exception that is made meanwhile holds one of its secrets.

    Raises:
        ConfigurationError: a secret or the configuration is unusable.
        UnexpectedFailure: what is raised inside and is not meant for people.
    """
    redactor = Redactor()
    with redacted_logs(redactor):
        try:
            yield _opened(settings, workspace, connector, redactor)
        except SourceError as error:
            error.args = (redactor.redact(str(error)),)
            raise
        except ControlPlaneError:
            raise
        except Exception as error:
            # The traceback shows lines of code and messages; what is chained to it would be shown as it is.
            raise UnexpectedFailure(redactor.trace(error)) from None


def _opened(
    settings: Settings, workspace: Workspace, connector: Connector, redactor: Redactor
) -> OpenedSource:
    try:
        type_ = source_type(connector.type)
        with database.as_system(settings.system_dsn, workspace.id) as connection:
            sealed = connector_secrets.open_secrets(
                connection, settings.secret_keys, workspace.id, connector.id
            )
    except (InvalidInput, SealBroken) as error:
        raise ConfigurationError(str(error)) from None
    config, secrets = join_config(
        type_.Config, connector.config, sealed, workspace.slug, settings.secrets_folder
    )
    for secret in secrets:
        redactor.add(secret)
    internal = frozenset(settings.connector_internal_hosts)
    return OpenedSource(type_, config, Context(_gate(internal), redactor, internal))


def _gate(internal_hosts: frozenset[str]) -> Any:
    def address(host: str, port: int) -> str:
        try:
            return allowed_address(host, port, internal_hosts)
        except InternalAddress as error:
            raise ConfigurationError(
                f"{error} The operator can allow it with CASETRAIL_CONNECTOR_INTERNAL_HOSTS."
            ) from None
        except OSError as error:
            raise TransientError(
                f"{host} has no address for now: {error.strerror}. Is its name right?"
            ) from None

    return address
