"""Letting a sync die at a point of its landing: an exception that nothing catches, or a process that is killed."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestration.control_plane import arrivals, pulls
from orchestration.lake.objects import WorkspaceStore

POINTS = ("original", "raw", "recent", "manifest", "arrival", "pull")
"""Objects that are stored, and rows of the transaction that enters them, in their order."""

_OBJECTS = {
    "original": "/originals/",
    "raw": "/raw/",
    "recent": "recent.parquet",
    "manifest": "manifest.json",
}
_ROWS: dict[str, tuple[Any, str]] = {
    "arrival": (arrivals, "register_landed"),
    "pull": (pulls, "enter_pull"),
}


class Killed(BaseException):
    """The process is gone: nothing of ours catches it."""


def _raise() -> None:
    raise Killed


def die_at(patch: pytest.MonkeyPatch, point: str, after: int, die: Callable[[], None] = _raise) -> None:
    """Let the process die when it has passed a point so many times."""
    passed = 0

    def dying(original: Callable[..., Any], matches: Callable[..., bool]) -> Callable[..., Any]:
        def replacement(*arguments: Any, **named: Any) -> Any:
            nonlocal passed
            result = original(*arguments, **named)
            if matches(*arguments):
                passed += 1
                if passed > after:
                    die()
            return result

        return replacement

    if point in _ROWS:
        module, name = _ROWS[point]
        patch.setattr(module, name, dying(getattr(module, name), lambda *_: True))
        return
    for name in ("put_file", "put_bytes"):
        original = getattr(WorkspaceStore, name)
        patch.setattr(WorkspaceStore, name, dying(original, lambda _self, key, *_: _OBJECTS[point] in key))
