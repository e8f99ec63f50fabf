"""Gatehouse's code flow at an upstream provider: PKCE, nonce, state, `iss`, ID token, userinfo."""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

import structlog

from gatehouse.auth.providers import idtoken, logouttoken
from gatehouse.auth.providers.discovery import Discovery
from gatehouse.auth.providers.egress import Guard
from gatehouse.auth.providers.fetch import Fetcher, FetchError, clean, context
from gatehouse.auth.providers.logouttoken import Departed
from gatehouse.registry.clock import Clock
from gatehouse.registry.configuration import secret_of
from gatehouse.registry.settings import ProviderSettings, Settings

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

    @property
    def auth_time(self) -> int | None:
        """When the person last logged in there, epoch seconds; None when the provider does not say."""
        return idtoken.auth_time(self.id_token)

    @property
    def acr(self) -> str:
        """How (OpenID Connect Core §2, `acr`); empty when the provider does not say."""
        return clean(self.id_token.get("acr"), 255)

    @property
    def sid(self) -> str:
        """The provider's name for its session with the browser; empty when it does not say."""
        return clean(self.id_token.get("sid"), 255)

    @property
    def subject(self) -> str:
        """The provider's `sub`, unique together with its issuer, whatever else the person is called by."""
        return str(self.id_token["sub"])


class _Tokens(NamedTuple):
    """What is used of a token answer. A refresh token is not: nobody here keeps it, so nobody can lose it."""

    access: str
    id: str


class Provider:
    """One upstream provider."""

    def __init__(self, given: ProviderSettings, redirect_uri: str, fetcher: Fetcher, clock: Clock) -> None:
        self.settings = given
        self.name = given.name
        self.title = given.title or given.name
        self.callback = given.name if given.own_redirect else ""
        self._redirect_uri = f"{redirect_uri}/{self.callback}".rstrip("/")
        self._secret = secret_of(given.client_secret, given.client_secret_file, f"provider {given.name}")
        self._fetcher = fetcher
        self._discovery = Discovery(given.issuer, fetcher, clock)
        self._clock = clock
        self.alone = True

    async def authorization_url(
        self, attempt: Attempt, *, max_age: int | None = None, login_hint: str = ""
    ) -> str:
        """Where to send the browser. Raises ProviderError when the provider cannot be reached.

        With `max_age` (seconds) a login there that is older has to be made anew (OpenID Connect Core §3.1.2.1);
        give the same to `finish`.
        """
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
        if max_age is not None and self.settings.fresh_login:
            query["max_age"] = str(max_age)
        if login_hint:
            query["login_hint"] = login_hint
        joiner = "&" if "?" in metadata.authorization_endpoint else "?"
        return metadata.authorization_endpoint + joiner + urlencode(query)

    async def finish(
        self,
        attempt: Attempt,
        code: str,
        iss: str | None,
        *,
        max_age: int | None = None,
        left: int | None = None,
    ) -> Documents:
        """Exchange the code and believe the answers, or raise ProviderError with the reason.

        With `max_age` the person must have logged in at most so long before the browser was sent there at `left`
        (epoch seconds; now, if not known).
        """
        try:
            metadata = await self._discovery.metadata()
            if iss is None and metadata.sends_iss:
                raise ProviderError("the answer does not name its issuer (RFC 9207)")
            if iss is not None and iss != self.settings.issuer:
                raise ProviderError("the answer comes from another issuer than the one asked (RFC 9207)")
            tokens = await self._tokens(metadata.token_endpoint, metadata.secret_post, attempt, code)
            claims = await self._id_token(tokens, attempt)
            if max_age is not None and self.settings.fresh_login:
                now = self._clock.now()
                idtoken.fresh(claims, (now if left is None else left) - max_age, now)
            userinfo = await self._fetcher.get(metadata.userinfo_endpoint, bearer=tokens.access)
        except FetchError as error:
            raise ProviderError(str(error)) from error
        except idtoken.BadIdToken as error:
            raise ProviderError(f"the ID token is not accepted: {error}") from error
        if userinfo.get("sub") != claims["sub"]:
            raise ProviderError("userinfo speaks of another person than the ID token")
        return Documents(claims, userinfo)

    async def _tokens(self, endpoint: str, in_body: bool, attempt: Attempt, code: str) -> _Tokens:
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
        answer = await self._fetcher.post(endpoint, form, auth)
        for name in ("access_token", "id_token"):
            if not isinstance(answer.get(name), str) or not _TOKEN.fullmatch(answer[name]):
                raise ProviderError(f"the token answer has no usable {name}")
        return _Tokens(answer["access_token"], answer["id_token"])

    async def departed(self, token: str) -> Departed:
        """Who logged out there, by the provider's logout token. Raises ProviderError with the reason."""
        try:
            key = await self._discovery.key(idtoken.key_id(token, logouttoken.TYPES))
            if key is None:
                raise ProviderError("it is signed by a key that the provider does not publish")
            now = self._clock.now()
            return logouttoken.verify(token, key, self.settings.issuer, self.settings.client_id, now)
        except FetchError as error:
            raise ProviderError(f"its signature cannot be checked now ({error})") from error
        except idtoken.BadIdToken as error:
            raise ProviderError(str(error)) from error

    async def _id_token(self, tokens: _Tokens, attempt: Attempt) -> dict[str, Any]:
        key = await self._discovery.key(idtoken.key_id(tokens.id))
        if key is None:
            raise ProviderError("the ID token is signed by a key that the provider does not publish")
        expected = idtoken.Expected(
            self.settings.issuer, self.settings.client_id, attempt.nonce, tokens.access
        )
        return idtoken.verify(tokens.id, key, expected, self._clock.now())


class Providers:
    """All configured providers, by name; each has connections of its own. Raises ConfigurationError."""

    def __init__(self, settings: Settings, redirect_uri: str, clock: Clock) -> None:
        self._fetchers: list[Fetcher] = []
        self.by_name: dict[str, Provider] = {}
        usual = context()  # to read all authorities takes its time, and they are the same for all
        for one in settings.providers:
            tls = context(one.ca_file) if one.ca_file else usual
            fetcher = Fetcher(Guard.of(settings, [one.issuer]), tls)
            self._fetchers.append(fetcher)
            self.by_name[one.name] = Provider(one, redirect_uri, fetcher, clock)
        for provider in self.by_name.values():
            provider.alone = len(self.by_name) == 1

    async def close(self) -> None:
        """Close the connections."""
        for fetcher in self._fetchers:
            await fetcher.close()


def challenge(verifier: str) -> str:
    """The S256 code challenge (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
