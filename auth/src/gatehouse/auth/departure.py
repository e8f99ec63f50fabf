"""The first half of a login in the browser: the link, was it you, which provider, and away."""

import secrets
from collections.abc import Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gatehouse.auth import certificates, devices, guesses, pending, shapes, walks
from gatehouse.auth.arrival import Arrival
from gatehouse.auth.codes import host, origin
from gatehouse.auth.guesses import Tries
from gatehouse.auth.journey import START_AGAIN, Journey, address_of, guess, out_of_step, page, read_form
from gatehouse.auth.pages.render import ChooseProvider, Confirm, EnterCode, ProviderChoice, Refused
from gatehouse.auth.pending import Pending
from gatehouse.auth.providers.relying import Attempt, ProviderError
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.sessions import Session
from gatehouse.auth.terms import terms
from gatehouse.auth.walks import Step
from gatehouse.registry import audit
from gatehouse.registry.database import Tx
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.describe import describe


class Departure:
    """From the link to the provider."""

    def __init__(self, journey: Journey, arrival: Arrival) -> None:
        self.journey = journey
        self.arrival = arrival
        self._tries_cookie = f"{journey.cookie}-tries"

    @describe(shapes.PAGE, form=shapes.PageForm, query=shapes.Typed, page=True)
    @guess
    async def device(self, request: Request) -> Response:
        """The page behind the link: the code form, or who asks for what."""
        address, seal = address_of(request), self.journey.seal
        typed = request.query_params.get("user_code", "")
        if not typed:
            return self.journey.pages.enter_code(EnterCode(csrf="", action="device/code"))
        code = devices.normalised(typed)
        tried = request.cookies.get(self._tries_cookie, "")[:64] or secrets.token_urlsafe(16)
        row = await self._find(code, guesses.of_user_code(seal, tried, address))
        if row is None:
            error = "This code is unknown, used or expired. Codes last a few minutes: start the login again."
            again = self.journey.pages.enter_code(
                EnterCode(csrf="", error=error, user_code=typed[:16], action="device/code"), 404
            )
            self.journey.set_cookie(again, self._tries_cookie, tried, guesses.WINDOW)
            return again
        lifetime = self.journey.settings.lifetimes.browser_session
        begun = await self.journey.database.write(lambda tx: self._begin(tx, row, lifetime))
        shown = self.journey.pages.confirm(await self._confirmation(row, begun.id, code, address))
        self.journey.set_cookie(shown, self.journey.cookie, begun.cookie, lifetime)
        return shown

    async def _find(self, code: str, tries: Tries) -> Pending | None:
        """The request that waits under a code; whoever has none has guessed. Raises Problem 429."""

        def look(tx: Tx) -> Pending | int | None:
            if seconds := guesses.locked(tx, tries):
                return seconds
            row = devices.by_user_code(tx, self.journey.seal, code)
            if row is not None and row.status == "waiting" and row.expires_at > tx.clock.now():
                return row
            guesses.wrong(tx, tries)
            return None

        found = await self.journey.database.write(look)
        if isinstance(found, int):
            raise guesses.refusal(found)
        return found

    def _begin(self, tx: Tx, row: Pending, lifetime: int) -> walks.Begun:
        if walks.crowded(tx, row.id):
            raise Problem(429, "slow_down", "This link was opened too often.", hint=START_AGAIN)
        return walks.begin(tx, self.journey.seal, request_id=row.id, lifetime=lifetime)

    @page
    async def code(self, request: Request) -> Response:
        """A typed code: on to its link, as if it had been opened."""
        typed = read_form(await request.body()).get("user_code", "")
        # what cannot be a code goes along as it is, to be mended
        code = devices.normalised(typed) or typed.strip()[:16] or "-"
        return RedirectResponse(f"../device?user_code={quote(code)}", 303)

    @page
    async def login(self, request: Request) -> Response:
        """Where a login stands: consent still to be given, or a provider to be chosen."""
        walk = await self.journey.walk(request)
        row = await self.journey.request(walk)
        if walk.step == "open":
            session = await self._recognised(request, row)
            return self.journey.pages.confirm(await self._confirmation(row, walk.id, session=session))
        names = self._choice(row)
        if not names:
            raise Problem(
                403,
                "no_provider",
                "No identity provider is configured that could vouch for this group.",
                hint="Tell the operator of this service.",
            )
        return self.journey.pages.choose_provider(
            ChooseProvider(
                await self.journey.client_name(row.client_id),
                [
                    ProviderChoice(name, one.title, f"login/{name}", _letters(one.title))
                    for name, one in self.journey.providers.by_name.items()
                    if name in names
                ]
                + self._by_certificate(names),
            )
        )

    def _by_certificate(self, names: Sequence[str]) -> list[ProviderChoice]:
        if certificates.PROVIDER not in names:
            return []
        title = self.journey.settings.server.certificate_title
        return [ProviderChoice("certificate", title, "to-certificate", "509")]

    async def _recognised(self, request: Request, row: Pending) -> Session | None:
        """The session of the browser, if it may stand for a login: never for a device (RFC 8628 §5.4)."""
        session = await self.journey.session(request) if row.kind != "device" else None
        if session is None or {"login", "select_account"}.intersection(row.asks.prompt.split()):
            return None
        age = row.asks.max_age
        if age is not None and session.auth_time + age <= self.journey.database.clock.now():
            return None
        return session if session.provider in self._choice(row) else None

    async def _confirmation(
        self, row: Pending, walk: str, code: str = "", address: str = "", session: Session | None = None
    ) -> Confirm:
        asked, client = parse(row.scope), await self.journey.client(row.client_id)
        if client is None or not isinstance(asked, Asked):
            raise Problem(410, "login_over", "The program that asked is no longer known.", hint=START_AGAIN)
        given = terms(client, asked, row.asks, self.journey.settings.lifetimes)
        where = row.asks.redirect_uri
        return Confirm(
            client_name=client.name,
            user_code=code,
            asked=[
                *given.sentences(self.journey.groups.by_name.get(asked.group)),
                *filter(None, [given.shortened]),
            ],
            from_address=row.address,
            from_agent=row.agent,
            asked_at=row.created_at,
            same_address=row.address == address,
            csrf=walks.csrf(self.journey.seal, walk),
            leads_to=(origin(where),) if where else (),
            back_to=host(where) if where else "",
            username=session.username if session else "",
            who=self._shown(walk, session),
        )

    @page
    async def confirm(self, request: Request) -> Response:
        """The answer to the confirm page."""
        walk, form = await self.journey.posted(request)
        row = await self.journey.request(walk)
        if form.get("action") != "confirm":
            return await self._not_me(walk, row)
        if not await self.journey.database.write(lambda tx: walks.confirm(tx, walk.id)):
            raise out_of_step()
        session = await self._recognised(request, row)
        # whoever logged in meanwhile in another window is not who was asked
        if session is not None and form.get("who") == self._shown(walk.id, session):
            return await self.arrival.recognised(walk, row, session)
        return RedirectResponse("../login", 303)

    def _shown(self, walk: str, session: Session | None) -> str:
        """The session that the consent page named, as its form brings it back."""
        if session is None:
            return ""
        return self.journey.seal.mac("shown", f"{walk} {session.sid}".encode()).hex()[:32]

    async def _not_me(self, walk: Step, row: Pending) -> Response:
        said = "The person at the browser said: this was not me."
        if row.kind == "code":
            said = "The person at the browser did not allow it."

        def work(tx: Tx) -> None:
            walks.end(tx, walk.id)
            if pending.deny(tx, row.id, said):
                audit.record(tx, "login.denied", actor="browser", subject=row.id, why=said)

        await self.journey.database.write(work)
        if row.kind == "code":
            back = self.journey.back(row, error="access_denied", error_description=said)
            return RedirectResponse(back, 303, headers={"Cache-Control": "no-store"})
        return self.journey.pages.refused(
            Refused(
                "Login stopped",
                "You said that you did not start this login, so nothing was given to anybody.",
                "If somebody sent you the link, tell the operator of this service about it.",
            ),
            200,
        )

    def _choice(self, row: Pending) -> Sequence[str]:
        asked = parse(row.scope)
        wanted = asked.group if isinstance(asked, Asked) else ""
        # the Registry itself speaks for every group that it lists people in
        own = [certificates.PROVIDER] if self.journey.certificates else []
        if not wanted:
            return [*self.journey.providers.by_name, *own]
        accepted = self.journey.communities.accepted(wanted)
        return [*(name for name in accepted if name in self.journey.providers.by_name), *own]

    @page
    async def leave(self, request: Request) -> Response:
        """Send the browser to a provider with fresh secrets."""
        walk = await self.journey.walk(request)
        row = await self.journey.request(walk)
        provider = self.journey.providers.by_name.get(request.path_params["provider"])
        if provider is None or provider.name not in self._choice(row):
            raise Problem(404, "not_found", "There is no such identity provider to choose here.")
        max_age = self._freshness(row)
        attempt = Attempt(*(secrets.token_urlsafe(32) for _ in range(3)))
        try:
            url = await provider.authorization_url(attempt, max_age=max_age)
        except ProviderError as error:
            raise await self.journey.failed(request, walk, provider, error, "../login") from error
        if not await self.journey.database.write(
            lambda tx: walks.leave(tx, self.journey.seal, walk.id, provider.name, attempt, max_age)
        ):
            raise out_of_step()
        return RedirectResponse(
            url, 302, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        )

    def _freshness(self, row: Pending) -> int | None:
        """How old a login at the provider may be: for a device the person must just have shown that it is them."""
        if row.kind == "device":
            return self.journey.settings.device_flow.max_age
        return 0 if "login" in row.asks.prompt.split() else row.asks.max_age


def _letters(title: str) -> str:
    words = [word for word in title.replace("-", " ").split() if word[:1].isalnum()]
    return ("".join(word[0] for word in words[:3]) if len(words) > 1 else title[:3]).upper()
