"""Outsiders who guess from many addresses, or make the database grow by opening a link."""

from collections.abc import Iterator

import pytest

from gatehouse.tokenmanager.limits import neighbourhood
from tests.auth.kit import Walker, begin, look
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("gatehouse"), more="") as running:
        yield running


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_what_counts_as_one_address(address: str, found: str) -> None:
    assert neighbourhood(address) == found


def test_a_link_cannot_be_opened_without_end(service: Service) -> None:
    started = begin(service)
    with Walker(service) as browser:
        first = browser.open(started)
        assert first.status_code == 200
    answers = []
    for _ in range(60):
        with Walker(service) as browser:
            answers.append(browser.open(started).status_code)
    assert answers == [200] * 49 + [429] * 11
    assert look(service, "SELECT count(*) FROM login_walk") == [(50,)]
    with Walker(service) as other:
        assert other.open(begin(service)).status_code == 200
