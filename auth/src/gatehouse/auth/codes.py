"""Authorization requests: what a client may ask a browser to bring here, and the code that goes back with it.

(RFC 6749 §4.1, RFC 7636, RFC 8707, RFC 9126, RFC 9207, OpenID Connect Core §3.1.2.)
"""

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from gatehouse.auth import pending
from gatehouse.auth.clients import Client
from gatehouse.auth.pending import Pending, Wanted
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.server import NO_DETAILS, sayable
from gatehouse.auth.targets import bad_target
from gatehouse.auth.terms import can_refresh
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager.seal import Seal

REQUEST_URI = "urn:ietf:params:oauth:request_uri:"
PROMPTS = ("none", "login", "consent", "select_account")
_SHA256 = re.compile(
    r"[A-Za-z0-9_-]{43}"
)  # in base64url: a challenge (RFC 7636 §4.2), a thumbprint (RFC 7638)
# OpenID Connect Core §3.1.2.6 has errors of their own for two of them
_REFUSED = {
    "request": "request_not_supported",
    "registration": "registration_not_supported",
    "id_token_hint": "invalid_request",
}


@dataclass(frozen=True, slots=True)
class NotAsked:
    """Why an authorization request is refused: an OAuth error code, and a sentence."""

    error: str
    reason: str


def checked(
    client: Client, given: Mapping[str, str], resources: Sequence[str], groups: Collection[str], own: str
) -> Wanted | NotAsked:
    """What a pushed request asks, or why not; its redirect URI has to be the client's, too."""
    redirect_uri = given.get("redirect_uri", "")
    if not redirect_uri or not client.check_redirect_uri(redirect_uri):
        return NotAsked("invalid_request", "The redirect_uri is not one that this client has registered.")
    return understood(client, given, resources, groups, own)


def understood(
    client: Client, given: Mapping[str, str], resources: Sequence[str], groups: Collection[str], own: str
) -> Wanted | NotAsked:
    """What a request asks, after its client and redirect URI were found good. `own` is our own API."""
    if not given.get("response_type"):
        return NotAsked("invalid_request", "The response_type is missing; it must be code.")
    if given["response_type"] != "code":
        return NotAsked("unsupported_response_type", "The response_type must be code.")
    if not client.check_response_type("code"):
        return NotAsked("unauthorized_client", "This client may not use the authorization code grant.")
    if given.get("response_mode", "query") != "query":
        return NotAsked("invalid_request", "The response_mode must be query, or left out.")
    for name, error in _REFUSED.items():
        if name in given:
            return NotAsked(error, f"The parameter {name} is not supported here.")
    if "authorization_details" in given:
        return NotAsked("invalid_authorization_details", NO_DETAILS)
    return (
        _challenge(given)
        or _scope(given, groups)
        or _target(client, resources, own)
        or _wanted(client, given, resources)
    )


def _challenge(given: Mapping[str, str]) -> NotAsked | None:
    if not _SHA256.fullmatch(given.get("code_challenge", "")):
        return NotAsked("invalid_request", "A code_challenge is required: base64url of a SHA-256 (RFC 7636).")
    if given.get("code_challenge_method") != "S256":
        return NotAsked("invalid_request", "The code_challenge_method must be S256.")
    return None


def _scope(given: Mapping[str, str], groups: Collection[str]) -> NotAsked | None:
    asked = parse(given.get("scope", ""))
    if not isinstance(asked, Asked):
        return NotAsked("invalid_scope", asked.reason)
    if asked.group and asked.group not in groups:
        return NotAsked("invalid_scope", no_group(asked.group))
    return NotAsked("invalid_scope", NO_PROXY) if asked.proxy else None


def _target(client: Client, resources: Sequence[str], own: str) -> NotAsked | None:
    why = bad_target(client, resources, own)
    return NotAsked("invalid_target", why) if why else None


def _wanted(client: Client, given: Mapping[str, str], resources: Sequence[str]) -> Wanted | NotAsked:
    prompts = given.get("prompt", "").split()
    if not set(prompts) <= set(PROMPTS) or ("none" in prompts and len(prompts) > 1):
        return NotAsked("invalid_request", f"prompt may be {', '.join(PROMPTS)}; none stands alone.")
    age = given.get("max_age", "")
    if age and not (age.isdecimal() and len(age) < 10):
        return NotAsked("invalid_request", "max_age must be a number of seconds.")
    if given.get("dpop_jkt") and not _SHA256.fullmatch(given["dpop_jkt"]):
        return NotAsked("invalid_request", "dpop_jkt must be a SHA-256 thumbprint (RFC 9449 §10).")
    if max(len(given.get("state", "")), len(given.get("nonce", ""))) > 1024:
        return NotAsked("invalid_request", "state and nonce may have 1024 characters at most.")
    return Wanted(
        redirect_uri=given.get("redirect_uri", ""),
        state=given.get("state", ""),
        nonce=given.get("nonce", ""),
        challenge=given["code_challenge"],
        audience=tuple(dict.fromkeys(resources)),
        prompt=" ".join(dict.fromkeys(prompts)),
        max_age=int(age) if age else None,
        binding=f"jkt:{given['dpop_jkt']}" if given.get("dpop_jkt") else "",
        lasting=can_refresh(client),
    )


NO_PROXY = "This service does not issue X.509 proxies yet: ask without proxy."


def no_group(name: str) -> str:
    """A sentence for a group that does not exist."""
    return f"No group is called {name} here. Leave it out to choose one in the browser."


def not_by_device(name: str) -> str:
    """A sentence for a group that a device code must not give."""
    return (
        f"{name} may administer, so a code that can be passed on by anybody does not open it. "
        "Log in to it with a browser on the same machine, or with a certificate."
    )


def push(tx: Tx, seal: Seal, client: Client, scope: str, wanted: Wanted, lifetime: int, address: str) -> str:
    """Keep a pushed request (RFC 9126 §2.2); the request_uri is shown once."""
    reference = secrets.token_urlsafe(32)
    pending.add(
        tx,
        "code",
        client_id=client.client_id,
        scope=scope,
        wanted=wanted,
        lifetime=lifetime,
        handle=seal.keyed_hash("request-uri", reference),
        address=address,
        status="pushed",
    )
    return REQUEST_URI + reference


def pushed(tx: Tx, seal: Seal, request_uri: str) -> Pending | None:
    """The request behind a request_uri, whatever its state."""
    return pending.by_handle(tx, seal.keyed_hash("request-uri", request_uri.removeprefix(REQUEST_URI)))


def issue(tx: Tx, seal: Seal, row: Pending, lifetime: int) -> str:
    """The authorization code of a request that was just approved; empty if it has one already."""
    code = secrets.token_urlsafe(32)
    return code if pending.give_code(tx, row.id, seal.keyed_hash("code", code), lifetime) else ""


def by_code(tx: Tx, seal: Seal, code: str) -> Pending | None:
    """The request of an authorization code."""
    return pending.by_code(tx, seal.keyed_hash("code", code))


def response(redirect_uri: str, state: str, issuer: str, **answer: str) -> str:
    """Where the browser goes with the answer, which names its issuer also when it is an error (RFC 9207 §2)."""
    said = {name: value for name, value in answer.items() if value}
    if "error_description" in said:
        said["error_description"] = sayable(said["error_description"])[:300]
    said |= {"state": state} if state else {}
    joiner = "&" if urlsplit(redirect_uri).query else "?"
    return f"{redirect_uri}{joiner}{urlencode({**said, 'iss': issuer})}"


def origin(redirect_uri: str) -> str:
    """The origin of a redirect address, as a content security policy names it."""
    parts = urlsplit(redirect_uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"


def host(redirect_uri: str) -> str:
    """Where a person returns to, in words."""
    parts = urlsplit(redirect_uri)
    if parts.hostname in ("127.0.0.1", "::1"):
        return "a program on your own machine"
    return parts.netloc or f"the program {parts.scheme}"
