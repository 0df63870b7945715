"""The two halves of a connector's configuration: what may be shown, and its secrets.

``config`` holds a marker or a reference in the place of each secret: ``{"$secret": NAME}`` stands for one that is
sealed in ``connector_secrets``, ``{"$ref": "env:..."}`` or ``{"$ref": "file:..."}`` for one that the operator has put
where only the worker finds it. A reference names its workspace, so that no tenant can reach for another's secrets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import SecretStr, ValidationError

from orchestration.control_plane.errors import InvalidInput
from orchestration.settings import SettingsError, named_secret
from orchestration.sources.errors import ConfigurationError
from orchestration.sources.protocol import SourceConfig

_ENVIRONMENT, _FILE = "env:", "file:"


@dataclass(frozen=True)
class SplitConfig:
    """``shown`` goes into ``connectors.config``, ``secrets`` are to be sealed."""

    shown: dict[str, Any]
    secrets: dict[str, SecretStr]


def secret_fields(model: type[SourceConfig]) -> list[str]:
    """The fields of a configuration that are secrets."""
    return [
        name for name, field in model.model_fields.items() if SecretStr in _alternatives(field.annotation)
    ]


def split_config(
    model: type[SourceConfig], values: Mapping[str, Any], secrets: Mapping[str, SecretStr]
) -> SplitConfig:
    """Check a configuration and take it apart. ``values`` may hold markers and references, and no secret.

    Raises:
        InvalidInput: it is none of this type, or a secret stands among the other values.
    """
    fields = secret_fields(model)
    if unknown := sorted(set(secrets) - set(fields)):
        raise InvalidInput(
            f"There is no secret {', '.join(unknown)}. There are: {', '.join(fields) or 'none'}."
        )
    stand_ins = {name: value for name, value in values.items() if name in fields and value is not None}
    for name, value in stand_ins.items():
        if not _is_stand_in(value):
            raise InvalidInput(
                f"{name} is a secret: give it when asked, in the JSON of --secrets-stdin, "
                f"or as a reference with --secret-ref {name}=env:…"
            )
    config = _validated(model, {**values, **dict.fromkeys(stand_ins, SecretStr("…")), **secrets})
    shown = config.model_dump(mode="json", exclude=set(fields)) | stand_ins
    shown |= {name: {"$secret": name} for name in secrets}
    return SplitConfig(shown, dict(secrets))


def shown_config(model: type[SourceConfig], shown: Mapping[str, Any]) -> SourceConfig:
    """A stored configuration without its secrets, for what needs none.

    Raises:
        InvalidInput: it is none of this version of the type.
    """
    stand_ins = {name: SecretStr("…") for name in secret_fields(model) if shown.get(name) is not None}
    return _validated(model, {**shown, **stand_ins})


def join_config(
    model: type[SourceConfig],
    shown: Mapping[str, Any],
    sealed: Mapping[str, SecretStr],
    workspace_slug: str,
    secrets_folder: Path | None,
) -> tuple[Any, list[SecretStr]]:
    """The whole configuration, and every secret that is in it. For the worker alone.

    Args:
        model: the type's ``Config``.
        shown: ``connectors.config``.
        sealed: what was sealed, opened.
        workspace_slug: whose references these are.
        secrets_folder: where the files of references are.

    Raises:
        ConfigurationError: a secret is not there, or the configuration is none of this version of the type.
    """
    found: dict[str, SecretStr] = {}
    for name in secret_fields(model):
        value = shown.get(name)
        if isinstance(value, Mapping) and "$ref" in value:
            found[name] = resolve_reference(str(value["$ref"]), workspace_slug, secrets_folder)
        elif value is not None:
            if name not in sealed:
                raise ConfigurationError(f"The secret {name} is not there: set it again.")
            found[name] = sealed[name]
    try:
        return _validated(model, {**shown, **found}), list(found.values())
    except InvalidInput as error:
        raise ConfigurationError(str(error)) from None


def resolve_reference(reference: str, workspace_slug: str, folder: Path | None) -> SecretStr:
    """What the operator has put into a variable, or into a file below ``folder``/``workspace_slug``.

    Raises:
        ConfigurationError: the reference is none of this workspace, or nothing is there.
    """
    if reference.startswith(_ENVIRONMENT):
        return _from_environment(reference.removeprefix(_ENVIRONMENT), workspace_slug)
    if reference.startswith(_FILE):
        return _from_file(reference.removeprefix(_FILE), workspace_slug, folder)
    raise ConfigurationError(f"{reference} is no reference to a secret: use env:VARIABLE or file:NAME.")


def _from_environment(variable: str, workspace_slug: str) -> SecretStr:
    prefix = f"CASETRAIL_SECRET_{workspace_slug.upper().replace('-', '_')}__"
    # What follows has no double underscore, so that a variable belongs to one workspace only.
    if not variable.startswith(prefix) or "__" in variable.removeprefix(prefix):
        raise ConfigurationError(f"A variable of this workspace is named {prefix}NAME, not {variable}.")
    try:
        found = named_secret(variable)
    except SettingsError as error:
        raise ConfigurationError(str(error)) from None
    if found is None:
        raise ConfigurationError(f"{variable} is not set where the pipeline runs: ask the operator.")
    return found


def _from_file(name: str, workspace_slug: str, folder: Path | None) -> SecretStr:
    if folder is None:
        raise ConfigurationError("This installation has no folder of secrets (CASETRAIL_SECRETS_FOLDER).")
    own = (folder / workspace_slug).resolve()
    path = (own / name).resolve()
    if not path.is_relative_to(own):
        raise ConfigurationError(f"file:{name} is not inside the workspace's folder of secrets.")
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(
            f"file:{name} cannot be read where the pipeline runs: ask the operator."
        ) from None
    return SecretStr(text)


def _validated(model: type[SourceConfig], values: Mapping[str, Any]) -> SourceConfig:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
        raise InvalidInput(f"The configuration does not fit: {told}.") from None


def _is_stand_in(value: object) -> bool:
    if not isinstance(value, Mapping) or len(value) != 1:
        return False
    return "$secret" in value or str(value.get("$ref", "")).startswith((_ENVIRONMENT, _FILE))


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
