"""What anybody may read: our keys and what the service says of itself."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gatehouse.auth import metadata, shapes
from gatehouse.registry.errors import Problem
from gatehouse.registry.settings import ServerSettings
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.gate import KIB, allow, public, route
from gatehouse.tokenmanager.groups import Groups
from gatehouse.tokenmanager.keys import KeyRing

_FRESH = {"Cache-Control": "public, max-age=300"}


class Published:
    """Metadata in all the places where clients look (RFC 8414 §3, OpenID Connect Discovery §4), and the JWK Set."""

    def __init__(self, issuer: str, settings: ServerSettings, ring: KeyRing, groups: Groups) -> None:
        self._issuer = issuer
        self._ring = ring
        self._groups = groups
        self._metadata = metadata.document(issuer, settings.base_url, settings.certificate_base)

    def routes(self) -> list[BaseRoute]:
        """Every route of this module."""
        return [
            route("/auth/jwk", self.keys),
            route("/auth/.well-known/openid-configuration", self.discovery),
            route("/auth/.well-known/oauth-authorization-server", self.discovery),
            route("/.well-known/oauth-authorization-server/auth", self.discovery),
            route("/auth/vo/{vo}/.well-known/openid-configuration", self.vo_discovery),
            route("/auth/vo/{vo}/.well-known/oauth-authorization-server", self.vo_discovery),
            route("/.well-known/oauth-authorization-server/auth/vo/{vo}", self.vo_discovery),
        ]

    @allow(public("public keys are public (RFC 7517)").body(KIB), "document")
    @describe({200: "application/jwk-set+json", 304: None})
    async def keys(self, request: Request) -> Response:
        """Our public keys; `kid`s are never used twice."""
        headers = {"ETag": self._ring.etag, "Cache-Control": "public, max-age=3600"}
        known = request.headers.get("if-none-match", "")
        if self._ring.etag in known or known.strip() == "*":  # RFC 9110 §13.1.2: a list, compared weakly
            return Response(status_code=304, headers=headers)
        return Response(self._ring.jwks, media_type="application/jwk-set+json", headers=headers)

    @allow(public("RFC 8414 §3: clients read it before they know anything").body(KIB), "document")
    @describe({200: shapes.Issuer})
    async def discovery(self, _request: Request) -> Response:
        """Metadata of the one issuer."""
        return Response(self._metadata, media_type="application/json", headers=_FRESH)

    @allow(public("verifiers at grid sites find the keys of a VO's tokens here").body(KIB), "document")
    @describe({200: shapes.Issuer})
    async def vo_discovery(self, request: Request) -> Response:
        """Metadata of the issuer of one VO."""
        vo = request.path_params["vo"]
        if vo not in {group.vo for group in self._groups.by_name.values()}:
            raise Problem(404, "not_found", f"No VO is called {vo[:128]} here.")
        body = metadata.vo_document(f"{self._issuer}/vo/{vo}", f"{self._issuer}/jwk")
        return Response(body, media_type="application/json", headers=_FRESH)
