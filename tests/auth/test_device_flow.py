"""The device flow (RFC 8628) over a socket: the happy road, and every way it must not go."""

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jose import jwt as jose

from gatehouse.cli.demo.approve import approve
from gatehouse.cli.demo.people import PEOPLE
from gatehouse.tokenmanager import seal
from tests.auth.kit import (
    CLIENTS,
    DEVICE_GRANT,
    Walker,
    at_once,
    begin,
    broken,
    change,
    error,
    events,
    get,
    login,
    look,
    poll,
    post,
    query,
    words,
)
from tests.service import Service

METADATA = (
    "/auth/.well-known/openid-configuration",
    "/auth/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/auth",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here; at the end its whole record must still hold together."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS) as running:
        yield running
        assert events(running)
        assert broken(running) == []
        assert "Traceback" not in running.log.read_text()


def expire(service: Service, started: dict[str, Any]) -> None:
    """Let the life of a device request pass."""
    sealed = seal.from_text((service.folder / "master.key").read_text())
    code = sealed.keyed_hash("user-code", started["user_code"])
    assert change(service, "UPDATE login_request SET expires_at = 1 WHERE handle_hash = ?", code) == 1


# --- the happy road


def test_rfc8414_3_the_metadata_is_the_same_at_all_three_addresses(service: Service) -> None:
    found = [httpx.get(service.base + path, trust_env=False) for path in METADATA]
    assert {answer.status_code for answer in found} == {200}
    assert len({answer.text for answer in found}) == 1
    said = found[0].json()
    assert said["issuer"] == service.issuer
    assert said["device_authorization_endpoint"] == f"{service.issuer}/device"
    assert DEVICE_GRANT in said["grant_types_supported"]
    assert {"g:", "proxy", "lifetime:"} <= set(said["scopes_supported"])
    # what dirac-configure --login reads
    assert said["configuration_server"] == service.base
    assert isinstance(said["setups"], list)
    assert said["setups"]


def test_rfc7517_the_keys_are_public_and_an_unchanged_set_is_not_sent_twice(service: Service) -> None:
    first = get(service, "jwk")
    keys = first.json()["keys"]
    assert {key["alg"] for key in keys} == {"RS256", "ES256"}
    assert len({key["kid"] for key in keys}) == len(keys)
    assert not {"d", "p", "q", "k"} & {name for key in keys for name in key}
    etag = first.headers["etag"]
    for given in (etag, f'"older", W/{etag}', "*"):
        again = httpx.get(f"{service.issuer}/jwk", headers={"If-None-Match": given}, trust_env=False)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag), given
    other = httpx.get(f"{service.issuer}/jwk", headers={"If-None-Match": '"older"'}, trust_env=False)
    assert other.status_code == 200


def test_rfc8628_3_2_the_device_answer_has_what_a_client_needs(service: Service) -> None:
    started = begin(service)
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", started["user_code"])
    assert len(started["device_code"]) >= 43
    assert started["verification_uri"] == f"{service.issuer}/device"
    code = started["user_code"]
    assert started["verification_uri_complete"] == f"{service.issuer}/device?user_code={code}"
    assert started["expires_in"] >= 300
    assert started["interval"] == 5
    kept = look(service, "SELECT * FROM login_request ORDER BY rowid DESC LIMIT 1")
    assert code not in str(kept)
    assert started["device_code"] not in str(kept)


def test_the_tokens_are_what_diracs_programs_expect(service: Service) -> None:
    before = int(time.time())
    tokens = login(service)
    assert {"access_token", "refresh_token", "token_type", "expires_in", "scope"} <= set(tokens)
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 7200)

    header = jose.get_unverified_header(tokens["access_token"])
    assert (header["alg"], header["typ"]) == ("RS256", "at+jwt")
    key = next(key for key in get(service, "jwk").json()["keys"] if key["kid"] == header["kid"])
    claims = jose.decode(
        tokens["access_token"],
        key,
        algorithms=["RS256"],
        audience=f"{service.base}/api",
        issuer=service.issuer,
        options={"require_exp": True, "require_iat": True, "require_sub": True},
    )
    assert claims["client_id"] == "DIRAC_CLI"
    assert "g:training_user" in claims["scope"].split(" ")
    assert before <= claims["iat"] <= time.time()
    assert claims["exp"] == claims["iat"] + 7200
    assert claims["sub"]
    assert claims["sub"] != "alice"  # opaque: never used again for somebody else


def test_userinfo_tells_who_the_bearer_is(service: Service) -> None:
    tokens = login(service)
    said = get(service, "userinfo", tokens["access_token"]).json()
    assert said["sub"] == jose.get_unverified_claims(tokens["access_token"])["sub"]
    assert said["username"] == said["preferred_username"] == "alice"
    assert (said["group"], said["vo"], said["properties"]) == (
        "training_user",
        "training.egi.eu",
        ["NormalUser"],
    )
    posted = httpx.post(
        f"{service.issuer}/userinfo",
        headers={"Authorization": f"bearer {tokens['access_token']}"},
        trust_env=False,
    )
    assert posted.json() == said


def test_another_client_gets_the_algorithm_of_its_own(service: Service) -> None:
    tokens = login(service, client="other")
    assert jose.get_unverified_header(tokens["access_token"])["alg"] == "ES256"
    assert get(service, "userinfo", tokens["access_token"]).status_code == 200


def test_each_step_of_a_login_is_recorded_with_who_did_it(service: Service) -> None:
    seen = len(events(service))
    subject = jose.get_unverified_claims(login(service)["access_token"])["sub"]
    found = events(service)[seen:]
    assert [(event.kind, event.actor) for event in found] == [
        ("device.started", "DIRAC_CLI"),
        ("login.approved", "alice"),
        ("login.completed", "alice"),
    ]
    assert {event.subject for event in found[1:]} == {subject}
    assert found[1].facts["provider"] == "egi-demo"
    assert found[2].facts["group"] == "training_user"


# --- the scope


@pytest.mark.parametrize(
    "scope",
    ["g:training_user+lifetime:21600", "lifetime:3600 g:training_user", "openid+g:training_user profile"],
)
def test_the_plus_and_the_space_both_separate_scopes(service: Service, scope: str) -> None:
    """DIRAC's programs send `g%3Atraining_user%2Blifetime%3A21600`: one string with a literal plus."""
    tokens = login(service, scope=scope)
    assert "g:training_user" in tokens["scope"].split(" ")


@pytest.mark.parametrize("scope", ["", " "])
def test_without_a_group_the_browser_asks_which(service: Service, scope: str) -> None:
    started = begin(service, scope)
    with Walker(service) as browser:
        browser.confirm(started)
        page = browser.log_in("iam-demo", "alice")
        assert page.status_code == 200
        assert re.findall(r'name="group" value="([^"]+)"', page.text) == ["training_user", "training_pilot"]
        assert error(poll(service, started), 400, "authorization_pending")
        done = browser.submit(page, group="training_pilot")
        assert "Authorization complete" in done.text
    assert "g:training_pilot" in poll(service, started).json()["scope"].split(" ")


def test_a_group_that_the_page_did_not_offer_cannot_be_chosen(service: Service) -> None:
    for group in ("training_admin", "", "training_pilot\n"):
        started = begin(service, "")
        with Walker(service) as browser:
            browser.confirm(started)
            page = browser.log_in("iam-demo", "alice")
            assert browser.submit(page, group=group).status_code == 409
            error(poll(service, started), 400, "authorization_pending")
            assert browser.submit(page, group="training_user").status_code == 200


def test_a_person_with_one_group_is_not_asked(service: Service) -> None:
    assert login(service, "bob", "")["scope"] == "g:training_user"


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("g:training_user nonsense", "The scope nonsense is unknown"),
        ("g:", "must be a name"),
        ("g:../../etc", "must be a name"),
        ("g:training_user+g:training_pilot", "Ask for one group"),
        ("g:nobody", "No group is called nobody here"),
        ('g:training_user "', "characters"),
        ("g:training_user lifetime:soon", "positive number of seconds"),
        ("g:training_user lifetime:0", "positive number of seconds"),
        ("g:training_user+proxy", "does not issue X.509 proxies"),
        ("g:" + "a" * 2000, "longer than 1024"),
    ],
)
def test_rfc6749_5_2_a_scope_that_cannot_be_is_refused_and_recorded(
    service: Service, scope: str, words: str
) -> None:
    before = look(service, "SELECT count(*) FROM login_request")
    assert words in error(post(service, "device", client_id="DIRAC_CLI", scope=scope), 400, "invalid_scope")
    assert look(service, "SELECT count(*) FROM login_request") == before
    last = events(service)[-1]
    assert (last.kind, last.actor, last.facts["error"]) == ("device.refused", "DIRAC_CLI", "invalid_scope")
    assert words in last.facts["why"]


# --- requests that are none


def test_rfc6749_3_2_1_an_unknown_or_false_client_is_refused(service: Service) -> None:
    for form in ({"client_id": "nobody"}, {}, {"client_id": "portal"}, {"client_id": "portal\x00"}):
        answer = post(service, "device", **form, scope="")
        assert answer.status_code in (400, 401)
        assert answer.json()["error"] in ("invalid_client", "invalid_request"), form
    wrong = post(service, "device", client_id="portal", client_secret="guess", scope="")
    assert wrong.json()["error"] == "invalid_client"
    pilot = post(service, "device", client_id="gatehouse-pilot", scope="")
    error(pilot, 400, "unauthorized_client")
    assert {e.actor for e in events(service, "device.refused")} >= {"nobody", "portal", "gatehouse-pilot"}
    assert "guess" not in str(events(service))


def test_rfc6749_2_3_1_a_client_with_a_secret_shows_it_in_the_header_or_in_the_form(service: Service) -> None:
    form = post(service, "device", client_id="portal", client_secret="only for this test", scope="")
    header = httpx.post(
        f"{service.issuer}/device", data={"scope": ""}, auth=("portal", "only%20for%20this%20test")
    )
    assert (form.status_code, header.status_code) == (200, 200)
    started = form.json()
    error(poll(service, started, "portal"), 401, "invalid_client")


@pytest.mark.parametrize("header", ["Basic /w==", "Basic !", "Basic", "Basic OjpYOg==", "Digest x"])
def test_a_broken_authorization_header_is_the_callers_mistake(service: Service, header: str) -> None:
    answer = httpx.post(
        f"{service.issuer}/token",
        data={"grant_type": DEVICE_GRANT, "device_code": "x"},
        headers={"Authorization": header},
        trust_env=False,
    )
    error(answer, 401, "invalid_client")


def test_rfc6749_3_2_missing_and_doubled_parameters_are_refused(service: Service) -> None:
    started = begin(service)
    code = started["device_code"]
    error(post(service, "token", client_id="DIRAC_CLI", device_code=code), 400, "unsupported_grant_type")
    error(post(service, "token", client_id="DIRAC_CLI", grant_type=DEVICE_GRANT), 400, "invalid_request")
    error(post(service, "token", grant_type=DEVICE_GRANT, device_code=code), 401, "invalid_client")
    error(
        post(service, "token", client_id="DIRAC_CLI", grant_type="password", username="a", password="b"),
        400,
        "unsupported_grant_type",
    )
    twice = f"client_id=DIRAC_CLI&grant_type={DEVICE_GRANT}&device_code={code}&device_code={code}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = httpx.post(f"{service.issuer}/token", content=twice, headers=kind, trust_env=False)
    assert "more than once" in error(answer, 400, "invalid_request")
    assert code not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"client_id=DIRAC_CLI&scope=%ff",
        b"client_id=DIRAC_CLI&scope=\xff",
        b"client_id=DIRAC_CLI%00&scope=",
        b"client_id=DIRAC_CLI&%C3%A9%22=1&%C3%A9%22=2",
        b"&".join(b"p%d=1" % number for number in range(100)),
    ],
)
def test_a_body_that_is_no_form_is_refused(service: Service, body: bytes) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
    answer = httpx.post(f"{service.issuer}/device", content=body, headers=kind, trust_env=False)
    error(answer, 400, "invalid_request")


def test_the_parameters_are_taken_from_a_form_only(service: Service) -> None:
    json_body = httpx.post(f"{service.issuer}/device", json={"client_id": "DIRAC_CLI"}, trust_env=False)
    assert "form" in error(json_body, 400, "invalid_request")
    in_query = httpx.post(f"{service.issuer}/device?client_id=DIRAC_CLI&scope=", trust_env=False)
    error(in_query, 400, "invalid_request")


def test_an_oversized_body_is_not_read(service: Service) -> None:
    large = post(service, "device", client_id="DIRAC_CLI", scope="a" * 70_000)
    error(large, 413, "too_large")

    def chunks() -> Iterator[bytes]:
        yield b"client_id=DIRAC_CLI&scope="
        for _ in range(100):
            yield b"a" * 1024

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    without_length = httpx.post(f"{service.issuer}/device", content=chunks(), headers=kind, trust_env=False)
    error(without_length, 413, "too_large")


# --- polling


def test_rfc8628_3_5_pending_is_never_slow_down(service: Service) -> None:
    """`slow_down` is fatal to DIRAC's client, so even a hasty one is only told to wait."""
    started = begin(service)
    said = {poll(service, started).json()["error"] for _ in range(20)}
    assert said == {"authorization_pending"}
    # and to say so a thousand times fills no record
    assert not [e for e in events(service, "token.refused") if e.facts["error"] == "authorization_pending"]


def test_rfc8628_3_5_not_me_ends_the_login_with_the_reason(service: Service) -> None:
    started = begin(service)
    with Walker(service) as browser:
        page = browser.submit(browser.open(started), action="deny")
        assert page.status_code == 200
        assert "nothing was given to anybody" in page.text
        assert browser.leave("egi-demo").status_code == 410
    assert "this was not me" in error(poll(service, started), 400, "access_denied")
    denied = events(service, "login.denied")[-1]
    assert denied.actor == "browser"
    assert "this was not me" in denied.facts["why"]
    with Walker(service) as browser:
        assert browser.open(started).status_code == 404


def test_rfc6749_5_2_a_reason_in_any_language_becomes_a_sentence_of_ascii(service: Service) -> None:
    started = begin(service)
    change(
        service,
        "UPDATE login_request SET status = 'denied', reason = ? WHERE id = ?",
        'The "Jülich" \\ 东京 provider says no.',
        look(service, "SELECT id FROM login_request ORDER BY rowid DESC LIMIT 1")[0][0],
    )
    assert error(poll(service, started), 400, "access_denied") == "The 'Julich' / provider says no."


def test_rfc8628_3_5_an_expired_code_says_so(service: Service) -> None:
    waiting = begin(service)
    expire(service, waiting)
    error(poll(service, waiting), 400, "expired_token")
    with Walker(service) as browser:
        page = browser.open(waiting)
        assert page.status_code == 404
        assert "expired" in page.text
    last = [e for e in events(service, "token.refused") if e.facts["error"] == "expired_token"]
    assert last[-1].actor == "DIRAC_CLI"


def test_a_code_that_expires_on_the_way_is_not_approved_any_more(service: Service) -> None:
    started = begin(service)
    with Walker(service) as browser:
        browser.confirm(started)
        back = browser.visit("egi-demo", "alice")
        expire(service, started)
        page = browser.http.get(back)
        assert page.status_code == 410
        assert "took too long" in page.text
    error(poll(service, started), 400, "expired_token")


def test_an_approved_code_that_nobody_redeems_in_time_is_worth_nothing(service: Service) -> None:
    started = begin(service)
    approve(started["verification_uri_complete"], "alice")
    expire(service, started)
    error(poll(service, started), 400, "expired_token")


def test_rfc8628_3_5_a_device_code_works_once(service: Service) -> None:
    started = begin(service)
    approve(started["verification_uri_complete"], "alice")
    assert poll(service, started).status_code == 200
    assert "used before" in error(poll(service, started), 400, "invalid_grant")
    assert events(service, "token.refused")[-1].facts["error"] == "invalid_grant"


def test_rfc6749_5_2_a_code_of_another_client_is_worth_nothing(service: Service) -> None:
    started = begin(service)
    approve(started["verification_uri_complete"], "alice")
    error(poll(service, started, "other"), 400, "invalid_grant")
    assert events(service, "token.refused")[-1].actor == "other"
    assert poll(service, started).status_code == 200


@pytest.mark.parametrize("code", ["x", "é", "a" * 5000])
def test_an_invented_code_is_worth_nothing(service: Service, code: str) -> None:
    error(
        post(service, "token", client_id="DIRAC_CLI", grant_type=DEVICE_GRANT, device_code=code),
        400,
        "invalid_grant",
    )


def test_of_64_polls_at_once_exactly_one_wins(service: Service) -> None:
    started = begin(service)
    approve(started["verification_uri_complete"], "alice")
    before = look(service, "SELECT count(*) FROM grant_family")[0][0]
    answers = at_once(
        service,
        "token",
        64,
        client_id="DIRAC_CLI",
        grant_type=DEVICE_GRANT,
        device_code=started["device_code"],
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 63
    assert {answer.json().get("error") for answer in answers} == {None, "invalid_grant"}
    assert look(service, "SELECT count(*) FROM grant_family")[0][0] == before + 1


# --- who may not


def test_a_group_that_is_not_theirs_is_refused_on_the_page_and_at_the_poll(service: Service) -> None:
    started = begin(service, "g:training_pilot")
    with Walker(service) as browser:
        browser.confirm(started)
        page = browser.log_in("egi-demo", "bob")
        assert page.status_code == 403
        assert "does not say that bob belongs to training_pilot. Groups of bob: training_user" in words(page)
    assert "bob belongs to training_pilot" in error(poll(service, started), 400, "access_denied")
    assert "training_pilot" in events(service, "login.denied")[-1].facts["why"]


def test_a_person_without_any_group_is_told_so(service: Service) -> None:
    for scope in ("", "g:training_user"):
        started = begin(service, scope)
        with Walker(service) as browser:
            browser.confirm(started)
            page = browser.log_in("egi-demo", "carol")
            assert page.status_code == 403
            assert "names no group membership of carol" in words(page)
            assert "manager of your community" in page.text
        assert "carol" in error(poll(service, started), 400, "access_denied")


def test_a_suspended_person_does_not_get_in(service: Service) -> None:
    login(service, "bob")
    change(service, "UPDATE person SET status = 'suspended' WHERE username = 'bob'")
    try:
        started = begin(service)
        with Walker(service) as browser:
            browser.confirm(started)
            page = browser.log_in("egi-demo", "bob")
            assert page.status_code == 403
            assert "The account bob is suspended" in words(page)
        assert "suspended" in error(poll(service, started), 400, "access_denied")
    finally:
        change(service, "UPDATE person SET status = 'active' WHERE username = 'bob'")


def test_a_person_suspended_between_approval_and_poll_gets_nothing(service: Service) -> None:
    started = begin(service)
    approve(started["verification_uri_complete"], "bob")
    change(service, "UPDATE person SET status = 'suspended' WHERE username = 'bob'")
    try:
        assert "suspended" in error(poll(service, started), 400, "invalid_grant")
    finally:
        change(service, "UPDATE person SET status = 'active' WHERE username = 'bob'")


# --- the browser's part, without a browser


def test_no_step_can_be_skipped(service: Service) -> None:
    started = begin(service)
    with Walker(service) as browser:
        assert browser.leave("egi-demo").status_code == 400  # no link was opened here
        confirmation = browser.open(started)
        assert browser.leave("egi-demo").status_code == 409  # not confirmed
        forged = browser.submit(confirmation, action="confirm", csrf="0" * 32)
        assert forged.status_code == 403
        with Walker(service) as stranger:
            stranger.open(started)
            stolen = stranger.submit(confirmation, action="confirm")
            assert stolen.status_code == 403
        group = browser.http.post(
            f"{service.issuer}/login/group",
            data={"csrf": query_csrf(confirmation), "group": "training_user"},
        )
        assert group.status_code == 409  # nobody is known yet
    error(poll(service, started), 400, "authorization_pending")


def query_csrf(page: httpx.Response) -> str:
    """The token of the form of a page."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert found is not None
    return found[1]


def test_a_link_that_was_used_leads_nowhere_twice(service: Service) -> None:
    started = begin(service)
    with Walker(service) as first, Walker(service) as second:
        first.confirm(started)
        second.confirm(started)
        assert "Authorization complete" in first.log_in("egi-demo", "alice").text
        assert second.leave("egi-demo").status_code == 410
    assert poll(service, started).status_code == 200


def test_the_trip_to_the_provider_carries_all_that_binds_it(service: Service) -> None:
    started = begin(service)
    with Walker(service) as browser:
        browser.confirm(started)
        trips = [query(browser.leave("iam-demo").headers["location"]) for _ in range(2)]
    for trip in trips:
        assert trip["response_type"] == "code"
        assert trip["redirect_uri"] == f"{service.issuer}/redirect"
        assert trip["code_challenge_method"] == "S256"
        assert min(len(trip[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    assert not set(trips[0].values()) & {trips[1][name] for name in ("state", "nonce", "code_challenge")}


def test_only_providers_that_the_community_accepts_are_offered(service: Service) -> None:
    started = begin(service)
    with Walker(service) as browser:
        page = browser.confirm(started)
        assert re.findall(r'href="(login/[^"]+)"', page.text) == [
            "login/egi-demo",
            "login/iam-demo",
        ]
        assert browser.leave("nobody").status_code == 404


def test_guessing_codes_is_slowed_down(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Service(tmp_path_factory.mktemp("guesses"), more="") as service, Walker(service) as browser:
        link = f"{service.issuer}/device?user_code=BCDF-GHJK"
        statuses = [browser.http.get(link).status_code for _ in range(7)]
        assert statuses == [404] * 5 + [429] * 2
        assert "Try again in" in browser.http.get(link).text


def test_over_https_the_cookie_belongs_to_this_host_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = {"GATEHOUSE_SERVER__BASE_URL": "https://gatehouse.example.org"}
    with Service(tmp_path_factory.mktemp("https"), more="", environ=outside) as service:
        started = begin(service)
        assert started["verification_uri"] == "https://gatehouse.example.org/auth/device"
        page = get(service, f"device?user_code={started['user_code']}")
        cookie = page.headers["set-cookie"]
        assert cookie.startswith("__Host-gatehouse-login=")
        flags = {part.strip().partition("=")[0].lower() for part in cookie.split(";")[1:]}
        assert {"secure", "httponly", "samesite", "path"} <= flags
        assert "domain" not in flags
        assert "max-age=" in page.headers["strict-transport-security"]


def test_the_same_person_at_two_providers_is_one(service: Service) -> None:
    """The demo Registry lists both subjects of alice as her DNs."""
    subjects = set()
    for provider in ("egi-demo", "iam-demo"):
        started = begin(service)
        approve(started["verification_uri_complete"], "alice", provider=provider)
        subjects.add(jose.get_unverified_claims(poll(service, started).json()["access_token"])["sub"])
    assert len(subjects) == 1
    assert next(p for p in PEOPLE if p.username == "alice").subject("iam") not in subjects
