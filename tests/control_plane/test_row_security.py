"""Who may do what: every actor tries every kind of statement, and every weakened policy must be noticed.

Two workspaces hold the same rows. A cell of the matrix is one statement by one actor; its outcome is the
number of rows seen or changed, or ``denied``. Statements without WHERE show what the policies alone let
through. Everything happens in one transaction of the superuser, who takes the actors' roles and undoes each
statement; foreign keys are off in it, so that only privileges and policies speak.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Connection = psycopg.Connection[Any]

A, B = UUID(int=0xA), UUID(int=0xB)
USERS = {
    name: UUID(int=number)
    for number, name in enumerate(("platform", "admin", "analyst", "viewer", "outsider", "stranger"), start=1)
}
ROLES_IN_A = ("admin", "analyst", "viewer")
LEVELS = ("viewer", "analyst", "admin")


@dataclass(frozen=True)
class Actor:
    """A database role with an identity, and the workspaces that each right reaches."""

    role: str
    user_id: UUID | None = None
    workspace: str = ""
    reach: dict[str, str] = field(default_factory=dict)


def person(name: str, workspace: str, level: str) -> Actor:
    held = LEVELS[: LEVELS.index(level) + 1]
    return Actor("app", USERS[name], reach=dict.fromkeys(held, workspace))


ACTORS = {
    "platform": Actor("app", USERS["platform"], reach=dict.fromkeys((*LEVELS, "platform"), "AB")),
    "admin": person("admin", "A", "admin"),
    "analyst": person("analyst", "A", "analyst"),
    "viewer": person("viewer", "A", "viewer"),
    "outsider": person("outsider", "B", "admin"),
    "stranger": Actor("app", USERS["stranger"]),
    "ghost": Actor("app", UUID(int=0xDEAD)),
    "anonymous": Actor("app"),
    # The pipeline's setting means nothing to the app role, nor a user's identity to the pipeline.
    "anonymous in A": Actor("app", workspace=str(A)),
    "system A": Actor("system", USERS["platform"], str(A), {"read": "A", "write": "A"}),
    "system B": Actor("system", None, str(B), {"read": "B", "write": "B"}),
    "planner": Actor("system", None, "*", {"read": "AB"}),
    "system nowhere": Actor("system", USERS["platform"]),
    "owner": Actor("owner"),
    "owner in A": Actor("owner", None, str(A)),
}

Outcomes = dict[str, str]


@dataclass(frozen=True)
class Statement:
    """``app`` and ``system`` name the right that a statement needs; None: the role lacks the privilege."""

    table: str
    sql: str
    app: str | None
    system: str | None = None
    rows: int = 1
    exceptions: Outcomes = field(default_factory=dict)

    @property
    def name(self) -> str:
        return re.sub(r"\s+", " ", self.sql).strip()[:90]

    def expected(self, name: str) -> str:
        """The outcome for the actor."""
        if name in self.exceptions:
            return self.exceptions[name]
        actor = ACTORS[name]
        inserts = self.sql.startswith("insert")
        if actor.role == "owner":
            return "denied" if inserts else "0"
        right = self.app if actor.role == "app" else self.system
        if right is None:
            return "denied"
        reached = actor.reach.get(right, "")
        if inserts:
            return "1" if "A" in reached else "denied"
        return str(len(reached) * self.rows)


def statements() -> list[Statement]:
    every = [*tenancy(), *arriving(), *analysing(), *notifying(), *identifying()]
    assert len({statement.sql for statement in every}) == len(every)
    return every


def tenancy() -> list[Statement]:
    self_only = {name: "1" for name in USERS} | {"ghost": "0", "anonymous": "0", "anonymous in A": "0"}
    users_seen = self_only | dict.fromkeys(ROLES_IN_A, "3") | {"platform": "6"}
    return [
        Statement(
            "users", "select from users", "viewer", exceptions=users_seen | {"owner": "6", "owner in A": "6"}
        ),
        Statement("users", "insert into users (email, name) values ('new@x.test', 'n')", "platform"),
        Statement(
            "users",
            "insert into users (email, name, role) values ('new@x.test', 'n', 'platform_admin')",
            None,
            exceptions={"owner": "1", "owner in A": "1"},
        ),
        Statement(
            "users",
            "update users set name = 'x'",
            "viewer",
            # The owner's policy lets only platform admins result, and there are others.
            exceptions=self_only | {"platform": "6", "owner": "denied", "owner in A": "denied"},
        ),
        Statement(
            "users",
            "update users set role = 'platform_admin'",
            None,
            exceptions={"owner": "6", "owner in A": "6"},
        ),
        Statement("users", "delete from users", None),
        Statement("workspaces", "select from workspaces", "viewer", "read"),
        *(
            Statement(
                "workspaces",
                "insert into workspaces (slug, name, owner_user_id, region, plan)"
                f" values ('new', 'n', '{USERS['stranger']}', 'EU', 'free') {returning}",
                "platform",
            )
            for returning in ("", "returning id")
        ),
        Statement("workspaces", "update workspaces set name = 'x'", "admin"),
        *(
            Statement("workspaces", f"update workspaces set {change}", None)
            for change in (
                "region = 'UK'",
                "plan = 'free'",
                "slug = 'x1'",
                f"owner_user_id = '{USERS['admin']}'",
            )
        ),
        Statement("workspaces", "delete from workspaces", None),
        *planning(),
        Statement(
            "workspace_members",
            "select from workspace_members",
            "viewer",
            exceptions={"platform": "4"} | dict.fromkeys(ROLES_IN_A, "3"),
        ),
        Statement(
            "workspace_members",
            f"insert into workspace_members values ('{A}', '{USERS['stranger']}', 'viewer')",
            "admin",
        ),
        Statement(
            "workspace_members",
            "update workspace_members set role = 'admin'",
            "admin",
            exceptions={"platform": "4", "admin": "3"},
        ),
        Statement("workspace_members", f"update workspace_members set workspace_id = '{B}'", None),
        Statement(
            "workspace_members",
            "delete from workspace_members",
            "admin",
            exceptions={"platform": "4", "admin": "3"},
        ),
    ]


def planning() -> list[Statement]:
    # The triggers that raise the marks run as the owner. A run reads its workspace's mark, only the planner writes.
    owner = {"owner": "2", "owner in A": "2"}
    new = f"values ('{USERS['stranger']}')"
    return [
        Statement("planner_marks", "select from planner_marks", "viewer", "read", exceptions=owner),
        Statement(
            "planner_marks",
            f"insert into planner_marks (workspace_id) {new}",
            None,
            exceptions={"owner": "1", "owner in A": "1"},
        ),
        Statement("planner_marks", "update planner_marks set changed = 0", None, exceptions=owner),
        Statement(
            "planner_marks",
            "update planner_marks set planned = 0",
            None,
            exceptions=owner
            | {"planner": "2"}
            | dict.fromkeys(("system A", "system B", "system nowhere"), "0"),
        ),
        Statement("planner_marks", "delete from planner_marks", None),
    ]


def arriving() -> list[Statement]:
    # An admin changes both connectors of a workspace, an analyst the csv_upload one.
    both = {"platform": "4", "admin": "2", "outsider": "2"}
    arrival = (
        "insert into arrivals"
        " (workspace_id, connector_id, sha256, file_name, format, bytes, status, rank, created_by)"
        f" values ('{A}', '{A}', repeat('b', 64), 'f', 'csv', 1, 'failed', 9, {{by}})"
    )
    change = (
        "insert into arrival_changes (workspace_id, arrival_id, kind, reason, before, changed_by)"
        f" values ('{A}', '{A}', 'retracted', 'r', '{{{{}}}}', {{by}})"
    )
    me = "nullif(current_setting('casetrail.user_id', true), '')::uuid"
    return [
        Statement("connectors", "select from connectors", "viewer", "read", rows=2),
        Statement(
            "connectors",
            f"insert into connectors (workspace_id, type, name) values ('{A}', 'csv_upload', 'n')",
            "analyst",
        ),
        Statement(
            "connectors",
            f"insert into connectors (workspace_id, type, name) values ('{A}', 'salesforce', 'n')",
            "admin",
        ),
        Statement(
            "connectors",
            "update connectors set status = 'disabled'",
            "analyst",
            "write",
            exceptions=both | {"system A": "2", "system B": "2"},
        ),
        Statement(
            "connectors",
            "update connectors set config = '{}'",
            "analyst",
            "write",
            exceptions=both | {"system A": "2", "system B": "2"},
        ),
        Statement(
            "connectors",
            "update connectors set message = 'm'",
            "analyst",
            "write",
            exceptions=both | {"system A": "2", "system B": "2"},
        ),
        # Written by admins, opened by the pipeline; the others see which are set.
        Statement("connector_secrets", "select from connector_secrets", "viewer", "write"),
        Statement("connector_secrets", "select set_at from connector_secrets", "viewer", "write"),
        Statement("connector_secrets", "select sealed from connector_secrets", None, "write"),
        Statement(
            "connector_secrets",
            f"insert into connector_secrets (workspace_id, connector_id, name, sealed) values ('{A}', '{A}', 'n', 's')",
            "admin",
        ),
        Statement("connector_secrets", "update connector_secrets set sealed = ''", None, "write"),
        Statement("connector_secrets", "update connector_secrets set name = 'other'", None),
        Statement("connector_secrets", "delete from connector_secrets", "admin"),
        Statement(
            "connectors",
            "update connectors set next_sync_at = now()",
            None,
            "write",
            exceptions={"system A": "2", "system B": "2"},
        ),
        Statement("connector_pulls", "select from connector_pulls", "viewer", "read"),
        Statement(
            "connector_pulls",
            "insert into connector_pulls (workspace_id, id, connector_id, number, started_at, state, schemas,"
            " schema_changes, parts, records, landed, non_event, duplicate, quarantined) values"
            f" ('{A}', '{B}', '{A}', 2, now(), '{{}}', '{{}}', '[]', '[]', 4, 1, 1, 1, 1)",
            None,
            "write",
        ),
        Statement("connector_pulls", "update connector_pulls set state = '{}'", None),
        Statement("connector_pulls", "delete from connector_pulls", None),
        Statement("connectors", f"update connectors set workspace_id = '{B}'", None),
        Statement("connectors", "delete from connectors", "admin", rows=2),
        Statement("arrivals", "select from arrivals", "viewer", "read"),
        Statement(
            "arrivals",
            arrival.format(by=me),
            "analyst",
            "write",
        ),
        Statement(
            "arrivals",
            arrival.format(by=f"'{USERS['stranger']}'"),
            "nobody",
            "write",
        ),
        Statement("arrivals", "update arrivals set status = 'retracted'", "analyst", "write"),
        Statement("arrivals", "update arrivals set landing_rules = '1/2000-01'", "analyst", "write"),
        Statement("arrivals", "update arrivals set rank = 7", None),
        Statement("arrivals", f"update arrivals set replaces = '{A}'", None),
        Statement("arrivals", "delete from arrivals", None),
        Statement("arrival_files", "select from arrival_files", "viewer", "read"),
        Statement(
            "arrival_files",
            f"insert into arrival_files values ('{A}', '{A}', 'raw', '2024-01', 'n', 1, 1, repeat('a', 64))",
            "analyst",
            "write",
        ),
        Statement("arrival_files", "update arrival_files set rows = 0", None),
        Statement("arrival_files", "delete from arrival_files", None),
        Statement("arrival_changes", "select from arrival_changes", "viewer", "read"),
        Statement("arrival_changes", change.format(by=me), "analyst", "write"),
        Statement("arrival_changes", change.format(by=f"'{USERS['stranger']}'"), "nobody", "write"),
        Statement("arrival_changes", "update arrival_changes set reason = ''", None),
        Statement("arrival_changes", "delete from arrival_changes", None),
        Statement("inbox_files", "select from inbox_files", "viewer", "read"),
        Statement(
            "inbox_files",
            "insert into inbox_files (workspace_id, connector_id, object_key, etag, bytes)"
            f" values ('{A}', '{A}', 'new', 'e', 1)",
            None,
            "write",
        ),
        Statement("inbox_files", "update inbox_files set status = 'landed'", None, "write"),
        Statement("inbox_files", "delete from inbox_files", None),
    ]


def analysing() -> list[Statement]:
    file = "repeat('a', 64), 'f', '[]', 'v'"
    me = "nullif(current_setting('casetrail.user_id', true), '')::uuid"
    return [
        Statement("analysis_jobs", "select from analysis_jobs", "viewer", "read", rows=2),
        Statement(
            "analysis_jobs",
            f"insert into analysis_jobs (workspace_id, kind) values ('{A}', 'on_demand')",
            "analyst",
            "write",
        ),
        *(
            Statement(
                "analysis_jobs",
                f"insert into analysis_jobs (workspace_id, kind, created_by) values ('{A}', 'on_demand', {who})",
                right,
                "write",
            )
            for who, right in ((me, "analyst"), (f"'{USERS['stranger']}'", None))
        ),
        Statement("analysis_cancellations", "select from analysis_cancellations", "viewer", "read"),
        *(
            Statement(
                "analysis_cancellations",
                "insert into analysis_cancellations (workspace_id, analysis_id, requested_by)"
                f" values ('{A}', md5('{A}')::uuid, {who})",
                right,
            )
            for who, right in ((me, "analyst"), (f"'{USERS['stranger']}'", None))
        ),
        Statement("analysis_cancellations", "update analysis_cancellations set requested_at = now()", None),
        Statement("analysis_cancellations", "delete from analysis_cancellations", None),
        # Only the standing one of the two.
        Statement("analysis_jobs", "update analysis_jobs set parameters = '{}'", "analyst"),
        Statement(
            "analysis_jobs",
            "update analysis_jobs set refresh_asked_at = now()",
            "analyst",
            "write",
            exceptions={"system A": "2", "system B": "2"},
        ),
        Statement("analysis_jobs", "update analysis_jobs set status = 'running'", None, "write", rows=2),
        Statement("analysis_jobs", "update analysis_jobs set provenance_id = null", None, "write", rows=2),
        Statement("analysis_jobs", "delete from analysis_jobs", None),
        Statement("staged_files", "select from staged_files", "viewer", "read"),
        Statement(
            "staged_files",
            "insert into staged_files (workspace_id, analysis_id, dataset, month, object_key, rows, bytes,"
            " content_sha256, fingerprint, inputs, code_version)"
            f" values ('{A}', '{A}', 'd', 'all', 'k', 1, 1, {file})",
            None,
            "write",
        ),
        Statement("staged_files", "update staged_files set rows = 0", None, "write"),
        Statement("staged_files", "delete from staged_files", None, "write"),
        Statement("provenance", "select from provenance", "viewer", "read"),
        Statement(
            "provenance",
            "insert into provenance (workspace_id, analysis_id, etl_steps, schemas, mining_config,"
            " explainability_config, as_of, content_sha256)"
            f" values ('{A}', '{A}', '[]', '{{}}', '{{}}', '{{}}', now(), repeat('a', 64))",
            None,
            "write",
        ),
        Statement("provenance", "update provenance set etl_steps = '[]'", None),
        Statement("provenance", "update provenance set superseded_at = now()", None, "write"),
        Statement("provenance", "delete from provenance", None),
        Statement("release_files", "select from release_files", "viewer", "read"),
        Statement(
            "release_files",
            "insert into release_files (workspace_id, provenance_id, staged_at, dataset, month, object_key,"
            " rows, bytes, content_sha256, fingerprint, inputs, code_version)"
            f" values ('{A}', '{A}', now(), 'd', 'all', 'k', 1, 1, {file})",
            None,
            "write",
        ),
        Statement("release_files", "update release_files set rows = 0", None),
        Statement("release_files", "delete from release_files", None),
        Statement("explainability", "select from explainability", "viewer", "read"),
        Statement(
            "explainability",
            "insert into explainability"
            " (workspace_id, analysis_id, provenance_id, scope, target, features, summary)"
            f" values ('{A}', '{A}', '{A}', 'global', 't', '{{}}', 's')",
            None,
            "write",
        ),
        Statement("explainability", "update explainability set summary = ''", None),
        Statement("explainability", "delete from explainability", None),
    ]


def notifying() -> list[Statement]:
    channel = (
        "insert into notification_channels (workspace_id, name, kind, target, events, created_by)"
        f" values ('{A}', 'n', 'email', 'n@x.test', '{{{{failure}}}}', {{by}})"
    )
    me = "nullif(current_setting('casetrail.user_id', true), '')::uuid"
    told = (
        "insert into notifications (workspace_id, channel_id, event, subject, since, payload)"
        f" values ('{A}', '{B}', '{{event}}', 's', now(), '{{{{}}}}')"
    )
    return [
        Statement("notification_channels", "select from notification_channels", "viewer", "read"),
        Statement("notification_channels", channel.format(by=me), "admin"),
        Statement("notification_channels", channel.format(by=f"'{USERS['stranger']}'"), "nobody"),
        Statement("notification_channels", "update notification_channels set enabled = false", "admin"),
        Statement("notification_channels", "update notification_channels set target = 'x'", None),
        Statement("notification_channels", "delete from notification_channels", "admin"),
        # Written by admins, read by the pipeline: nobody does both.
        Statement("notification_secrets", "select from notification_secrets", None, "write"),
        Statement(
            "notification_secrets",
            f"insert into notification_secrets values ('{A}', '{B}', 'sealed')",
            "admin",
        ),
        Statement("notification_secrets", "update notification_secrets set sealed = ''", None, "write"),
        Statement("notification_secrets", f"update notification_secrets set channel_id = '{A}'", None),
        Statement("notification_secrets", "delete from notification_secrets", None),
        # The pipeline's alone.
        Statement("workspace_keys", "select from workspace_keys", None, "write"),
        Statement(
            "workspace_keys",
            f"insert into workspace_keys (workspace_id, sealed) values ('{A}', 's') on conflict do nothing",
            None,
            "write",
            exceptions={"system A": "0"},
        ),
        Statement("workspace_keys", "update workspace_keys set sealed = ''", None, "write"),
        Statement("workspace_keys", f"update workspace_keys set workspace_id = '{B}'", None),
        Statement("workspace_keys", "delete from workspace_keys", None),
        Statement("notifications", "select from notifications", "viewer", "read"),
        Statement("notifications", told.format(event="failure"), "nobody", "write"),
        Statement("notifications", told.format(event="test"), "admin", "write"),
        Statement("notifications", "update notifications set attempts = 1", None, "write"),
        Statement("notifications", "update notifications set payload = '{}'", None),
        Statement("notifications", "delete from notifications", None),
    ]


def identifying() -> list[Statement]:
    said = (
        "insert into manual_links"
        " (workspace_id, left_system, left_id, right_system, right_id, verdict, reason, created_by)"
        f" values ('{A}', 'a', '1', 'b', '2', 'deny', 'r', {{by}})"
    )
    me = "nullif(current_setting('casetrail.user_id', true), '')::uuid"
    return [
        # Two ids in each workspace, one of them an alias.
        Statement("case_ids", "select from case_ids", "viewer", "read", rows=2, exceptions={"planner": "0"}),
        Statement(
            "case_ids",
            "insert into case_ids (workspace_id, global_case_id, system, native_case_id)"
            f" values ('{A}', uuidv7(), 's', 'new')",
            None,
            "write",
        ),
        Statement(
            "case_ids",
            f"update case_ids set merged_into = '{UUID(int=9)}', evidence = '[]', merged_at = now()",
            None,
            "write",
        ),
        Statement("case_ids", "update case_ids set first_seen = 0", None),
        Statement("case_ids", "delete from case_ids", None),
        Statement("case_members", "select from case_members", "viewer", "read", exceptions={"planner": "0"}),
        Statement(
            "case_members", f"insert into case_members values ('{A}', 's', 'new', '{A}')", None, "write"
        ),
        Statement("case_members", f"update case_members set global_case_id = '{A}'", None, "write"),
        Statement("case_members", "update case_members set system = 'x'", None),
        Statement("case_members", "delete from case_members", None),
        Statement("manual_links", "select from manual_links", "viewer", "read"),
        Statement("manual_links", said.format(by=me), "analyst"),
        Statement("manual_links", said.format(by=f"'{USERS['stranger']}'"), "nobody"),
        Statement("manual_links", "update manual_links set verdict = 'allow'", None),
        Statement("manual_links", "delete from manual_links", None),
        Statement(
            "refused_joins", "select from refused_joins", "viewer", "read", exceptions={"planner": "0"}
        ),
        Statement(
            "refused_joins",
            "insert into refused_joins (workspace_id, reason, tier, persons, records, examples)"
            f" values ('{A}', 'denied', 'weak', 2, 2, '[]')",
            None,
            "write",
        ),
        Statement("refused_joins", "update refused_joins set persons = 1", None),
        Statement("refused_joins", "delete from refused_joins", None, "write"),
    ]


ATTEMPT = """
create function attempt(statement text) returns text language plpgsql as $$
declare touched bigint;
begin
    execute statement;
    get diagnostics touched = row_count;
    raise exception using errcode = 'ZZ001', message = touched::text;
exception
    when sqlstate 'ZZ001' then return sqlerrm;
    when insufficient_privilege then return 'denied';
    when others then return sqlstate || ' ' || sqlerrm;
end
$$
"""


@pytest.fixture(scope="module")
def world(superuser: Connection) -> Iterator[Connection]:
    """Two workspaces with a row in each table (two connectors, jobs and case ids), never committed."""
    superuser.execute("set local session_replication_role = replica")
    superuser.execute(ATTEMPT)
    superuser.execute("delete from users")
    for name, user_id in USERS.items():
        role = "platform_admin" if name == "platform" else "member"
        superuser.execute(
            "insert into users (id, email, name, role) values (%s, %s, %s, %s)",
            (user_id, f"{name}@x.test", name, role),
        )
    for workspace_id, slug in ((A, "aa"), (B, "bb")):
        fill(superuser, workspace_id, slug)
    for name in ROLES_IN_A:
        superuser.execute("insert into workspace_members values (%s, %s, %s)", (A, USERS[name], name))
    superuser.execute("insert into workspace_members values (%s, %s, 'admin')", (B, USERS["outsider"]))
    yield superuser
    superuser.rollback()


def fill(connection: Connection, workspace_id: UUID, slug: str) -> None:
    hashes = {"id": workspace_id, "slug": slug, "owner": USERS["stranger"]}
    for statement in (
        "workspaces (id, slug, name, owner_user_id, region, plan)"
        " values (%(id)s, %(slug)s, 'n', %(owner)s, 'EU', 'pro')",
        "planner_marks (workspace_id) values (%(id)s)",
        "connectors (workspace_id, id, type, name) values (%(id)s, %(id)s, 'csv_upload', 'default')",
        "connectors (workspace_id, type, name) values (%(id)s, 'salesforce', 'crm')",
        "connector_pulls (workspace_id, id, connector_id, number, started_at, state, schemas, schema_changes, parts,"
        " records, landed, non_event, duplicate, quarantined) values"
        " (%(id)s, %(id)s, %(id)s, 1, now(), '{}', '{}', '[]', '[]', 4, 1, 1, 1, 1)",
        "connector_secrets (workspace_id, connector_id, name, sealed) values (%(id)s, %(id)s, 'password', 's')",
        "arrivals (workspace_id, id, connector_id, sha256, file_name, format, bytes, status, rank, records,"
        " landed, non_event, quarantined) values"
        " (%(id)s, %(id)s, %(id)s, repeat('a', 64), 'f', 'csv', 1, 'landed', 1, 3, 1, 1, 1)",
        "arrival_files values (%(id)s, %(id)s, 'raw', '2024-01', 'k', 1, 1, repeat('a', 64))",
        "arrival_changes (workspace_id, arrival_id, kind, reason, before)"
        " values (%(id)s, %(id)s, 'retracted', 'r', '{}')",
        "inbox_files (workspace_id, connector_id, object_key, etag, bytes)"
        " values (%(id)s, %(id)s, 'k', 'e', 1)",
        "analysis_jobs (workspace_id, id, kind) values (%(id)s, %(id)s, 'standing')",
        "analysis_jobs (workspace_id, id, kind) values (%(id)s, md5(%(id)s::text)::uuid, 'on_demand')",
        "analysis_cancellations (workspace_id, analysis_id) values (%(id)s, %(id)s)",
        "staged_files (workspace_id, analysis_id, dataset, month, object_key, rows, bytes, content_sha256,"
        " fingerprint, code_version)"
        " values (%(id)s, %(id)s, 'd', '2024-01', 'k', 1, 1, repeat('a', 64), 'f', 'v')",
        "provenance (workspace_id, id, analysis_id, etl_steps, schemas, mining_config, explainability_config,"
        " as_of, content_sha256)"
        " values (%(id)s, %(id)s, %(id)s, '[]', '{}', '{}', '{}', now(), repeat('a', 64))",
        "release_files (workspace_id, provenance_id, dataset, month, object_key, rows, bytes, content_sha256,"
        " fingerprint, code_version, staged_at)"
        " values (%(id)s, %(id)s, 'd', '2024-01', 'k', 1, 1, repeat('a', 64), 'f', 'v', now())",
        "explainability (workspace_id, analysis_id, provenance_id, scope, target, features, summary)"
        " values (%(id)s, %(id)s, %(id)s, 'global', 't', '{}', 's')",
        "notification_channels (workspace_id, id, name, kind, target, events)"
        " values (%(id)s, %(id)s, 'mail', 'email', 'm@x.test', '{failure}')",
        "notification_secrets values (%(id)s, %(id)s, 'sealed')",
        "workspace_keys values (%(id)s, 'sealed')",
        "notifications (workspace_id, channel_id, event, subject, since, payload)"
        " values (%(id)s, %(id)s, 'failure', 's', now(), '{}')",
        "case_ids (workspace_id, global_case_id, system, native_case_id) values (%(id)s, %(id)s, 's', 'a')",
        "case_ids (workspace_id, global_case_id, system, native_case_id, merged_into, evidence, merged_at)"
        " values (%(id)s, md5(%(id)s::text)::uuid, 's', 'b', %(id)s, '[]', now())",
        "case_members values (%(id)s, 's', 'a', %(id)s)",
        "manual_links (workspace_id, left_system, left_id, right_system, right_id, verdict, reason, created_by)"
        " values (%(id)s, 's', 'a', 's', 'b', 'allow', 'r', %(owner)s)",
        "refused_joins (workspace_id, reason, tier, persons, records, examples)"
        " values (%(id)s, 'denied', 'weak', 2, 2, '[]')",
    ):
        connection.execute(f"insert into {statement}", hashes)


def become(connection: Connection, actor: Actor) -> None:
    connection.execute(
        "select set_config('casetrail.user_id', %s, true), set_config('casetrail.workspace_id', %s, true),"
        " set_config('role', %s, true)",
        (str(actor.user_id or ""), actor.workspace, f"casetrail_{actor.role}"),
    )


def wrong_cells(connection: Connection, tried: list[Statement], role: str | None = None) -> Iterator[str]:
    """Each cell whose outcome is not the expected one, for the actors of one role or of all."""
    for name, actor in ACTORS.items():
        if role not in (None, actor.role):
            continue
        become(connection, actor)
        row = connection.execute(
            "select array_agg(attempt(statement) order by place)"
            " from unnest(%s::text[]) with ordinality as tried (statement, place)",
            ([statement.sql for statement in tried],),
        ).fetchone()
        connection.execute("reset role")
        assert row is not None
        for statement, outcome in zip(tried, row[0], strict=True):
            if outcome != statement.expected(name):
                yield f"{name}: {statement.name}: {outcome}, not {statement.expected(name)}"


def test_everyone_can_do_what_their_role_says_and_nothing_else(world: Connection) -> None:
    assert list(wrong_cells(world, statements())) == []


@pytest.mark.parametrize("verb", ["select", "insert", "update", "delete"])
def test_no_table_is_forgotten_by_the_matrix(world: Connection, verb: str) -> None:
    tried = {statement.table for statement in statements() if statement.sql.startswith(verb)}
    tables = world.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    assert {name for (name,) in tables} - tried == {"schema_migrations"}


def mutants(connection: Connection) -> Iterator[tuple[str, str | None, str | None, str]]:
    """Ways to weaken or break the policies: (name, table or None, role or None, SQL that does it)."""
    policies = connection.execute(
        "select tablename, policyname, roles[1], qual, with_check from pg_policies order by 1, 2"
    ).fetchall()
    for table, policy, role, using, check in policies:
        for clause, text in (("using", using), ("with check", check)):
            for change, changed in expression_mutants(text):
                sql = f"alter policy {policy} on {table} {clause} ({changed})"
                name = f"{table}.{policy} {clause}: {change}"
                if role == "casetrail_owner":
                    # The functions run as the owner: what it sees decides for everybody.
                    yield name, None, None, sql
                else:
                    yield name, table, role.removeprefix("casetrail_"), sql
    for (table,) in connection.execute("select distinct tablename from pg_policies").fetchall():
        yield f"{table} without row security", table, None, f"alter table {table} disable row level security"
        yield f"{table} not forced", table, "owner", f"alter table {table} no force row level security"
    yield from function_mutants(connection)
    for role in ("app", "system", "owner"):
        yield f"{role} bypasses", None, role, f"alter role casetrail_{role} bypassrls"


def expression_mutants(text: str | None) -> Iterator[tuple[str, str]]:
    if text is None:
        return
    for constant in ("true", "false"):
        if text != constant:
            yield constant, constant
    for level in LEVELS:
        for other in LEVELS:
            if f"my_workspaces('{level}'::text)" in text and other != level:
                changed = text.replace(f"my_workspaces('{level}'::text)", f"my_workspaces('{other}'::text)")
                yield f"{level} -> {other}", changed
    atoms = (
        *("( SELECT is_platform_admin() AS is_platform_admin)", "( SELECT system_plans() AS system_plans)"),
        *("(type = 'csv_upload'::text)", "(kind = 'standing'::text)", "(role = 'platform_admin'::text)"),
        *("(event = 'test'::text)", "(merged_into IS NULL)"),
        *(
            f"({column} = ( SELECT current_user_id() AS current_user_id))"
            for column in ("id", "user_id", "created_by")
        ),
        *(
            f"({column} = ( SELECT system_workspace() AS system_workspace))"
            for column in ("id", "workspace_id")
        ),
    )
    for atom in atoms:
        for constant in ("true", "false"):
            if atom in text and text != atom:
                yield f"{atom} -> {constant}", text.replace(atom, constant)


def function_mutants(connection: Connection) -> Iterator[tuple[str, None, None, str]]:
    changes = {
        "is_platform_admin()": [
            ("users.role = 'platform_admin'::text", "true"),
            ("users.id = current_user_id()", "true"),
        ],
        "my_workspaces(text)": [
            # Its other two conditions are repeated by the owner's own policies, which are mutated above.
            (">=", "<="),
            (">=", ">"),
            ("WHERE is_platform_admin()", "WHERE false"),
        ],
        "current_user_id()": [("'casetrail.user_id'::text", "'casetrail.workspace_id'::text")],
        "system_workspace()": [("'casetrail.workspace_id'::text", "'casetrail.user_id'::text")],
        "system_plans()": [("= '*'::text", "<> '*'::text"), ("'*'::text", "''::text")],
    }
    for function, replacements in changes.items():
        row = connection.execute("select pg_get_functiondef(%s::regprocedure)", (function,)).fetchone()
        assert row is not None
        for old, new in replacements:
            changed = re.sub(re.escape(old).replace(r"\ ", r"\s+"), lambda _, new=new: new, row[0])
            assert changed != row[0], f"{old} is not in {row[0]}"
            yield f"{function}: {old} -> {new}", None, None, changed
    yield "my_workspaces as invoker", None, None, "alter function my_workspaces security invoker"


def test_every_weakened_policy_is_noticed(world: Connection) -> None:
    every = statements()
    survivors, tried = [], 0
    for name, table, role, sql in list(mutants(world)):
        with world.transaction(force_rollback=True):
            world.execute(sql)
            touched = [statement for statement in every if table in (None, statement.table)]
            tried += 1
            if next(wrong_cells(world, touched, role), None) is None:
                survivors.append(name)
    assert survivors == [], "\n".join(survivors)
    # So that the list cannot become empty by accident.
    assert tried > 150


UPDATABLE = {
    ("app", "users"): {"name"},
    ("app", "workspaces"): {"name"},
    ("app", "workspace_members"): {"role"},
    ("app", "connectors"): {"name", "status", "config", "last_sync_at", "message"},
    ("app", "arrivals"): {"status", "message", "landing_rules", "review_at"},
    ("app", "analysis_jobs"): {"parameters", "refresh_asked_at"},
    ("app", "notification_channels"): {"enabled"},
    ("system", "connectors"): {"status", "config", "last_sync_at", "message", "next_sync_at"},
    ("system", "arrivals"): {"status", "message", "landing_rules", "review_at"},
    ("system", "inbox_files"): {"status", "message", "arrival_id"},
    ("system", "case_ids"): {"merged_into", "evidence", "merged_at"},
    ("system", "case_members"): {"global_case_id"},
    ("system", "connector_secrets"): {"sealed"},
    ("system", "notification_secrets"): {"sealed"},
    ("system", "workspace_keys"): {"sealed"},
    ("system", "planner_marks"): {
        *("planned", "code_version", "looked_at", "look_at", "plan_subject", "attempts", "not_before"),
        *("stale_since", "requested"),
    },
    ("system", "provenance"): {"superseded_at", "collected_at"},
    ("system", "analysis_jobs"): {
        *("status", "started_at", "finished_at", "error_message", "provenance_id", "attempt"),
        "refresh_asked_at",
    },
    ("system", "notifications"): {
        *("status", "attempts", "next_attempt_at", "last_error", "sent_at", "ended_at"),
    },
}
DECIDED_BY_THE_DATABASE = {
    ("app", "users"): {"id", "role", "created_at"},
    ("app", "workspaces"): {"id", "created_at"},
    ("app", "connectors"): {"id", "status", "last_sync_at", "created_at", "message", "next_sync_at"},
    ("app", "connector_secrets"): {"set_at"},
    ("system", "connector_pulls"): {"committed_at"},
    ("system", "workspace_keys"): {"made_at"},
    ("app", "arrivals"): {"created_at"},
    ("system", "arrivals"): {"created_at"},
    ("app", "arrival_changes"): {"id", "changed_at"},
    ("system", "arrival_changes"): {"id", "changed_at"},
    ("system", "inbox_files"): {"status", "message", "arrival_id", "seen_at"},
    ("app", "notification_channels"): {"enabled", "created_at"},
    ("app", "analysis_cancellations"): {"requested_at"},
    ("app", "manual_links"): {"id", "created_at"},
    ("system", "case_ids"): {"minted_at", "merged_into", "evidence", "merged_at"},
    ("system", "refused_joins"): {"id", "found_at"},
    **{
        (role, "notifications"): {
            "id",
            *("status", "attempts", "next_attempt_at", "last_error", "created_at", "sent_at", "ended_at"),
        }
        for role in ("app", "system")
    },
    **{
        (role, "analysis_jobs"): {
            *(
                "id",
                "status",
                "created_at",
                "started_at",
                "finished_at",
                "error_message",
                "provenance_id",
                "attempt",
                "refresh_asked_at",
            ),
        }
        for role in ("app", "system")
    },
}


def column_privileges(connection: Connection, privilege: str) -> dict[tuple[str, str], set[str]]:
    rows = connection.execute(
        """
        select role, attrelid::regclass::text, array_agg(attname::text)
        from pg_attribute
        join pg_class on pg_class.oid = attrelid and relkind = 'r' and relnamespace = 'public'::regnamespace
        cross join unnest(array['app', 'system']) as role
        where attnum > 0 and has_column_privilege('casetrail_' || role, attrelid, attnum, %s)
        group by 1, 2
        """,
        (privilege,),
    ).fetchall()
    return {(role, table): set(names) for role, table, names in rows}


def test_columns_that_are_not_granted_cannot_be_changed(world: Connection) -> None:
    updatable = column_privileges(world, "update")
    # The working tree is the pipeline's own.
    updatable.pop(("system", "staged_files"))
    assert updatable == UPDATABLE


def test_columns_that_are_not_granted_cannot_be_filled(world: Connection) -> None:
    readable, insertable = column_privileges(world, "select"), column_privileges(world, "insert")
    # What a role writes and cannot read at all is withheld from it anyway.
    visible = {key: readable.get(key, set()) - names for key, names in insertable.items()}
    withheld = {key: names for key, names in visible.items() if names}
    assert withheld == DECIDED_BY_THE_DATABASE


def test_every_table_has_forced_row_security(world: Connection) -> None:
    bare = world.execute(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
        " and not (relrowsecurity and relforcerowsecurity)"
    ).fetchall()
    assert bare == [("schema_migrations",)]
    assert ("app", "schema_migrations") not in column_privileges(world, "select")


def test_no_role_can_get_around_row_security(world: Connection) -> None:
    strong = world.execute(
        "select rolname from pg_roles"
        " where rolname like 'casetrail%' and (rolsuper or rolbypassrls or rolcreaterole)"
    ).fetchall()
    assert strong == []
    member_of_another = world.execute(
        "select member::regrole::text from pg_auth_members where member::regrole::text like 'casetrail%'"
    ).fetchall()
    assert member_of_another == []


def test_keys_and_references_carry_the_workspace(world: Connection) -> None:
    constraints = world.execute(
        """
        select conrelid::regclass::text, contype, conname, confrelid::regclass::text,
            array(
                select attname::text from unnest(conkey) with ordinality as key (number, place)
                join pg_attribute on attrelid = conrelid and attnum = number order by place
            )
        from pg_constraint
        where contype in ('p', 'u', 'f') and connamespace = 'public'::regnamespace
        """
    ).fetchall()
    shared = ("users", "workspaces", "schema_migrations")
    loose = [
        name
        for table, kind, name, target, names in constraints
        if table not in shared and names[0] != "workspace_id" and not (kind == "f" and target == "users")
    ]
    assert loose == []


def test_a_row_cannot_point_into_another_workspace(world: Connection) -> None:
    with world.transaction(force_rollback=True):
        world.execute("set local session_replication_role = origin")
        become(world, ACTORS["system A"])
        with pytest.raises(psycopg.errors.ForeignKeyViolation), world.transaction():
            world.execute(
                "insert into arrivals"
                " (workspace_id, connector_id, sha256, file_name, format, bytes, status, rank)"
                " values (%s, %s, repeat('c', 64), 'f', 'csv', 1, 'failed', 8)",
                (A, B),
            )


memberships = st.dictionaries(
    st.tuples(st.sampled_from(("admin", "analyst", "viewer", "stranger")), st.sampled_from("AB")),
    st.sampled_from(LEVELS),
)


@given(held=memberships)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_memberships_a_person_reaches_exactly_their_workspaces(
    world: Connection, held: dict[tuple[str, str], str]
) -> None:
    with world.transaction(force_rollback=True):
        world.execute("delete from workspace_members")
        for (name, workspace), level in held.items():
            world.execute(
                "insert into workspace_members values (%s, %s, %s)", (named(workspace), USERS[name], level)
            )
        for name in ("admin", "analyst", "viewer", "stranger"):
            become(world, Actor("app", USERS[name]))
            reached = reaches(held, name)
            assert seen(world, "select workspace_id from arrivals") == reached("viewer")
            assert seen(world, "update arrivals set status = 'landed' returning workspace_id") == reached(
                "analyst"
            )
            assert seen(world, "update workspaces set name = 'x' returning id") == reached("admin")
            world.execute("reset role")


def named(workspace: str) -> UUID:
    return {"A": A, "B": B}[workspace]


def reaches(held: dict[tuple[str, str], str], name: str) -> Callable[[str], set[UUID]]:
    return lambda needed: {
        named(workspace)
        for (member, workspace), level in held.items()
        if member == name and LEVELS.index(level) >= LEVELS.index(needed)
    }


def seen(connection: Connection, sql: str) -> set[UUID]:
    return {row[0] for row in connection.execute(sql).fetchall()}
