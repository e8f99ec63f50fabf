"""For tests only: make a demo provider misbehave, in the ways that a relying party must notice.

    tweaks = Tweaks()
    idp = create_idp(..., tweaks=tweaks)
    tweaks.id_token = replacing(aud="somebody else")   # may be changed while the provider runs

Each hook is called with what an honest provider would send and gives back what to send instead.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Claims = dict[str, object]
Hook = Callable[[Claims], Claims]
# (header, claims, the provider's key) -> compact JWS
Signer = Callable[[Claims, Claims, RSAPrivateKey], str]


def unchanged(claims: Claims) -> Claims:
    """The honest hook."""
    return claims


def sign(header: Claims, claims: Claims, key: RSAPrivateKey) -> str:
    """The honest signer: RS256."""
    return jwt.encode(claims, key, "RS256", headers=header)


@dataclass
class Tweaks:
    """Where a test may bend a provider.

    `id_token`, `userinfo`, `discovery`, `jwks` see and replace documents; `redirect` the parameters of
    the answer sent back through the browser, `token` that of the token endpoint; `sign` makes the ID token's signature.
    `headers` are added to the answers of an endpoint. `status` and `delay`
    are asked with an endpoint's name (`discovery`, `jwks`, `authorize`, `token`, `userinfo`,
    `introspect`): a status other than None is answered instead of the work, a delay (seconds) comes first.
    """

    id_token: Hook = unchanged
    userinfo: Hook = unchanged
    discovery: Hook = unchanged
    jwks: Hook = unchanged
    redirect: Hook = unchanged
    token: Hook = unchanged
    sign: Signer = sign
    status: Callable[[str], int | None] = lambda endpoint: None
    delay: Callable[[str], float] = lambda endpoint: 0.0
    headers: Callable[[str], dict[str, str]] = lambda endpoint: {}


def replacing(**values: object) -> Hook:
    """A hook that sets these claims; None takes the claim away."""

    def hook(claims: Claims) -> Claims:
        return {name: value for name, value in {**claims, **values}.items() if value is not None}

    return hook


def failing(status: int, *endpoints: str) -> Callable[[str], int | None]:
    """A `status` hook: these endpoints answer with this status."""
    return lambda endpoint: status if endpoint in endpoints else None


def slow(seconds: float, *endpoints: str) -> Callable[[str], float]:
    """A `delay` hook: these endpoints answer late."""
    return lambda endpoint: seconds if endpoint in endpoints else 0.0


def unsigned(header: Claims, claims: Claims, key: RSAPrivateKey) -> str:
    """A signer for `alg: none` (RFC 8725 §2.1)."""
    return _body({**header, "alg": "none"}, claims) + "."


def confused(header: Claims, claims: Claims, key: RSAPrivateKey) -> str:
    """A signer for HS256 with the public key's PEM as the secret (RFC 8725 §2.1)."""
    body = _body({**header, "alg": "HS256"}, claims)
    secret = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{body}.{_base64url(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def signed_by(other: RSAPrivateKey, kid: str | None = None) -> Signer:
    """A signer with somebody else's key, under the provider's `kid` or another one."""

    def signer(header: Claims, claims: Claims, key: RSAPrivateKey) -> str:
        return sign({**header, "kid": kid} if kid else header, claims, other)

    return signer


def _body(header: Claims, claims: Claims) -> str:
    return ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
