"""The tokens of one command, renewed before they run out, by one command at a time."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gatehouse.cli import oauth, tokenfile
from gatehouse.cli.bearer import Tokens
from gatehouse.cli.errors import LOGIN_NEXT, NotLoggedIn, Unreachable
from gatehouse.cli.tokenfile import Found
from gatehouse.cli.wire import Wire

_RENEW_BELOW = 60  # seconds of life left


def find(path: Path | None = None, env: Mapping[str, str] = os.environ) -> Found:
    """The tokens of one file, or those that discovery finds. Raises NotLoggedIn when there are none."""
    if path is None:
        found = tokenfile.discover(env)
    else:
        tokens = tokenfile.read(path)
        found = Found(tokens, path) if tokens else None
    if found is None:
        place = path or tokenfile.default_path(env)
        raise NotLoggedIn("you are not logged in", why=f"no token in {place}", next_step=LOGIN_NEXT)
    return found


class Session:
    """Gives a live access token; renews it under the lock of its file."""

    def __init__(self, wire: Wire, found: Found) -> None:
        self._wire = wire
        self._path = found.path
        self._tokens = found.tokens

    @property
    def tokens(self) -> Tokens:
        """The present tokens, perhaps run out."""
        return self._tokens

    def bearer(self) -> str:
        """An access token with some life left. Raises NotLoggedIn when there is none to be had."""
        left = self._left()
        if left is not None and left < _RENEW_BELOW:
            try:
                self.renew()
            except Unreachable:
                if not left:
                    raise
        return self._tokens.access_token

    def renew(self) -> None:
        """Replace the present tokens by their successors, or by those another command has stored meanwhile."""
        if self._path is None or not self._tokens.refresh_token:
            if self._left() == 0:
                raise self._over("it cannot be renewed" if self._path else "BEARER_TOKEN cannot be renewed")
            return
        stale = self._tokens.access_token
        with tokenfile.locked(self._path, clock=self._wire.clock):
            stored = tokenfile.read(self._path)
            if stored is None:
                raise self._over(f"{self._path} is gone")
            if (
                stored.access_token != stale
                and (stored.seconds_left(self._wire.clock.now()) or 0) >= _RENEW_BELOW
            ):
                self._tokens = stored
                return
            endpoints = oauth.discover(self._wire, self._issuer_of(stored))
            self._tokens = oauth.refresh(self._wire, endpoints, stored)
            tokenfile.write(self._path, self._tokens, clock=self._wire.clock)

    def _issuer_of(self, stored: Tokens) -> str:
        # The file may have been replaced by a login at another server: its refresh token is not for ours.
        if stored.issuer != self._tokens.issuer:
            raise self._over("the token file was replaced meanwhile")
        return stored.issuer

    def _left(self) -> int | None:
        return self._tokens.seconds_left(self._wire.clock.now())

    def _over(self, why: str) -> NotLoggedIn:
        issuer = self._tokens.issuer
        known = f"run: dirac-login <group> --issuer {issuer}" if urlsplit(issuer).scheme else LOGIN_NEXT
        return NotLoggedIn("your token has run out", why=why, next_step=known)
