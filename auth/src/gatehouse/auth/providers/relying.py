"""Gatehouse's code flow at an upstream provider: PKCE, nonce, state, `iss`, ID token, userinfo."""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
import structlog

from gatehouse.auth.providers import idtoken
from gatehouse.auth.providers.discovery import Discovery
from gatehouse.auth.providers.fetch import TIMEOUT, Fetcher, FetchError
from gatehouse.registry.clock import Clock
from gatehouse.registry.configuration import secret_of
from gatehouse.registry.settings import ProviderSettings

log = structlog.get_logger()

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


class ProviderError(Exception):
    """Why a provider's answer was not accepted: for the page, the log and the record."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The secrets of one trip to a provider."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Documents:
    """What the provider said about a person, verified."""

    id_token: dict[str, Any]
    userinfo: dict[str, Any]


class Provider:
    """One upstream provider."""

    def __init__(
        self, given: ProviderSettings, redirect_uri: str, client: httpx.AsyncClient, clock: Clock
    ) -> None:
        self.settings = given
        self.name = given.name
        self.title = given.title or given.name
        self.callback = given.name if given.own_redirect else ""
        self._redirect_uri = f"{redirect_uri}/{self.callback}".rstrip("/")
        self._secret = secret_of(given.client_secret, given.client_secret_file, f"provider {given.name}")
        self._fetcher = Fetcher(client)
        self._discovery = Discovery(given.issuer, self._fetcher, clock)
        self._clock = clock
        self.alone = True

    async def authorization_url(self, attempt: Attempt) -> str:
        """Where to send the browser. Raises ProviderError when the provider cannot be reached."""
        try:
            metadata = await self._discovery.metadata()
        except FetchError as error:
            raise ProviderError(f"it cannot be reached ({error})") from error
        if not (self.alone or self.callback or metadata.sends_iss):
            log.warning("answers of this provider could be mixed up: set own_redirect", provider=self.name)
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self.settings.scope,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge(attempt.verifier),
            "code_challenge_method": "S256",
        }
        joiner = "&" if "?" in metadata.authorization_endpoint else "?"
        return metadata.authorization_endpoint + joiner + urlencode(query)

    async def finish(self, attempt: Attempt, code: str, iss: str | None) -> Documents:
        """Exchange the code and believe the answers, or raise ProviderError with the reason."""
        try:
            metadata = await self._discovery.metadata()
            if iss is None and metadata.sends_iss:
                raise ProviderError("the answer does not name its issuer (RFC 9207)")
            if iss is not None and iss != self.settings.issuer:
                raise ProviderError("the answer comes from another issuer than the one asked (RFC 9207)")
            tokens = await self._tokens(metadata.token_endpoint, metadata.secret_post, attempt, code)
            claims = await self._id_token(tokens, attempt)
            userinfo = await self._fetcher.get(metadata.userinfo_endpoint, bearer=tokens["access_token"])
        except FetchError as error:
            raise ProviderError(str(error)) from error
        except idtoken.BadIdToken as error:
            raise ProviderError(f"the ID token is not accepted: {error}") from error
        if userinfo.get("sub") != claims["sub"]:
            raise ProviderError("userinfo speaks of another person than the ID token")
        return Documents(claims, userinfo)

    async def _tokens(self, endpoint: str, in_body: bool, attempt: Attempt, code: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": attempt.verifier,
        }
        auth = None
        if self._secret and not in_body:
            auth = (self.settings.client_id, self._secret)
        else:
            form["client_id"] = self.settings.client_id
            if self._secret:
                form["client_secret"] = self._secret
        tokens = await self._fetcher.post(endpoint, form, auth)
        for name in ("access_token", "id_token"):
            if not isinstance(tokens.get(name), str) or not _TOKEN.fullmatch(tokens[name]):
                raise ProviderError(f"the token answer has no usable {name}")
        return tokens

    async def _id_token(self, tokens: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
        token: str = tokens["id_token"]
        key = await self._discovery.key(idtoken.key_id(token))
        if key is None:
            raise ProviderError("the ID token is signed by a key that the provider does not publish")
        expected = idtoken.Expected(
            self.settings.issuer, self.settings.client_id, attempt.nonce, tokens["access_token"]
        )
        return idtoken.verify(token, key, expected, self._clock.now())


class Providers:
    """All configured providers, by name."""

    def __init__(self, given: Iterable[ProviderSettings], redirect_uri: str, clock: Clock) -> None:
        self._clients: list[httpx.AsyncClient] = []
        self.by_name: dict[str, Provider] = {}
        for one in given:
            verify: Any = True
            if one.ca_file is not None:
                verify = httpx.create_ssl_context(verify=str(one.ca_file))
            client = httpx.AsyncClient(
                timeout=TIMEOUT, follow_redirects=False, verify=verify, trust_env=False
            )
            self._clients.append(client)
            self.by_name[one.name] = Provider(one, redirect_uri, client, clock)
        for provider in self.by_name.values():
            provider.alone = len(self.by_name) == 1

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()


def challenge(verifier: str) -> str:
    """The S256 code challenge (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
