"""The feed's HTTP server: what a store says becomes rows of the ledger before the answer.

``POST /written`` takes SeaweedFS' webhook and S3's records (also those of MinIO and others) with the feed's token as
the bearer; ``POST /sns`` takes SNS' signed messages; ``POST /sweep``, with the token, lists all inboxes now.
"""

import hmac
import json
import logging
import threading
from collections.abc import Callable, Collection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

from orchestration.feed import sns
from orchestration.feed.notifications import Written, written_objects

MOST_BYTES = 1024 * 1024
"""SNS sends a quarter of it at most, SeaweedFS an object's entry."""

logger = logging.getLogger("casetrail.feed")


class FeedServer(ThreadingHTTPServer):
    """Listens at once; ``serve_forever`` answers."""

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        *,
        token: SecretStr | None,
        topics: Collection[str],
        note: Callable[[Written], object],
        sweep: Callable[[], None],
        fetch: sns.Fetch = sns.fetch,
    ) -> None:
        """``note`` enters an object into the ledger, ``sweep`` all that lies in the inboxes. No token: SNS alone."""
        super().__init__(address, _Handler)
        self.token, self.topics, self.note, self.fetch = token, topics, note, fetch
        self._sweep, self._sweeping = sweep, threading.Lock()

    def sweep(self) -> None:
        """List all inboxes; a failure is logged, and the next sweep tries again."""
        with self._sweeping:
            try:
                self._sweep()
            except Exception:
                logger.exception("the inboxes could not be listed")


class _Handler(BaseHTTPRequestHandler):
    server: FeedServer
    protocol_version = "HTTP/1.1"
    timeout = 60  # of an idle connection

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/health" else 404)

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if size > MOST_BYTES:
            self.close_connection = True
            return self._answer(413)
        body = self.rfile.read(size)
        try:
            return self._answer(self._receive(body))
        except sns.NotFromTopic as error:
            logger.warning("refused: %s", error)
            return self._answer(403)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("not understood: %s", error)
            return self._answer(400)
        except Exception:
            # The store sends it again; if it gives up, a sweep finds the file.
            logger.exception("a message could not be entered")
            return self._answer(503)

    def _receive(self, body: bytes) -> int:
        if self.path == "/sns":
            return self._receive_from_sns(json.loads(body))
        if not self._has_token():
            return 401
        if self.path == "/sweep":
            threading.Thread(target=self.server.sweep, daemon=True).start()
            return 202
        if self.path != "/written":
            return 404
        self._note(json.loads(body))
        return 200

    def _receive_from_sns(self, message: dict[str, str]) -> int:
        sns.verify(message, self.server.topics, self.server.fetch)
        if message["Type"] == "SubscriptionConfirmation":
            sns.confirm(message, self.server.fetch)
        else:
            self._note(json.loads(message["Message"]))
        return 200

    def _note(self, message: Any) -> None:
        for written in written_objects(message):
            self.server.note(written)

    def _has_token(self) -> bool:
        token = self.server.token
        wanted = f"Bearer {token.get_secret_value()}" if token else ""
        given = str(self.headers.get("Authorization", ""))
        return bool(wanted) and hmac.compare_digest(given.encode(), wanted.encode())

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        # Every object that a run writes is told here: a line for each would fill the disk.
        return
