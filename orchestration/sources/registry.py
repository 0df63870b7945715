"""The connector types that there are: the modules of ``orchestration.sources.types``, each named as its type."""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, cast

from orchestration.control_plane.errors import InvalidInput
from orchestration.sources import types
from orchestration.sources.credentials import shown_config
from orchestration.sources.protocol import Identity, SourceConfig, SourceType


class UnknownType(InvalidInput):
    """There is no such connector type."""


def source_types() -> list[str]:
    """The names of the types, in order."""
    return sorted(module.name for module in pkgutil.iter_modules(types.__path__))


def source_type(name: str) -> SourceType:
    """The type of this name.

    Raises:
        UnknownType: there is none; the message lists those there are.
    """
    if name not in source_types():
        raise UnknownType(f"There is no connector type {name}. There are: {', '.join(source_types())}.")
    return cast(SourceType, importlib.import_module(f"{types.__name__}.{name}"))


def shown_source(name: str, shown: Mapping[str, Any]) -> tuple[SourceType, SourceConfig]:
    """A connector's type, and its configuration as it is shown: without its secrets.

    Raises:
        UnknownType: there is no such type.
    """
    found = source_type(name)
    return found, shown_config(found.Config, shown)


def identities(type: SourceType, config: SourceConfig) -> dict[str, Identity]:
    """By stream what its records say of who is who: as the configuration says, else as the type does."""
    return type.identity(config) | config.identity
