"""Bulk Extract: a job is created, waits in a queue, and leaves a file, which is fetched whole before it is believed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from orchestration.sources.errors import TransientError
from orchestration.sources.types.marketo.refusals import NO_SUCH_EXPORT, Refused
from orchestration.sources.types.marketo.subscription import Subscription

Kind = Literal["leads", "activities"]

WAIT_SECONDS = 1_800.0
"""So long a sync waits for an export; then the next one goes on with it."""

NEXT_TRY_SECONDS = 600.0
"""Longer than a sync pauses: what waits in the queue is left to the next one."""

FRUITLESS = 3
"""So often in a row a download may bring nothing before it is given up."""

WHOLE_DOWNLOADS = 2
"""So often a file is fetched that is not what its checksum says."""


class ExportLost(Exception):
    """The export has no file and will have none, or a wrong one: another must be made. The message is for people."""


@dataclass(frozen=True)
class ExportFile:
    """The file of a complete export, as its status tells; what it does not tell is None."""

    size: int | None
    sha256: str | None
    records: int | None


@dataclass(frozen=True)
class Job:
    """An export job of a subscription."""

    subscription: Subscription
    kind: Kind
    id: str

    @classmethod
    def create(
        cls, subscription: Subscription, kind: Kind, fields: Sequence[str], filters: Mapping[str, Any]
    ) -> "Job":
        """Make a job, which is not queued yet.

        Raises:
            Refused: no right to export, or a filter or field that there is not.
            QuotaExhausted, TransientError: not now.
        """
        document = {"format": "CSV", "fields": list(fields), "filter": dict(filters)}
        made = subscription.post(f"/bulk/v1/{kind}/export/create.json", document)
        return cls(subscription, kind, str(_only(made)["exportId"]))

    def wait(self, poll_seconds: float) -> ExportFile:
        """Queue the job unless it is, and wait for its file.

        Raises:
            ExportLost: it failed, was cancelled or forgotten.
            QuotaExhausted, TransientError: not now; the job stays.
        """
        waited = 0.0
        while True:
            status = self._status()
            state = str(status.get("status"))
            if state == "Completed":
                return _file_of(status)
            # The documentation spells it in both ways.
            if state in ("Failed", "Canceled", "Cancelled"):
                raise ExportLost(f"An export of {self.kind} ended as {state} in Marketo.")
            if state == "Created":
                self.subscription.post(self._path("enqueue"))
            if waited >= WAIT_SECONDS:
                raise TransientError(
                    f"An export of {self.kind} is still {state.lower()} in Marketo after {waited / 60:.0f} min; "
                    "the next sync goes on with it.",
                    retry_after=NEXT_TRY_SECONDS,
                )
            self.subscription.pause(poll_seconds)
            # A source that is asked without a pause is not asked for ever.
            waited += max(poll_seconds, 1.0)

    def fetch(self, expected: ExportFile, path: Path, poll_seconds: float) -> None:
        """Fetch the file, going on where a connection broke off, until it is what its status says.

        Raises:
            ExportLost: it is not there, or not what its status says.
            QuotaExhausted, TransientError: not now.
        """
        for _ in range(WHOLE_DOWNLOADS):
            with path.open("wb") as file:
                self._fetch_rest(expected, file, poll_seconds)
            if _is_expected(path, expected):
                return
        raise ExportLost(f"The file of an export of {self.kind} is not what its checksum says.")

    def _fetch_rest(self, expected: ExportFile, file: BinaryIO, poll_seconds: float) -> None:
        fruitless = 0
        while True:
            before, failure, is_there = file.tell(), None, True
            try:
                is_there = self._append(file)
            except TransientError as error:
                failure = error
            whole = failure is None and is_there if expected.size is None else file.tell() >= expected.size
            if whole:
                return
            fruitless = 0 if file.tell() > before else fruitless + 1
            if fruitless > FRUITLESS:
                told = "ends too early" if is_there else "is not there"
                raise failure or ExportLost(f"The file of an export of {self.kind} {told}.")
            if fruitless:
                self.subscription.pause(poll_seconds)

    def _append(self, file: BinaryIO) -> bool:
        """Fetch what is missing; False if there is no file."""
        with self.subscription.download(self._path("file"), file.tell()) as download:
            if download.status == 404:
                return False
            kind = download.headers.get("Content-Type", "")
            if download.status not in (200, 206) or "html" in kind:
                raise TransientError(f"Marketo answered {download.status} in place of a file.")
            if download.status == 200:
                # The whole file, whatever was asked for.
                file.seek(0)
                file.truncate()
            for chunk in download.chunks():
                file.write(chunk)
        return True

    def _status(self) -> dict[str, Any]:
        try:
            return _only(self.subscription.get(self._path("status")))
        except Refused as error:
            if error.code == NO_SUCH_EXPORT:
                raise ExportLost(str(error)) from None
            raise

    def _path(self, action: str) -> str:
        return f"/bulk/v1/{self.kind}/export/{self.id}/{action}.json"


def _only(document: Mapping[str, Any]) -> dict[str, Any]:
    """The one result of an answer."""
    found = document.get("result") or []
    if not found:
        raise TransientError("Marketo's answer has no result.")
    return dict(found[0])


def _file_of(status: Mapping[str, Any]) -> ExportFile:
    size, records = status.get("fileSize"), status.get("numberOfRecords")
    algorithm, _, checksum = str(status.get("fileChecksum") or "").partition(":")
    return ExportFile(
        None if size is None else int(size),
        checksum.lower() if algorithm.lower() == "sha256" else None,
        None if records is None else int(records),
    )


def _is_expected(path: Path, expected: ExportFile) -> bool:
    if expected.size not in (None, path.stat().st_size):
        return False
    if expected.sha256 is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == expected.sha256
