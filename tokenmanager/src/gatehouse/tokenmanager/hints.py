"""Our own ID tokens, shown to us again: they tell who is meant, never who calls.

(OpenID Connect RP-Initiated Logout §2, `id_token_hint`.)
"""

from typing import NamedTuple

import jwt

from gatehouse.tokenmanager.keys import KeyRing

MAX_HINT = 8192


class Hint(NamedTuple):
    """Whose ID token it is: the client it was made for, the person, and their browser session (may be empty)."""

    client_id: str
    subject: str
    session: str


def read(ring: KeyRing, issuer: str, token: str) -> Hint | None:
    """What an ID token of ours says, however old it is; None for anything else, access tokens included."""
    if len(token) > MAX_HINT:
        return None
    try:
        header = jwt.get_unverified_header(token)
        key = ring.find(header.get("kid"))
        if key is None or header.get("alg") != key.alg or header.get("typ") != "JWT" or "crit" in header:
            return None
        claims = jwt.decode(token, key.public, algorithms=[key.alg], issuer=issuer, options=_OPTIONS)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return None
    audience, subject, session = claims["aud"], claims["sub"], claims.get("sid", "")
    if not (isinstance(audience, str) and isinstance(subject, str) and isinstance(session, str)):
        return None
    return Hint(audience, subject, session)


_OPTIONS: jwt.types.Options = {
    "require": ["iss", "sub", "aud", "iat", "exp"],
    # an ID token is a hint for longer than it is a proof
    "verify_exp": False,
    "verify_aud": False,
    "verify_iat": False,
    "verify_nbf": False,
}
