"""Logging out (OpenID Connect RP-Initiated Logout 1.0): asked by the person, or by a client they came from.

An ID token of this very session shows that a client in it asks: it came to the client by the back channel, so no other
site has it. Then nobody is asked again, since the person has just chosen to log out there. In all other cases they are,
or any page could log people out with a link. Browsers go back to registered addresses only, character by character.
"""

import hmac
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gatehouse.auth import codes, leaving, sessions
from gatehouse.auth.account import ELSEWHERE, PATH, posted
from gatehouse.auth.clients import Client
from gatehouse.auth.journey import Journey, page
from gatehouse.auth.pages.account import LoggedOut, LogoutAsked
from gatehouse.auth.server import Context, Form, read_form
from gatehouse.auth.sessions import Session
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager import hints
from gatehouse.tokenmanager.hints import Hint

_AGAIN = "Go back to where you came from, and tell those who run it. To log out here, open your own page."
_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class _Wish:
    """A logout as it was asked for: `back` is registered, `proof` stands for the ID token of a POST."""

    client: Client | None
    hint: Hint | None
    back: str
    state: str
    proof: str

    @property
    def where(self) -> str:
        """Where the browser goes afterwards (§3)."""
        if not self.back or not self.state:
            return self.back
        return f"{self.back}{'&' if urlsplit(self.back).query else '?'}{urlencode({'state': self.state})}"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The parameters that a form or a redirect of ours takes along."""
        client = self.client.client_id if self.client else ""
        said = (("client_id", client), ("post_logout_redirect_uri", self.back), ("state", self.state))
        return [(name, value) for name, value in said if value]


class Logout:
    """`/auth/logout`, which is the `end_session_endpoint`, and the answer to its question."""

    def __init__(self, journey: Journey, context: Context) -> None:
        self.journey = journey
        self._ring = context.mint.ring

    @page
    async def start(self, request: Request) -> Response:
        """Log out at once for a client in this session, otherwise ask (§2)."""
        if request.method == "POST":
            return await self._as_get(request)
        wish = await self._wish(request.url.query.encode())
        session = await self.journey.session(request)
        if session is None:
            return self._done(wish, go=wish.hint is not None)
        if self._of_this_session(wish, session):
            return await self._log_out(session, wish, wish.client.client_id if wish.client else "")
        return self.journey.pages.logout(
            LogoutAsked(
                session.username,
                wish.client.name if wish.client else "",
                sessions.csrf(self.journey.seal, session.id),
                wish.fields,
                (codes.origin(wish.back),) if wish.back else (),
            )
        )

    @page
    async def confirm(self, request: Request) -> Response:
        """The person's answer."""
        wish = await self._wish(await request.body())
        if await self.journey.session(request) is None:
            return self._done(wish, go=False)
        session, form = await posted(self.journey, request)
        if form.get("action") != "confirm":
            return RedirectResponse(f"{self.journey.settings.server.base_url}{PATH}", 303, headers=_NO_STORE)
        return await self._log_out(session, wish, session.username)

    async def _as_get(self, request: Request) -> Response:
        """The form of another site brings no cookie of ours; the GET that we redirect to does.

        A proof goes along in place of the ID token, which tells too much about a person for an address.
        """
        wish = await self._wish(await request.body())
        fields = wish.fields
        if wish.hint is not None:
            fields.append(("proof", self._proof(wish.hint.session, wish.hint.client_id)))
        query = f"?{urlencode(fields)}" if fields else ""
        return RedirectResponse(f"{self.journey.settings.issuer}/logout{query}", 303, headers=_NO_STORE)

    async def _wish(self, raw: bytes) -> _Wish:
        """What is asked. Raises Problem for what contradicts itself, or leads to an address nobody registered."""
        form = read_form(raw)
        if not isinstance(form, Form):
            raise Problem(400, "invalid_request", form, hint=_AGAIN, facts=ELSEWHERE)
        hint = hints.read(self._ring, self.journey.settings.issuer, form.get("id_token_hint", ""))
        named = form.get("client_id", "")[:128]
        if hint is not None and named and named != hint.client_id:
            raise _bad("The ID token was issued to another program than the one that asks.")
        client = await self._client(named or (hint.client_id if hint else ""))
        back = form.get("post_logout_redirect_uri", "")
        if back and (client is None or back not in client.post_logout_redirect_uris):
            raise _bad("You are to be sent on to an address that the program has not registered.", back[:300])
        if len(form.get("state", "")) > 1024:
            raise _bad("The state may have 1024 characters at most.")
        return _Wish(client, hint, back, form.get("state", "") if back else "", form.get("proof", ""))

    async def _client(self, client_id: str) -> Client | None:
        if not client_id:
            return None
        client = await self.journey.database.read(lambda tx: self.journey.clients.find(tx, client_id))
        if client is None:
            raise _bad("The program that sent you here is not known.", client_id)
        return client

    def _of_this_session(self, wish: _Wish, session: Session) -> bool:
        if wish.hint is not None:
            return (wish.hint.session, wish.hint.subject) == (session.sid, session.user_id)
        if wish.client is None or not wish.proof:
            return False
        expected = self._proof(session.sid, wish.client.client_id)
        return hmac.compare_digest(wish.proof.encode(), expected.encode())

    def _proof(self, sid: str, client_id: str) -> str:
        """That a client showed an ID token of a session; worth as much as that token, and says nothing."""
        return self.journey.seal.mac("logout", f"{sid}\n{client_id}".encode()).hex()[:32]

    async def _log_out(self, session: Session, wish: _Wish, actor: str) -> Response:
        why = "logged out" if actor == session.username else "logged out by a program"
        await self.journey.database.write(
            lambda tx: leaving.leave(tx, self.journey.clients, session, why, actor=actor)
        )
        answer = self._done(wish, go=True)
        self.journey.set_cookie(answer, self.journey.session_cookie, "", 0)
        return answer

    def _done(self, wish: _Wish, *, go: bool) -> Response:
        """Back to the client, or a page that says it: with a link, where nothing shows that the client asks."""
        if go and wish.where:
            return RedirectResponse(wish.where, 303, headers=_NO_STORE)
        return self.journey.pages.logged_out(LoggedOut(wish.where, wish.client.name if wish.client else ""))


def _bad(why: str, detail: str = "") -> Problem:
    return Problem(400, "invalid_request", why, hint=_AGAIN, detail=detail, facts=ELSEWHERE)
