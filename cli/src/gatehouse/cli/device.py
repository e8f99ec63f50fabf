"""Logging in on another device (RFC 8628), as the client sees it: start, show the link, poll."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gatehouse.cli.errors import CommandError, Unreachable, clean
from gatehouse.cli.oauth import CLIENT_ID, OAUTH_LIMIT, Endpoints
from gatehouse.cli.wire import Answer, Wire, check_url

_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_LONGEST_WAIT = 1800  # seconds, whatever the server promises
_ADMINISTRATIVE = "may administer, so a code "  # the service's own words; the error code is for any bad scope
_MAX_FAILURES = 5  # polls in a row without an answer


@dataclass(frozen=True)
class DeviceCode:
    """A started device login. `interval` and `expires_in` are in seconds; the device code does not print."""

    user_code: str
    verification_uri: str
    link: str
    interval: int
    expires_in: int
    device_code: str = field(repr=False)


def start(wire: Wire, endpoints: Endpoints, scope: str) -> DeviceCode:
    """Ask for a device code and the link for the browser (RFC 8628 §3.1, §3.2)."""
    answer = wire.send(
        "POST", endpoints.device, form={"client_id": CLIENT_ID, "scope": scope}, limit=OAUTH_LIMIT
    )
    fields = answer.fields()
    if answer.status >= 400 or fields is None or "error" in fields:
        raise _refused(answer)
    user_code, device_code, page = (fields.get(n) for n in ("user_code", "device_code", "verification_uri"))
    if not (isinstance(user_code, str) and isinstance(device_code, str) and isinstance(page, str)):
        raise CommandError("the server's answer to the login request is incomplete")
    link = fields.get("verification_uri_complete")
    return DeviceCode(
        user_code=clean(user_code, limit=64),
        verification_uri=check_url(clean(page)),
        link=check_url(clean(link)) if isinstance(link, str) and link else "",
        interval=_seconds(fields.get("interval"), 5, 60),
        expires_in=_seconds(fields.get("expires_in"), 300, _LONGEST_WAIT),
        device_code=device_code,
    )


def _seconds(value: object, fallback: int, most: int) -> int:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return min(max(1, int(value)), most) if usable and isinstance(value, int | float) else fallback


def wait(
    wire: Wire,
    endpoints: Endpoints,
    device: DeviceCode,
    *,
    on_pending: Callable[[int], None] = lambda left: None,
) -> dict[str, Any]:
    """Poll until the person has decided; the token answer as it came.

    The first poll is at once, every further one `interval` seconds after the last answer; `slow_down` adds
    five seconds (RFC 8628 §3.5). `on_pending` gets the seconds left.
    """
    deadline = wire.clock.monotonic() + device.expires_in
    interval, failures = device.interval, 0
    form = {"client_id": CLIENT_ID, "grant_type": _DEVICE_GRANT, "device_code": device.device_code}
    while True:
        try:
            answer = wire.send("POST", endpoints.token, form=form, limit=OAUTH_LIMIT)
        except Unreachable:
            failures += 1
            if failures == _MAX_FAILURES:
                raise
            verdict = "slow_down"  # RFC 8628 §3.5: on a timeout the client must poll less often
        else:
            verdict, failures = _verdict(answer), 0
            if verdict == "granted":
                return answer.fields() or {}
            if verdict == "refused":
                raise _refused(answer, device.device_code)
        interval += 5 if verdict == "slow_down" else 0
        left = deadline - wire.clock.monotonic()
        if left <= interval:
            raise _out_of_time("the code has expired")
        on_pending(int(left))
        wire.sleep(interval)


def _verdict(answer: Answer) -> str:
    """`granted`, `authorization_pending`, `slow_down` (a busy server counts as one), or `refused`."""
    fields = answer.fields() or {}
    if answer.status == 429 or answer.status >= 500:
        return "slow_down"
    if fields.get("error") in ("authorization_pending", "slow_down"):
        return str(fields["error"])
    return "granted" if answer.status < 300 and fields and "error" not in fields else "refused"


def _out_of_time(why: str) -> CommandError:
    return CommandError(
        "the login was not confirmed in time",
        why=why,
        next_step="next: run dirac-login again and open the new link",
    )


def too_weak(error: CommandError) -> bool:
    """Whether a device code was refused because of the group that it would open (RFC 8628 §5.4)."""
    return _ADMINISTRATIVE in f"{error.what} {error.why}"


def _refused(answer: Answer, *secrets: str) -> CommandError:
    error = answer.error(*secrets)
    if answer.status == 404 and answer.fields() is None:
        return CommandError(
            "there is no Gatehouse at this issuer", why="HTTP 404", next_step="next: an issuer ends in /auth"
        )
    if error.code == "expired_token":
        return _out_of_time(f"expired_token: {error.message}")
    if error.code == "access_denied":
        next_step = error.next_step or "next: the page in the browser says what you can do"
        return CommandError(
            "the login was refused", why=f"access_denied: {error.message}", next_step=next_step
        )
    return error
