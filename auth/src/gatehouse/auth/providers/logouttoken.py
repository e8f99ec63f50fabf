"""Believing a logout token (OpenID Connect Back-Channel Logout §2.6): somebody logged out at a provider."""

from typing import Any, NamedTuple

from jwt import PyJWK

from gatehouse.auth.providers.idtoken import LEEWAY, BadIdToken, check_times, signed

# `logout+jwt` is recommended (§2.4); older providers say `JWT`, or nothing
TYPES = ("logout+jwt", "application/logout+jwt", "jwt", "application/jwt")
EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAX_AGE = 600
_REQUIRED = ("iss", "aud", "iat", "exp", "jti", "events")


class Departed(NamedTuple):
    """Who logged out: their `sub`, or one session of theirs, or both. The token may be used once, up to `until`."""

    subject: str
    session: str
    token_id: str
    until: int


def verify(token: str, key: PyJWK, issuer: str, client_id: str, now: int) -> Departed:
    """What a valid logout token says. Raises BadIdToken naming what is wrong."""
    claims = signed(token, key, issuer, client_id, _REQUIRED)
    check_times(claims, now)
    if claims["iat"] < now - MAX_AGE:
        raise BadIdToken("it was made too long ago (iat)")
    events = claims["events"]
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise BadIdToken("it tells of no logout (events)")
    if "nonce" in claims:
        raise BadIdToken("it has a nonce, which a logout token never has")
    subject, session = _name(claims, "sub"), _name(claims, "sid")
    if not subject and not session:
        raise BadIdToken("it names neither a person nor a session (sub, sid)")
    # afterwards it is refused for its age
    return Departed(subject, session, _name(claims, "jti"), int(claims["iat"]) + MAX_AGE + LEEWAY)


def _name(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > 255 or (name in claims and not value):
        raise BadIdToken(f"its {name} is no text of 1 to 255 characters")
    return value
