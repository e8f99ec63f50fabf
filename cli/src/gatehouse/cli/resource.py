"""What our own API says of itself, so that clients find who issues tokens for it (RFC 9728)."""

from msgspec import json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gatehouse.auth import shapes
from gatehouse.auth.scopes import SUPPORTED
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.gate import KIB, allow, public, route
from gatehouse.tokenmanager.holderkey import ALGORITHMS

PATH = "/.well-known/oauth-protected-resource/api"  # §3.1: between host and path of the resource


class Resource:
    """The metadata of `<base>/api`."""

    def __init__(self, base_url: str, certificate_base: str = "") -> None:
        self._document = json.encode(
            {
                "resource": f"{base_url}/api",
                "authorization_servers": [f"{base_url}/auth"],
                "scopes_supported": list(SUPPORTED),
                "bearer_methods_supported": ["header"],
                "resource_name": "Gatehouse",
                "resource_documentation": f"{base_url}/api/openapi.json",
                "dpop_signing_alg_values_supported": list(ALGORITHMS),
                "dpop_bound_access_tokens_required": False,
                "tls_client_certificate_bound_access_tokens": bool(certificate_base),
            }
        )

    def routes(self) -> list[BaseRoute]:
        """Every route of this module."""
        return [route(PATH, self.metadata)]

    @allow(public("RFC 9728 §3: clients read it before they know anything").body(KIB), "document")
    @describe({200: shapes.Resource})
    async def metadata(self, _request: Request) -> Response:
        """Metadata of our API as a protected resource."""
        headers = {"Cache-Control": "public, max-age=300"}
        return Response(self._document, media_type="application/json", headers=headers)
