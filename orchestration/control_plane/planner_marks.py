"""``planner_marks``: which workspaces need a look, and how the plan of each is doing.

The counters ``changed`` and ``ledger`` are raised by triggers; the rest is the planner's own. Not here: what a plan is
(``automation.planner``) and when it is tried again (``automation.attempts``).
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from orchestration.control_plane.database import Connection, fetch_all, fetch_one
from orchestration.control_plane.errors import ControlPlaneError


@dataclass(frozen=True, slots=True)
class PlannerMark:
    """A row of ``planner_marks`` with the workspace's slug. ``plan_subject`` is None at rest.

    ``not_before`` is None while an attempt at the plan is under way, else the time of the next one.
    """

    workspace_id: str
    slug: str
    changed: int
    ledger: int
    planned: int
    code_version: str | None
    looked_at: datetime | None
    look_at: datetime | None
    plan_subject: str | None
    attempts: int
    not_before: datetime | None
    stale_since: datetime | None
    requested: int


@dataclass(frozen=True, slots=True)
class Staleness:
    """How the workspaces of the installation are; ``longest`` names those that are stale for longest."""

    workspaces: int
    stale: int
    oldest: datetime | None
    longest: list[str]


class UnknownMark(ControlPlaneError):
    """The workspace is not in sight."""


_SELECT = """
select workspace_id, slug, changed, ledger, planned, code_version, looked_at, look_at, plan_subject, attempts,
       not_before, stale_since, requested
from planner_marks
join workspaces on workspaces.id = workspace_id
"""


def due_marks(
    connection: Connection,
    *,
    code_version: str,
    now: datetime,
    busy: Collection[str] = (),
    waiting_too: bool = False,
    most: int | None = None,
) -> list[PlannerMark]:
    """The marks of the workspaces that need a look, those first that waited longest for one.

    Args:
        connection: of the planner, who sees all workspaces.
        code_version: of the stages; a workspace that was looked at with another one needs a look.
        now: UTC.
        busy: slugs that are left out: a run is under way there.
        waiting_too: also those whose next attempt is not due yet.
        most: so many at most; None means all.
    """
    return fetch_all(
        connection,
        PlannerMark,
        f"""
        {_SELECT}
        where slug <> all(%(busy)s) and (
            changed > planned
            or code_version is distinct from %(code_version)s
            or look_at <= %(now)s
            or (plan_subject is not null and (%(waiting_too)s or not_before is null or not_before <= %(now)s))
        )
        order by looked_at nulls first, slug
        limit %(most)s
        """,
        {
            "busy": list(busy),
            "code_version": code_version,
            "now": now,
            "waiting_too": waiting_too,
            "most": most,
        },
    )


def find_mark(connection: Connection, workspace_id: str) -> PlannerMark:
    """The mark of one workspace.

    Raises:
        UnknownMark: it is not in sight.
    """
    found = fetch_one(connection, PlannerMark, f"{_SELECT} where workspace_id = %s", (workspace_id,))
    if found is None:
        raise UnknownMark(f"There is no workspace {workspace_id} that you can see.")
    return found


def staleness(connection: Connection) -> Staleness:
    """How many of the workspaces in sight are stale, since when, and up to three that are so for longest."""
    found = fetch_one(
        connection,
        Staleness,
        """
        select count(*) as workspaces, count(stale_since) as stale, min(stale_since) as oldest,
               coalesce(
                   (array_agg(slug order by stale_since) filter (where stale_since is not null))[:3], '{}'
               ) as longest
        from planner_marks join workspaces on workspaces.id = workspace_id
        """,
    )
    assert found is not None
    return found


def record(connection: Connection, marks: Iterable[PlannerMark]) -> None:
    """Write the planner's own columns of these marks; for ``database.as_planner``."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            update planner_marks set
                planned = %(planned)s, code_version = %(code_version)s, looked_at = %(looked_at)s,
                look_at = %(look_at)s, plan_subject = %(plan_subject)s, attempts = %(attempts)s,
                not_before = %(not_before)s, stale_since = %(stale_since)s, requested = %(requested)s
            where workspace_id = %(workspace_id)s
            """,
            [asdict(mark) for mark in marks],
        )
