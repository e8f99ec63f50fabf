"""Many clients at one door in one moment: connections that are open beforehand, and one request for all of them."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode


class Answer(NamedTuple):
    """Status and JSON body of a response."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """One client on a connection of its own."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> Answer:
        """Read the response to what was sent."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        return Answer(int(head.split(" ", 2)[1]), json.loads(await self.reader.readexactly(length)))


class Crowd:
    """So many contenders, shared out evenly over the processes at these ports of loopback."""

    def __init__(self, ports: Sequence[int], count: int) -> None:
        self._ports = [ports[number % len(ports)] for number in range(count)]
        self._contenders: list[Contender] = []

    async def __aenter__(self) -> "Crowd":
        opened = [asyncio.open_connection("127.0.0.1", port) for port in self._ports]
        self._contenders = [Contender(*streams) for streams in await asyncio.gather(*opened)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self._contenders:
            one.writer.close()
        await asyncio.gather(*(one.writer.wait_closed() for one in self._contenders))

    async def race(self, path: str, form: dict[str, str]) -> list[Answer]:
        """Everybody sends the same form at once."""
        body = urlencode(form)
        request = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
        ).encode()
        for one in self._contenders:
            one.writer.write(request)
        return await asyncio.gather(*(one.answer() for one in self._contenders))
