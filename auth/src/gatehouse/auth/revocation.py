"""Token revocation (RFC 7009): a refresh token ends its login, an access token only itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint

from gatehouse.auth.clients import Client
from gatehouse.registry import audit
from gatehouse.tokenmanager import refresh, revoke
from gatehouse.tokenmanager.principal import Principal

_Base: Any = object if TYPE_CHECKING else RevocationEndpoint


@dataclass(frozen=True, slots=True)
class _Found:
    """A live token as authlib asks about it."""

    what: refresh.Family | Principal

    def check_client(self, client: Client) -> bool:
        return self.what.client_id == client.client_id


class Revocation(_Base):  # type: ignore[misc]
    """Ends a token that its own client presents; unknown ones are fine too (§2.2)."""

    def create_endpoint_request(self, request: object) -> object:
        """Requests are made by the endpoints."""
        return request

    def authenticate_token(self, request: Any, client: Client) -> _Found | None:
        """The token, by what it is rather than by the hint; only its own client may end it (§2.1)."""
        if not request.form.get("token"):
            raise InvalidRequestError("Missing 'token' in request.")
        found = self._find(request)
        if found is not None and not found.check_client(client):
            raise InvalidGrantError("The token was issued to another client.")
        return found

    def _find(self, request: Any) -> _Found | None:
        bearer = request.tokens.get("token")
        if isinstance(bearer, Principal):
            return _Found(bearer)
        shown = refresh.present(request.tx, self.server.context.seal, request.form["token"])
        return None if shown is None else _Found(shown.family)

    def revoke_token(self, token: _Found, request: Any) -> None:
        """End it in this transaction."""
        if isinstance(token.what, Principal):
            revoke.add(request.tx, revoke.token_name(token.what.token_id), token.what.expires_at)
            audit.record(
                request.tx,
                "token.revoked",
                actor=token.what.label,
                subject=token.what.subject,
                token=token.what.token_id,
                address=request.address,
            )
        else:
            refresh.end(request.tx, token.what, "revoked by its holder", actor=token.what.username)
