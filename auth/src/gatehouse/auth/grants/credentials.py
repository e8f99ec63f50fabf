"""Client credentials (RFC 6749 §4.4): a service or host acts for itself, within what its registration says."""

from authlib.oauth2.rfc6749.errors import InvalidScopeError

from gatehouse.auth.clients import CLIENT_CREDENTIALS, Client
from gatehouse.auth.grants.extension import ExtensionGrant
from gatehouse.auth.scopes import lifetime_of
from gatehouse.registry import audit
from gatehouse.registry.capabilities import covered
from gatehouse.tokenmanager.issue import spelled
from gatehouse.tokenmanager.verify import confirmation, token_type


class CredentialsGrant(ExtensionGrant):  # type: ignore[misc]
    """A token for the client itself; never a refresh token (§4.4.3)."""

    GRANT_TYPE = CLIENT_CREDENTIALS

    def validate_token_request(self) -> None:
        """The scope: all that the client is registered for, or the part that it names."""
        client: Client = self.request.client
        text, self.lifetime = lifetime_of(self.request.form.get("scope", ""))
        words = text.replace("+", " ").split() or sorted(client.scopes)
        beyond = [word for word in words if not covered(client.scopes, word)]
        if beyond:
            raise InvalidScopeError(f"This client is not registered for the scope {beyond[0][:100]}.")
        self.scope = " ".join(dict.fromkeys(words))

    def create_token_response(self) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        """Record, then sign."""
        request, context = self.request, self.server.context
        client: Client = request.client
        most = context.lifetimes.access_token_max
        audience = list(request.targets) or [context.mint.audience]
        minted = context.mint.access_token(
            client.alg,
            min(self.lifetime or context.lifetimes.access_token, most),
            subject=client.client_id,
            client_id=client.client_id,
            scope=self.scope,
            audience=spelled(audience),
            claims={"kind": "service"} | confirmation(request.binding),
        )
        audit.record(
            request.tx,
            "token.issued",
            actor=client.client_id,
            subject=client.client_id,
            token=minted.token_id,
            scope=self.scope[:512],
            audience=" ".join(audience)[:512],
            address=request.address,
        )
        answer: dict[str, object] = {
            "access_token": minted.token,
            "token_type": token_type(request.binding),
            "expires_in": minted.lifetime,
            "scope": self.scope,
        }
        if self.lifetime is not None and self.lifetime > most:
            answer["lifetime_notice"] = f"You asked for {self.lifetime} s; a token lives {most} s at most."
        return 200, answer, self.TOKEN_RESPONSE_HEADER
