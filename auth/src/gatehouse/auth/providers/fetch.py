"""The one way out: through the guard, bounded in time and size, no redirects, JSON objects only."""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote_plus, urlencode

import httpcore
import httpx

from gatehouse.auth.providers.egress import Guard, GuardedBackend, NotAllowed, Resolver, resolve
from gatehouse.registry.errors import ConfigurationError

TOTAL = 5.0  # seconds for everything: the name, the connection and the whole answer
MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
_CONNECTIONS = 16
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])", re.IGNORECASE)


class FetchError(Exception):
    """Why nothing usable came back; never carries a body or a credential."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document, and for how many seconds its sender calls it fresh (None: nothing said)."""

    document: dict[str, Any]
    max_age: int | None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    raw: bytes
    cache_control: str


class Fetcher:
    """HTTP to one party, with connections of its own, so that one that hangs holds up nobody else.

    Cookies, redirects, compression and the environment's proxies do not exist here.
    """

    def __init__(self, guard: Guard, tls: ssl.SSLContext | None = None, resolver: Resolver = resolve) -> None:
        self._guard = guard
        self._backend = GuardedBackend(guard, resolver)
        # Requests queue here and not in the pool, which loses the connection of one that is given up in its queue
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or context(),
            max_connections=None,
            max_keepalive_connections=4,
            keepalive_expiry=5.0,
            network_backend=self._backend,
        )

    async def get(self, url: str, *, bearer: str = "") -> dict[str, Any]:
        """A JSON object by GET, with a bearer token if given. Raises FetchError."""
        return (await self.look(url, bearer=bearer)).document

    async def look(self, url: str, *, bearer: str = "") -> Fetched:
        """The same, with what the sender says about its freshness. Raises FetchError."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        where, answer = await self._send("GET", url, headers)
        return Fetched(_object(where, answer), _max_age(answer.cache_control))

    async def post(
        self, url: str, form: Mapping[str, str], auth: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        """A JSON object by POST of a form, with client_secret_basic if `auth` is given. Raises FetchError."""
        headers = {"Authorization": _basic(*auth)} if auth is not None else {}
        where, answer = await self._send("POST", url, headers, urlencode(form).encode())
        return _object(where, answer)

    async def tell(self, url: str, form: Mapping[str, str]) -> None:
        """POST a form to somebody who only has to take it: any 2xx will do, no body is read. Raises FetchError."""
        where, answer = await self._send("POST", url, {}, urlencode(form).encode(), read=False)
        if not 200 <= answer.status < 300:
            raise FetchError(f"{where}: status {answer.status}")

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()
        self._backend.close()

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        read: bool = True,
    ) -> tuple[str, _Answer]:
        where = f"{method} {shown(url)}"
        try:
            target = self._guard.target(url)
            async with asyncio.timeout(TOTAL), self._places:
                return where, await self._exchange(where, method, target, headers, body, read)
        except TimeoutError as error:
            raise FetchError(f"{where}: no whole answer within {TOTAL:.0f} s") from error
        except NotAllowed as error:
            raise FetchError(f"{where}: {error}") from error
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            _failed(where, error)

    async def _exchange(
        self,
        where: str,
        method: str,
        target: httpx.URL,
        headers: Mapping[str, str],
        body: bytes | None,
        read: bool,
    ) -> _Answer:
        url = httpcore.URL(
            scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
        )
        # nothing compressed: a few kilobytes could grow to gigabytes before they are counted
        sent = {"Host": target.netloc.decode("ascii"), "Accept": "application/json"}
        sent |= {"Accept-Encoding": "identity", "User-Agent": "gatehouse", **headers}
        if body is not None:
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
        async with self._pool.stream(method, url, headers=list(sent.items()), content=body) as response:
            said = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            if read and said.get(b"content-encoding", "identity") != "identity":
                raise FetchError(f"{where}: the answer is compressed, which was not asked for")
            raw = await _bounded(response, where) if read else b""
        return _Answer(response.status, raw, said.get(b"cache-control", ""))


def context(ca_file: Path | None = None) -> ssl.SSLContext:
    """How certificates are checked: against the usual authorities, or that of a file alone.

    Raises ConfigurationError when the file cannot be used.
    """
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"providers.ca_file {ca_file} cannot be used ({error}). Give certificates in PEM."
        ) from error


def shown(url: object) -> str:
    """An address for people: without its query, which may hold secrets, and bounded."""
    return "".join(c for c in str(url).partition("?")[0][:200] if c.isprintable())


def complaint(error: object, description: object = None) -> str:
    """What a provider gave as `error` and `error_description` (RFC 6749 §5.2), bounded and in plain characters."""
    code, words = clean(error, 64), clean(description, 200)
    return f"{code} ({words})" if code and words else code or words


def clean(text: object, length: int) -> str:
    """Somebody else's text for a page or a log: one line of visible characters; empty if it is no text."""
    if not isinstance(text, str):
        return ""
    plain = "".join(c if c.isprintable() else " " for c in text[: length * 4])
    return " ".join(plain.split())[:length].strip()


def parse_object(raw: bytes, where: str) -> dict[str, Any]:
    """A JSON object, of bounded depth. Raises FetchError."""
    try:
        value = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise FetchError(f"{where}: not JSON") from error
    if not isinstance(value, dict) or _depth(value) > MAX_DEPTH:
        raise FetchError(f"{where}: not a JSON object of reasonable depth")
    return value


async def _bounded(response: httpcore.Response, where: str) -> bytes:
    raw = bytearray()
    async for chunk in response.aiter_stream():
        raw += chunk
        if len(raw) > MAX_BYTES:
            raise FetchError(f"{where}: the answer is larger than {MAX_BYTES // 1024} KiB")
    return bytes(raw)


def _object(where: str, answer: _Answer) -> dict[str, Any]:
    if answer.status != 200:
        raise FetchError(f"{where}: status {answer.status}{_oauth_error(answer.raw)}")
    return parse_object(answer.raw, where)


def _failed(where: str, error: Exception) -> NoReturn:
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ssl.SSLCertVerificationError):
            raise FetchError(f"{where}: its certificate is not accepted ({inner.verify_message})") from error
        inner = inner.__cause__ or inner.__context__
    raise FetchError(f"{where}: {type(error).__name__}") from error


def _basic(name: str, secret: str) -> str:
    """RFC 6749 §2.3.1: each part is form-encoded, so that a colon or a percent sign in it stays what it is."""
    return "Basic " + base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()


def _max_age(cache_control: str) -> int | None:
    if re.search(r"\bno-(?:store|cache)\b", cache_control, re.IGNORECASE):
        return 0
    found = _MAX_AGE.search(cache_control)
    return int(found[1]) if found else None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [child for node in level for child in _children(node)]
    return depth


def _children(node: object) -> list[object]:
    if isinstance(node, dict):
        return list(node.values())
    return list(node) if isinstance(node, list) else []


def _oauth_error(raw: bytes) -> str:
    try:
        given = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    said = complaint(given.get("error"), given.get("error_description")) if isinstance(given, dict) else ""
    return f", error {said}" if said else ""
