"""Two workspaces of one region, each with a store of its own."""

from datetime import timedelta
from uuid import uuid4

import pytest

from orchestration.lake.credentials import CredentialBroker, ScopedCredentials
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings

HOUR = timedelta(hours=1)


@pytest.fixture(scope="session")
def broker(installation: Settings) -> CredentialBroker:
    return CredentialBroker(installation)


@pytest.fixture
def ours(broker: CredentialBroker) -> ScopedCredentials:
    return broker.for_workspace(uuid4(), "EU", HOUR)


@pytest.fixture
def store(ours: ScopedCredentials) -> WorkspaceStore:
    return WorkspaceStore(ours)


@pytest.fixture
def neighbour(broker: CredentialBroker) -> WorkspaceStore:
    """Another workspace of the same region, with one object."""
    store = WorkspaceStore(broker.for_workspace(uuid4(), "EU", HOUR))
    store.put_bytes(f"{store.credentials.prefix}secret.csv", b"salary\n1000\n")
    return store
