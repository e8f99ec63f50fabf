"""RFC 8707, resource indicators: section, what it demands of the server, and what proves it.

2 | an absolute URI without fragment, otherwise invalid_target
    | test_rfc8707_2_what_is_no_address_is_invalid_target
2 | several may come; they are the audience
    | test_rfc8707_2_several_may_come
2 | what is unknown, or not for this client, is invalid_target
    | test_rfc8707_2_what_is_no_target_of_the_client_is_refused
2 | the token is for what was asked
    | test_rfc8707_a_resource_becomes_the_audience
2 | how many may come is bounded
    | test_rfc8707_2_how_many_is_bounded
2.1 | at the authorization endpoint, errors go back to the client
    | test_rfc8707_2_1_an_error_goes_back_to_the_client
2.1 | in pushed and device requests as well
    | test_rfc8707_2_1_everywhere_a_login_can_begin
2.1 | the person sees it
    | test_rfc8707_2_1_the_person_sees_it
2.2 | at the token endpoint, only what was granted
    | test_rfc8707_2_2_a_token_request_asks_for_no_more_than_was_granted
2.2 | at the token endpoint, less than was granted
    | test_rfc8707_2_2_a_token_request_may_ask_for_less
2.2 | refreshing keeps to what was granted
    | test_rfc8707_2_2_a_refresh_keeps_to_what_was_granted
3 | a token is refused by whom it is not for
    | test_rfc9068_4_we_are_in_the_audience
3 | resources are shown as they are, never fetched
    | not applicable: they are compared with the client's registration only
"""

import httpx
import pytest

from tests.auth.kit import (
    DEVICE_GRANT,
    Walker,
    asking,
    code_login,
    error,
    get,
    look,
    post,
    query,
    redeem,
    words,
)
from tests.rfc.kit import RAW, SECRET, raw_post, unverified
from tests.service import Service

STORE, TAPE = "https://storage.example.org", "https://tape.example.org"
PORTAL_FORM = f"client_id=portal&client_secret={SECRET.replace(' ', '+')}"


@pytest.mark.parametrize(
    "resource", ["storage", "/storage", f"{STORE}#part", f"{STORE}#", "//storage", "http://["]
)
def test_rfc8707_2_what_is_no_address_is_invalid_target(service: Service, resource: str) -> None:
    for path in ("device", "par"):
        said = {**query(asking(service)), "client_secret": SECRET, "resource": resource}
        answer = post(service, path, **said)
        error(answer, 400, "invalid_target")


def test_rfc8707_2_several_may_come(service: Service) -> None:
    both = f"&resource={STORE}&resource={service.base}/api&resource={STORE}"
    with Walker(service) as browser:
        answer = browser.allow(asking(service) + both)
    claims = unverified(redeem(service, answer["code"]).json()["access_token"])
    assert sorted(claims["aud"]) == sorted([f"{service.base}/api", STORE])


@pytest.mark.parametrize(
    "resource", [f"{STORE}/", TAPE, "HTTPS://STORAGE.EXAMPLE.ORG", "urn:example:storage"]
)
def test_rfc8707_2_what_is_no_target_of_the_client_is_refused(service: Service, resource: str) -> None:
    said = {"client_id": "portal", "client_secret": SECRET, "scope": ""}
    assert post(service, "device", **said, resource=STORE).status_code == 200
    error(post(service, "device", **said, resource=resource), 400, "invalid_target")
    error(post(service, "device", **said, audience=resource), 400, "invalid_target")
    error(post(service, "device", client_id="DIRAC_CLI", resource=STORE), 400, "invalid_target")
    good_and_bad = raw_post(service, "device", f"{PORTAL_FORM}&resource={STORE}&resource={resource}")
    error(good_and_bad, 400, "invalid_target")


def test_rfc8707_2_how_many_is_bounded(service: Service) -> None:
    many = "".join(f"&resource={service.base}/api{number}" for number in range(40))
    answer = raw_post(service, "device", PORTAL_FORM + many)
    assert answer.status_code == 400
    assert httpx.get(asking(service) + many, **RAW).status_code == 400


def test_rfc8707_2_1_an_error_goes_back_to_the_client(service: Service) -> None:
    for resource in (TAPE, "storage", f"{STORE}#part"):
        back = query(httpx.get(asking(service, resource=resource), **RAW).headers["location"])
        assert (back["error"], back["state"]) == ("invalid_target", "abc")


def test_rfc8707_2_1_everywhere_a_login_can_begin(service: Service) -> None:
    said = {**query(asking(service)), "client_secret": SECRET, "resource": STORE}
    uri = post(service, "par", **said).json()["request_uri"]
    with Walker(service) as browser:
        code = browser.allow(f"{service.issuer}/authorization?client_id=portal&request_uri={uri}")["code"]
        assert STORE in unverified(redeem(service, code).json()["access_token"])["aud"]
        started = post(service, "device", client_id="portal", client_secret=SECRET, resource=STORE).json()
        assert STORE in words(browser.open(started))
        browser.confirm(started)
        browser.submit(browser.log_in("egi-demo", "alice"), group="training_user")
    tokens = post(
        service,
        "token",
        grant_type=DEVICE_GRANT,
        device_code=started["device_code"],
        client_id="portal",
        client_secret=SECRET,
    ).json()
    assert STORE in unverified(tokens["access_token"])["aud"]


def test_rfc8707_2_1_the_person_sees_it(service: Service) -> None:
    with Walker(service) as browser:
        assert STORE in words(browser.consent(asking(service, resource=STORE)))
        assert STORE not in words(browser.consent(asking(service)))


def test_rfc8707_2_2_a_token_request_asks_for_no_more_than_was_granted(service: Service) -> None:
    """Also when the client could have had it, had the person been asked."""
    code = code_login(service)["code"]
    error(redeem(service, code, resource=STORE), 400, "invalid_target")
    error(redeem(service, code, resource=TAPE), 400, "invalid_target")
    tokens = redeem(service, code).json()
    assert unverified(tokens["access_token"])["aud"] == f"{service.base}/api"
    error(refreshed(service, tokens["refresh_token"], resource=STORE), 400, "invalid_target")
    newest = "SELECT generation FROM grant_family ORDER BY rowid DESC LIMIT 1"
    assert look(service, newest) == [(0,)]  # it was not turned by that
    assert refreshed(service, tokens["refresh_token"]).status_code == 200


def test_rfc8707_2_2_a_token_request_may_ask_for_less(service: Service) -> None:
    own = f"{service.base}/api"
    tokens = redeem(service, code_login(service, resource=STORE)["code"], resource=own).json()
    assert unverified(tokens["access_token"])["aud"] == own
    again = refreshed(service, tokens["refresh_token"], resource=STORE).json()
    assert unverified(again["access_token"])["aud"] == STORE
    # whoever is at the storage cannot act as the person here
    assert get(service, "userinfo", again["access_token"]).status_code == 401


def test_rfc8707_2_2_a_refresh_keeps_to_what_was_granted(service: Service) -> None:
    tokens = redeem(service, code_login(service, resource=STORE)["code"]).json()
    again = refreshed(service, tokens["refresh_token"]).json()
    assert unverified(again["access_token"])["aud"] == STORE
    error(refreshed(service, again["refresh_token"], resource=TAPE), 400, "invalid_target")


def refreshed(service: Service, token: str, **more: str) -> httpx.Response:
    """The portal refreshes."""
    said = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "portal"}
    return post(service, "token", **said, client_secret=SECRET, **more)
