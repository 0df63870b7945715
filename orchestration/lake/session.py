"""DuckDB sessions that reach one workspace's objects and nothing else.

``prepare`` gives a connection its S3 key and its limits, ``lock`` then takes every other way out from it. The
lock is the second layer: the first is the credentials, which S3 itself checks. It does not make a session fit
for a tenant's own SQL (``CREATE SECRET`` stays possible); that is what ``query`` is for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from orchestration.lake.credentials import ScopedCredentials

_SECRET = """
create or replace temporary secret workspace (
    type s3, provider config, scope $scope, key_id $key_id, secret $secret, session_token $session_token,
    endpoint $endpoint, use_ssl $use_ssl, url_style 'path', region $region
)
"""


class ExtensionMissing(RuntimeError):
    """The S3 extension's wheel is not installed, or is not that of this DuckDB version."""


@contextmanager
def open_session(
    credentials: ScopedCredentials, *, threads: int, memory_limit: str, temp_directory: Path
) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory session, prepared and locked; closed at the end. It still takes views and variables.

    ``temp_directory`` takes what does not fit into ``memory_limit`` (such as ``"2GB"``); files that lie in it
    can be read and written.
    """
    with duckdb.connect() as connection:
        prepare(
            connection, credentials, threads=threads, memory_limit=memory_limit, temp_directory=temp_directory
        )
        lock(connection, credentials)
        yield connection


def prepare(
    connection: duckdb.DuckDBPyConnection,
    credentials: ScopedCredentials,
    *,
    threads: int,
    memory_limit: str,
    temp_directory: Path,
) -> None:
    """Load S3 support, hand over the workspace's key, and set UTC, limits and how results become Arrow.

    Arrow results keep UUIDs as UUIDs (``arrow_lossless_conversion``), which ``content.write_parquet`` relies
    on.

    Raises:
        ExtensionMissing: the httpfs wheel is absent or of another version.
    """
    settings: dict[str, str | int | bool] = {
        # Nothing is ever fetched from the network: the extension comes from its wheel, by path.
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
        "threads": threads,
        "memory_limit": memory_limit,
        "temp_directory": str(temp_directory),
        "TimeZone": "UTC",
        "arrow_lossless_conversion": True,
        # Files are written with an explicit ORDER BY; keeping the order of insertion as well only costs
        # memory.
        "preserve_insertion_order": False,
    }
    for name, value in settings.items():
        _set(connection, name, value)
    # After two seconds DuckDB would draw a bar on stdout, where a process that runs a query writes its answer.
    connection.execute("set enable_progress_bar = false")
    connection.load_extension(str(httpfs_extension()))
    _hand_over(connection, credentials)


def lock(connection: duckdb.DuckDBPyConnection, credentials: ScopedCredentials) -> None:
    """Confine the connection to the workspace's prefix and its own temporary directory, for good."""
    # The temporary directory counts as allowed without being named.
    connection.execute(f"set allowed_directories = [{text(credentials.root)}]")
    _set(connection, "enable_external_access", False)
    _set(connection, "lock_configuration", True)


def httpfs_extension() -> Path:
    """The S3 extension's file in the installed wheel, that of the running DuckDB's version.

    Raises:
        ExtensionMissing: with what to install.
    """
    wheel = find_spec("duckdb_extension_httpfs")
    if wheel is not None and wheel.submodule_search_locations:
        version = f"v{duckdb.__version__}"
        file = Path(wheel.submodule_search_locations[0]) / "extensions" / version / "httpfs.duckdb_extension"
        if file.is_file():
            return file
    raise ExtensionMissing(
        f"DuckDB {duckdb.__version__} needs its S3 extension: "
        f"pip install duckdb-extension-httpfs=={duckdb.__version__}"
    )


def text(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def _set(connection: duckdb.DuckDBPyConnection, name: str, value: str | int | bool) -> None:
    # GLOBAL reaches every cursor of the connection: dbt opens its own.
    connection.execute(f"set global {name} = {text(value) if isinstance(value, str) else value}")


def _hand_over(connection: duckdb.DuckDBPyConnection, credentials: ScopedCredentials) -> None:
    endpoint = urlsplit(credentials.endpoint)
    try:
        connection.execute(
            _SECRET,
            {
                "scope": credentials.root,
                "key_id": credentials.access_key_id,
                "secret": credentials.secret_access_key,
                "session_token": credentials.session_token,
                "endpoint": endpoint.netloc,
                "use_ssl": endpoint.scheme == "https",
                "region": credentials.signing_region,
            },
        )
    except duckdb.Error:
        # DuckDB's own message could quote the values.
        raise RuntimeError("DuckDB did not accept the workspace's S3 credentials") from None
