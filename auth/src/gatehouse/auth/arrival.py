"""The second half of a login in the browser: back from the provider, which group, done."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gatehouse.auth import certificates, codes, leaving, pending, sessions, shapes, walks
from gatehouse.auth.journey import Journey, address_of, out_of_step, page
from gatehouse.auth.pages.render import ChooseGroup, Complete, GroupChoice
from gatehouse.auth.pending import Pending
from gatehouse.auth.providers.fetch import complaint
from gatehouse.auth.providers.relying import Documents, Provider, ProviderError
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.sessions import Session
from gatehouse.auth.terms import administrative
from gatehouse.auth.walks import Step
from gatehouse.registry import audit, directory, documents
from gatehouse.registry.community import Mapped
from gatehouse.registry.database import Tx
from gatehouse.registry.directory import Belonging, Enrolled, Person, Seen
from gatehouse.registry.properties import PROPERTIES
from gatehouse.tokenmanager.describe import describe


@dataclass(frozen=True, slots=True)
class Choices:
    """Who it is, what is open to them, and what the provider's claims did not give."""

    person: Person
    groups: Sequence[Belonging]
    title: str
    nothing: Sequence[str]


class Arrival:
    """From the provider's answer to the approved request."""

    def __init__(self, journey: Journey) -> None:
        self.journey = journey

    @describe(shapes.PAGE, form=shapes.PageForm, query=shapes.Told, page=True)
    @page
    async def come_back(self, request: Request) -> Response:
        """The callback: the answer is taken once, from the browser that was sent, and believed after checks."""
        walk = await self.journey.walk(request)
        given = request.query_params
        provider = self.journey.providers.by_name.get(walk.provider)
        expected = await self.journey.database.write(
            lambda tx: self._returned(tx, request, walk, given.get("state", ""))
        )
        if provider is None or not expected:
            raise out_of_step()
        if request.path_params.get("provider", "") != provider.callback:
            # the code is somebody else's, and the provider of this trip must not see it (RFC 9700 §4.4)
            strayed = ProviderError("the answer came to the address of another provider")
            raise await self.journey.failed(request, walk, provider, strayed)
        if "error" in given or not given.get("code"):
            why = complaint(given.get("error"), given.get("error_description")) or "no code"
            raise await self.journey.failed(request, walk, provider, ProviderError(f"it answered: {why}"))
        trip = walks.trip_of(self.journey.seal, walk)
        try:
            said = await provider.finish(
                trip.attempt, given["code"], given.get("iss"), max_age=trip.max_age, left=trip.left
            )
        except ProviderError as error:
            raise await self.journey.failed(request, walk, provider, error) from error
        row = await self.journey.request(walk)
        enrolled, mapped, session = await self._enrol(request, walk, provider, said)
        choices = Choices(enrolled.person, enrolled.groups, provider.title, mapped.nothing)
        answer = await self.decide(walk, row, choices)
        self.journey.set_cookie(
            answer, self.journey.session_cookie, session.cookie, self.journey.settings.lifetimes.session
        )
        return answer

    async def recognised(self, walk: Step, row: Pending, session: Session) -> Response:
        """Go on for a person who logged in in this browser a while ago; the walk was just confirmed."""

        def work(tx: Tx) -> Person | None:
            known = walks.know(
                tx,
                walk.id,
                "confirmed",
                provider=session.provider,
                user_id=session.user_id,
                username=session.username,
                session=session.sid,
                auth_time=session.auth_time,
            )
            return directory.by_id(tx, session.user_id) if known else None

        person = await self.journey.database.write(work)
        if person is None:
            raise out_of_step()
        groups = await self.belongings(person.id, session.provider)
        title = self.journey.title(session.provider)
        return await self.decide(walk, row, Choices(person, groups, title, ()))

    def _returned(self, tx: Tx, request: Request, walk: Step, state: str) -> bool:
        """Whether this is the answer to the trip that this browser is on (RFC 6749 §10.12)."""
        if walks.returned(tx, self.journey.seal, walk.id, state):
            return True
        why = "the state is not that of this browser's trip, or was used before"
        self.journey.refusals.record(
            tx,
            "callback.refused",
            actor=walk.provider or "browser",
            subject=walk.request_id,
            why=why,
            address=address_of(request),
        )
        return False

    async def _enrol(
        self, request: Request, walk: Step, provider: Provider, said: Documents
    ) -> tuple[Enrolled, Mapped, sessions.Opened]:
        now = self.journey.database.clock.now()
        told = documents.Documents(id_token=said.id_token, userinfo=said.userinfo)
        mapped = self.journey.communities.map_login(provider.settings, told, now)
        if mapped.refusal:
            raise await self.journey.failed(request, walk, provider, ProviderError(mapped.refusal))
        everything = {**said.id_token, **said.userinfo}
        subject = everything.get(provider.settings.user_claim)
        if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
            missing = ProviderError(f"it does not say who you are ({provider.settings.user_claim})")
            raise await self.journey.failed(request, walk, provider, missing)
        seen = Seen(
            issuer=provider.settings.issuer,
            subject=subject,
            username=_text(everything, "preferred_username", "name", "sub"),
            name=_text(everything, "name"),
            email=_text(everything, "email"),
            groups=mapped.groups,
            claims=json.dumps(sorted(everything)[:100]),
        )
        trusted = self.journey.communities.trusted(provider.name)

        old = await self.journey.session(request)

        def work(tx: Tx) -> tuple[Enrolled, sessions.Opened]:
            enrolled = directory.enrol(tx, seen, trusted)
            opened = sessions.begin(
                tx,
                self.journey.seal,
                sid=leaving.follow(tx, self.journey.clients, old, enrolled.person.id),
                user_id=enrolled.person.id,
                username=enrolled.person.username,
                provider=provider.name,
                upstream_sid=said.sid,
                upstream_sub=said.subject,
                address=address_of(request),
                agent=request.headers.get("user-agent", ""),
                auth_time=said.auth_time or now,
                lifetime=self.journey.settings.lifetimes.session,
            )
            if not walks.know(
                tx,
                walk.id,
                "returned",
                provider=provider.name,
                user_id=enrolled.person.id,
                username=enrolled.person.username,
                session=opened.sid,
                auth_time=said.auth_time or now,
            ):
                raise out_of_step()
            return enrolled, opened

        enrolled, opened = await self.journey.database.write(work)
        return enrolled, mapped, opened

    async def decide(self, walk: Step, row: Pending, choices: Choices) -> Response:
        """Refuse, ask for the group, or approve: the walk knows who it is."""
        asked = parse(row.scope)
        wanted = asked.group if isinstance(asked, Asked) else ""
        person = choices.person
        if person.status != "active":
            raise await self.journey.deny(walk, f"The account {person.username} is {person.status}.")
        if row.kind == "pages":
            return await self._complete(walk, row, "")
        own = {found.group: found for found in choices.groups if self._may_have(row, found.group)}
        if not own or (wanted and wanted not in own):
            raise await self.journey.deny(walk, self._why_not(row, wanted, choices), choices.nothing)
        only = next(iter(own)) if len(own) == 1 else ""
        # whoever has one group knows it; but rights over others are never given without being shown
        if wanted or (only and not administrative(self.journey.groups.by_name.get(only))):
            return await self._complete(walk, row, wanted or only)
        where = row.asks.redirect_uri
        return self.journey.pages.choose_group(
            ChooseGroup(
                person.username,
                # what gives least comes first, and is chosen beforehand
                sorted(
                    (self._describe(found) for found in own.values()), key=lambda one: len(one.properties)
                ),
                walks.csrf(self.journey.seal, walk.id),
                action=f"{urlsplit(self.journey.settings.issuer).path}/login/group",
                leads_to=(codes.origin(where),) if where else (),
            )
        )

    def _may_have(self, row: Pending, group: str) -> bool:
        """A device code gives no administrative group (RFC 8628 §5.4: the link may come from somebody else)."""
        if row.kind != "device" or self.journey.settings.device_flow.administrative_groups:
            return True
        return not administrative(self.journey.groups.by_name.get(group))

    def _describe(self, found: Belonging) -> GroupChoice:
        facts = self.journey.groups.by_name.get(found.group)
        names = sorted(facts.properties) if facts else []
        return GroupChoice(
            found.group, found.vo, [PROPERTIES[n].sentence for n in names if n in PROPERTIES], found.reason
        )

    def _why_not(self, row: Pending, wanted: str, choices: Choices) -> str:
        who, title = choices.person.username, choices.title
        groups = sorted(found.group for found in choices.groups)
        left_out = [group for group in groups if not self._may_have(row, group)]
        if left_out and (wanted in left_out or not wanted):
            return codes.not_by_device(wanted or ", ".join(left_out))
        if groups:
            return (
                f"{title} does not say that {who} belongs to {wanted}. Groups of {who}: {', '.join(groups)}."
            )
        if choices.nothing:
            return f"Nothing that {title} says about {who} opens a group here."
        return f"{title} names no group membership of {who}."

    @page
    async def group(self, request: Request) -> Response:
        """The answer to the group page."""
        walk, form = await self.journey.posted(request)
        row = await self.journey.request(walk)
        chosen = form.get("group", "")
        asked = parse(row.scope)
        fixed = asked.group if isinstance(asked, Asked) else ""
        if walk.step != "known" or fixed:
            raise out_of_step()
        open_to = {found.group for found in await self.belongings(walk.user_id, walk.provider)}
        if chosen not in open_to or not self._may_have(row, chosen):
            raise out_of_step()
        standing = await self.journey.database.read(lambda tx: directory.standing(tx, walk.user_id, chosen))
        if standing.refusal:
            raise await self.journey.deny(walk, standing.refusal)
        return await self._complete(walk, row, chosen)

    async def belongings(self, user_id: str, name: str) -> tuple[Belonging, ...]:
        """The groups that this provider, or the Registry, gives the person."""
        if name == certificates.PROVIDER:
            return await self.journey.database.read(lambda tx: directory.listed(tx, user_id))
        provider = self.journey.providers.by_name.get(name)
        if provider is None:
            raise out_of_step()
        trusted = self.journey.communities.trusted(name)
        found = await self.journey.database.read(
            lambda tx: directory.choices(tx, user_id, provider.settings.issuer, trusted)
        )
        return tuple(one for one in found if one.group in trusted)

    async def _complete(self, walk: Step, row: Pending, group: str) -> Response:
        """Approve the request, end the walk, and send the browser where it belongs."""

        def work(tx: Tx) -> tuple[Step, str] | None:
            current = walks.by_id(tx, walk.id)
            if current is None or not walks.end(tx, walk.id):
                return None
            approved = pending.approve(
                tx,
                row.id,
                user_id=current.user_id,
                username=current.username,
                group=group,
                session=current.session,
                auth_time=current.auth_time,
            )
            if not approved:
                return None
            audit.record(
                tx,
                "login.approved",
                actor=current.username,
                subject=current.user_id,
                client=row.client_id,
                group=group,
                provider=current.provider,
            )
            lifetime = self.journey.settings.lifetimes.authorization_code
            code = codes.issue(tx, self.journey.seal, row, lifetime) if row.kind == "code" else ""
            return current, code

        done = await self.journey.database.write(work)
        if done is None:
            raise out_of_step()
        known, code = done
        if row.kind == "device":
            return self.journey.pages.complete(
                Complete(known.username, group, await self.journey.client_name(row.client_id))
            )
        base = self.journey.settings.server.base_url
        where = self.journey.back(row, code=code) if code else f"{base}{row.asks.back}"
        # 303: the browser must not send the form of this page on (RFC 9700 §4.12)
        return RedirectResponse(where, 303, headers={"Cache-Control": "no-store"})


def _text(claims: dict[str, Any], *names: str) -> str:
    """The first of these claims that says something, in printable characters."""
    found = (claims.get(name) for name in names)
    texts = ("".join(c for c in value if c.isprintable()) for value in found if isinstance(value, str))
    return next((text[:255] for text in texts if text), "")
