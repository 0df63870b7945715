"""The objects of a workspace that some row names: whatever else lies in its part of S3 is left over.

One query per kind of row. Not here: what is done with the rest (``stages.garbage``).
"""

from dataclasses import dataclass

from orchestration.control_plane.database import Connection, fetch_all


@dataclass(frozen=True, slots=True)
class LandedDrop:
    """One version of a dropped file that was taken in; its bytes are kept as an original."""

    object_key: str
    etag: str


@dataclass(frozen=True, slots=True)
class NamedPull:
    """A pull of a connector; the newest one's memory is read by the next pull."""

    connector_id: str
    id: str
    is_newest: bool


@dataclass(frozen=True)
class NamedObjects:
    """What rows name: object keys, or the sha256 of originals. Those in ``inbox`` may go, all others must stay.

    Attributes:
        released: Month files of the kept releases.
        staged: Month files of the working trees that are not forgotten.
        delivered: Raw and quarantine files of what landed, and of what the kept releases were made from.
        originals: Of everything that was ever taken in or pulled.
        unreadable: sha256 of files that could not be taken in; they may or may not be stored.
        analyses: The analyses, each of which has a manifest.
        inbox: Versions of dropped files that were taken in.
        pulls: Of all connectors.
    """

    released: frozenset[str]
    staged: frozenset[str]
    delivered: frozenset[str]
    originals: frozenset[str]
    unreadable: frozenset[str]
    analyses: frozenset[str]
    inbox: frozenset[LandedDrop]
    pulls: frozenset[NamedPull] = frozenset()


def named_objects(
    connection: Connection, workspace_id: str, kept_releases: list[str], forgotten: list[str]
) -> NamedObjects:
    """What the rows of a workspace name, given which releases are kept, and which analyses' trees are forgotten."""

    def column(query: str) -> frozenset[str]:
        asked = {"workspace_id": workspace_id, "kept": kept_releases, "forgotten": forgotten}
        return frozenset(str(row["name"]) for row in connection.execute(query, asked).fetchall())

    return NamedObjects(
        released=column(_RELEASED),
        staged=column(
            """
            select object_key as name from staged_files
            where workspace_id = %(workspace_id)s and analysis_id <> all(%(forgotten)s::uuid[])
            """
        ),
        delivered=column(_DELIVERED),
        originals=column(f"{_SHA256} and status <> 'failed' union {_PULLED}"),
        unreadable=column(f"{_SHA256} and status = 'failed'"),
        analyses=column(
            """
            select distinct id as name from analysis_jobs
            where workspace_id = %(workspace_id)s and provenance_id is not null
            """
        ),
        inbox=frozenset(
            fetch_all(
                connection,
                LandedDrop,
                "select object_key, etag from inbox_files where workspace_id = %s and status = 'landed'",
                (workspace_id,),
            )
        ),
        pulls=frozenset(fetch_all(connection, NamedPull, _PULLS, (workspace_id,))),
    )


_SHA256 = "select distinct sha256 as name from arrivals where workspace_id = %(workspace_id)s"

_PULLED = """
select part ->> 'sha256' from connector_pulls, jsonb_array_elements(parts) as part where workspace_id = %(workspace_id)s
"""

_PULLS = """
select connector_id, id, number = max(number) over (partition by connector_id) as is_newest
from connector_pulls where workspace_id = %s
"""

_RELEASED = """
select distinct object_key as name from release_files
where workspace_id = %(workspace_id)s and provenance_id = any(%(kept)s::uuid[])
"""

_DELIVERED = """
with made_from as (
    select distinct (arrival ->> 'arrival_id')::uuid as arrival_id
    from provenance as release, jsonb_array_elements(release.etl_steps -> 0 -> 'arrivals') as arrival
    where release.workspace_id = %(workspace_id)s and release.id = any(%(kept)s::uuid[])
)
select distinct file.object_key as name
from arrival_files as file
join arrivals as arrival on arrival.workspace_id = file.workspace_id and arrival.id = file.arrival_id
where file.workspace_id = %(workspace_id)s
    and (arrival.status = 'landed' or arrival.id in (select arrival_id from made_from))
"""
