"""The first half of a login in the browser: the link, was it you, which provider, and away."""

import secrets
from collections.abc import Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gatehouse.auth import devices, guesses, walks
from gatehouse.auth.devices import Device
from gatehouse.auth.guesses import Tries
from gatehouse.auth.journey import START_AGAIN, Journey, address_of, guess, out_of_step, page, read_form
from gatehouse.auth.pages.render import ChooseProvider, Confirm, EnterCode, ProviderChoice, Refused
from gatehouse.auth.providers.relying import Attempt, ProviderError
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.walks import Step
from gatehouse.registry import audit
from gatehouse.registry.database import Tx
from gatehouse.registry.errors import Problem
from gatehouse.registry.properties import PROPERTIES


class Departure:
    """From the link to the provider."""

    def __init__(self, journey: Journey) -> None:
        self.journey = journey
        self._tries_cookie = f"{journey.cookie}-tries"

    @guess
    async def device(self, request: Request) -> Response:
        """The page behind the link: the code form, or who asks for what."""
        address, seal = address_of(request), self.journey.seal
        typed = request.query_params.get("user_code", "")
        if not typed:
            return self.journey.pages.enter_code(EnterCode(csrf="", action="device/code"))
        code = devices.normalised(typed)
        link = guesses.is_link(seal, code, request.query_params.get("key", ""))
        tried = request.cookies.get(self._tries_cookie, "")[:64] or secrets.token_urlsafe(16)
        row = await self._find(code, () if link else guesses.of_user_code(seal, tried, address))
        if row is None:
            error = "This code is unknown, used or expired. Codes last a few minutes: start the login again."
            again = self.journey.pages.enter_code(
                EnterCode(csrf="", error=error, user_code=typed[:16], action="device/code"), 404
            )
            again.set_cookie(
                self._tries_cookie,
                tried,
                max_age=guesses.WINDOW,
                path="/",
                secure=self.journey.secure,
                httponly=True,
                samesite="lax",
            )
            return again
        lifetime = self.journey.settings.lifetimes.browser_session
        begun = await self.journey.database.write(lambda tx: self._begin(tx, row, lifetime))
        shown = self.journey.pages.confirm(self._confirmation(row, code, begun.id, address))
        shown.set_cookie(
            self.journey.cookie,
            begun.cookie,
            max_age=lifetime,
            path="/",
            secure=self.journey.secure,
            httponly=True,
            samesite="lax",
        )
        return shown

    async def _find(self, code: str, tries: Tries) -> Device | None:
        """The request that waits under a code; whoever has none has guessed. Raises Problem 429."""

        def look(tx: Tx) -> Device | int | None:
            if seconds := guesses.locked(tx, tries):
                return seconds
            row = devices.by_user_code(tx, self.journey.seal, code)
            if row is not None and row.status == "waiting" and row.expires_at > tx.clock.now():
                return row
            guesses.wrong(tx, tries)
            return None

        database = self.journey.database
        found = await (database.write(look) if tries else database.read(look))
        if isinstance(found, int):
            raise guesses.refusal(found)
        return found

    def _begin(self, tx: Tx, row: Device, lifetime: int) -> walks.Begun:
        if walks.crowded(tx, row.id):
            raise Problem(429, "slow_down", "This link was opened too often.", hint=START_AGAIN)
        return walks.begin(tx, self.journey.seal, device_id=row.id, lifetime=lifetime)

    @page
    async def code(self, request: Request) -> Response:
        """A typed code: on to its link, as if it had been opened."""
        typed = read_form(await request.body()).get("user_code", "")
        # what cannot be a code goes along as it is, to be mended
        code = devices.normalised(typed) or typed.strip()[:16] or "-"
        return RedirectResponse(f"../device?user_code={quote(code)}", 303)

    def _confirmation(self, row: Device, code: str, walk: str, address: str) -> Confirm:
        asked = parse(row.scope)
        group = asked.group if isinstance(asked, Asked) else ""
        facts = self.journey.groups.by_name.get(group)
        if facts:
            rights = [f"Act as a member of the group {group} of {facts.vo}."]
            rights += [PROPERTIES[name].sentence for name in sorted(facts.properties) if name in PROPERTIES]
        else:
            rights = ["Act as a member of one of your groups, which you choose here."]
        rights.append("Stay logged in for some weeks, until you log out.")
        return Confirm(
            client_name=self.journey.client_name(row.client_id),
            user_code=code,
            asked=rights,
            from_address=row.address,
            from_agent=row.agent,
            asked_at=row.created_at,
            same_address=row.address == address,
            csrf=walks.csrf(self.journey.seal, walk),
            action="device/confirm",
        )

    @page
    async def confirm(self, request: Request) -> Response:
        """The answer to the confirm page."""
        walk, form = await self.journey.posted(request)
        if form.get("action") != "confirm":
            await self.journey.database.write(lambda tx: self._not_me(tx, walk))
            return self.journey.pages.refused(
                Refused(
                    "Login stopped",
                    "You said that you did not start this login, so nothing was given to anybody.",
                    "If somebody sent you the link, tell the operator of this service about it.",
                ),
                200,
            )
        if not await self.journey.database.write(lambda tx: walks.confirm(tx, walk.id)):
            raise out_of_step()
        return RedirectResponse("../authorization", 303)

    def _not_me(self, tx: Tx, walk: Step) -> None:
        walks.end(tx, walk.id)
        if devices.deny(tx, walk.device_id, "The person at the browser said: this was not me."):
            audit.record(tx, "device.denied", actor="browser", subject=walk.device_id, why="not me")

    @page
    async def choose_provider(self, request: Request) -> Response:
        """Links to the providers that can vouch for what is asked."""
        walk = await self.journey.walk(request)
        row = await self.journey.device(walk)
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
                self.journey.client_name(row.client_id),
                [
                    ProviderChoice(name, one.title, f"authorization/{name}", _letters(one.title))
                    for name, one in self.journey.providers.by_name.items()
                    if name in names
                ],
            )
        )

    def _choice(self, row: Device) -> Sequence[str]:
        asked = parse(row.scope)
        wanted = asked.group if isinstance(asked, Asked) else ""
        if not wanted:
            return list(self.journey.providers.by_name)
        return [
            name
            for name in self.journey.communities.accepted(wanted)
            if name in self.journey.providers.by_name
        ]

    @page
    async def leave(self, request: Request) -> Response:
        """Send the browser to a provider with fresh secrets."""
        walk = await self.journey.walk(request)
        row = await self.journey.device(walk)
        provider = self.journey.providers.by_name.get(request.path_params["provider"])
        if provider is None or provider.name not in self._choice(row):
            raise Problem(404, "not_found", "There is no such identity provider to choose here.")
        attempt = Attempt(*(secrets.token_urlsafe(32) for _ in range(3)))
        try:
            url = await provider.authorization_url(attempt)
        except ProviderError as error:
            raise await self.journey.failed(walk, provider, error, "../authorization") from error
        if not await self.journey.database.write(
            lambda tx: walks.leave(tx, self.journey.seal, walk.id, provider.name, attempt)
        ):
            raise out_of_step()
        return RedirectResponse(
            url, 302, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        )


def _letters(title: str) -> str:
    words = [word for word in title.replace("-", " ").split() if word[:1].isalnum()]
    return ("".join(word[0] for word in words[:3]) if len(words) > 1 else title[:3]).upper()
