"""The programs that may ask for tokens: the built-in ones of DIRAC and those of the settings."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from authlib.oauth2.rfc6749 import ClientMixin

from gatehouse.registry.settings import ClientSettings
from gatehouse.tokenmanager.keys import Algorithm

if TYPE_CHECKING:  # authlib has no type information
    _ClientMixin = object
else:
    _ClientMixin = ClientMixin

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
PILOT_SECRET = "urn:gatehouse:params:oauth:grant-type:pilot-secret"  # noqa: S105 - the name of a grant


@dataclass(frozen=True, slots=True)
class Client(_ClientMixin):
    """An OAuth client (authlib's ClientMixin). Its secret, if any, is compared in constant time."""

    client_id: str
    name: str
    grant_types: frozenset[str]
    alg: Algorithm
    secret: bytes = b""

    def __repr__(self) -> str:
        return f"Client({self.client_id!r})"

    def get_client_id(self) -> str:
        """The identifier."""
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        """No client of the device flow has one."""

    def get_allowed_scope(self, scope: str) -> str:
        """Scopes are parsed by `scopes`, not filtered per client."""
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """No redirect is registered."""
        return False

    def check_client_secret(self, client_secret: str) -> bool:
        """Whether this is the secret."""
        return bool(self.secret) and hmac.compare_digest(self.secret, client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """A client with a secret must use it; one without is public (RFC 6749 §2.1)."""
        if self.secret:
            return method in ("client_secret_basic", "client_secret_post")
        return method == "none"

    def check_response_type(self, response_type: str) -> bool:
        """No response type yet: the authorization code grant comes with the full server."""
        return False

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether the client may use a grant."""
        return grant_type in self.grant_types


BUILT_IN = (
    Client("DIRAC_CLI", "DIRAC command line", frozenset({DEVICE_CODE, "refresh_token"}), "RS256"),
    Client("gatehouse-pilot", "Pilot on a worker node", frozenset({PILOT_SECRET}), "ES256"),
)


class Clients:
    """All clients by identifier; a configured one replaces a built-in one of the same name, as in DIRAC."""

    def __init__(self, configured: Iterable[ClientSettings]) -> None:
        self._by_id = {client.client_id: client for client in BUILT_IN}
        for given in configured:
            secret = given.client_secret.get_secret_value().encode() if given.client_secret else b""
            self._by_id[given.client_id] = Client(
                given.client_id,
                given.name or given.client_id,
                frozenset(given.grant_types),
                given.access_token_alg,
                secret,
            )

    def find(self, client_id: str) -> Client | None:
        """The client of that identifier."""
        return self._by_id.get(client_id)
