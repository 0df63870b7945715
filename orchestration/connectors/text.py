"""Decoding a byte stream strictly into clean UTF-8.

The whole file is held to one encoding: a byte order mark decides, else the given encoding, else UTF-8.
Nothing is replaced or skipped; a NUL, which PostgreSQL cannot store, is the only character taken out, and is
counted.
"""

import codecs

from orchestration.connectors.archive import ByteStream
from orchestration.connectors.errors import InvalidMapping, UnreadableFile

_CHUNK = 1 << 20
_BOMS = (  # UTF-32's mark starts with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class CleanText:
    """A stream of valid UTF-8 without byte order mark and NUL.

    Attributes:
        encoding: The encoding that the file is read in.
        nul_count: NUL characters taken out so far.
    """

    def __init__(self, stream: ByteStream, encoding: str | None) -> None:
        """Read the first bytes and settle the encoding.

        Raises:
            InvalidMapping: The given encoding is unknown.
            UnreadableFile: The file looks like UTF-16 without a byte order mark, or is not in its encoding.
        """
        self._stream = stream
        head = stream.read(_CHUNK)
        self.encoding, head = _settle(head, encoding)
        self.nul_count = 0
        self._lines = 0
        self._decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        self._buffer = bytearray(self._clean(head, final=not head))

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, or all that are left, without consuming them."""
        while len(self._buffer) < size and self._fill():
            pass
        return bytes(self._buffer[:size])

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most ``size`` if that is not negative; empty at the end.

        Raises:
            UnreadableFile: The bytes are not in the file's encoding.
        """
        while (size < 0 or len(self._buffer) < size) and self._fill():
            pass
        end = len(self._buffer) if size < 0 else size
        chunk = bytes(self._buffer[:end])
        del self._buffer[:end]
        return chunk

    def _fill(self) -> bool:
        raw = self._stream.read(_CHUNK)
        self._buffer += self._clean(raw, final=not raw)
        return bool(raw)

    def _clean(self, raw: bytes, *, final: bool) -> bytes:
        try:
            text = self._decoder.decode(raw, final)
        except UnicodeDecodeError as error:
            raise UnreadableFile(self._complaint(error)) from None
        clean = text.encode("utf-8")
        self._lines += clean.count(b"\n")
        if b"\x00" in clean:
            self.nul_count += clean.count(b"\x00")
            clean = clean.replace(b"\x00", b"")
        return clean

    def _complaint(self, error: UnicodeDecodeError) -> str:
        line = self._lines + 1 + error.object[: error.start].count(b"\n")
        start = error.object.rfind(b"\n", 0, error.start) + 1
        shown = error.object[max(start, error.start - 40) : error.start + 20].split(b"\n")[0]
        complaint = f"Line {line} is not {self.encoding}: byte 0x{error.object[error.start]:02x}."
        if self.encoding != "utf-8":
            return f"{complaint} Give the encoding that the file was written in with --encoding."
        as_cp1252 = shown.decode("cp1252", "replace").strip()
        return f"{complaint} If {as_cp1252!r} reads well, give --encoding cp1252 (Western European Windows)."


def _settle(head: bytes, given: str | None) -> tuple[str, bytes]:
    """The encoding, and the head without its byte order mark."""
    if given is not None:
        try:
            given = codecs.lookup(given).name
        except LookupError:
            raise InvalidMapping(
                f"There is no encoding {given!r}. Common ones: utf-8, cp1252, utf-16."
            ) from None
    for bom, encoding in _BOMS:
        if head.startswith(bom) and (given is None or encoding.startswith(given.removesuffix("-sig"))):
            return encoding, head.removeprefix(bom)
    if given in (
        "utf-16",
        "utf-32",
    ):  # without a mark: Windows, which writes little-endian, is the usual source
        return f"{given}-le", head
    if given is None and head.count(b"\x00") * 4 > len(head):
        side = "le" if head[1::2].count(b"\x00") > head[::2].count(b"\x00") else "be"
        raise UnreadableFile(
            f"The file looks like UTF-16 without a byte order mark. Give --encoding utf-16-{side}."
        )
    return given or "utf-8", head
