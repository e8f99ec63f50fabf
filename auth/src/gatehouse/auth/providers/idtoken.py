"""Believing an ID token (OpenID Connect Core §3.1.3.7): nothing is skipped, not even for friends."""

import base64
import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jwt
from jwt import PyJWK

MAX_ID_TOKEN = 16 * 1024
MAX_HEADER = 8 * 1024
LEEWAY = 60


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token must match."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str


class BadIdToken(Exception):
    """Why an ID token is not believed."""


def key_id(token: str, types: Collection[str] = ("jwt", "application/jwt")) -> str | None:
    """The `kid` of the header, only to choose among the provider's own keys. Raises BadIdToken.

    `types` are those that the token may say it is of; one that says nothing is a `jwt`.
    """
    if len(token) > MAX_ID_TOKEN:
        raise BadIdToken("it is longer than 16 kB")
    if len(token.partition(".")[0]) > MAX_HEADER:
        raise BadIdToken("its header is longer than 8 kB")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise BadIdToken("it is not a signed token") from error
    # another kind of token of the same provider must not pass for this one (RFC 8725 §3.11)
    if str(header.get("typ", "JWT")).lower() not in types:
        raise BadIdToken("it is another kind of token (typ)")
    if "crit" in header:
        raise BadIdToken("it has critical header fields that nobody here knows")
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise BadIdToken("its key id is not text")
    return kid


def verify(token: str, key: PyJWK, expected: Expected, now: int) -> dict[str, Any]:
    """The claims of a valid ID token. Raises BadIdToken naming the claim that is wrong."""
    required = ("iss", "sub", "aud", "exp", "iat")
    claims = signed(token, key, expected.issuer, expected.client_id, required)
    check_times(claims, now)
    _parties(claims, expected)
    _access_token_hash(claims, expected.access_token)
    return claims


def signed(token: str, key: PyJWK, issuer: str, client_id: str, required: Collection[str]) -> dict[str, Any]:
    """The claims of a token that the key signed, from this issuer for this client. Raises BadIdToken."""
    alg = key.algorithm_name
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[alg],
            issuer=issuer,
            audience=client_id,
            options={
                "require": list(required),
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidIssuerError as error:
        raise BadIdToken("it names another issuer") from error
    except jwt.InvalidAudienceError as error:
        raise BadIdToken("it is meant for another client (audience)") from error
    except jwt.InvalidAlgorithmError as error:
        raise BadIdToken(f"it is not signed with {alg}") from error
    except jwt.InvalidSignatureError as error:
        raise BadIdToken("its signature is wrong") from error
    except jwt.MissingRequiredClaimError as error:
        raise BadIdToken(f"the claim {error.claim} is missing") from error
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
        raise BadIdToken(f"it is malformed ({type(error).__name__})") from error
    return claims


def auth_time(claims: dict[str, Any]) -> int | None:
    """The claim `auth_time`, epoch seconds; None when it is not there or not a number."""
    value = claims.get("auth_time")
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 53
    return int(value) if usable and value is not None else None


def fresh(claims: dict[str, Any], earliest: int, now: int) -> None:
    """Whether the person logged in since `earliest` (OpenID Connect Core §3.1.3.7, 13). Raises BadIdToken."""
    at = auth_time(claims)
    if at is None:
        raise BadIdToken("it does not say when you logged in there (auth_time), which was asked for")
    if at > now + LEEWAY:
        raise BadIdToken("it says that you logged in there in the future (auth_time)")
    if at < earliest - LEEWAY:
        raise BadIdToken("your login there is too old (auth_time); log out there and try again")


def check_times(claims: dict[str, Any], now: int) -> None:
    """Whether a token is of now: `exp`, `iat`, `nbf`. Raises BadIdToken."""
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, 0)  # JSON may also hold NaN, which is never in the past
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1 << 53:
            raise BadIdToken(f"its {name} is not a number")
    if claims["exp"] <= now - LEEWAY:
        raise BadIdToken("it has expired")
    if claims["iat"] > now + LEEWAY or claims.get("nbf", 0) > now + LEEWAY:
        raise BadIdToken("it comes from the future; compare the clocks")


def _parties(claims: dict[str, Any], expected: Expected) -> None:
    audience, party = claims["aud"], claims.get("azp")
    if isinstance(audience, list) and len(audience) > 1 and party is None:
        raise BadIdToken("it has several audiences and no authorized party (azp)")
    if party is not None and party != expected.client_id:
        raise BadIdToken("it was issued to another party (azp)")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not _same(nonce, expected.nonce):
        raise BadIdToken("it does not belong to this login (nonce)")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise BadIdToken("its subject is empty or too long")


def _access_token_hash(claims: dict[str, Any], access_token: str) -> None:
    given = claims.get("at_hash")
    if given is None:
        return  # optional in the code flow (§3.1.3.6); when present it must fit
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    wanted = base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    if not isinstance(given, str) or not _same(given, wanted):
        raise BadIdToken("its access token hash (at_hash) is wrong")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())
