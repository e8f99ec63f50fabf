"""RFC 6749, the framework: section, what it demands of the server, and what proves it.

2.3 | one method of client authentication in a request
    | test_rfc6749_2_3_a_request_authenticates_in_one_way_only
2.3.1 | identifier and secret are form-encoded in the header; the form may be offered too
    | test_rfc6749_2_3_1_name_and_secret_are_form_encoded_in_the_header,
    | test_rfc6749_2_3_1_a_client_with_a_secret_shows_it_in_the_header_or_in_the_form
2.3.1 | credentials are never taken from the URI
    | test_rfc6749_2_3_1_credentials_in_the_address_are_not_taken
2.3.1 | TLS wherever passwords travel (also 3.1, 3.2, 10.9)
    | test_what_is_unsafe_in_production_is_refused_with_its_sentence
2.4 | unregistered clients
    | not applicable: every client is registered
3.1 | GET is supported, POST may be; the endpoint has no fragment
    | test_rfc6749_3_1_get_and_post_do_the_same
3.1 | empty parameters count as omitted, unknown ones are ignored
    | test_rfc6749_3_1_empty_is_omitted_and_unknown_is_ignored
3.1 | no parameter comes twice
    | test_rfc6749_3_1_a_parameter_that_comes_twice_is_refused
3.1.1 | a missing or unknown response_type is an error
    | test_rfc6749_3_1_1_the_response_type_is_required,
    | test_rfc6749_4_1_2_1_what_is_wrong_goes_back_to_the_client
3.1.2 | redirect addresses are absolute and have no fragment; their query is kept
    | test_rfc6749_3_1_2_what_cannot_be_registered, test_rfc6749_3_1_2_the_query_of_an_address_is_kept
3.1.2.2 | public clients register their addresses
    | test_rfc6749_3_1_2_2_a_client_without_addresses_cannot_begin
3.1.2.3 | the address that comes is compared with the registered ones
    | test_rfc9700_2_1_nobody_is_sent_to_an_address_that_is_not_registered
3.1.2.4 | an invalid address is told to the person, and nobody is sent there
    | test_rfc9700_2_1_nobody_is_sent_to_an_address_that_is_not_registered
3.2 | POST only
    | test_rfc6749_3_2_tokens_are_given_to_post_only
3.2 | no parameter twice; empty is omitted, unknown is ignored
    | test_rfc6749_3_2_missing_and_doubled_parameters_are_refused,
    | test_rfc6749_3_2_empty_is_omitted_and_unknown_is_ignored
3.2.1 | confidential clients authenticate
    | test_rfc6749_3_2_1_an_unknown_or_false_client_is_refused,
    | test_a_refresh_token_is_bound_to_the_clients_secret
3.3 | scopes mind case; what was given is said; what cannot be is refused
    | test_rfc6749_3_3_scopes_mind_case, test_rfc6749_3_3_the_scope_that_was_given_is_said,
    | test_rfc6749_5_2_a_scope_that_cannot_be_is_refused_and_recorded
4.1.1 | the client is named
    | test_rfc6749_4_1_1_without_a_known_client_nobody_is_sent_anywhere
4.1.2 | the state comes back as it came
    | test_rfc6749_4_1_2_the_state_comes_back_as_it_came
4.1.2 | a code lives ten minutes at most and works once; a second use ends what it gave
    | test_rfc6749_4_1_2_a_code_expires, test_rfc6749_4_1_2_a_code_used_twice_ends_what_it_gave
4.1.2 | a code is bound to its client and its address
    | test_a_code_alone_is_worth_nothing
4.1.2.1 | errors go back with their code and the state, when the address is good
    | test_rfc6749_4_1_2_1_what_is_wrong_goes_back_to_the_client,
    | test_rfc6749_4_1_2_1_a_client_without_the_grant_is_told_so, test_a_refusal_by_the_person_goes_back
4.1.3 | the code comes with the client's authentication and the same address
    | test_a_code_alone_is_worth_nothing
4.2 | the implicit grant
    | test_rfc6749_4_1_2_1_what_is_wrong_goes_back_to_the_client
4.3 | the password grant
    | test_rfc6749_3_2_missing_and_doubled_parameters_are_refused
4.4 | client credentials are for confidential clients only
    | test_rfc6749_4_4_no_public_client_has_credentials
5.1 | the answer has token, type and life, is JSON and is not stored
    | test_rfc6749_5_1_a_token_response_is_complete_and_not_stored
5.2 | errors are 400 with their code, in ASCII without quotes
    | test_rfc6749_5_2_each_error_has_its_code,
    | test_rfc6749_5_2_a_reason_in_any_language_becomes_a_sentence_of_ascii
5.2 | invalid_client is 401 with a challenge when the header was used
    | test_rfc6749_5_2_a_false_header_is_401_with_a_challenge
6 | a refresh never gives more, and is bound to its client
    | test_rfc6749_6_a_refresh_never_gives_more, test_rfc6749_10_4_a_refresh_token_is_bound_to_its_client
6 | the old refresh token is replaced
    | test_rfc6749_6_each_use_turns_the_token
7 | token types are understood by the client
    | not applicable: a demand on clients
10.1 | public clients are not taken for authenticated ones
    | test_rfc6749_10_1_a_public_client_shows_no_secret
10.2 | a client without credentials is not let through without the person
    | test_a_second_client_needs_no_second_login_but_a_second_consent
10.3 | access tokens cannot be guessed, made or changed
    | test_rfc8725_3_a_forged_access_token_is_refused_with_a_reason
10.4 | refresh tokens are bound to their client, and reuse is found
    | test_rfc6749_10_4_a_refresh_token_is_bound_to_its_client,
    | test_rfc9700_4_14_reuse_after_the_grace_ends_the_login
10.5 | codes are short-lived, single-use, and not in the database
    | test_rfc6749_10_5_a_code_is_nowhere_in_the_database, test_rfc6749_4_1_2_a_code_expires
10.6 | the address of the token request is that of the authorization request
    | test_a_code_alone_is_worth_nothing
10.7 | the password grant
    | not applicable: there is none
10.10 | what could be guessed has 128 bits or more
    | test_rfc6749_10_10_nothing_can_be_guessed
10.11 | people can recognise the server
    | not applicable: a demand on operators; our pages show no form for passwords
10.12 | the login is bound to the browser that began it
    | test_rfc6749_10_12_an_answer_meant_for_another_browser_is_not_taken,
    | test_rfc6749_10_12_a_form_of_another_browser_is_not_taken
10.13 | no page can be framed
    | test_rfc6749_10_13_no_page_can_be_framed
10.14 | what comes in is escaped
    | test_a_hostile_name_stays_a_name, test_rfc6749_10_14_what_comes_in_stays_text
10.15 | nobody is redirected to an address that is not registered
    | test_rfc9700_2_1_nobody_is_sent_to_an_address_that_is_not_registered
10.16 | the implicit grant
    | not applicable: there is none
"""

import re
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx
import pytest
from pydantic import ValidationError

from gatehouse.auth.clients import from_settings
from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.settings import ClientSettings
from tests.auth.kit import (
    DEVICE_GRANT,
    PORTAL,
    Walker,
    asking,
    begin,
    change,
    code_login,
    error,
    get,
    login,
    look,
    poll,
    post,
    query,
    redeem,
)
from tests.rfc.kit import FORM, ODD_ID, ODD_SECRET, RAW, SECRET, basic, raw_post
from tests.service import Service


def test_rfc6749_2_3_a_request_authenticates_in_one_way_only(service: Service) -> None:
    body = urlencode({"client_id": "portal", "client_secret": SECRET, "scope": ""})
    assert raw_post(service, "device", body).status_code == 200
    both = raw_post(service, "device", body, Authorization=basic("portal", quote(SECRET)))
    assert "one way only" in error(both, 400, "invalid_request")


def test_rfc6749_2_3_1_name_and_secret_are_form_encoded_in_the_header(service: Service) -> None:
    encoded = basic(quote(ODD_ID, safe=""), quote(ODD_SECRET, safe=""))
    assert raw_post(service, "device", "scope=", Authorization=encoded).status_code == 200
    plus = basic(quote(ODD_ID, safe=""), quote(ODD_SECRET, safe=" ").replace(" ", "+"))
    assert raw_post(service, "device", "scope=", Authorization=plus).status_code == 200
    bare = raw_post(service, "device", "scope=", Authorization=basic(ODD_ID, ODD_SECRET))
    error(bare, 401, "invalid_client")


def test_rfc6749_2_3_1_credentials_in_the_address_are_not_taken(service: Service) -> None:
    form = {"client_id": "portal", "client_secret": SECRET}
    answer = raw_post(service, f"device?{urlencode(form)}", "client_id=portal&scope=")
    error(answer, 401, "invalid_client")


def test_rfc6749_3_1_get_and_post_do_the_same(service: Service) -> None:
    address = asking(service)
    assert not urlsplit(address).fragment
    got = httpx.get(address, **RAW)
    posted = httpx.post(
        f"{service.issuer}/authorization",
        content=urlsplit(address).query,
        headers={"Content-Type": FORM},
        **RAW,
    )
    assert (got.status_code, got.headers["location"]) == (303, "login")
    assert (posted.status_code, posted.headers["location"]) == (303, "login")


def test_rfc6749_3_1_empty_is_omitted_and_unknown_is_ignored(service: Service) -> None:
    more = (
        "&request=&request_uri=&response_mode=&prompt=&max_age=&dpop_jkt=&registration=&resource=&unheard=of"
    )
    with Walker(service) as browser:
        answer = browser.allow(asking(service, state="") + "&state=" + more)
    assert set(answer) == {"code", "iss"}
    assert redeem(service, answer["code"]).status_code == 200
    without = httpx.get(asking(service, code_challenge="") + "&code_challenge=", **RAW)
    assert query(without.headers["location"])["error"] == "invalid_request"


@pytest.mark.parametrize("name", ["state", "client_id", "redirect_uri", "code_challenge", "unheard"])
def test_rfc6749_3_1_a_parameter_that_comes_twice_is_refused(service: Service, name: str) -> None:
    once = asking(service, unheard="of")
    again = httpx.get(f"{once}&{name}={quote(query(once)[name])}", **RAW)
    assert again.status_code == 400
    assert "more than once" in again.text
    assert "location" not in again.headers
    empty = httpx.get(f"{once}&{name}=", **RAW)
    assert empty.status_code == 400


def test_rfc6749_3_1_1_the_response_type_is_required(service: Service) -> None:
    for given, code in (("", "invalid_request"), ("code token", "unsupported_response_type")):
        answer = httpx.get(asking(service, response_type=given), **RAW)
        assert query(answer.headers["location"])["error"] == code


@pytest.mark.parametrize(
    "uri",
    [
        "/back",
        "portal.example.org/back",
        "https://portal.example.org/back#top",
        "https://portal.example.org/back#",
        "https:///back",
        "http://portal.example.org/back",
        "http://localhost/back",
        "https://me@portal.example.org/back",
        "https://portal.example.org/../back",
        "https://*.example.org/back",
        "javascript:alert(1)",
        "data:text/html,x",
    ],
)
def test_rfc6749_3_1_2_what_cannot_be_registered(uri: str) -> None:
    ClientSettings(client_id="x", redirect_uris=(PORTAL,))
    with pytest.raises(ValidationError, match="redirect_uris"):
        ClientSettings(client_id="x", redirect_uris=(PORTAL, uri))


def test_rfc6749_3_1_2_the_query_of_an_address_is_kept(service: Service) -> None:
    where = "https://portal.example.org/other?kept=1"
    with Walker(service) as browser:
        answer = browser.allow(asking(service, redirect_uri=where))
    assert answer["kept"] == "1"
    assert redeem(service, answer["code"], redirect_uri=where).status_code == 200
    refused = httpx.get(asking(service, redirect_uri=where, scope="no"), **RAW).headers["location"]
    assert refused.startswith(f"{where}&")
    assert query(refused)["error"] == "invalid_scope"


def test_rfc6749_3_1_2_2_a_client_without_addresses_cannot_begin(service: Service) -> None:
    answer = httpx.get(asking(service, client_id="DIRAC_CLI"), **RAW)
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_rfc6749_3_2_tokens_are_given_to_post_only(service: Service, method: str) -> None:
    started = begin(service)
    said = {
        "grant_type": DEVICE_GRANT,
        "client_id": "DIRAC_CLI",
        "device_code": started["device_code"],
    }
    answer = httpx.request(method, f"{service.issuer}/token", params=said, **RAW)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert not urlsplit(f"{service.issuer}/token").fragment


def test_rfc6749_3_2_empty_is_omitted_and_unknown_is_ignored(service: Service) -> None:
    started = begin(service)
    body = {"grant_type": DEVICE_GRANT, "client_id": "DIRAC_CLI", "device_code": started["device_code"]}
    spare = "&client_secret=&client_assertion=&client_assertion_type=&scope=&resource=&unheard=of"
    pending = raw_post(service, "token", urlencode(body) + spare)
    error(pending, 400, "authorization_pending")
    empty = raw_post(service, "token", urlencode({**body, "device_code": ""}))
    error(empty, 400, "invalid_request")
    twice = raw_post(service, "token", urlencode(body) + "&scope=&scope=")
    error(twice, 400, "invalid_request")


@pytest.mark.parametrize("scope", ["OPENID", "G:training_user", "g:TRAINING_USER"])
def test_rfc6749_3_3_scopes_mind_case(service: Service, scope: str) -> None:
    assert post(service, "device", client_id="DIRAC_CLI", scope="openid g:training_user").status_code == 200
    error(post(service, "device", client_id="DIRAC_CLI", scope=scope), 400, "invalid_scope")


def test_rfc6749_3_3_the_scope_that_was_given_is_said(service: Service) -> None:
    tokens = login(service, scope="lifetime:600 openid g:training_user")
    assert tokens["scope"] == "openid g:training_user"
    again = post(
        service,
        "token",
        grant_type="refresh_token",
        refresh_token=tokens["refresh_token"],
        client_id="DIRAC_CLI",
    )
    assert again.json()["scope"] == tokens["scope"]


@pytest.mark.parametrize("given", [{"client_id": ""}, {"client_id": "nobody"}, {"client_id": "PORTAL"}])
def test_rfc6749_4_1_1_without_a_known_client_nobody_is_sent_anywhere(
    service: Service, given: dict[str, str]
) -> None:
    answer = httpx.get(asking(service, **given), **RAW)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert answer.headers["content-type"].startswith("text/html")


def test_rfc6749_4_1_2_the_state_comes_back_as_it_came(service: Service) -> None:
    state = "a b+c%2Bd&e=f#g?h/\u00e9\u20ac\"<>'"
    with Walker(service) as browser:
        assert browser.allow(asking(service, state=state))["state"] == state
    refused = httpx.get(asking(service, state=state, scope="no"), **RAW)
    assert query(refused.headers["location"])["state"] == state


def test_rfc6749_4_1_2_a_code_expires(service: Service) -> None:
    answer = code_login(service)
    newest = "(SELECT max(rowid) FROM login_request)"
    [(lives,)] = look(
        service,
        f"SELECT expires_at - (SELECT max(at) FROM audit_event) FROM login_request WHERE rowid = {newest}",
    )
    assert 0 < lives <= 600
    assert change(service, f"UPDATE login_request SET expires_at = 1 WHERE rowid = {newest}") == 1
    assert "expired" in error(redeem(service, answer["code"]), 400, "invalid_grant")
    for seconds in (9, 601):
        with pytest.raises(ValidationError):
            _lifetimes(seconds)


def _lifetimes(code: int) -> None:
    from gatehouse.registry.settings import Lifetimes

    Lifetimes(authorization_code=code)


def test_rfc6749_4_1_2_1_a_client_without_the_grant_is_told_so(service: Service) -> None:
    body = urlencode({"client_id": "other", "response_type": "code", "redirect_uri": PORTAL})
    error(raw_post(service, "par", body), 400, "unauthorized_client")
    native = post(service, "device", client_id="native", scope="")
    error(native, 400, "unauthorized_client")


def test_rfc6749_4_4_no_public_client_has_credentials() -> None:
    given = ClientSettings(client_id="x", grant_types=("client_credentials",), client_secret="s")  # type: ignore[arg-type]
    assert "client_credentials" in from_settings(given).grant_types
    with pytest.raises(ConfigurationError, match="public"):
        from_settings(ClientSettings(client_id="x", grant_types=("client_credentials",)))


def test_rfc6749_5_1_a_token_response_is_complete_and_not_stored(service: Service) -> None:
    answer = redeem(service, code_login(service)["code"])
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    tokens = answer.json()
    assert isinstance(tokens["expires_in"], int)
    assert tokens["expires_in"] > 0
    assert {"access_token", "token_type", "refresh_token", "scope"} <= set(tokens)
    again = post(
        service,
        "token",
        grant_type="refresh_token",
        refresh_token=tokens["refresh_token"],
        client_id="portal",
        client_secret=SECRET,
    )
    assert (again.headers["cache-control"], again.headers["pragma"]) == ("no-store", "no-cache")


def test_rfc6749_5_2_each_error_has_its_code(service: Service) -> None:
    known = {"client_id": "DIRAC_CLI"}
    for form, status, code in (
        ({**known, "grant_type": DEVICE_GRANT}, 400, "invalid_request"),
        ({"grant_type": DEVICE_GRANT, "device_code": "x", "client_id": "nobody"}, 401, "invalid_client"),
        ({**known, "grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant"),
        ({**known, "grant_type": "authorization_code", "code": "x"}, 400, "unauthorized_client"),
        ({**known, "grant_type": "password", "username": "a"}, 400, "unsupported_grant_type"),
    ):
        answer = post(service, "token", **form)
        said = error(answer, status, code)
        assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", said)
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.headers["pragma"] == "no-cache"


def test_rfc6749_5_2_a_false_header_is_401_with_a_challenge(service: Service) -> None:
    answer = raw_post(
        service, "token", "grant_type=refresh_token&refresh_token=x", Authorization=basic("portal", "guess")
    )
    error(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_rfc6749_10_1_a_public_client_shows_no_secret(service: Service) -> None:
    """Whoever holds a made-up secret of a public client is not believed to be it."""
    error(post(service, "device", client_id="other", client_secret="x", scope=""), 401, "invalid_client")
    header = raw_post(service, "device", "scope=", Authorization=basic("other", ""))
    error(header, 401, "invalid_client")


def test_rfc6749_10_5_a_code_is_nowhere_in_the_database(service: Service) -> None:
    code = code_login(service)["code"]
    for path in service.folder.glob("gatehouse.db*"):
        assert code.encode() not in path.read_bytes()
    assert code not in service.log.read_text()


def test_rfc6749_10_10_nothing_can_be_guessed(service: Service) -> None:
    """128 bits are 22 letters of base64url; no two are alike in their first letters."""
    codes, devices, refreshes, requests = set(), set(), set(), set()
    pushed = {"client_id": "portal", "client_secret": SECRET, **query(asking(service))}
    with Walker(service) as browser:
        for _ in range(5):
            codes.add(browser.allow(asking(service))["code"])
            devices.add(begin(service)["device_code"])
            requests.add(post(service, "par", **pushed).json()["request_uri"].rpartition(":")[2])
        refreshes = {redeem(service, code).json()["refresh_token"].removeprefix("gh1.") for code in codes}
    for found in (codes, devices, refreshes, requests):
        assert min(len(one) for one in found) >= 22
        assert len({one[:6] for one in found}) == 5


def test_rfc6749_10_12_a_form_of_another_browser_is_not_taken(service: Service) -> None:
    with Walker(service) as victim, Walker(service) as attacker:
        mine = attacker.consent(asking(service))
        victim.consent(asking(service))
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', mine.text))
        forged = victim.http.post(f"{service.issuer}/login/confirm", data={**hidden, "action": "confirm"})
        assert forged.status_code == 403
        none = victim.http.post(f"{service.issuer}/login/confirm", data={"action": "confirm"})
        assert none.status_code == 403


def test_rfc6749_10_13_no_page_can_be_framed(service: Service) -> None:
    with Walker(service) as browser:
        consent = browser.consent(asking(service))
        chooser = browser.follow(browser.submit(consent, action="confirm"))
        wrong = browser.http.get(asking(service, client_id="nobody"))
        device = browser.open(begin(service))
        home = browser.http.get(f"{service.base}/")
    for page in (consent, chooser, wrong, device, home):
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"], page.url


def test_rfc6749_10_14_what_comes_in_stays_text(service: Service) -> None:
    hostile = "<script>alert(1)</script>"
    with Walker(service) as browser:
        pages = [
            browser.consent(asking(service, state=hostile, nonce=hostile, unheard=hostile)),
            browser.http.get(asking(service, client_id=hostile)),
            browser.http.get(asking(service, redirect_uri=hostile)),
            browser.http.get(f"{service.issuer}/device", params={"user_code": hostile}),
            browser.http.get(asking(service) + f"&{quote(hostile)}=1&{quote(hostile)}=2"),
        ]
    assert all(hostile not in page.text for page in pages)
    located = httpx.get(asking(service, scope=hostile, state=f"x\r\nSet-Cookie: a={hostile}"), **RAW)
    assert "a" not in located.cookies
    assert poll(service, begin(service)).status_code == 400
    assert get(service, "jwk").status_code == 200
    assert parse_qs(urlsplit(asking(service)).query)
