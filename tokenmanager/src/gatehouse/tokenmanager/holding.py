"""Who may use a token: whoever bears it (RFC 6750), or the holder of what it is bound to (RFC 9449 §7, RFC 8705 §3)."""

from typing import NamedTuple

from starlette.types import Scope

from gatehouse.registry.database import Database
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.dpop import REPEATED, Proof, Proofs, Unproven, claim
from gatehouse.tokenmanager.holderkey import ALGORITHMS
from gatehouse.tokenmanager.principal import Principal

_SHOWN = {"invalid_token", "invalid_dpop_proof", "use_dpop_nonce"}
NONCE_HEADER = "DPoP-Nonce"


class Presented(NamedTuple):
    """What an Authorization header holds; `scheme` is `bearer` or `dpop`."""

    scheme: str
    token: str


def presented(scope: Scope) -> Presented:
    """The access token of a request. Raises Problem 401 without one, 400 when there are several."""
    given = _headers(scope, b"authorization")
    if len(given) > 1:
        raise Problem(
            400,
            "invalid_request",
            "This request has several Authorization headers.",
            hint="Send one; programs in between may read another one than we do.",
        )
    scheme, _, token = given[0].partition(" ") if given else ("", "", "")
    if scheme.lower() not in ("bearer", "dpop") or not token.strip():
        raise Problem(
            401,
            "unauthorized",
            "No access token came with this request.",
            hint="Log in first: dirac-login <group>",
        )
    return Presented(scheme.lower(), token.strip())


class Holders:
    """Asks whoever presents a bound token for what it is bound to."""

    def __init__(self, proofs: Proofs, database: Database) -> None:
        self._proofs = proofs
        self._database = database

    def check(self, who: Principal, given: Presented, scope: Scope) -> None:
        """Let a holder pass. Raises Problem 401. A proof is left in the scope, to be claimed."""
        kind, _, thumbprint = who.binding.partition(":")
        if kind == "x5t":
            self._certificate(given, thumbprint, scope)
        elif kind != "jkt":
            raise _unheld("This token is not bound to a key.", "Send it as Bearer, without a proof.")
        elif given.scheme != "dpop":
            raise _unheld(
                "This token is bound to a key, so it is not enough to bear it.",
                "Send it as DPoP, with a proof in the DPoP header (RFC 9449 §7.1).",
            )
        else:
            scope["gatehouse.proof"] = self._proven(given, thumbprint, scope)

    async def claim(self, scope: Scope) -> None:
        """Use the proof of a request that `check` let pass. Raises Problem 401 when it was used before."""
        proof: Proof = scope["gatehouse.proof"]
        if proof.wants_nonce:
            scope["gatehouse.nonce"] = self._proofs.nonce()
        if not await self._database.write(lambda tx: claim(tx, proof)):
            raise self._unproven(REPEATED, scope)

    def _proven(self, given: Presented, thumbprint: str, scope: Scope) -> Proof:
        proofs = _headers(scope, b"dpop")
        if len(proofs) != 1:
            found = "No DPoP header" if not proofs else "More than one DPoP header"
            raise self._unproven(Unproven(f"{found} came with this request."), scope)
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        proof = self._proofs.read(proofs[0], scope["method"], path.decode("latin-1"), given.token)
        if isinstance(proof, Unproven):
            raise self._unproven(proof, scope)
        if proof.thumbprint != thumbprint:
            raise _unheld(
                "The key of the proof is not the one that this token is bound to.",
                "Sign with the key that was used when the token was issued.",
            )
        return proof

    def _unproven(self, why: Unproven, scope: Scope) -> Problem:
        scope["gatehouse.nonce"] = self._proofs.nonce()
        hint = "Make a new proof with the nonce of the DPoP-Nonce header of this answer (RFC 9449 §9)."
        return Problem(401, why.code, why.reason, hint=hint)

    @staticmethod
    def _certificate(given: Presented, thumbprint: str, scope: Scope) -> None:
        held = scope.get("gatehouse.certificate")
        if given.scheme != "bearer" or held is None or held.fingerprint != thumbprint:
            raise _unheld(
                "This token is bound to a certificate that did not come with the connection.",
                "Connect with the certificate that was used when the token was issued (RFC 8705 §3).",
            )


def challenges(code: str, authorization: str, metadata: str) -> list[str]:
    """The WWW-Authenticate lines of a 401: both ways to come in, the one that was tried with its error.

    `authorization` is the header that came, `metadata` the address of the resource's own (RFC 9728 §5.1).
    """
    where = f', resource_metadata="{metadata}"' if metadata else ""
    error = f', error="{code}"' if code in _SHOWN else ""
    tried = authorization.partition(" ")[0].lower() == "dpop" or "dpop" in code
    bearer = f'Bearer realm="gatehouse"{"" if tried else error}{where}'
    return [bearer, f'DPoP realm="gatehouse"{error if tried else ""}, algs="{" ".join(ALGORITHMS)}"{where}']


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _unheld(reason: str, hint: str) -> Problem:
    return Problem(401, "invalid_token", reason, hint=hint)
