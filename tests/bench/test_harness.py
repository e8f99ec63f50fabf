"""The load generator against the reference server: it counts what it sent and fails on what it did not expect."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.bench import server as servers
from tests.bench.load import Conversation, Failed, Load, Response, Slice, request
from tests.bench.measure import timing
from tests.bench.rows import HELLO, repeat


@pytest.fixture(scope="module")
def hello() -> Iterator[servers.Server]:
    with servers.hello() as server:
        yield server


def one_slice(work: Load, seconds: float) -> Slice:
    async def go() -> Slice:
        try:
            await work.open()
            return await work.run(seconds)
        finally:
            work.close()
            await asyncio.sleep(0)

    return asyncio.run(go())


def test_hello_is_measured(hello: servers.Server) -> None:
    work = Load(hello, HELLO.prepare(hello), HELLO.expect, connections=4)
    stretch = one_slice(work, 0.4)
    cost = timing([stretch])
    assert cost.requests > 20
    assert 0 < stretch.cpu_seconds < 2 * stretch.seconds  # one process, one busy thread
    assert 0 < cost.p50_ms <= cost.p99_ms


def test_a_conversation_sees_every_response_and_may_end(hello: servers.Server) -> None:
    seen: list[Response] = []

    def talk(_number: int) -> Conversation:
        for _ in range(3):
            seen.append((yield request("POST", "/", b"x" * 100_000)))

    stretch = one_slice(Load(hello, talk, frozenset({200}), connections=2), 5)
    assert stretch.requests == 6
    assert seen == [Response(200, b"Hello world\n")] * 6
    assert stretch.seconds < 4  # it ended with the conversations, not with the clock


def test_an_unexpected_status_ends_the_slice(hello: servers.Server) -> None:
    with pytest.raises(Failed, match="status 200: Hello"):
        one_slice(Load(hello, repeat(request("GET", "/")), frozenset({201}), connections=2), 5)


def test_a_closed_connection_ends_the_slice(hello: servers.Server) -> None:
    with pytest.raises(Failed, match="closed the connection"):
        one_slice(Load(hello, repeat(b"GET / HTTP/1.0\r\n\r\n"), frozenset({200}), connections=1), 5)


def test_a_request_carries_its_length_and_token() -> None:
    data = request("POST", "/auth/token", b"a=b", token="t", content_type="application/x-www-form-urlencoded")
    head, _, body = data.partition(b"\r\n\r\n")
    assert body == b"a=b"
    assert head.startswith(b"POST /auth/token HTTP/1.1\r\n")
    assert b"Content-Length: 3" in head
    assert b"Authorization: Bearer t" in head
