"""Proof that a caller holds a key (DPoP, RFC 9449): read without the database, then claimed in it, once.

Reading is pure: everything that a proof says of itself is checked against the request at hand. That nobody used it
before is one conditional INSERT, so that all processes on one database agree. Nonces (§8, §9) hold no state: an
instant and a MAC of it, so any replica knows those of the others, and a wrong clock on the other side does not matter.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache
from msgspec import UNSET, DecodeError, Struct, json

from gatehouse.registry.clock import Clock
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager import once
from gatehouse.tokenmanager.addresses import normal
from gatehouse.tokenmanager.holderkey import ALGORITHMS, HolderKey, key, shape, spell, unspell
from gatehouse.tokenmanager.seal import Seal

MAX_PROOF = 4096  # longer is refused before any parsing
MAX_JTI = 256
NONCE_LIFETIME = 300  # seconds
WINDOW = 60  # seconds that the clocks of two machines may be apart
INVALID, NEW_NONCE = "invalid_dpop_proof", "use_dpop_nonce"


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that fits its request; until `expires_at`, when it is too old for us, nobody may use it again."""

    thumbprint: str
    jti: str
    expires_at: int
    wants_nonce: bool  # the nonce it was made with has lived for half its time, or there was none

    @property
    def binding(self) -> str:
        """What a token that is issued for it is bound to, as `Principal.binding` has it."""
        return f"jkt:{self.thumbprint}"


@dataclass(frozen=True, slots=True)
class Unproven:
    """Why a proof is not accepted; `code` is the error of RFC 9449 §5, §7.1, §8 or §9."""

    reason: str
    code: str = INVALID


REPEATED = Unproven(
    "The DPoP proof was used before: make a new one, with a jti of its own, for each request."
)


class _Header(Struct):
    typ: str
    alg: str
    jwk: dict[str, Any]
    crit: Any = UNSET


class _Claims(Struct):
    jti: str
    htm: str
    htu: str
    iat: int | float
    ath: str = ""
    nonce: str = ""


_HEADER, _CLAIMS = json.Decoder(_Header), json.Decoder(_Claims)


class Proofs:
    """Reads the proofs of everybody who calls us at `base_url`, or at the address `also` for certificates."""

    def __init__(
        self, seal: Seal, base_url: str, clock: Clock, *, also: str = "", nonce_required: bool = True
    ) -> None:
        self._seal = seal
        self._bases = (base_url, also) if also else (base_url,)
        self._clock = clock
        self._nonce_required = nonce_required
        self._keys: LRUCache[tuple[str, str, str], HolderKey] = LRUCache(10_000)

    def nonce(self) -> str:
        """A nonce for the next proof."""
        return self._nonce(self._clock.now())

    def read(self, text: str, method: str, path: str, token: str = "") -> Proof | Unproven:
        """The proof for a request: its method, its path as it came, and the access token it brought, if any.

        Runs on the event loop's thread, whose cache of keys it is.
        """
        parts = text.split(".")
        if len(text) > MAX_PROOF or len(parts) != 3:
            return Unproven(f"The DPoP header is not a signed JWT of {MAX_PROOF} characters at most.")
        try:
            header, claims = _HEADER.decode(unspell(parts[0])), _CLAIMS.decode(unspell(parts[1]))
            signature = unspell(parts[2])
        except (ValueError, DecodeError, RecursionError):
            return Unproven(
                "The DPoP header cannot be read, or typ, alg, jwk, jti, htm, htu or iat is missing."
            )
        refusal = _misdirected(claims, method, token) or self._elsewhere(claims.htu, path)
        refusal = refusal or self._untimely(claims)
        if refusal is not None:
            return refusal
        holder = self._holder(header)
        if isinstance(holder, Unproven):
            return holder
        if not holder.verify(signature, text.rpartition(".")[0].encode()):
            return Unproven("The signature of the DPoP proof is not that of its key.")
        return self._proof(holder.thumbprint, claims)

    # -- the checks of §4.3 in turn

    def _elsewhere(self, htu: str, path: str) -> Unproven | None:
        """Check 9, against the address that the settings give us: what the Host header says is the caller's word."""
        if htu == self._bases[0] + path:
            return None
        there = normal(htu)
        if there and any(there == normal(base + path) for base in self._bases):
            return None
        return Unproven("The htu of the DPoP proof is not the address of this request.")

    def _untimely(self, claims: _Claims) -> Unproven | None:
        """Checks 10 and 11: with a nonce, its own age counts and not the caller's clock."""
        now = self._clock.now()
        if claims.nonce:
            if self._made_at(claims.nonce) is None:
                return Unproven("The nonce of the DPoP proof is not one of ours, or too old.", NEW_NONCE)
        elif self._nonce_required:
            return Unproven("The DPoP proof needs the nonce of the DPoP-Nonce header.", NEW_NONCE)
        elif not now - WINDOW <= claims.iat <= now + WINDOW:
            # a fresh nonce spares a machine whose clock is wrong from having to know it
            return Unproven("The DPoP proof was not made just now.", NEW_NONCE)
        return None

    def _holder(self, header: _Header) -> HolderKey | Unproven:
        """Checks 4, 5 and 7."""
        if header.typ != "dpop+jwt":
            return Unproven("The typ of the DPoP proof is not dpop+jwt.")
        if header.alg not in ALGORITHMS:
            return Unproven(f"The alg of the DPoP proof is not one of {', '.join(ALGORITHMS)}.")
        if header.crit is not UNSET:
            return Unproven("The DPoP proof has critical header members, and none is known here.")
        found = shape(header.alg, header.jwk)
        if isinstance(found, str):
            return Unproven(found)
        name = (header.alg, *found)
        holder = self._keys.get(name)
        if holder is None:
            try:
                holder = self._keys[name] = key(*name)
            except ValueError:
                return Unproven(f"The key of the DPoP proof is not one for {header.alg}.")
        return holder

    def _proof(self, thumbprint: str, claims: _Claims) -> Proof:
        made_at = self._made_at(claims.nonce) if claims.nonce else None
        now = self._clock.now()
        return Proof(
            thumbprint,
            claims.jti,
            (now + 2 * WINDOW if made_at is None else made_at + NONCE_LIFETIME) + WINDOW,
            made_at is None or now - made_at > NONCE_LIFETIME // 2,
        )

    # -- nonces: 8 bytes of time, 16 of MAC

    def _nonce(self, at: int) -> str:
        stamp = at.to_bytes(8, "big")
        return spell(stamp + self._seal.mac("dpop/nonce", stamp)[:16])

    def _made_at(self, nonce: str) -> int | None:
        """When we made a nonce; None for one that is not ours or no longer good."""
        try:
            at = int.from_bytes(unspell(nonce)[:8], "big") if len(nonce) == 32 else -1
        except ValueError:
            return None
        if not self._clock.now() - NONCE_LIFETIME <= at <= self._clock.now() + WINDOW:
            return None
        return at if hmac.compare_digest(self._nonce(at), nonce) else None


def claim(tx: Tx, proof: Proof) -> bool:
    """Use a proof. False when it was used before: of any number at once, one insert wins (§11.1)."""
    return once.claim(tx, "dpop", f"{proof.thumbprint} {proof.jti}", proof.expires_at)


def _misdirected(claims: _Claims, method: str, token: str) -> Unproven | None:
    """Checks 3, 8 and 12: what the proof must say, the method, and the token that comes with it."""
    if not 0 < len(claims.jti) <= MAX_JTI:
        return Unproven(f"The jti of the DPoP proof has 1 to {MAX_JTI} characters.")
    if claims.htm != method:
        return Unproven(f"The DPoP proof is for the method {claims.htm[:16]}, not {method[:16]}.")
    if token and claims.ath != _hash(token):
        return Unproven("The ath of the DPoP proof is not the hash of the access token.")
    return None


def _hash(token: str) -> str:
    return spell(hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest())
