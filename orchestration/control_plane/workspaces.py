"""Workspaces: one per tenant, each in one region."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg import errors

from orchestration.control_plane.database import Connection, columns, fetch_all, fetch_one
from orchestration.control_plane.errors import ControlPlaneError, InvalidInput
from orchestration.control_plane.jobs import ensure_standing_job
from orchestration.control_plane.members import set_member
from orchestration.control_plane.users import ensure_user

Region = Literal["EU", "UK", "US"]
Plan = Literal["free", "pro", "business", "enterprise"]

_SHOWN = 20
"""So many workspaces does an error message list."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A row of ``workspaces``. The slug names it in commands and Dagster partitions, and never changes."""

    id: str
    slug: str
    name: str
    owner_user_id: str
    region: Region
    plan: Plan
    created_at: datetime


class UnknownWorkspace(ControlPlaneError):
    """The acting user sees no workspace with this slug or id."""


class SlugTaken(ControlPlaneError):
    """Another workspace has this slug."""


def create_workspace(
    connection: Connection, name: str, region: Region, plan: Plan, owner_email: str, slug: str | None = None
) -> Workspace:
    """Make a workspace, its owner (if there is no such user) as its admin, and its standing analysis.

    The caller adds the Dagster partition afterwards; the workspaces in PostgreSQL are the truth.

    Args:
        connection: of a platform admin.
        name: what people call it.
        region: where its data is kept, for good.
        plan: what it pays for.
        owner_email: its first admin.
        slug: made from the name if not given.

    Raises:
        InvalidInput: name or slug are unusable.
        SlugTaken: the slug is in use.
    """
    name = name.strip()
    if not name:
        raise InvalidInput("A workspace needs a name.")
    slug = slug_from(name) if slug is None else checked_slug(slug)
    owner_id = ensure_user(connection, owner_email)
    try:
        workspace = fetch_one(
            connection,
            Workspace,
            f"""
            insert into workspaces (slug, name, owner_user_id, region, plan) values (%s, %s, %s, %s, %s)
            returning {columns(Workspace)}
            """,
            (slug, name, owner_id, region, plan),
        )
    except errors.UniqueViolation:
        raise SlugTaken(f"A workspace {slug} exists already: choose another with --slug.") from None
    assert workspace is not None
    set_member(connection, workspace.id, owner_email, "admin")
    ensure_standing_job(connection, workspace.id)
    return workspace


def list_workspaces(connection: Connection) -> list[Workspace]:
    """The workspaces in sight, by slug."""
    return fetch_all(connection, Workspace, f"select {columns(Workspace)} from workspaces order by slug")


def find_workspace(connection: Connection, slug_or_id: str) -> Workspace:
    """The workspace with this slug or id.

    Raises:
        UnknownWorkspace: none in sight has it; the message lists those that are.
    """
    column = "id" if _is_uuid(slug_or_id) else "slug"
    found = fetch_one(
        connection,
        Workspace,
        f"select {columns(Workspace)} from workspaces where {column} = %s",
        (slug_or_id,),
    )
    if found is None:
        raise UnknownWorkspace(f"There is no workspace {slug_or_id}. {_what_there_is(connection)}")
    return found


def slug_from(name: str) -> str:
    """A slug made of a name: ``Müller & Söhne GmbH`` gives ``muller-sohne-gmbh``.

    Raises:
        InvalidInput: nothing usable is left of it.
    """
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:41].rstrip("-")
    try:
        return checked_slug(slug)
    except InvalidInput:
        raise InvalidInput(f"No slug can be made of the name {name!r}: give one with --slug.") from None


def checked_slug(slug: str) -> str:
    """The slug itself.

    Raises:
        InvalidInput: it has not the form of one.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,40}", slug):
        raise InvalidInput(f"{slug!r} is no slug: use 2 to 41 of a-z, 0-9 and -, not starting with -.")
    return slug


def _is_uuid(text: str) -> bool:
    # No slug is one: 36 characters would fit, so the form is asked for, not the length.
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _what_there_is(connection: Connection) -> str:
    slugs = [workspace.slug for workspace in list_workspaces(connection)]
    if not slugs:
        return "You can see none yet: `casetrail workspace create NAME --owner EMAIL` makes one."
    more = f" and {len(slugs) - _SHOWN} more" if len(slugs) > _SHOWN else ""
    return f"You can see: {', '.join(slugs[:_SHOWN])}{more}."
