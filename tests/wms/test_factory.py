"""The factory and the local element, with real processes, real tokens and real databases."""

import asyncio
import os
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from pydantic import SecretStr

from gatehouse.registry import audit
from gatehouse.registry.database import Database, Tx
from gatehouse.registry.errors import Problem
from gatehouse.registry.leases import drop_lease, take_lease
from gatehouse.tokenmanager import pilot_secrets
from gatehouse.wms import jobs, pilots, runs
from gatehouse.wms.elements import ElementError, PilotSpec, processes
from gatehouse.wms.elements.credential import checker, vo_issuer
from gatehouse.wms.elements.local import KEEP, LocalElement
from gatehouse.wms.factory import UNSENT, Factory
from gatehouse.wms.states import PilotStatus
from tests.clock import HandClock
from tests.wms.house import BASE, SEAL, House
from tests.wms.kit import ALICE, LIFETIME, VO, manifests, must_match, report, submitted


@pytest.fixture
def house(database: Database, clock: HandClock, tmp_path: Path) -> House:
    return House(database, clock, tmp_path)


on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def cycle(factory: Factory) -> bool:
    return asyncio.run(factory.cycle())


def test_a_lease_has_one_holder_until_it_ends(database: Database, clock: HandClock) -> None:
    def take(holder: str) -> bool:
        return database.write_now(lambda tx: take_lease(tx, "factory", holder, 30))

    assert [take("one"), take("two"), take("one")] == [True, False, True]
    clock.pass_by(30)
    assert [take("two"), take("one")] == [True, False]
    database.write_now(lambda tx: drop_lease(tx, "factory", "one"))
    assert take("one") is False
    database.write_now(lambda tx: drop_lease(tx, "factory", "two"))
    assert take("one") is True


def test_pilots_are_sent_for_jobs_and_no_more_than_needed(house: House) -> None:
    factory = house.factory()
    assert cycle(factory)
    assert house.shelf.sent == []
    submitted(house.database, manifests(2))
    submitted(house.database, manifests(5, sites=["elsewhere"]))
    for _ in range(3):
        cycle(factory)
    assert len(house.shelf.sent) == 2
    submitted(house.database, manifests(10))
    cycle(factory)
    assert len(house.shelf.sent) == house.element.max_pilots
    assert {row.reference for row in house.alive()} == {f"ref-{spec.pilot_id}" for spec in house.shelf.sent}


def test_the_secret_redeems_once_and_the_token_is_for_this_element(house: House) -> None:
    submitted(house.database)
    cycle(house.factory())
    spec = house.shelf.sent[0]
    secret = spec.secret.get_secret_value()
    assert secret not in repr(spec)
    redeemed = house.database.write_now(lambda tx: pilot_secrets.redeem(tx, SEAL, secret))
    assert redeemed == pilot_secrets.Redeemed(spec.pilot_id, "training_pilot")
    token = house.shelf.tokens[0]
    assert jwt.get_unverified_header(token)["alg"] == "RS256"
    check = checker(house.ring, BASE, (VO,), "shelf", house.clock)
    assert check(token, VO, "compute.create") == ""
    kinds = [event.kind for event in house.database.read_now(audit.recent)]
    assert [kind for kind in reversed(kinds) if kind[:7] in ("pilot.i", "pilot.s", "compute")] == [
        *("pilot.intended", "compute.issued", "pilot.sent")
    ]


def test_one_replica_leads(house: House) -> None:
    one, two = house.factory(), house.factory()
    assert [cycle(one), cycle(two), cycle(one)] == [True, False, True]


def test_a_failing_element_is_recorded_and_asked_again_later(house: House) -> None:
    submitted(house.database)
    factory = house.factory()
    house.shelf.broken = True
    cycle(factory)
    house.shelf.broken = False
    cycle(factory)
    assert house.shelf.sent == []
    assert house.alive() == []
    house.clock.pass_by(20)
    cycle(factory)
    assert len(house.shelf.sent) == 1


def test_a_pilot_that_was_recorded_but_never_sent_is_ended(house: House) -> None:
    house.database.write_now(
        lambda tx: pilots.add(tx, "e" * 32, vo=VO, group="training_pilot", element="ce", site="A")
    )
    submitted(house.database)
    factory = house.factory()
    cycle(factory)
    assert house.shelf.sent == []  # it may still be on its way
    house.clock.pass_by(UNSENT + 1)
    cycle(factory)
    assert len(house.shelf.sent) == 1
    assert "e" * 32 not in [row.id for row in house.alive()]


def test_the_job_of_a_dead_pilot_goes_back_at_once(house: House) -> None:
    job_id = submitted(house.database)[0]
    factory = house.factory()
    cycle(factory)
    first = house.shelf.sent[0].pilot_id
    must_match(house.database, first)
    house.shelf.gone[f"ref-{first}"] = PilotStatus.FAILED
    cycle(factory)
    assert len(house.shelf.sent) == 2
    again = must_match(house.database, house.shelf.sent[1].pilot_id)
    assert (again.claim.job_id, again.claim.attempt) == (job_id, 2)


def test_pilots_that_die_unused_slow_the_factory_down(house: House) -> None:
    submitted(house.database)
    factory = house.factory()
    cycle(factory)
    house.shelf.gone = {f"ref-{spec.pilot_id}": PilotStatus.DONE for spec in house.shelf.sent}
    for _ in range(5):
        cycle(factory)
    assert len(house.shelf.sent) == 1
    house.clock.pass_by(60)
    cycle(factory)
    assert len(house.shelf.sent) == 2


@pytest.mark.parametrize(("said", "patience"), [("", 60), ("Running", 600), ("Completing", 600)])
def test_a_silent_run_is_taken_back_but_not_a_moment_early(house: House, said: str, patience: int) -> None:
    job_id = submitted(house.database)[0]
    factory = house.factory()
    cycle(factory)
    match = must_match(house.database, house.shelf.sent[0].pilot_id)
    for status in ("Running", said) if said else ():
        house.database.write_now(
            lambda tx, s=status: runs.report(tx, ALICE, match.claim, report(s), LIFETIME)  # type: ignore[misc]
        )

    def status_of() -> str:
        return house.database.read_now(lambda tx: jobs.get(tx, ALICE, job_id)).status

    house.clock.pass_by(patience - 1)
    cycle(factory)
    assert status_of() == (said or "Matched")
    house.clock.pass_by(1)
    cycle(factory)
    assert status_of() == "Waiting"
    assert house.shelf.killed == [f"ref-{match.claim.pilot_id}"]
    assert match.claim.pilot_id not in [row.id for row in house.alive()]
    with pytest.raises(Problem, match="is lost"):
        house.database.write_now(lambda tx: runs.beat(tx, match.claim, "", renewed=False))
    assert len(house.shelf.sent) == 2


@on_sqlite
def test_a_wake_up_starts_a_cycle_at_once(house: House) -> None:
    async def road() -> None:
        factory = house.factory()
        task = asyncio.create_task(factory.run())
        await asyncio.sleep(0.1)
        await asyncio.to_thread(submitted, house.database)
        factory.wake()
        async with asyncio.timeout(5):
            await house.shelf.came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(road())
    assert cycle(house.factory())  # the lease was let go of


# -- the local element


def spec(number: int = 0, secret: str = "ghp1.secret") -> PilotSpec:
    pilot_id = f"{number:032x}"
    return PilotSpec(pilot_id, VO, SecretStr(secret), BASE, "A", "ce", ("t1", "t2"), 86400, 5)


def wait_for(seen: Callable[[], bool]) -> None:
    for _ in range(400):
        if seen():
            return
        threading.Event().wait(0.05)
    pytest.fail("it did not come to pass within 20 s")


@on_sqlite
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"audience": "gatehouse-local:other"}, "InvalidAudience"),
        ({"issuer": vo_issuer(BASE, "other")}, "InvalidIssuer"),
        ({"issuer": f"{BASE}/auth"}, "InvalidIssuer"),
        ({"scope": "compute.read"}, "lacks the scope"),
    ],
)
def test_a_token_for_something_else_starts_nothing(
    house: House, changed: dict[str, str], reason: str
) -> None:
    with pytest.raises(ElementError, match=reason):
        asyncio.run(house.local().submit(spec(), house.compute_token(**changed)))
    assert not house.element.work_dir.exists()


@on_sqlite
def test_an_expired_or_foreign_token_starts_nothing(house: House) -> None:
    token = house.compute_token()
    for bad in (token[:-6] + "AAAAAA", "x", ""):
        with pytest.raises(ElementError):
            asyncio.run(house.local().submit(spec(), bad))
    house.clock.pass_by(601)
    with pytest.raises(ElementError, match="expired"):
        asyncio.run(house.local().submit(spec(), token))


@on_sqlite
def test_a_pilot_process_is_known_after_a_restart_killed_and_cleaned_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEHOUSE_SECRETS__MASTER_KEY", "must-not-travel")
    token, element = house.compute_token(), house.local()
    reference = asyncio.run(element.submit(spec(), token))
    home = house.element.work_dir / reference
    process = processes.parse((home / "process").read_text())
    assert process is not None
    assert os.getsid(process.pid) == process.pid
    environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert b"must-not-travel" not in environment
    assert b"ghp1.secret" not in environment + arguments
    assert stat.S_IMODE(home.stat().st_mode) == 0o700

    def found(one: LocalElement) -> PilotStatus:
        return asyncio.run(one.statuses([reference], token))[reference]

    assert found(element) is found(house.local()) is PilotStatus.RUNNING
    asyncio.run(house.local().kill([reference], token))
    wait_for(lambda: found(element) is PilotStatus.DONE)
    assert found(house.local()) is PilotStatus.DONE
    house.clock.pass_by(KEEP + 3601)
    fresh = house.compute_token()
    asyncio.run(house.local().statuses([reference], fresh))
    assert not home.exists()
    assert asyncio.run(element.statuses([reference], fresh)) == {reference: PilotStatus.DELETED}


@on_sqlite
def test_no_more_pilots_than_there_is_room_for(house: House) -> None:
    token, element = house.compute_token(), house.local()
    references = [asyncio.run(element.submit(spec(number), token)) for number in range(3)]
    with pytest.raises(ElementError, match="full"):
        asyncio.run(element.submit(spec(3), token))
    for reference in references:
        process = processes.parse((house.element.work_dir / reference / "process").read_text())
        assert process is not None
        processes.signal_session(process, signal.SIGKILL)
    wait_for(lambda: set(asyncio.run(element.statuses(references, token)).values()) == {PilotStatus.DONE})


def test_a_reused_number_is_another_process() -> None:
    mine = processes.look(os.getpid())
    assert mine is not None
    assert processes.alive(mine)
    assert processes.parse(mine.text()) == mine
    assert not processes.alive(processes.Process(mine.pid, mine.started + 1, mine.boot))
    assert not processes.alive(processes.Process(mine.pid, mine.started, "another boot"))


@on_sqlite
@pytest.mark.parametrize("reference", ["../../etc", "", "A" * 32, "0" * 31])
def test_a_reference_is_never_a_path(house: House, reference: str) -> None:
    with pytest.raises(ElementError, match="is no pilot"):
        asyncio.run(house.local().statuses([reference], house.compute_token()))


def test_a_kill_is_heard_by_the_run_over_its_dead_credential(house: House) -> None:
    job_id = submitted(house.database)[0]
    cycle(house.factory())
    match = must_match(house.database, house.shelf.sent[0].pilot_id)

    def kill(tx: Tx) -> jobs.Ended:
        return jobs.kill(tx, ALICE, job_id, LIFETIME)

    assert house.database.write_now(kill).claim == match.claim
    assert house.database.write_now(lambda tx: runs.beat(tx, match.claim, "", renewed=False)) is False
