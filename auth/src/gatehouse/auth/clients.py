"""The programs that may ask for tokens: the built-in ones of DIRAC, those of the settings, and registered ones."""

import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import ClientMixin
from jwt import PyJWK

from gatehouse.auth.providers.jwks import read_keys
from gatehouse.registry.configuration import secret_of
from gatehouse.registry.database import Tx
from gatehouse.registry.distinguished import normalise_dn
from gatehouse.registry.entitlements import Refused
from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.settings import ClientSettings
from gatehouse.tokenmanager.keys import Algorithm

if TYPE_CHECKING:  # authlib has no type information
    _ClientMixin = object
else:
    _ClientMixin = ClientMixin

AUTHORIZATION_CODE = "authorization_code"
CLIENT_CREDENTIALS = "client_credentials"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - the name of a grant
CERTIFICATE = "urn:gatehouse:params:oauth:grant-type:x509"
PILOT_SECRET = "urn:gatehouse:params:oauth:grant-type:pilot-secret"  # noqa: S105 - the name of a grant

AUTH_METHODS = (
    "none",
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "tls_client_auth",
)
SECRET_METHODS = ("client_secret_basic", "client_secret_post")
_HOST = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Client(_ClientMixin):
    """An OAuth client (authlib's ClientMixin). Its secret, if any, is compared in constant time."""

    client_id: str
    name: str
    grant_types: frozenset[str]
    alg: Algorithm
    auth: frozenset[str] = frozenset({"none"})
    is_secret: Callable[[str], bool] = field(default=lambda _given: False, repr=False, compare=False)
    keys: Mapping[str, PyJWK] = field(default_factory=dict, repr=False)
    jwks_uri: str = ""
    tls_subject: str = ""
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str = ""
    scopes: frozenset[str] = frozenset()
    audiences: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    pushed_requests_only: bool = False
    dpop_only: bool = False
    certificate_bound: bool = False

    def __repr__(self) -> str:
        return f"Client({self.client_id!r})"

    @property
    def public(self) -> bool:
        """Whether it has nothing to authenticate with (RFC 6749 §2.1)."""
        return "none" in self.auth

    def get_client_id(self) -> str:
        """The identifier."""
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        """None: every request names its own."""

    def get_allowed_scope(self, scope: str) -> str:
        """Scopes are parsed by `scopes`, not filtered per client."""
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether it is registered, character by character; of a loopback address the port is free (RFC 8252 §7.3)."""
        return redirect_uri in self.redirect_uris or _without_port(redirect_uri) in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        """Whether this is the secret."""
        return self.is_secret(client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Whether the client authenticates like this, at every endpoint."""
        return method in self.auth

    def check_response_type(self, response_type: str) -> bool:
        """Only `code`, and only for clients with the grant."""
        return response_type == "code" and AUTHORIZATION_CODE in self.grant_types

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether the client may use a grant."""
        return grant_type in self.grant_types


def _without_port(uri: str) -> str:
    """A loopback address as it is registered, without the port that a native app happened to get; else nothing."""
    try:
        parts = urlsplit(uri)
        if parts.scheme != "http" or parts.hostname not in _LOOPBACK or parts.port is None:
            return ""
    except ValueError:
        return ""
    host = "[::1]" if parts.hostname == "::1" else parts.hostname
    start = f"http://{host}:{parts.port}"
    if parts.netloc != f"{host}:{parts.port}" or not uri.startswith(start):
        return ""  # a user name, or another spelling
    # put together again by hand: the parser forgives blanks, and forgets a query or fragment without anything in it
    return f"http://{host}{uri.removeprefix(start)}"


OWN_PAGES = "gatehouse-pages"
BUILT_IN = (
    Client(
        "DIRAC_CLI", "DIRAC command line", frozenset({DEVICE_CODE, CERTIFICATE, "refresh_token"}), "RS256"
    ),
    Client("gatehouse-pilot", "Pilot on a worker node", frozenset({PILOT_SECRET}), "ES256", dpop_only=True),
    # never gets a token: people log in to our own pages in its name
    Client(OWN_PAGES, "My sessions and tokens", frozenset(), "ES256"),
)


def own(base_url: str) -> tuple[Client, ...]:
    """The built-in clients that live in a browser: DIRAC's web portal, and a command line with a browser beside it."""
    code = frozenset({AUTHORIZATION_CODE, "refresh_token"})
    local = ("http://127.0.0.1/", "http://[::1]/")
    web = f"{base_url}/DIRAC/loginComplete"
    return (
        Client("DIRAC_Web", "DIRAC web portal", code, "RS256", redirect_uris=(web,)),
        Client("gatehouse-cli", "Gatehouse command line", code, "RS256", redirect_uris=local),
    )


def from_settings(given: ClientSettings) -> Client:
    """A configured client. Raises ConfigurationError."""
    secret = secret_of(given.client_secret, given.client_secret_file, f"client {given.client_id}").encode()
    return make(given, lambda said: bool(secret) and hmac.compare_digest(secret, said.encode()), bool(secret))


def make(given: ClientSettings, is_secret: Callable[[str], bool], has_secret: bool) -> Client:
    """A client from its description and its way of comparing secrets. Raises ConfigurationError."""
    auth = _auth(given, has_secret)
    why = _wrong(given, auth, has_secret)
    if why:
        raise ConfigurationError(f"The client {given.client_id} {why}.")
    return Client(
        client_id=given.client_id,
        name=given.name or given.client_id,
        grant_types=frozenset(given.grant_types),
        alg=given.access_token_alg,
        auth=auth,
        is_secret=is_secret,
        keys=_keys(given),
        jwks_uri=given.jwks_uri,
        tls_subject=_subject(given),
        redirect_uris=given.redirect_uris,
        post_logout_redirect_uris=given.post_logout_redirect_uris,
        backchannel_logout_uri=given.backchannel_logout_uri,
        scopes=frozenset(given.scopes),
        audiences=frozenset(given.audiences),
        resources=frozenset(given.resources),
        pushed_requests_only=given.pushed_requests_only,
        dpop_only=given.dpop_only,
        certificate_bound=given.certificate_bound,
    )


def _wrong(given: ClientSettings, auth: frozenset[str], has_secret: bool) -> str:
    """What does not fit together in a description; empty when all does."""
    if given.jwks and given.jwks_uri:
        return "has both jwks and jwks_uri, which exclude each other (RFC 7591 §2)"
    if "private_key_jwt" in auth and not (given.jwks or given.jwks_uri):
        return "has no key to authenticate with: set its jwks or jwks_uri"
    if "tls_client_auth" in auth and not given.tls_subject:
        return "has no tls_subject to authenticate with"
    if not auth.isdisjoint(SECRET_METHODS) and not has_secret:
        return "has no secret to authenticate with"
    if "none" in auth and CLIENT_CREDENTIALS in given.grant_types:
        return "is public, so it cannot use client_credentials (RFC 6749 §4.4)"
    if "none" in auth and TOKEN_EXCHANGE in given.grant_types:
        return "is public, so it cannot exchange tokens: nobody could say who acts (RFC 8693 §2.1)"
    if given.certificate_bound and "tls_client_auth" not in auth:
        return "does not authenticate with a certificate that its tokens could be bound to"
    if "host.auth" in given.scopes or given.client_id.startswith("host:"):
        return _wrong_host(given, auth)
    return ""


def _wrong_host(given: ClientSettings, auth: frozenset[str]) -> str:
    """WLCG profile 1.3: a host is called host:<fqdn>. No flow checks the name, so its certificate has to say it."""
    name = given.client_id.removeprefix("host:")
    if name == given.client_id or not _HOST.fullmatch(name):
        return "has the scope host.auth, so it must be called host: and its full name"
    if auth != {"tls_client_auth"} or not _subject(given).endswith((f"/CN={name}", f"/CN=host/{name}")):
        return f"is a host, so it authenticates with a certificate (tls_subject) whose CN is {name}"
    return ""


def _subject(given: ClientSettings) -> str:
    """The name in the client's certificate, in slash form however it is written."""
    found = normalise_dn(given.tls_subject) if given.tls_subject else ""
    if isinstance(found, Refused):
        raise ConfigurationError(f"The tls_subject of the client {given.client_id} is no distinguished name.")
    return found


def _auth(given: ClientSettings, has_secret: bool) -> frozenset[str]:
    if given.auth is not None:
        return frozenset({given.auth})
    if has_secret:
        return frozenset(SECRET_METHODS)
    return frozenset({"private_key_jwt"} if given.jwks or given.jwks_uri else {"none"})


def _keys(given: ClientSettings) -> dict[str, PyJWK]:
    """The client's public keys by `kid`; each with the one algorithm of its kind (RFC 8725 §3.1)."""
    if not given.jwks:
        return {}
    try:
        found = json.loads(given.jwks)
        secret = any("d" in one or "k" in one for one in found["keys"])
    except (ValueError, KeyError, TypeError, RecursionError):
        found, secret = {}, False
    if secret:
        raise ConfigurationError(
            f"The jwks of the client {given.client_id} holds a private key: give the public part only, "
            "and make a new key, since others have seen this one."
        )
    keys = {kid: key for kid, key in read_keys(found).items() if isinstance(kid, str)}
    if not keys:
        raise ConfigurationError(
            f"The jwks of the client {given.client_id} is not a JWK Set of public RSA or P-256 keys with a kid each."
        )
    return keys


Finder = Callable[[Tx, str], Client | None]


class Clients:
    """All clients by identifier; a configured one replaces a built-in one of the same name, as in DIRAC."""

    def __init__(
        self, configured: Iterable[ClientSettings], base_url: str = "", registered: Finder | None = None
    ) -> None:
        built_in = (*BUILT_IN, *(own(base_url) if base_url else ()))
        self._by_id = {client.client_id: client for client in built_in}
        self._by_id |= {given.client_id: from_settings(given) for given in configured}
        self._registered = registered

    @property
    def names(self) -> frozenset[str]:
        """What people know the built-in and configured clients by."""
        return frozenset(text for one in self._by_id.values() for text in (one.client_id, one.name))

    def known(self, client_id: str) -> Client | None:
        """A built-in or configured client: where there is no transaction, and registered ones do not matter."""
        return self._by_id.get(client_id)

    def find(self, tx: Tx, client_id: str) -> Client | None:
        """The client of that identifier; the database is asked for registered ones only."""
        known = self.known(client_id)
        if known is not None or self._registered is None:
            return known
        return self._registered(tx, client_id)
