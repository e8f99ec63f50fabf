"""Whom a token may be meant for (RFC 8707): our own API, and what the client's registration names."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import OAuth2Error

from gatehouse.auth.clients import Client


class InvalidTargetError(OAuth2Error):  # type: ignore[misc]
    """RFC 8707 §2."""

    error = "invalid_target"


def bad_target(client: Client, resources: Sequence[str], own: str) -> str:
    """Why tokens of a client may not be meant for these resources (RFC 8707 §2); empty when they may."""
    for one in resources:
        if one == own or one in client.audiences:
            continue
        try:
            parts = urlsplit(one)
        except ValueError:
            parts = urlsplit("")
        if not parts.scheme or "#" in one or len(one) > 255:
            return "A resource must be an absolute URI without a fragment."
        return f"Tokens of this client are not for {one[:100]}. Its operator can ask for that audience."
    return "Name ten resources at most." if len(resources) > 10 else ""
