"""Refresh tokens: one winner, one successor for a lost answer, and the end of the family for a thief."""

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import text

from gatehouse.registry import audit, schema
from gatehouse.registry.database import Database, Tx
from gatehouse.tokenmanager import refresh
from gatehouse.tokenmanager.refresh import Family, NotTurned, Turned
from gatehouse.tokenmanager.revoke import Revocations
from gatehouse.tokenmanager.seal import Seal
from tests.clock import HandClock

SEAL = Seal(bytes(range(32)))
GRACE = 60
LIFETIME = 86400


def begin(database: Database, client: str = "cli", lifetime: int = LIFETIME) -> Turned:
    """A login."""
    given = refresh.Terms("u-1", "ada", client, "otter_user", "openid", "", 3600, "", "", 0)
    return database.write_now(lambda tx: refresh.begin(tx, SEAL, refresh.new_id(), given, lifetime))


def turn(
    database: Database, token: str, client: str = "cli", grace: int = GRACE, seal: Seal = SEAL
) -> Turned | NotTurned:
    """Use a token."""

    def work(tx: Tx) -> Turned | NotTurned:
        shown = refresh.present(tx, seal, token)
        if shown is None:
            return NotTurned("This is not a refresh token of this service.")
        return refresh.turn(tx, seal, shown, client, grace)

    return database.write_now(work)


def turned(database: Database, token: str) -> str:
    """The successor of a token that is accepted."""
    answer = turn(database, token)
    assert isinstance(answer, Turned), answer
    return answer.token


def not_turned(database: Database, token: str) -> NotTurned:
    """Why a token is not accepted."""
    answer = turn(database, token)
    assert isinstance(answer, NotTurned), answer
    return answer


def family(database: Database, token: str) -> Family:
    """The row behind a token."""
    found = database.read_now(lambda tx: refresh.present(tx, SEAL, token))
    assert found is not None
    return found.family


def test_each_use_gives_another_token(database: Database, clock: HandClock) -> None:
    token = begin(database).token
    seen = [token]
    for generation in range(1, 6):
        clock.pass_by(3600)
        seen.append(turned(database, seen[-1]))
        assert family(database, token).generation == generation
    assert len(set(seen)) == 6
    assert all(one.startswith("gh1.") and len(one) < 128 for one in seen)


def test_a_lost_answer_is_given_again_within_grace(database: Database, clock: HandClock) -> None:
    token = begin(database).token
    successor = turned(database, token)
    for _ in range(3):
        clock.pass_by(GRACE // 3)
        assert turned(database, token) == successor
    assert family(database, token).generation == 1
    assert turned(database, successor) != successor


def test_a_used_token_outside_grace_ends_the_family(database: Database, clock: HandClock) -> None:
    token = begin(database).token
    successor = turned(database, token)
    clock.pass_by(GRACE + 1)
    answer = not_turned(database, token)
    assert answer.reuse
    assert answer.family == family(database, token).id
    assert not_turned(database, successor) == NotTurned("This login has been ended.")
    assert family(database, token).ended_at == clock.now()
    events = [event for event in database.read_now(audit.recent) if event.kind == "grant.ended"]
    assert [event.subject for event in events] == ["u-1"]
    assert audit_and_revocation(database, clock, answer.family)


def audit_and_revocation(database: Database, clock: HandClock, ended: str) -> bool:
    """Whether its access tokens are refused too."""
    import asyncio

    revoked = Revocations(database, clock)
    asyncio.run(revoked.refresh())
    return f"grant/{ended}" in revoked


def test_an_older_one_ends_the_family_even_within_grace(database: Database) -> None:
    """Grace is for the answer that was lost last; whoever is two steps behind has copied a token."""
    first = begin(database).token
    second = turned(database, first)
    third = turned(database, second)
    assert not_turned(database, first).reuse
    assert not_turned(database, third).reason == "This login has been ended."


def test_without_grace_a_second_use_is_reuse(database: Database, clock: HandClock) -> None:
    token = begin(database).token
    assert isinstance(turn(database, token, grace=0), Turned)
    clock.pass_by(1)
    answer = turn(database, token, grace=0)
    assert isinstance(answer, NotTurned)
    assert answer.reuse


def test_sixty_four_at_once_get_one_successor(database: Database) -> None:
    token = begin(database).token
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: turn(database, token), range(64)))
    assert all(isinstance(answer, Turned) for answer in answers)
    assert len({answer.token for answer in answers if isinstance(answer, Turned)}) == 1
    found = family(database, token)
    assert (found.generation, found.ended_at) == (1, None)


def test_a_thief_and_the_owner_at_once_never_both_go_on(database: Database, clock: HandClock) -> None:
    """After grace, 32 uses of the old and the new token in any order: the family has ended."""
    old = begin(database).token
    new = turned(database, old)
    clock.pass_by(GRACE + 1)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: turn(database, old if n % 2 else new), range(32)))
    assert family(database, old).ended_at is not None
    assert sum(isinstance(answer, NotTurned) and answer.reuse for answer in answers) >= 1
    assert len({answer.token for answer in answers if isinstance(answer, Turned)}) <= 1
    ended = [event for event in database.read_now(audit.recent) if event.kind == "grant.ended"]
    assert len(ended) == 1
    assert isinstance(turn(database, new), NotTurned)


def test_a_family_expires(database: Database, clock: HandClock) -> None:
    token = begin(database, lifetime=3600).token
    clock.pass_by(3599)
    successor = turned(database, token)
    assert family(database, token).expires_at == clock.now() + 1  # turning does not make it live longer
    clock.pass_by(1)
    answer = not_turned(database, successor)
    assert answer == NotTurned("This login has expired.")
    assert family(database, token).ended_at is None


def test_another_client_gets_nothing_and_harms_nothing(database: Database) -> None:
    token = begin(database).token
    answer = turn(database, token, client="thief")
    assert isinstance(answer, NotTurned)
    assert not answer.reuse
    turned(database, token)


def test_ending_is_done_once(database: Database) -> None:
    found = begin(database).family
    results = [database.write_now(lambda tx: refresh.end(tx, found, "logout", actor="ada")) for _ in range(2)]
    assert results == [True, False]


def test_noise_and_forgery_touch_nothing(database: Database) -> None:
    token = begin(database).token
    raw = bytearray(base64.urlsafe_b64decode(token.removeprefix("gh1.") + "="))
    forged = []
    for position in range(0, len(raw), 3):
        harmed = bytearray(raw)
        harmed[position] ^= 1
        forged.append("gh1." + base64.urlsafe_b64encode(harmed).rstrip(b"=").decode())
    for bad in (
        "",
        "gh1.",
        "gh1.AAAA",
        "gh2." + token[4:],
        token[:-1],
        token + "A",
        "ü" * 40,
        "x" * 10_000,
        *forged,
    ):
        answer = not_turned(database, bad)
        assert answer == NotTurned("This is not a refresh token of this service.")
    turned(database, token)


def test_a_stolen_row_gives_no_token(database: Database) -> None:
    """From all that is in the row, and with the layout of a token known, nothing that is accepted can be made."""
    token = begin(database).token
    successor = turned(database, token)
    with database.engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM grant_family")).one()
    values = [str(value) for value in row]
    for secret in (token, successor):
        raw = base64.urlsafe_b64decode(secret.removeprefix("gh1.") + "=")
        for piece in (secret[4:], secret[31:70], raw[20:52].hex(), raw[52:].hex()):
            assert not any(piece in value for value in values)
    for current in (row.current_hash, row.previous_hash):
        body = bytes.fromhex(row.id) + int(row.generation).to_bytes(4, "big") + bytes.fromhex(current)
        for tag in (bytes(16), bytes.fromhex(current)[:16], Seal(bytes(32)).mac("refresh/tag", body)[:16]):
            made = "gh1." + base64.urlsafe_b64encode(body + tag).rstrip(b"=").decode()
            assert not_turned(database, made).reason == "This is not a refresh token of this service."
    assert isinstance(turn(database, successor, seal=Seal(bytes(32))), NotTurned)


def test_a_turned_token_does_not_print(database: Database) -> None:
    answer = begin(database)
    assert answer.token not in repr(answer)


class Life(RuleBasedStateMachine):
    """One family against a model: the list of its tokens, when the last was turned, whether it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.clock = HandClock()
        self.database = Database(f"sqlite:///{Path(self.folder.name) / 'life.db'}", self.clock, bytes(32))
        schema.prepare(self.database)

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    @initialize()
    def log_in(self) -> None:
        started = begin(self.database, lifetime=1000)
        self.tokens = [started.token]
        self.expires_at = self.clock.now() + 1000
        self.turned_at = 0
        self.ended = False

    @rule(seconds=st.sampled_from([1, GRACE - 1, GRACE, GRACE + 1, 400]))
    def wait(self, seconds: int) -> None:
        self.clock.pass_by(seconds)

    @rule()
    def use_the_newest(self) -> None:
        answer = turn(self.database, self.tokens[-1])
        if self.ended or self.clock.now() >= self.expires_at:
            assert isinstance(answer, NotTurned)
            assert not answer.reuse
            return
        assert isinstance(answer, Turned)
        assert answer.token not in self.tokens
        self.tokens.append(answer.token)
        self.turned_at = self.clock.now()

    @precondition(lambda self: len(self.tokens) > 1)
    @rule(back=st.integers(min_value=2, max_value=5))
    def use_an_older_one(self, back: int) -> None:
        back = min(back, len(self.tokens))
        answer = turn(self.database, self.tokens[-back])
        if self.ended or self.clock.now() >= self.expires_at:
            assert isinstance(answer, NotTurned)
            assert not answer.reuse
        elif back == 2 and self.clock.now() - self.turned_at <= GRACE:
            assert isinstance(answer, Turned)
            assert answer.token == self.tokens[-1]
        else:
            assert isinstance(answer, NotTurned)
            assert answer.reuse
            self.ended = True

    @rule()
    def log_out(self) -> None:
        found = family(self.database, self.tokens[0])
        done = self.database.write_now(lambda tx: refresh.end(tx, found, "logout", actor="ada"))
        assert done is not self.ended
        self.ended = True

    @invariant()
    def the_row_agrees(self) -> None:
        found = family(self.database, self.tokens[0])
        assert found.generation == len(self.tokens) - 1
        assert (found.ended_at is not None) is self.ended
        assert found.expires_at == self.expires_at


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
