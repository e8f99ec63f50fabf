"""The login as a person sees it: headless Chromium on a phone's screen, with scripts switched off."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.auth.kit import begin, error, poll
from tests.service import Service

playwright = pytest.importorskip("playwright.sync_api")

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
PHONE, NARROW = {"width": 390, "height": 844}, {"width": 320, "height": 640}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more="") as running:
        yield running
        assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium; skips where there is none, unless it is required."""
    path = shutil.which("chromium")
    if path is None:
        reason = "Debian's chromium is not installed"
        if os.environ.get("GATEHOUSE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Person:
    """Somebody with a phone. Whatever the browser complains about is kept in `complaints`."""

    def __init__(self, context: Any, service: Service, album: Path) -> None:
        self.context = context
        self.service = service
        self.page = context.new_page()
        self.complaints: list[str] = []
        self._album = album
        self._shots = 0
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda found: self.complaints.append(f"script: {found}"))
        self.page.on("requestfailed", lambda found: self.complaints.append(f"failed: {found.url}"))
        self.page.on("response", self._response)

    def _console(self, message: Any) -> None:
        own_status = message.text.startswith("Failed to load resource") and message.location[
            "url"
        ].startswith(f"{self.service.issuer}/")
        if message.type in ("error", "warning") and not own_status:  # a page may be a 403; see _response
            self.complaints.append(f"console: {message.text}")

    def _response(self, response: Any) -> None:
        if not response.url.startswith(f"{self.service.base}/"):
            self.complaints.append(f"foreign: {response.url}")
        if response.status >= 400 and not response.request.is_navigation_request():
            self.complaints.append(f"{response.status}: {response.url}")

    def open(self, path: str) -> None:
        """Type or scan an address."""
        self.page.goto(path)
        self.look()

    def press(self, name: str, role: str = "button") -> None:
        """Press what is called so, and look at what comes."""
        with self.page.expect_navigation():
            self.page.get_by_role(role, name=name).click()
        self.look()

    def sees(self, text: str) -> bool:
        """Whether the page says this."""
        return text in " ".join(self.page.inner_text("body").split())

    def look(self) -> None:
        """Each page fits the screen, has one heading, needs no script, and is photographed."""
        self._shots += 1
        for size in (NARROW, PHONE):
            self.page.set_viewport_size(size)
            wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{self.page.url} is {wide} px wider than {size['width']}"
        self.page.screenshot(path=self._album / f"{self._shots:02}.png", full_page=True)
        assert self.page.locator("h1").count() == 1
        assert self.page.locator("script").count() == 0
        small = self.page.evaluate(
            "[...document.querySelectorAll('button, a.button, a.choice, input[type=text]')]"
            ".filter(e => e.getBoundingClientRect().height < 44).length"
        )
        assert small == 0 or "/demo/" in self.page.url, "a finger needs 44 px"
        assert self.complaints == []


@pytest.fixture
def person(chromium: Any, service: Service, tmp_path: Path) -> Iterator[Person]:
    """A fresh browser profile."""
    context = chromium.new_context(viewport=PHONE, java_script_enabled=False)
    context.set_default_timeout(10_000)
    yield Person(context, service, tmp_path)
    context.close()


def test_alice_logs_in_by_check_in_for_the_group_she_asked_for(service: Service, person: Person) -> None:
    started = begin(service, "g:training_user")
    person.open(started["verification_uri_complete"])
    assert person.sees("Did you just start this login?")
    assert person.sees(started["user_code"])
    assert person.sees("DIRAC command line")
    assert person.sees("Act as a member of the group training_user of training.egi.eu.")
    assert person.sees("127.0.0.1 (the same as yours)")
    assert person.sees("python-httpx/")
    person.press("Yes, continue")
    assert person.sees("Who can tell us who you are?")
    error(poll(service, started), 400, "authorization_pending")
    person.press("EGI Check-in (demo)", "link")
    assert person.sees("demo")
    assert "/demo/egi/" in person.page.url
    person.press("Alice Archer")
    assert person.sees("Authorization complete")
    assert person.sees("training_user")
    assert "g:training_user" in poll(service, started).json()["scope"]
    # to go back and forth afterwards breaks nothing and gives nothing twice
    person.page.reload()
    assert person.sees("This step was taken already")
    error(poll(service, started), 400, "invalid_grant")


def test_alice_logs_in_by_iam_and_chooses_a_group(service: Service, person: Person) -> None:
    started = begin(service, "")
    person.open(started["verification_uri_complete"])
    assert person.sees("one of your groups, which you choose here")
    person.press("Yes, continue")
    person.press("WLCG IAM (demo)", "link")
    person.press("Alice Archer")
    assert person.sees("Choose a group")
    assert person.sees("Welcome, alice.")
    assert person.sees("Why you have it: WLCG IAM (demo): wlcg.groups says /training.egi.eu/pilot")
    assert person.page.get_by_role("radio", name=re.compile("training_user")).is_checked()  # gives less
    person.page.get_by_role("radio", name=re.compile("training_pilot")).check()
    person.press("Continue with this group")
    assert person.sees("Authorization complete")
    assert person.sees("training_pilot")
    assert "g:training_pilot" in poll(service, started).json()["scope"]


def test_who_did_not_start_it_says_so(service: Service, person: Person) -> None:
    started = begin(service)
    person.open(started["verification_uri_complete"])
    person.press("This was not me")
    assert person.sees("Login stopped")
    assert person.sees("nothing was given to anybody")
    assert "this was not me" in error(poll(service, started), 400, "access_denied")


def test_bob_is_told_why_he_may_not_be_a_pilot(service: Service, person: Person) -> None:
    started = begin(service, "g:training_pilot")
    person.open(started["verification_uri_complete"])
    person.press("Yes, continue")
    person.press("EGI Check-in (demo)", "link")
    person.press("Bob Baker")
    assert person.sees("Not logged in")
    assert person.sees("does not say that bob belongs to training_pilot. Groups of bob: training_user.")
    assert person.sees("Ask the manager of your community")
    assert "training_pilot" in error(poll(service, started), 400, "access_denied")


def test_whoever_changes_their_mind_at_the_provider_comes_back_to_the_choice(
    service: Service, person: Person
) -> None:
    started = begin(service)
    person.open(started["verification_uri_complete"])
    person.press("Yes, continue")
    person.press("EGI Check-in (demo)", "link")
    person.open(f"{service.issuer}/redirect?error=access_denied&state=forged")
    assert person.sees("This step was taken already, or in another window.")
    person.open(f"{service.issuer}/login")
    person.press("WLCG IAM (demo)", "link")
    person.press("Alice Archer")
    assert person.sees("Authorization complete")
    assert poll(service, started).status_code == 200


@pytest.mark.parametrize("spelling", ["as it is", "small and without the dash", "with blanks"])
def test_a_code_may_be_typed(service: Service, person: Person, spelling: str) -> None:
    started = begin(service)
    code: str = started["user_code"]
    if spelling == "small and without the dash":
        code = code.lower().replace("-", "")
    elif spelling == "with blanks":
        code = f" {code.replace('-', ' ')} "
    person.open(started["verification_uri"])
    assert person.sees("Enter your code")
    assert person.page.evaluate("document.activeElement.name") == "user_code"
    person.page.get_by_label("Code").fill(code)
    person.press("Continue")
    assert person.sees("Did you just start this login?")
    assert person.sees(started["user_code"])


@pytest.mark.parametrize("typed", ["BCDF-GHJK", "hello", "<b>&'"])
def test_a_wrong_code_is_told_and_may_be_mended(service: Service, person: Person, typed: str) -> None:
    started = begin(service)
    person.open(started["verification_uri"])
    person.page.get_by_label("Code").fill(typed)
    person.press("Continue")
    assert "unknown, used or expired" in person.page.get_by_role("alert").inner_text()
    assert person.page.get_by_label("Code").input_value() == typed
    person.page.get_by_label("Code").fill(started["user_code"])
    person.press("Continue")
    assert person.sees(started["user_code"])


def test_the_start_page_leads_to_the_code(service: Service, person: Person) -> None:
    person.open(service.base)
    assert person.sees(f"dirac-login --issuer {service.issuer}")
    assert person.sees("Demo: nothing here is real.")
    person.press("I have a code", "link")
    assert person.sees("Enter your code")


def test_no_step_in_the_middle_is_a_dead_end(service: Service, person: Person) -> None:
    for path in ("login", "login/egi-demo", "redirect?code=x&state=y"):
        person.open(f"{service.issuer}/{path}")
        assert person.sees("No login is going on in this browser")
        assert person.sees("Start the login again in your terminal")


def test_the_cookie_is_for_this_site_and_no_script(service: Service, person: Person) -> None:
    person.open(service.base)
    assert person.context.cookies() == []  # none before there is a login
    person.open(begin(service)["verification_uri_complete"])
    (cookie,) = person.context.cookies()
    assert cookie["name"] == "gatehouse-login"
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert cookie["domain"] == "127.0.0.1"
    assert cookie["expires"] > 0


def test_the_person_here_would_notice_what_is_forbidden(service: Service, person: Person) -> None:
    """The complaints above are empty because nothing is wrong, not because nobody looks."""

    def spoil(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("<h1>", '<h1 style="color: red">'))

    person.page.route("**/auth/device", spoil)
    with pytest.raises(AssertionError, match="Content Security Policy"):
        person.open(f"{service.issuer}/device")
    assert len(person.complaints) == 1
