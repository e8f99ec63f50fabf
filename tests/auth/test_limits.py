"""Limits over a socket: each class trips and says for how long, a full lecture room does not, guessers do."""

import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from gatehouse.auth.guesses import PER_ADDRESS, PER_SESSION
from gatehouse.cli.demo.approve import approve
from tests.auth.kit import DEVICE_GRANT, Walker, begin, change, events, get, login, look, poll, post
from tests.bench.world import pilot_tokens
from tests.service import Service

PEOPLE = 100
POLLS = 8
# two calls, then one a minute: the third is refused
TIGHT = "[limits]\n" + "".join(
    f"{name} = 1\n{name}_burst = {burst}\n"
    for name, burst in {"page": 2, "login": 2, "token": 2, "call": 2, "work": 2, "guess": 2}.items()
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With the limits that every service has."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more="") as running:
        yield running


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for the lecture room, whose share of the hour nobody else has used."""
    with Service(tmp_path_factory.mktemp("room"), more="") as running:
        yield running


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that lets nobody call more than twice."""
    with Service(tmp_path_factory.mktemp("tight"), more=TIGHT) as running:
        yield running


def slowed(answer: httpx.Response, name: str) -> None:
    """Hold an answer against what RFC 6585 §4 and we promise."""
    assert answer.status_code == 429, answer.text
    body = answer.json()
    assert (body["error"], body["limit_class"]) == ("slow_down", name)
    assert 0 < body["retry_after"] <= 60
    assert answer.headers["retry-after"] == str(body["retry_after"])
    assert answer.headers["cache-control"] == "no-store"
    assert body["error_description"].endswith(".")
    assert "Try again in" in body["hint"]


def typed(service: Service, code: str, browser: httpx.Client | None = None) -> int:
    """What a user code gives in a browser."""
    link = f"{service.issuer}/device?user_code={code}"
    return (browser or httpx).get(link, timeout=30).status_code


def test_rfc6585_4_a_public_class_trips_by_address(tight: Service) -> None:
    for _ in range(2):
        assert post(tight, "device", client_id="DIRAC_CLI", scope="").status_code == 200
    slowed(post(tight, "device", client_id="DIRAC_CLI", scope=""), "login")
    for _ in range(2):
        assert post(tight, "token", grant_type="none").status_code == 400
    slowed(post(tight, "token", grant_type="none"), "token")
    slowed(post(tight, "revoke", token="x"), "token")  # the same class
    for _ in range(2):
        assert get(tight, "device").status_code == 200
    slowed(get(tight, "device"), "guess")
    assert look(tight, "SELECT count(*) FROM audit_event WHERE kind = 'device.started'") == [(2,)]


def test_a_browser_is_refused_with_a_page(tight: Service) -> None:
    for _ in range(3):
        answer = httpx.get(tight.base + "/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 429
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>" in answer.text
    assert "Too many requests" in answer.text
    assert "Try again in" in answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_behind_the_gate_each_person_counts_alone(service: Service) -> None:
    """With the defaults: who asks more than 300 times at once has to wait, whoever else comes from there does not."""
    alice, again = (login(service)["access_token"] for _ in range(2))
    pilot, other = pilot_tokens(service.config, range(2))
    with httpx.Client(headers={"Authorization": f"Bearer {alice}"}, timeout=30) as http:
        statuses: list[int] = []
        while len(statuses) < 3000 and 429 not in statuses:
            answer = http.get(f"{service.issuer}/userinfo")
            statuses.append(answer.status_code)
        slowed(answer, "call")
        assert len(statuses) > 300
        assert set(statuses) == {200, 429}
        # another class is another share
        assert http.post(f"{service.base}/api/jobs", json={}).status_code != 429
    assert get(service, "userinfo", again).status_code == 429  # another token of the same person
    assert get(service, "userinfo", pilot).status_code == 200
    assert get(service, "userinfo", other).status_code == 200
    assert get(service, "userinfo", "noise").status_code == 401


def test_a_lecture_room_behind_one_address_logs_in(room: Service) -> None:
    """A hundred people start at once, poll meanwhile, and open their links: nobody is told to wait."""
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: begin(room), range(PEOPLE)))

        def polled(device_code: str) -> str:
            answer = post(
                room, "token", grant_type=DEVICE_GRANT, device_code=device_code, client_id="DIRAC_CLI"
            )
            error: str = answer.json()["error"]
            return error

        waiting = [one["device_code"] for one in started] * POLLS
        assert set(pool.map(polled, waiting)) == {"authorization_pending"}
        list(pool.map(lambda one: approve(one["verification_uri_complete"], "alice"), started))
        assert {answer.status_code for answer in pool.map(lambda one: poll(room, one), started)} == {200}


def test_rfc8628_5_1_guessers_are_stopped_and_learn_nothing(service: Service) -> None:
    right = begin(service)["user_code"]
    with Walker(service) as browser:
        found = [typed(service, "BCDF-GHJK", browser.http) for _ in range(PER_SESSION + 1)]
        assert found == [404] * PER_SESSION + [429]
        page = browser.http.get(f"{service.issuer}/device?user_code={right}")
        assert page.status_code == 429  # a right code says no more than a wrong one
        assert page.text.count(right) == 0
        assert "Too many wrong codes" in page.text
        assert 0 < int(page.headers["retry-after"]) <= 300
    # without the cookie: as often as a room full of people mistypes, then the address waits
    rest = [typed(service, "BCDF-GHJK") for _ in range(PER_ADDRESS - PER_SESSION + 1)]
    assert rest == [404] * (PER_ADDRESS - PER_SESSION) + [429]
    assert typed(service, right) == 429
    assert change(service, "DELETE FROM guess") > 0
    assert typed(service, right) == 200


def test_two_processes_count_together_and_a_restart_forgets_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    first = Service(tmp_path_factory.mktemp("first"), more="")
    folder = tmp_path_factory.mktemp("second")
    with first:
        shutil.copy(first.folder / "master.key", folder / "master.key")
        second = Service(
            folder,
            database_url=f"sqlite:///{first.folder / 'gatehouse.db'}",
            more="",
            environ={"GATEHOUSE_SERVER__BASE_URL": first.base},
        )
        with second:
            turns = [first, second] * (PER_ADDRESS // 2)
            assert {typed(one, "BCDF-GHJK") for one in turns} == {404}
            assert typed(first, "BCDF-GHJK") == 429
            assert typed(second, "BCDF-GHJK") == 429
        first.kill()
        first.start()
        assert typed(first, "BCDF-GHJK") == 429


def test_all_guessers_together_are_stopped_and_the_operator_hears_it(service: Service) -> None:
    change(service, "DELETE FROM guess")
    assert typed(service, "BCDF-GHJK") == 404
    change(service, "UPDATE guess SET wrong = 1000000")  # as if the whole world had guessed
    assert typed(service, begin(service)["user_code"]) == 429
    change(service, "DELETE FROM guess")


def test_without_a_database_there_is_no_answer(service: Service) -> None:
    change(service, "DELETE FROM guess")
    right = begin(service)["user_code"]
    with sqlite3.connect(service.folder / "gatehouse.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else can write
        assert typed(service, right) == 503
        other.execute("ROLLBACK")
    other.close()
    assert typed(service, right) == 200
    assert events(service, "guesses.locked") == []
