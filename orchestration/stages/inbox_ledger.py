"""Which files lie in the inboxes: what a message or a listing tells of is entered into the ledger, once a version.

Not here: what becomes of them (``inbox``). It imports little, since the feed is a small process.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from threading import Lock

from botocore.exceptions import BotoCoreError, ClientError

from orchestration.control_plane import database, inbox
from orchestration.control_plane.inbox import InboxOwner
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import StoredObject, WorkspaceStore
from orchestration.settings import Settings

_RENEW_BEFORE = timedelta(minutes=10)
_MOST_KEPT = 20

logger = logging.getLogger("casetrail.feed")


class InboxLedger:
    """Enters dropped files. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        """Sends nothing yet."""
        self._settings = settings
        self._broker = CredentialBroker(settings)
        # The latest used comes last.
        self._stores: dict[str, WorkspaceStore] = {}
        self._making = Lock()

    def note(self, bucket: str, key: str) -> bool:
        """Enter the object if it is a file in an inbox; False for any other, and for one that is gone again.

        The store is asked what lies there: a message proves nothing.
        """
        owner = layout.inbox_owner(key)
        if owner is None:
            return False
        workspace_id, connector_id = owner
        with database.as_system(self._settings.system_dsn, None) as connection:
            owners = inbox.inbox_owners(connection, connector_id)
        for known in owners:
            if known.workspace_id == workspace_id and self._settings.s3_buckets.get(known.region) == bucket:
                entry = self._store(known).find(key)
                return entry is not None and self._enter(known, [entry])
        return False

    def sweep(self) -> None:
        """List every inbox and enter what is there; one that cannot be listed keeps no other from it."""
        with database.as_system(self._settings.system_dsn, None) as connection:
            owners = inbox.inbox_owners(connection)
        for owner in owners:
            prefix = layout.inbox_prefix(owner.workspace_id, owner.connector_id)
            try:
                self._enter(owner, self._store(owner).list(prefix))
            except (BotoCoreError, ClientError) as error:
                logger.warning("the inbox %s was not listed: %s", prefix, error)

    def _enter(self, owner: InboxOwner, entries: Iterable[StoredObject]) -> bool:
        found = [entry for entry in entries if entry.bytes]
        if found:
            with database.as_system(self._settings.system_dsn, owner.workspace_id) as connection:
                for e in found:
                    if inbox.record_seen(
                        connection, owner.workspace_id, owner.connector_id, e.key, e.etag, e.bytes
                    ):
                        logger.info("dropped: %s, %d bytes", e.key, e.bytes)
        return bool(found)

    def _store(self, owner: InboxOwner) -> WorkspaceStore:
        """The workspace's objects, to be read; credentials of the latest few are kept until they near their end."""
        # boto3 makes its clients one at a time.
        with self._making:
            store = self._stores.pop(owner.workspace_id, None)
            if store is None or store.credentials.expires_at < datetime.now(UTC) + _RENEW_BEFORE:
                scoped = self._broker.for_workspace(owner.workspace_id, owner.region, read_only=True)
                store = WorkspaceStore(scoped)
            self._stores[owner.workspace_id] = store
            while len(self._stores) > _MOST_KEPT:
                del self._stores[next(iter(self._stores))]
            return store
