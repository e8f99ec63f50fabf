"""The endpoints that programs call: device start, pushed requests, token, revocation, userinfo."""

from collections.abc import Callable, Mapping

from authlib.consts import default_json_headers
from authlib.oauth2.rfc6749.errors import (
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
    UnauthorizedClientError,
)
from msgspec import json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gatehouse.auth import codes, devices, shapes
from gatehouse.auth.clientkeys import ClientKeys, Fetched, asserted
from gatehouse.auth.clients import AUTHORIZATION_CODE, DEVICE_CODE, Client
from gatehouse.auth.grants.certificate import CertificateGrant
from gatehouse.auth.grants.code import PKCE, CodeGrant
from gatehouse.auth.grants.credentials import CredentialsGrant
from gatehouse.auth.grants.device import DeviceGrant
from gatehouse.auth.grants.exchange import ExchangeGrant
from gatehouse.auth.grants.pilot import PilotGrant
from gatehouse.auth.grants.refreshing import RefreshGrant
from gatehouse.auth.introspection import Introspection
from gatehouse.auth.pending import Wanted
from gatehouse.auth.revocation import Revocation
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.server import Answer, Form, Server, bad_request, read_form, sayable
from gatehouse.auth.server import Request as OAuthRequest
from gatehouse.auth.terms import administrative, can_refresh
from gatehouse.registry import audit, directory
from gatehouse.registry.database import Database, Tx
from gatehouse.registry.settings import Settings
from gatehouse.tokenmanager.certificates import Presented, certificate_of
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.dpop import INVALID, REPEATED, Proof, Proofs, Unproven, claim
from gatehouse.tokenmanager.gate import (
    allow,
    either,
    jobs,
    members,
    pilots,
    principal_of,
    public,
    route,
    services,
)
from gatehouse.tokenmanager.holding import NONCE_HEADER
from gatehouse.tokenmanager.verify import Verifier

_JSON = {"content-type": "application/json", "cache-control": "no-store"}
_FORM = "application/x-www-form-urlencoded"
_HEADERS = ("Authorization", "User-Agent")  # all that is asked of them from here on
_TOKENS = ("token", "subject_token", "actor_token")
_Answering = Callable[[OAuthRequest], Answer]


class Endpoints:
    """RFC 6749 and its relatives over HTTP; all decisions are in `server` and the grants."""

    def __init__(
        self,
        database: Database,
        server: Server,
        verifier: Verifier,
        proofs: Proofs,
        keys: ClientKeys,
        settings: Settings,
    ) -> None:
        self._database = database
        self._keys = keys
        self._proofs = proofs
        self._server = server
        self._verifier = verifier
        self._settings = settings
        # authlib asks them in turn: the busiest first
        for grant in (
            *(RefreshGrant, ExchangeGrant, CredentialsGrant),
            *(PilotGrant, DeviceGrant, CertificateGrant),
        ):
            server.register_grant(grant)
        server.register_grant(CodeGrant, [PKCE])
        server.register_endpoint(Revocation)
        self._introspection = Introspection(server, verifier)

    def routes(self) -> list[BaseRoute]:
        """Every route of this module."""
        return [
            route("/auth/token", self.token, methods=["POST"]),
            route("/auth/userinfo", self.userinfo, methods=["GET", "POST"]),
            route("/auth/device", self.device, methods=["POST"]),
            route("/auth/par", self.par, methods=["POST"]),
            route("/auth/revoke", self.revoke, methods=["POST"]),
            route("/auth/introspect", self.introspect, methods=["POST"]),
        ]

    @allow(public("clients authenticate inside (RFC 6749 §3.2.1)"), "token")
    @describe({200: shapes.Tokens}, form=shapes.TokenForm)
    async def token(self, request: Request) -> Response:
        """The token endpoint."""
        return await self._oauth(request, self._server.token, proven=True)

    @allow(public("the caller proves that the token is theirs by holding it (RFC 7009 §2.1)"), "token")
    @describe({200: dict}, form=shapes.TokenHint)
    async def revoke(self, request: Request) -> Response:
        """The revocation endpoint."""
        return await self._oauth(request, lambda asked: self._server.endpoint("revocation", asked))

    @allow(
        public("starting a login asks for nothing; a person decides in the browser (RFC 8628 §3.1)"), "login"
    )
    @describe({200: shapes.Started}, form=shapes.DeviceForm)
    async def device(self, request: Request) -> Response:
        """The device authorization endpoint."""
        return await self._oauth(
            request, lambda asked: self._server.answer(asked, "device", lambda: self._start_device(asked))
        )

    @allow(public("clients authenticate inside, and a person decides in the browser (RFC 9126 §2)"), "login")
    @describe({201: shapes.Pushed}, form=shapes.PushForm)
    async def par(self, request: Request) -> Response:
        """The pushed authorization request endpoint."""
        return await self._oauth(
            request,
            lambda asked: self._server.answer(asked, "par", lambda: self._push(asked)),
            proven=True,
        )

    @allow(
        public("the caller authenticates inside, and learns of its own tokens only (RFC 7662 §2.1)"), "work"
    )
    @describe({200: shapes.Introspected}, form=shapes.TokenHint)
    async def introspect(self, request: Request) -> Response:
        """The introspection endpoint."""
        return await self._oauth(
            request,
            lambda asked: self._server.answer(
                asked, "introspection", lambda: self._introspection.answer(asked)
            ),
            at_once=self._introspection.at_once,
        )

    @allow(either(members(), pilots(), jobs(), services()), "call")
    @describe({200: shapes.UserInfo})
    async def userinfo(self, request: Request) -> Response:
        """Who the bearer is here (OpenID Connect Core §5.3)."""
        who = principal_of(request)
        said: dict[str, object] = {
            "sub": who.subject,
            "preferred_username": who.username,
            "username": who.username,
            "group": who.group,
            "vo": who.vo,
            "properties": sorted(who.properties),
        }
        if who.actor:
            said["act"] = {"sub": who.actor}
        scopes = who.scope.split() if "profile" in who.scope or "email" in who.scope else ()
        if scopes and who.kind == "person":
            said |= await self._database.read(lambda tx: directory.profile(tx, who.subject, scopes))
        return _json(200, said)

    async def _oauth(
        self,
        request: Request,
        answer: _Answering,
        *,
        proven: bool = False,
        at_once: Callable[[Request, Form, Mapping[str, str]], Response | None] | None = None,
    ) -> Response:
        """Read the form once, answer inside one transaction, send when it is durable.

        With `proven`, a proof of possession may come along: it is read before and used up inside (RFC 9449 §5).
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            return _send(bad_request(f"The body must be a form ({_FORM})."))
        form = read_form(await request.body())
        if not isinstance(form, Form):
            return _send(bad_request(form))
        if len(request.headers.getlist("authorization")) > 1:
            return _send(bad_request("This request has several Authorization headers."))
        proof = self._proof(request) if proven else None
        if isinstance(proof, Unproven):
            return _send(self._unproven(proof))
        address = request.client.host if request.client else ""
        headers = {name: request.headers[name] for name in _HEADERS if name in request.headers}
        if at_once is not None and (known := at_once(request, form, headers)) is not None:
            return known
        # verified here, on the event loop's thread, whose cache it is
        tokens = {name: self._verifier.recognise(form[name]) for name in _TOKENS if name in form}

        shown = certificate_of(request)
        # of a proxy this is the owner; a limited one may not speak for it
        subject = shown.identity if isinstance(shown, Presented) and not shown.limited else ""

        binding = proof.binding if proof is not None else ""
        published = await self._published(form, headers)

        def work(tx: Tx) -> Answer:
            if proof is not None and not claim(tx, proof):
                return self._unproven(REPEATED)
            return answer(
                OAuthRequest(tx, form, headers, address, tokens, binding, subject, shown, published)
            )

        sent = _send(await self._database.write(work))
        if proof is not None and proof.wants_nonce:
            sent.headers[NONCE_HEADER] = self._proofs.nonce()
        return sent

    async def _published(self, form: Form, headers: Mapping[str, str]) -> Fetched | None:
        """The key of an assertion whose client publishes its keys: fetched now, since a transaction does not wait."""
        said = asserted(form, headers)
        if said is None:
            return None
        client = await self._database.read(lambda tx: self._server.clients.find(tx, said.client_id))
        return await self._keys.find(client, said.proof)

    def _proof(self, request: Request) -> Proof | Unproven | None:
        """The proof of a request, if it has one."""
        given = request.headers.getlist("dpop")
        if not given:
            return None
        if len(given) > 1:
            return Unproven("More than one DPoP header came with this request.")
        path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
        return self._proofs.read(given[0], request.method, path.decode("latin-1"))

    def _unproven(self, why: Unproven) -> Answer:
        """A refusal with the nonce for the next attempt (RFC 9449 §5, §8)."""
        body = {"error": why.code, "error_description": sayable(why.reason)}
        return Answer(400, body, {NONCE_HEADER: self._proofs.nonce()})

    def _start_device(self, request: OAuthRequest) -> Answer:
        server, tx = self._server, request.tx
        client = server.authenticate_client(request)
        if not client.check_grant_type(DEVICE_CODE):
            raise UnauthorizedClientError("This client may not start a device flow.")
        server.check_target(request)
        asked = self._asked(client, request)
        lifetime = server.context.lifetimes.device_code
        started = devices.start(
            tx,
            server.context.seal,
            client_id=client.client_id,
            scope=request.form.get("scope", ""),
            address=request.address,
            agent=request.headers.get("User-Agent", ""),
            lifetime=lifetime,
            wanted=Wanted(audience=request.targets, lasting=can_refresh(client)),
        )
        audit.record(tx, "device.started", actor=client.client_id, address=request.address, group=asked.group)
        link = f"{server.context.issuer}/device"
        return Answer(
            200,
            {
                "device_code": started.device_code,
                "user_code": started.user_code,
                "verification_uri": link,
                "verification_uri_complete": f"{link}?user_code={started.user_code}",
                "expires_in": lifetime,
                "interval": 5,
            },
            dict(default_json_headers),
        )

    def _asked(self, client: Client, request: OAuthRequest) -> Asked:
        """What the scope asks for, if a device flow may give it."""
        asked = parse(request.form.get("scope", ""))
        if not isinstance(asked, Asked):
            raise InvalidScopeError(asked.reason)
        group = self._server.context.groups.by_name.get(asked.group)
        if asked.group and group is None:
            raise InvalidScopeError(codes.no_group(asked.group))
        if asked.proxy:
            raise InvalidScopeError(codes.NO_PROXY)
        if administrative(group) and not self._settings.device_flow.administrative_groups:
            raise InvalidScopeError(codes.not_by_device(asked.group))
        return asked

    def _push(self, request: OAuthRequest) -> Answer:
        server, context = self._server, self._server.context
        client = server.authenticate_client(request)
        if not client.check_grant_type(AUTHORIZATION_CODE):
            raise UnauthorizedClientError("This client may not use the authorization code grant.")
        if "request_uri" in request.form:
            raise InvalidRequestError("A pushed request holds no request_uri (RFC 9126 section 2.1).")
        given = {**request.form, "client_id": client.client_id}
        # RFC 9449 §10.1: the key of the proof, said or not; a certificate is asked for at the token endpoint
        if request.binding.startswith("jkt:"):
            thumbprint = request.binding.removeprefix("jkt:")
            if given.setdefault("dpop_jkt", thumbprint) != thumbprint:
                raise OAuth2Error(error=INVALID, description="dpop_jkt is not the key of the DPoP proof.")
        wanted = codes.checked(client, given, request.targets, context.groups.by_name, context.mint.audience)
        if isinstance(wanted, codes.NotAsked):
            raise OAuth2Error(error=wanted.error, description=sayable(wanted.reason))
        lifetime = context.lifetimes.pushed_request
        uri = codes.push(
            request.tx, context.seal, client, given.get("scope", ""), wanted, lifetime, request.address
        )
        return Answer(201, {"request_uri": uri, "expires_in": lifetime}, dict(default_json_headers))


def _send(answer: Answer) -> Response:
    return _json(answer.status, answer.body, answer.headers)


def _json(status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    others = {name: value for name, value in headers.items() if name.lower() not in _JSON} if headers else {}
    return Response(json.encode(body), status, headers=_JSON | others)
