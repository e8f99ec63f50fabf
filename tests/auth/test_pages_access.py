"""Pages for everybody: errors that can be found again, languages, keyboards, screen readers, small screens."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from gatehouse.auth.pages import texts
from gatehouse.auth.pages.render import Home, Pages
from tests.auth.kit import CLIENTS, Walker, asking, change, login, query, redeem, words
from tests.auth.receiver import enter
from tests.auth.test_browser_pages import Person, chromium  # noqa: F401 - a fixture
from tests.service import Service

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


# --- errors


def found(service: Service, page: httpx.Response, status: int) -> dict[str, Any]:
    """The line of the log that an error page leads to."""
    assert page.status_code == status, page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    number = re.search(r"number: (?:<code>)?([0-9a-f]{8})", page.text)
    assert number is not None, page.text
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if number[1] in line]
    assert len(lines) == 1, lines
    line: dict[str, Any] = lines[0]
    return line


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "why"),
    [
        ("GET", "/auth/nothing", "", 404, "There is nothing at /auth/nothing."),
        ("GET", "/auth/login/nobody/at/all", "", 404, "There is nothing"),
        ("GET", "/nothing", "", 404, "There is nothing"),
        ("DELETE", "/auth/account", "", 405, "DELETE is not possible here."),
        ("GET", "/auth/token", "", 405, "GET is not possible here."),
        ("POST", "/auth/device/code", "x" * 9000, 413, "The request body"),
        ("POST", "/auth/logout/confirm", "x" * 9000, 413, "The request body"),
        ("GET", "/auth/login", "", 400, "No login is going on in this browser"),
        ("GET", "/auth/redirect?code=x&state=y", "", 400, "No login is going on in this browser"),
        ("GET", "/auth/authorization?client_id=nobody", "", 400, "not known"),
        ("GET", "/auth/logout?client_id=nobody", "", 400, "not known"),
        ("POST", "/auth/account/grant", "grant=x", 403, "Nobody is logged in"),
        ("GET", "/auth/userinfo", "", 401, ""),
    ],
)
def test_an_error_page_has_an_id_that_finds_it_in_the_log(
    service: Service, method: str, path: str, body: str, status: int, why: str
) -> None:
    headers = {**HTML, "Content-Type": "application/x-www-form-urlencoded"}
    page = httpx.request(method, service.base + path, content=body, headers=headers, trust_env=False)
    line = found(service, page, status)
    assert why in line["why"]
    assert line["why"] in words(page)
    assert "Traceback" not in page.text


def test_what_only_the_operator_may_know_is_in_the_log_alone(service: Service) -> None:
    address = asking(service, redirect_uri="https://evil.example/back")
    page = httpx.get(address, headers=HTML, trust_env=False)
    assert found(service, page, 400)["detail"] == "https://evil.example/back"
    assert "evil" not in page.text


def test_a_parameter_that_cannot_be_read_gives_a_page_too(service: Service) -> None:
    headers = {**HTML, "Authorization": f"Bearer {login(service)['access_token']}"}
    page = httpx.get(f"{service.base}/api/jobs?limit=many", headers=headers, trust_env=False)
    assert "limit" in found(service, page, 422)["why"]


def test_programs_get_no_page(service: Service) -> None:
    for accept in ("application/json", "*/*"):
        answer = httpx.get(f"{service.issuer}/nothing", headers={"Accept": accept}, trust_env=False)
        assert answer.json()["error"] == "not_found"


def test_too_many_calls_and_defects_of_ours_are_pages_too(tmp_path: Path) -> None:
    limits = "[limits]\nguess = 1\nguess_burst = 1\n"
    with Service(tmp_path, more=CLIENTS + limits) as running, Walker(running) as browser:
        enter(running, browser)
        browser.http.get(f"{running.issuer}/device")
        page = browser.http.get(f"{running.issuer}/device", headers=HTML)
        assert found(running, page, 429)
        assert int(page.headers["retry-after"]) > 0
        browser.http.get(asking(running))
        change(running, "UPDATE login_request SET wanted = '{broken'")
        page = browser.http.get(f"{running.issuer}/login", headers=HTML)
        line = found(running, page, 500)
        assert "DecodeError" in line["exception"]
        assert "DecodeError" not in page.text
        assert "Something went wrong on our side" in words(page)


# --- languages


@pytest.mark.parametrize(
    ("accepted", "wanted", "language"),
    [
        ("", "", "en"),
        ("de-CH,de;q=0.9,en;q=0.8", "", "de"),
        ("fr;q=0.9, de;q=0.2, en;q=0.7", "", "en"),
        ("de;q=0, fr", "", "en"),
        ("fr", "", "en"),
        ("*", "", "en"),
        ("en", "fr de-AT", "de"),
        ("de", "en", "en"),
        ("de;q=much, en", "", "en"),
        ("de;q=nan, en;q=0.1", "", "en"),
        ("DE", "", "de"),
        ("," * 100_000 + "de", "", "en"),
        ("\x00;;;=,-", "- -", "en"),
    ],
)
def test_the_language_is_the_one_that_suits_best(accepted: str, wanted: str, language: str) -> None:
    assert texts.best(accepted, wanted, {"en", "de"}) == language


def test_another_language_is_another_table_of_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    swiss = {key: f"[{sentence}]" for key, sentence in texts.ENGLISH.items()}
    monkeypatch.setattr(texts, "LANGUAGES", languages := {"en": texts.ENGLISH, "de": swiss})
    monkeypatch.setattr("gatehouse.auth.pages.render.LANGUAGES", languages)
    pages = Pages()
    try:
        texts.choose("de")
        shown = bytes(pages.home(Home("i")).body).decode()
    finally:
        texts.choose("en")
    assert '<html lang="de">' in shown
    assert "[Welcome to Gatehouse]" in shown
    assert "[" not in bytes(pages.home(Home("i")).body).decode().replace("[if", "")


def test_every_key_that_a_template_uses_is_in_every_language() -> None:
    folder = Path(texts.__file__).parent / "templates"
    used = {key for path in folder.glob("*.html") for key in re.findall(r't\("([a-z_.]+)"', path.read_text())}
    assert len(used) > 50
    for sentences in texts.LANGUAGES.values():
        assert used <= set(sentences)
        for key, sentence in sentences.items():  # the same values are put in
            assert set(re.findall(r"{(\w+)}", sentence)) == set(re.findall(r"{(\w+)}", texts.ENGLISH[key]))


def test_the_service_answers_in_the_language_that_it_has(service: Service) -> None:
    for path in ("/", "/auth/device?ui_locales=de", "/auth/nothing"):
        page = httpx.get(service.base + path, headers={**HTML, "Accept-Language": "de"}, trust_env=False)
        assert '<html lang="en">' in page.text


# --- people with keyboards, screen readers, phones


@pytest.fixture
def person(chromium: Any, service: Service, tmp_path: Path) -> Iterator[Person]:  # noqa: F811 - the fixture
    """Alice with a phone, without scripts, logged in, with one of everything."""
    context = chromium.new_context(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    context.set_default_timeout(10_000)
    login(service)
    with Walker(service) as browser:
        enter(service, browser)
        answer = browser.submit(browser.consent(asking(service)), action="confirm")
        redeem(service, query(answer.headers["location"])["code"])
        context.add_cookies(
            [
                {"name": name, "value": value, "url": service.base}
                for name, value in browser.http.cookies.items()
                if name == "gatehouse-session"
            ]
        )
        yield Person(context, service, tmp_path)
    context.close()


PAGES = ["account", "account/everything", "logout", "device", "nothing"]


@pytest.mark.parametrize("path", PAGES)
def test_a_keyboard_reaches_everything_and_shows_where_it_is(person: Person, path: str) -> None:
    person.page.goto(f"{person.service.issuer}/{path}")
    wanted = person.page.evaluate(
        "document.querySelectorAll('a[href], button, input:not([type=hidden])').length"
    )
    seen = []
    for _ in range(wanted + 1):  # where a field has the focus at once, it goes around the end
        person.page.keyboard.press("Tab")
        seen.append(
            person.page.evaluate(
                "(() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();"
                "return [e.tagName, e.innerText || e.name, s.outlineStyle, parseFloat(s.outlineWidth), r.top, r.height]"
                "})()"
            )
        )
    seen = [stop for stop in seen if stop[0] != "BODY"]
    assert len(seen) == wanted
    assert all(tag in ("A", "BUTTON", "INPUT") for tag, *_ in seen), seen
    assert all(style == "solid" and width >= 2 for _, _, style, width, *_ in seen), seen
    assert all(top >= 0 and height > 0 for *_, top, height in seen), seen
    if path != "device":
        assert seen[0][1] == "Skip to content"


def test_the_first_stop_leads_past_the_navigation(person: Person) -> None:
    person.page.goto(f"{person.service.issuer}/account")
    person.page.keyboard.press("Tab")
    person.page.keyboard.press("Enter")
    assert person.page.evaluate("document.activeElement.id") == "main"
    person.page.keyboard.press("Tab")
    assert person.page.evaluate("document.activeElement.innerText") == "Log out of this browser"


@pytest.mark.parametrize("path", PAGES)
def test_a_screen_reader_finds_its_way(person: Person, path: str) -> None:
    page = person.page
    page.goto(f"{person.service.issuer}/{path}")
    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    if path.startswith("account"):
        assert page.get_by_role("navigation", name="Your pages").count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    names = page.evaluate(
        "[...document.querySelectorAll('button')].map(e => [e.innerText, e.getAttribute('aria-label')])"
    )
    for text, label in names:  # WCAG 2.5.3: what is seen is part of the name
        assert label is None or label.startswith(text)
    assert page.evaluate("document.documentElement.lang") == "en"
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    for target in page.evaluate(
        "[...document.querySelectorAll('[aria-labelledby]')].map(e => e.getAttribute('aria-labelledby'))"
    ):
        assert target in ids


def test_the_whole_way_through_the_page_by_clicks_without_script(person: Person) -> None:
    person.open(f"{person.service.issuer}/account")
    assert person.sees("Programs that may act for you")
    person.page.get_by_role("button", name="End this login: DIRAC command line, training_user").first.click()
    assert person.page.get_by_role("status").inner_text().startswith("That login has ended.")
    person.press("End everything…", "link")
    person.press("Leave it as it is", "link")
    person.press("End everything…", "link")
    person.press("End everything")
    assert person.sees("You are logged out")
    person.press("Log in again", "link")
    assert person.sees("Who can tell us who you are?")
