"""The endpoints that programs call: device start, token, revocation, userinfo, keys, metadata."""

from collections.abc import Callable, Mapping

from authlib.consts import default_json_headers
from authlib.oauth2.rfc6749.errors import InvalidScopeError, UnauthorizedClientError
from msgspec import json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gatehouse.auth import devices, guesses, metadata
from gatehouse.auth.clients import DEVICE_CODE
from gatehouse.auth.grants.device import DeviceGrant
from gatehouse.auth.grants.pilot import PilotGrant
from gatehouse.auth.grants.refreshing import RefreshGrant
from gatehouse.auth.revocation import Revocation
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.server import Answer, Server, bad_request, read_form
from gatehouse.auth.server import Request as OAuthRequest
from gatehouse.registry import audit
from gatehouse.registry.database import Database, Tx
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.gate import KIB, allow, either, jobs, members, pilots, principal_of, public, route
from gatehouse.tokenmanager.principal import Principal
from gatehouse.tokenmanager.verify import Verifier

_JSON = {"content-type": "application/json", "cache-control": "no-store"}
_FORM = "application/x-www-form-urlencoded"
_Answering = Callable[[OAuthRequest], Answer]
_DEVICE_AUTH = ["none", "client_secret_basic", "client_secret_post"]


class Endpoints:
    """RFC 6749 and its relatives over HTTP; all decisions are in `server` and the grants."""

    def __init__(self, database: Database, server: Server, verifier: Verifier, base_url: str) -> None:
        self._database = database
        self._server = server
        self._verifier = verifier
        self._issuer = f"{base_url}/auth"
        self._metadata = metadata.document(self._issuer, base_url)
        for grant in (DeviceGrant, RefreshGrant, PilotGrant):
            server.register_grant(grant)
        server.register_endpoint(Revocation)

    def routes(self) -> list[BaseRoute]:
        """Every route of this module."""
        discovery = [
            route(path, self.discovery)
            for path in (
                "/auth/.well-known/openid-configuration",
                "/auth/.well-known/oauth-authorization-server",
                "/.well-known/oauth-authorization-server/auth",
            )
        ]
        return [
            route("/auth/token", self.token, methods=["POST"]),
            route("/auth/userinfo", self.userinfo, methods=["GET", "POST"]),
            route("/auth/jwk", self.keys),
            route("/auth/device", self.device, methods=["POST"]),
            route("/auth/revoke", self.revoke, methods=["POST"]),
            route("/auth/vo/{vo}/.well-known/openid-configuration", self.vo_discovery),
            *discovery,
        ]

    @allow(public("clients authenticate inside (RFC 6749 §3.2.1)"), "token")
    async def token(self, request: Request) -> Response:
        """The token endpoint."""
        return await self._oauth(request, self._server.token)

    @allow(public("the caller proves that the token is theirs by holding it (RFC 7009 §2.1)"), "token")
    async def revoke(self, request: Request) -> Response:
        """The revocation endpoint."""
        return await self._oauth(request, lambda asked: self._server.endpoint("revocation", asked))

    @allow(
        public("starting a login asks for nothing; a person decides in the browser (RFC 8628 §3.1)"), "login"
    )
    async def device(self, request: Request) -> Response:
        """The device authorization endpoint."""
        return await self._oauth(
            request, lambda asked: self._server.answer(asked, "device", lambda: self._start_device(asked))
        )

    @allow(either(members(), pilots(), jobs()), "call")
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
        return _json(200, said)

    @allow(public("public keys are public (RFC 7517)").body(KIB), "document")
    async def keys(self, request: Request) -> Response:
        """Our public keys; `kid`s are never used twice."""
        ring = self._server.context.mint.ring
        headers = {"ETag": ring.etag, "Cache-Control": "public, max-age=3600"}
        known = request.headers.get("if-none-match", "")
        if ring.etag in known or known.strip() == "*":  # RFC 9110 §13.1.2: a list, compared weakly
            return Response(status_code=304, headers=headers)
        return Response(ring.jwks, media_type="application/jwk-set+json", headers=headers)

    @allow(public("RFC 8414 §3: clients read it before they know anything").body(KIB), "document")
    async def discovery(self, _request: Request) -> Response:
        """Metadata of the one issuer."""
        return Response(
            self._metadata, media_type="application/json", headers={"Cache-Control": "public, max-age=300"}
        )

    @allow(public("verifiers at grid sites find the keys of a VO's tokens here").body(KIB), "document")
    async def vo_discovery(self, request: Request) -> Response:
        """Metadata of the issuer of one VO."""
        vo = request.path_params["vo"]
        if vo not in {group.vo for group in self._server.context.groups.by_name.values()}:
            raise Problem(404, "not_found", f"No VO is called {vo[:128]} here.")
        body = metadata.vo_document(f"{self._issuer}/vo/{vo}", f"{self._issuer}/jwk")
        return Response(body, media_type="application/json", headers={"Cache-Control": "public, max-age=300"})

    async def _oauth(self, request: Request, answer: _Answering) -> Response:
        """Read the form once, answer inside one transaction, send when it is durable."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            return _send(bad_request(f"The body must be a form ({_FORM})."))
        form = read_form(await request.body())
        if isinstance(form, str):
            return _send(bad_request(form))
        address = request.client.host if request.client else ""
        headers = {name.title(): value for name, value in request.headers.items()}
        # verified here, on the event loop's thread, whose cache it is
        verdict = self._verifier.verify(form["token"]) if "token" in form else None
        bearer = verdict if isinstance(verdict, Principal) else None

        def work(tx: Tx) -> Answer:
            return answer(OAuthRequest(tx, form, headers, address, bearer))

        return _send(await self._database.write(work))

    def _start_device(self, request: OAuthRequest) -> Answer:
        server, tx = self._server, request.tx
        client = server.authenticate_client(request, _DEVICE_AUTH, "device")
        if not client.check_grant_type(DEVICE_CODE):
            raise UnauthorizedClientError("This client may not use the device flow.")
        asked = parse(request.form.get("scope", ""))
        if not isinstance(asked, Asked):
            raise InvalidScopeError(asked.reason)
        if asked.group and asked.group not in server.context.groups.by_name:
            raise InvalidScopeError(
                f"No group is called {asked.group} here. Leave it out to choose one in the browser."
            )
        if asked.proxy:
            raise InvalidScopeError("This service does not issue X.509 proxies yet: ask without proxy.")
        lifetime = server.context.lifetimes.device_code
        started = devices.start(
            tx,
            server.context.seal,
            client_id=client.client_id,
            scope=request.form.get("scope", ""),
            address=request.address,
            agent=request.headers.get("User-Agent", ""),
            lifetime=lifetime,
        )
        audit.record(tx, "device.started", actor=client.client_id, address=request.address, group=asked.group)
        link, key = f"{self._issuer}/device", guesses.link_key(server.context.seal, started.user_code)
        return Answer(
            200,
            {
                "device_code": started.device_code,
                "user_code": started.user_code,
                "verification_uri": link,
                "verification_uri_complete": f"{link}?user_code={started.user_code}&key={key}",
                "expires_in": lifetime,
                "interval": 5,
            },
            dict(default_json_headers),
        )


def _send(answer: Answer) -> Response:
    return _json(answer.status, answer.body, answer.headers)


def _json(status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    sent = Response(json.encode(body), status, headers=_JSON)
    for name, value in (headers or {}).items():
        if name.lower() not in _JSON:
            sent.headers[name] = value
    return sent
