"""Making and finding workspaces, users and members."""

from typing import Any

import pytest

from orchestration.control_plane import database, jobs, members, users, workspaces
from orchestration.control_plane.database import Connection
from orchestration.control_plane.errors import InvalidInput, NotAllowed, UnknownUser
from orchestration.control_plane.workspaces import SlugTaken, UnknownWorkspace, Workspace
from orchestration.settings import Settings


def test_a_new_workspace_has_its_owner_as_admin_and_a_standing_analysis(operator: Connection) -> None:
    made = workspaces.create_workspace(operator, "Müller & Söhne GmbH", "EU", "pro", "Eva@Mueller.test")
    assert made.slug == "muller-sohne-gmbh"
    assert (made.region, made.plan) == ("EU", "pro")
    assert (
        workspaces.find_workspace(operator, made.slug) == workspaces.find_workspace(operator, made.id) == made
    )
    [owner] = members.list_members(operator, made.id)
    assert (owner.user_id, owner.email, owner.role) == (made.owner_user_id, "eva@mueller.test", "admin")
    job = jobs.standing_job(operator, made.id)
    assert (job.kind, job.status, job.attempt, job.provenance_id) == ("standing", "queued", 0, None)
    assert jobs.ensure_standing_job(operator, made.id).id == job.id


def test_one_person_can_own_several(operator: Connection) -> None:
    first = workspaces.create_workspace(operator, "First", "EU", "free", "eva@x.test")
    second = workspaces.create_workspace(operator, "Second", "US", "free", " EVA@x.test", slug="two")
    assert second.slug == "two"
    assert first.owner_user_id == second.owner_user_id


def test_a_slug_is_given_once(operator: Connection, acme: Workspace) -> None:
    with pytest.raises(SlugTaken, match=r"acme exists already.*--slug"):
        workspaces.create_workspace(operator, "ACME", "EU", "free", "other@x.test")


def test_only_a_platform_admin_makes_workspaces(control_plane: Settings, acme: Workspace) -> None:
    with (
        pytest.raises(NotAllowed),
        database.as_user(control_plane.app_dsn, "ann@acme.test") as connection,
    ):
        workspaces.create_workspace(connection, "Mine", "EU", "enterprise", "ann@acme.test")


def test_an_unknown_workspace_error_lists_what_is_in_sight(
    control_plane: Settings, acme: Workspace, rival: Workspace
) -> None:
    with database.as_user(control_plane.app_dsn, "ann@acme.test") as connection:
        for unseen in ("rival", rival.id, "nothing"):
            with pytest.raises(UnknownWorkspace, match=rf"no workspace {unseen}\. You can see: acme"):
                workspaces.find_workspace(connection, unseen)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Acme", "acme"),
        ("  A  B  ", "a-b"),
        ("Zürich — Nord/Süd", "zurich-nord-sud"),
        ("x" * 60, "x" * 41),
        ("a" * 40 + " b", "a" * 40),
    ],
)
def test_slugs_are_made_of_names(name: str, slug: str) -> None:
    assert workspaces.slug_from(name) == slug


@pytest.mark.parametrize("name", ["", "東京", "!", "a"])
def test_a_name_without_usable_letters_needs_a_slug(name: str) -> None:
    with pytest.raises(InvalidInput, match="--slug"):
        workspaces.slug_from(name)


@pytest.mark.parametrize("slug", ["", "a", "-a", "A1", "a_b", "a b", "a" * 42, "a|b", "a\n", "ä1"])
def test_malformed_slugs_are_refused(operator: Connection, slug: str) -> None:
    with pytest.raises(InvalidInput, match="is no slug"):
        workspaces.create_workspace(operator, "Name", "EU", "free", "eva@x.test", slug=slug)


@pytest.mark.parametrize("email", ["", "nobody", "a b@x.test", "a@", "@x.test", "a@b@c"])
def test_malformed_addresses_are_refused(operator: Connection, email: str) -> None:
    with pytest.raises(InvalidInput, match="is no e-mail address"):
        workspaces.create_workspace(operator, "Name", "EU", "free", email)


def test_an_admin_gives_changes_and_takes_roles(
    control_plane: Settings, acme: Workspace, rival: Workspace
) -> None:
    def roles(connection: Connection) -> dict[str, Any]:
        return {member.email: member.role for member in members.list_members(connection, acme.id)}

    with database.as_user(control_plane.app_dsn, "ann@acme.test") as connection:
        # Rob exists, though Ann cannot see him.
        members.set_member(connection, acme.id, "Rob@rival.test", "viewer")
        assert roles(connection) == {"ann@acme.test": "admin", "rob@rival.test": "viewer"}
        members.set_member(connection, acme.id, "rob@rival.test", "analyst")
        assert roles(connection) == {"ann@acme.test": "admin", "rob@rival.test": "analyst"}
        members.remove_member(connection, acme.id, "ROB@rival.test")
        assert roles(connection) == {"ann@acme.test": "admin"}
        with pytest.raises(UnknownUser, match=r"no member rob@rival\.test"):
            members.remove_member(connection, acme.id, "rob@rival.test")


def test_an_admin_cannot_create_users(control_plane: Settings, acme: Workspace) -> None:
    with (
        pytest.raises(NotAllowed, match=r"no user new@acme\.test, and only a platform admin"),
        database.as_user(control_plane.app_dsn, "ann@acme.test") as connection,
    ):
        members.set_member(connection, acme.id, "new@acme.test", "viewer")


def test_a_viewer_cannot_remove_members(
    control_plane: Settings, operator: Connection, acme: Workspace
) -> None:
    members.set_member(operator, acme.id, "vic@acme.test", "viewer")
    operator.commit()
    with (
        pytest.raises(NotAllowed, match="Only an admin"),
        database.as_user(control_plane.app_dsn, "vic@acme.test") as connection,
    ):
        members.remove_member(connection, acme.id, "ann@acme.test")


def test_the_operator_is_a_platform_admin_however_often_installed(control_plane: Settings) -> None:
    users.ensure_operator(control_plane.owner_dsn, control_plane.operator.upper())
    with database.as_user(control_plane.app_dsn, control_plane.operator) as connection:
        assert users.find_user(connection, control_plane.operator).role == "platform_admin"


def test_a_member_can_become_the_operator(control_plane: Settings, operator: Connection) -> None:
    before = users.ensure_user(operator, "next@x.test", "Next")
    operator.commit()
    users.ensure_operator(control_plane.owner_dsn, "next@x.test")
    with database.as_user(control_plane.app_dsn, "next@x.test") as connection:
        after = users.find_user(connection, "next@x.test")
    assert (after.id, after.name, after.role) == (before, "Next", "platform_admin")
