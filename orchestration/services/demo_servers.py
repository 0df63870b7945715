"""The made-up Salesforce and Marketo of the demo, as processes that `casetrail down` stops with the others.

They are test servers on this machine. While they run, connectors may go to the loopback address, where they are.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from orchestration.services.files import make_passable
from orchestration.services.processes import ProcessFile, pause, tail
from orchestration.settings import inherited_environment

SYSTEMS = ("salesforce", "marketo")
DEMO_CALLS = 10_000
"""The made-up Marketo lets so many calls pass in 20 seconds; the vendor 100."""
_HOST = "127.0.0.1"
_READY_SECONDS = 120
_STOP_SECONDS = 5
_PROJECT_FOLDER = Path(__file__).resolve().parents[2]


class DemoServerFailed(RuntimeError):
    """A server did not come up; the message holds the end of its log."""


@dataclass(frozen=True)
class DemoServer:
    """One of them. Its data are a function of the number of cases."""

    home: Path
    system: str

    def process(self) -> psutil.Process | None:
        """The running process, or None."""
        return self._processes.current()

    def spawn(self, cases: int) -> None:
        """Start it unless it runs; `access` waits for it."""
        if self.process():
            return
        make_passable(self.home)
        self._access.unlink(missing_ok=True)
        self._access.parent.mkdir(parents=True, exist_ok=True)
        options = {"--port": "0", "--cases": str(cases), "--access-file": str(self._access)}
        if self.system == "marketo":
            options["--calls"] = str(DEMO_CALLS)
        self._processes.spawn(
            [
                str(Path(sys.executable).with_name("casetrail")),
                *("demo", "serve", self.system),
                *(word for option in options.items() for word in option),
            ],
            environment=inherited_environment(),
            folder=_PROJECT_FOLDER,
            log=self._log,
        )

    def access(self) -> dict[str, str]:
        """Its address and what a client logs in with, once it has its data.

        Raises:
            DemoServerFailed: it ended, or had no data within two minutes.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while not self._access.exists():
            if self.process() is None or time.monotonic() > deadline:
                raise DemoServerFailed(
                    f"The made-up {self.system} did not start. The end of {self._log}:\n{tail(self._log)}"
                )
            pause()
        told: dict[str, str] = json.loads(self._access.read_text())
        return told

    def stop(self) -> bool:
        """Stop it; False if it did not run."""
        self._access.unlink(missing_ok=True)
        return self._processes.stop(_STOP_SECONDS)

    @property
    def _processes(self) -> ProcessFile:
        return ProcessFile(self.home / "processes" / f"demo-{self.system}.json")

    @property
    def _access(self) -> Path:
        return self.home / "demo" / f"{self.system}.json"

    @property
    def _log(self) -> Path:
        return self.home / "logs" / f"demo-{self.system}.log"


def demo_servers(home: Path) -> list[DemoServer]:
    """Those of an installation, running or not."""
    return [DemoServer(home, system) for system in SYSTEMS]


def demo_endpoints(home: Path) -> dict[str, Any]:
    """Their part of the endpoints file: nothing while none runs."""
    running = any(server.process() for server in demo_servers(home))
    return {"connector_internal_hosts": [_HOST]} if running else {}
