"""What a person was shown is what is given: not more when the client changes, nothing when they took it back."""

import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from tests.auth import kit
from tests.auth.kit import CLIENTS, Walker, asking, begin, change, error, login, poll, post, redeem, words
from tests.auth.receiver import enter
from tests.auth.registrar import BACK, invite, registered, send
from tests.road.walkers import eventually
from tests.service import Service

CODE = ("authorization_code", "refresh_token")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS) as running:
        yield running
        assert "Traceback" not in running.log.read_text()
        assert kit.broken(running) == []


@pytest.fixture
def administrators(service: Service) -> Iterator[None]:
    """The only group of bob may administer."""
    statement = "UPDATE community_group SET properties = ? WHERE name = 'training_user'"
    assert change(service, statement, json.dumps(["JobAdministrator", "NormalUser"])) == 1
    eventually(lambda: _sentences(service) == 2)
    yield
    change(service, statement, json.dumps(["NormalUser"]))
    eventually(lambda: _sentences(service) == 1)


def _sentences(service: Service) -> int:
    """How many rights the consent page tells of the group."""
    with Walker(service) as browser:
        page = words(browser.consent(asking(service)))
    return sum(said in page for said in ("submit jobs", "act on all jobs"))


@pytest.mark.usefixtures("administrators")
def test_rights_over_others_are_shown_before_they_are_given(service: Service) -> None:
    """Also to whoever has one group only, and was asked for none."""
    with Walker(service) as browser:
        answer = browser.submit(browser.consent(asking(service, scope="openid")), action="confirm")
        browser.follow(answer)
        page = browser.log_in("egi-demo", "bob")
        assert page.status_code == 200, page.headers.get("location")
        assert "act on all jobs" in words(page)
        back = kit.query(browser.submit(page, group="training_user").headers["location"])
    assert "g:training_user" in redeem(service, back["code"]).json()["scope"]


def test_a_client_that_learns_to_refresh_meanwhile_gets_what_was_shown(service: Service) -> None:
    """RFC 7592 lets a client change itself between the person's answer and the token request."""
    some = invite(service, grants=CODE)
    said = registered(
        service,
        some,
        grant_types=CODE[:1],
        token_endpoint_auth_method="client_secret_post",
        client_name="Short",
    )
    with Walker(service) as browser:
        address = asking(service, client_id=said["client_id"], redirect_uri=BACK)
        assert "Do so for 2 hours." in words(browser.consent(address))
        code = browser.allow(address)["code"]
    document = {
        "client_id": said["client_id"],
        "client_name": "Short",
        "redirect_uris": [BACK],
        "grant_types": CODE,
        "token_endpoint_auth_method": "client_secret_post",
    }
    put = send("PUT", said["registration_client_uri"], said["registration_access_token"], document)
    assert put.status_code == 200, put.text
    who = {"client_id": said["client_id"], "client_secret": said["client_secret"], "redirect_uri": BACK}
    tokens = redeem(service, code, **who).json()
    assert "refresh_token" not in tokens
    # from now on people are shown that it can
    with Walker(service) as browser:
        assert "Do so for 30 days" in words(browser.consent(address))
        again = redeem(service, browser.allow(address)["code"], **who).json()
    assert "refresh_token" in again


def test_an_audience_that_was_taken_from_a_client_is_in_no_new_token(service: Service) -> None:
    store = "https://storage.example.org"
    some = invite(service, grants=CODE, audiences=(store,))
    document: dict[str, Any] = {
        "redirect_uris": [BACK],
        "grant_types": CODE,
        "token_endpoint_auth_method": "client_secret_post",
    }
    said = registered(service, some, **document, audiences=[store])
    who = {"client_id": said["client_id"], "client_secret": said["client_secret"]}
    with Walker(service) as browser:
        address = asking(service, client_id=said["client_id"], redirect_uri=BACK, resource=store)
        tokens = redeem(service, browser.allow(address)["code"], redirect_uri=BACK, **who).json()
    assert _audience(tokens) == store
    document["client_id"] = said["client_id"]
    put = send("PUT", said["registration_client_uri"], said["registration_access_token"], document)
    assert put.status_code == 200, put.text
    form = {"grant_type": "refresh_token", **who}
    tokens = post(service, "token", refresh_token=tokens["refresh_token"], **form).json()
    assert _audience(tokens) == f"{service.base}/api"
    error(
        post(service, "token", refresh_token=tokens["refresh_token"], resource=store, **form),
        400,
        "invalid_target",
    )


def _audience(tokens: dict[str, Any]) -> Any:
    return jwt.decode(tokens["access_token"], options={"verify_signature": False})["aud"]


def test_everything_ends_also_what_was_approved_and_not_fetched_yet(service: Service) -> None:
    """Whoever sees that they approved a stranger's link can still take it back."""
    kit.change(service, "UPDATE login_request SET expires_at = 0")  # what was there before cannot be fetched
    started = begin(service)
    with Walker(service) as browser:
        enter(service, browser)  # our own pages give nothing to anybody
        browser.confirm(started)
        assert "Authorization complete" in browser.log_in("egi-demo", "alice").text
        asked = browser.http.get(f"{service.issuer}/account/everything")
        assert browser.submit(asked, action="confirm").status_code == 200
    error(poll(service, started), 400, "access_denied")
    denied = kit.events(service, "login.denied")[-1]
    assert (denied.actor, denied.facts["requests"]) == ("alice", 1)
    assert login(service)["scope"] == "g:training_user"  # a new login is not touched


def test_a_repeated_prompt_takes_no_room(service: Service) -> None:
    with Walker(service) as browser:
        browser.http.get(asking(service, prompt="login " * 2000))
    [(wanted,)] = kit.look(
        service, "SELECT wanted FROM login_request ORDER BY created_at DESC, rowid DESC LIMIT 1"
    )
    assert json.loads(wanted)["prompt"] == "login"


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:5/done#",
        "http://127.0.0.1:5/done?",
        "HTTP://127.0.0.1:5/done",
        " http://127.0.0.1:5/done",
        "http://127.0.0.1:05/done",
        "http://127.0.0.1:/done",
        "http://x@127.0.0.1:5/done",
        "http://127.0.0.1:5/done/",
        "http://127.0.0.1:5\\@evil.example/done",
        "http://[::1]:5/done#",
    ],
)
def test_rfc8252_7_3_only_the_port_is_free(service: Service, address: str) -> None:
    """With an empty fragment the code would come where nobody looks for it, but scripts do."""
    with Walker(service) as browser:
        refused = browser.http.get(asking(service, client_id="native", redirect_uri=address))
        assert refused.status_code == 400
        for good in ("http://127.0.0.1:5/done", "http://[::1]:65535/done", "http://127.0.0.1/done"):
            taken = browser.http.get(asking(service, client_id="native", redirect_uri=good))
            assert (taken.status_code, taken.headers["location"]) == (303, "login")
