"""The feed as a process: it hears of dropped files. What it does with them belongs to `orchestration.feed`."""

import secrets
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
from pydantic import BaseModel, SecretStr

from orchestration.services.files import load_or_create, write_private
from orchestration.services.ports import choose_ports, is_free
from orchestration.services.processes import ProcessFile, pause, tail
from orchestration.services.seaweedfs import Webhook
from orchestration.settings import Installation, Settings, SettingsError, inherited_environment

_READY_SECONDS = 60
_STOP_SECONDS = 2
_PROJECT_FOLDER = Path(__file__).resolve().parents[2]


class FeedFailed(RuntimeError):
    """The feed did not come up; the message holds the end of its log."""


class _State(BaseModel):
    """What was chosen at the first start."""

    port: int
    token: str


class Feed:
    """The feed of one installation, and the address that the object store knows."""

    def __init__(self, installation: Installation) -> None:
        """Describe the process; nothing is started."""
        self._home = installation.home
        self._host = installation.feed_host
        self._asked_for = {
            name: value
            for name, value in (
                ("port", installation.feed_port if "feed_port" in installation.model_fields_set else None),
                ("token", installation.feed_token and installation.feed_token.get_secret_value()),
            )
            if value
        }
        self._log = self._home / "logs" / "feed.log"
        self._processes = ProcessFile(self._home / "processes" / "feed.json")
        self._file = self._home / "feed.json"

    def process(self) -> psutil.Process | None:
        """The running process, or None."""
        return self._processes.current()

    def endpoints(self) -> dict[str, str | int]:
        """The feed's part of the endpoints file."""
        state = self._state()
        return {"feed_port": state.port, "feed_token": state.token}

    def webhook(self) -> Webhook:
        """What the embedded object store needs to tell of dropped files."""
        state = self._state()
        return Webhook(f"http://{self._host}:{state.port}/written", SecretStr(state.token))

    def leave_occupied_port(self) -> bool:
        """Choose another port if a program has taken the feed's own while it was down; True if so.

        Raises:
            SettingsError: `CASETRAIL_FEED_PORT` names a port that another program holds.
        """
        state = self._state()
        if self.process() or is_free(state.port, self._host):
            return False
        if "port" in self._asked_for:
            raise SettingsError(f"CASETRAIL_FEED_PORT: port {state.port} is taken; choose another one.")
        moved = state.model_copy(update={"port": choose_ports(1)[0]})
        write_private(self._file, moved.model_dump_json(indent=2))
        return True

    def start(self, settings: Settings) -> None:
        """Start the process unless it runs, and have it look into all inboxes once.

        Raises:
            FeedFailed: it ended, or did not answer within a minute.
        """
        if self.process():
            self._ask(settings, "sweep", method="POST")
            return
        self._processes.spawn(
            [sys.executable, "-m", "orchestration.feed"],
            environment=inherited_environment() | {"CASETRAIL_HOME": str(self._home)},
            folder=_PROJECT_FOLDER,
            log=self._log,
        )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ask(settings, "health"):
            ended = self.process() is None
            if ended or time.monotonic() > deadline:
                what = "ended" if ended else "does not answer"
                raise FeedFailed(f"The feed {what}. The end of {self._log}:\n{tail(self._log)}")
            pause()

    def stop(self) -> bool:
        """Stop the process; False if it did not run."""
        return self._processes.stop(_STOP_SECONDS)

    def _ask(self, settings: Settings, what: str, method: str = "GET") -> bool:
        token = settings.feed_token.get_secret_value() if settings.feed_token else ""
        url = f"http://{settings.feed_host}:{settings.feed_port}/{what}"
        try:
            with urlopen(
                Request(url, headers={"Authorization": f"Bearer {token}"}, method=method), timeout=10
            ):
                return True
        except OSError:
            return False

    def _state(self) -> _State:
        chosen = load_or_create(
            self._file, _State, lambda: _State(port=choose_ports(1)[0], token=secrets.token_urlsafe(32))
        )
        return chosen.model_copy(update=self._asked_for)
