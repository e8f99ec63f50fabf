"""The authorization endpoint (RFC 6749 §3.1): where a client's browser request becomes a login here.

What is wrong with the client or its redirect address is said on a page; everything else goes back to the client.
"""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gatehouse.auth import codes, pending, shapes, walks
from gatehouse.auth.clients import Client
from gatehouse.auth.codes import NotAsked
from gatehouse.auth.journey import Journey, address_of, begin
from gatehouse.auth.pending import Wanted
from gatehouse.auth.server import Context, Form, read_form
from gatehouse.registry.database import Tx
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.describe import describe

_AGAIN = "Go back to the program or page that sent you here, and tell those who run it."


class Authorize:
    """`GET` and `POST /auth/authorization`."""

    def __init__(self, journey: Journey, context: Context) -> None:
        self.journey = journey
        self._context = context

    @describe(shapes.PAGE, form=shapes.Asking, query=shapes.Asking, page=True)
    @begin
    async def start(self, request: Request) -> Response:
        """Check the request, begin a walk in this browser, and go on to the login page."""
        raw = request.url.query.encode() if request.method == "GET" else await request.body()
        form = read_form(raw)
        if not isinstance(form, Form):
            raise Problem(400, "invalid_request", form, hint=_AGAIN)
        client = await self.journey.database.read(
            lambda tx: self.journey.clients.find(tx, form.get("client_id", ""))
        )
        if client is None:
            raise Problem(400, "invalid_client", "The program that sent you here is not known.", hint=_AGAIN)
        if "request_uri" in form:
            return await self._pushed(request, client, form["request_uri"])
        return await self._fresh(request, client, form)

    async def _fresh(self, request: Request, client: Client, form: Form) -> Response:
        redirect_uri = form.get("redirect_uri", "")
        if not redirect_uri or not client.check_redirect_uri(redirect_uri):
            raise Problem(
                400,
                "invalid_request",
                f"{client.name} wants you back at an address that it has not registered.",
                hint=_AGAIN,
                detail=redirect_uri[:300],
            )
        wanted = codes.understood(
            client, form, form.targets, self._context.groups.by_name, self._context.mint.audience
        )
        if client.pushed_requests_only:
            wanted = NotAsked("invalid_request", "This client has to push its requests first (RFC 9126).")
        if isinstance(wanted, NotAsked):
            return self._back(redirect_uri, form.get("state", "")[:1024], wanted.error, wanted.reason)
        scope, asks = form.get("scope", ""), wanted

        def work(tx: Tx) -> str:
            return pending.add(
                tx,
                "code",
                client_id=client.client_id,
                scope=scope,
                wanted=asks,
                lifetime=self.journey.settings.lifetimes.browser_session,
                address=address_of(request),
                agent=request.headers.get("user-agent", ""),
            )

        return await self._begin(request, await self.journey.database.write(work), asks)

    async def _pushed(self, request: Request, client: Client, uri: str) -> Response:
        """Open a pushed request: once, and only for the client that pushed it (RFC 9126 §4)."""
        lifetime = self.journey.settings.lifetimes.browser_session

        def work(tx: Tx) -> tuple[str, Wanted] | None:
            row = codes.pushed(tx, self.journey.seal, uri[:256])
            if row is None or row.client_id != client.client_id or not pending.opened(tx, row.id, lifetime):
                return None
            return row.id, row.asks

        found = await self.journey.database.write(work)
        if found is None:
            raise Problem(400, "invalid_request_uri", "This link is unknown, used or too old.", hint=_AGAIN)
        return await self._begin(request, *found)

    async def _begin(self, request: Request, row: str, asks: Wanted) -> Response:
        if "none" in asks.prompt:
            return await self._without_asking(request, row, asks)
        lifetime = self.journey.settings.lifetimes.browser_session
        begun = await self.journey.database.write(
            lambda tx: walks.begin(tx, self.journey.seal, request_id=row, lifetime=lifetime)
        )
        answer = RedirectResponse("login", 303, headers={"Cache-Control": "no-store"})
        self.journey.set_cookie(answer, self.journey.cookie, begun.cookie, lifetime)
        return answer

    async def _without_asking(self, request: Request, row: str, asks: Wanted) -> Response:
        """`prompt=none` (OpenID Connect Core §3.1.2.1): here a person is always asked, so it always fails."""
        session = await self.journey.session(request)
        error = "consent_required" if session else "login_required"
        why = "The person has to be asked." if session else "Nobody is logged in in this browser."
        await self.journey.database.write(lambda tx: pending.deny(tx, row, why))
        return self._back(asks.redirect_uri, asks.state, error, why)

    def _back(self, redirect_uri: str, state: str, error: str, why: str) -> Response:
        where = codes.response(
            redirect_uri, state, self.journey.settings.issuer, error=error, error_description=why
        )
        return RedirectResponse(where, 303, headers={"Cache-Control": "no-store"})


def own_page(tx: Tx, journey: Journey, client_id: str, back: str, address: str, agent: str) -> walks.Begun:
    """Begin a login for one of our own pages: nobody is asked for consent, since no client gets anything."""
    lifetime = journey.settings.lifetimes.browser_session
    row = pending.add(
        tx,
        "pages",
        client_id=client_id,
        scope="",
        wanted=Wanted(back=back),
        lifetime=lifetime,
        address=address,
        agent=agent,
    )
    return walks.begin(tx, journey.seal, request_id=row, lifetime=lifetime, step="confirmed")
