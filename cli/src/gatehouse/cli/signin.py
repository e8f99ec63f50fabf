"""Logging in, as a function: for `dirac-login`, for notebooks and for the demonstration.

from gatehouse.cli.signin import login
done = login("https://gatehouse.example.org/auth", group="training_user")
print(done.summary.username)
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import sleep as system_sleep
from typing import Any

from gatehouse.cli import credential as certificates
from gatehouse.cli import device as flow
from gatehouse.cli import oauth, tokenfile
from gatehouse.cli.bearer import TokenFileError, Tokens, from_answer
from gatehouse.cli.credential import Credential
from gatehouse.cli.device import DeviceCode
from gatehouse.cli.errors import CommandError, clean
from gatehouse.cli.issuer import resolve
from gatehouse.cli.wire import Wire
from gatehouse.registry.clock import SYSTEM, Clock


@dataclass(frozen=True)
class Summary:
    """Who the token says one is. `timeleft` is in seconds."""

    subject: str
    issuer: str
    timeleft: int
    username: str
    group: str
    properties: tuple[str, ...]

    def lines(self) -> list[str]:
        """The six lines, labels padded to 13 characters."""
        minutes, seconds = divmod(self.timeleft, 60)
        hours, minutes = divmod(minutes, 60)
        values = {
            "subject": self.subject,
            "issuer": self.issuer,
            "timeleft": f"{hours:02d}:{minutes:02d}:{seconds:02d}",
            "username": self.username,
            "DIRAC group": self.group,
            "properties": ", ".join(self.properties),
        }
        return [f"{label:<13}: {value}" for label, value in values.items()]


@dataclass(frozen=True)
class Login:
    """A finished login: where the result lies, whose it is (None for a proxy), and which old tokens were
    revoked (`access_token`, `refresh_token`) or could not be (`kept`). `notice` is a sentence when the server
    gave less time than was asked for."""

    path: Path
    summary: Summary | None
    revoked: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    notice: str = ""


def show_link(device: DeviceCode) -> None:
    """Print the link and the code, as DIRAC's client does."""
    if device.link:
        print("Use the following link to continue")
        print(device.link)
        print(f"and compare the code there: {device.user_code}", flush=True)
    else:
        print(f'Use the following link to continue, your user code is "{device.user_code}"')
        print(device.verification_uri, flush=True)


def login(
    issuer: str = "",
    *,
    group: str = "",
    scopes: Sequence[str] = (),
    hours: int | None = None,
    proxy: bool = False,
    out: Path | None = None,
    credential: Credential | None = None,
    visit: Callable[[str], None] | None = None,
    show: Callable[[DeviceCode], None] = show_link,
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    env: Mapping[str, str] = os.environ,
    clock: Clock = SYSTEM,
    sleep: Callable[[float], None] = system_sleep,
) -> Login:
    """Log in and store the tokens: by device code, when the person has confirmed in the browser, or by certificate,
    or with `visit` by a browser on this machine (`codeflow.open_browser` opens one), which brings the answer back.

    `visit` and `show` get the link; either may itself wait for the confirmation, for what comes is looked at after it.
    `waiting` gives a context (a spinner) for the time until the person has decided. Raises CommandError.
    """
    if visit is not None:
        from gatehouse.cli import codeflow

        codeflow.check_place(group, env)
    issuer = resolve(issuer, env)
    scope = oauth.scope_string(group, scopes, proxy=proxy, hours=hours)
    with Wire(issuer, clock=clock, sleep=sleep) as wire:
        endpoints = oauth.discover(wire, issuer)
        if credential is not None:
            answer = certificates.log_in(endpoints, scope, credential, clock=clock, sleep=sleep)
        elif visit is not None:
            answer = codeflow.log_in(wire, endpoints, scope, visit, waiting)
        else:
            answer = _by_device(wire, endpoints, scope, group, show, waiting)
        if proxy and "proxy" in answer:
            return Login(_store_proxy(answer["proxy"], out, env), None)
        tokens = from_answer(answer, clock.now())
        if tokens is None:
            raise CommandError(
                "the server's answer holds no token", why="its access_token is missing or malformed"
            )
        path = out or tokenfile.default_path(env)
        old = _exchange(path, tokens, clock)
        revoked = oauth.revoke_all(wire, old) if old else []
        held = [kind for kind in ("access_token", "refresh_token") if old and getattr(old, kind)]
        return Login(
            path,
            summary=summarize(wire, endpoints, tokens),
            revoked=tuple(revoked),
            kept=tuple(kind for kind in held if kind not in revoked),
            notice=_text(answer.get("lifetime_notice")),
        )


def _by_device(
    wire: Wire,
    endpoints: oauth.Endpoints,
    scope: str,
    group: str,
    show: Callable[[DeviceCode], None],
    waiting: Callable[[], AbstractContextManager[None]],
) -> dict[str, Any]:
    """The token answer for a device code; a refusal because of the group names the ways that are open."""
    try:
        device = flow.start(wire, endpoints, scope)
        show(device)
        with waiting():
            return flow.wait(wire, endpoints, device)
    except CommandError as error:
        if flow.too_weak(error):
            command = f"dirac-login {group or '<group>'}"
            error.next_step = f"run: {command} --browser, or with a certificate: {command} -C CERT -K KEY"
        raise


def _exchange(path: Path, tokens: Tokens, clock: Clock) -> Tokens | None:
    """Put the new tokens in the file; the old ones, if it held any that can be revoked."""
    with tokenfile.locked(path, clock=clock):
        try:
            old = tokenfile.read(path)
        except TokenFileError:  # whatever lay there is replaced, not used
            old = None
        tokenfile.write(path, tokens, clock=clock)
    return old if old and old.issuer and old.access_token != tokens.access_token else None


def _store_proxy(pem: Any, out: Path | None, env: Mapping[str, str]) -> Path:
    if not isinstance(pem, str) or not pem.startswith("-----BEGIN CERTIFICATE-----"):
        raise CommandError("the server's answer holds no proxy")
    named = env.get("GRID_PROXY_FILE") or env.get("X509_USER_PROXY")
    path = out or Path(named or f"/tmp/x509up_u{os.geteuid()}")  # noqa: S108  # where grid software looks for it
    tokenfile.write_private(path, pem.encode())
    return path


def summarize(wire: Wire, endpoints: oauth.Endpoints, tokens: Tokens) -> Summary:
    """The summary of tokens, asked of the issuer; from the token's own claims if it does not answer."""
    told = tokens.claims
    try:
        person = oauth.userinfo(wire, endpoints, tokens.access_token)
    except CommandError:
        person = {}
    granted = [word[2:] for word in str(told.get("scope", "")).split() if word.startswith("g:")]
    properties = person.get("properties")
    return Summary(
        subject=_text(told.get("sub") or person.get("sub")),
        issuer=_text(told.get("iss")) or endpoints.issuer,
        timeleft=tokens.seconds_left(wire.clock.now()) or 0,
        username=_text(person.get("preferred_username") or told.get("preferred_username")),
        group=_text(person.get("group")) or (granted[0] if granted else ""),
        properties=tuple(_text(name) for name in properties) if isinstance(properties, list) else (),
    )


def _text(value: object) -> str:
    return clean(value, limit=300).replace("\n", " ") if isinstance(value, str) else ""
