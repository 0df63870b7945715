"""A foreign file at the door: its personal columns are dropped or hashed before anything of it is stored.

By the rules of its mapping, and under the workspace's key, as with what is pulled (``sources.personal``).
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestration.connectors.errors import ConnectorError
from orchestration.connectors.hidden import hide
from orchestration.connectors.mapping import Mapping
from orchestration.control_plane import arrivals, database, workspace_keys
from orchestration.control_plane.sealing import NoSecretKey, SealBroken
from orchestration.settings import Settings
from orchestration.sources.personal import hashed, needs_key
from orchestration.stages.intake import file_sha256


@contextmanager
def without_personal(
    settings: Settings,
    workspace_id: str,
    connector_id: str,
    path: Path,
    mapping: Mapping,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Path]:
    """The file as it may be stored: itself, or, where its mapping has personal columns, what ``hide`` makes of it.

    Raises:
        ConnectorError: it cannot be read, has landed as it is, or there is no key to hash with.
    """
    if not mapping.personal:
        yield path
        return
    _require_new(settings, workspace_id, connector_id, path)
    key = _key(settings, workspace_id) if needs_key({"": mapping.personal}) else None
    with tempfile.TemporaryDirectory(prefix="casetrail-door-") as folder:
        hidden = Path(folder) / "records.parquet"
        hide(path, mapping, lambda values, rule: hashed(values, rule, key), hidden, progress=progress)
        yield hidden


def _require_new(settings: Settings, workspace_id: str, connector_id: str, path: Path) -> None:
    with database.as_system(settings.system_dsn, workspace_id) as connection:
        known = arrivals.find_landed(connection, workspace_id, connector_id, file_sha256(path))
    if known is not None:
        raise ConnectorError(
            f"The file has landed with its personal values, as the arrival {known.id}: what has landed stays as it "
            "was. Retract it first."
        )


def _key(settings: Settings, workspace_id: str) -> bytes:
    try:
        with database.as_system(settings.system_dsn, workspace_id) as connection:
            return workspace_keys.workspace_key(connection, settings.secret_keys, workspace_id)
    except (NoSecretKey, SealBroken) as error:
        raise ConnectorError(str(error)) from None
