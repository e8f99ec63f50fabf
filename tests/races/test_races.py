"""64 clients with one code, one device code, one refresh token: exactly one wins, in every round.

What they race for is made by the functions that make it in a login, in the database of the running service.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import func, select

from gatehouse.auth import codes, devices, pending
from gatehouse.auth.pending import Wanted
from gatehouse.auth.providers.relying import challenge
from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.database import Database, Statement, Tx, sql, table
from gatehouse.tokenmanager import refresh, seal
from gatehouse.tokenmanager.models import GrantFamily
from gatehouse.tokenmanager.refresh import Family
from gatehouse.tokenmanager.seal import Seal
from tests.auth.kit import CLIENTS, DEVICE_GRANT, PORTAL, VERIFIER, code_login, redeem
from tests.conftest import scratch
from tests.races.crowd import Answer, Crowd
from tests.service import Service

CONTENDERS = 64
ROUNDS = {"sqlite": 200, "postgresql": 12, "mariadb": 12}
MARK = 611  # seconds that the access tokens live: tells the grants of the race from any other
SCOPE = f"g:training_user lifetime:{MARK}"
SECRET = "only for this test"
LIMITS = "[limits]\ntoken = 10000000\ntoken_burst = 1000000\n"
_C = table(GrantFamily).c
_FAMILIES: Statement[tuple[int]] = sql(select(func.count(_C.id)).where(_C.access_lifetime == MARK))


class World(NamedTuple):
    """Processes on one database, and the login of somebody in it."""

    services: list[Service]
    database: Database
    seal: Seal
    known: Family
    rounds: int

    @property
    def families(self) -> int:
        """How many grants the races have begun."""
        found = self.database.read_now(lambda tx: tx.one(_FAMILIES))
        assert found is not None
        return found[0]

    def race(self, forms: list[dict[str, str]]) -> list[list[Answer]]:
        """A round for each form."""

        async def run() -> list[list[Answer]]:
            ports = [service.port for service in self.services]
            async with Crowd(ports, CONTENDERS) as crowd:
                return [await crowd.race("/auth/token", form) for form in forms]

        return asyncio.run(run())

    def prepared(self, make: Callable[[Tx, "World"], str]) -> list[str]:
        """So many things to race for as there are rounds."""
        return [self.database.write_now(lambda tx: make(tx, self)) for _ in range(self.rounds)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One process on SQLite; two on a database server."""
    kind: str = request.param
    folder = tmp_path_factory.mktemp("first")
    with scratch(kind, folder) as url, ExitStack() as stack:
        services = [stack.enter_context(Service(folder, database_url=url, more=CLIENTS + LIMITS))]
        if kind != "sqlite":
            services.append(
                stack.enter_context(_replica(services[0], url, tmp_path_factory.mktemp("second")))
            )
        sealed = seal.from_text((folder / "master.key").read_text())
        database = stack.enter_context(_opened(url, sealed))
        token = redeem(services[0], code_login(services[0])["code"]).json()["refresh_token"]
        shown = database.read_now(lambda tx: refresh.present(tx, sealed, token))
        assert shown is not None
        yield World(services, database, sealed, shown.family, ROUNDS[kind])
        assert not [one for one in services if "Traceback" in one.log.read_text()]


def _replica(first: Service, url: str, folder: Path) -> Service:
    shutil.copy(first.folder / "master.key", folder / "master.key")
    same = {"GATEHOUSE_SERVER__BASE_URL": first.base}
    return Service(folder, database_url=url, more=CLIENTS + LIMITS, environ=same)


@contextmanager
def _opened(url: str, sealed: Seal) -> Iterator[Database]:
    database = Database(url, SYSTEM, sealed.derive("audit"))
    try:
        yield database
    finally:
        database.close()


def _approved(tx: Tx, world: World, request: str, session: str) -> None:
    who = world.known
    assert pending.approve(
        tx,
        request,
        user_id=who.user_id,
        username=who.username,
        group=who.group,
        session=session,
        auth_time=who.auth_time,
    )


def a_code(tx: Tx, world: World) -> str:
    """An authorization code, as `arrival` gives it when the person has said yes."""
    wanted = Wanted(redirect_uri=PORTAL, challenge=challenge(VERIFIER))
    request = pending.add(tx, "code", client_id="portal", scope=SCOPE, wanted=wanted, lifetime=900)
    _approved(tx, world, request, world.known.session)
    row = pending.by_id(tx, request)
    assert row is not None
    return codes.issue(tx, world.seal, row, 600)


def a_device_code(tx: Tx, world: World) -> str:
    """A device code that the person has approved."""
    started = devices.start(
        tx, world.seal, client_id="DIRAC_CLI", scope=SCOPE, address="", agent="", lifetime=900
    )
    row = devices.by_device_code(tx, world.seal, started.device_code)
    assert row is not None
    _approved(tx, world, row.id, "")
    return started.device_code


def a_refresh_token(tx: Tx, world: World) -> str:
    """The first refresh token of a login by device code."""
    who = world.known
    given = refresh.Terms(
        user_id=who.user_id,
        username=who.username,
        client_id="DIRAC_CLI",
        group=who.group,
        scope="g:training_user",
        audience="",
        access_lifetime=MARK,
        binding="",
        session="",
        auth_time=who.auth_time,
    )
    return refresh.begin(tx, world.seal, refresh.new_id(), given, 86400).token


def one_winner(answers: list[Answer]) -> str:
    """The refresh token of the only one who got tokens; the others were told invalid_grant."""
    assert sorted(one.status for one in answers) == [200] + [400] * (CONTENDERS - 1)
    assert {one.body["error"] for one in answers if one.status == 400} == {"invalid_grant"}
    [token] = [one.body["refresh_token"] for one in answers if one.status == 200]
    return str(token)


def family(world: World, token: str) -> Family:
    """The family of a refresh token."""
    shown = world.database.read_now(lambda tx: refresh.present(tx, world.seal, token))
    assert shown is not None
    return shown.family


def test_rfc6749_4_1_2_of_64_uses_of_a_code_one_wins(world: World) -> None:
    found, before = world.prepared(a_code), world.families
    form = {
        "grant_type": "authorization_code",
        "client_id": "portal",
        "client_secret": SECRET,
        "redirect_uri": PORTAL,
        "code_verifier": VERIFIER,
    }
    rounds = world.race([{**form, "code": code} for code in found])
    winners = [one_winner(answers) for answers in rounds]
    assert world.families == before + world.rounds
    # a second use is a theft for all we know, so it ended what the first one gave
    assert all(family(world, token).ended_at for token in winners)


def test_rfc8628_3_5_of_64_uses_of_a_device_code_one_wins(world: World) -> None:
    found, before = world.prepared(a_device_code), world.families
    form = {"grant_type": DEVICE_GRANT, "client_id": "DIRAC_CLI"}
    rounds = world.race([{**form, "device_code": code} for code in found])
    winners = [one_winner(answers) for answers in rounds]
    assert world.families == before + world.rounds
    assert not any(family(world, token).ended_at for token in winners)


def test_rfc9700_4_14_of_64_uses_of_a_refresh_token_one_turns_it(world: World) -> None:
    """Within the grace all others hear what the winner heard, so that there is one successor and no branch."""
    found, before = world.prepared(a_refresh_token), world.families
    form = {"grant_type": "refresh_token", "client_id": "DIRAC_CLI"}
    rounds = world.race([{**form, "refresh_token": token} for token in found])
    assert world.families == before
    for token, answers in zip(found, rounds, strict=True):
        assert {one.status for one in answers} == {200}
        [successor] = {one.body["refresh_token"] for one in answers}
        assert successor != token
        now = family(world, successor)
        assert (now.generation, now.ended_at) == (1, None)
