"""Clients that hold a connection and say nothing, or slowly; addresses that lead to a host of the client's choice."""

import asyncio
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from gatehouse.cli.patience import Patience
from tests.service import Service, free_port

SILENT = [
    b"",
    b"\r\n",
    b"GET / HTT",
    b"GET / HTTP/1.1\r\nHost: here\r\nX-Slow: ",
    b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nx",
    b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
]
DRIP = 0.05


class Hasty(Patience):
    """The same with less time."""

    header_seconds = 0.3
    body_seconds = 0.3
    slowest = 1_000_000_000


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, say how long it was."""
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(length).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": body})


async def _started(app: ASGIApp, port: int) -> tuple[uvicorn.Server, "asyncio.Task[None]"]:
    opened = asyncio.Event()

    class Telling(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            opened.set()

    config = uvicorn.Config(app, port=port, http=Hasty, lifespan="off", log_config=None, timeout_keep_alive=1)
    server = Telling(config)
    running = asyncio.create_task(server.serve())
    await opened.wait()
    return server, running


async def _with_server(port: int, *tries: bytes, drip: bytes = b"") -> list[float]:
    """Seconds until the server ends each connection that began with these bytes, and dripped on."""
    server, running = await _started(echo, port)
    try:
        return await asyncio.gather(*(_until_cut(port, said, drip) for said in tries))
    finally:
        server.should_exit = True
        await running


async def _until_cut(port: int, said: bytes, drip: bytes) -> float:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begun = loop.time()
    try:
        writer.write(said)
        while loop.time() - begun < 5:
            try:
                if not await asyncio.wait_for(reader.read(4096), DRIP):
                    break
            except TimeoutError:
                writer.write(drip)
            except ConnectionError:
                break
    finally:
        writer.close()
    return loop.time() - begun


def test_a_client_that_never_finishes_is_cut_off() -> None:
    assert max(asyncio.run(_with_server(free_port(), *SILENT))) < 3


@pytest.mark.parametrize(("said", "drip"), [(1, b"\r\n"), (2, b"P"), (3, b"y"), (4, b""), (6, b"\r\n")])
def test_a_drop_now_and_then_does_not_help(said: int, drip: bytes) -> None:
    """Nor do blank lines after an answer, which uvicorn takes for a sign of life."""
    assert max(asyncio.run(_with_server(free_port(), SILENT[said], drip=drip))) < 3


def test_a_whole_request_is_answered_however_slowly_it_is_worked_on() -> None:
    async def slow_app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.8)
        await echo(scope, receive, send)

    async def run() -> bytes:
        port = free_port()
        server, running = await _started(slow_app, port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
        answer = await reader.read()
        writer.close()
        server.should_exit = True
        await running
        return answer

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n3")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("service")
    with Service(folder, more="") as running:
        yield running


def test_no_redirect_names_the_host_of_the_client(service: Service) -> None:
    """A 307 would send the body, with a token in it, to wherever the Host header says."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    headers = {"Host": "evil.example", "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/auth/token/", body=b"refresh_token=x", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("location")) == (404, None)
    connection.close()
