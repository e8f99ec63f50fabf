"""Matching: who gets what, races, and the plans that keep it an index look-up."""

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Select

from gatehouse.registry import audit
from gatehouse.registry.database import Database, Tx, sql
from gatehouse.registry.errors import Problem
from gatehouse.wms import jobs, matcher, queues, reschedule
from gatehouse.wms.intake import Manifest
from gatehouse.wms.matcher import Match
from tests.clock import HandClock
from tests.wms.kit import (
    ALICE,
    LIFETIME,
    VO,
    manifests,
    matched,
    must_match,
    new_pilot,
    offer,
    pilot_of,
    principal,
    submitted,
)


def test_no_job_no_match(database: Database) -> None:
    assert matched(database, new_pilot(database)) is None


def test_the_job_is_assigned_with_its_history_and_record(database: Database) -> None:
    job_id = submitted(database, manifests(1, name="x"))[0]
    pilot = new_pilot(database)
    found = must_match(database, pilot)
    assert (found.claim.job_id, found.claim.pilot_id, found.claim.attempt) == (job_id, pilot, 1)
    assert (found.owner.id, found.owner.username, found.owner.group) == ("id-alice", "alice", "training_user")
    row = database.read_now(lambda tx: jobs.get(tx, ALICE, job_id))
    assert (row.status, row.minor_status, row.site, row.pilot_id) == ("Matched", "Assigned", "A", pilot)
    assert [e.status for e in database.read_now(lambda tx: jobs.log(tx, ALICE, job_id))] == [
        "Waiting",
        "Matched",
    ]
    assert "claim.granted" in [event.kind for event in database.read_now(audit.recent)]


def test_asked_again_it_is_the_same_job_and_no_second_run(database: Database) -> None:
    submitted(database, manifests(3))
    pilot = new_pilot(database)
    assert must_match(database, pilot) == must_match(database, pilot)
    row = database.read_now(lambda tx: jobs.search(tx, ALICE, jobs.Query()))
    assert Counter(one.status for one in row) == {"Waiting": 2, "Matched": 1}


@pytest.mark.parametrize(
    ("asked", "offered", "fits"),
    [
        ({}, {}, True),
        ({"sites": ["A"]}, {}, True),
        ({"sites": ["B", "A"]}, {}, True),
        ({"sites": ["B"]}, {}, False),
        ({"banned_sites": ["A"]}, {}, False),
        ({"banned_sites": ["B"]}, {}, True),
        ({"tags": ["gpu"]}, {}, False),
        ({"tags": ["gpu"]}, {"tags": ["gpu", "big"]}, True),
        ({"tags": ["gpu", "big"]}, {"tags": ["gpu"]}, False),
        ({"platforms": ["el9", "el8"]}, {"tags": ["el9"]}, True),
        ({"platforms": ["el9"]}, {}, False),
        ({"cpu_time": 1000}, {"cpu_time": 1800}, True),
        ({"cpu_time": 1801}, {"cpu_time": 1800}, False),
        ({"number_of_processors": 2}, {}, False),
        ({"number_of_processors": 2}, {"number_of_processors": 4}, True),
    ],
)
def test_what_fits(
    database: Database, asked: dict[str, object], offered: dict[str, object], fits: bool
) -> None:
    submitted(database, manifests(1, **asked))
    assert (matched(database, new_pilot(database), offer(**offered)) is not None) is fits


def test_tags_that_share_a_bit_are_told_apart(database: Database) -> None:
    bit = queues.tag_mask(["gpu"])
    other = next(f"t{n}" for n in range(1000) if queues.tag_mask([f"t{n}"]) == bit)
    submitted(database, manifests(1, tags=["gpu"]))
    assert matched(database, new_pilot(database, 1), offer(tags=[other])) is None
    assert matched(database, new_pilot(database, 2), offer(tags=["gpu"])) is not None


def test_a_fitting_queue_is_found_behind_many_that_do_not_fit(database: Database) -> None:
    many = [Manifest("x", banned_sites=["A"], tags=[], platforms=[f"p{n}"]) for n in range(100)]
    submitted(database, [*many, *manifests(1, banned_sites=["B"])])
    assert matched(database, new_pilot(database)) is not None


def test_higher_priority_first_then_the_oldest(database: Database) -> None:
    low, high, late = (submitted(database, manifests(1, priority=p, name=str(p)))[0] for p in (1, 9, 9))
    order = [must_match(database, new_pilot(database, n)).claim.job_id for n in range(3)]
    assert order == [high, late, low]


def test_a_pilot_serves_its_vo_only_and_without_generic_pilot_its_group_only(database: Database) -> None:
    submitted(database, who=principal("bob", "other_user", "NormalUser", vo="other"))
    pilot = new_pilot(database)
    assert matched(database, pilot) is None
    submitted(database)
    private = pilot_of(pilot, "Pilot", group="training_private")
    assert matched(database, pilot, who=private) is None
    own = pilot_of(pilot, "Pilot", group="training_user")
    assert matched(database, pilot, who=own) is not None


def test_a_pilot_elsewhere_than_it_was_sent_gets_nothing(database: Database) -> None:
    submitted(database)
    for wrong in (offer(site="B"), offer(ce="other")):
        with pytest.raises(Problem, match="was sent to ce at A"):
            matched(database, new_pilot(database, 1) if wrong.site == "B" else f"{1:032x}", wrong)


def test_an_unknown_pilot_gets_nothing(database: Database) -> None:
    with pytest.raises(Problem) as caught:
        matched(database, "f" * 32)
    assert caught.value.status == 404


def test_an_emptied_queue_is_hidden_and_comes_back(database: Database) -> None:
    submitted(database)
    assert matched(database, new_pilot(database, 1))
    assert matched(database, new_pilot(database, 2)) is None

    def choose() -> list[matcher.Found]:
        return database.read_now(lambda tx: matcher.choose(tx, VO, offer(), "*", random.Random(1)))

    assert choose() == []
    submitted(database)
    assert len(choose()) == 1
    assert matched(database, new_pilot(database, 3))


def test_a_job_given_back_wakes_its_hidden_queue(database: Database) -> None:
    job_id = submitted(database)[0]
    pilot = new_pilot(database, 1)
    must_match(database, pilot)
    assert matched(database, new_pilot(database, 2)) is None
    database.write_now(lambda tx: reschedule.give_back(tx, job_id, pilot, token_lifetime=LIFETIME))
    again = must_match(database, new_pilot(database, 3))
    assert (again.claim.job_id, again.claim.attempt) == (job_id, 2)


def test_a_job_that_came_in_meanwhile_keeps_its_queue_open(database: Database) -> None:
    submitted(database)
    queue = database.read_now(lambda tx: jobs.search(tx, ALICE, jobs.Query()))[0].queue_id
    seen = database.read_now(lambda tx: queues.stamp(tx, queue))
    submitted(database)
    database.write_now(lambda tx: queues.close(tx, queue, seen))
    assert matched(database, new_pilot(database)) is not None


def test_groups_are_served_by_their_shares(database: Database) -> None:
    for name, share in (("a", 3000), ("b", 1000)):
        who = principal(name, f"training_{name}", "NormalUser")
        submitted(database, manifests(200), who, share)
    draw = random.Random(7)

    async def serve() -> Counter[str]:
        given: Counter[str] = Counter()
        for number in range(120):
            found = await matcher.match(database, pilot_of(f"{number:032x}"), offer(), draw)
            assert found is not None
            given[found.owner.group] += 1
        return given

    for number in range(120):
        new_pilot(database, number)
    given = asyncio.run(serve())
    assert 75 <= given["training_a"] <= 105  # 90 expected


def test_sixteen_pilots_at_once_get_each_job_once(database: Database) -> None:
    ids = submitted(database, [*manifests(25), *manifests(25, cpu_time=100)])
    for number in range(60):
        new_pilot(database, number)

    def ask(number: int) -> Match | None:
        return matched(database, f"{number:032x}", seed=number)

    with ThreadPoolExecutor(16) as threads:
        found = [match for match in threads.map(ask, range(60)) if match is not None]
    # a request that met only jobs being taken may go without; nobody gets what another has
    taken = [match.claim.job_id for match in found]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(ids)
    for number in range(60, 120):
        new_pilot(database, number)
        if (late := ask(number)) is not None:
            taken.append(late.claim.job_id)
    assert sorted(taken) == ids


def test_one_pilot_that_asks_sixteen_times_at_once_gets_one_job(database: Database) -> None:
    submitted(database, manifests(20))
    pilot = new_pilot(database)
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda seed: matched(database, pilot, seed=seed), range(16)))
    assert len({match.claim for match in found if match is not None}) == 1
    rows = database.read_now(lambda tx: jobs.search(tx, ALICE, jobs.Query()))
    assert Counter(row.status for row in rows) == {"Waiting": 19, "Matched": 1}


def test_a_kill_and_a_match_at_once_have_one_outcome(database: Database) -> None:
    for number in range(10):
        job_id = submitted(database)[0]
        pilot = new_pilot(database, number)

        def kill(tx: Tx, job_id: int = job_id) -> jobs.Ended:
            return jobs.kill(tx, ALICE, job_id, LIFETIME)

        with ThreadPoolExecutor(2) as threads:
            match = threads.submit(matched, database, pilot)
            ended = threads.submit(database.write_now, kill).result()
            claim = match.result()
        assert [
            row.status for row in database.read_now(lambda tx: jobs.search(tx, ALICE, jobs.Query(limit=1)))
        ] == ["Killed"]
        # a run was revoked exactly when there was one
        assert (ended.claim is not None) == (claim is not None)


def _plan(database: Database, clause: Select[tuple[object, ...]], **values: object) -> str:
    text = sql(clause).on(database.engine.dialect).text
    preset = sql(clause).on(database.engine.dialect).preset
    order = sql(clause).on(database.engine.dialect).order or ()
    connection = database.engine.raw_connection()
    try:
        cursor = connection.cursor()
        given = {**preset, **values}
        cursor.execute("EXPLAIN QUERY PLAN " + text, tuple(given[name] for name in order))
        return " / ".join(row[3] for row in cursor.fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_match_is_two_index_look_ups(database: Database, clock: HandClock) -> None:
    submitted(database, [Manifest("x", sites=[f"S{n}"]) for n in range(300)])
    job = _plan(database, matcher.job_look_up(), queue="q")
    assert "USING INDEX ix_job_match (queue_id=? AND status=?)" in job
    queue = _plan(
        database,
        matcher.queue_look_up(),
        **dict.fromkeys(("low", "high", "seconds", "cores", "lacking"), 0),
        community="",
        place="",
        serves="",
    )
    wanted = "USING INDEX ix_queue_site_match (vo=? AND site=? AND waiting=? AND lot>? AND lot<?)"
    assert wanted in queue
    for plan in (job, queue):
        assert "SCAN" not in plan
        assert "TEMP B-TREE" not in plan
