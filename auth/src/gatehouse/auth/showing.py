"""Logging in by certificate in the browser: the page at the port that asks for one (RFC 8446 §4.3.2)."""

from typing import Literal

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gatehouse.auth import leaving, sessions, walks
from gatehouse.auth.arrival import Arrival, Choices
from gatehouse.auth.certificates import PROVIDER, Known, recognise
from gatehouse.auth.journey import Journey, address_of, out_of_step, page
from gatehouse.auth.sessions import Session
from gatehouse.auth.walks import Step
from gatehouse.registry.database import Tx
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.certificates import certificate_of

_PROXY = "Browsers show the certificate itself. With a proxy, log in on the command line: dirac-login GROUP -C FILE."
# somebody may have tried a provider before
_READY: tuple[Literal["confirmed", "away", "returned"], ...] = ("confirmed", "away", "returned")


class Showing:
    """From the choice of the certificate to the approved request; the same browser, so the same walk."""

    def __init__(self, journey: Journey, arrival: Arrival) -> None:
        self.journey = journey
        self.arrival = arrival

    @page
    async def away(self, _request: Request) -> Response:
        """To the port where browsers are asked: pages link to where they are only."""
        if not self.journey.certificates:
            raise Problem(404, "not_found", "Nobody can log in with a certificate here.")
        return RedirectResponse(self.journey.certificates, 302, headers={"Cache-Control": "no-store"})

    @page
    async def show(self, request: Request) -> Response:
        """Know the person by the certificate of this connection, then go on as after any provider."""
        walk = await self.journey.walk(request)
        row = await self.journey.request(walk)
        old = await self.journey.session(request)
        shown = certificate_of(request)

        def work(tx: Tx) -> tuple[Known, sessions.Opened] | str:
            known = recognise(tx, shown)
            if isinstance(known, Known) and known.shown.proxy_depth:
                known = _PROXY
            if isinstance(known, str):
                self.journey.refusals.record(
                    tx,
                    "certificate.refused",
                    actor=PROVIDER,
                    subject=walk.request_id,
                    why=known[:512],
                    address=address_of(request),
                )
                return known
            return known, self._know(tx, walk, known, request, old)

        found = await self.journey.database.write(work)
        if isinstance(found, str):
            raise self._refused(found, came=shown is not None)
        known, session = found
        title = self.journey.title(PROVIDER)
        answer = await self.arrival.decide(walk, row, Choices(known.person, known.groups, title, ()))
        lifetime = self.journey.settings.lifetimes.session
        self.journey.set_cookie(answer, self.journey.session_cookie, session.cookie, lifetime)
        return answer

    def _know(
        self, tx: Tx, walk: Step, known: Known, request: Request, old: Session | None
    ) -> sessions.Opened:
        now = tx.clock.now()
        opened = sessions.begin(
            tx,
            self.journey.seal,
            sid=leaving.follow(tx, self.journey.clients, old, known.person.id),
            user_id=known.person.id,
            username=known.person.username,
            provider=PROVIDER,
            address=address_of(request),
            agent=request.headers.get("user-agent", ""),
            auth_time=now,
            lifetime=min(self.journey.settings.lifetimes.session, known.shown.not_after - now),
        )
        known_now = any(
            walks.know(
                tx,
                walk.id,
                was,
                provider=PROVIDER,
                user_id=known.person.id,
                username=known.person.username,
                session=opened.sid,
                auth_time=now,
            )
            for was in _READY
        )
        if not known_now:
            raise out_of_step()
        return opened

    def _refused(self, why: str, *, came: bool) -> Problem:
        hint = (
            "Choose another way to log in, or another certificate: browsers ask anew after they were closed."
        )
        if not came:
            hint = "Import your certificate into the browser, choose it when you are asked, and try again."
        return Problem(403, "certificate_refused", why, hint=hint, facts={"again": "login"})
