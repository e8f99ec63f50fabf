"""What a provider says of itself, and its keys: cached, refetched on an unknown key, kept when it fails."""

from dataclasses import dataclass
from typing import Any

import jwt
from jwt import PyJWK

from gatehouse.auth.providers.fetch import Fetcher, FetchError
from gatehouse.registry.clock import Clock

ALGORITHMS = ("RS256", "ES256")  # a constant: a provider's list may hold `none` (identity facts §2.1)
_FRESH = 3600.0
_COOL_DOWN = 10.0  # after a failure, and between refetches for unknown keys
_MAX_KEYS = 32


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
        self._metadata: Metadata | None = None
        self._keys: dict[str, PyJWK] = {}
        self._metadata_at = self._keys_at = self._failed_at = self._keys_asked_at = float("-inf")
        self._failure = ""

    async def metadata(self) -> Metadata:
        """The current metadata, or the last good one while the provider is away. Raises FetchError."""
        now = self._clock.monotonic()
        if self._metadata is not None and now - self._metadata_at < _FRESH:
            return self._metadata
        if now - self._failed_at < _COOL_DOWN:
            if self._metadata is None:
                raise FetchError(f"{self._failure} (asked less than {_COOL_DOWN:.0f} s ago)")
            return self._metadata
        try:
            self._metadata = _read(await self._fetcher.get(well_known(self._issuer)), self._issuer)
            self._metadata_at = now
        except FetchError as error:
            self._failed_at, self._failure = now, str(error)
            if self._metadata is None:
                raise
        return self._metadata

    async def key(self, kid: str | None) -> PyJWK | None:
        """The signing key of that id; one refetch per cool-down when it is unknown. Raises FetchError."""
        now = self._clock.monotonic()
        wanted = now - self._keys_at >= _FRESH or self._pick(kid) is None
        if wanted and (not self._keys or now - self._keys_asked_at >= _COOL_DOWN):
            self._keys_asked_at = now
            await self._load_keys(now)
        return self._pick(kid)

    def _pick(self, kid: str | None) -> PyJWK | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    async def _load_keys(self, now: float) -> None:
        """Replace the key set; an empty or broken answer leaves the old one."""
        try:
            keys = _read_keys(await self._fetcher.get((await self.metadata()).jwks_uri))
        except FetchError:
            if not self._keys:
                raise
            return
        if keys:
            self._keys, self._keys_at = keys, now


def well_known(issuer: str) -> str:
    """Where OpenID Connect Discovery §4 puts the document; the issuer's own slash is not doubled."""
    return issuer.rstrip("/") + "/.well-known/openid-configuration"


def _read(document: dict[str, Any], issuer: str) -> Metadata:
    if document.get("issuer") != issuer:
        raise FetchError(f"{well_known(issuer)}: the document names another issuer")
    names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
    urls = {name: document.get(name) for name in names}
    scheme = issuer.partition("://")[0]
    for name, url in urls.items():
        if not isinstance(url, str) or not url.startswith(f"{scheme}://") or len(url) > 1024:
            raise FetchError(f"{well_known(issuer)}: {name} is missing or not {scheme}")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Metadata(
        issuer=issuer,
        sends_iss=document.get("authorization_response_iss_parameter_supported") is True,
        secret_post=isinstance(methods, list) and "client_secret_basic" not in methods,
        **{name: str(url) for name, url in urls.items()},
    )


def _read_keys(document: dict[str, Any]) -> dict[str, PyJWK]:
    found = document.get("keys")
    keys: dict[str, PyJWK] = {}
    for index, entry in enumerate(found[:_MAX_KEYS] if isinstance(found, list) else []):
        alg = _algorithm(entry)
        if alg is None:
            continue
        try:
            keys[str(entry.get("kid", f"#{index}"))] = PyJWK(entry, algorithm=alg)
        except (jwt.InvalidTokenError, jwt.PyJWKError, ValueError, TypeError):
            continue  # a key we cannot read signs nothing for us
    return keys


def _algorithm(entry: Any) -> str | None:
    """The one algorithm a key may be used with; keys for encryption or of other kinds are left out."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    natural = {"RSA": "RS256", "EC": "ES256"}.get(str(entry.get("kty")))
    if natural == "ES256" and entry.get("crv") != "P-256":
        return None
    return natural if entry.get("alg", natural) == natural else None
