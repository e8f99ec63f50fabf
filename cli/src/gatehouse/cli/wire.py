"""HTTP as the commands need it: explicit timeouts, bounded answers, repeats only where repeating is harmless."""

import ipaddress
import json
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import sleep as system_sleep
from typing import Any
from urllib.parse import urlsplit

import httpx

from gatehouse.cli.errors import ApiError, CommandError, Unreachable, api_error, clean
from gatehouse.registry.clock import SYSTEM, Clock

JSON_LIMIT = 1 << 20  # bytes
_TIMEOUT = httpx.Timeout(30.0, connect=5.0, pool=5.0)
_ANSWER_TIME = 300.0  # seconds for a whole answer: a server that drips bytes must not hold a command for ever
_PAUSES = (0.2, 1.0)  # seconds before the second and the third attempt
_LONGEST_PAUSE = 10.0
_BUSY = frozenset({429, 502, 503, 504})


def is_loopback(host: str) -> bool:
    """Whether a host name can only mean this machine (RFC 8252 §8.3, RFC 6761 §6.3)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_url(url: str) -> str:
    """The URL itself, if a token may be sent there: https, or plain http to this machine only."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.scheme not in ("https", "http") or len(url) > 2000:
        raise CommandError(
            f"not a usable URL: {clean(url, limit=200)}", next_step="next: give it as https://HOST/auth"
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise CommandError(
            f"refusing plain http to {clean(parts.hostname, limit=200)}",
            why="tokens would cross the network unencrypted; http is accepted for this machine (loopback) only",
            next_step="next: use the https:// address of the server",
        )
    return url


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, read to its end. The body may hold tokens, so it does not print."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def fields(self) -> dict[str, Any] | None:
        """The body as a JSON object; None when it is anything else."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def error(self, *secrets: str) -> ApiError:
        """The answer as the error it states."""
        return api_error(
            self.status, self.fields(), retry_after=self.headers.get("retry-after", ""), secrets=secrets
        )


def _trust() -> Any:
    """Trusted authorities: certifi or SSL_CERT_FILE/DIR, and the grid's directory when X509_CERT_DIR names it."""
    context = httpx.create_ssl_context()
    grid = os.environ.get("X509_CERT_DIR", "")
    if grid and os.path.isdir(grid):
        context.load_verify_locations(capath=grid)
    return context


class Wire:
    """A keep-alive HTTP client for one issuer's host. Close it, or use it in a `with` block."""

    def __init__(
        self,
        base: str,
        *,
        clock: Clock = SYSTEM,
        sleep: Callable[[float], None] = system_sleep,
        shows: Callable[[ssl.SSLContext], None] | None = None,
    ) -> None:
        """`shows` puts a certificate of the client into its TLS (RFC 8705)."""
        parts = urlsplit(check_url(base))
        # A proxy from the environment must never see what is meant for this machine.
        local = parts.scheme == "http"
        trust: Any = True if local else _trust()
        if shows is not None and not local:
            shows(trust)
        self._client = httpx.Client(
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=not local,
            verify=trust,
            headers={
                "User-Agent": "gatehouse-cli",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
        )
        self.clock = clock
        self.sleep = sleep

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(
        self,
        method: str,
        url: str,
        *,
        bearer: str = "",
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        document: object = None,
        content: bytes | None = None,
        content_type: str = "",
        limit: int = JSON_LIMIT,
    ) -> Answer:
        """One answer, of any status. GETs are repeated twice when the server is busy or the line breaks;
        everything else only when no connection came about, for then nothing was received.

        Raises Unreachable when there is no answer, CommandError when it exceeds `limit` bytes.
        """
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        if content_type:
            headers["Content-Type"] = content_type
        # The query is added only when there is one: httpx would otherwise drop the URL's own.
        extra: dict[str, Any] = {"params": dict(query)} if query else {}
        request = self._client.build_request(
            method, check_url(url), headers=headers, data=form, json=document, content=content, **extra
        )
        return self._attempts(request, limit)

    def _attempts(self, request: httpx.Request, limit: int) -> Answer:
        harmless = request.method == "GET"
        for pause in (*_PAUSES, None):
            try:
                answer = self._once(request, limit)
            except httpx.TransportError as error:
                nothing_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if pause is None or not (harmless or nothing_sent):
                    raise _unreachable(request, error) from error
                self.sleep(pause)
                continue
            if pause is None or not harmless or answer.status not in _BUSY:
                return answer
            asked = answer.headers.get("retry-after", "")
            wait = max(pause, float(asked[:9])) if asked.isdecimal() else pause
            if wait > _LONGEST_PAUSE:  # the caller learns the time rather than a hung prompt
                return answer
            self.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, request: httpx.Request, limit: int) -> Answer:
        deadline = self.clock.monotonic() + _ANSWER_TIME
        response = self._client.send(request, stream=True)
        try:
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > limit:
                    raise CommandError(
                        f"the answer of {request.url.host} is too large",
                        why=f"more than {limit} bytes; a smaller selection may help",
                    )
                if self.clock.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer took too long", request=request)
            return Answer(response.status_code, response.headers, bytes(body))
        finally:
            response.close()


def _unreachable(request: httpx.Request, error: httpx.TransportError) -> Unreachable:
    timeout = isinstance(error, httpx.TimeoutException)
    reason = "no answer in time" if timeout else clean(error, limit=300) or type(error).__name__
    place = f"{request.url.scheme}://{request.url.netloc.decode('ascii', 'replace')}"
    next_step = "next: check the address and your network, then run the command again"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        next_step = "next: if you trust its authority, name the file with SSL_CERT_FILE"
    return Unreachable(f"cannot reach {clean(place, limit=200)}", why=reason, next_step=next_step)
