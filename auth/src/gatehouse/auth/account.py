"""My sessions and tokens: what a person has given to programs and browsers, and how they take it back."""

import hmac

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gatehouse.auth import leaving, sessions
from gatehouse.auth.arrival import Arrival
from gatehouse.auth.authorize import own_page
from gatehouse.auth.clients import OWN_PAGES
from gatehouse.auth.journey import Journey, address_of, page, read_form
from gatehouse.auth.pages import account as shown
from gatehouse.auth.sessions import Session
from gatehouse.registry import directory
from gatehouse.registry.database import Tx
from gatehouse.registry.directory import Belonging
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager import refresh
from gatehouse.tokenmanager.refresh import Living

PATH = "/auth/account"
ELSEWHERE = {"title": "This did not work", "again": PATH}
_NO_STORE = {"Cache-Control": "no-store"}
_DONE: dict[str, shown.Done] = {"grant": "grant", "session": "session"}


class AccountPages:
    """`/auth/account` and what is below it; all of it is about whoever is logged in in this browser."""

    def __init__(self, journey: Journey, arrival: Arrival) -> None:
        self.journey = journey
        self._arrival = arrival

    @page
    async def show(self, request: Request) -> Response:
        """My sessions and tokens; a login comes first where nobody is logged in."""
        session = await self.journey.session(request)
        if session is None:
            return await self._log_in(request)
        grants, browsers, profile = await self.journey.database.read(
            lambda tx: (
                [self._grant(tx, one, session) for one in refresh.of(tx, session.user_id)],
                sessions.of(tx, session.user_id),
                directory.profile(tx, session.user_id, ("profile", "email")),
            )
        )
        groups = await self._arrival.belongings(session.user_id, session.provider)
        return self.journey.pages.account(
            shown.Account(
                username=session.username,
                name=profile.get("name", ""),
                email=profile.get("email", ""),
                provider=self.journey.title(session.provider),
                since=session.auth_time,
                groups=[_group(one) for one in groups],
                grants=grants,
                sessions=[self._session(one, session) for one in browsers],
                csrf=sessions.csrf(self.journey.seal, session.id),
                done=_DONE.get(request.query_params.get("done", ""), ""),
            )
        )

    @page
    async def end_grant(self, request: Request) -> Response:
        """End one login of a program."""
        session, form = await self._posted(request)

        def work(tx: Tx) -> None:
            family = refresh.by_id(tx, form.get("grant", "")[:32])
            if family is None or family.user_id != session.user_id:
                raise _not_yours()
            refresh.end(tx, family, "ended by its owner", actor=session.username)

        await self.journey.database.write(work)
        return self._back("grant")

    @page
    async def end_session(self, request: Request) -> Response:
        """Log out of one browser."""
        session, form = await self._posted(request)

        def work(tx: Tx) -> bool:
            mine = {one.sid: one for one in sessions.of(tx, session.user_id)}
            chosen = mine.get(form.get("session", ""))
            if chosen is None:
                raise _not_yours()
            leaving.leave(tx, self.journey.clients, chosen, "logged out by its owner", actor=session.username)
            return chosen.sid == session.sid

        if await self.journey.database.write(work):
            return self._gone()
        return self._back("session")

    @page
    async def ask_everything(self, request: Request) -> Response:
        """Should really everything end?"""
        session = await self.journey.session(request)
        if session is None:
            return await self._log_in(request)
        grants, browsers = await self.journey.database.read(
            lambda tx: (refresh.of(tx, session.user_id), sessions.of(tx, session.user_id))
        )
        csrf = sessions.csrf(self.journey.seal, session.id)
        return self.journey.pages.everything(
            shown.Everything(session.username, len(grants), len(browsers), csrf)
        )

    @page
    async def everything(self, request: Request) -> Response:
        """End every login of the person, of programs and of browsers."""
        session, form = await self._posted(request)
        if form.get("action") != "confirm":
            return self._back("")
        await self.journey.database.write(
            lambda tx: leaving.everything(
                tx,
                self.journey.clients,
                session.user_id,
                "everything ended by its owner",
                actor=session.username,
            )
        )
        return self._gone()

    async def _log_in(self, request: Request) -> Response:
        address, agent = address_of(request), request.headers.get("user-agent", "")
        begun = await self.journey.database.write(
            lambda tx: own_page(tx, self.journey, OWN_PAGES, PATH, address, agent)
        )
        answer = RedirectResponse(f"{self._base}/auth/login", 303, headers=_NO_STORE)
        lifetime = self.journey.settings.lifetimes.browser_session
        self.journey.set_cookie(answer, self.journey.cookie, begun.cookie, lifetime)
        return answer

    async def _posted(self, request: Request) -> tuple[Session, dict[str, str]]:
        return await posted(self.journey, request)

    def _back(self, done: shown.Done) -> Response:
        query = f"?done={done}" if done else ""
        return RedirectResponse(f"{self._base}{PATH}{query}", 303, headers=_NO_STORE)

    def _gone(self) -> Response:
        """The session of this browser has ended."""
        answer = self.journey.pages.logged_out(shown.LoggedOut())
        self.journey.set_cookie(answer, self.journey.session_cookie, "", 0)
        return answer

    @property
    def _base(self) -> str:
        return self.journey.settings.server.base_url

    def _grant(self, tx: Tx, one: Living, session: Session) -> shown.GrantShown:
        client = self.journey.clients.find(tx, one.client_id)
        return shown.GrantShown(
            id=one.id,
            client=client.name if client else one.client_id,
            group=one.group,
            address=one.address,
            created_at=one.created_at,
            used_at=one.rotated_at,
            expires_at=one.expires_at,
            kind=one.kind,
            here=one.session == session.sid,
        )

    def _session(self, one: Session, session: Session) -> shown.SessionShown:
        return shown.SessionShown(
            sid=one.sid,
            browser=shown.browser(one.agent),
            address=one.address,
            provider=self.journey.title(one.provider),
            since=one.auth_time,
            expires_at=one.expires_at,
            here=one.sid == session.sid,
        )


async def posted(journey: Journey, request: Request) -> tuple[Session, dict[str, str]]:
    """Who posts a form of theirs, and the form. Raises Problem when it is not this session's."""
    body = await request.body()
    session = await journey.session(request)
    if session is None:
        raise Problem(
            403,
            "logged_out",
            "Nobody is logged in in this browser any more, so nothing was changed.",
            hint="Log in and look again.",
            facts=ELSEWHERE,
        )
    form = read_form(body)
    if not hmac.compare_digest(
        form.get("csrf", "").encode(), sessions.csrf(journey.seal, session.id).encode()
    ):
        raise Problem(
            403,
            "wrong_form",
            "This form does not belong to your login, so nothing was changed.",
            hint="Open the page anew and try again.",
            facts=ELSEWHERE,
        )
    return session, form


def _group(one: Belonging) -> shown.GroupShown:
    return shown.GroupShown(one.group, one.vo, one.reason)


def _not_yours() -> Problem:
    return Problem(
        404,
        "not_found",
        "You have no such login. Perhaps it has ended already.",
        hint="Look at your page again.",
        facts=ELSEWHERE,
    )
