"""What the database holds before the server starts: pilots without work, and jobs that wait in many queues.

Queues and the first job of each come in through the service's own `submit`; copies of these jobs, one by one the
same as if submitted, are multiplied inside SQLite, since a million submissions would take longer than the bench.
"""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gatehouse.cli.server import open_database, open_seal
from gatehouse.registry import configuration, directory, schema
from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.database import Database, Tx, insertion
from gatehouse.registry.models import User
from gatehouse.registry.settings import Settings
from gatehouse.tokenmanager import keys
from gatehouse.tokenmanager.dpop import Proofs
from gatehouse.tokenmanager.issue import Mint
from gatehouse.tokenmanager.principal import Principal
from gatehouse.tokenmanager.prover import Prover
from gatehouse.tokenmanager.verify import confirmation
from gatehouse.wms import submit
from gatehouse.wms.intake import Manifest
from gatehouse.wms.models import Pilot
from gatehouse.wms.queues import Need, need
from gatehouse.wms.states import PilotStatus

VO, GROUP, PILOT_GROUP = "training.egi.eu", "training_user", "training_pilot"
SITES = tuple(f"LCG.Site{number:02d}.org" for number in range(50))
SITE, ELEMENT = SITES[7], "ce07.site07.org"
PILOTS = 24_576
OWNERS = 100
_SECONDS = (3600, 21600, 86400, 172800)
_ADD_PILOT, _ADD_USER = insertion(Pilot), insertion(User)


def pilot_id(number: int) -> str:
    """The id of the pilot of that number."""
    return f"{number:032x}"


def fill(config: Path, queues: int, jobs: int) -> None:
    """Prepare the empty database of a configuration: `queues` queues and as many jobs in each as make `jobs`."""
    settings = configuration.load(config)
    with _opened(settings) as database:
        schema.prepare(database)
        database.write_now(_add_pilots)
        asyncio.run(_first_jobs(database, queues))
        path = database.url.database
    assert path is not None
    _multiply(path, queues, jobs // queues)


def pilot_tokens(config: Path, numbers: range) -> list[str]:
    """Tokens of pilots, minted with the key ring of the running server's database."""
    settings = configuration.load(config)
    mint = _mint(settings)
    return [_pilot_token(mint, number) for number in numbers]


def bound_pilots(config: Path, numbers: range) -> list[tuple[str, Prover]]:
    """The same with a key of its own for each pilot, which knows a nonce that is good for five minutes."""
    settings = configuration.load(config)
    mint, made = _mint(settings), []
    nonce = Proofs(open_seal(settings), settings.server.base_url, SYSTEM).nonce()
    for number in numbers:
        prover = Prover()
        prover.hear(nonce)
        made.append((_pilot_token(mint, number, f"jkt:{prover.thumbprint}"), prover))
    return made


def _mint(settings: Settings) -> Mint:
    with _opened(settings) as database:
        ring = keys.load(database, open_seal(settings))
    return Mint(ring, settings.issuer, f"{settings.server.base_url}/api", SYSTEM)


def _pilot_token(mint: Mint, number: int, binding: str = "") -> str:
    claims = {"kind": "pilot", "group": PILOT_GROUP, **confirmation(binding)}
    subject = f"pilot:{pilot_id(number)}"
    return mint.access_token(
        "ES256", 3600, subject=subject, client_id="gatehouse-pilot", scope="pilot", claims=claims
    ).token


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    try:
        yield database
    finally:
        database.close()


def _add_pilots(tx: Tx) -> None:
    now = tx.clock.now()
    common = {
        "vo": VO,
        "group_name": PILOT_GROUP,
        "element": ELEMENT,
        "site": SITE,
        "status": PilotStatus.SUBMITTED.value,
        "reference": "",
        "message": "",
        "job_id": 0,
        "submitted_at": now,
        "seen_at": now,
        "ended_at": None,
    }
    tx.many(_ADD_PILOT, [{**common, "id": pilot_id(number)} for number in range(PILOTS)])


async def _first_jobs(database: Database, queues: int) -> None:
    """One job for each queue: a hundred owners whose jobs ask for different things."""
    draw = random.Random(7)
    for owner in range(OWNERS):
        many = len(range(owner, queues, OWNERS))
        jobs: dict[Need, Manifest] = {}
        while len(jobs) < many:
            job = _job(len(jobs), draw)
            jobs.setdefault(need(job), job)
        if jobs:
            await database.write(lambda tx, owner=owner: _enrol(tx, _owner(owner)))  # type: ignore[misc]
            await submit.submit(database, _owner(owner), list(jobs.values()), draw)


def _enrol(tx: Tx, owner: Principal) -> None:
    """A person who is a member of the group: a job whose owner is not is not matched."""
    tx.run(
        _ADD_USER,
        id=owner.subject,
        username=owner.username,
        name="",
        email="",
        status="active",
        created_at=tx.clock.now(),
        options="{}",
    )
    directory.replace_memberships(tx, owner.subject, "bench", [(owner.group, "bench")])


def _job(number: int, draw: random.Random) -> Manifest:
    """A job: some may run anywhere, some at three sites, some ask for a tag or for eight processors."""
    where = draw.random()
    sites = [] if where < 0.1 else draw.sample(SITES, 3 if where > 0.9 else 1)
    return Manifest(
        executable="/cvmfs/experiment.org/bin/simulate",
        arguments=f"--events 1000 --seed {number}",
        name=f"simulation_{number}",
        job_group=f"production_{number % 50}",
        cpu_time=draw.choice(_SECONDS),
        priority=draw.randrange(11),
        sites=sites,
        tags=[f"tag{draw.randrange(20)}"] if draw.random() < 0.1 else [],
        number_of_processors=8 if draw.random() < 0.1 else 1,
    )


def _owner(number: int) -> Principal:
    return Principal(
        kind="person",
        subject=f"00000000-0000-4000-8000-{number:012d}",
        username=f"owner{number}",
        group=GROUP,
        vo=VO,
        properties=frozenset({"NormalUser"}),
        client_id="bench",
        token_id="",
        grant="",
        actor="",
        job=None,
        claim="",
        scope="",
        audience=(),
        issued_at=0,
        expires_at=0,
    )


def _multiply(path: str, queues: int, copies: int) -> None:
    """Copy every job, with its history, until there are `copies` of each. Nobody else has the file open."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        run = connection.execute
        run("PRAGMA journal_mode=OFF").fetchall()  # a crash here loses a scratch file, no more
        run("PRAGMA synchronous=OFF")
        run("PRAGMA cache_size=-400000")
        run("BEGIN")
        indexes = run("SELECT name, sql FROM sqlite_master WHERE type='index' AND sql IS NOT NULL").fetchall()
        indexes = [(name, text) for name, text in indexes if name.startswith(("ix_job_",))]
        for name, _ in indexes:
            run(f"DROP INDEX {name}")
        for table, key in (("job", "id"), ("job_event", "job_id")):
            columns = [row[1] for row in run(f"PRAGMA table_info({table})")]
            others = [name for name in columns if name not in ("id", key)]
            run(
                f"WITH RECURSIVE copy(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copy WHERE n < ?)"
                f" INSERT INTO {table} ({key}, {', '.join(others)})"
                f" SELECT {key} + n * ?, {', '.join(others)} FROM copy CROSS JOIN"
                f" (SELECT * FROM {table} ORDER BY {key})",
                (copies - 1, queues),
            )
        run("UPDATE counter SET value = ? WHERE name = 'job'", (queues * copies,))
        for _, text in indexes:
            run(text)
        run("COMMIT")
        run("PRAGMA journal_mode=WAL").fetchall()
