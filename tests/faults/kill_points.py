"""Named moments of a refresh at which its process can end itself, as a power cut would end it."""

import itertools
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from orchestration.control_plane import releases, staging
from orchestration.lake.objects import WorkspaceStore

POINTS: dict[str, tuple[Any, str, str]] = {
    "before a file is put": (WorkspaceStore, "put_file", "before"),
    "after a file is put": (WorkspaceStore, "put_file", "after"),
    "after files are staged, before the commit": (staging, "stage", "after"),
    "in the release, before its rows": (releases, "publish", "before"),
    "in the release, before the commit": (releases, "publish", "after"),
    "after the release, before the manifest": (WorkspaceStore, "put_bytes", "before"),
    "after the manifest, before the sweep": (WorkspaceStore, "put_bytes", "after"),
    "in the sweep": (WorkspaceStore, "delete", "before"),
}
"""Moment -> the function around whose call it lies."""


@dataclass(frozen=True)
class KillPoint:
    """The ``nth`` passage (from 1) of a named moment."""

    name: str
    nth: int = 1


def arm(point: KillPoint) -> None:
    """Make this process end itself there."""
    owner, name, when = POINTS[point.name]
    original, passages = getattr(owner, name), itertools.count(1)

    def armed(*arguments: Any, **named: Any) -> Any:
        is_it = next(passages) == point.nth
        if is_it and when == "before":
            die()
        result = original(*arguments, **named)
        if is_it and when == "after":
            die()
        return result

    setattr(owner, name, armed)


def die() -> None:
    """End this process without a chance to clean up, from whichever thread."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # The signal may need a moment to end the other threads and this one.
