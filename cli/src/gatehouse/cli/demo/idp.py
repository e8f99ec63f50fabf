"""A demo identity provider: a real OpenID provider that plays another organisation, without passwords.

It comes in two shapes: `checkin` looks like EGI Check-in, `iam` like INDIGO IAM with the WLCG profile. State is
in memory and bounded. Every page and the discovery document say that it is a demo.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from gatehouse.cli.demo import idp_authorize, idp_endpoints, idp_pages
from gatehouse.cli.demo.idp_state import Provider, draw
from gatehouse.cli.demo.idp_tweaks import Claims, Tweaks
from gatehouse.cli.demo.people import Person, Shape
from gatehouse.registry.clock import Clock
from gatehouse.registry.errors import Problem

BODY_LIMIT = 65536
Handler = Callable[[Provider, Request], Awaitable[Response]]


def create_idp(
    issuer: str,
    shape: Shape,
    people: Sequence[Person],
    client_id: str,
    client_secret: str,
    redirect_uris: Sequence[str],
    clock: Clock,
    *,
    allow_login_hint: bool = False,
    key: rsa.RSAPrivateKey | None = None,
    draw: Callable[[], str] = draw,
    tweaks: Tweaks | None = None,
) -> Starlette:
    """The provider as an ASGI application, to be mounted at the path of its issuer (see `mounted`).

    With `allow_login_hint` the query parameter `login_hint=<username>` signs in without a page. ValueError
    when the issuer's last slash is not as the shape has it: `iam` ends in one, `checkin` does not.
    """
    if issuer.endswith("/") != (shape == "iam"):
        raise ValueError("the issuer of the shape iam ends in a slash, that of checkin does not")
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    idp = Provider(
        issuer=issuer,
        shape=shape,
        people=people,
        client_id=client_id,
        client_secret=client_secret,
        redirect_uris=redirect_uris,
        clock=clock,
        key=key,
        kid=_key_id(key),
        allow_login_hint=allow_login_hint,
        tweaks=tweaks or Tweaks(),
        draw=draw,
    )
    paths = idp.paths
    routes = [
        _route(idp, "/.well-known/openid-configuration", "discovery", _discovery, "GET"),
        _route(idp, paths.jwks, "jwks", _jwks, "GET"),
        _route(idp, paths.authorize, "authorize", idp_authorize.authorize, "GET", "POST"),
        _route(idp, paths.token, "token", idp_endpoints.token, "POST"),
        _route(idp, paths.userinfo, "userinfo", idp_endpoints.userinfo, "GET", "POST"),
        _route(idp, paths.introspect, "introspect", idp_endpoints.introspect, "POST"),
        _route(idp, "/demo.css", "css", _css, "GET"),
    ]
    return Starlette(routes=routes, max_body_size=BODY_LIMIT)


def mounted(issuer: str, idp: Starlette) -> Mount:
    """The provider at the path of its issuer, so that several can share one listener."""
    return Mount(urlsplit(issuer).path.rstrip("/"), app=idp)


def _route(idp: Provider, path: str, name: str, handler: Handler, *methods: str) -> Route:
    """One endpoint behind the hooks of `Tweaks`; a Problem becomes an OAuth error (RFC 6749 §5.2)."""

    async def endpoint(request: Request) -> Response:
        await asyncio.sleep(idp.tweaks.delay(name))
        status = idp.tweaks.status(name)
        if status is not None:
            return PlainTextResponse("out of order (a test wants it so)", status)
        try:
            answer = await handler(idp, request)
            answer.headers.update(idp.tweaks.headers(name))
            return answer
        except Problem as problem:
            headers = dict(idp_endpoints.NO_STORE)
            if problem.status == 401:
                headers["WWW-Authenticate"] = f'Basic realm="{idp.title}"'
            return JSONResponse(problem.body(), problem.status, headers)

    return Route(path, endpoint, methods=list(methods), name=name)


async def _discovery(idp: Provider, request: Request) -> Response:
    """OpenID Connect Discovery §3."""
    paths = idp.paths
    document: Claims = {
        "gatehouse_demo": True,
        "issuer": idp.issuer,
        "authorization_endpoint": idp.base + paths.authorize,
        "token_endpoint": idp.base + paths.token,
        "userinfo_endpoint": idp.base + paths.userinfo,
        "jwks_uri": idp.base + paths.jwks,
        "introspection_endpoint": idp.base + paths.introspect,
        "scopes_supported": list(idp.scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        # INDIGO IAM lists what nobody may accept
        "id_token_signing_alg_values_supported": ["RS256", "none"] if idp.shape == "iam" else ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }
    return JSONResponse(idp.tweaks.discovery(document))


async def _jwks(idp: Provider, request: Request) -> Response:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(idp.key.public_key(), as_dict=True)
    entry = {"kty": "RSA", "n": public["n"], "e": public["e"], "kid": idp.kid, "use": "sig", "alg": "RS256"}
    return JSONResponse(idp.tweaks.jwks({"keys": [entry]}))


async def _css(idp: Provider, request: Request) -> Response:
    return Response(idp_pages.CSS, media_type="text/css", headers={"X-Content-Type-Options": "nosniff"})


def _key_id(key: rsa.RSAPrivateKey) -> str:
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()[:16]
