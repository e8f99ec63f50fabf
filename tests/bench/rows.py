"""The rows of the table: what is asked of the server, and what it may cost (design: hot paths).

A row is a plug-in: `prepare` is given the running server, makes what it needs there (people, tokens, jobs) and
returns the talk of each connection. To add one, write a function `prepare(server) -> Talk` and enter it in ROWS.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.load import Conversation, Talk, request
from tests.bench.server import Server


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of request. goal, stretch and limit are ratios to R; `units` divides a request that does many things."""

    name: str
    prepare: Callable[[Server], Talk]
    goal: float | None = None
    stretch: float | None = None
    limit: float | None = None
    expect: frozenset[int] = frozenset({200})
    connections: int = 32
    units: int = 1


def repeat(data: bytes) -> Talk:
    """Every connection sends the same request for ever."""

    def talk(_number: int) -> Conversation:
        while True:
            yield data

    return talk


HELLO = Row("hello", lambda _server: repeat(request("GET", "/")))

# Rows that are measured on `gatehouse serve`, in the order of the table.
ROWS: tuple[Row, ...] = ()
