"""The client's half of OAuth: find the endpoints, renew, revoke, ask who one is.

RFC 6749 §6 (refresh), RFC 7009 (revocation), with the names and the scope syntax that
DIRAC's own client uses: public client `DIRAC_CLI`, scopes joined by a literal plus sign. Tokens that another
client got (`dirac-login --browser`) are renewed and revoked in the name of that one, as their claims have it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatehouse.cli.bearer import Tokens, from_answer
from gatehouse.cli.errors import CommandError, NotLoggedIn, Unreachable, UsageError, clean
from gatehouse.cli.wire import Wire, check_url

CLIENT_ID = "DIRAC_CLI"
OAUTH_LIMIT = 256 * 1024  # bytes; an answer with a proxy in it is about 20 kB
_SCOPE = re.compile(r"[\x21\x23-\x2a\x2c-\x5b\x5d-\x7e]{1,200}")  # RFC 6749 §3.3 without the plus sign


@dataclass(frozen=True)
class Endpoints:
    """Where an issuer takes what."""

    issuer: str
    authorization: str
    device: str
    token: str
    userinfo: str
    revoke: str
    certificate: str = ""  # the token endpoint where a certificate is asked for (RFC 8705 §5)


def discover(wire: Wire, issuer: str) -> Endpoints:
    """The issuer's endpoints from its metadata; names derived from the issuer where there is none.

    Metadata that states another issuer is refused (RFC 8414 §3.3): it would send our codes elsewhere.
    """
    answer = wire.send("GET", f"{issuer}/.well-known/openid-configuration", limit=OAUTH_LIMIT)
    document = (answer.fields() if answer.status == 200 else None) or {}
    stated = document.get("issuer", issuer)
    if not isinstance(stated, str) or stated.rstrip("/") != issuer:
        raise CommandError(
            f"{issuer} is not the issuer it says it is",
            why=f"its metadata states {clean(stated, limit=200)}",
            next_step="next: use the issuer URL exactly as the server states it",
        )

    def endpoint(name: str, word: str) -> str:
        value = document.get(name)
        return check_url(value) if isinstance(value, str) else f"{issuer}/{word}"

    aliases = document.get("mtls_endpoint_aliases")
    alias = aliases.get("token_endpoint") if isinstance(aliases, dict) else None
    return Endpoints(
        issuer,
        certificate=check_url(alias) if isinstance(alias, str) else "",
        authorization=endpoint("authorization_endpoint", "authorization"),
        device=endpoint("device_authorization_endpoint", "device"),
        token=endpoint("token_endpoint", "token"),
        userinfo=endpoint("userinfo_endpoint", "userinfo"),
        revoke=endpoint("revocation_endpoint", "revoke"),
    )


def scope_string(group: str, scopes: Sequence[str], *, proxy: bool = False, hours: int | None = None) -> str:
    """The scope as DIRAC's client writes it: extra scopes, `g:<group>`, `proxy`, `lifetime:<seconds>`."""
    parts = [*scopes, *([f"g:{group}"] if group else []), *(["proxy"] if proxy else [])]
    if hours is not None:
        parts.append(f"lifetime:{hours * 3600}")
    for part in parts:
        if not _SCOPE.fullmatch(part):
            raise UsageError(f"not a usable group or scope: {clean(part, limit=100)!r}")
    return "+".join(parts)


def refresh(wire: Wire, endpoints: Endpoints, tokens: Tokens) -> Tokens:
    """The successor of a token pair. Raises NotLoggedIn when the session has ended.

    A lost answer is asked for once more with the same refresh token: inside its grace the server gives
    the same successor, outside it the session has ended anyway.
    """
    client = tokens.client_id or CLIENT_ID
    form = {"client_id": client, "grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
    try:
        answer = wire.send("POST", endpoints.token, form=form, limit=OAUTH_LIMIT)
    except Unreachable:
        answer = wire.send("POST", endpoints.token, form=form, limit=OAUTH_LIMIT)
    error = answer.error(tokens.refresh_token)
    if error.code == "invalid_grant":
        raise NotLoggedIn(
            "your session has ended",
            why=error.message,
            next_step="run: dirac-login <group> --issuer " + endpoints.issuer,
        )
    fields = answer.fields() or {}
    renewed = from_answer(fields, wire.clock.now(), before=tokens)
    if answer.status >= 300 or "error" in fields or renewed is None:
        raise error
    return renewed


def revoke(wire: Wire, endpoints: Endpoints, token: str, kind: str, client: str) -> bool:
    """Revoke one token of a client; `kind` is `access_token` or `refresh_token`. True when the server took it."""
    form = {"token": token, "token_type_hint": kind, "client_id": client}
    try:
        return wire.send("POST", endpoints.revoke, form=form, limit=OAUTH_LIMIT).status < 300
    except CommandError:
        return False


def revoke_all(wire: Wire, tokens: Tokens) -> list[str]:
    """Revoke a pair at the issuer that made it; the kinds that the server took, access token first."""
    try:
        endpoints = discover(wire, tokens.issuer)
    except CommandError:
        return []
    pair = {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
    client = tokens.client_id or CLIENT_ID
    return [kind for kind, token in pair.items() if token and revoke(wire, endpoints, token, kind, client)]


def userinfo(wire: Wire, endpoints: Endpoints, access_token: str) -> dict[str, Any]:
    """What the issuer says about the token's person: `sub`, `preferred_username`, `group`, `properties`, …"""
    answer = wire.send("GET", endpoints.userinfo, bearer=access_token, limit=OAUTH_LIMIT)
    fields = answer.fields()
    if answer.status != 200 or fields is None:
        raise answer.error(access_token)
    return fields
