import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from orchestration.services.postgres import APP, DAGSTER, OWNER, SYSTEM, Postgres
from orchestration.settings import Settings


def ask(dsn: SecretStr, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn.get_secret_value()) as connection:
        return connection.execute(query.encode()).fetchall()


def test_each_role_logs_in_to_its_database(installation: Settings) -> None:
    who = "select current_user::text, current_database()::text"
    assert ask(installation.owner_dsn, who) == [(OWNER, "casetrail")]
    assert ask(installation.app_dsn, who) == [(APP, "casetrail")]
    assert ask(installation.system_dsn, who) == [(SYSTEM, "casetrail")]
    assert ask(installation.dagster_dsn, who) == [(DAGSTER, "dagster")]


def test_no_role_stands_above_row_level_security(installation: Settings) -> None:
    query = """
        select rolname::text from pg_roles
        where rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication
    """
    assert ask(installation.owner_dsn, query) == [("postgres",)]
    members = """
        select count(*) from pg_auth_members join pg_roles on pg_roles.oid = member
        where rolname ~ '^(casetrail|dagster)'
    """
    assert ask(installation.owner_dsn, members) == [(0,)]


def test_the_control_plane_is_durable_and_dagster_is_quick(installation: Settings) -> None:
    query = "select current_setting('synchronous_commit')"
    assert ask(installation.owner_dsn, query) == [("on",)]
    assert ask(installation.dagster_dsn, query) == [("off",)]


def test_only_dagster_s_long_random_password_is_hashed_quickly(installation: Settings) -> None:
    admin = Postgres(installation.home).admin_dsn()
    query = """
        select rolname::text, split_part(split_part(rolpassword, '$', 2), ':', 1)
        from pg_authid where rolcanlogin
    """
    assert dict(ask(admin, query)) == {  # type: ignore[arg-type]
        "postgres": "4096",
        OWNER: "4096",
        APP: "4096",
        SYSTEM: "4096",
        DAGSTER: "1",
    }


@pytest.mark.parametrize(
    ("field", "database"), [("app_dsn", "dagster"), ("owner_dsn", "dagster"), ("dagster_dsn", "casetrail")]
)
def test_databases_are_closed_to_each_other_s_roles(
    installation: Settings, field: str, database: str
) -> None:
    dsn = getattr(installation, field).get_secret_value()
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(make_conninfo(dsn, dbname=database))


def test_a_password_is_needed_even_on_the_loopback(installation: Settings) -> None:
    dsn = installation.app_dsn.get_secret_value()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(make_conninfo(dsn, password="guess"))
    parts = conninfo_to_dict(dsn)
    del parts["password"]
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(make_conninfo("", **parts))


def test_the_server_listens_on_the_loopback_only(installation: Settings) -> None:
    assert ask(installation.owner_dsn, "select current_setting('listen_addresses')") == [("127.0.0.1",)]
    process = Postgres(installation.home).process()
    assert process is not None
    listening = {c.laddr.ip for c in process.net_connections() if c.status == "LISTEN"}
    assert listening == {"127.0.0.1"}


def test_empty_database_has_no_tables_and_belongs_to_the_owner(empty_database: Settings) -> None:
    assert ask(empty_database.owner_dsn, "select count(*) from pg_tables where schemaname = 'public'") == [
        (0,)
    ]
    with psycopg.connect(empty_database.owner_dsn.get_secret_value()) as connection:
        connection.execute("create table t (a int)")
    assert ask(empty_database.app_dsn, "select count(*) from pg_tables where tablename = 't'") == [(1,)]
