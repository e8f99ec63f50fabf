"""A load generator: keep-alive connections that speak just enough HTTP/1.1 to cost little.

Every connection holds a conversation: a generator that yields the bytes of a request and is sent the response to
it, so that a request may depend on the answer before (a rotated refresh token). Responses need a Content-Length.
"""

import asyncio
import gc
import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, cast

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
MAX_HEAD = 64 * 1024


class Response(NamedTuple):
    """What a conversation is sent."""

    status: int
    body: bytes


Conversation = Generator[bytes, Response, None]
Talk = Callable[[int], Conversation]  # connection number → its conversation


class Failed(Exception):
    """A response that the row did not expect, or a connection that broke."""


class Metered(Protocol):
    """What is loaded: where it listens and what it has cost so far."""

    @property
    def port(self) -> int: ...

    def cpu_seconds(self) -> float: ...


def request(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    token: str = "",
    proof: str = "",
    content_type: str = "",
    host: str = "localhost",
) -> bytes:
    """The bytes of one HTTP/1.1 request; with a `proof` the token is one that is bound to a key (RFC 9449)."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Accept: */*"]
    if token:
        lines.append(f"Authorization: {'DPoP' if proof else 'Bearer'} {token}")
    if proof:
        lines.append(f"DPoP: {proof}")
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    if body or method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Slice:
    """One stretch of load: every request that began in it was answered in it."""

    expect: frozenset[int]
    until: float
    latencies: list[float] = field(default_factory=list)  # seconds
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    failure: str = ""

    @property
    def requests(self) -> int:
        """How many were answered."""
        return len(self.latencies)


class Connection(asyncio.Protocol):
    """One keep-alive connection and its conversation; lives through all slices of a row."""

    transport: asyncio.Transport

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.pending: bytes | None = next(conversation, None)
        self.data = b""
        self.closed = False
        self.idle: asyncio.Future[None] | None = None
        self.slice: Slice

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.fail(f"the server closed the connection ({exc or 'no error'})")

    def run(self, stretch: Slice, idle: asyncio.Future[None]) -> None:
        """Send requests until the stretch is over; then `idle` is done."""
        self.slice, self.idle = stretch, idle
        if self.closed:
            self.fail("the server closed the connection between two slices")
        else:
            self.advance(time.perf_counter())

    def advance(self, now: float) -> None:
        """Send the next request, or rest."""
        if self.pending is None or now >= self.slice.until or self.slice.failure:
            self.rest()
            return
        self.sent = now
        self.transport.write(self.pending)

    def rest(self) -> None:
        if self.idle is not None and not self.idle.done():
            self.idle.set_result(None)
        self.idle = None

    def fail(self, reason: str) -> None:
        if self.idle is not None:
            self.slice.failure = self.slice.failure or reason
            self.rest()

    def data_received(self, data: bytes) -> None:
        data = self.data + data if self.data else data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            self.data = data
            if len(data) > MAX_HEAD:
                self.fail("the head of a response is too long")
            return
        status = int(data[9:12])
        found = CONTENT_LENGTH.search(data, 0, head)
        if found is None and status != 204:
            self.fail("a response has no Content-Length")
            return
        end = head + 4 + (int(found[1]) if found else 0)
        if len(data) < end:
            self.data = data
            return
        self.data = b""
        self.answered(Response(status, data[head + 4 : end]))

    def answered(self, response: Response) -> None:
        """Note the latency and go on with what the conversation makes of the response."""
        now = time.perf_counter()
        if response.status not in self.slice.expect:
            self.fail(f"status {response.status}: {response.body[:300].decode(errors='replace')}")
            return
        self.slice.latencies.append(now - self.sent)
        try:
            self.pending = self.conversation.send(response)
        except StopIteration:
            self.pending = None
        except Exception as error:  # a conversation that cannot read the answer ends the row, not the harness
            self.fail(f"the row did not understand a response: {error!r}")
            return
        self.advance(now)


class Load:
    """All connections to one server, for one row."""

    def __init__(self, server: Metered, talk: Talk, expect: frozenset[int], connections: int = 32) -> None:
        self.server, self.expect = server, expect
        self.connections = [Connection(talk(number)) for number in range(connections)]

    async def open(self) -> None:
        """Connect. Errors: OSError."""
        loop = asyncio.get_running_loop()
        for connection in self.connections:
            await loop.create_connection(lambda it=connection: it, "127.0.0.1", self.server.port)  # type: ignore[misc]

    async def run(self, seconds: float) -> Slice:
        """One slice. Errors: Failed."""
        loop = asyncio.get_running_loop()
        gc.collect()
        gc.disable()
        try:
            began, cpu = time.perf_counter(), self.server.cpu_seconds()
            stretch = Slice(self.expect, began + seconds)
            idle = [loop.create_future() for _ in self.connections]
            for connection, future in zip(self.connections, idle, strict=True):
                connection.run(stretch, future)
            async with asyncio.timeout(seconds + 60):
                await asyncio.gather(*idle)
        except TimeoutError:
            raise Failed("no answer within a minute") from None
        finally:
            gc.enable()
        if stretch.failure:
            raise Failed(stretch.failure)
        stretch.cpu_seconds = self.server.cpu_seconds() - cpu
        stretch.seconds = time.perf_counter() - began
        return stretch

    def close(self) -> None:
        """Close all connections."""
        for connection in self.connections:
            connection.idle = None
            if not connection.closed and hasattr(connection, "transport"):
                connection.transport.close()
