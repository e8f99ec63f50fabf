"""RFC 8628, the device flow: section, what it demands of the server, and what proves it.

3.1 | a form by POST; empty parameters count as omitted, unknown ones are ignored, none comes twice
    | test_rfc8628_3_1_the_request_is_a_form_like_any_other
3.1 | the client is named, authenticates as at the token endpoint, and may use the grant
    | test_rfc8628_3_1_the_client_authenticates, test_rfc6749_3_2_1_an_unknown_or_false_client_is_refused
3.1 | TLS
    | test_what_is_unsafe_in_production_is_refused_with_its_sentence
3.2 | codes, addresses, life and pace, in JSON that is not stored
    | test_rfc8628_3_2_the_device_answer_has_what_a_client_needs, test_rfc8628_3_2_the_answer_is_not_stored
3.2 | each request has codes of its own
    | test_rfc8628_3_2_no_two_requests_share_a_code
3.3 | the person logs in and is asked; what is wrong is told
    | test_alice_logs_in_by_check_in_for_the_group_she_asked_for, test_a_wrong_code_is_told_and_may_be_mended
3.3 | the code is shown, for comparison with the device
    | test_rfc8628_3_3_1_the_link_asks_all_the_same
3.3 | an expired or used code is refused on the page
    | test_rfc8628_3_3_a_code_that_is_over_opens_nothing
3.3.1 | a link with the code still asks for consent
    | test_rfc8628_3_3_1_the_link_asks_all_the_same
3.4 | the grant type, the device code and the client have to come, once each
    | test_rfc8628_3_4_the_token_request_is_complete
3.4 | the code is that client's
    | test_rfc6749_5_2_a_code_of_another_client_is_worth_nothing
3.4 | the client authenticates
    | test_rfc8628_3_4_the_client_authenticates
3.5 | authorization_pending until it is decided
    | test_rfc8628_3_5_pending_is_never_slow_down
3.5 | slow_down
    | not applicable: optional; DIRAC's client takes it for the end of the login. Limits answer 429
3.5 | access_denied when refused
    | test_rfc8628_3_5_not_me_ends_the_login_with_the_reason
3.5 | expired_token when too late
    | test_rfc8628_3_5_an_expired_code_says_so
3.5 | tokens are given once
    | test_rfc8628_3_5_a_device_code_works_once
4 | the address and the grant are in the metadata
    | test_rfc8628_4_the_metadata_names_it
5.1 | user codes cannot be tried out
    | test_guessing_codes_is_slowed_down, test_rfc8628_5_1_five_wrong_codes_are_enough
5.2 | device codes cannot be tried out
    | test_rfc8628_5_2_a_device_code_is_long, test_an_invented_code_is_worth_nothing
5.3 | the device is not believed: who asks is shown
    | test_rfc8628_5_4_who_asks_is_shown
5.4 | no consent without a click; what is asked and from where is shown; no administrative groups
    | test_rfc8628_5_4_who_asks_is_shown, test_rfc8628_5_4_a_session_does_not_replace_the_login,
    | test_rfc8628_5_4_administrative_groups_are_not_given
5.5 | a code that is seen is short-lived and works once
    | test_rfc8628_5_5_codes_live_a_few_minutes, test_a_link_that_was_used_leads_nowhere_twice
5.6 | a client without a secret is not trusted: the person is always asked
    | test_rfc8628_5_4_a_session_does_not_replace_the_login
5.7 | transmission without the person
    | not applicable: nothing is transmitted but by the person's own hand
6.1 | letters that are hard to mistake; case and punctuation do not matter
    | test_rfc8628_3_2_the_device_answer_has_what_a_client_needs, test_rfc8628_6_1_codes_may_be_typed_carelessly
6.2 | non-browser input
    | not applicable: a demand on devices
"""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from gatehouse.cli.demo.approve import approve
from gatehouse.registry.settings import Lifetimes
from tests.auth.kit import DEVICE_GRANT, Walker, asking, begin, change, error, get, poll, post, words
from tests.rfc.kit import MORE, SECRET, raw_post, wait_until
from tests.service import Service


def test_rfc8628_3_1_the_request_is_a_form_like_any_other(service: Service) -> None:
    given = "client_id=DIRAC_CLI&scope=g:training_user"
    assert raw_post(service, "device", f"{given}&client_secret=&unheard=of").status_code == 200
    error(raw_post(service, "device", f"{given}&scope="), 400, "invalid_request")
    assert get(service, "device").status_code == 200  # which is the page for people
    error(raw_post(service, "device", "scope=g:training_user"), 401, "invalid_client")


def test_rfc8628_3_1_the_client_authenticates(service: Service) -> None:
    assert post(service, "device", client_id="portal", client_secret=SECRET).status_code == 200
    error(post(service, "device", client_id="portal"), 401, "invalid_client")
    error(post(service, "device", client_id="second", client_secret=SECRET), 401, "invalid_client")
    error(post(service, "device", client_id="native"), 400, "unauthorized_client")


def test_rfc8628_3_2_the_answer_is_not_stored(service: Service) -> None:
    answer = post(service, "device", client_id="DIRAC_CLI")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["cache-control"] == "no-store"


def test_rfc8628_3_2_no_two_requests_share_a_code(service: Service) -> None:
    found = [begin(service) for _ in range(20)]
    assert len({one["user_code"] for one in found}) == 20
    assert len({one["device_code"] for one in found}) == 20


def test_rfc8628_3_3_a_code_that_is_over_opens_nothing(service: Service) -> None:
    done, denied = begin(service), begin(service)
    approve(done["verification_uri_complete"], "alice")
    with Walker(service) as browser:
        browser.submit(browser.open(denied), action="deny")
        for started in (done, denied):
            page = browser.open(started)
            assert page.status_code == 404
            assert "unknown, used or expired" in words(page)


def test_rfc8628_3_3_1_the_link_asks_all_the_same(service: Service) -> None:
    started = begin(service)
    with Walker(service) as browser:
        page = browser.open(started)
        assert started["user_code"] in words(page)
        assert browser.http.get(f"{service.issuer}/login/egi-demo").status_code != 302
    error(poll(service, started), 400, "authorization_pending")


@pytest.mark.parametrize("left", ["grant_type", "device_code", "client_id"])
def test_rfc8628_3_4_the_token_request_is_complete(service: Service, left: str) -> None:
    started = begin(service)
    form = {
        "grant_type": DEVICE_GRANT,
        "device_code": started["device_code"],
        "client_id": "DIRAC_CLI",
    }
    error(post(service, "token", **form), 400, "authorization_pending")
    del form[left]
    expected = {"grant_type": "unsupported_grant_type", "device_code": "invalid_request"}
    answer = post(service, "token", **form)
    assert answer.json()["error"] == expected.get(left, "invalid_client")


def test_rfc8628_3_4_the_client_authenticates(service: Service) -> None:
    started = post(service, "device", client_id="portal", client_secret=SECRET).json()
    form = {"grant_type": DEVICE_GRANT, "device_code": started["device_code"], "client_id": "portal"}
    error(post(service, "token", **form), 401, "invalid_client")
    error(post(service, "token", **form, client_secret="guess"), 401, "invalid_client")
    error(post(service, "token", **form, client_secret=SECRET), 400, "authorization_pending")


def test_rfc8628_4_the_metadata_names_it(service: Service) -> None:
    said = get(service, ".well-known/oauth-authorization-server").json()
    assert said["device_authorization_endpoint"] == f"{service.issuer}/device"
    assert DEVICE_GRANT in said["grant_types_supported"]


def test_rfc8628_5_1_five_wrong_codes_are_enough(service: Service) -> None:
    """Of one browser; then even the right one is not looked up, in that browser."""
    started = begin(service)
    with Walker(service) as guesser, Walker(service) as person:
        for letter in "BCDFG":
            page = guesser.http.get(f"{service.issuer}/device?user_code={letter * 8}")
            assert page.status_code == 404
        locked = guesser.open(started)
        assert locked.status_code == 429
        assert int(locked.headers["retry-after"]) > 0
        assert person.open(started).status_code == 200


def test_rfc8628_5_2_a_device_code_is_long(service: Service) -> None:
    code = begin(service)["device_code"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43,}", code)
    for made in (code[:-1], code + "x", code.swapcase()):
        answer = post(service, "token", grant_type=DEVICE_GRANT, client_id="DIRAC_CLI", device_code=made)
        error(answer, 400, "invalid_grant")


def test_rfc8628_5_4_who_asks_is_shown(service: Service) -> None:
    started = begin(service)
    with Walker(service) as browser:
        said = words(browser.open(started))
    assert "DIRAC command line" in said
    assert "127.0.0.1" in said
    assert "training_user" in said
    assert "python-httpx" in said


def test_rfc8628_5_4_a_session_does_not_replace_the_login(service: Service) -> None:
    """A link may come from somebody else, so that being logged in already is not enough."""
    with Walker(service) as browser:
        browser.allow(asking(service))
        chooser = browser.confirm(begin(service))
        assert "Who can tell us who you are?" in words(chooser)


def test_rfc8628_5_4_administrative_groups_are_not_given(tmp_path: Path) -> None:
    """Neither by name nor in the browser, once the group holds a right over others."""
    with Service(tmp_path, more=MORE) as service:
        named, unnamed = begin(service, "g:training_pilot"), begin(service, "")
        more = ('["GenericPilot", "Operator"]', "training_pilot")
        assert change(service, "UPDATE community_group SET properties = ? WHERE name = ?", *more) == 1
        wait_until(
            lambda: (
                post(service, "device", client_id="DIRAC_CLI", scope="g:training_pilot").status_code == 400
            )
        )
        answer = post(service, "device", client_id="DIRAC_CLI", scope="g:training_pilot")
        assert "may administer" in error(answer, 400, "invalid_scope")
        with Walker(service) as browser:  # which began before
            browser.confirm(named)
            assert "may administer" in words(browser.log_in("egi-demo", "alice"))
        error(poll(service, named), 400, "access_denied")
        with Walker(service) as browser:
            browser.confirm(unnamed)
            assert "training_pilot" not in words(browser.log_in("egi-demo", "alice"))
        assert poll(service, unnamed).json()["scope"] == "g:training_user"


def test_rfc8628_5_5_codes_live_a_few_minutes(service: Service) -> None:
    assert begin(service)["expires_in"] <= 1800
    with pytest.raises(ValidationError):
        Lifetimes(device_code=1801)


@pytest.mark.parametrize("spelling", ["{}", "{:l}", "{: }", "{:.}"])
def test_rfc8628_6_1_codes_may_be_typed_carelessly(service: Service, spelling: str) -> None:
    code: str = begin(service)["user_code"]
    changed = {
        "{}": code,
        "{:l}": code.lower(),
        "{: }": " " + code.replace("-", " "),
        "{:.}": code.replace("-", ""),
    }[spelling]
    with Walker(service) as browser:
        page = browser.http.get(f"{service.issuer}/device", params={"user_code": changed})
        assert page.status_code == 200
        assert code in words(page)
