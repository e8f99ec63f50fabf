"""Token exchange (RFC 8693): a service that was given a token asks for a narrower one to pass on."""

from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError, InvalidScopeError

from gatehouse.auth.clients import TOKEN_EXCHANGE
from gatehouse.auth.grants.extension import ExtensionGrant
from gatehouse.auth.scopes import lifetime_of
from gatehouse.auth.server import sayable
from gatehouse.registry import audit
from gatehouse.tokenmanager import exchange
from gatehouse.tokenmanager.issue import spelled
from gatehouse.tokenmanager.principal import Principal
from gatehouse.tokenmanager.verify import confirmation, token_type

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
JWT = "urn:ietf:params:oauth:token-type:jwt"


class ExchangeGrant(ExtensionGrant):  # type: ignore[misc]
    """Subject token in, narrower token out, with the client as its actor."""

    GRANT_TYPE = TOKEN_EXCHANGE

    def validate_token_request(self) -> None:
        """The parameters of §2.1; the tokens were verified before the transaction began."""
        form = self.request.form
        if form.get("requested_token_type", ACCESS_TOKEN) not in (ACCESS_TOKEN, JWT):
            raise InvalidRequestError(f"Only {ACCESS_TOKEN} can be requested here.")
        if ("actor_token" in form) != ("actor_token_type" in form):
            raise InvalidRequestError(
                "actor_token and actor_token_type come together (RFC 8693 section 2.1)."
            )
        self.subject = self._held("subject_token")
        self.actor = self._held("actor_token") if "actor_token" in form else None

    def _held(self, name: str) -> Principal:
        """A live token of ours, that this client may hold: its own, or one that is for it (RFC 8693 §2.1)."""
        form, client = self.request.form, self.request.client
        if form.get(f"{name}_type") not in (ACCESS_TOKEN, JWT) or not form.get(name):
            raise InvalidRequestError(f"{name} is required, with {name}_type {ACCESS_TOKEN}.")
        found = self.request.tokens.get(name)
        if not isinstance(found, Principal):
            raise InvalidGrantError(
                sayable(f"The {name} is not accepted: {found.reason if found else 'unknown'}")
            )
        ours = {*client.resources, self.server.context.mint.audience}
        if found.client_id != client.client_id and ours.isdisjoint(found.audience):
            raise InvalidGrantError(f"The {name} is not for this client.")
        if found.binding and found.binding != self.request.binding:
            raise InvalidGrantError(f"The {name} is bound to a key that did not come with the request.")
        return found

    def create_token_response(self) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        """Derive, record, sign."""
        request, context = self.request, self.server.context
        scope, asked = lifetime_of(request.form.get("scope", ""))
        derived = exchange.derive(
            self.subject,
            actor=self._acting(),
            scope=scope,
            audience=request.targets,
            longest=context.lifetimes.access_token_max,
            now=context.clock.now(),
            asked_lifetime=asked,
        )
        if isinstance(derived, exchange.NotDerived):
            raise _error(derived)
        audience = list(derived.audience)
        minted = context.mint.access_token(
            request.client.alg,
            derived.lifetime,
            subject=self.subject.subject,
            client_id=request.client.client_id,
            scope=derived.scope,
            audience=spelled(audience),
            claims=derived.claims | confirmation(request.binding),
        )
        audit.record(
            request.tx,
            "token.exchanged",
            actor=request.client.client_id,
            subject=self.subject.subject,
            token=minted.token_id,
            parent=self.subject.token_id,
            scope=derived.scope[:512],
            audience=" ".join(audience)[:512],
            address=request.address,
        )
        answer: dict[str, object] = {
            "access_token": minted.token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": token_type(request.binding),
            "expires_in": minted.lifetime,
            "scope": derived.scope,
        }
        if derived.capped:
            answer["lifetime_notice"] = " ".join(derived.capped)
        return 200, answer, self.TOKEN_RESPONSE_HEADER

    def _acting(self) -> str:
        """Who acts: whoever the actor token names, else the client."""
        return self.actor.subject if self.actor else f"client:{self.request.client.client_id}"


def _error(why: exchange.NotDerived) -> OAuth2Error:
    if why.error == "invalid_scope":
        return InvalidScopeError(sayable(why.reason))
    return OAuth2Error(error=why.error, description=sayable(why.reason))
