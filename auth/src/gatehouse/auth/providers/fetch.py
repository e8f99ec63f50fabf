"""The one way out: bounded, no redirects, JSON objects only."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx

TIMEOUT = httpx.Timeout(5.0)
TOTAL = 8.0  # seconds for a whole answer: TIMEOUT starts again with each byte
MAX_BYTES = 256 * 1024
MAX_DEPTH = 16


class FetchError(Exception):
    """Why nothing usable came back; never carries a body or a credential."""


class Fetcher:
    """HTTP to one provider."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, url: str, *, bearer: str = "") -> dict[str, Any]:
        """A JSON object by GET, with a bearer token if given. Raises FetchError."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return await self._send(self._request("GET", url, headers))

    async def post(
        self, url: str, form: Mapping[str, str], auth: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        """A JSON object by POST of a form, with client_secret_basic if `auth` is given. Raises FetchError."""
        request = self._request("POST", url, {}, dict(form))
        if auth is not None:
            request.headers["Authorization"] = httpx.BasicAuth(*auth)._auth_header
        return await self._send(request)

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], data: dict[str, str] | None = None
    ) -> httpx.Request:
        # nothing compressed: a few kilobytes could grow to gigabytes before they are counted
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        try:
            return self._client.build_request(method, url, headers=sent, data=data)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise FetchError(f"{method} {url[:200]}: this is no address") from error

    async def _send(self, request: httpx.Request) -> dict[str, Any]:
        where = f"{request.method} {request.url.copy_with(query=None)}"
        try:
            async with asyncio.timeout(TOTAL):
                response = await self._client.send(request, stream=True, follow_redirects=False)
                try:
                    raw = await _bounded(response, where)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise FetchError(f"{where}: no whole answer within {TOTAL:.0f} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchError(f"{where}: {type(error).__name__}") from error
        if response.status_code != 200:
            raise FetchError(f"{where}: status {response.status_code}{_oauth_error(raw)}")
        return parse_object(raw, where)


async def _bounded(response: httpx.Response, where: str) -> bytes:
    raw = bytearray()
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchError(f"{where}: the answer is compressed, which was not asked for")
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > MAX_BYTES:
            raise FetchError(f"{where}: the answer is larger than {MAX_BYTES // 1024} KiB")
    return bytes(raw)


def parse_object(raw: bytes, where: str) -> dict[str, Any]:
    """A JSON object, of bounded depth. Raises FetchError."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise FetchError(f"{where}: not JSON") from error
    if not isinstance(value, dict) or _depth(value) > MAX_DEPTH:
        raise FetchError(f"{where}: not a JSON object of reasonable depth")
    return value


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
        code = json.loads(raw).get("error", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f", error {str(code)[:64]}" if code else ""
