"""The refresh grant (RFC 6749 §6): every use turns the token, a membership that ended ends the login."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749.errors import InvalidGrantError
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant

from gatehouse.auth.clients import Client
from gatehouse.auth.grants.person import audience, entitled, tokens
from gatehouse.registry import audit
from gatehouse.tokenmanager import refresh
from gatehouse.tokenmanager.refresh import Presented

_Base: Any = object if TYPE_CHECKING else RefreshTokenGrant


@dataclass(frozen=True, slots=True)
class _Shown:
    """A refresh token as authlib asks about it."""

    token: Presented

    def check_client(self, client: Client) -> bool:
        return self.token.family.client_id == client.client_id

    def get_scope(self) -> str:
        return self.token.family.scope


class RefreshGrant(_Base):  # type: ignore[misc]
    """Turning a refresh token."""

    def authenticate_refresh_token(self, refresh_token: str) -> _Shown:
        """The family a genuine token belongs to; whether it is current is decided when it is turned."""
        shown = refresh.present(self.request.tx, self.server.context.seal, refresh_token)
        if shown is None:
            raise InvalidGrantError("This is not a refresh token of this service. Log in again.")
        return _Shown(shown)

    def create_token_response(self) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        """Turn the token; the conditional UPDATE lets one caller win, others in the grace get the same."""
        request, context = self.request, self.server.context
        shown: Presented = request.refresh_token.token
        family = shown.family
        if family.binding and family.binding != request.binding:
            raise InvalidGrantError("This login is bound to a key that did not come with the request.")
        entitled(request.tx, context, family.user_id, family.group)
        audience(
            context, request.client, family.audience.split(), request.targets
        )  # before anything is turned
        turned = refresh.turn(
            request.tx,
            context.seal,
            shown,
            request.client.client_id,
            context.lifetimes.refresh_grace,
            request.address,
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
        answer = tokens(context, request.client, turned, request.binding, request.targets)
        return 200, answer, self.TOKEN_RESPONSE_HEADER
