"""The demo provider's tokens and claims: what each shape puts where (OpenID Connect Core, WLCG profile)."""

import hashlib
from base64 import urlsafe_b64encode

import jwt

from gatehouse.cli.demo.idp_state import Grant, Provider
from gatehouse.cli.demo.idp_tweaks import Claims, sign, unsigned
from gatehouse.cli.demo.people import Person

ACCESS_LIFE = 3600
ID_LIFE = 600
ANY_AUDIENCE = "https://wlcg.cern.ch/jwt/v1/any"


def access_token(idp: Provider, grant: Grant, scopes: tuple[str, ...]) -> str:
    """A JWT; `checkin` writes no `aud`, `iam` the WLCG any-value."""
    now = idp.clock.now()
    claims: Claims = {
        "iss": idp.issuer,
        "sub": grant.person.subject(idp.shape),
        "iat": now,
        "exp": now + ACCESS_LIFE,
        "jti": idp.draw(),
        "client_id": idp.client_id,
        "scope": " ".join(scopes),
    }
    if idp.shape == "checkin":
        claims |= {"typ": "Bearer", "azp": idp.client_id, "sid": grant.id, "auth_time": grant.auth_time}
        claims["voperson_id"] = claims["sub"]
    else:
        claims |= {"aud": ANY_AUDIENCE, "nbf": now, **_wlcg(grant.person, scopes)}
    return sign({"kid": idp.kid}, claims, idp.key)


def id_token(idp: Provider, grant: Grant, scopes: tuple[str, ...], access: str, *, nonce: str) -> str:
    """RS256 with `at_hash`, `auth_time` and, when one was sent, the `nonce`."""
    now = idp.clock.now()
    claims: Claims = {
        "iss": idp.issuer,
        "sub": grant.person.subject(idp.shape),
        "aud": idp.client_id,
        "iat": now,
        "exp": now + ID_LIFE,
        "jti": idp.draw(),
        "auth_time": grant.auth_time,
        "at_hash": _half_hash(access),
        **grant.person.profile(scopes),
    }
    if nonce:
        claims["nonce"] = nonce
    if idp.shape == "checkin":
        claims |= {"azp": idp.client_id, "sid": grant.id, **_voperson(grant.person, scopes)}
    else:
        claims |= _wlcg(grant.person, scopes)
    return idp.tweaks.sign({"kid": idp.kid}, idp.tweaks.id_token(claims), idp.key)


def refresh_handle(idp: Provider) -> str:
    """A refresh token; INDIGO IAM's is a JWT with `alg: none`, which nobody but IAM may look into."""
    return unsigned({}, {"jti": idp.draw()}, idp.key) if idp.shape == "iam" else idp.draw()


def userinfo(idp: Provider, person: Person, scopes: tuple[str, ...]) -> Claims:
    """The claims about the person; the shape `checkin` tells entitlements here (and at introspection) only."""
    claims: Claims = {"sub": person.subject(idp.shape), **person.profile(scopes)}
    if idp.shape == "checkin":
        return claims | _voperson(person, scopes) | entitlements(person, scopes)
    return claims | {name: value for name, value in _wlcg(person, scopes).items() if name == "wlcg.groups"}


def entitlements(person: Person, scopes: tuple[str, ...]) -> Claims:
    """The same values under the old and the new name, each when its scope was asked."""
    names = ("entitlements", "eduperson_entitlement")
    return {name: person.entitlements() for name in names if name in scopes}


def read(idp: Provider, token: str) -> tuple[Claims, Person] | None:
    """The claims of one of our own live access tokens and whose it is; None for anything else."""
    try:
        # times are judged by our own clock below
        claims: Claims = jwt.decode(
            token,
            idp.key.public_key(),
            ["RS256"],
            issuer=idp.issuer,
            options={
                "require": ["exp", "scope", "client_id"],
                "verify_aud": False,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidTokenError:
        return None
    person = next((p for p in idp.people if p.subject(idp.shape) == claims["sub"]), None)
    if person is None or int(str(claims["exp"])) <= idp.clock.now():
        return None
    return claims, person


def _wlcg(person: Person, scopes: tuple[str, ...]) -> Claims:
    groups: Claims = {"wlcg.groups": person.wlcg_groups()} if "wlcg.groups" in scopes else {}
    return {"wlcg.ver": "1.0", **groups}


def _voperson(person: Person, scopes: tuple[str, ...]) -> Claims:
    return {"voperson_id": person.subject("checkin")} if {"voperson_id", "aarc"} & set(scopes) else {}


def _half_hash(access: str) -> str:
    """`at_hash` (OpenID Connect Core §3.1.3.6) for RS256."""
    return urlsafe_b64encode(hashlib.sha256(access.encode()).digest()[:16]).rstrip(b"=").decode()
