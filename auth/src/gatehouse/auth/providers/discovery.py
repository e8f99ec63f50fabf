"""What a provider says of itself: cached, fetched once however many ask, kept for a while when it is away."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
from jwt import PyJWK

from gatehouse.auth.providers.fetch import Fetcher, FetchError
from gatehouse.auth.providers.jwks import COOL_DOWN, EXPIRY, KeySet, ago, lifetime
from gatehouse.registry.clock import Clock

ALGORITHMS = ("RS256", "ES256")  # a constant: a provider's list may hold `none`, and IAM's does
_MAX_URL = 1024


@dataclass(frozen=True, slots=True)
class Metadata:
    """The endpoints of a provider (OpenID Connect Discovery §3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    sends_iss: bool
    secret_post: bool


class Discovery:
    """Metadata and keys of one issuer."""

    def __init__(self, issuer: str, fetcher: Fetcher, clock: Clock) -> None:
        self._issuer = issuer
        self._fetcher = fetcher
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._failure = ""
        self._seen_at = self._stale_at = self._failed_at = float("-inf")
        self.keys = KeySet(self._jwks_uri, fetcher, clock)

    async def metadata(self) -> Metadata:
        """The current metadata, or the last good one for some days while the provider is away. Raises FetchError."""
        # whoever can live with the old one need not wait for the one who is fetching
        if self._due() and not (self._lock.locked() and self._metadata and not self._expired()):
            async with self._lock:
                if self._due():  # whoever was before us may have fetched it
                    await self._load()
        if self._metadata is None:
            raise FetchError(ago(self._failure, self._clock.monotonic() - self._failed_at))
        if self._expired():
            raise FetchError(f"what it last said is older than {EXPIRY / 86400:.0f} days: {self._failure}")
        return self._metadata

    async def key(self, kid: str | None) -> PyJWK | None:
        """The provider's signing key of that id; None when it publishes none such. Raises FetchError."""
        return await self.keys.key(kid)

    async def _jwks_uri(self) -> str:
        return (await self.metadata()).jwks_uri

    def _due(self) -> bool:
        now = self._clock.monotonic()
        return now >= self._stale_at and now - self._failed_at >= COOL_DOWN

    def _expired(self) -> bool:
        return self._clock.monotonic() - self._seen_at >= EXPIRY

    async def _load(self) -> None:
        try:
            fetched = await self._fetcher.look(well_known(self._issuer))
            self._metadata = read(fetched.document, self._issuer)
        except FetchError as error:
            self._failed_at, self._failure = self._clock.monotonic(), str(error)
            return
        self._failure = ""
        self._seen_at = self._clock.monotonic()
        self._stale_at = self._seen_at + lifetime(fetched)


def well_known(issuer: str) -> str:
    """Where OpenID Connect Discovery §4 puts the document; the issuer's own slash is not doubled."""
    return issuer.rstrip("/") + "/.well-known/openid-configuration"


def read(document: dict[str, Any], issuer: str) -> Metadata:
    """A discovery document that is the issuer's own (OpenID Connect Discovery §4.3). Raises FetchError."""
    if document.get("issuer") != issuer:
        raise FetchError(f"{well_known(issuer)}: the document names another issuer")
    names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
    scheme = issuer.partition("://")[0]
    for name in names:
        if not _is_address(document.get(name), scheme):
            raise FetchError(f"{well_known(issuer)}: {name} is missing or not {scheme}")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Metadata(
        issuer=issuer,
        sends_iss=document.get("authorization_response_iss_parameter_supported") is True,
        secret_post=isinstance(methods, list) and "client_secret_basic" not in methods,
        **{name: str(document[name]) for name in names},
    )


def _is_address(url: object, scheme: str) -> bool:
    """Whether a browser may be sent there, or a request: where the latter may go, the guard says."""
    if not isinstance(url, str) or len(url) > _MAX_URL or not url.isascii() or not url.isprintable():
        return False
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return False
    odd = parsed.userinfo or "#" in url or " " in url or "\\" in url
    return parsed.scheme == scheme and url.startswith(f"{scheme}://") and bool(parsed.host) and not odd
