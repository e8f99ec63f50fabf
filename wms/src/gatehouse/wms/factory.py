"""The pilot factory: sends pilots where jobs wait, watches over them, and takes back the jobs of those that are gone.

One replica at a time does it (lease). Each pilot is recorded before it is sent; if the server dies in between, its
secret dies with it, and the record is ended by a later cycle.
"""

import asyncio
import contextlib
import logging
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from gatehouse.registry import audit
from gatehouse.registry.clock import Clock
from gatehouse.registry.database import Database, Tx
from gatehouse.registry.leases import drop_lease, take_lease
from gatehouse.registry.settings import ElementSettings, Settings
from gatehouse.tokenmanager import pilot_secrets
from gatehouse.tokenmanager.groups import Groups
from gatehouse.tokenmanager.issue import Mint, Minted
from gatehouse.tokenmanager.seal import Seal
from gatehouse.wms import demand, pilots, watchdog
from gatehouse.wms.claims import PILOT
from gatehouse.wms.elements import ComputeElement, ElementError, PilotSpec
from gatehouse.wms.elements.credential import vo_issuer
from gatehouse.wms.states import PILOT_FINAL, PilotStatus

LEASE = "factory"
CLIENT = "gatehouse-factory"
SCOPE = "compute.create compute.modify compute.cancel compute.read"
UNSENT = 120
"""Seconds after which a pilot that was recorded but has no reference was never sent."""
_LONGEST_PAUSE = 600.0
_LAST_CYCLE = 4.0  # seconds that a stopping service waits for a cycle

LOG = logging.getLogger("gatehouse.factory")


@dataclass(slots=True)
class _Pause:
    """Back-off after failures of one element; monotonic seconds."""

    until: float = 0.0
    failures: int = 0


class Factory:
    """The background cycle. `wake` may be called from the event loop at any time."""

    def __init__(
        self,
        database: Database,
        mint: Mint,
        seal: Seal,
        settings: Settings,
        groups: Groups,
        clock: Clock,
        elements: Mapping[str, ComputeElement],
    ) -> None:
        self._database = database
        self._mint = mint
        self._seal = seal
        self._settings = settings
        self._groups = groups
        self._clock = clock
        self._elements = elements
        self._holder = secrets.token_hex(8)
        self._wanted = asyncio.Event()
        self._pauses = {name: _Pause() for name in elements}
        self._tokens: dict[tuple[str, str], Minted] = {}

    def wake(self) -> None:
        """Something changed (a job came in): look now, not at the next interval."""
        self._wanted.set()

    async def run(self) -> None:
        """Cycle until cancelled; what goes wrong is logged, and the next cycle is another chance.

        A wake-up brings pilots at once, but asks no element how its pilots are before the interval is over.
        """
        interval, due = self._settings.factory.interval, -math.inf
        try:
            while True:
                self._wanted.clear()
                watch = self._clock.monotonic() >= due
                if watch:
                    due = self._clock.monotonic() + interval
                await self._whole_cycle(watch)
                with contextlib.suppress(TimeoutError):
                    left = max(0.0, due - self._clock.monotonic())
                    await asyncio.wait_for(self._wanted.wait(), left)
        finally:
            with contextlib.suppress(Exception):  # on the way out: the lease ends by itself too
                await self._database.write(lambda tx: drop_lease(tx, LEASE, self._holder))

    async def _whole_cycle(self, watch: bool) -> None:
        """One cycle, not cut off in the middle when the service stops: what was begun is recorded."""
        task = asyncio.ensure_future(self.cycle(watch))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=_LAST_CYCLE)
            raise
        except Exception:
            LOG.exception("factory cycle failed")

    async def cycle(self, watch: bool = True) -> bool:
        """Look and act once; without `watch` only for what waits. False when another replica holds the lease."""
        if not await self._leads():
            return False
        if watch:
            await self._take_back()
        for element in self._settings.elements:
            if element.name in self._elements and await self._leads():
                await self._guarded(element, watch)
        return True

    async def _leads(self) -> bool:
        seconds = max(10, round(3 * self._settings.factory.interval))
        try:
            return await self._database.write(lambda tx: take_lease(tx, LEASE, self._holder, seconds))
        except self._database.integrity_error:
            return False  # the very first lease, and another replica was faster

    async def _guarded(self, element: ElementSettings, watch: bool) -> None:
        pause = self._pauses[element.name]
        if self._clock.monotonic() < pause.until:
            return
        try:
            if watch:
                await self._watch(element)
            for vo in element.vos:
                await self._supply(element, vo)
            pause.failures = 0
        except ElementError as error:
            pause.failures += 1
            wait = min(_LONGEST_PAUSE, self._settings.factory.interval * 2**pause.failures)
            pause.until = self._clock.monotonic() + wait
            LOG.warning("%s; again in %.0f s", error, wait)

    # -- what is there

    async def _watch(self, element: ElementSettings) -> None:
        """End pilots that the element reports gone, or that were never sent."""
        alive = await self._database.read(lambda tx: pilots.at_element(tx, element.name))
        gone = {pilot.id: (PilotStatus.FAILED, why) for pilot in alive if (why := self._overdue(pilot))}
        unused = 0
        for vo in sorted({pilot.vo for pilot in alive}.intersection(element.vos)):
            known = {pilot.reference: pilot for pilot in alive if pilot.vo == vo and pilot.reference}
            if not known:
                continue
            token = await self._compute_token(element, vo)
            found = await self._elements[element.name].statuses(list(known), token)
            for reference, status in found.items():
                if status in PILOT_FINAL:
                    pilot = known[reference]
                    unused += pilot.status == PilotStatus.SUBMITTED
                    gone[pilot.id] = (status, "its compute element reports it gone")
        for pilot_id, (status, why) in gone.items():
            await self._end(pilot_id, status, why)
        if unused:
            raise ElementError(f"{element.name}: {unused} pilots ended before they asked for work")

    def _overdue(self, pilot: pilots.PilotRow) -> str:
        """Why a pilot is given up without asking its element; empty when it is not."""
        now, lifetimes = self._clock.now(), self._settings.lifetimes
        if pilot.status == PilotStatus.SUBMITTED:
            if not pilot.reference and now - pilot.submitted_at > UNSENT:
                return "recorded, but not sent"
            if now - pilot.submitted_at > lifetimes.pilot_secret:
                return "its secret expired before it started"
        if not pilot.reference and not pilot.job_id and now - pilot.seen_at > UNSENT:
            return "not heard of, and its compute element does not know it"
        return ""

    async def _end(self, pilot_id: str, status: PilotStatus, why: str) -> None:
        lifetime = self._settings.lifetimes.job_token
        await self._database.write(lambda tx: pilots.end(tx, pilot_id, status, why, token_lifetime=lifetime))

    async def _take_back(self) -> None:
        """Jobs of runs that are silent for too long."""
        lifetime, factory = self._settings.lifetimes.job_token, self._settings.factory
        for run in await self._database.read(lambda tx: watchdog.silent(tx, factory)):
            pilot = await self._database.read(lambda tx, run=run: pilots.get(tx, run.pilot_id))  # type: ignore[misc]
            taken = await self._database.write(
                lambda tx, run=run: watchdog.take_back(tx, run, factory, lifetime)  # type: ignore[misc]
            )
            if taken is not None:
                await self._stop(pilot)

    async def _stop(self, pilot: pilots.PilotRow) -> None:
        element = next((one for one in self._settings.elements if one.name == pilot.element), None)
        if element is None or pilot.element not in self._elements or not pilot.reference:
            return
        try:
            token = await self._compute_token(element, pilot.vo)
            await self._elements[pilot.element].kill([pilot.reference], token)
        except ElementError as error:
            LOG.warning("pilot %s not stopped: %s", pilot.id, error)

    # -- what is needed

    async def _supply(self, element: ElementSettings, vo: str) -> None:
        """Send as many pilots as there are jobs that none is coming for, and room for."""
        group = self._pilot_group(vo)
        if group is None:
            return

        def missing(tx: Tx) -> int:
            room = element.max_pilots - len(pilots.at_element(tx, element.name))
            if room <= 0:
                return 0
            coming = demand.coming(tx, [one for one in self._settings.elements if vo in one.vos], vo)
            return min(room, demand.waiting(tx, element, vo, coming + room) - coming)

        for _ in range(await self._database.read(missing)):
            await self._send(element, vo, group)

    def _pilot_group(self, vo: str) -> str | None:
        """The group of a VO whose pilots may run everybody's jobs."""
        groups = self._groups.by_name.values()
        names = sorted(one.name for one in groups if one.vo == vo and "GenericPilot" in one.properties)
        if not names:
            LOG.warning("no group of %s has the property GenericPilot, so it gets no pilots", vo)
        return names[0] if names else None

    async def _send(self, element: ElementSettings, vo: str, group: str) -> None:
        pilot_id = secrets.token_hex(16)
        lifetime = self._settings.lifetimes.pilot_secret

        def intend(tx: Tx) -> str:
            pilots.add(tx, pilot_id, vo=vo, group=group, element=element.name, site=element.site)
            audit.record(
                tx, "pilot.intended", actor=CLIENT, subject=PILOT + pilot_id, element=element.name, vo=vo
            )
            return pilot_secrets.issue(tx, self._seal, pilot_id=pilot_id, group=group, lifetime=lifetime)

        secret = SecretStr(await self._database.write(intend))
        spec = PilotSpec(
            pilot_id=pilot_id,
            vo=vo,
            secret=secret,
            url=self._settings.server.base_url,
            site=element.site,
            ce=element.name,
            tags=element.tags,
            cpu_time=element.cpu_time,
            heartbeat=self._settings.factory.heartbeat,
        )
        try:
            token = await self._compute_token(element, vo)
            reference = await self._elements[element.name].submit(spec, token)
        except ElementError as error:
            await self._end(pilot_id, PilotStatus.FAILED, str(error))
            raise
        await self._database.write(lambda tx: self._sent(tx, pilot_id, reference))

    def _sent(self, tx: Tx, pilot_id: str, reference: str) -> None:
        pilots.refer(tx, pilot_id, reference)
        audit.record(tx, "pilot.sent", actor=CLIENT, subject=PILOT + pilot_id, reference=reference)

    async def _compute_token(self, element: ElementSettings, vo: str) -> str:
        """A token for exactly this element (WLCG profile, RS256: what compute elements take), used for a while."""
        known = self._tokens.get((element.name, vo))
        now = self._clock.now()
        if known is not None and known.expires_at - now > known.lifetime // 2:
            return known.token
        audience = self._elements[element.name].audience
        await self._database.write(
            lambda tx: audit.record(
                tx,
                "compute.issued",
                actor=CLIENT,
                subject=element.name,
                vo=vo,
                audience=audience,
                scope=SCOPE,
            )
        )
        minted = self._tokens[element.name, vo] = self._mint.access_token(
            "RS256",
            self._settings.lifetimes.compute_token,
            subject=CLIENT,
            client_id=CLIENT,
            scope=SCOPE,
            audience=audience,
            issuer=vo_issuer(self._settings.server.base_url, vo),
            claims={"kind": "compute"},
        )
        return minted.token
