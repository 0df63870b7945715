"""Opening one foreign file as a stream of bytes: plain, gzip, or a zip with one member.

Belongs here: limits on what a compressed file may expand to, and the refusal of broken, encrypted or nested
archives. The content decides what a file is, never its name. What the bytes mean belongs elsewhere.
"""

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, cast

from orchestration.connectors.errors import UnreadableFile

Progress = Callable[[int, int], None]
Container = Literal["plain", "gzip", "zip"]

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Caps on one foreign file; the defaults suit a 10 GB log.

    Attributes:
        expanded_bytes: Most bytes that an archive may expand to.
        expansion_ratio: Most bytes out per byte in, judged once ``ratio_floor_bytes`` have come out.
        ratio_floor_bytes: Expanded bytes below which the ratio is not judged.
        record_bytes: Longest single record.
        columns: Most columns of one file.
        trace_events: Most events of one XES trace, which is held in memory.
        shared_text: Most characters of the texts that the sheets of a workbook share, which are held in memory.
        xml_depth: Deepest nesting of XES attributes.
    """

    expanded_bytes: int = 64 << 30
    expansion_ratio: int = 250
    ratio_floor_bytes: int = 64 << 20
    record_bytes: int = 16 << 20
    columns: int = 4096
    trace_events: int = 2_000_000
    shared_text: int = 512 << 20
    xml_depth: int = 32


class ByteStream(Protocol):
    """The one method that readers need of an opened file."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most ``size`` if that is not negative; empty at the end."""
        ...


def container_of(path: Path) -> Container:
    """What wraps the file's content, by its first bytes."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(GZIP_MAGIC):
        return "gzip"
    return "zip" if magic == ZIP_MAGIC else "plain"


@contextmanager
def open_expanded(path: Path, limits: Limits, progress: Progress | None = None) -> Iterator[ByteStream]:
    """The file's content as a stream; ``progress`` hears of the bytes read from the file itself.

    Raises:
        UnreadableFile: The archive is broken, encrypted, nested, has several members, or expands past a
            limit.
    """
    total = path.stat().st_size
    with ExitStack() as stack:
        source = stack.enter_context(path.open("rb"))
        container = container_of(path)
        if container == "gzip":
            content: ByteStream = stack.enter_context(gzip.GzipFile(fileobj=source))
        elif container == "zip":
            content = stack.enter_context(_only_member(path, source))
        else:
            content = source
        yield _Guarded(content, source, total, limits, progress, compressed=container != "plain")


def is_workbook(path: Path) -> bool:
    """Whether the file is an Excel workbook (.xlsx), which is a zip with parts of known names."""
    if container_of(path) != "zip":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {"[Content_Types].xml", "xl/workbook.xml"} <= set(archive.namelist())
    except zipfile.BadZipFile:
        return False  # opening it will tell


@contextmanager
def open_member(
    path: Path, name: str, limits: Limits, progress: Progress | None = None
) -> Iterator[ByteStream]:
    """One member of a zip as a stream.

    Raises:
        UnreadableFile: It is not there, broken, encrypted, or expands past a limit.
    """
    try:
        with path.open("rb") as source, zipfile.ZipFile(source) as archive:
            if archive.getinfo(name).flag_bits & 0x1:
                raise UnreadableFile("The file is encrypted. Send it without a password.")
            with archive.open(name) as member:
                total = path.stat().st_size
                yield _Guarded(cast(BinaryIO, member), source, total, limits, progress, compressed=True)
    except KeyError:
        raise UnreadableFile(f"The file has no part {name}. Save it again.") from None
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise UnreadableFile(f"The file cannot be read ({error}). Save it again.") from error


def expand_to(path: Path, target: Path, limits: Limits, progress: Progress | None = None) -> None:
    """Write the content of an archive to ``target``, for formats that must be read from the end."""
    with open_expanded(path, limits, progress) as stream, target.open("wb") as file:
        while chunk := stream.read(_CHUNK):
            file.write(chunk)


class _Guarded:
    """A stream that counts what comes out and stops at the limits."""

    def __init__(
        self,
        content: ByteStream,
        source: BinaryIO,
        total: int,
        limits: Limits,
        progress: Progress | None,
        *,
        compressed: bool,
    ) -> None:
        self._content, self._source, self._total = content, source, total
        self._limits, self._progress, self._compressed = limits, progress, compressed
        self._expanded = 0

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:  # never expand an archive in one piece
            return b"".join(iter(lambda: self.read(_CHUNK), b""))
        try:
            chunk = self._content.read(size)
        except (EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
            raise UnreadableFile(f"The archive is damaged or cut off ({error}). Send it again.") from error
        if self._compressed:
            self._check(chunk)
        if self._progress:
            self._progress(min(self._source.tell(), self._total), self._total)
        return chunk

    def _check(self, chunk: bytes) -> None:
        if self._expanded == 0 and chunk.startswith((GZIP_MAGIC, ZIP_MAGIC)):
            raise UnreadableFile("The archive holds another archive. Pack the log itself, once.")
        self._expanded += len(chunk)
        if self._expanded > self._limits.expanded_bytes:
            raise UnreadableFile(
                f"The archive expands to more than {self._limits.expanded_bytes:,} bytes. Split it."
            )
        ratio = self._expanded / max(1, self._total)
        if self._expanded > self._limits.ratio_floor_bytes and ratio > self._limits.expansion_ratio:
            raise UnreadableFile(
                f"The archive expands more than {self._limits.expansion_ratio} times, as bombs do. "
                "Send the log uncompressed."
            )


@contextmanager
def _only_member(path: Path, source: BinaryIO) -> Iterator[BinaryIO]:
    try:
        with zipfile.ZipFile(source) as archive:
            # macOS adds a folder of resource forks beside the file that was packed.
            members = [
                m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")
            ]
            if any(m.filename == "[Content_Types].xml" for m in members):
                raise UnreadableFile(
                    f"{path.name} is an Office document that is no .xlsx. Save the table as CSV (UTF-8) first."
                )
            if len(members) != 1:
                raise UnreadableFile(
                    f"The zip file holds {len(members)} files. Pack exactly one log in each zip."
                )
            if members[0].flag_bits & 0x1:
                raise UnreadableFile("The zip file is encrypted. Send it without a password.")
            with archive.open(members[0]) as member:
                yield cast(BinaryIO, member)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise UnreadableFile(
            f"The zip file cannot be read ({error}). Pack it again with plain zip."
        ) from error
