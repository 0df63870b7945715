import re
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.lake import layout

WORKSPACE = UUID("11111111-2222-3333-4444-555555555555")
OTHER = UUID("99999999-2222-3333-4444-555555555555")
SHA256 = "ab" * 32


def test_keys_are_those_of_the_specification() -> None:
    assert layout.raw_key(WORKSPACE, "csv_upload", "2024-03", "orders-1.parquet") == (
        f"{WORKSPACE}/raw/csv_upload/2024-03/orders-1.parquet"
    )
    assert layout.dataset_key(WORKSPACE, OTHER, "events", "2024-03", SHA256) == (
        f"{WORKSPACE}/analyses/{OTHER}/events/2024-03-{'ab' * 8}.parquet"
    )
    assert layout.manifest_key(WORKSPACE, OTHER) == f"{WORKSPACE}/analyses/{OTHER}/manifest.json"
    assert layout.original_key(WORKSPACE, SHA256) == f"{WORKSPACE}/originals/{SHA256}"
    assert layout.inbox_prefix(WORKSPACE, OTHER) == f"{WORKSPACE}/inbox/{OTHER}/"
    assert layout.quarantine_key(WORKSPACE, OTHER) == f"{WORKSPACE}/quarantine/{OTHER}.parquet"


def test_a_key_of_an_analysis_tells_which() -> None:
    analysis = uuid4()
    assert layout.analysis_of(layout.manifest_key(WORKSPACE, analysis)) == str(analysis)
    assert layout.analysis_of(layout.dataset_key(WORKSPACE, analysis, "cases", "all", "0" * 64)) == str(
        analysis
    )
    for other in (
        layout.original_key(WORKSPACE, "0" * 64),
        layout.analysis_prefix(WORKSPACE, analysis),
        f"{WORKSPACE}/analyses/{'-' * 36}/cases/x.parquet",
        f"{WORKSPACE}/inbox/{analysis}/analyses/{analysis}/x",
    ):
        assert layout.analysis_of(other) is None


def test_an_id_has_one_spelling() -> None:
    spelled = str(WORKSPACE).upper()

    assert layout.workspace_prefix(spelled) == layout.workspace_prefix(WORKSPACE)


@pytest.mark.parametrize("workspace_id", ["", "../other", "acme", f"{OTHER}/x", "*"])
def test_a_workspace_id_is_a_uuid(workspace_id: str) -> None:
    with pytest.raises(layout.InvalidKeyPart, match="workspace_id must be a UUID"):
        layout.manifest_key(workspace_id, uuid4())


@pytest.mark.parametrize(
    "month", ["2024-13", "2024-00", "24-01", "2024-1", "2024-01-01", "../2024-01", "2024-01\n"]
)
def test_a_month_is_a_month(month: str) -> None:
    with pytest.raises(layout.InvalidKeyPart):
        layout.raw_key(WORKSPACE, "csv_upload", month, "x.parquet")


@given(part=st.text(max_size=20), name=st.text(max_size=20))
def test_no_part_leads_out_of_its_folder(part: str, name: str) -> None:
    try:
        key = layout.raw_key(WORKSPACE, part, "2024-01", name)
    except layout.InvalidKeyPart:
        return
    assert re.fullmatch(rf"{WORKSPACE}/raw/[a-z0-9_]+/2024-01/[A-Za-z0-9._-]+", key)
    assert ".." not in key
