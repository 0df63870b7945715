"""After a collection of garbage the objects of a workspace are those that its ledgers name, no more and no fewer."""

from orchestration.control_plane import database, workspaces
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake import layout
from orchestration.settings import Settings
from orchestration.stages.garbage import Collected, collect_garbage
from tests.faults.reader import store_of

_NAMED = """
with kept as (select * from provenance where collected_at is null)
select object_key from release_files where provenance_id in (select id from kept)
union
select object_key from staged_files
union
select object_key from arrival_files where arrival_id in (
    select id from arrivals where status = 'landed'
    union
    select (arrival ->> 'arrival_id')::uuid
    from kept, jsonb_array_elements(etl_steps -> 0 -> 'arrivals') as arrival
)
"""


def nothing_is_left_over(settings: Settings, slug: str) -> Collected:
    """Collect a workspace's garbage, however young, and compare what is stored with what is named."""
    impatient = settings.model_copy(update={"orphan_seconds": -60})
    with database.as_system(settings.system_dsn, None) as connection:
        workspace = workspaces.find_workspace(connection, slug)
    collected = collect_garbage(impatient, slug)
    assert stored(settings, workspace) == named(settings, workspace)
    assert collected.missing == []
    return collected


def stored(settings: Settings, workspace: Workspace) -> set[str]:
    """The keys in the workspace's part of S3, but for its inboxes, which belong to those who drop files."""
    inbox = f"{layout.workspace_prefix(workspace.id)}inbox/"
    return {entry.key for entry in store_of(settings, workspace).list() if not entry.key.startswith(inbox)}


def named(settings: Settings, workspace: Workspace) -> set[str]:
    """The keys that kept releases, the working tree, arrivals and originals name."""
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        keys = {row["object_key"] for row in connection.execute(_NAMED).fetchall()}
        originals = connection.execute("select sha256 from arrivals where status <> 'failed'").fetchall()
        released = connection.execute(
            "select id from analysis_jobs where provenance_id is not null"
        ).fetchall()
    return {
        *keys,
        *(layout.original_key(workspace.id, row["sha256"]) for row in originals),
        *(layout.manifest_key(workspace.id, row["id"]) for row in released),
    }
