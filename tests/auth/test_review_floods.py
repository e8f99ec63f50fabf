"""Whoever makes pages refuse things again and again fills the log, and not the record that is kept for good."""

from collections.abc import Iterator

import pytest

from gatehouse.auth.refusals import PAGES_AT_ONCE
from tests.auth.kit import CLIENTS, Walker, events
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


def test_answers_that_nobody_asked_for_do_not_fill_the_record(service: Service) -> None:
    """Anybody gets the cookie of a walk: the page of one's own logins begins one."""
    tries = PAGES_AT_ONCE + 30
    with Walker(service) as browser:
        browser.http.get(f"{service.issuer}/account")
        for number in range(tries):
            assert browser.http.get(f"{service.issuer}/redirect?state=guess{number}").status_code == 409
    recorded = events(service, "callback.refused")
    # some more come in while the tries take their time: sixty an hour
    assert PAGES_AT_ONCE <= len(recorded) < tries
    assert recorded[0].facts["address"] == "127.0.0.1"
    assert "refusal not recorded" in service.log.read_text()
