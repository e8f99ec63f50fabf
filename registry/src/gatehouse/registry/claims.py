"""Judging the documents of a login or of a bearer token before anybody reads a group from them.

Rules R01-R03, R12 and R14: the issuer, the times, the audience, the subjects, the scopes. The caller has
verified the signatures.
"""

import math
import re
from dataclasses import dataclass

from gatehouse.registry.capabilities import parse_scopes
from gatehouse.registry.documents import NOTHING, Claims, Documents, Flow
from gatehouse.registry.entitlements import MAX_BYTES, Capability, Refused, has_control
from gatehouse.registry.rules import Issuer, Rules

_HOST_SUBJECT = re.compile(r"host:(?:[A-Za-z0-9_-]{1,63}\.)+[A-Za-z0-9_-]{1,63}")


@dataclass(frozen=True, slots=True)
class Subject:
    """Who the documents speak about, and what the token may do by itself."""

    issuer: Issuer
    sub: str
    client_id: str
    service: bool
    capabilities: tuple[Capability, ...]


def judge(rules: Rules, documents: Documents, flow: Flow, now: float) -> Subject | str:
    """R01-R03, R12 and R14: the subject, or the reason code why the request is refused."""
    main = documents.main(flow)
    url = None if main is None else main.get("iss")
    issuer = rules.issuers.get(url) if isinstance(url, str) else None
    if main is None or issuer is None or issuer.kind == "registry":
        return "issuer_unknown"
    reason = (
        _time_reason(main, now, rules.leeway)
        or _audience_reason(rules, issuer, main, flow)
        or _agreement_reason(documents, main, flow)
    )
    sub = main.get("sub")
    if reason:
        return reason
    if not isinstance(sub, str) or not sub or len(sub) > MAX_BYTES or has_control(sub):
        return "subject_invalid"
    capabilities = _capabilities(documents)
    if isinstance(capabilities, Refused):
        return capabilities.reason
    clients = _client_ids(documents)
    service = flow == "bearer" and _is_service(documents, sub, clients)
    return Subject(issuer, sub, clients[0] if clients else "", service, capabilities)


def _document(value: object) -> Claims | None:
    # A document of the wrong type must fail the checks that follow, not vanish from them.
    return value if value is None or isinstance(value, dict) else NOTHING


def _time_reason(main: Claims, now: float, leeway: float) -> str | None:
    exp, nbf = _number(main.get("exp")), _number(main.get("nbf", 0))
    if exp is None or not exp > now - leeway:
        return "token_expired"
    return None if nbf is not None and nbf <= now + leeway else "token_not_yet_valid"


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _audience_reason(rules: Rules, issuer: Issuer, main: Claims, flow: Flow) -> str | None:
    claim = main.get("aud")
    audience = claim if isinstance(claim, list) else [claim]
    if flow == "login":
        ours = issuer.client_id != "" and issuer.client_id in audience
    else:
        ours = not issuer.aud_required or any(name in audience for name in rules.service_audiences)
    return None if ours else "audience_mismatch"


def _agreement_reason(documents: Documents, main: Claims, flow: Flow) -> str | None:
    # R03 names userinfo and introspection. The access token beside an ID token is held to the same:
    # its claims may be read, and they must not be somebody else's.
    introspection = documents.introspection
    if introspection is not None and introspection.get("active") is not True:
        return "token_inactive"
    for name, claims in documents.present():
        if claims.get("iss", main.get("iss")) != main.get("iss"):
            return "issuer_unknown"
        optional = flow == "login" and name == "access_token"
        if claims.get("sub", main.get("sub") if optional else None) != main.get("sub"):
            return "userinfo_sub_mismatch"
    return None


def _capabilities(documents: Documents) -> tuple[Capability, ...] | Refused:
    # Introspection is the fresher word of the issuer; a spoiled scope in either refuses the token.
    found: tuple[Capability, ...] | None = None
    for claims in (documents.introspection, documents.access_token):
        if claims is not None and "scope" in claims:
            parsed = parse_scopes(claims["scope"])
            if isinstance(parsed, Refused):
                return parsed
            found = parsed if found is None else found
    return found or ()


def _client_ids(documents: Documents) -> list[str]:
    tokens = (documents.access_token or NOTHING, documents.introspection or NOTHING)
    values = [claims.get(name) for name in ("client_id", "azp") for claims in tokens]
    return [value for value in values if isinstance(value, str) and value]


def _is_service(documents: Documents, sub: str, clients: list[str]) -> bool:
    introspection = documents.introspection or NOTHING
    grants = (introspection.get("grant"), introspection.get("grant_type"))
    return "client_credentials" in grants or sub in clients or bool(_HOST_SUBJECT.fullmatch(sub))
