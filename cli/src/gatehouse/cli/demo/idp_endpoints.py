"""The demo provider's endpoints for programs: token, userinfo, introspection."""

import hashlib
import hmac
import re
from base64 import b64decode, urlsafe_b64encode
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatehouse.cli.demo import idp_tokens
from gatehouse.cli.demo.idp_authorize import single
from gatehouse.cli.demo.idp_state import CODE_LIFE, REFRESH_LIFE, Grant, Provider
from gatehouse.registry.errors import Problem

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


async def token(idp: Provider, request: Request) -> Response:
    """RFC 6749 §4.1.3 and §6. The client is told apart first, then a grant type is looked at."""
    form = await _authenticated(idp, request)
    grant_type = form.get("grant_type", "")
    if grant_type == "authorization_code":
        return _by_code(idp, form)
    if grant_type == "refresh_token":
        return _by_refresh(idp, form)
    raise Problem(400, "unsupported_grant_type", "Only authorization_code and refresh_token are known here.")


async def userinfo(idp: Provider, request: Request) -> Response:
    """OpenID Connect Core §5.3; the token comes in the header only."""
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    found = idp_tokens.read(idp, sent) if scheme.lower() == "bearer" else None
    if found is None:
        return JSONResponse(
            {
                "error": "invalid_token",
                "error_description": "A live access token of this provider is needed.",
            },
            401,
            {"WWW-Authenticate": 'Bearer error="invalid_token"', **NO_STORE},
        )
    claims, person = found
    answer = idp_tokens.userinfo(idp, person, tuple(str(claims["scope"]).split()))
    return JSONResponse(idp.tweaks.userinfo(answer), headers=NO_STORE)


async def introspect(idp: Provider, request: Request) -> Response:
    """RFC 7662, for the registered client only."""
    form = await _authenticated(idp, request)
    found = idp_tokens.read(idp, form.get("token", ""))
    if found is None:
        return JSONResponse({"active": False}, headers=NO_STORE)
    claims, person = found
    scopes = tuple(str(claims["scope"]).split())
    extra = idp_tokens.entitlements(person, scopes) if idp.shape == "checkin" else {}
    answer = {"active": True, "username": person.username, **claims, **extra}
    return JSONResponse(answer, headers=NO_STORE)


def _by_code(idp: Provider, form: dict[str, str]) -> Response:
    code = form.get("code", "")
    grant = idp.codes.take(code)
    if grant is None:
        raise _refused(idp, code, "The code is unknown, too old, or was used before.")
    # spent even if what follows fails: a code has one try
    idp.spent.put(grant, CODE_LIFE * 10, code)
    if form.get("redirect_uri") != grant.asked.redirect_uri:
        raise Problem(400, "invalid_grant", "The redirect_uri is not that of the authorization request.")
    verifier = form.get("code_verifier", "")
    if not _VERIFIER.fullmatch(verifier) or not _same(_s256(verifier), grant.asked.challenge):
        raise Problem(400, "invalid_grant", "The code_verifier does not fit the code_challenge.")
    refresh = ""
    if "offline_access" in grant.asked.scopes:
        refresh = idp.refresh.put(grant, REFRESH_LIFE, idp_tokens.refresh_handle(idp))
    return _tokens(idp, grant, grant.asked.scopes, refresh, nonce=grant.asked.nonce)


def _by_refresh(idp: Provider, form: dict[str, str]) -> Response:
    handle = form.get("refresh_token", "")
    grant = idp.refresh.look(handle)
    if grant is None:
        raise _refused(idp, handle, "The refresh token is unknown, too old, or was used before.")
    scopes = tuple(form.get("scope", "").split()) or grant.asked.scopes
    if not set(scopes) <= set(grant.asked.scopes):
        raise Problem(400, "invalid_scope", "A refresh cannot ask for more than was granted.")
    if idp.shape == "checkin":
        idp.refresh.take(handle)
        idp.spent.put(grant, REFRESH_LIFE, handle)
        handle = idp.refresh.put(grant, REFRESH_LIFE)
    return _tokens(idp, grant, scopes, handle, nonce="")


def _refused(idp: Provider, handle: str, sentence: str) -> Problem:
    """A code or refresh token seen twice may be stolen: the grant ends (RFC 9700 §4.14.2)."""
    replayed = idp.spent.look(handle)
    if replayed is not None:
        idp.refresh.drop(lambda grant: grant.id == replayed.id)
    return Problem(400, "invalid_grant", sentence)


def _tokens(
    idp: Provider, grant: Grant, scopes: tuple[str, ...], refresh: str, *, nonce: str
) -> JSONResponse:
    access = idp_tokens.access_token(idp, grant, scopes)
    answer: dict[str, object] = {
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": idp_tokens.ACCESS_LIFE,
        "scope": " ".join(scopes),
    }
    if "openid" in scopes:
        answer["id_token"] = idp_tokens.id_token(idp, grant, scopes, access, nonce=nonce)
    if refresh:
        answer["refresh_token"] = refresh
    return JSONResponse(idp.tweaks.token(answer), headers=NO_STORE)


async def _authenticated(idp: Provider, request: Request) -> dict[str, str]:
    """The form of a request whose client has shown its secret: in the header or in the form, not both."""
    async with request.form(max_fields=20) as sent:
        form = single(sent.multi_items())
    header = request.headers.get("authorization", "")
    if header and "client_secret" in form:
        raise Problem(400, "invalid_request", "The client authenticates in two ways at once.")
    shown = _basic(header) if header else (form.get("client_id", ""), form.get("client_secret", ""))
    if not (_same(shown[0], idp.client_id) & _same(shown[1], idp.client_secret)):
        raise Problem(401, "invalid_client", "The client is unknown or its secret is wrong.")
    return form


def _basic(header: str) -> tuple[str, str]:
    """Name and secret, each form-encoded inside (RFC 6749 §2.3.1); empty if the header is not that."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, secret = b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote_plus(name), unquote_plus(secret)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _s256(verifier: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
