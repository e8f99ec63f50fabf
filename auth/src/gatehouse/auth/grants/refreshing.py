"""The refresh grant (RFC 6749 §6): every use turns the token, a membership that ended ends the login."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749.errors import InvalidGrantError
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant

from gatehouse.auth.clients import Client
from gatehouse.auth.grants.person import entitled, tokens
from gatehouse.registry import audit
from gatehouse.tokenmanager import refresh

_Base: Any = object if TYPE_CHECKING else RefreshTokenGrant


@dataclass(frozen=True, slots=True)
class _Presented:
    """A refresh token as authlib asks about it."""

    family: refresh.Family
    text: str

    def check_client(self, client: Client) -> bool:
        return self.family.client_id == client.client_id

    def get_scope(self) -> str:
        return self.family.scope


class RefreshGrant(_Base):  # type: ignore[misc]
    """Turning a refresh token."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> _Presented:
        """The family a genuine token belongs to; whether it is current is decided when it is turned."""
        family = refresh.find(self.request.tx, self.server.context.seal, refresh_token)
        if family is None:
            raise InvalidGrantError("This is not a refresh token of this service. Log in again.")
        return _Presented(family, refresh_token)

    def create_token_response(self) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        """Turn the token; the conditional UPDATE lets one caller win, others in the grace get the same."""
        request, context = self.request, self.server.context
        presented: _Presented = request.refresh_token
        family = presented.family
        entitled(request.tx, context, family.user_id, family.group)
        turned = refresh.turn(
            request.tx,
            context.seal,
            presented.text,
            request.client.client_id,
            context.lifetimes.refresh_grace,
        )
        if isinstance(turned, refresh.NotTurned):
            raise InvalidGrantError(f"{turned.reason} Log in again.")
        audit.record(
            request.tx,
            "grant.refreshed",
            actor=family.username,
            subject=family.user_id,
            grant=family.id,
            client=family.client_id,
            address=request.address,
        )
        return 200, tokens(context, request.client, turned), self.TOKEN_RESPONSE_HEADER
