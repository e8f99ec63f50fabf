"""What the tests of registration share: invitations, registrations over HTTP, and clients that sign assertions."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from gatehouse.auth import invitations
from gatehouse.auth.registration import Ceiling
from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.database import Database
from gatehouse.tokenmanager import seal
from tests.service import Service

BACK = "https://app.example.org/back"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_PLAIN: Any = {"trust_env": False, "timeout": 30}


@contextmanager
def opened(service: Service) -> Iterator[tuple[Database, seal.Seal]]:
    """The database of a running service, as its operator's commands open it."""
    sealed = seal.from_text((service.folder / "master.key").read_text())
    database = Database(f"sqlite:///{service.folder / 'gatehouse.db'}", SYSTEM, sealed.derive("audit"))
    try:
        yield database, sealed
    finally:
        database.close()


def invite(service: Service, *, uses: int = 100, seconds: int = 3600, **ceiling: Any) -> str:
    """An initial access token."""
    with opened(service) as (database, sealed):
        most = Ceiling(**ceiling)
        return database.write_now(lambda tx: invitations.make(tx, sealed, most, uses, seconds, "a test"))[1]


def send(method: str, url: str, token: str = "", document: object = None, **headers: str) -> httpx.Response:
    """One request to the registration endpoint, or to that of a client."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body: Any = {} if document is None else {"content": json.dumps(document)}
    if document is not None:
        headers.setdefault("Content-Type", "application/json")
    return httpx.request(method, url, headers=headers, **body, **_PLAIN)


def register(service: Service, token: str, **metadata: Any) -> httpx.Response:
    """Ask for a registration."""
    return send("POST", f"{service.issuer}/register", token, metadata)


def registered(service: Service, token: str, **metadata: Any) -> dict[str, Any]:
    """A registration, which must be accepted."""
    answer = register(service, token, **{"redirect_uris": [BACK], **metadata})
    assert answer.status_code == 201, answer.text
    said: dict[str, Any] = answer.json()
    return said


def refused(answer: httpx.Response, code: str, status: int = 400) -> str:
    """Hold an error against RFC 7591 §3.2.2; its description."""
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/json")
    description: str = answer.json()["error_description"]
    assert description.isascii()
    return description


class Signer:
    """A key of a client, and the assertions that it makes (RFC 7523 §3); nothing of ours is used."""

    def __init__(self, issuer: str, alg: str = "ES256", kid: str = "one") -> None:
        self.issuer = issuer
        self.alg = alg
        self.kid = kid
        self.client_id = ""
        self.private: Any
        if alg == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
            self.jwk: dict[str, Any] = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            self.jwk = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        self.jwk = {name: value for name, value in self.jwk.items() if name != "key_ops"} | {"kid": kid}

    @property
    def jwks(self) -> dict[str, Any]:
        """The JWK Set with this key."""
        return {"keys": [self.jwk]}

    def claims(self, **given: Any) -> dict[str, Any]:
        """Good claims, with changes; None takes one away."""
        now = int(time.time())
        said = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.issuer,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_hex(8),
            **given,
        }
        return {name: value for name, value in said.items() if value is not None}

    def assertion(self, header: dict[str, Any] | None = None, **given: Any) -> str:
        """An assertion, good but for what is given."""
        headers = {name: v for name, v in {"kid": self.kid, **(header or {})}.items() if v is not None}
        return jwt.encode(self.claims(**given), self.private, self.alg, headers=headers)


def credentials(service: Service, assertion: str, **form: str) -> httpx.Response:
    """Ask for a token of the client itself, with an assertion."""
    said = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION,
        "client_assertion": assertion,
        **form,
    }
    return httpx.post(f"{service.issuer}/token", data=said, **_PLAIN)


def ended_soon(service: Service, access_token: str) -> bool:
    """Whether a token is refused within some seconds: every process reads revocations each second."""
    for _ in range(100):
        answer = httpx.get(
            f"{service.issuer}/userinfo", headers={"Authorization": f"Bearer {access_token}"}, **_PLAIN
        )
        if answer.status_code == 401:
            return True
        assert answer.status_code == 200, answer.text
        time.sleep(0.05)
    return False
