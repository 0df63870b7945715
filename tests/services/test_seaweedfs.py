"""What the embedded S3 lets through, and what not."""

import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import psutil
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from orchestration.services.certificates import ensure_certificate
from orchestration.services.seaweedfs import SeaweedFS
from orchestration.settings import Settings

BUCKET = "casetrail-eu"


def client(service: str, settings: Settings, **credentials: str) -> BaseClient:
    keys = credentials or {
        "aws_access_key_id": settings.s3_access_key.get_secret_value(),
        "aws_secret_access_key": settings.s3_secret_key.get_secret_value(),
    }
    return boto3.client(service, endpoint_url=settings.s3_endpoint, region_name="us-east-1", **keys)


def keys_of(answer: dict[str, Any]) -> dict[str, str]:
    credentials = answer["Credentials"]
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


@pytest.fixture(scope="module")
def broker(installation: Settings) -> Iterator[BaseClient]:
    broker = client("s3", installation)
    for key in ("one/a", "two/a"):
        broker.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    yield broker
    for key in ("one/a", "two/a"):
        broker.delete_object(Bucket=BUCKET, Key=key)


@pytest.fixture(scope="module")
def scoped(installation: Settings, broker: BaseClient) -> dict[str, str]:
    statement = {"Effect": "Allow", "Action": ["s3:*"], "Resource": [f"arn:aws:s3:::{BUCKET}/one/*"]}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    sts = client("sts", installation)
    answer = sts.assume_role(
        RoleArn=installation.s3_role_arn, RoleSessionName="one", Policy=json.dumps(policy)
    )
    return keys_of(answer)


def test_a_bucket_per_region_and_nothing_left_in_it(installation: Settings, broker: BaseClient) -> None:
    names = {bucket["Name"] for bucket in broker.list_buckets()["Buckets"]}
    assert names == set(installation.s3_buckets.values())
    assert "Contents" not in broker.list_objects_v2(Bucket="casetrail-us")


def test_a_scoped_session_reaches_its_own_prefix_only(installation: Settings, scoped: dict[str, str]) -> None:
    session = client("s3", installation, **scoped)
    assert session.get_object(Bucket=BUCKET, Key="one/a")["Body"].read() == b"one/a"
    for key in ("two/a", "one"):
        with pytest.raises(ClientError, match="AccessDenied"):
            session.get_object(Bucket=BUCKET, Key=key)
    with pytest.raises(ClientError, match="AccessDenied"):
        session.put_object(Bucket=BUCKET, Key="two/b", Body=b"x")


def test_a_scoped_session_cannot_shed_its_policy(installation: Settings, scoped: dict[str, str]) -> None:
    sts = client("sts", installation, **scoped)
    # The second name is that of the broker, which the role's trust policy names.
    for name in ("again", "broker"):
        with pytest.raises(ClientError, match="AccessDenied"):
            sts.assume_role(RoleArn=installation.s3_role_arn, RoleSessionName=name)
    with pytest.raises(ClientError, match="AccessDenied"):
        sts.get_federation_token(Name="broker")


def test_strangers_are_refused(installation: Settings, broker: BaseClient) -> None:
    assert httpx.get(f"{installation.s3_endpoint}/{BUCKET}/one/a").status_code == 403
    assert httpx.put(f"{installation.s3_endpoint}/{BUCKET}/one/b", content=b"x").status_code == 403
    stranger = client("s3", installation, aws_access_key_id="x", aws_secret_access_key="y")
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        stranger.get_object(Bucket=BUCKET, Key="one/a")


def test_the_inner_http_ports_are_closed(installation: Settings, broker: BaseClient) -> None:
    ports = SeaweedFS(installation.home, []).ports()
    object_of_one = f"http://127.0.0.1:{ports['filer']}/buckets/{BUCKET}/one/a"
    master, volume = (f"http://127.0.0.1:{ports[name]}" for name in ("master", "volume"))
    reads = [
        object_of_one,
        f"{master}/dir/lookup?volumeId=1&fileId=1,01637037d6&read=yes",
        f"{master}/dir/assign",
    ]
    answers = [httpx.get(url) for url in [*reads, f"{volume}/1,01637037d6"]]
    answers += [httpx.put(url, content=b"x") for url in (object_of_one, f"{volume}/1,01637037d6")]
    answers += [httpx.delete(object_of_one)]
    # 404 where HTTP is off, 401 where a signature is asked for.
    assert {answer.status_code for answer in answers} <= {401, 404}
    assert not any("authorization" in answer.headers for answer in answers)
    assert broker.get_object(Bucket=BUCKET, Key="one/a")["Body"].read() == b"one/a"


@pytest.mark.parametrize("listener", ["master", "volume", "filer", "s3"])
def test_the_inner_grpc_ports_talk_to_the_holder_of_the_key_only(
    installation: Settings, listener: str
) -> None:
    address = ("127.0.0.1", SeaweedFS(installation.home, []).ports()[f"{listener}.grpc"])
    greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])

    def talk(context: ssl.SSLContext) -> bytes:
        with (
            socket.create_connection(address, timeout=5) as connection,
            context.wrap_socket(connection) as channel,
        ):
            channel.sendall(greeting)
            return channel.recv(9)

    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    stranger.set_alpn_protocols(["h2"])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        talk(stranger)
    stranger.load_cert_chain(*ensure_certificate(installation.home / "seaweedfs"))
    assert talk(stranger)[3] == 4, "the answer is HTTP/2's settings frame"


def test_buckets_come_and_go_by_no_accident(installation: Settings, broker: BaseClient) -> None:
    # A misspelt name is not the broker's business either.
    with pytest.raises(ClientError, match="AccessDenied"):
        broker.put_object(Bucket="casetrail-eo", Key="a", Body=b"x")
    with pytest.raises(ClientError):
        broker.delete_bucket(Bucket=BUCKET)
    assert broker.head_object(Bucket=BUCKET, Key="one/a")["ContentLength"] == 5


def test_the_server_listens_on_the_loopback_only(installation: Settings) -> None:
    process = SeaweedFS(installation.home, []).process()
    assert process is not None
    listening = {
        (c.laddr.ip, c.laddr.port) for c in process.net_connections() if c.status == psutil.CONN_LISTEN
    }
    ports = SeaweedFS(installation.home, []).ports()
    assert listening == {("127.0.0.1", port) for port in ports.values()}


def test_keys_are_private_and_not_on_the_command_line(installation: Settings) -> None:
    secret = installation.s3_secret_key.get_secret_value()
    process = SeaweedFS(installation.home, []).process()
    assert process is not None
    assert secret not in " ".join(process.cmdline())
    holders = [path for path in installation.home.rglob("*.json") if secret in path.read_text()]
    assert holders
    assert {path.stat().st_mode & 0o777 for path in holders} == {0o600}
