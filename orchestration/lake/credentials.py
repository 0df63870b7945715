"""Credentials for one workspace's prefix in one bucket, by STS AssumeRole with a session policy.

The policy is the boundary between tenants: S3 itself refuses every other key. What is done with the
credentials belongs to ``objects`` (boto3) and ``session`` (DuckDB).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from orchestration.lake.layout import workspace_prefix

if TYPE_CHECKING:
    # The query child needs ScopedCredentials alone, and boto3 and pydantic take longer to import than it
    # takes to run.
    from orchestration.settings import Settings

ANY_REGION = "us-east-1"
"""What a request is signed for where the server does not look at it, and for STS, which answers here for all."""

SHORTEST_SESSION = timedelta(minutes=15)
LONGEST_SESSION = timedelta(hours=12)

_READ = ["s3:GetObject"]
_WRITE = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]


class WrongRegion(ValueError):
    """A bucket or region other than the workspace's own was asked for."""


@dataclass(frozen=True)
class ScopedCredentials:
    """A key to ``s3://{bucket}/{workspace_id}/`` and to nothing else, until ``expires_at`` (UTC)."""

    workspace_id: str
    region: str
    bucket: str
    endpoint: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime
    read_only: bool = False
    signing_region: str = ANY_REGION

    @property
    def prefix(self) -> str:
        """``{workspace_id}/``: the start of every key that these credentials reach."""
        return workspace_prefix(self.workspace_id)

    @property
    def root(self) -> str:
        """``s3://{bucket}/{workspace_id}/``."""
        return f"s3://{self.bucket}/{self.prefix}"


class CredentialBroker:
    """Turns the installation's own S3 identity into credentials for one workspace at a time."""

    def __init__(self, settings: Settings) -> None:
        """Connects lazily: nothing is sent before the first ``for_workspace``."""
        import boto3  # here, for the same reason

        self._settings = settings
        self._sts = boto3.client(
            "sts",
            endpoint_url=settings.s3_sts_endpoint,
            region_name=ANY_REGION,
            aws_access_key_id=settings.s3_access_key.get_secret_value(),
            aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
        )

    def for_workspace(
        self,
        workspace_id: UUID | str,
        region: str,
        duration: timedelta = timedelta(hours=1),
        *,
        read_only: bool = False,
    ) -> ScopedCredentials:
        """Credentials for a workspace's prefix in the bucket of ``region``, the workspace's own.

        Raises:
            WrongRegion: the installation has no bucket for the region.
            ValueError: ``duration`` is outside of what STS grants (15 minutes to 12 hours).
        """
        if not SHORTEST_SESSION <= duration <= LONGEST_SESSION:
            raise ValueError(f"duration must be {SHORTEST_SESSION} to {LONGEST_SESSION}, not {duration}")
        bucket, prefix = self._bucket(region), workspace_prefix(workspace_id)
        answer = self._sts.assume_role(
            RoleArn=self._settings.s3_role_arn,
            RoleSessionName=f"workspace-{prefix.rstrip('/')}",
            Policy=json.dumps(session_policy(bucket, prefix, read_only=read_only)),
            DurationSeconds=int(duration.total_seconds()),
        )["Credentials"]
        return ScopedCredentials(
            workspace_id=prefix.rstrip("/"),
            region=region,
            bucket=bucket,
            endpoint=self._settings.s3_endpoint,
            access_key_id=answer["AccessKeyId"],
            secret_access_key=answer["SecretAccessKey"],
            session_token=answer["SessionToken"],
            expires_at=answer["Expiration"].astimezone(UTC),
            read_only=read_only,
            signing_region=self._settings.s3_signing_regions.get(region, ANY_REGION),
        )

    def _bucket(self, region: str) -> str:
        try:
            return self._settings.s3_buckets[region]
        except KeyError:
            known = ", ".join(sorted(self._settings.s3_buckets))
            raise WrongRegion(
                f"no bucket for region {region!r}: this installation has {known} (CASETRAIL_S3_BUCKETS)"
            ) from None


def session_policy(bucket: str, prefix: str, *, read_only: bool) -> dict[str, object]:
    """The inline policy of a session: objects below ``prefix``, and listings of no more than that."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": _READ if read_only else _READ + _WRITE,
                "Resource": f"arn:aws:s3:::{bucket}/{prefix}*",
            },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": f"arn:aws:s3:::{bucket}",
                "Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}},
            },
        ],
    }
