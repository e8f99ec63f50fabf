"""The whole service with TLS under a private authority, as strangers meet it: what they trust, and who may ask."""

import base64
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import RSAAlgorithm

from gatehouse.registry.clock import Clock
from gatehouse.registry.database import Database
from gatehouse.tokenmanager import keys, seal
from gatehouse.tokenmanager.issue import Mint
from tests.auth.kit import Walker
from tests.certificates import key_pem
from tests.grid import Authority
from tests.service import Service

BACK = "https://portal.example.org/back"
SECRET = "only-for-this-test-0123456789"
# RFC 6749 §2.3.1 has it form-encoded before it goes into Basic, which the libraries in Python leave out
AWKWARD = "only for this test: 100% + more"
STORAGE = "https://storage.example.org"
VO = "training.egi.eu"
_GRANTS = '["authorization_code", "urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]'
CLIENTS = """
[[clients]]
client_id = "portal"
name = "A portal with a secret"
client_secret = "{secret}"
grant_types = {grants}
redirect_uris = ["{back}"]
audiences = ["{storage}"]

[[clients]]
client_id = "portal-rs256"
name = "A portal that verifies RSA only"
client_secret = "{secret}"
grant_types = {grants}
redirect_uris = ["{back}"]
audiences = ["{storage}"]
access_token_alg = "RS256"

[[clients]]
client_id = "awkward"
name = "A portal whose secret has to be encoded"
client_secret = "{awkward}"
grant_types = {grants}
redirect_uris = ["{back}"]

[[clients]]
client_id = "native"
name = "An app on a laptop"
grant_types = {grants}
redirect_uris = ["{back}"]

[[clients]]
client_id = "keyed"
name = "A portal with a key"
jwks = '{jwks}'
grant_types = {grants}
redirect_uris = ["{back}"]
pushed_requests_only = true
"""


@dataclass(frozen=True)
class ClientKey:
    """The key of the client `keyed`."""

    private: rsa.RSAPrivateKey
    kid: str = "portal-1"

    @property
    def pem(self) -> bytes:
        """The private key."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def jwk(self, *, public: bool) -> dict[str, Any]:
        """As a JWK."""
        key = self.private.public_key() if public else self.private
        found: dict[str, Any] = RSAAlgorithm.to_jwk(key, as_dict=True)
        found.pop("key_ops", None)
        return {**found, "kid": self.kid, "alg": "RS256", "use": "sig"}


class House(Service):
    """`gatehouse serve` at https://localhost, with its demo providers and the clients above."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        self.client_key = ClientKey(rsa.generate_private_key(65537, 2048))
        jwks = json.dumps({"keys": [self.client_key.jwk(public=True)]})
        more = CLIENTS.format(
            secret=SECRET, awkward=AWKWARD, back=BACK, storage=STORAGE, grants=_GRANTS, jwks=jwks
        )
        super().__init__(folder, more=more)
        plain, self.base = self.base, f"https://localhost:{self.port}"
        self.issuer = f"{self.base}/auth"
        authority = Authority("Private CA")
        host = authority.host("localhost")
        self.ca.write_text(authority.top.pem)
        (folder / "server.pem").write_text(host.pem)
        (folder / "server.key").write_bytes(key_pem(host.key))
        tls = '[server]\ntls_certificate = "server.pem"\ntls_key = "server.key"\nca_file = "ca.pem"'
        self.config.write_text(self.config.read_text().replace("[server]", tls).replace(plain, self.base))

    @property
    def trust(self) -> ssl.SSLContext:
        """Believes the private authority only."""
        return ssl.create_default_context(cafile=str(self.ca))

    def mint(self, clock: Clock) -> Mint:
        """What signs with the keys that the running service publishes, at any time of a clock."""
        key = seal.from_text((self.folder / "master.key").read_text())
        database = Database(f"sqlite:///{self.folder / 'gatehouse.db'}", clock, key.derive("audit"))
        try:
            return Mint(keys.load(database, key), self.issuer, f"{self.base}/api", clock)
        finally:
            database.close()

    def walk(self, address: str, username: str = "alice") -> str:
        """Allow what a client asks at an address; where the browser is then sent."""
        with Walker(self) as browser:
            return f"{BACK}?{urlencode(browser.allow(address, username))}"

    def confirm(self, started: dict[str, Any], username: str = "alice") -> None:
        """Allow what a device flow asks for."""
        with Walker(self) as browser:
            browser.confirm(started)
            assert browser.log_in("egi-demo", username).status_code == 200


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, believed without a look at the signature."""
    header, claims, _ = token.split(".")
    return _read(header), _read(claims)


def _read(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found
