"""What the proofs of the RFCs share: more clients, raw requests, and the keys that only a thief could have."""

import base64
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.database import Database
from gatehouse.tokenmanager import keys, seal
from tests.auth.kit import CLIENTS
from tests.service import Service

RAW: Any = {"trust_env": False, "timeout": 30}
FORM = "application/x-www-form-urlencoded"
SECRET = "only for this test"
ODD_ID, ODD_SECRET = "odd:client+%20", "p+l:u%s & m=re"
PUSHER, SECOND = "https://pusher.example.org/back", "https://second.example.org/back"
PROVER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PROVER_JWK = {**jwt.algorithms.RSAAlgorithm.to_jwk(PROVER_KEY.public_key(), as_dict=True), "kid": "p1"}

PROVERS = tuple(
    f"prover{number}" for number in range(12)
)  # who fails too often is locked out, so there are more
_JWKS = json.dumps({"keys": [PROVER_JWK]})
_PROVERS = "".join(
    f"[[clients]]\nclient_id = '{name}'\nauth = 'private_key_jwt'\njwks = '{_JWKS}'\n" for name in PROVERS
)

MORE = f"""{CLIENTS}
[[clients]]
client_id = "second"
client_secret = "{SECRET}"
auth = "client_secret_basic"
grant_types = ["authorization_code", "refresh_token"]
redirect_uris = ["{SECOND}"]

[[clients]]
client_id = "pusher"
client_secret = "{SECRET}"
grant_types = ["authorization_code"]
redirect_uris = ["{PUSHER}"]
pushed_requests_only = true

[[clients]]
client_id = "{ODD_ID}"
client_secret = "{ODD_SECRET}"
auth = "client_secret_basic"

{_PROVERS}
[limits]
login = 100000
login_burst = 100000
"""


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def part(content: object) -> str:
    """One part of a compact token; bytes as they are, anything else as JSON."""
    return b64(content if isinstance(content, bytes) else json.dumps(content).encode())


def s256(verifier: str) -> str:
    """RFC 7636 §4.2, by our own hand."""
    return b64(hashlib.sha256(verifier.encode()).digest())


def raw_post(service: Service, path: str, body: str, **headers: str) -> httpx.Response:
    """POST a form body as it is written here."""
    return httpx.post(
        f"{service.issuer}/{path}", content=body, headers={"Content-Type": FORM, **headers}, **RAW
    )


def basic(client_id: str, secret: str) -> str:
    """An Authorization header of exactly these characters."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def userinfo(service: Service, token: str) -> httpx.Response:
    """Our own gate, asked with a bearer token of any bytes."""
    return httpx.get(
        f"{service.issuer}/userinfo",
        headers={b"Authorization": b"Bearer " + token.encode("latin-1")},
        **RAW,
    )


def unverified(token: str) -> dict[str, Any]:
    """The claims of a token, believed without a look at its signature."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def thief(service: Service) -> tuple[Database, seal.Seal]:
    """The database of a running service and the seal made of its master key; close the database."""
    sealed = seal.from_text((service.folder / "master.key").read_text())
    return Database(f"sqlite:///{service.folder / 'gatehouse.db'}", SYSTEM, sealed.derive("audit")), sealed


def resigned(ring: keys.KeyRing, claims: dict[str, Any], **header: object) -> str:
    """Signed by the service's own key, as only the service could; a header of None is left out."""
    key = ring.active("RS256")
    said = {"kid": key.kid, "typ": "at+jwt", **header}
    return jwt.encode(claims, key.private, "RS256", headers=said)


def wait_until(done: Callable[[], bool], seconds: float = 15) -> None:
    """What follows a change in the database: our processes look for it every few seconds."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)
