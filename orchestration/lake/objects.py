"""A workspace's objects on S3: put, get, list and delete, below its own prefix and in its own region only.

Keys come from ``layout``; which objects make up a result is decided by releases, never by a listing.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from orchestration.lake.credentials import ScopedCredentials, WrongRegion

PARALLEL_UPLOADS = 8
_MEBIBYTE = 1024 * 1024
_TRANSFER = TransferConfig(
    multipart_threshold=64 * _MEBIBYTE, multipart_chunksize=32 * _MEBIBYTE, max_concurrency=4
)
_KEYS_PER_DELETE = 1000  # the most that S3 takes in one request


class OutsideWorkspace(ValueError):
    """A key that is not below the workspace's own prefix."""


class ObjectMissing(LookupError):
    """There is no object under the key."""


class DeleteRefused(RuntimeError):
    """S3 answered that some keys were not deleted; it says so inside of a successful answer."""


@dataclass(frozen=True)
class StoredObject:
    """One entry of a listing. ``modified`` is UTC; ``etag`` changes with the content."""

    key: str
    bytes: int
    etag: str
    modified: datetime


class WorkspaceStore:
    """The part of S3 that belongs to one workspace. Safe to use from several threads.

    Every method takes a key (``{workspace_id}/...``) or the same as a URL
    (``s3://{bucket}/{workspace_id}/...``). A key of another workspace raises ``OutsideWorkspace``, a URL of
    another region's bucket ``WrongRegion``, both before anything is sent.
    """

    def __init__(self, credentials: ScopedCredentials, client: Any = None) -> None:
        """Sends nothing; the first call does. ``client`` is a boto3 S3 client with these credentials."""
        self.credentials = credentials
        self._bucket = credentials.bucket
        self._s3 = client or boto3.client(
            "s3",
            endpoint_url=credentials.endpoint,
            region_name=credentials.signing_region,
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.session_token,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"mode": "standard", "max_attempts": 5},
                max_pool_connections=PARALLEL_UPLOADS * 4,
            ),
        )

    def key(self, location: str) -> str:
        """The key of a key or URL, checked to be this workspace's.

        Raises:
            WrongRegion: a URL into another bucket than that of the workspace's region.
            OutsideWorkspace: a key outside of the workspace's prefix, or with a part that steps out of it.
        """
        key = location
        if location.startswith("s3://"):
            bucket, _, key = location.removeprefix("s3://").partition("/")
            if bucket != self._bucket:
                raise WrongRegion(
                    f"{location} is not in {self._bucket}, the bucket of this workspace's region "
                    f"({self.credentials.region}): a workspace's data stays in its own region"
                )
        if not key.startswith(self.credentials.prefix) or {"..", "."} & set(key.split("/")):
            raise OutsideWorkspace(f"{location} is not below {self.credentials.root}")
        return key

    def url(self, location: str) -> str:
        """``s3://{bucket}/{key}``, as DuckDB reads it."""
        return f"s3://{self._bucket}/{self.key(location)}"

    def put_file(self, location: str, path: Path) -> None:
        """Upload a file, in parts if it is large; an object under the key is replaced whole or not at all."""
        self._s3.upload_file(str(path), self._bucket, self.key(location), Config=_TRANSFER)

    def put_files(self, files: Iterable[tuple[str, Path]]) -> None:
        """Upload many files, a few at a time; the first failure is raised once the running ones ended."""
        checked = [(self.key(location), path) for location, path in files]
        with ThreadPoolExecutor(PARALLEL_UPLOADS) as pool:
            uploads = [pool.submit(self.put_file, key, path) for key, path in checked]
            try:
                for upload in uploads:
                    upload.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def put_bytes(self, location: str, data: bytes) -> None:
        """Upload ``data``, replacing an object under the key."""
        self._s3.put_object(Bucket=self._bucket, Key=self.key(location), Body=data)

    def get(self, location: str) -> bytes:
        """The whole object. Raises ``ObjectMissing``."""
        key = self.key(location)
        with _missing_is_named(key):
            body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    def download(self, location: str, path: Path) -> None:
        """Write the object to ``path``, which appears whole or not at all. Raises ``ObjectMissing``."""
        key = self.key(location)
        with _missing_is_named(key):
            self._s3.download_file(self._bucket, key, str(path), Config=_TRANSFER)

    def exists(self, location: str) -> bool:
        """Whether there is an object under the key."""
        return self.find(location) is not None

    def find(self, location: str) -> StoredObject | None:
        """The object under the key as a listing would tell of it; None if there is none."""
        key = self.key(location)
        try:
            with _missing_is_named(key):
                told = self._s3.head_object(Bucket=self._bucket, Key=key)
        except ObjectMissing:
            return None
        return StoredObject(key, told["ContentLength"], told["ETag"].strip('"'), told["LastModified"])

    def list(self, prefix: str | None = None) -> Iterator[StoredObject]:
        """The objects below ``prefix`` (default: all of the workspace's) in the order of their keys."""
        below = self.key(prefix) if prefix is not None else self.credentials.prefix
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=below)
        for page in pages:
            for entry in page.get("Contents", ()):
                yield StoredObject(
                    entry["Key"], entry["Size"], entry["ETag"].strip('"'), entry["LastModified"]
                )

    def delete(self, locations: Iterable[str]) -> None:
        """Delete objects; one that is not there counts as deleted.

        Raises:
            DeleteRefused: S3 did not delete some of them; the others are gone.
        """
        keys = [self.key(location) for location in locations]
        refused: list[str] = []
        for start in range(0, len(keys), _KEYS_PER_DELETE):
            batch = [{"Key": key} for key in keys[start : start + _KEYS_PER_DELETE]]
            answer = self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": batch, "Quiet": True})
            refused += [f"{error['Key']} ({error['Code']})" for error in answer.get("Errors", ())]
        if refused:
            raise DeleteRefused(f"{len(refused)} of {len(keys)} objects were not deleted, first {refused[0]}")

    def delete_unchanged(self, entry: StoredObject) -> bool:
        """Delete an object if it is still the one that was listed; whether it was.

        S3 is also told to compare: one that does not support it leaves the moment between the two requests.
        """
        key = self.key(entry.key)
        try:
            with _missing_is_named(key):
                now = self._s3.head_object(Bucket=self._bucket, Key=key)
            if (now["ETag"].strip('"'), now["LastModified"]) != (entry.etag, entry.modified):
                return False
            self._s3.delete_object(Bucket=self._bucket, Key=key, IfMatch=now["ETag"])
        except ObjectMissing:
            return False
        except ClientError as error:
            if error.response["Error"]["Code"] in {"412", "PreconditionFailed"}:
                return False
            raise
        return True


@contextmanager
def _missing_is_named(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            raise ObjectMissing(f"no object {key}") from None
        raise
