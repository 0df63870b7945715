"""What object stores say when an object was written: SeaweedFS' webhook, and S3's event records.

A message is only a hint where to look: what lies there is asked of the store itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

_BUCKETS = "/buckets/"


@dataclass(frozen=True)
class Written:
    """An object that was written, by bucket and key."""

    bucket: str
    key: str


def written_objects(message: Any) -> list[Written]:
    """The objects that a message tells of; none for a deletion, a folder, a test message or anything unknown."""
    if not isinstance(message, dict):
        return []
    if isinstance(message.get("Records"), list):
        return list(_from_s3(message["Records"]))
    return list(_from_seaweedfs(message))


def _from_s3(records: list[Any]) -> Iterator[Written]:
    for record in records:
        if str(record.get("eventName", "")).removeprefix("s3:").startswith("ObjectCreated:"):
            told = record["s3"]
            # S3 encodes keys in its events as a form does.
            yield Written(told["bucket"]["name"], unquote_plus(told["object"]["key"]))


def _from_seaweedfs(message: dict[str, Any]) -> Iterator[Written]:
    entry = (message.get("message") or {}).get("new_entry") or {}
    path = str(message.get("key", ""))
    if message.get("event_type") == "rename":
        path = f"{message['message'].get('new_parent_path')}/{entry.get('name')}"
    if entry and not entry.get("is_directory") and path.startswith(_BUCKETS):
        bucket, _, key = path.removeprefix(_BUCKETS).partition("/")
        yield Written(bucket, key)
