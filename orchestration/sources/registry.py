"""The connector types that there are: the modules of ``orchestration.sources.types``, each named as its type."""

import importlib
import pkgutil
from typing import cast

from orchestration.control_plane.errors import InvalidInput
from orchestration.sources import types
from orchestration.sources.protocol import SourceType


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
