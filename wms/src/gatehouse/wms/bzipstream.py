"""bzip2, read with a bound: a small archive that swells to gigabytes is stopped on its way, not after it."""

import bz2

from gatehouse.wms.tarstream import ArchiveError

_CHUNK = 64 * 1024


class BzipStream:
    """Decompresses bzip2 as it is read: at most the allowed content ever exists, a chunk at a time."""

    def __init__(self, data: bytes, *, content: int, streams: int) -> None:
        self._data = data
        self._content = content
        self._most_streams = streams
        self._decompressor = bz2.BZ2Decompressor()
        self._position = 0
        self._streams = 1
        self._total = 0
        self._buffer = b""

    def read(self, size: int, /) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            if not self._buffer and not self._fill():
                break
            parts.append(self._buffer[:size])
            self._buffer = self._buffer[size:]
            size -= len(parts[-1])
        return b"".join(parts)

    def _fill(self) -> bool:
        """Decompress some more; whether there was any."""
        while not self._buffer:
            if self._decompressor.eof and not self._next_stream():
                return False
            if self._decompressor.needs_input and self._position >= len(self._data):
                raise ArchiveError("the archive ends too early; it was not received in full")
            self._advance()
        self._total += len(self._buffer)
        if self._total > self._content:
            raise ArchiveError(f"the archive holds more than {self._content // 1024**2} MiB")
        return True

    def _advance(self) -> None:
        chunk = b""
        if self._decompressor.needs_input:
            chunk = self._data[self._position : self._position + _CHUNK]
            self._position += len(chunk)
        try:
            self._buffer = self._decompressor.decompress(chunk, _CHUNK)
        except (OSError, ValueError) as error:
            raise ArchiveError("the archive is damaged, or not compressed with bzip2") from error

    def _next_stream(self) -> bool:
        self._position -= len(self._decompressor.unused_data)
        self._streams += 1
        if self._position >= len(self._data):
            return False
        if self._streams > self._most_streams:
            raise ArchiveError("the archive has too many bzip2 streams")
        self._decompressor = bz2.BZ2Decompressor()
        return True
