"""Files that a service keeps: private, and never seen half-written."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)


def make_passable(folder: Path) -> None:
    """Make a folder that other users can pass through but not list.

    As root, PostgreSQL runs as another user and must reach its own files whatever our umask is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)


def write_private(path: Path, text: str) -> None:
    """Replace `path` in one step by a file with mode 0600."""
    # mkstemp makes the file 0600 from the start, so there is no moment in which others can read it.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_or_create(path: Path, model: type[Model], create: Callable[[], Model]) -> Model:
    """Read the model kept in `path`; at the first call make it with `create` and keep it."""
    if path.exists():
        return model.model_validate_json(path.read_text())
    made = create()
    write_private(path, made.model_dump_json(indent=2))
    return made
