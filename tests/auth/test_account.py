"""My sessions and tokens: what people see of themselves, what they can end, and that it is theirs alone."""

from collections.abc import Iterator

import httpx
import pytest

from tests.auth import kit
from tests.auth.kit import CLIENTS, Walker, asking, events, login, query, redeem, words
from tests.auth.receiver import account, claims, enter, forms, logged_in, still, until
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS) as running:
        yield running
        assert "Traceback" not in running.log.read_text()
        assert kit.broken(running) == []


@pytest.fixture
def browser(service: Service) -> Iterator[Walker]:
    """A browser in which alice is logged in."""
    with Walker(service) as made:
        enter(service, made)
        yield made


def button(page: httpx.Response, action: str, **fields: str) -> tuple[str, dict[str, str]]:
    """The form of a page that goes there and has these fields."""
    (found,) = [
        (where, values)
        for where, values in forms(page)
        if where.endswith(action) and fields.items() <= values.items()
    ]
    return found


def grants(page: httpx.Response) -> set[str]:
    """The ids of the grants that a page offers to end."""
    return {values["grant"] for where, values in forms(page) if where.endswith("/account/grant")}


def grant_of(service: Service, access_token: str) -> str:
    """The grant behind an access token."""
    return str(claims(access_token)["grant"])


def test_who_is_not_logged_in_logs_in_and_comes_back(service: Service) -> None:
    with Walker(service) as browser:
        away = browser.http.get(f"{service.issuer}/account")
        assert away.headers["location"] == f"{service.issuer}/login"
        chooser = browser.follow(away)
        assert "finish the login of My sessions and tokens" in words(chooser)
        back = browser.log_in("egi-demo", "alice")
        assert (back.status_code, back.headers["location"]) == (303, f"{service.issuer}/account")
        assert "Your sessions and tokens" in words(browser.follow(back))


def test_the_page_says_in_plain_words_what_there_is(service: Service, browser: Walker) -> None:
    bound = redeem(
        service,
        query(browser.submit(browser.consent(asking(service)), action="confirm").headers["location"])["code"],
    ).json()
    offline = redeem(
        service, browser.allow(asking(service, scope="openid offline_access g:training_user"))["code"]
    )
    device = login(service)
    page = account(service, browser)
    said = words(page)
    assert "User name alice" in said
    assert "Vouched for by EGI Check-in (demo)" in said
    assert "training_user community training.egi.eu Why you have it: listed in the Registry" in said
    assert "Why you have it: EGI Check-in (demo): entitlements says" in said
    assert "portal this browser Group training_user" in said
    assert "When you log out ends with this browser" in said
    assert "When you log out stays: you allowed it to" in said
    assert "DIRAC command line Group training_user" in said
    assert "When you log out stays: it was not started in a browser" in said
    assert "UTC, from 127.0.0.1" in said
    shown = grants(page)
    for given in (bound, offline.json(), device):
        assert grant_of(service, given["access_token"]) in shown
        assert given["refresh_token"] not in page.text
        assert given["access_token"] not in page.text
    assert browser.http.cookies["gatehouse-session"] not in page.text


def test_one_login_of_a_program_is_ended(service: Service, browser: Walker) -> None:
    device, other = login(service), login(service)
    where, fields = button(
        account(service, browser), "/account/grant", grant=grant_of(service, device["access_token"])
    )
    assert kit.get(service, "userinfo", device["access_token"]).status_code == 200
    done = browser.http.post(where, data=fields)
    assert done.status_code == 303
    page = browser.follow(done)
    assert "That login has ended." in words(page)
    assert grant_of(service, device["access_token"]) not in grants(page)
    assert not still(service, device, "DIRAC_CLI")
    assert still(service, other, "DIRAC_CLI")
    until(lambda: kit.get(service, "userinfo", device["access_token"]).status_code == 401, 5)
    ended = events(service, "grant.ended")[-1]
    assert (ended.actor, ended.facts["why"]) == ("alice", "ended by its owner")
    # again it is simply there no more, and nothing is ended twice
    count = len(events(service, "grant.ended"))
    assert browser.http.post(where, data=fields).status_code == 303
    assert len(events(service, "grant.ended")) == count


def test_another_browser_is_logged_out(service: Service, browser: Walker) -> None:
    with Walker(service) as lost:
        given = redeem(service, lost.allow(asking(service))["code"]).json()
        sid = claims(given["id_token"])["sid"]
        where, fields = button(account(service, browser), "/account/session", session=sid)
        assert "That browser is logged out." in words(browser.follow(browser.http.post(where, data=fields)))
        assert not logged_in(service, lost)
        assert not still(service, given)
    assert logged_in(service, browser)


def test_logging_out_by_the_button_ends_this_browser_only(service: Service, browser: Walker) -> None:
    device = login(service)
    where, fields = button(account(service, browser), "/logout/confirm")
    gone = browser.http.post(where, data=fields)
    assert "You are logged out" in words(gone)
    assert not logged_in(service, browser)
    assert still(service, device, "DIRAC_CLI")


def test_everything_ends_after_asking_once_more(service: Service, browser: Walker) -> None:
    device = login(service)
    bob = login(service, "bob")
    with Walker(service) as elsewhere, Walker(service) as bobs:
        enter(service, bobs, "bob")
        offline = redeem(
            service, elsewhere.allow(asking(service, scope="openid offline_access g:training_user"))["code"]
        ).json()
        asked = browser.http.get(f"{service.issuer}/account/everything")
        assert "End everything?" in words(asked)
        assert still(service, offline)
        ((where, fields),) = forms(asked)
        assert browser.http.post(where, data={**fields, "action": "no"}).status_code == 303
        assert logged_in(service, browser)
        assert "You are logged out" in words(browser.http.post(where, data=fields))
        assert not logged_in(service, browser)
        assert not logged_in(service, elsewhere)
        assert logged_in(service, bobs)
    for given, client in ((device, "DIRAC_CLI"), (offline, "portal")):
        assert not still(service, given, client)
    assert still(service, bob, "DIRAC_CLI")


def test_nobody_ends_what_is_somebody_elses(service: Service, browser: Walker) -> None:
    with Walker(service) as bobs:
        enter(service, bobs, "bob")
        theirs = redeem(service, bobs.allow(asking(service), "bob")["code"]).json()
        login(service)  # so that alice has a form
        where, fields = next(form for form in forms(account(service, browser)) if form[0].endswith("/grant"))
        grant = grant_of(service, theirs["access_token"])
        answer = browser.http.post(where, data={**fields, "grant": grant})
        assert answer.status_code == 404
        assert "You have no such login" in words(answer)
        sid = claims(theirs["id_token"])["sid"]
        answer = browser.http.post(where.replace("/grant", "/session"), data={**fields, "session": sid})
        assert answer.status_code == 404
        # what is there and not theirs looks like what is not there
        for form in ({"grant": "0" * 32}, {"grant": ""}, {"grant": "x" * 900}):
            nothing = browser.http.post(where, data={**fields, **form})
            assert nothing.status_code == 404
        assert still(service, theirs)
        assert logged_in(service, bobs)
        assert grant not in account(service, browser).text


@pytest.mark.parametrize("path", ["account/grant", "account/session", "account/everything", "logout/confirm"])
@pytest.mark.parametrize("csrf", ["", "0" * 32, "ü", "another person's"])
def test_a_form_of_another_site_changes_nothing(
    service: Service, browser: Walker, path: str, csrf: str
) -> None:
    login(service)
    page = account(service, browser)
    fields = {name: value for _, found in forms(page) for name, value in found.items()}
    if csrf == "another person's":
        with Walker(service) as bobs:
            enter(service, bobs, "bob")
            csrf = forms(account(service, bobs))[0][1]["csrf"]
    answer = browser.http.post(f"{service.issuer}/{path}", data={**fields, "csrf": csrf, "action": "confirm"})
    assert answer.status_code == 403
    assert "does not belong to your login" in words(answer)
    assert logged_in(service, browser)
    assert grants(account(service, browser)) >= grants(page)


def test_a_form_after_the_logout_changes_nothing(service: Service, browser: Walker) -> None:
    login(service)
    page = account(service, browser)
    where, fields = button(page, "/logout/confirm")
    other, form = next(found for found in forms(page) if found[0].endswith("/grant"))
    cookie = browser.http.cookies["gatehouse-session"]
    browser.http.post(where, data=fields)
    # the cookie that the browser was told to forget is worth nothing either
    answer = httpx.post(other, data=form, cookies={"gatehouse-session": cookie}, trust_env=False)
    assert answer.status_code == 403
    assert "Nobody is logged in" in words(answer)


def test_the_start_page_leads_here(service: Service) -> None:
    page = httpx.get(service.base, trust_env=False)
    assert '<a class="button quiet" href="/auth/account">My sessions and tokens</a>' in page.text
