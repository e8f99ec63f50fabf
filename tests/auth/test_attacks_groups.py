"""The group page takes only what the provider of this login, or the Registry, gives."""

from collections.abc import Iterator

import pytest

from tests.auth.kit import Walker, begin, change, error, poll
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("gatehouse"), more="") as running:
        yield running


def test_what_another_provider_said_of_the_person_cannot_be_chosen(service: Service) -> None:
    """Both providers are accepted by the VO, but each speaks for its own logins only."""
    started = begin(service, "")
    with Walker(service) as browser:
        browser.confirm(started)
        page = browser.log_in("iam-demo", "alice")
        wanted = "training_pilot"
        assert wanted in page.text
        moved = change(
            service,
            "UPDATE membership SET source = 'https://another.example' WHERE group_name = ?",
            wanted,
        )
        assert moved == 1
        assert browser.submit(page, group=wanted).status_code == 409
        error(poll(service, started), 400, "authorization_pending")
        assert browser.submit(page, group="training_user").status_code == 200
    assert poll(service, started).json()["scope"] == "g:training_user"
