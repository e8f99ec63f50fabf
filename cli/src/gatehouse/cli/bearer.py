"""A bearer token as the client sees it: opaque to prove anything, readable enough to find its issuer."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gatehouse.cli.errors import CommandError

MAX_FILE = 64 * 1024  # bytes of a token file or variable
_SYNTAX = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 §2.1 b64token
_SPACE = " \t\n\r\v\f"  # C99 isspace
_MAX_JWT = 8 * 1024
_MAX_NAME = 255


class TokenFileError(CommandError):
    """A token is there but cannot or must not be used."""


@dataclass(frozen=True)
class Tokens:
    """What the token endpoint gave. Secrets do not print. `expires_at` is in epoch seconds, 0 when unknown."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    token_type: str = "Bearer"  # noqa: S105  # a type, not a secret
    expires_at: int = 0
    scope: str = ""

    @property
    def claims(self) -> dict[str, Any]:
        """The access token's claims, NOT verified; for display and for finding the issuer only."""
        return claims(self.access_token)

    @property
    def issuer(self) -> str:
        """The `iss` claim without trailing slash, or empty."""
        value = self.claims.get("iss")
        return value.rstrip("/") if isinstance(value, str) else ""

    @property
    def client_id(self) -> str:
        """Which program got it (RFC 9068 §2.2), so the only one that may renew or revoke it; or empty."""
        value = self.claims.get("client_id")
        return value if isinstance(value, str) and len(value) <= _MAX_NAME else ""

    def seconds_left(self, now: int) -> int | None:
        """Life left in seconds (0 when over); None when the token does not tell."""
        until = self.claims.get("exp")
        until = until if isinstance(until, int | float) and not isinstance(until, bool) else self.expires_at
        return max(0, int(until) - now) if until else None

    def document(self, now: int) -> dict[str, object]:
        """The JSON object that is stored; its names are those of RFC 6749 §5.1 and `expires_at`."""
        left = self.seconds_left(now) or 0
        return {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "token_type": self.token_type,
            "expires_in": left,
            "expires_at": now + left,
            "scope": self.scope,
        }


def claims(token: str) -> dict[str, Any]:
    """The payload of a JWT without verification; empty when it is none, or larger than 8 kB."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _MAX_JWT:
        return {}
    try:
        value = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def parse(text: str, place: str) -> Tokens | None:
    """Tokens from a JSON object or a raw token; None for emptiness; TokenFileError for anything else."""
    text = text.strip(_SPACE)
    if not text:
        return None
    stored: Mapping[str, Any] = {"access_token": text}
    if text.startswith("{"):
        try:
            stored = json.loads(text)
        except (ValueError, RecursionError):
            raise _malformed(place) from None
    access, refresh = stored.get("access_token"), stored.get("refresh_token") or ""
    until, scope = stored.get("expires_at"), stored.get("scope")
    if not isinstance(access, str) or not isinstance(refresh, str) or not _SYNTAX.fullmatch(access):
        raise _malformed(place)
    return Tokens(
        access,
        refresh,
        expires_at=int(until) if isinstance(until, int | float) and abs(until) < 1 << 53 else 0,
        scope=scope if isinstance(scope, str) else "",
    )


def _malformed(place: str) -> TokenFileError:
    return TokenFileError(
        f"{place} does not hold a bearer token",
        why="it is neither a token as of RFC 6750 §2.1 nor a JSON object with one",
        next_step="next: unset the variable or remove the file, then run: dirac-login <group> --issuer URL",
    )


def from_answer(fields: Mapping[str, Any], now: int, *, before: Tokens | None = None) -> Tokens | None:
    """Tokens out of a token answer (RFC 6749 §5.1); None when it has no usable access token.

    A refresh answer may leave out the refresh token and the scope; then those `before` stay valid (§6).
    """
    access, refresh, life = fields.get("access_token"), fields.get("refresh_token"), fields.get("expires_in")
    if not isinstance(access, str) or len(access) > MAX_FILE // 4 or not _SYNTAX.fullmatch(access):
        return None
    known = before or Tokens("")
    scope = fields.get("scope")
    return replace(
        known,
        access_token=access,
        refresh_token=refresh
        if isinstance(refresh, str) and 0 < len(refresh) < MAX_FILE // 4
        else known.refresh_token,
        expires_at=now + int(life) if isinstance(life, int | float) and 0 < life < 1 << 40 else 0,
        scope=scope[:_MAX_JWT] if isinstance(scope, str) else known.scope,
    )
