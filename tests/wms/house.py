"""A factory, a compute element that only remembers, and all that they need, around a real database."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from gatehouse.registry.database import Database
from gatehouse.registry.settings import ElementSettings, FactorySettings, ServerSettings, Settings
from gatehouse.tokenmanager import keys
from gatehouse.tokenmanager.groups import GroupFacts, Groups
from gatehouse.tokenmanager.issue import Mint
from gatehouse.tokenmanager.seal import Seal
from gatehouse.wms import pilots
from gatehouse.wms.elements import ElementError, PilotSpec
from gatehouse.wms.elements.credential import checker, vo_issuer
from gatehouse.wms.elements.local import LocalElement, audience
from gatehouse.wms.factory import SCOPE, Factory
from gatehouse.wms.states import PilotStatus
from tests.clock import HandClock
from tests.wms.kit import VO

BASE = "http://127.0.0.1:9"  # nobody listens there
SEAL = Seal(bytes(32))


class Shelf:
    """A compute element that keeps what it is given and says what it is told to say."""

    audience = "shelf"

    def __init__(self) -> None:
        self.sent: list[PilotSpec] = []
        self.tokens: list[str] = []
        self.gone: dict[str, PilotStatus] = {}
        self.killed: list[str] = []
        self.broken = False
        self.came = asyncio.Event()

    async def submit(self, spec: PilotSpec, compute_token: str) -> str:
        if self.broken:
            raise ElementError("shelf is full")
        self.sent.append(spec)
        self.tokens.append(compute_token)
        self.came.set()
        return f"ref-{spec.pilot_id}"

    async def statuses(self, references: Sequence[str], compute_token: str) -> Mapping[str, PilotStatus]:
        return {one: self.gone.get(one, PilotStatus.RUNNING) for one in references}

    async def kill(self, references: Sequence[str], compute_token: str) -> None:
        self.killed += references


class House:
    """A database with everything around it that a factory needs."""

    def __init__(self, database: Database, clock: HandClock, directory: Path) -> None:
        self.database, self.clock = database, clock
        self.element = ElementSettings(
            name="ce", type="local", site="A", vos=(VO,), max_pilots=3, work_dir=directory / "work"
        )
        self.settings = Settings(
            elements=(self.element,),
            server=ServerSettings(base_url=BASE),
            factory=FactorySettings(stalled_after=600, matched_timeout=60),
        )
        self.groups = Groups(
            {
                name: GroupFacts(name, VO, frozenset({right}), {})
                for name, right in (("training_user", "NormalUser"), ("training_pilot", "GenericPilot"))
            }
        )
        self.ring = keys.load(database, SEAL)
        self.mint = Mint(self.ring, f"{BASE}/auth", f"{BASE}/api", clock)
        self.shelf = Shelf()

    def factory(self) -> Factory:
        return Factory(
            self.database, self.mint, SEAL, self.settings, self.groups, self.clock, {"ce": self.shelf}
        )

    def alive(self) -> list[pilots.PilotRow]:
        return self.database.read_now(lambda tx: pilots.at_element(tx, "ce"))

    def compute_token(self, **changed: str) -> str:
        given = {"issuer": vo_issuer(BASE, VO), "audience": audience("ce"), "scope": SCOPE, **changed}
        minted = self.mint.access_token(
            "RS256", 600, subject="f", client_id="f", claims={"kind": "compute"}, **given
        )
        return minted.token

    def local(self) -> LocalElement:
        check = checker(self.ring, BASE, (VO,), audience("ce"), self.clock)
        return LocalElement(self.element, check, self.clock)
