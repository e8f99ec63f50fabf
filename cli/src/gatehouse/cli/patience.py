"""How long a connection may take to say what it wants: who holds one open in silence holds a place of somebody else.

Uvicorn waits for ever for the first byte, for the rest of a header, and for the rest of a body, and serves so many
connections at most (`limit_concurrency`): a handful of silent clients could take them all.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Patience(HttpToolsProtocol):
    """HTTP/1.1 with an end to waiting; a connection that takes longer is cut without an answer."""

    header_seconds: ClassVar[float] = 15.0
    body_seconds: ClassVar[float] = 20.0
    slowest: ClassVar[int] = 32 * 1024  # bytes of a body per second, beyond `body_seconds`
    largest: ClassVar[int] = 10 * 1024 * 1024  # no route takes more

    _timer: asyncio.TimerHandle | None = None
    _asked = False
    _reading = False
    _body_length = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for a first request, but not for ever."""
        super().connection_made(transport)
        self._wait(self.header_seconds)

    def data_received(self, data: bytes) -> None:
        """Read on; what is not whole yet has to become so in time."""
        super().data_received(data)
        if self._timer is not None:
            return
        if self._reading:
            self._wait(self.body_seconds + self._body_length / self.slowest)
        elif not self._asked or self.cycle.response_complete:
            self._wait(self.header_seconds)  # bytes that begin no request

    def connection_lost(self, exc: Exception | None) -> None:
        """There is nobody to wait for."""
        self._stop()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """The header came in time; the body has a time of its own."""
        self._stop()
        self._asked = self._reading = True
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        self._body_length = min(int(length), self.largest) if length.isdigit() else self.largest
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._stop()
        self._reading = False
        super().on_message_complete()

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._cut)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.abort()
