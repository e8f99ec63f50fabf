"""The ring of signing keys: made here, sealed at rest, published as one JWKS (RFC 7517).

RS256 signs what leaves for compute and storage elements and DIRAC's own programs, ES256 what our own API reads.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from sqlalchemy import bindparam, select

from gatehouse.registry import audit
from gatehouse.registry.database import Database, Tx, insertion, sql, table
from gatehouse.registry.errors import ConfigurationError
from gatehouse.tokenmanager.models import SigningKey
from gatehouse.tokenmanager.seal import Seal, SealError

Algorithm = Literal["RS256", "ES256"]
ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "ES256")
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One key, loaded: never PEM text, which costs 45 ms at each use."""

    kid: str
    alg: Algorithm
    state: str
    private: PrivateKey
    public: PublicKey
    jwk: dict[str, str]


class _Row(NamedTuple):
    kid: str
    alg: Algorithm
    state: str
    public_jwk: str
    sealed_private: bytes


_C = table(SigningKey).c
_ADD = insertion(SigningKey)
_LOAD = sql(
    select(_C.kid, _C.alg, _C.state, _C.public_jwk, _C.sealed_private)
    .where(_C.state != "revoked")
    .order_by(_C.created_at.desc(), _C.kid),
    _Row,
)
_SLOT_TAKEN = sql(
    select(_C.kid, _C.alg, _C.state, _C.public_jwk, _C.sealed_private).where(_C.slot == bindparam("wanted")),
    _Row,
)


class KeyRing:
    """The keys of this deployment, in memory."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._by_kid = {key.kid: key for key in keys}
        self._active = {key.alg: key for key in reversed(keys) if key.state == "active"}
        # python-jose goes through the keys in order and gives up at one of a type it did not expect
        published = sorted(keys, key=lambda key: key.alg != "RS256")
        self.jwks = json.dumps({"keys": [key.jwk for key in published]}, separators=(",", ":")).encode()
        self.etag = '"' + hashlib.sha256(self.jwks).hexdigest()[:32] + '"'

    def active(self, alg: Algorithm) -> Key:
        """The key that signs now."""
        return self._active[alg]

    def find(self, kid: object) -> Key | None:
        """The key of that id: the only way a verifier gets a key."""
        return self._by_kid.get(kid) if isinstance(kid, str) else None


def load(database: Database, seal: Seal) -> KeyRing:
    """The ring from the database; makes what is missing. Two replicas at once agree on one key each."""
    for alg in ALGORITHMS:
        slot = f"{alg}/active"
        if database.read_now(lambda tx, slot=slot: tx.one(_SLOT_TAKEN, wanted=slot)) is None:  # type: ignore[misc]
            _make(database, seal, alg, slot)
    rows = database.read_now(lambda tx: tx.all(_LOAD))
    return KeyRing([_open(row, seal) for row in rows])


def _make(database: Database, seal: Seal, alg: Algorithm, slot: str) -> None:
    private = generate(alg)
    jwk = public_jwk(alg, private.public_key())
    raw = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    def add(tx: Tx) -> None:
        if tx.one(_SLOT_TAKEN, wanted=slot) is not None:
            return
        tx.run(
            _ADD,
            kid=jwk["kid"],
            alg=alg,
            state="active",
            slot=slot,
            public_jwk=json.dumps(jwk),
            sealed_private=seal.seal(raw, _bound(jwk["kid"])),
            created_at=tx.clock.now(),
        )
        audit.record(tx, "key.made", actor="gatehouse", subject=jwk["kid"], alg=alg)

    try:
        database.write_now(add)
    except database.integrity_error:
        # another replica took the slot between our look and our insert: its key is as good as ours
        if database.read_now(lambda tx: tx.one(_SLOT_TAKEN, wanted=slot)) is None:
            raise


def _open(row: _Row, seal: Seal) -> Key:
    try:
        raw = seal.open(bytes(row.sealed_private), _bound(row.kid))
    except SealError as error:
        raise ConfigurationError(
            f"The signing key {row.kid} in the database was sealed with another master key. "
            "Give the master key that this database was first started with (secrets.master_key_file)."
        ) from error
    private = serialization.load_der_private_key(raw, None)
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError(f"key {row.kid} is neither RSA nor EC")
    # the public half is made from the private one: what a row says could be anybody's
    public = private.public_key()
    return Key(row.kid, row.alg, row.state, private, public, public_jwk(row.alg, public))


def _bound(kid: str) -> str:
    return f"signing_key/{kid}"


def generate(alg: Algorithm) -> PrivateKey:
    """A fresh private key: RSA 2048 (0.2 s) or P-256."""
    if alg == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(alg: Algorithm, public: PublicKey) -> dict[str, str]:
    """The public JWK; `kid` is its thumbprint (RFC 7638)."""
    if isinstance(public, rsa.RSAPublicKey):
        made = RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        made = ECAlgorithm.to_jwk(public, as_dict=True)
    members = {name: made[name] for name in sorted(made) if name in ("crv", "e", "kty", "n", "x", "y")}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return {**members, "kid": kid, "alg": alg, "use": "sig"}
