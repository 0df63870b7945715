"""Where things lie in a workspace's part of its region's bucket: keys as pure functions.

Every key starts with the workspace's id. Nothing here talks to S3; buckets and endpoints belong to the
credentials.
"""

import re
from uuid import UUID

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_MONTH_OR_ALL = re.compile(_MONTH.pattern + "|all")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OF_AN_ANALYSIS = re.compile(r"[0-9a-f-]{36}/analyses/([0-9a-f-]{36})/.+", re.DOTALL)
_IN_AN_INBOX = re.compile(r"([0-9a-f-]{36})/inbox/([0-9a-f-]{36})/[^/].*", re.DOTALL)


class InvalidKeyPart(ValueError):
    """A part of a key is not of the form that its place demands."""


def workspace_prefix(workspace_id: UUID | str) -> str:
    """``{ws}/``: everything of a workspace, and nothing of another."""
    return f"{_uuid('workspace_id', workspace_id)}/"


def raw_key(workspace_id: UUID | str, connector_type: str, month: str, name: str) -> str:
    """``{ws}/raw/{connector_type}/{yyyy-mm}/{name}``; ``month`` is that of the record's own time (UTC)."""
    return (
        f"{workspace_prefix(workspace_id)}raw/{_part('connector_type', connector_type, _WORD)}"
        f"/{_part('month', month, _MONTH)}/{_part('file name', name, _FILE_NAME)}"
    )


def original_key(workspace_id: UUID | str, sha256: str) -> str:
    """``{ws}/originals/{sha256}``: what arrived, byte for byte; its records where a column is personal."""
    return f"{workspace_prefix(workspace_id)}originals/{_part('sha256', sha256, _SHA256)}"


def inbox_prefix(workspace_id: UUID | str, connector_id: UUID | str) -> str:
    """``{ws}/inbox/{connector_id}/``: where a client drops files for a connector."""
    return f"{workspace_prefix(workspace_id)}inbox/{_uuid('connector_id', connector_id)}/"


def inbox_owner(key: str) -> tuple[str, str] | None:
    """(workspace, connector) of a key below an inbox; None for any other key."""
    found = _IN_AN_INBOX.fullmatch(key)
    try:
        return (str(UUID(found[1])), str(UUID(found[2]))) if found else None
    except ValueError:
        return None


def pull_manifest_key(workspace_id: UUID | str, connector_id: UUID | str, pull_id: UUID | str) -> str:
    """``{ws}/pulls/{connector_id}/{pull_id}/manifest.json``: what a pull asked for and what came of it."""
    return f"{_pull_prefix(workspace_id, connector_id, pull_id)}manifest.json"


def pull_recent_key(workspace_id: UUID | str, connector_id: UUID | str, pull_id: UUID | str) -> str:
    """``{ws}/pulls/{connector_id}/{pull_id}/recent.parquet``: the records that the next pull may be given again."""
    return f"{_pull_prefix(workspace_id, connector_id, pull_id)}recent.parquet"


def _pull_prefix(workspace_id: UUID | str, connector_id: UUID | str, pull_id: UUID | str) -> str:
    owner = f"{workspace_prefix(workspace_id)}pulls/{_uuid('connector_id', connector_id)}"
    return f"{owner}/{_uuid('pull_id', pull_id)}/"


def quarantine_key(workspace_id: UUID | str, arrival_id: UUID | str) -> str:
    """``{ws}/quarantine/{arrival_id}.parquet``: the rejected rows of one arrival, with reasons."""
    return f"{workspace_prefix(workspace_id)}quarantine/{_uuid('arrival_id', arrival_id)}.parquet"


def analysis_prefix(workspace_id: UUID | str, analysis_id: UUID | str) -> str:
    """``{ws}/analyses/{analysis}/``."""
    return f"{workspace_prefix(workspace_id)}analyses/{_uuid('analysis_id', analysis_id)}/"


def analysis_of(key: str) -> str | None:
    """The analysis of a key below the prefix of one; None for any other key."""
    found = _OF_AN_ANALYSIS.fullmatch(key)
    try:
        return str(UUID(found[1])) if found else None
    except ValueError:
        return None


def dataset_key(
    workspace_id: UUID | str, analysis_id: UUID | str, dataset: str, month: str, content_sha256: str
) -> str:
    """``{ws}/analyses/{analysis}/{dataset}/{month}-{first 16 hex digits of the content}.parquet``.

    ``month`` may be ``all``, for a file that covers the whole analysis.
    Content-addressed: rewriting the same rows gives the same key, and other rows never overwrite it.
    """
    digest = _part("content_sha256", content_sha256, _SHA256)[:16]
    name = f"{_part('month', month, _MONTH_OR_ALL)}-{digest}.parquet"
    return f"{analysis_prefix(workspace_id, analysis_id)}{_part('dataset', dataset, _WORD)}/{name}"


def manifest_key(workspace_id: UUID | str, analysis_id: UUID | str) -> str:
    """``{ws}/analyses/{analysis}/manifest.json``: the list of the released files."""
    return f"{analysis_prefix(workspace_id, analysis_id)}manifest.json"


def _uuid(what: str, value: UUID | str) -> UUID:
    """The id, parsed: its text is then canonical (lower case, hyphens) and holds no path separator."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except ValueError:
        raise InvalidKeyPart(f"{what} must be a UUID, not {value!r}") from None


def _part(what: str, value: str, form: re.Pattern[str]) -> str:
    if not form.fullmatch(value) or ".." in value:
        raise InvalidKeyPart(f"{what} must look like {form.pattern}, not {value!r}")
    return value
