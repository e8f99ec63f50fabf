"""HTTP towards the gate that outlives a restart of the server: bounded retries with backoff and jitter.

Every request of the pilot may be sent twice, so whatever did not get a clear answer is sent again, until patience
runs out. Answers are read up to a bound, and redirects are never followed: a token goes where it was meant to go.
"""

import logging
import random
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from gatehouse.registry.clock import SYSTEM, Clock

LOG = logging.getLogger("gatehouse.pilot")
JSON_LIMIT = 1024 * 1024
RETRIED = frozenset({429, 502, 503, 504})
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_ASKED = 0.5, 15.0, 60.0
NONCES = 3
"""Requests in a row that may be answered with nothing but another nonce (RFC 9449 §8)."""

HURRIED_PATIENCE = 8.0
"""Seconds left for a request once the batch system wants the pilot gone."""


class UnreachableError(Exception):
    """The gate gave no clear answer for longer than patience lasts."""


class GateError(Exception):
    """The gate said no."""

    def __init__(self, status: int, code: str, message: str, *, attempts: int = 1) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.attempts = attempts


class Prover(Protocol):
    """A key of the pilot's own (`tokenmanager.prover`, which needs a package that nothing else here does)."""

    def hear(self, nonce: str) -> None:
        """Take in the DPoP-Nonce header of an answer, empty when it had none."""

    def proof(self, method: str, url: str, token: str = "") -> str:
        """The DPoP header for one request."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `attempts` is how many requests it took."""

    status: int
    body: bytes
    attempts: int


def client(ca: Path | None = None) -> httpx.Client:
    """The one connection pool of a pilot. Proxies and certificates of the environment are not looked at."""
    context = ssl.create_default_context(cafile=str(ca)) if ca else True
    timeout = httpx.Timeout(30.0, connect=10.0)
    # Uncompressed answers only: then the bound on what is read is the bound on what is kept.
    headers = {"Accept-Encoding": "identity", "User-Agent": "gatehouse-pilot"}
    return httpx.Client(
        verify=context, timeout=timeout, trust_env=False, headers=headers, follow_redirects=False
    )


def sleep(seconds: float) -> None:
    """Wait, on a machine whose wall clock may jump."""
    threading.Event().wait(seconds)


class Transport:
    """Sends requests below `base` until there is a clear answer. Used by two threads."""

    def __init__(
        self,
        base: str,
        http: httpx.Client,
        *,
        patience: float,
        clock: Clock = SYSTEM,
        pause: Callable[[float], None] = sleep,
        jitter: Callable[[float, float], float] = random.uniform,
        prover: Prover | None = None,
    ) -> None:
        self._prover = prover
        self._base = base
        self._http = http
        self._patience = patience
        self._clock = clock
        self._pause = pause
        self._jitter = jitter
        self._hurried = False

    def hurry(self) -> None:
        """Lose patience: called from a signal handler, so a plain flag."""
        self._hurried = True

    def send(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        proven: bool = False,
        json: Mapping[str, object] | None = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        limit: int = JSON_LIMIT,
        patience: float | None = None,
    ) -> Reply:
        """One request, repeated as needed; `UnreachableError` when `patience` seconds are over.

        With `proven`, each attempt brings a proof of the pilot's own key (DPoP, RFC 9449).
        """
        headers = {"Authorization": f"{'DPoP' if proven else 'Bearer'} {token}"} if token else {}
        if content is not None:
            headers["Content-Type"] = "application/x-tar"
        request = self._http.build_request(
            method, self._base + path, headers=headers, json=json, data=form, content=content
        )
        started = self._clock.monotonic()
        attempts, nonces = 0, 0
        while True:
            attempts += 1
            if proven and self._prover is not None:
                request.headers["DPoP"] = self._prover.proof(method, self._base + path, token)
            wait, problem, reply = self._once(request, attempts, limit)
            if reply is not None:
                if proven and nonces < NONCES and _wants_nonce(reply):
                    nonces += 1
                    continue
                return reply
            allowed = self._patience if patience is None else min(patience, self._patience)
            allowed = min(allowed, HURRIED_PATIENCE) if self._hurried else allowed
            if self._clock.monotonic() - started + wait > allowed:
                raise UnreachableError(f"{method} {path}: {problem}; tried {attempts} times")
            LOG.info("%s %s: %s; again in %.1f s", method, path, problem, wait)
            self._wait(wait)

    def _once(self, request: httpx.Request, attempts: int, limit: int) -> tuple[float, str, Reply | None]:
        """The answer, or how long to wait before the next attempt and why."""
        wait = self._jitter(0.5, 1.0) * min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempts - 1, 10))
        try:
            response = self._http.send(request, stream=True)
            try:
                if self._prover is not None:
                    self._prover.hear(response.headers.get("DPoP-Nonce", ""))
                if response.status_code in RETRIED:
                    asked = _retry_after(response.headers.get("Retry-After", ""))
                    return max(wait, asked), f"answered {response.status_code}", None
                return 0.0, "", Reply(response.status_code, _read(response, limit), attempts)
            finally:
                response.close()
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise UnreachableError(f"the request can't be sent: {type(error).__name__}") from error
        except httpx.TransportError as error:
            return wait, f"{type(error).__name__} {str(error)[:120]}".strip(), None

    def _wait(self, seconds: float) -> None:
        while seconds > 0 and not self._hurried:
            self._pause(min(seconds, 1.0))
            seconds -= 1.0
        if self._hurried:
            self._pause(0.2)


def _read(response: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > limit:
            raise GateError(response.status_code, "too_large", f"the answer is longer than {limit} bytes")
    return bytes(body)


def _wants_nonce(reply: Reply) -> bool:
    """Whether the gate only says which nonce to use; nothing was done."""
    return reply.status in (400, 401) and b'"use_dpop_nonce"' in reply.body


def _retry_after(text: str) -> float:
    """Seconds asked for; the date form is not used by the gate and counts as none."""
    return min(float(text), LONGEST_ASKED) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0
