"""Logging in with a browser on this machine: authorization code with PKCE, back over loopback.

RFC 8252 (native apps), RFC 7636 (PKCE, S256), RFC 9207 (`iss` in the answer), OpenID Connect Core §3.1.3.7 (ID token).
"""

import base64
import hashlib
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from gatehouse.cli import bearer
from gatehouse.cli.errors import CommandError, clean
from gatehouse.cli.loopback import Listener, listening
from gatehouse.cli.oauth import OAUTH_LIMIT, Endpoints
from gatehouse.cli.wire import Wire, check_url

CLIENT_ID = "gatehouse-cli"
_PATIENCE = 300.0  # seconds that the person has in the browser
_ELSEWHERE = ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")


@dataclass(frozen=True)
class Attempt:
    """The secrets of one login; `nonce` is empty without `openid`, for then no ID token comes."""

    scope: str
    nonce: str = field(repr=False)
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)

    @property
    def challenge(self) -> str:
        """The verifier's SHA-256, base64url (RFC 7636 §4.2)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def check_place(group: str, env: Mapping[str, str]) -> None:
    """Raise CommandError when the browser is on another machine, where 127.0.0.1 would not be this one."""
    sign = next((name for name in _ELSEWHERE if env.get(name)), "")
    if sign:
        raise CommandError(
            "--browser needs a browser on this machine",
            why=f"{sign} is set: you sit at another one, and the answer would go there",
            next_step=f"run: dirac-login {group or '<group>'} without --browser, and open its link anywhere",
        )


def open_browser(link: str) -> None:
    """Ask for the person's browser (`webbrowser`, so also `BROWSER`); nothing happens where there is none.

    In a process of its own: some browsers do not return, and some write to standard output.
    """
    with suppress(OSError):
        opening = subprocess.Popen(  # noqa: S603 - Python itself; the link is an argument that begins with http
            [sys.executable, "-I", "-m", "webbrowser", link],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=opening.wait, daemon=True).start()


def log_in(
    wire: Wire,
    endpoints: Endpoints,
    scope: str,
    visit: Callable[[str], None],
    waiting: Callable[[], AbstractContextManager[None]],
    *,
    patience: float = _PATIENCE,
) -> dict[str, Any]:
    """The token answer, once a browser at `visit`'s link has brought the code. Raises CommandError."""
    words = scope.replace("+", " ")
    attempt = Attempt(words, secrets.token_urlsafe(32) if "openid" in words.split() else "")
    with listening(attempt.state) as listener:
        visit(_link(endpoints, attempt, listener.redirect_uri))
        with waiting():
            answer = listener.wait(patience)
    if answer is None:
        raise _nobody(listener)
    fields = _redeem(wire, endpoints, attempt, _code(answer, endpoints.issuer), listener.redirect_uri)
    if attempt.nonce:
        _check_id_token(fields, endpoints.issuer, attempt.nonce, wire.clock.now())
    return fields


def _link(endpoints: Endpoints, attempt: Attempt, redirect_uri: str) -> str:
    query = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": redirect_uri,
        "scope": attempt.scope,
        "state": attempt.state,
        "code_challenge": attempt.challenge,
        "code_challenge_method": "S256",
        **({"nonce": attempt.nonce} if attempt.nonce else {}),
    }
    page = check_url(clean(endpoints.authorization))
    return f"{page}{'&' if '?' in page else '?'}{urlencode(query)}"


def _nobody(listener: Listener) -> CommandError:
    why = "no answer came from the browser"
    if listener.foreign:
        why += f"; {listener.foreign} that came belonged to another login"
    return CommandError(
        "the login was not confirmed in time",
        why=why,
        next_step="next: run dirac-login again; without --browser its link works on any device",
    )


def _code(answer: Mapping[str, str], issuer: str) -> str:
    """The code of an answer that is the issuer's; an error answer has to be its own too (RFC 9207 §2.4)."""
    if answer.get("iss") != issuer:
        raise CommandError(
            "the answer in the browser is not from the server that was asked",
            why=f"its iss is {clean(answer.get('iss') or 'missing', limit=200)}, not {issuer}",
            next_step="next: run dirac-login again, and tell those who run the server",
        )
    if "error" in answer:
        code, why = clean(answer["error"], limit=100), clean(answer.get("error_description", ""), limit=500)
        raise CommandError(
            "the login was refused",
            why=f"{code}: {why}" if why else code,
            next_step="next: run dirac-login again if that was a mistake",
        )
    if not answer.get("code"):
        raise CommandError("the answer in the browser holds no code", next_step="next: run dirac-login again")
    return answer["code"]


def _redeem(
    wire: Wire, endpoints: Endpoints, attempt: Attempt, code: str, redirect_uri: str
) -> dict[str, Any]:
    """The token answer for a code (RFC 6749 §4.1.3, RFC 7636 §4.5)."""
    form = {
        "client_id": CLIENT_ID,
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": attempt.verifier,
    }
    answer = wire.send("POST", endpoints.token, form=form, limit=OAUTH_LIMIT)
    fields = answer.fields()
    if answer.status >= 300 or fields is None or "error" in fields:
        raise answer.error(code, attempt.verifier)
    return fields


def _check_id_token(fields: Mapping[str, Any], issuer: str, nonce: str, now: int) -> None:
    """Raise CommandError unless the ID token is of this issuer, for us, of this login, and not over.

    It came from the issuer itself over TLS, which stands for its signature (§3.1.3.7, 6).
    """
    told = bearer.claims(str(fields.get("id_token", "")))
    expected = {"iss": issuer, "aud": CLIENT_ID, "nonce": nonce}
    wrong = [name for name, value in expected.items() if told.get(name) != value]
    until = told.get("exp")
    if wrong or not isinstance(until, int) or until <= now:
        raise CommandError(
            "the server's ID token is not for this login",
            why=f"wrong or missing: {', '.join(wrong or ['exp'])}",
            next_step="next: run dirac-login again, and tell those who run the server",
        )
