"""What stores say of new objects is understood, and nothing else is."""

from typing import Any

import pytest

from orchestration.feed.notifications import Written, written_objects

FILE = {"name": "file.csv", "attributes": {"file_size": 8}}


def of_seaweedfs(event: str, key: str, **message: Any) -> dict[str, Any]:
    return {"event_type": event, "key": key, "message": message}


def of_s3(event: str, *keys: str) -> dict[str, Any]:
    return {
        "Records": [
            {"eventName": event, "s3": {"bucket": {"name": "lake"}, "object": {"key": key}}} for key in keys
        ]
    }


@pytest.mark.parametrize("event", ["create", "update"])
def test_seaweedfs_tells_of_a_written_file(event: str) -> None:
    message = of_seaweedfs(event, "/buckets/lake/ws/inbox/c/file.csv", new_entry=FILE)
    assert written_objects(message) == [Written("lake", "ws/inbox/c/file.csv")]


def test_a_renamed_file_is_told_under_its_new_name() -> None:
    message = of_seaweedfs(
        "rename",
        "/buckets/lake/old",
        old_entry={},
        new_entry=FILE,
        new_parent_path="/buckets/lake/ws/inbox/c",
    )
    assert written_objects(message) == [Written("lake", "ws/inbox/c/file.csv")]


def test_s3_tells_of_several_objects_with_encoded_keys() -> None:
    message = of_s3("ObjectCreated:Put", "ws/inbox/c/a+b.csv", "ws/inbox/c/%C3%BC.csv")
    assert [written.key for written in written_objects(message)] == ["ws/inbox/c/a b.csv", "ws/inbox/c/ü.csv"]
    assert written_objects(of_s3("s3:ObjectCreated:CompleteMultipartUpload", "k"))


@pytest.mark.parametrize(
    "message",
    [
        of_seaweedfs("delete", "/buckets/lake/ws/file.csv", old_entry=FILE),
        of_seaweedfs("create", "/buckets/lake/ws", new_entry={"name": "ws", "is_directory": True}),
        of_seaweedfs("create", "/etc/file", new_entry=FILE),
        of_s3("ObjectRemoved:Delete", "ws/inbox/c/a.csv"),
        {"Service": "Amazon S3", "Event": "s3:TestEvent"},
        {},
        [],
        "text",
    ],
)
def test_anything_else_tells_of_no_file(message: Any) -> None:
    assert written_objects(message) == []
