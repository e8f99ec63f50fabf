"""What a real compute element does with a token: believe the issuer of the VO, and nothing else (WLCG profile)."""

from collections.abc import Callable, Iterable

import jwt

from gatehouse.registry.clock import Clock
from gatehouse.tokenmanager.keys import KeyRing

CheckToken = Callable[[str, str, str], str]
"""(token, VO, scope) to the reason why it is refused; empty when it is good."""


def vo_issuer(base_url: str, vo: str) -> str:
    """The issuer of a VO's tokens for storage and compute elements."""
    return f"{base_url}/auth/vo/{vo}"


def checker(ring: KeyRing, base_url: str, vos: Iterable[str], audience: str, clock: Clock) -> CheckToken:
    """A check of compute tokens for one element that serves some VOs."""
    served = frozenset(vos)

    def check(token: str, vo: str, scope: str) -> str:
        if vo not in served:
            return f"the VO {vo} is not served here"
        try:
            header = jwt.get_unverified_header(token)
            key = ring.find(header.get("kid"))
            if key is None or key.alg != "RS256" or header.get("alg") != "RS256":
                return "the token was not signed with a known RS256 key"
            claims = jwt.decode(
                token,
                key.public,
                algorithms=["RS256"],
                issuer=vo_issuer(base_url, vo),
                audience=audience,
                options={
                    "require": ["exp", "iss", "aud", "scope"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError as error:
            return f"the token is not valid: {type(error).__name__}"
        if not isinstance(claims["exp"], int) or claims["exp"] <= clock.now():
            return "the token has expired"
        if scope not in str(claims["scope"]).split():
            return f"the token lacks the scope {scope}"
        return ""

    return check
