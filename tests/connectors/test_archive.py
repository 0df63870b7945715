"""Compressed files: the same content lands, and bombs, damage and riddles are refused."""

import gzip
import io
import zipfile

import pytest

from orchestration.connectors import Limits, UnreadableFile
from tests.connectors.landed import LandBytes

CSV = b"case,activity,time\n" + b"".join(b"c%d,a,2024-01-01\n" % n for n in range(2000))


def zipped(*members: tuple[str, bytes]) -> bytes:
    """A zip file of the members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(CSV),
        gzip.compress(CSV[:9000]) + gzip.compress(CSV[9000:]),
        zipped(("log.csv", CSV)),
        zipped(("log.csv", CSV), ("__MACOSX/._log.csv", b"fork")),
    ],
)
def test_archives_land_as_their_content(land_bytes: LandBytes, packed: bytes) -> None:
    assert land_bytes(packed).rows() == land_bytes(CSV).rows()


def test_damaged_archives_are_refused(land_bytes: LandBytes) -> None:
    whole = gzip.compress(CSV)
    wrong_checksum = whole[:-8] + b"\0\0\0\0" + whole[-4:]
    for damaged in (whole[:-20], whole[: len(whole) // 2], wrong_checksum, zipped(("log.csv", CSV))[:-30]):
        with pytest.raises(UnreadableFile, match=r"damaged|cannot be read"):
            land_bytes(damaged)


def test_zip_riddles_are_refused(land_bytes: LandBytes) -> None:
    with pytest.raises(UnreadableFile, match="holds 2 files"):
        land_bytes(zipped(("a.csv", CSV), ("b.csv", CSV)))
    with pytest.raises(UnreadableFile, match="Office document"):
        land_bytes(zipped(("[Content_Types].xml", b"<x/>"), ("word/document.xml", b"<x/>")))
    with pytest.raises(UnreadableFile, match="another archive"):
        land_bytes(zipped(("log.csv.gz", gzip.compress(CSV))))
    encrypted = bytearray(zipped(("log.csv", CSV)))
    encrypted[6] |= 1  # the flag of the local header
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1  # and of the directory
    with pytest.raises(UnreadableFile, match="encrypted"):
        land_bytes(bytes(encrypted))


def test_bombs_are_stopped(land_bytes: LandBytes) -> None:
    bomb = b"case,activity,time\n" + b"c,a,2024-01-01\n" * 400_000
    for packed in (gzip.compress(bomb), zipped(("log.csv", bomb))):
        with pytest.raises(UnreadableFile, match="more than 1,000,000 bytes"):
            land_bytes(packed, limits=Limits(expanded_bytes=1_000_000))
        with pytest.raises(UnreadableFile, match="more than 50 times"):
            land_bytes(packed, limits=Limits(expansion_ratio=50, ratio_floor_bytes=1_000_000))
