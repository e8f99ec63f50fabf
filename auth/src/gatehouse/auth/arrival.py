"""The second half of a login in the browser: back from the provider, which group, done."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gatehouse.auth import devices, walks
from gatehouse.auth.devices import Device
from gatehouse.auth.journey import Journey, out_of_step, page
from gatehouse.auth.pages.render import ChooseGroup, Complete, GroupChoice
from gatehouse.auth.providers.relying import Documents, Provider, ProviderError
from gatehouse.auth.scopes import Asked, parse
from gatehouse.auth.walks import Step
from gatehouse.registry import audit, directory, documents
from gatehouse.registry.community import Mapped
from gatehouse.registry.database import Tx
from gatehouse.registry.directory import Belonging, Enrolled, Seen
from gatehouse.registry.properties import PROPERTIES


class Arrival:
    """From the provider's answer to the approved request."""

    def __init__(self, journey: Journey) -> None:
        self.journey = journey

    @page
    async def come_back(self, request: Request) -> Response:
        """The callback: the answer is taken once, from the browser that was sent, and believed after checks."""
        walk = await self.journey.walk(request)
        given = request.query_params
        provider = self.journey.providers.by_name.get(walk.provider)
        expected = await self.journey.database.write(
            lambda tx: self._returned(tx, walk, given.get("state", ""))
        )
        if provider is None or not expected:
            raise out_of_step()
        if request.path_params.get("provider", "") != provider.callback:
            # the code is somebody else's, and the provider of this trip must not see it (RFC 9700 §4.4)
            strayed = ProviderError("the answer came to the address of another provider")
            raise await self.journey.failed(walk, provider, strayed)
        if "error" in given or not given.get("code"):
            why = given.get("error", "no code")[:64]
            raise await self.journey.failed(walk, provider, ProviderError(f"it answered: {why}"))
        try:
            said = await provider.finish(
                walks.attempt_of(self.journey.seal, walk), given["code"], given.get("iss")
            )
        except ProviderError as error:
            raise await self.journey.failed(walk, provider, error) from error
        row = await self.journey.device(walk)
        enrolled, mapped = await self._enrol(walk, provider, said)
        return await self._decide(walk, row, provider, enrolled, mapped)

    def _returned(self, tx: Tx, walk: Step, state: str) -> bool:
        """Whether this is the answer to the trip that this browser is on (RFC 6749 §10.12)."""
        if walks.returned(tx, self.journey.seal, walk.id, state):
            return True
        why = "the state is not that of this browser's trip, or was used before"
        audit.record(
            tx, "callback.refused", actor=walk.provider or "browser", subject=walk.device_id, why=why
        )
        return False

    async def _enrol(self, walk: Step, provider: Provider, said: Documents) -> tuple[Enrolled, Mapped]:
        now = self.journey.database.clock.now()
        told = documents.Documents(id_token=said.id_token, userinfo=said.userinfo)
        mapped = self.journey.communities.map_login(provider.settings, told, now)
        if mapped.refusal:
            raise await self.journey.failed(walk, provider, ProviderError(mapped.refusal))
        everything = {**said.id_token, **said.userinfo}
        subject = everything.get(provider.settings.user_claim)
        if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
            missing = ProviderError(f"it does not say who you are ({provider.settings.user_claim})")
            raise await self.journey.failed(walk, provider, missing)
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

        def work(tx: Tx) -> Enrolled:
            enrolled = directory.enrol(tx, seen, trusted)
            if not walks.know(tx, walk.id, enrolled.person.id, enrolled.person.username):
                raise out_of_step()
            return enrolled

        return await self.journey.database.write(work), mapped

    async def _decide(
        self, walk: Step, row: Device, provider: Provider, enrolled: Enrolled, mapped: Mapped
    ) -> Response:
        asked = parse(row.scope)
        wanted = asked.group if isinstance(asked, Asked) else ""
        own = {found.group: found for found in enrolled.groups}
        if enrolled.person.status != "active":
            raise await self.journey.deny(
                walk, f"The account {enrolled.person.username} is {enrolled.person.status}."
            )
        if not own or (wanted and wanted not in own):
            raise await self.journey.deny(
                walk, self._why_not(wanted, provider, enrolled, mapped), mapped.nothing
            )
        if wanted or len(own) == 1:
            return await self._complete(walk, row, wanted or next(iter(own)))
        return self.journey.pages.choose_group(
            ChooseGroup(
                enrolled.person.username,
                # what gives least comes first, and is chosen beforehand
                sorted(
                    (self._describe(found) for found in own.values()), key=lambda one: len(one.properties)
                ),
                walks.csrf(self.journey.seal, walk.id),
                action="device/group",
            )
        )

    def _describe(self, found: Belonging) -> GroupChoice:
        facts = self.journey.groups.by_name.get(found.group)
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

    @page
    async def group(self, request: Request) -> Response:
        """The answer to the group page."""
        walk, form = await self.journey.posted(request)
        row = await self.journey.device(walk)
        chosen = form.get("group", "")
        asked = parse(row.scope)
        fixed = asked.group if isinstance(asked, Asked) else ""
        if walk.step != "known" or fixed or chosen not in self.journey.communities.trusted(walk.provider):
            raise out_of_step()
        if chosen not in await self._opened(walk):
            raise out_of_step()
        standing = await self.journey.database.read(lambda tx: directory.standing(tx, walk.user_id, chosen))
        if standing.refusal:
            raise await self.journey.deny(walk, standing.refusal)
        return await self._complete(walk, row, chosen)

    async def _opened(self, walk: Step) -> set[str]:
        """The groups that the page offered: those that this provider, or the Registry, gives the person."""
        provider = self.journey.providers.by_name.get(walk.provider)
        issuer = provider.settings.issuer if provider else ""
        trusted = self.journey.communities.trusted(walk.provider)
        found = await self.journey.database.read(
            lambda tx: directory.choices(tx, walk.user_id, issuer, trusted)
        )
        return {one.group for one in found}

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

        known = await self.journey.database.write(work)
        if known is None:
            raise out_of_step()
        return self.journey.pages.complete(
            Complete(known.username, group, self.journey.client_name(row.client_id))
        )


def _text(claims: dict[str, Any], *names: str) -> str:
    """The first of these claims that says something, in printable characters."""
    found = (claims.get(name) for name in names)
    texts = ("".join(c for c in value if c.isprintable()) for value in found if isinstance(value, str))
    return next((text[:255] for text in texts if text), "")
