"""The listener on this machine: one answer, and nothing that anybody else sends."""

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gatehouse.cli.loopback import Listener, listening

_PLAIN: Any = {"trust_env": False, "timeout": 10}
GOOD = {"state": "right", "code": "code-secret", "iss": "https://gatehouse.example.org/auth"}


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening("right") as running:
        yield running


def ask(listener: Listener, path: str = "", **query: str) -> httpx.Response:
    return httpx.get(f"{listener.redirect_uri}{path}", params=query, **_PLAIN)


def raw(listener: Listener, text: str) -> str:
    with socket.create_connection(("127.0.0.1", listener.server_address[1]), timeout=10) as line:
        line.sendall(text.encode())
        received = b""
        while chunk := line.recv(4096):
            received += chunk
    return received.decode()


def test_rfc8252_7_3_the_answer_comes_to_a_loopback_address_with_a_port_of_its_own(
    listener: Listener,
) -> None:
    page = ask(listener, **GOOD)
    assert page.status_code == 200
    assert "You may close this window" in page.text
    assert listener.wait(10) == GOOD
    assert listener.server_address[0] == "127.0.0.1"
    with listening("other") as another:
        assert another.redirect_uri != listener.redirect_uri


def test_rfc8252_8_3_nobody_else_on_the_network_is_heard(listener: Listener) -> None:
    other = "127.0.0.2"  # refused like the address of any interface
    with pytest.raises(ConnectionRefusedError), socket.create_connection((other, listener.server_address[1])):
        pass


def test_the_page_tells_nothing_and_is_not_kept(listener: Listener) -> None:
    page = ask(listener, **GOOD)
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["content-security-policy"].startswith("default-src 'none';")
    assert page.headers["server"] == "gatehouse"
    assert "code-secret" not in page.text
    assert "right" not in page.text


def test_rfc6749_10_12_an_answer_with_another_state_is_not_ours(listener: Listener) -> None:
    for query in ({**GOOD, "state": "wrong"}, {"code": "x"}, {**GOOD, "state": "\u00e9"}, {}):
        page = ask(listener, **query)
        assert page.status_code == 400
        assert "belongs to no login here" in page.text
    assert listener.foreign == 4
    assert listener.wait(0) is None
    assert ask(listener, **GOOD).status_code == 200  # and the login goes on
    assert listener.wait(10) == GOOD


def test_the_second_answer_changes_nothing(listener: Listener) -> None:
    ask(listener, **GOOD)
    page = ask(listener, **{**GOOD, "code": "another"})
    assert page.status_code == 410
    assert "This login is over" in page.text
    assert listener.wait(10) == GOOD


@pytest.mark.parametrize("path", ["favicon.ico", "callback", "..", "%2e", "a/../"])
def test_other_paths_are_nothing(listener: Listener, path: str) -> None:
    answer = raw(listener, f"GET /{path}?state=right&code=x HTTP/1.1\r\nHost: {listener.place}\r\n\r\n")
    assert answer.startswith("HTTP/1.0 404")
    assert listener.wait(0) is None


@pytest.mark.parametrize(
    "host", ["attacker.example.org", "localhost:{port}", "127.0.0.1", "[::1]:{port}", ""]
)
def test_a_page_that_calls_us_by_another_name_is_not_heard(listener: Listener, host: str) -> None:
    name = host.format(port=listener.server_address[1])
    answer = raw(listener, f"GET /?state=right&code=x HTTP/1.1\r\nHost: {name}\r\n\r\n")
    assert answer.startswith("HTTP/1.0 404")
    assert "access-control" not in answer.lower()
    assert listener.wait(0) is None


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("POST /?state=right&code=x HTTP/1.1", 501),
        ("OPTIONS / HTTP/1.1", 501),
        ("GET /?state=right&code=a&code=b HTTP/1.1", 400),
        ("GET /?state=wrong&state=right&code=x HTTP/1.1", 400),
        ("GET /?state=right&" + "a=&" * 30 + " HTTP/1.1", 400),
        ("GET /?state=right&code=" + "x" * 9000 + " HTTP/1.1", 404),
        ("GET /?" + "x" * 70000 + " HTTP/1.1", 414),
        ("<script>alert(1)</script> / HTTP/1.1", 501),
    ],
)
def test_what_is_no_answer_is_refused(listener: Listener, request_line: str, status: int) -> None:
    answer = raw(listener, f"{request_line}\r\nHost: {listener.place}\r\n\r\n")
    assert answer.startswith(f"HTTP/1.0 {status} ")
    assert "script" not in answer
    assert listener.wait(0) is None


def test_silent_connections_do_not_stand_in_the_way(listener: Listener) -> None:
    """A browser opens some in advance."""
    silent = [socket.create_connection(("127.0.0.1", listener.server_address[1])) for _ in range(10)]
    try:
        assert ask(listener, **GOOD).status_code == 200
    finally:
        for line in silent:
            line.close()


def test_too_many_connections_are_cut(listener: Listener) -> None:
    lines = [socket.create_connection(("127.0.0.1", listener.server_address[1])) for _ in range(17)]
    try:
        lines[-1].settimeout(10)
        assert lines[-1].recv(1) == b""
    finally:
        for line in lines:
            line.close()


def test_it_is_gone_when_the_login_is_over() -> None:
    with listening("right") as over:
        pass
    with pytest.raises(httpx.ConnectError):
        ask(over, **GOOD)
