"""The end of a session in the database: decided once, on each kind of database, whoever asks at the same moment."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gatehouse.auth import leaving, notices, sessions
from gatehouse.auth.clients import Clients
from gatehouse.auth.sessions import Session
from gatehouse.registry import audit
from gatehouse.registry.database import Database, Tx
from gatehouse.registry.settings import ClientSettings
from gatehouse.tokenmanager import refresh
from gatehouse.tokenmanager.refresh import Terms
from gatehouse.tokenmanager.seal import Seal
from tests.clock import HandClock

SEAL = Seal(bytes(32))
CLIENTS = Clients(
    [
        ClientSettings(client_id=name, backchannel_logout_uri=f"https://{name}.example.org/told")
        for name in ("portal", "other")
    ]
    + [ClientSettings(client_id="silent")]
)


def begin(tx: Tx, user: str = "u1", sid: str = "") -> Session:
    """A session."""
    opened = sessions.begin(
        tx,
        SEAL,
        sid=sid,
        user_id=user,
        username=user,
        provider="idp",
        upstream_sid="theirs",
        upstream_sub=user,
        address="",
        agent="",
        auth_time=1,
        lifetime=3600,
    )
    found = sessions.find(tx, SEAL, opened.cookie)
    assert found is not None
    return found


def grant(tx: Tx, session: Session, client: str, kind: str = "code") -> str:
    """A grant of a session."""
    given = Terms(session.user_id, session.username, client, "g", "openid", "", 60, "", session.sid, 1, kind)
    return refresh.begin(tx, SEAL, refresh.new_id(), given, 86400).family.id


def living(database: Database, user: str = "u1") -> set[str]:
    return {one.id for one in database.read_now(lambda tx: refresh.of(tx, user))}


def test_32_logouts_at_once_are_one(database: Database) -> None:
    session = database.write_now(begin)
    for client in ("portal", "portal", "other", "silent"):
        database.write_now(lambda tx, name=client: grant(tx, session, name))  # type: ignore[misc]
    stays = {
        database.write_now(lambda tx, kind=kind: grant(tx, session, "portal", kind))  # type: ignore[misc]
        for kind in ("offline", "device")
    }

    def out(_: int) -> bool:
        return database.write_now(lambda tx: leaving.leave(tx, CLIENTS, session, "a test", actor="u1"))

    with ThreadPoolExecutor(32) as pool:
        assert sorted(pool.map(out, range(32))) == [False] * 31 + [True]
    waiting = database.read_now(notices.due)
    assert sorted(one.client_id for one in waiting) == ["other", "portal"]
    assert living(database) == stays
    kinds = [one.kind for one in database.read_now(audit.recent)]
    assert kinds.count("session.ended") == 1
    assert kinds.count("grant.ended") == 4


def test_a_grant_that_comes_while_the_browser_logs_out_ends_or_never_was(database: Database) -> None:
    for _ in range(10):
        session = database.write_now(begin)

        def redeemed(_n: int, session: Session = session) -> str:
            return database.write_now(
                lambda tx: grant(tx, session, "portal") if sessions.hold(tx, session.sid) else ""
            )

        def out(session: Session = session) -> bool:
            return database.write_now(lambda tx: leaving.leave(tx, CLIENTS, session, "a test", actor="u1"))

        with ThreadPoolExecutor(9) as pool:
            first = [pool.submit(redeemed, n) for n in range(4)]
            last = pool.submit(out)
            then = [pool.submit(redeemed, n) for n in range(4)]
            assert last.result()
            made = [one.result() for one in first + then]
        assert living(database) == set(), made


def test_everything_ends_and_nothing_of_others(database: Database) -> None:
    ours = [database.write_now(begin) for _ in range(3)]
    theirs = database.write_now(lambda tx: begin(tx, "u2"))
    for session in (*ours, theirs):
        for kind in ("code", "offline", "device"):
            database.write_now(lambda tx, s=session, k=kind: grant(tx, s, "portal", k))  # type: ignore[misc]
    database.write_now(lambda tx: leaving.everything(tx, CLIENTS, "u1", "a test", actor="u1"))
    assert database.read_now(lambda tx: sessions.of(tx, "u1")) == []
    assert living(database) == set()
    assert [one.sid for one in database.read_now(lambda tx: sessions.of(tx, "u2"))] == [theirs.sid]
    assert len(living(database, "u2")) == 3
    assert {one.session for one in database.read_now(notices.due)} == {one.sid for one in ours}


def test_a_notice_is_claimed_once_and_comes_again_later(database: Database, clock: HandClock) -> None:
    session = database.write_now(begin)
    database.write_now(lambda tx: grant(tx, session, "portal"))
    database.write_now(lambda tx: leaving.leave(tx, CLIENTS, session, "a test", actor="u1"))
    for pause in (*notices.PAUSES, notices.PAUSES[-1]):
        (notice,) = database.read_now(notices.due)

        def claim(_: int, notice: notices.Notice = notice) -> bool:
            return database.write_now(lambda tx: notices.claim(tx, notice))

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(claim, range(8))) == [False] * 7 + [True]
        clock.pass_by(pause - 1)
        assert database.read_now(notices.due) == []
        clock.pass_by(1)
    clock.pass_by(86400)
    assert database.write_now(notices.sweep) == 1


@pytest.mark.parametrize("who", ["u1", "u2"])
def test_a_new_login_keeps_the_session_of_the_same_person_alone(database: Database, who: str) -> None:
    old = database.write_now(begin)
    family = database.write_now(lambda tx: grant(tx, old, "portal"))
    sid = database.write_now(lambda tx: leaving.follow(tx, CLIENTS, old, who))
    assert sid == (old.sid if who == "u1" else "")
    new = database.write_now(lambda tx: begin(tx, who, sid))
    assert (new.sid == old.sid) is (who == "u1")
    assert living(database) == ({family} if who == "u1" else set())
