"""Client authentication: one way in for every endpoint (RFC 6749 §2.3, RFC 7523 §3, RFC 8705 §2).

A client uses the one method it is registered with, and one per request. Whoever fails learns only that it failed.
"""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote_plus

import jwt
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError
from jwt import PyJWK

from gatehouse.auth.clients import Client
from gatehouse.registry.clock import Clock
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager import once

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_CLIENT_ID = 128  # as the settings have it
MAX_ASSERTION = 8192
MAX_LIFE = 600  # seconds; an assertion is for now
SKEW = 60
ALGORITHMS = ("RS256", "ES256")
_FAILED = "The client is unknown, or its authentication failed."


@dataclass(frozen=True, slots=True)
class Presented:
    """Who says to call, how that is proved, and the proof."""

    client_id: str
    method: str
    proof: str
    raw: str = ""  # the proof as it was sent, where it had to be decoded


def presented(form: Mapping[str, str], headers: Mapping[str, str], certificate: str) -> Presented:
    """What a request shows; `certificate` is the subject of a verified TLS client certificate.

    Raises invalid_request when it shows two things, invalid_client when nothing can be read.
    """
    said, shown = form.get("client_id", ""), []
    if headers.get("Authorization"):
        shown.append(_basic(headers["Authorization"]))
    if "client_secret" in form:
        shown.append(Presented(said, "client_secret_post", form["client_secret"]))
    if "client_assertion" in form or "client_assertion_type" in form:
        shown.append(_assertion(form))
    if len(shown) > 1:
        raise InvalidRequestError(
            "A request authenticates its client in one way only (RFC 6749 section 2.3)."
        )
    if not shown:
        shown.append(Presented(said, "tls_client_auth" if certificate else "none", certificate))
    one = shown[0]
    if said and said != one.client_id:
        raise InvalidClientError(
            "The client_id is not that of the client that authenticates.", status_code=401
        )
    if not one.client_id:
        raise InvalidClientError("The client_id is missing.", status_code=401)
    if len(one.client_id) > MAX_CLIENT_ID:  # nobody's: what is remembered of guesses stays small
        raise refused()
    return one


def _basic(header: str) -> Presented:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic" or len(value) > 1024:
        raise InvalidClientError("The Authorization header is not that of a client.", status_code=401)
    try:
        name, colon, secret = base64.b64decode(value.strip(), validate=True).decode("ascii").partition(":")
    except ValueError as error:  # no base64, or not of ASCII, before or after
        raise InvalidClientError("The Authorization header cannot be read.", status_code=401) from error
    if not colon:
        raise InvalidClientError("The Authorization header cannot be read.", status_code=401)
    # both halves are form-encoded first (RFC 6749 §2.3.1), which many client libraries leave out
    return Presented(unquote_plus(name), "client_secret_basic", unquote_plus(secret), secret)


def _assertion(form: Mapping[str, str]) -> Presented:
    assertion = form.get("client_assertion", "")
    if form.get("client_assertion_type") != ASSERTION or not 0 < len(assertion) <= MAX_ASSERTION:
        raise InvalidClientError(
            f"A client_assertion comes with the client_assertion_type {ASSERTION}.", status_code=401
        )
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise InvalidClientError(_FAILED, status_code=401) from error
    # only to find whose key to ask: nothing else of it is believed before its signature is
    return Presented(str(claims.get("sub", "")), "private_key_jwt", assertion)


def prove(
    tx: Tx,
    client: Client,
    shown: Presented,
    issuer: str,
    clock: Clock,
    published: Mapping[str, PyJWK] = MappingProxyType({}),
) -> bool:
    """Whether the client is who it says; an assertion is used up by this (RFC 7523 §3, `jti`).

    `published` are keys by `kid` that the client has at its `jwks_uri`.
    """
    if shown.method == "tls_client_auth" and client.public:
        return True  # the certificate is its user's, who may log in with it
    if shown.method not in client.auth:
        # compared all the same, so that a wrong method costs what a wrong secret costs
        client.check_client_secret(shown.proof)
        return False
    if shown.method == "private_key_jwt":
        return _believed(tx, client, published or client.keys, shown.proof, issuer, clock)
    if shown.method == "tls_client_auth":
        return bool(client.tls_subject) and hmac.compare_digest(
            client.tls_subject.encode(), shown.proof.encode()
        )
    if shown.method == "client_secret_basic" and shown.raw != shown.proof:
        return client.check_client_secret(shown.proof) or client.check_client_secret(shown.raw)
    return shown.method == "none" or client.check_client_secret(shown.proof)


def _believed(
    tx: Tx, client: Client, keys: Mapping[str, PyJWK], assertion: str, issuer: str, clock: Clock
) -> bool:
    """RFC 7523 §3: signed by a key of the client, for us and nobody else, for now, once."""
    try:
        header = jwt.get_unverified_header(assertion)
        kid = header.get("kid")
        key = keys.get(kid) if isinstance(kid, str) else None
        if key is None or header.get("alg") != key.algorithm_name or "crit" in header:
            return False
        claims: dict[str, Any] = jwt.decode(
            assertion,
            key.key,
            algorithms=[key.algorithm_name],
            audience=issuer,
            issuer=client.client_id,
            subject=client.client_id,
            options={
                "require": ["iss", "sub", "aud", "exp", "jti"],
                "strict_aud": True,  # our issuer alone: several audiences could be played on us (CVE-2025-27370)
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
        return False
    now, jti = clock.now(), claims["jti"]
    times = [claims.get(name, now) for name in ("exp", "iat", "nbf")]
    if not all(isinstance(at, int) and not isinstance(at, bool) for at in times):
        return False
    expires, issued, begins = times
    if not now < expires <= now + MAX_LIFE + SKEW or max(issued, begins) > now + SKEW:
        return False
    if not isinstance(jti, str) or not 0 < len(jti) <= 255:
        return False
    return once.claim(tx, f"assertion/{client.client_id}", jti, expires)


def refused() -> InvalidClientError:
    """The one answer to every failure (RFC 6749 §5.2)."""
    return InvalidClientError(_FAILED, status_code=401)
