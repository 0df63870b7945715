"""The code server: it holds the definitions for webserver and daemon alike, and every run is a fork of a warm process.

``casetrail up`` starts it on a socket; a container can start it as ``python -m orchestration.code_server --port 4000
--host 0.0.0.0``. Dagster's own server starts a new interpreter for each run, which then imports for seconds. Here
Python's fork server makes the runs: a process that has imported everything and done nothing else, so it has neither
threads nor connections that a fork could break. What is served belongs to ``orchestration.definitions``.

Dagster has no setting for this: the two private modules below are why it is pinned to one version.
"""

import argparse
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing import forkserver
from pathlib import Path
from types import FrameType
from typing import Any

from dagster._core.types.loadable_target_origin import LoadableTargetOrigin  # noqa: TID251
from dagster._core.utils import FuturesAwareThreadPoolExecutor  # noqa: TID251
from dagster._grpc.server import DagsterApiServer, DagsterGrpcServer

DEFINITIONS = "orchestration.definitions"

_USED_BY_RUNS = [
    DEFINITIONS,
    "dagster._grpc.impl",
    "dagster_postgres",
    # What the stages import where it is used, to spare the commands their seconds.
    "boto3",
    "dbt.adapters.duckdb",
    "dbt.cli.main",
    "dbt.task.build",
    "lightgbm",
    "orchestration.mining.dbt_plugin",
    "pandera.backends.polars.container",
    "pyarrow.dataset",
]


class WarmServer(DagsterApiServer):
    """Dagster's code server, but for where the processes of its runs come from."""

    def __init__(self, **arguments: Any) -> None:
        """Load the definitions; one that cannot be loaded is reported to whoever asks."""
        super().__init__(lazy_load_user_code=True, **arguments)
        self._mp_ctx = multiprocessing.get_context("forkserver")  # type: ignore[assignment]


def serve(target: LoadableTargetOrigin, address: dict[str, Any], location_name: str) -> None:
    """Serve the definitions until the process is told to end.

    Args:
        target: the module or file with the definitions.
        address: ``socket``, or ``host`` and ``port``.
        location_name: of the code location.
    """
    # First, so that it imports while this process does.
    forkserver.set_forkserver_preload(_USED_BY_RUNS)
    forkserver.ensure_running()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    logger, ended = logging.getLogger("casetrail.code_server"), threading.Event()
    threads = FuturesAwareThreadPoolExecutor()
    servicer = WarmServer(
        server_termination_event=ended,
        logger=logger,
        server_threadpool_executor=threads,
        loadable_target_origin=target,
        location_name=location_name,
    )
    server = DagsterGrpcServer(ended, servicer, logger, threads, **address)
    # Last: while Dagster loads definitions, it puts handlers of its own in their place.
    for told in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told, _end)
    server.serve()  # type: ignore[no-untyped-call]


def _end(_signal: int, _frame: FrameType | None) -> None:
    """End at once. Dagster's own way waits for open calls; ours come from processes that are being stopped too."""
    os._exit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(
        description="Serve casetrail's Dagster definitions and start their runs."
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", help="path of the socket; whoever can reach it can start runs")
    where.add_argument("--port", type=int, help="whoever can reach it can start runs")
    parser.add_argument("--host", default="localhost", help="with --port")
    parser.add_argument("--python-file", type=Path, help="other definitions than the project's")
    asked = parser.parse_args(arguments)
    origin = {"python_file": str(asked.python_file)} if asked.python_file else {"module_name": DEFINITIONS}
    target = LoadableTargetOrigin(executable_path=sys.executable, working_directory=str(Path.cwd()), **origin)
    address = {"socket": asked.socket} if asked.socket else {"port": asked.port, "host": asked.host}
    serve(target, address, asked.python_file.stem if asked.python_file else DEFINITIONS)


if __name__ == "__main__":
    main()
