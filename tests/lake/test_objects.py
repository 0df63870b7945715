from pathlib import Path

import pytest

from orchestration.lake import objects
from orchestration.lake.credentials import WrongRegion
from orchestration.lake.objects import DeleteRefused, ObjectMissing, OutsideWorkspace, WorkspaceStore


def key(store: WorkspaceStore, name: str) -> str:
    return store.credentials.prefix + name


def test_an_object_comes_back_as_it_was_put(store: WorkspaceStore, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(b"a\nb\n")

    store.put_file(key(store, "raw/a.csv"), source)
    store.download(store.url(key(store, "raw/a.csv")), copy)

    assert copy.read_bytes() == store.get(key(store, "raw/a.csv")) == b"a\nb\n"
    assert store.exists(key(store, "raw/a.csv"))


def test_a_large_file_goes_up_in_parts(
    store: WorkspaceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mebibyte = 1024 * 1024
    parts = objects.TransferConfig(multipart_threshold=8 * mebibyte, multipart_chunksize=5 * mebibyte)
    monkeypatch.setattr(objects, "_TRANSFER", parts)
    content = bytes(range(256)) * (12 * mebibyte // 256)
    (tmp_path / "large").write_bytes(content)

    store.put_file(key(store, "large"), tmp_path / "large")

    assert store.get(key(store, "large")) == content
    (listed,) = store.list()
    assert listed.bytes == len(content)
    assert listed.etag.endswith("-3")


def test_many_files_go_up_together(store: WorkspaceStore, tmp_path: Path) -> None:
    files = []
    for number in range(25):
        path = tmp_path / f"{number:02}"
        path.write_text(str(number))
        files.append((key(store, f"events/{number:02}"), path))

    store.put_files(files)

    assert [entry.key for entry in store.list(key(store, "events/"))] == [place for place, _ in files]
    assert store.get(files[24][0]) == b"24"


def test_one_failed_upload_of_many_is_an_error(store: WorkspaceStore, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    files = [(key(store, "a"), tmp_path / "there"), (key(store, "b"), tmp_path / "not there")]

    with pytest.raises(FileNotFoundError):
        store.put_files(files)


def test_a_missing_object_is_named(store: WorkspaceStore, tmp_path: Path) -> None:
    with pytest.raises(ObjectMissing, match=r"no object .*/nothing"):
        store.get(key(store, "nothing"))
    with pytest.raises(ObjectMissing, match=r"no object .*/nothing"):
        store.download(key(store, "nothing"), tmp_path / "x")
    assert not store.exists(key(store, "nothing"))
    assert not list(tmp_path.iterdir())


def test_deleting_is_complete_and_can_be_repeated(store: WorkspaceStore) -> None:
    for name in ("a", "b", "c"):
        store.put_bytes(key(store, name), b"x")

    for _ in range(2):
        store.delete([key(store, "a"), key(store, "b")])

    assert [entry.key for entry in store.list()] == [key(store, "c")]


def test_a_refused_delete_inside_a_successful_answer_is_an_error(
    store: WorkspaceStore, neighbour: WorkspaceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = key(neighbour, "secret.csv")
    monkeypatch.setattr(store, "key", lambda location: location)  # past our own check, to S3's

    with pytest.raises(DeleteRefused, match=r"1 of 1 objects were not deleted, first .*AccessDenied"):
        store.delete([foreign])


@pytest.mark.parametrize(
    "escape", ["{other}secret.csv", "{own}../{other}secret.csv", "{own}./x", "x", "", "/{own}x"]
)
def test_a_key_outside_of_the_workspace_is_refused_before_it_is_sent(
    store: WorkspaceStore, neighbour: WorkspaceStore, escape: str, tmp_path: Path
) -> None:
    location = escape.format(own=store.credentials.prefix, other=neighbour.credentials.prefix)
    calls = (
        lambda: store.get(location),
        lambda: store.put_bytes(location, b"x"),
        lambda: store.put_file(location, tmp_path / "x"),
        lambda: store.put_files([(location, tmp_path / "x")]),
        lambda: store.download(location, tmp_path / "x"),
        lambda: store.delete([location]),
        lambda: store.exists(location),
        lambda: store.url(location),
        lambda: list(store.list(location)),
    )
    for call in calls:
        with pytest.raises(OutsideWorkspace):
            call()


def test_another_regions_bucket_is_refused(store: WorkspaceStore) -> None:
    elsewhere = store.url(key(store, "x")).replace("casetrail-eu", "casetrail-us")

    with pytest.raises(WrongRegion, match=r"is not in casetrail-eu.*\(EU\)"):
        store.put_bytes(elsewhere, b"x")
