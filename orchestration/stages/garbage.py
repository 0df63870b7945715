"""Garbage: which objects of a workspace nobody needs any more, and their removal.

Two sweeps. After each release of the standing analysis ``superseded_objects`` names, from the ledger alone, what only
releases name that are no longer kept: its cost does not grow with the history. Now and then ``collect_garbage`` lists
the whole of a workspace's part of S3 and compares it with everything that rows name; it finds what killed runs and
broken uploads left behind, and forgets what analyses made that failed some time ago.

Both must hold the workspace's lock, else a stage could make an object again that is just being deleted. Uploads come
without it, so that what no row names is left alone until it is old. So do analyses on demand: their files are deleted
while their jobs cannot start.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orchestration.control_plane import (
    analyses,
    database,
    kept_releases,
    named_objects,
    staging,
    workspaces,
)
from orchestration.control_plane.database import Connection
from orchestration.control_plane.kept_releases import ReleaseAge
from orchestration.control_plane.named_objects import LandedDrop, NamedObjects
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import StoredObject, WorkspaceStore
from orchestration.settings import Settings


@dataclass(frozen=True)
class KeepPolicy:
    """How long things stay.

    Attributes:
        superseded: A release that was superseded is kept so long.
        newest: So many releases of an analysis are kept in any case, the current one included.
        orphan: An object that no row names is left alone for so long: an upload may be about to name it. What a failed
            analysis on demand has made is kept for as long, for a retry of its run.
        dropped: A dropped file stays in the inbox for so long, though it was taken in.
    """

    superseded: timedelta
    newest: int
    orphan: timedelta
    dropped: timedelta


def keep_policy(settings: Settings) -> KeepPolicy:
    """The installation's. The grace for readers holds even where no superseded release is to be kept."""
    grace = timedelta(seconds=settings.release_grace_seconds)
    return KeepPolicy(
        superseded=max(grace, timedelta(days=settings.keep_release_days)),
        newest=settings.keep_releases,
        orphan=timedelta(seconds=settings.orphan_seconds),
        dropped=grace,
    )


def expired_releases(ages: Iterable[ReleaseAge], policy: KeepPolicy, now: datetime) -> list[str]:
    """The ids of the releases (of any analyses, newest first) that need not be kept any more."""
    seen: dict[str, int] = {}
    expired = []
    for age in ages:
        seen[age.analysis_id] = seen.get(age.analysis_id, 0) + 1
        superseded = age.superseded_at is not None and age.superseded_at + policy.superseded <= now
        if superseded and seen[age.analysis_id] > policy.newest:
            expired.append(age.id)
    return expired


def superseded_objects(
    connection: Connection, workspace_id: str, policy: KeepPolicy, now: datetime
) -> list[str]:
    """Give up the releases that are no longer kept; the objects to delete once the transaction is committed."""
    expired = expired_releases(kept_releases.release_ages(connection, workspace_id), policy, now)
    return kept_releases.give_up(connection, workspace_id, expired) if expired else []


@dataclass(frozen=True)
class Garbage:
    """What a listing shows beside the ledgers.

    Attributes:
        orphans: Objects that nothing names any more, old enough to go.
        landed: Dropped files that were taken in, old enough to go.
        young: Objects that nothing names, or not yet.
        missing: Keys that must be there and are not.
    """

    orphans: Sequence[StoredObject]
    landed: Sequence[StoredObject]
    young: Sequence[StoredObject]
    missing: Sequence[str]


def find_garbage(
    workspace_id: str,
    listed: Collection[StoredObject],
    named: NamedObjects,
    policy: KeepPolicy,
    now: datetime,
) -> Garbage:
    """Compare a listing with what rows name. The listing must be the older of the two."""
    required = {
        *named.released,
        *named.staged,
        *named.delivered,
        *(layout.original_key(workspace_id, sha256) for sha256 in named.originals),
        *(layout.pull_manifest_key(workspace_id, pull.connector_id, pull.id) for pull in named.pulls),
        *(
            layout.pull_recent_key(workspace_id, pull.connector_id, pull.id)
            for pull in named.pulls
            if pull.is_newest
        ),
    }
    # These may be absent: a run died between its release and the manifest, which the next one writes.
    kept = required | {
        *(layout.original_key(workspace_id, sha256) for sha256 in named.unreadable),
        *(layout.manifest_key(workspace_id, analysis_id) for analysis_id in named.analyses),
    }
    inbox = f"{layout.workspace_prefix(workspace_id)}inbox/"
    orphans: list[StoredObject] = []
    landed: list[StoredObject] = []
    young: list[StoredObject] = []
    for entry in listed:
        age = now - entry.modified
        if entry.key.startswith(inbox):
            if LandedDrop(entry.key, entry.etag) in named.inbox and age > policy.dropped:
                landed.append(entry)
        elif entry.key not in kept:
            (orphans if age > policy.orphan else young).append(entry)
    missing = sorted(required - {entry.key for entry in listed})
    return Garbage(orphans, landed, young, missing)


@dataclass(frozen=True)
class Collected:
    """What was removed from a workspace, or would be. ``missing`` must be empty: those files are lost."""

    workspace: str
    listed: int
    releases: int
    failed_analyses: int
    objects: int
    bytes: int
    dropped_files: int
    young: int
    missing: Sequence[str]


def collect_garbage(
    settings: Settings, slug: str, *, dry_run: bool = False, wait_seconds: float | None = None
) -> Collected:
    """Remove from a workspace's part of S3 what nothing needs; a dry run only tells.

    Args:
        settings: The installation's.
        slug: The workspace, by slug or id.
        dry_run: Change nothing.
        wait_seconds: How long to wait for a run of the workspace to end; None: without end.

    Raises:
        WorkspaceBusy: a run did not end in time.
        UnknownWorkspace: there is none with this name.
    """
    with database.as_system(settings.system_dsn, None) as connection:
        workspace = workspaces.find_workspace(connection, slug)
    store = WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))
    with database.workspace_lock(settings.system_dsn, workspace.id, wait_seconds):
        policy, now = keep_policy(settings), datetime.now(UTC)
        # Before the ledger is read: what is stored and named in between is then not even seen.
        listed = list(store.list())
        with database.as_system(settings.system_dsn, workspace.id) as connection:
            ages = kept_releases.release_ages(connection, workspace.id)
            expired = expired_releases(ages, policy, now)
            if expired and not dry_run:
                kept_releases.give_up(connection, workspace.id, expired)
            kept = [age.id for age in ages if age.id not in set(expired)]
            failed = analyses.failed_with_files(connection, workspace.id, now - policy.orphan)
            if failed and not dry_run:
                staging.forget_analyses(connection, workspace.id, failed)
            named = named_objects.named_objects(connection, workspace.id, kept, failed)
        found = find_garbage(workspace.id, listed, named, policy, now)
        if not dry_run:
            _remove(settings, store, workspace.id, found)
    return Collected(
        workspace=workspace.slug,
        listed=len(listed),
        releases=len(expired),
        failed_analyses=len(failed),
        objects=len(found.orphans) + len(found.landed),
        bytes=sum(entry.bytes for entry in (*found.orphans, *found.landed)),
        dropped_files=len(found.landed),
        young=len(found.young),
        missing=found.missing,
    )


def _remove(settings: Settings, store: WorkspaceStore, workspace_id: str, found: Garbage) -> None:
    """Files that stages make are safe under the locks; others are deleted only as they were listed."""
    made = {o.key: owner for o in found.orphans if (owner := layout.analysis_of(o.key))}
    with database.as_system(settings.system_dsn, workspace_id) as connection:
        busy = analyses.under_way(connection, workspace_id, set(made.values()))
        store.delete(key for key, owner in made.items() if owner not in busy)
    for entry in (*found.landed, *(o for o in found.orphans if o.key not in made)):
        store.delete_unchanged(entry)
