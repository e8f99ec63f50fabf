"""Client credentials over a socket: a service acts for itself, within what it is registered for."""

from collections.abc import Iterator

import httpx
import pytest

from tests.auth.kit import CLIENTS, error, get, post
from tests.auth.services import SERVICES, STORAGE, ask, claims, own
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS + SERVICES) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


def test_rfc6749_4_4_a_service_gets_a_token_of_its_own_and_no_refresh_token(service: Service) -> None:
    answer = own(service, scope="storage.read:/data/set1", resource=STORAGE, lifetime="")
    assert answer.status_code == 200, answer.text
    assert "refresh_token" not in answer.json()
    said = claims(answer.json()["access_token"])
    assert (said["sub"], said["aud"], said["scope"]) == ("transfer", STORAGE, "storage.read:/data/set1")
    assert own(service).json()["scope"] == "compute.read storage.read:/data"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"scope": "storage.read:/database"}, "invalid_scope"),
        ({"scope": "storage.read:/"}, "invalid_scope"),
        ({"scope": "storage.read:/data/../x"}, "invalid_scope"),
        ({"scope": "storage.modify:/data"}, "invalid_scope"),
        ({"scope": "g:training_user"}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example.org"}, "invalid_target"),
    ],
)
def test_a_service_gets_no_more_than_it_is_registered_for(
    service: Service, form: dict[str, str], code: str
) -> None:
    error(own(service, **form), 400, code)


def test_a_service_is_nobody_at_the_jobs(service: Service) -> None:
    token = own(service).json()["access_token"]
    assert get(service, "userinfo", token).json()["sub"] == "transfer"
    refused = httpx.get(
        f"{service.base}/api/jobs", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )
    assert refused.status_code == 403


def test_rfc6749_2_3_1_wrong_secrets_lock_the_secret(service: Service) -> None:
    def guess(secret: str) -> httpx.Response:
        form = {"grant_type": "client_credentials", "client_id": "guessed", "client_secret": secret}
        return post(service, "token", **form)

    assert guess("guessed secret").status_code == 200
    for number in range(10):
        error(guess(f"guess {number}"), 401, "invalid_client")
    assert guess("guessed secret").status_code == 429
    # the short way of introspection is no way around it
    token = own(service).json()["access_token"]
    assert ask(service, token, "guessed").status_code == 429
    assert own(service).status_code == 200  # another client is not locked
