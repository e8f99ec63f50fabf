"""Sandboxes: stored whole, fetched by who may, and nobody learns what others have."""

import asyncio
import hashlib
import random

import pytest
from sqlalchemy import bindparam, update

from gatehouse.registry.database import Database, Statement, sql, table
from gatehouse.registry.errors import Problem
from gatehouse.tokenmanager.principal import Principal
from gatehouse.wms import jobs, sandboxes
from gatehouse.wms.models import CHUNK, SandboxChunk
from gatehouse.wms.sandboxes import Stored
from tests.wms.kit import ALICE, LIFETIME, manifests, must_match, new_pilot, principal, run_of, submitted

BOB = principal("bob", "training_user", "NormalUser")


def store(database: Database, content: bytes, who: Principal = ALICE) -> Stored:
    return asyncio.run(sandboxes.store(database, who, content))


def fetch(database: Database, name: str, who: Principal = ALICE) -> bytes:
    return database.read_now(lambda tx: sandboxes.fetch(tx, who, name))


def not_there(database: Database, name: str, who: Principal) -> dict[str, object]:
    with pytest.raises(Problem) as caught:
        fetch(database, name, who)
    assert caught.value.status == 404
    return caught.value.body()


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, sandboxes.LIMIT])
def test_what_is_stored_comes_back(database: Database, size: int) -> None:
    content = random.Random(size).randbytes(size)
    stored = store(database, content)
    assert stored == (f"SB:{hashlib.sha256(content).hexdigest()}", size)
    assert fetch(database, stored.id) == content


def test_the_same_content_is_stored_once_even_at_once(database: Database) -> None:
    async def together() -> list[Stored]:
        return await asyncio.gather(*(sandboxes.store(database, ALICE, b"same") for _ in range(8)))

    assert len(set(asyncio.run(together()))) == 1
    assert fetch(database, store(database, b"same").id) == b"same"


@pytest.mark.parametrize(("content", "status"), [(b"", 400), (b"x" * (sandboxes.LIMIT + 1), 413)])
def test_size_has_bounds(database: Database, content: bytes, status: int) -> None:
    with pytest.raises(Problem) as caught:
        store(database, content)
    assert caught.value.status == status


def test_who_may_fetch(database: Database) -> None:
    name = store(database, b"alice's").id
    for who in (
        principal("eve", "training_admin", "JobAdministrator"),
        principal("carol", "training_user", "JobSharing"),
    ):
        assert fetch(database, name, who) == b"alice's"
    missing = not_there(database, "SB:" + "0" * 64, BOB)
    for who in (
        BOB,
        principal("alice", "other_group", "NormalUser"),
        principal("eve", "training_user", "JobMonitor"),
        principal("eve", "training_admin", "JobAdministrator", vo="other"),
    ):
        assert not_there(database, name, who) == missing


def test_two_owners_of_the_same_content_do_not_share_it(database: Database) -> None:
    name = store(database, b"same").id
    assert store(database, b"same", BOB).id == name
    assert fetch(database, name, BOB) == b"same"


def test_a_run_fetches_the_inputs_of_its_job_and_no_others(database: Database) -> None:
    name, other = store(database, b"input").id, store(database, b"other").id
    submitted(database, manifests(1, input_sandbox=[name]))
    run = run_of(must_match(database, new_pilot(database)))
    assert fetch(database, name, run) == b"input"
    not_there(database, other, run)


def test_the_output_belongs_to_the_owner_and_the_last_upload_counts(database: Database) -> None:
    job_id = submitted(database)[0]
    assert database.read_now(lambda tx: sandboxes.output(tx, job_id)) is None
    run = run_of(must_match(database, new_pilot(database)))
    asyncio.run(sandboxes.store_output(database, run, job_id, b"first"))
    stored = asyncio.run(sandboxes.store_output(database, run, job_id, b"second"))
    assert asyncio.run(sandboxes.store_output(database, run, job_id, b"second")) == stored
    assert database.read_now(lambda tx: sandboxes.output(tx, job_id)) == b"second"
    assert fetch(database, stored.id) == b"second"


def test_a_run_whose_claim_is_lost_uploads_nothing(database: Database) -> None:
    job_id = submitted(database)[0]
    run = run_of(must_match(database, new_pilot(database)))
    database.write_now(lambda tx: jobs.kill(tx, ALICE, job_id, LIFETIME))
    with pytest.raises(Problem) as caught:
        asyncio.run(sandboxes.store_output(database, run, job_id, b"late"))
    assert caught.value.status == 409
    not_there(database, "SB:" + hashlib.sha256(b"late").hexdigest(), ALICE)


def test_damage_is_noticed(database: Database) -> None:
    name = store(database, b"whole").id
    spoil: Statement[tuple[()]] = sql(update(table(SandboxChunk)).values(content=bindparam("bad")))
    database.write_now(lambda tx: tx.run(spoil, bad=b"spoilt"))
    with pytest.raises(Problem) as caught:
        fetch(database, name)
    assert caught.value.code == "damaged"
