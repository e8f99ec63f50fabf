"""The authorization code grant (RFC 6749 §4.1.3) with PKCE (RFC 7636 §4.5, §4.6)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749.errors import InvalidGrantError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge

from gatehouse.auth import codes
from gatehouse.auth.clients import Client
from gatehouse.auth.grants.person import redeem
from gatehouse.auth.pending import Pending
from gatehouse.tokenmanager import refresh

_Base: Any = object if TYPE_CHECKING else AuthorizationCodeGrant
USED = "This code was used before or has expired. Log in again."
PKCE = CodeChallenge(required=True)


@dataclass(frozen=True, slots=True)
class _Code:
    """A code as authlib asks about it."""

    row: Pending
    code_challenge: str
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        return self.row.asks.redirect_uri

    def get_scope(self) -> str:
        return self.row.scope


class CodeGrant(_Base):  # type: ignore[misc]
    """A code that came back through the browser becomes tokens, once, for the client that asked."""

    def query_authorization_code(self, code: str, client: Client) -> _Code | None:
        """The code of this client. A second use ends what the first one gave (RFC 6749 §4.1.2)."""
        tx = self.request.tx
        row = codes.by_code(tx, self.server.context.seal, code)
        if row is None or row.client_id != client.client_id:
            return None
        if row.status == "redeemed":
            family = refresh.by_id(tx, row.grant_id)
            if family is not None:
                refresh.end(tx, family, "its authorization code came again", actor="gatehouse")
            raise InvalidGrantError(USED)
        return _Code(row, row.asks.challenge)

    def create_token_response(self) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        """Redeem the code; the conditional UPDATE lets one caller win."""
        row = self.request.authorization_code.row
        bound = row.asks.binding
        if bound and bound != self.request.binding:
            raise InvalidGrantError("The code is bound to another key (dpop_jkt, RFC 9449 section 10).")
        return 200, redeem(self.request, self.server.context, row, USED), self.TOKEN_RESPONSE_HEADER
