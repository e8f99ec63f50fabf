"""Waiting on this machine for what a browser brings back (RFC 8252 §7.3): one answer, within a bounded time."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

_ADDRESS = "127.0.0.1"
_MAX_TARGET = 8 * 1024
_MAX_FIELDS = 20
_MAX_CONNECTIONS = 16  # browsers open some in advance and say nothing on them
_PATIENCE = 10.0  # seconds that a connection may be silent
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""


class _Reply(NamedTuple):
    """A page without anything of the request in it; `last` when the listener has what it waits for."""

    status: int
    title: str
    text: str
    last: bool = False


_THANKS = _Reply(
    200,
    "You may close this window",
    "Your answer has arrived. The terminal where you began tells how the login went.",
    last=True,
)
_OVER = _Reply(410, "This login is over", "It had its answer already. The terminal tells how it went.")
_FOREIGN = _Reply(
    400, "This answer belongs to no login here", "Go back to the terminal and open the link that it shows."
)
_NOTHING = _Reply(404, "There is nothing here", "A program waits at this address for the end of a login.")


class Listener(socketserver.ThreadingTCPServer):
    """Listens on a free port of 127.0.0.1 for the answer with this `state`; whatever else comes changes nothing.

    `foreign` counts answers with another state, or none.
    """

    daemon_threads = True

    def __init__(self, state: str) -> None:
        super().__init__((_ADDRESS, 0), _Handler)
        self.place = f"{_ADDRESS}:{self.server_address[1]}"
        self.foreign = 0
        self._state = state
        self._first = threading.Lock()
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._answered = threading.Event()
        self._answer: dict[str, str] = {}

    @property
    def redirect_uri(self) -> str:
        """Where the browser has to come to: the registered address with our port."""
        return f"http://{self.place}/"

    def wait(self, seconds: float) -> dict[str, str] | None:
        """The parameters of the answer; None when none came in time."""
        return self._answer if self._answered.wait(seconds) else None

    def take(self, target: str, host: str) -> _Reply:
        """Judge a request by its target and `Host`: another host name means DNS rebinding, another path no answer."""
        path, _, query = target.partition("?")
        if path != "/" or host != self.place or len(target) > _MAX_TARGET:
            return _NOTHING
        answer = _parameters(query)
        if not compare_digest(answer.get("state", "").encode(), self._state.encode()):
            self.foreign += 1
            return _FOREIGN
        if not self._first.acquire(blocking=False):  # never released: there is one answer
            return _OVER
        self._answer = answer
        return _THANKS

    def finish(self) -> None:
        """The page is sent, so whoever waits may go on and end us."""
        self._answered.set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, unless there are too many."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is the browser's affair; what it sent stays out of the terminal."""


def _parameters(query: str) -> dict[str, str]:
    """The query; empty when it is malformed or names anything twice (RFC 6749 §3.1)."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return {}
    found = dict(pairs)
    return found if len(found) == len(pairs) else {}


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.0, GET only."""

    timeout = _PATIENCE
    server: Listener

    def do_GET(self) -> None:
        reply = self.server.take(self.path, self.headers.get("Host", ""))
        try:
            self._send(reply)
        finally:
            if reply.last:
                self.server.finish()

    def _send(self, reply: _Reply) -> None:
        page = _PAGE.format(title=reply.title, text=reply.text).encode()
        self.send_response(reply.status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(page))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            (
                "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            ),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no GET, or no HTTP, gets no word of its own back."""
        del message, explain
        self._send(_NOTHING._replace(status=code))

    def version_string(self) -> str:
        """Nothing about the machine."""
        return "gatehouse"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the request holds the code."""


@contextmanager
def listening(state: str) -> Iterator[Listener]:
    """A listener that serves until the block ends."""
    with Listener(state) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            listener.shutdown()
            thread.join()
