"""What a command says when it cannot go on: what happened, why, and the next thing to do."""

import re
from collections.abc import Iterable, Mapping

LOGIN_NEXT = "run: dirac-login <group> --issuer URL"
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_MAX_TEXT = 2000


def clean(value: object, *, limit: int = _MAX_TEXT) -> str:
    """Text from outside, fit for a terminal: no control characters, no token, bounded."""
    text = _CONTROL.sub("", str(value)[: limit + 1])
    text = _JWT.sub("<token>", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class CommandError(Exception):
    """A refusal with its reason and the next step; `exit_code` 1 is refused or failed, 2 is wrong usage."""

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step


class UsageError(CommandError):
    """The command line cannot be understood."""

    exit_code = 2


class Unreachable(CommandError):
    """The server gave no usable answer: refused connection, timeout, TLS failure, broken stream."""


class NotLoggedIn(CommandError):
    """There is no usable token, and none can be had without the person."""


class ApiError(CommandError):
    """An error answer of the server, in its own words.

    `status` is the HTTP status, `code` the `error` member, `message` the `error_description`, `hint` what to
    do next, `facts` every further member of the JSON object.
    """

    def __init__(
        self, status: int, code: str, message: str, hint: str = "", facts: Mapping[str, object] | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.facts = dict(facts or {})
        super().__init__(message or code, why=self._reason(), next_step=self._next())

    def _reason(self) -> str:
        parts = [f"{self.code} (HTTP {self.status})"]
        for name, label in (("missing", "missing"), ("groups_with_it", "groups that have it")):
            values = self.facts.get(name)
            if isinstance(values, list) and values:
                parts.append(f"{label}: {', '.join(clean(v, limit=100) for v in values[:20])}")
        return "; ".join(parts)

    def _next(self) -> str:
        if self.hint:
            return f"next: {self.hint}"
        groups = self.facts.get("groups_with_it")
        if isinstance(groups, list) and groups:
            return f"run: dirac-login {clean(groups[0], limit=100)}"
        if self.status == 401:
            return LOGIN_NEXT
        if self.status in (429, 503):
            return f"next: try again in {clean(self.facts.get('retry_after', 'a few'), limit=10)} seconds"
        return ""


def api_error(
    status: int, fields: Mapping[str, object] | None, *, retry_after: str = "", secrets: Iterable[str] = ()
) -> ApiError:
    """The error answer as an exception; `secrets` are masked should the server echo what it was sent."""

    def text(name: str, fallback: str = "") -> str:
        shown = str(members.pop(name, "") or fallback)
        for secret in secrets:
            shown = shown.replace(secret, "<token>") if secret else shown
        return clean(shown)

    members = dict(fields or {})
    code = text("error", f"http_{status}")
    message = text("error_description", f"the server answered HTTP {status}")
    hint = text("hint")
    if retry_after.isdecimal():
        members.setdefault("retry_after", int(retry_after[:9]))
    return ApiError(status, code, message, hint, members)
