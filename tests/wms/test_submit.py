"""Submission: what is refused by name, ids, rows, history, queues and the record, on real databases."""

import asyncio
import json
import random
from typing import Any

import pytest
from sqlalchemy import select

from gatehouse.registry import audit
from gatehouse.registry.database import Database, sql, table
from gatehouse.registry.errors import Problem
from gatehouse.wms import history, intake, jobs, policy, submit
from gatehouse.wms.models import QueueSite, TaskQueue
from gatehouse.wms.states import JobStatus
from tests.clock import HandClock
from tests.wms.kit import ALICE, LIFETIME, manifests, must_match, new_pilot, principal, submitted


def body(**fields: object) -> bytes:
    return json.dumps({"jobs": [{"executable": "a"}, {"executable": "/bin/echo", **fields}]}).encode()


def refusal(data: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        intake.submission(data)
    assert (caught.value.status, caught.value.code) == (400, "invalid_job")
    return caught.value


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"priority": 11}, "jobs[1].priority"),
        ({"cpu_time": 0}, "jobs[1].cpu_time"),
        ({"cpu_time": "1"}, "jobs[1].cpu_time"),
        ({"number_of_processors": 2**40}, "jobs[1].number_of_processors"),
        ({"tags": ["x"] * 65}, "jobs[1].tags"),
        ({"executable": ""}, "jobs[1].executable"),
        ({"executable": None}, "jobs[1].executable"),
        ({"input_sandbox": ["SB:../../etc/passwd"]}, "jobs[1].input_sandbox["),
        ({"environment": {"A=B": "c"}}, "jobs[1].environment"),
        ({"name": "a\nb"}, "jobs[1].name"),
        ({"std_output": "../x"}, "jobs[1].std_output"),
        ({"output_sandbox": ["/etc/passwd"]}, "jobs[1].output_sandbox"),
        ({"executible": "x"}, "jobs[1].executible"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, object], path: str) -> None:
    assert str(refusal(body(**fields)).facts["field"]).startswith(path)


def test_a_job_without_executable_is_refused_by_name() -> None:
    assert refusal(b'{"jobs": [{}]}').facts["field"] == "jobs[0].executable"


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"jobs": []}', b'{"jobs": {}}', b"\xff", b"[" * 100_000, body(arguments="a\0b")],
)
def test_what_is_no_submission_is_refused(data: bytes) -> None:
    refusal(data)


def test_a_thousand_jobs_and_no_more() -> None:
    one = {"executable": "x"}
    assert len(intake.submission(json.dumps({"jobs": [one] * 1000}).encode())) == 1000
    assert refusal(json.dumps({"jobs": [one] * 1001}).encode()).facts["field"] == "jobs"


def test_a_nul_written_as_text_is_no_nul() -> None:
    assert intake.submission(body(arguments="\\u0000"))[1].arguments == "\\u0000"


def test_a_manifest_that_no_column_holds_is_refused(database: Database) -> None:
    environment = {f"V{n}": "ä" * 4096 for n in range(20)}
    with pytest.raises(Problem) as caught:
        submitted(database, manifests(1, environment=environment))
    assert caught.value.facts == {"field": "jobs[0]"}


def test_ids_are_consecutive_and_each_job_has_its_history(database: Database, clock: HandClock) -> None:
    first, second = submitted(database, manifests(3)), submitted(database, manifests(2, name="ünï"))
    assert first + second == list(range(first[0], first[0] + 5))
    row = database.read_now(lambda tx: jobs.get(tx, ALICE, second[0]))
    assert (row.name, row.status, row.owner, row.site) == ("ünï", "Waiting", "alice", "ANY")
    assert row.submitted_at == clock.now()
    for job_id in first + second:
        events = database.read_now(lambda tx, job_id=job_id: history.of_job(tx, job_id))  # type: ignore[misc]
        assert [event.status for event in events] == ["Waiting"]


def test_one_event_goes_on_record_for_one_submission(database: Database) -> None:
    ids = submitted(database, manifests(7))
    events = [e for e in database.read_now(audit.recent) if e.kind == "jobs.submitted"]
    assert [(e.subject, json.loads(e.facts)["jobs"]) for e in events] == [(f"job:{ids[0]}", 7)]


def test_jobs_that_ask_for_the_same_share_a_queue(database: Database) -> None:
    different = [
        *manifests(5),
        *manifests(1, cpu_time=50_000),  # rounded up to the day that the others ask for
        *manifests(1, cpu_time=200),
        *manifests(1, sites=["B", "A"]),
        *manifests(1, sites=["A", "B", "A"]),
        *manifests(1, tags=["gpu"]),
    ]
    submitted(database, different)
    submitted(database, manifests(1), principal("bob", "training_user", "NormalUser"))
    queues: list[Any] = database.read_now(lambda tx: tx.all(sql(select(table(TaskQueue).c.id))))
    sites: list[Any] = database.read_now(lambda tx: tx.all(sql(select(table(QueueSite).c.site))))
    assert len(queues) == 5
    assert sorted(site for (site,) in sites) == ["", "", "", "", "A", "B"]


def test_an_input_sandbox_must_be_ones_own(database: Database) -> None:
    from gatehouse.wms import sandboxes

    bob = principal("bob", "training_user", "NormalUser")
    name = asyncio.run(sandboxes.store(database, bob, b"bob's")).id
    assert submitted(database, manifests(1, input_sandbox=[name, name]), bob)
    with pytest.raises(Problem) as caught:
        submitted(database, manifests(3, input_sandbox=[name]))
    assert caught.value.code == "invalid_job"
    assert database.read_now(lambda tx: jobs.search(tx, ALICE, jobs.Query())) == []


def test_sixteen_submissions_at_once_get_different_ids(database: Database) -> None:
    async def together() -> list[list[int]]:
        draw = random.Random(1)
        return await asyncio.gather(*(submit.submit(database, ALICE, manifests(5), draw) for _ in range(16)))

    submitted(database)  # makes the counter and the queue, as any service that has run for a second
    ids = [job_id for part in asyncio.run(together()) for job_id in part]
    assert sorted(ids) == list(range(min(ids), min(ids) + 80))


def test_the_first_submissions_ever_may_come_together(database: Database) -> None:
    async def together() -> list[list[int]]:
        draw = random.Random(1)
        return await asyncio.gather(*(submit.submit(database, ALICE, manifests(1), draw) for _ in range(2)))

    assert sorted(asyncio.run(together())) == [[1], [2]]


def test_lists_show_what_one_may_see(database: Database, clock: HandClock) -> None:
    bob = principal("bob", "training_user", "NormalUser")
    mine, his = submitted(database, manifests(2, job_group="g")), submitted(database, manifests(1), bob)
    clock.pass_by(3 * 86400)
    late = submitted(database, manifests(1, name="late"))

    def listed(who: Any, **fields: Any) -> list[int]:
        rows = database.read_now(lambda tx: jobs.search(tx, who, jobs.Query(**fields)))
        return sorted(row.id for row in rows)

    assert listed(ALICE) == mine + late
    assert listed(ALICE, owner="*") == mine + late
    assert listed(ALICE, owner="bob") == []
    assert listed(ALICE, ids=(*mine, *his)) == mine
    assert listed(ALICE, job_group="g") == mine
    assert listed(ALICE, name="late") == listed(ALICE, days=2) == late
    assert listed(ALICE, limit=1) == late
    assert listed(ALICE, status=(JobStatus.RUNNING,)) == listed(ALICE, final=True) == []
    assert listed(ALICE, final=False) == mine + late
    for right in ("JobMonitor", "JobAdministrator"):
        assert listed(principal("eve", "training_admin", right), owner="*") == mine + his + late
        assert listed(principal("eve", "other", right, vo="other"), owner="*") == []
    sharing = principal("carol", "training_user", "NormalUser", "JobSharing")
    assert listed(sharing) == []
    assert listed(sharing, owner="*") == mine + his + late
    assert listed(sharing, owner="bob") == his
    assert listed(principal("carol", "elsewhere", "JobSharing"), owner="*") == []


def test_a_waiting_job_is_killed_once_and_deleted(database: Database) -> None:
    job_id = submitted(database)[0]
    assert database.write_now(lambda tx: jobs.kill(tx, ALICE, job_id, LIFETIME)).status is JobStatus.KILLED
    assert database.write_now(lambda tx: jobs.kill(tx, ALICE, job_id, LIFETIME)).status is JobStatus.KILLED
    assert database.write_now(lambda tx: jobs.delete(tx, ALICE, job_id, LIFETIME)).status is JobStatus.DELETED
    with pytest.raises(Problem) as caught:
        database.write_now(lambda tx: jobs.kill(tx, ALICE, job_id, LIFETIME))
    assert caught.value.status == 409
    events = database.read_now(lambda tx: jobs.log(tx, ALICE, job_id))
    assert [event.status for event in events] == ["Waiting", "Killed", "Deleted"]
    assert database.read_now(lambda tx: jobs.search(tx, ALICE, jobs.Query())) == []


def test_a_job_on_a_pilot_has_to_be_killed_before_it_is_deleted(database: Database) -> None:
    job_id = submitted(database)[0]
    must_match(database, new_pilot(database))
    with pytest.raises(Problem, match="cannot become Deleted") as caught:
        database.write_now(lambda tx: jobs.delete(tx, ALICE, job_id, LIFETIME))
    assert "dkill" in caught.value.hint


def test_another_ones_job_is_not_there(database: Database) -> None:
    job_id = submitted(database)[0]
    for work in (jobs.kill, jobs.delete):
        with pytest.raises(Problem) as caught:
            database.write_now(
                lambda tx, work=work: work(tx, principal("bob"), job_id, LIFETIME)  # type: ignore[misc]
            )
        assert caught.value.body() == policy.no_job(job_id).body()
    assert database.read_now(lambda tx: jobs.get(tx, ALICE, job_id)).status == "Waiting"


@pytest.mark.parametrize(
    ("given", "share"),
    [("500", 500), (500, 500), ("0", 1), ("-1", 1000), ("x", 1000), ("", 1000), ("9" * 30, 1_000_000)],
)
def test_the_share_of_a_group_is_bounded(given: object, share: int) -> None:
    assert submit.share_of({"JobShare": given}) == share
