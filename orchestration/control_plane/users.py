"""People. Platform admins see and do everything; everybody else what their memberships give them."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg import errors
from pydantic import SecretStr

from orchestration.control_plane.database import Connection, columns, fetch_one, transaction
from orchestration.control_plane.errors import InvalidInput, NotAllowed, UnknownUser

GlobalRole = Literal["platform_admin", "member"]


@dataclass(frozen=True, slots=True)
class User:
    """A row of ``users``. The e-mail address is in lower case."""

    id: str
    email: str
    name: str
    role: GlobalRole
    created_at: datetime


def find_user(connection: Connection, email: str) -> User:
    """The user with this address, if the acting user may see them.

    Raises:
        UnknownUser: there is none.
    """
    user = fetch_one(
        connection, User, f"select {columns(User)} from users where email = %s", (normalised_email(email),)
    )
    if user is None:
        raise UnknownUser(f"There is no user {email}.")
    return user


def ensure_user(connection: Connection, email: str, name: str | None = None) -> str:
    """The id of the user with this address, who is created where a platform admin acts.

    Raises:
        NotAllowed: there is no such user, and the acting user may not create one.
    """
    email = normalised_email(email)
    found = connection.execute("select user_id_of(%s) as id", (email,)).fetchone()
    if found and found["id"]:
        return str(found["id"])
    try:
        connection.execute(
            "insert into users (email, name) values (%s, %s) on conflict (email) do nothing",
            (email, name or email.partition("@")[0]),
        )
    except errors.InsufficientPrivilege:
        raise NotAllowed(f"There is no user {email}, and only a platform admin can create one.") from None
    return find_user(connection, email).id


def ensure_operator(owner_dsn: SecretStr | str, email: str) -> None:
    """Make the installation's operator a platform admin, as the owner, after migrating. Safe to repeat."""
    email = normalised_email(email)
    with transaction(owner_dsn) as connection:
        connection.execute(
            """
            insert into users (email, name, role) values (%s, %s, 'platform_admin')
            on conflict (email) do update set role = excluded.role
            """,
            (email, email.partition("@")[0]),
        )


def normalised_email(email: str) -> str:
    """The address as it is stored: trimmed, in lower case.

    Raises:
        InvalidInput: it is no address.
    """
    email = email.strip().lower()
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise InvalidInput(f"{email!r} is no e-mail address.")
    return email
