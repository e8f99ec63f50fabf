"""Token introspection (RFC 7662): a resource asks about a token that it was shown; nobody else learns anything.

The answer is the same for a token that is unknown, ended, or none of the caller's business: not active.
"""

from collections.abc import Mapping

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError, OAuth2Error
from cachetools import TTLCache
from msgspec import json
from starlette.requests import Request
from starlette.responses import Response

from gatehouse.auth import authentication
from gatehouse.auth.clients import SECRET_METHODS, Client
from gatehouse.auth.server import Answer, Form, Server
from gatehouse.auth.server import Request as OAuthRequest
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager import refresh
from gatehouse.tokenmanager.issue import spelled
from gatehouse.tokenmanager.principal import Principal
from gatehouse.tokenmanager.verify import Verifier, act_of, confirmation, token_type

_INACTIVE: Mapping[str, object] = {"active": False}
_HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class Introspection:
    """Answers for callers that authenticate; what was said of a live access token is kept in readiness for a while."""

    def __init__(self, server: Server, verifier: Verifier) -> None:
        self._server = server
        self._verifier = verifier
        self._said: TTLCache[tuple[str, str], tuple[Principal, bytes]] = TTLCache(
            50_000, 60, timer=server.context.clock.monotonic
        )

    def at_once(self, request: Request, form: Form, headers: Mapping[str, str]) -> Response | None:
        """The answer where the database has nothing to say: a configured client with its secret, and an access token.

        None for everything else, wrong secrets included: those are counted in the database.
        """
        try:
            shown = authentication.presented(form, headers, "")
        except OAuth2Error:
            return None
        client = self._server.clients.known(shown.client_id)
        if client is None or shown.method not in SECRET_METHODS or shown.method not in client.auth:
            return None
        if "token" not in form or not client.check_client_secret(shown.proof):
            return None
        locks, address = self._server.locks, request.client.host if request.client else ""
        if locks.left(locks.tries(client.client_id, address), self._server.context.clock.now()) != 0:
            return None
        bearer = self._verifier.recognise(form["token"])
        if not isinstance(bearer, Principal):
            return None
        return Response(self._spoken(client, bearer), 200, _HEADERS, "application/json")

    def answer(self, request: OAuthRequest) -> Answer:
        """The answer by way of the database."""
        client = self._server.authenticate_client(request)
        if client.public:
            raise InvalidClientError(
                "Only clients that authenticate may ask (RFC 7662 section 2.1).", status_code=401
            )
        if not request.form.get("token"):
            raise InvalidRequestError("Missing 'token' in request.")
        return Answer(200, self._about(request.tx, client, request), dict(_HEADERS))

    def _about(self, tx: Tx, client: Client, request: OAuthRequest) -> Mapping[str, object]:
        bearer = request.tokens["token"]
        if isinstance(bearer, Principal):
            return self._told(client, bearer)
        shown = refresh.present(tx, self._server.context.seal, request.form["token"])
        if shown is None or shown.family.client_id != client.client_id:
            return _INACTIVE
        family, now = shown.family, self._server.context.clock.now()
        if (
            family.ended_at is not None
            or family.expires_at <= now
            or not refresh.current(self._server.context.seal, shown)
        ):
            return _INACTIVE
        return {
            "active": True,
            "client_id": family.client_id,
            "sub": family.user_id,
            "username": family.username,
            "scope": family.scope,
            "exp": family.expires_at,
            "iss": self._server.context.issuer,
        }

    def _spoken(self, client: Client, bearer: Principal) -> bytes:
        key = client.client_id, bearer.token_id
        known = self._said.get(key)
        # the same object as long as the verifier believes the same: a changed group makes a new one
        if known is None or known[0] is not bearer:
            known = self._said[key] = (bearer, json.encode(self._told(client, bearer)))
        return known[1]

    def _told(self, client: Client, bearer: Principal) -> Mapping[str, object]:
        """RFC 7662 §2.2, for the client that a token was issued to and for the resources that it is meant for."""
        if bearer.client_id != client.client_id and client.resources.isdisjoint(bearer.audience):
            return _INACTIVE
        said: dict[str, object] = {
            "active": True,
            "iss": self._server.context.issuer,
            "sub": bearer.subject,
            "aud": spelled(bearer.audience),
            "client_id": bearer.client_id,
            "scope": bearer.scope,
            "token_type": token_type(bearer.binding),
            "jti": bearer.token_id,
            "iat": bearer.issued_at,
            "exp": bearer.expires_at,
        }
        rest = {"username": bearer.username, "group": bearer.group, "vo": bearer.vo}
        said |= {name: value for name, value in rest.items() if value}
        if bearer.acts:
            said["act"] = act_of(bearer.acts)
        return said | confirmation(bearer.binding)
