"""Who belongs to a workspace, and as what."""

from dataclasses import dataclass
from typing import Literal

from orchestration.control_plane.database import Connection, fetch_all
from orchestration.control_plane.errors import NotAllowed, UnknownUser
from orchestration.control_plane.users import ensure_user, normalised_email

MemberRole = Literal["admin", "analyst", "viewer"]


@dataclass(frozen=True, slots=True)
class Member:
    """A row of ``workspace_members`` with the user's address and name."""

    workspace_id: str
    user_id: str
    email: str
    name: str
    role: MemberRole


def list_members(connection: Connection, workspace_id: str) -> list[Member]:
    """The members of a workspace, by address."""
    return fetch_all(
        connection,
        Member,
        """
        select member.workspace_id, member.user_id, users.email, users.name, member.role
        from workspace_members as member
        join users on users.id = member.user_id
        where member.workspace_id = %s
        order by users.email
        """,
        (workspace_id,),
    )


def set_member(connection: Connection, workspace_id: str, email: str, role: MemberRole) -> None:
    """Give a user this role in the workspace, whether they are a member yet or not.

    Raises:
        NotAllowed: the user does not exist and the acting user may not create one.
    """
    connection.execute(
        """
        insert into workspace_members (workspace_id, user_id, role) values (%s, %s, %s)
        on conflict (workspace_id, user_id) do update set role = excluded.role
        """,
        (workspace_id, ensure_user(connection, email), role),
    )


def administered(connection: Connection) -> set[str]:
    """The ids of the workspaces that the acting user is an admin of."""
    return {row["id"] for row in connection.execute("select my_workspaces('admin')::text as id").fetchall()}


def require_admin(connection: Connection, workspace_id: str) -> None:
    """Make sure that the acting user is an admin of the workspace.

    Raises:
        NotAllowed: they are not.
    """
    if workspace_id not in administered(connection):
        raise NotAllowed("Only an admin of the workspace can do this.")


def remove_member(connection: Connection, workspace_id: str, email: str) -> None:
    """Take a user's membership away.

    Raises:
        UnknownUser: the workspace has no such member.
        NotAllowed: the acting user is no admin of it.
    """
    if normalised_email(email) not in {member.email for member in list_members(connection, workspace_id)}:
        raise UnknownUser(f"The workspace has no member {email}.")
    removed = connection.execute(
        "delete from workspace_members where workspace_id = %s and user_id = user_id_of(%s)",
        (workspace_id, email),
    )
    if not removed.rowcount:
        raise NotAllowed("Only an admin of the workspace can remove members.")
