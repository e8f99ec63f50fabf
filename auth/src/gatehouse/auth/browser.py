"""The login as a person walks it in the browser: confirm, choose a provider, come back, choose a group, done.

Every page works without script. A form is only taken with the token of the walk it belongs to, and the walk only
with the cookie of the browser that began it.
"""

import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from gatehouse.auth import devices, walks
from gatehouse.auth.clients import Clients
from gatehouse.auth.devices import Device
from gatehouse.auth.guesses import Guesses
from gatehouse.auth.pages.render import (
    ChooseGroup,
    ChooseProvider,
    Complete,
    Confirm,
    EnterCode,
    GroupChoice,
    Pages,
    ProviderChoice,
    Refused,
)
from gatehouse.auth.providers.relying import Attempt, Documents, Provider, ProviderError, Providers
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.walks import Step
from gatehouse.registry import audit, directory, documents
from gatehouse.registry.community import Communities, Mapped
from gatehouse.registry.database import Database, Tx
from gatehouse.registry.directory import Belonging, Enrolled, Seen
from gatehouse.registry.errors import Problem
from gatehouse.registry.properties import PROPERTIES
from gatehouse.registry.settings import Settings
from gatehouse.tokenmanager.gate import KIB, allow, public, route
from gatehouse.tokenmanager.groups import Groups
from gatehouse.tokenmanager.seal import Seal

log = structlog.get_logger()

_Handler = Callable[[Any, Request], Awaitable[Response]]
_PUBLIC = public("the login itself: the walk's cookie and form token guard each step").body(8 * KIB)
_START_AGAIN = "Start the login again in your terminal, and open the link it prints in this browser."


def _page(handler: _Handler) -> _Handler:
    """Show a Problem as a page, with an id that finds its detail in the log."""

    async def shown(self: "Browser", request: Request) -> Response:
        try:
            return await handler(self, request)
        except Problem as problem:
            return self.refusal(problem)

    return allow(_PUBLIC)(shown)


class Browser:
    """The pages under `/auth` and their steps."""

    def __init__(
        self,
        *,
        database: Database,
        seal: Seal,
        clients: Clients,
        providers: Providers,
        communities: Communities,
        groups: Groups,
        pages: Pages,
        settings: Settings,
    ) -> None:
        self._database = database
        self._seal = seal
        self._clients = clients
        self._providers = providers
        self._communities = communities
        self._groups = groups
        self._pages = pages
        self._lifetime = settings.lifetimes.browser_session
        self._secure = settings.server.base_url.startswith("https://")
        self._cookie = "__Host-gatehouse-login" if self._secure else "gatehouse-login"
        self._guesses = Guesses(database.clock)

    def routes(self) -> list[BaseRoute]:
        """Every route of this module."""
        return [
            route("/auth/device", self.device),
            route("/auth/device/code", self.code, methods=["POST"]),
            route("/auth/device/confirm", self.confirm, methods=["POST"]),
            route("/auth/device/group", self.group, methods=["POST"]),
            route("/auth/authorization", self.choose_provider),
            route("/auth/authorization/{provider}", self.leave),
            route("/auth/redirect", self.come_back),
        ]

    # -- 1: the link

    @_page
    async def device(self, request: Request) -> Response:
        """The page behind the link: the code form, or who asks for what."""
        address = _address(request)
        self._guesses.check(address)
        typed = request.query_params.get("user_code", "")
        if not typed:
            return self._pages.enter_code(EnterCode(csrf="", action="device/code"))
        code = devices.normalised(typed)
        row = await self._database.read(lambda tx: devices.by_user_code(tx, self._seal, code))
        if row is None or row.status != "waiting" or row.expires_at <= self._database.clock.now():
            self._guesses.wrong(address)
            error = "This code is unknown, used or expired. Codes last a few minutes: start the login again."
            return self._pages.enter_code(
                EnterCode(csrf="", error=error, user_code=typed[:16], action="device/code"), 404
            )
        begun = await self._database.write(
            lambda tx: walks.begin(tx, self._seal, device_id=row.id, user_code=code, lifetime=self._lifetime)
        )
        page = self._pages.confirm(self._confirmation(row, code, begun.id, address))
        page.set_cookie(
            self._cookie,
            begun.cookie,
            max_age=self._lifetime,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return page

    @_page
    async def code(self, request: Request) -> Response:
        """A typed code: on to its link, as if it had been opened."""
        form = _form(await request.body())
        return RedirectResponse(
            f"../device?user_code={devices.normalised(form.get('user_code', '')) or 'x'}", 303
        )

    def _confirmation(self, row: Device, code: str, walk: str, address: str) -> Confirm:
        asked = parse(row.scope)
        group = asked.group if isinstance(asked, Asked) else ""
        facts = self._groups.by_name.get(group)
        if facts:
            rights = [f"Act as a member of the group {group} of {facts.vo}."]
            rights += [PROPERTIES[name].sentence for name in sorted(facts.properties) if name in PROPERTIES]
        else:
            rights = ["Act as a member of one of your groups, which you choose here."]
        rights.append("Stay logged in for some weeks, until you log out.")
        client = self._clients.find(row.client_id)
        return Confirm(
            client_name=client.name if client else row.client_id,
            user_code=code,
            asked=rights,
            from_address=row.address,
            from_agent=row.agent,
            asked_at=row.created_at,
            same_address=row.address == address,
            csrf=walks.csrf(self._seal, walk),
            action="device/confirm",
        )

    # -- 2: was it you?

    @_page
    async def confirm(self, request: Request) -> Response:
        """The answer to the confirm page."""
        walk, form = await self._posted(request)
        if form.get("action") != "confirm":
            await self._database.write(lambda tx: self._not_me(tx, walk))
            return self._pages.refused(
                Refused(
                    "Login stopped",
                    "You said that you did not start this login, so nothing was given to anybody.",
                    "If somebody sent you the link, tell the operator of this service about it.",
                ),
                200,
            )
        if not await self._database.write(lambda tx: walks.confirm(tx, walk.id)):
            raise _out_of_step()
        return RedirectResponse("../authorization", 303)

    def _not_me(self, tx: Tx, walk: Step) -> None:
        walks.end(tx, walk.id)
        if devices.deny(tx, walk.device_id, "The person at the browser said: this was not me."):
            audit.record(tx, "device.denied", actor="browser", subject=walk.device_id, why="not me")

    # -- 3: which provider?

    @_page
    async def choose_provider(self, request: Request) -> Response:
        """Links to the providers that can vouch for what is asked."""
        walk = await self._walk(request)
        row = await self._device(walk)
        client = self._clients.find(row.client_id)
        names = self._choice(row)
        if not names:
            raise Problem(
                403,
                "no_provider",
                "No identity provider is configured that could vouch for this group.",
                hint="Tell the operator of this service.",
            )
        return self._pages.choose_provider(
            ChooseProvider(
                client.name if client else row.client_id,
                [
                    ProviderChoice(name, one.title, f"authorization/{name}", _letters(one.title))
                    for name, one in self._providers.by_name.items()
                    if name in names
                ],
            )
        )

    def _choice(self, row: Device) -> Sequence[str]:
        asked = parse(row.scope)
        wanted = asked.group if isinstance(asked, Asked) else ""
        if not wanted:
            return list(self._providers.by_name)
        return [name for name in self._communities.accepted(wanted) if name in self._providers.by_name]

    @_page
    async def leave(self, request: Request) -> Response:
        """Send the browser to a provider with fresh secrets."""
        walk = await self._walk(request)
        row = await self._device(walk)
        provider = self._providers.by_name.get(request.path_params["provider"])
        if provider is None or provider.name not in self._choice(row):
            raise Problem(404, "not_found", "There is no such identity provider to choose here.")
        attempt = Attempt(*(secrets.token_urlsafe(32) for _ in range(3)))
        try:
            url = await provider.authorization_url(attempt)
        except ProviderError as error:
            raise await self._failed(walk, provider, error) from error
        if not await self._database.write(
            lambda tx: walks.leave(tx, self._seal, walk.id, provider.name, attempt)
        ):
            raise _out_of_step()
        return RedirectResponse(
            url, 302, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        )

    # -- 4: back from the provider

    @_page
    async def come_back(self, request: Request) -> Response:
        """The callback: the answer is taken once, from the browser that was sent, and believed after checks."""
        walk = await self._walk(request)
        given = request.query_params
        provider = self._providers.by_name.get(walk.provider)
        if provider is None or not await self._database.write(
            lambda tx: walks.returned(tx, self._seal, walk.id, given.get("state", ""))
        ):
            raise _out_of_step()
        if "error" in given or not given.get("code"):
            why = given.get("error", "no code")[:64]
            raise await self._failed(walk, provider, ProviderError(f"it answered: {why}"))
        try:
            said = await provider.finish(walks.attempt_of(self._seal, walk), given["code"], given.get("iss"))
        except ProviderError as error:
            raise await self._failed(walk, provider, error) from error
        row = await self._device(walk)
        enrolled, mapped = await self._enrol(walk, provider, said)
        return await self._decide(walk, row, provider, enrolled, mapped)

    async def _failed(self, walk: Step, provider: Provider, error: ProviderError) -> Problem:
        """Record why a provider's answer was not accepted; the walk may try again or elsewhere."""
        await self._database.write(
            lambda tx: audit.record(
                tx, "provider.refused", actor=provider.name, subject=walk.device_id, why=str(error)[:512]
            )
        )
        return Problem(
            502,
            "provider_error",
            f"The answer of {provider.title} was not accepted: {error}.",
            hint="Go back and try again, or choose another provider. If it stays, tell the operator.",
            facts={"again": "authorization"},
        )

    async def _enrol(self, walk: Step, provider: Provider, said: Documents) -> tuple[Enrolled, Mapped]:
        now = self._database.clock.now()
        told = documents.Documents(id_token=said.id_token, userinfo=said.userinfo)
        mapped = self._communities.map_login(provider.settings, told, now)
        if mapped.refusal:
            raise await self._failed(walk, provider, ProviderError(mapped.refusal))
        everything = {**said.id_token, **said.userinfo}
        subject = everything.get(provider.settings.user_claim)
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:
            missing = ProviderError(f"it does not say who you are ({provider.settings.user_claim})")
            raise await self._failed(walk, provider, missing)
        seen = Seen(
            issuer=provider.settings.issuer,
            subject=subject,
            username=_text(everything, "preferred_username", "name", "sub"),
            name=_text(everything, "name"),
            email=_text(everything, "email"),
            groups=mapped.groups,
            claims=json.dumps(sorted(everything)[:100]),
        )
        trusted = self._communities.trusted(provider.name)

        def work(tx: Tx) -> Enrolled:
            enrolled = directory.enrol(tx, seen, trusted)
            if not walks.know(tx, walk.id, enrolled.person.id, enrolled.person.username):
                raise _out_of_step()
            return enrolled

        return await self._database.write(work), mapped

    # -- 5: which group?

    async def _decide(
        self, walk: Step, row: Device, provider: Provider, enrolled: Enrolled, mapped: Mapped
    ) -> Response:
        asked = parse(row.scope)
        wanted = asked.group if isinstance(asked, Asked) else ""
        own = {found.group: found for found in enrolled.groups}
        if enrolled.person.status != "active":
            raise await self._deny(
                walk, f"The account {enrolled.person.username} is {enrolled.person.status}."
            )
        if not own or (wanted and wanted not in own):
            raise await self._deny(walk, self._why_not(wanted, provider, enrolled, mapped), mapped.nothing)
        if wanted or len(own) == 1:
            return await self._complete(walk, row, wanted or next(iter(own)))
        return self._pages.choose_group(
            ChooseGroup(
                enrolled.person.username,
                [self._describe(found) for found in own.values()],
                walks.csrf(self._seal, walk.id),
                action="device/group",
            )
        )

    def _describe(self, found: Belonging) -> GroupChoice:
        facts = self._groups.by_name.get(found.group)
        names = sorted(facts.properties) if facts else []
        return GroupChoice(
            found.group, found.vo, [PROPERTIES[n].sentence for n in names if n in PROPERTIES], found.reason
        )

    def _why_not(self, wanted: str, provider: Provider, enrolled: Enrolled, mapped: Mapped) -> str:
        who = enrolled.person.username
        groups = ", ".join(sorted(found.group for found in enrolled.groups))
        if groups:
            return f"{provider.title} does not say that {who} belongs to {wanted}. Groups of {who}: {groups}."
        if mapped.nothing:
            return f"Nothing that {provider.title} says about {who} opens a group here."
        return f"{provider.title} names no group membership of {who}."

    @_page
    async def group(self, request: Request) -> Response:
        """The answer to the group page."""
        walk, form = await self._posted(request)
        row = await self._device(walk)
        chosen = form.get("group", "")
        if walk.step != "known" or chosen not in self._groups.by_name:
            raise _out_of_step()
        standing = await self._database.read(lambda tx: directory.standing(tx, walk.user_id, chosen))
        if standing.refusal:
            raise await self._deny(walk, standing.refusal)
        return await self._complete(walk, row, chosen)

    async def _complete(self, walk: Step, row: Device, group: str) -> Response:
        def work(tx: Tx) -> Step | None:
            current = walks.by_id(tx, walk.id)
            if current is None or not walks.end(tx, walk.id):
                return None
            approved = devices.approve(
                tx, row.id, user_id=current.user_id, username=current.username, group=group
            )
            if not approved:
                return None
            audit.record(
                tx,
                "device.approved",
                actor=current.username,
                subject=current.user_id,
                client=row.client_id,
                group=group,
                provider=current.provider,
            )
            return current

        known = await self._database.write(work)
        if known is None:
            raise _out_of_step()
        client = self._clients.find(row.client_id)
        return self._pages.complete(Complete(known.username, group, client.name if client else row.client_id))

    async def _deny(self, walk: Step, why: str, nothing: Sequence[str] = ()) -> Problem:
        """End the login with a reason that the waiting program is told too."""

        def work(tx: Tx) -> None:
            walks.end(tx, walk.id)
            if devices.deny(tx, walk.device_id, why):
                audit.record(tx, "device.denied", actor="gatehouse", subject=walk.device_id, why=why[:512])

        await self._database.write(work)
        return Problem(
            403,
            "access_denied",
            why,
            hint="Ask the manager of your community to add you, or log in with another group or provider.",
            facts={"said": list(nothing[:20])},
        )

    # -- what every step needs

    async def _walk(self, request: Request) -> Step:
        cookie = request.cookies.get(self._cookie, "")
        walk = await self._database.read(lambda tx: walks.find(tx, self._seal, cookie)) if cookie else None
        if walk is None:
            raise Problem(
                400,
                "no_login",
                "No login is going on in this browser, or it took too long.",
                hint=_START_AGAIN,
            )
        return walk

    async def _posted(self, request: Request) -> tuple[Step, dict[str, str]]:
        body = await request.body()
        walk = await self._walk(request)
        form = _form(body)
        if not hmac.compare_digest(form.get("csrf", "").encode(), walks.csrf(self._seal, walk.id).encode()):
            raise Problem(403, "wrong_form", "This form does not belong to your login.", hint=_START_AGAIN)
        return walk, form

    async def _device(self, walk: Step) -> Device:
        row = await self._database.read(lambda tx: devices.by_id(tx, walk.device_id))
        if row is None or row.status != "waiting" or row.expires_at <= self._database.clock.now():
            raise Problem(
                410,
                "login_over",
                "This login is over: it was finished, refused, or took too long.",
                hint=_START_AGAIN,
            )
        return row

    def refusal(self, problem: Problem) -> Response:
        """A Problem as a page."""
        error_id = secrets.token_hex(4)
        log.info("page refused", error_id=error_id, code=problem.code, detail=problem.detail)
        said = problem.facts.get("said")
        facts = [("Your provider said", str(value)) for value in said] if isinstance(said, list) else []
        return self._pages.refused(
            Refused(
                "Not logged in",
                problem.message,
                problem.hint,
                facts,
                error_id,
                str(problem.facts.get("again", "")),
            ),
            problem.status,
        )


def _form(body: bytes) -> dict[str, str]:
    """The fields of a form; nothing of one that is not."""
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=16, keep_blank_values=True))
    except ValueError:
        return {}


def _out_of_step() -> Problem:
    return Problem(
        409,
        "out_of_step",
        "This step was taken already, or in another window.",
        hint=_START_AGAIN,
    )


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _letters(title: str) -> str:
    words = [word for word in title.replace("-", " ").split() if word[:1].isalnum()]
    return ("".join(word[0] for word in words[:3]) if len(words) > 1 else title[:3]).upper()


def _text(claims: dict[str, Any], *names: str) -> str:
    found = (claims.get(name) for name in names)
    return next((value[:255] for value in found if isinstance(value, str) and value), "")
