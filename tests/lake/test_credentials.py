"""The first layer of isolation: what S3 itself refuses to a workspace's credentials."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from orchestration.lake.credentials import CredentialBroker, ScopedCredentials, WrongRegion
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings

HOUR = timedelta(hours=1)


def client(service: str, credentials: ScopedCredentials) -> Any:
    """A client that checks nothing itself."""
    return boto3.client(
        service,
        endpoint_url=credentials.endpoint,
        region_name=credentials.signing_region,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


FOREIGN_CALLS: dict[str, Callable[[Any, str, str, str], Any]] = {
    "get": lambda s3, bucket, ours, theirs: s3.get_object(Bucket=bucket, Key=f"{theirs}secret.csv"),
    "head": lambda s3, bucket, ours, theirs: s3.head_object(Bucket=bucket, Key=f"{theirs}secret.csv"),
    "put": lambda s3, bucket, ours, theirs: s3.put_object(Bucket=bucket, Key=f"{theirs}x", Body=b"x"),
    "delete": lambda s3, bucket, ours, theirs: s3.delete_object(Bucket=bucket, Key=f"{theirs}secret.csv"),
    "list": lambda s3, bucket, ours, theirs: s3.list_objects_v2(Bucket=bucket, Prefix=theirs),
    "list root": lambda s3, bucket, ours, theirs: s3.list_objects_v2(Bucket=bucket),
    "list half an id": lambda s3, bucket, ours, theirs: s3.list_objects_v2(Bucket=bucket, Prefix=ours[:8]),
    "list without slash": lambda s3, bucket, ours, theirs: s3.list_objects_v2(
        Bucket=bucket, Prefix=ours[:-1]
    ),
    "copy from": lambda s3, bucket, ours, theirs: s3.copy_object(
        Bucket=bucket, Key=f"{ours}stolen", CopySource=f"{bucket}/{theirs}secret.csv"
    ),
    "copy to": lambda s3, bucket, ours, theirs: s3.copy_object(
        Bucket=bucket, Key=f"{theirs}planted", CopySource=f"{bucket}/{ours}own.csv"
    ),
    "multipart": lambda s3, bucket, ours, theirs: s3.create_multipart_upload(Bucket=bucket, Key=f"{theirs}x"),
    "step up": lambda s3, bucket, ours, theirs: s3.get_object(
        Bucket=bucket, Key=f"{ours}../{theirs}secret.csv"
    ),
    "other region": lambda s3, bucket, ours, theirs: s3.put_object(
        Bucket=bucket.replace("-eu", "-us"), Key=f"{ours}x", Body=b"x"
    ),
    "read other region": lambda s3, bucket, ours, theirs: s3.list_objects_v2(
        Bucket=bucket.replace("-eu", "-us"), Prefix=ours
    ),
    "bucket policy": lambda s3, bucket, ours, theirs: s3.get_bucket_policy(Bucket=bucket),
    "delete bucket": lambda s3, bucket, ours, theirs: s3.delete_bucket(Bucket=bucket),
    "make bucket": lambda s3, bucket, ours, theirs: s3.create_bucket(Bucket="casetrail-mine"),
}


@pytest.mark.parametrize("call", FOREIGN_CALLS)
def test_s3_refuses_what_is_not_the_workspaces(
    call: str, ours: ScopedCredentials, store: WorkspaceStore, neighbour: WorkspaceStore
) -> None:
    store.put_bytes(f"{ours.prefix}own.csv", b"x")

    with pytest.raises(ClientError) as refused:
        FOREIGN_CALLS[call](client("s3", ours), ours.bucket, ours.prefix, neighbour.credentials.prefix)

    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 403}
    assert [entry.key for entry in neighbour.list()] == [f"{neighbour.credentials.prefix}secret.csv"]


def test_a_bulk_delete_takes_own_objects_only(ours: ScopedCredentials, neighbour: WorkspaceStore) -> None:
    foreign = f"{neighbour.credentials.prefix}secret.csv"

    answer = client("s3", ours).delete_objects(Bucket=ours.bucket, Delete={"Objects": [{"Key": foreign}]})

    assert [(error["Key"], error["Code"]) for error in answer["Errors"]] == [(foreign, "AccessDenied")]
    assert neighbour.exists(foreign)


def test_a_presigned_url_carries_no_more_rights(ours: ScopedCredentials, neighbour: WorkspaceStore) -> None:
    s3 = client("s3", ours)
    url = s3.generate_presigned_url(
        "get_object", Params={"Bucket": ours.bucket, "Key": f"{neighbour.credentials.prefix}secret.csv"}
    )

    assert httpx.get(url).status_code == 403


def test_scoped_credentials_cannot_assume_the_role_again(
    installation: Settings, ours: ScopedCredentials
) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        client("sts", ours).assume_role(RoleArn=installation.s3_role_arn, RoleSessionName="again")


def test_read_only_credentials_read_only(broker: CredentialBroker, store: WorkspaceStore) -> None:
    own = store.credentials
    store.put_bytes(f"{own.prefix}x", b"1")
    reader = WorkspaceStore(broker.for_workspace(own.workspace_id, "EU", HOUR, read_only=True))

    assert reader.get(f"{own.prefix}x") == b"1"
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.put_bytes(f"{own.prefix}x", b"2")


def test_the_credentials_end(ours: ScopedCredentials) -> None:
    left = ours.expires_at - datetime.now(UTC)

    assert timedelta(minutes=59) < left <= timedelta(minutes=61)


def test_nothing_prints_the_secrets(ours: ScopedCredentials) -> None:
    printed = f"{ours!r} {ours}"

    assert ours.workspace_id in printed
    assert ours.secret_access_key not in printed
    assert ours.session_token not in printed


def test_a_region_without_bucket_is_an_error(broker: CredentialBroker) -> None:
    with pytest.raises(WrongRegion, match="no bucket for region 'APAC': this installation has EU, UK, US"):
        broker.for_workspace(uuid4(), "APAC")


@pytest.mark.parametrize("duration", [timedelta(minutes=1), timedelta(days=2)])
def test_the_duration_is_one_that_sts_grants(broker: CredentialBroker, duration: timedelta) -> None:
    with pytest.raises(ValueError, match="duration must be"):
        broker.for_workspace(uuid4(), "EU", duration)


@pytest.mark.parametrize(
    "call", ["get", "head", "put", "delete", "list", "copy from", "copy to", "multipart"]
)
def test_the_same_calls_work_on_the_workspaces_own(
    call: str, ours: ScopedCredentials, store: WorkspaceStore
) -> None:
    for name in ("own.csv", "secret.csv"):
        store.put_bytes(f"{ours.prefix}{name}", b"x")

    FOREIGN_CALLS[call](client("s3", ours), ours.bucket, ours.prefix, ours.prefix)


def test_requests_are_signed_for_the_region_of_the_bucket(installation: Settings) -> None:
    elsewhere = installation.model_copy(update={"s3_signing_regions": {"EU": "eu-central-1"}})
    credentials = CredentialBroker(elsewhere).for_workspace(uuid4(), "EU")
    assert credentials.signing_region == "eu-central-1"
    store = WorkspaceStore(credentials)
    store.put_bytes(f"{credentials.prefix}inbox/a.csv", b"a")
    assert store.get(f"{credentials.prefix}inbox/a.csv") == b"a"
    assert CredentialBroker(installation).for_workspace(uuid4(), "UK").signing_region == "us-east-1"
