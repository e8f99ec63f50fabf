"""The browser pages: what they hold, what they refuse to hold, and that they can be read."""

import asyncio
import re
from collections.abc import Callable
from html.parser import HTMLParser

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from gatehouse.auth.pages import assets
from gatehouse.auth.pages.account import (
    Account,
    Everything,
    GrantShown,
    GroupShown,
    LoggedOut,
    LogoutAsked,
    SessionShown,
    browser,
)
from gatehouse.auth.pages.render import (
    ChooseGroup,
    ChooseProvider,
    Complete,
    Confirm,
    EnterCode,
    GroupChoice,
    Home,
    Link,
    Pages,
    ProviderChoice,
    Refused,
)
from gatehouse.auth.pages.texts import ENGLISH, LANGUAGES, Texts

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


def every_page(pages: Pages, said: str) -> dict[str, HTMLResponse]:
    """Each page in each of its states, with `said` wherever a word comes from outside."""
    providers = [ProviderChoice(said, said, "device?provider=x", said), ProviderChoice(said, "", "x", said)]
    groups = [GroupChoice(said, said, [said], said), GroupChoice(said, said, [], said, entitled=False)]

    def confirm(asked: list[str], same: bool) -> HTMLResponse:
        return pages.confirm(Confirm(said, said, asked, said, said, 1795374960, same, said))

    return {
        "enter_code": pages.enter_code(EnterCode(said)),
        "enter_code again": pages.enter_code(EnterCode(said, said, said), 400),
        "confirm": confirm([said], True),
        "confirm elsewhere": confirm([], False),
        "choose_provider": pages.choose_provider(ChooseProvider(said, providers)),
        "choose_provider none": pages.choose_provider(ChooseProvider(said, [])),
        "choose_group": pages.choose_group(ChooseGroup(said, groups, said)),
        "choose_group none": pages.choose_group(ChooseGroup(said, groups[1:], said)),
        "complete": pages.complete(Complete(said, said, said)),
        "refused": pages.refused(Refused(said, said, said, [(said, said)], said, "device")),
        "refused shortly": pages.refused(Refused(said, said), 400),
        "home": pages.home(Home(said, [said], [Link(said, "jwk")], account="account")),
        "account": pages.account(an_account(said)),
        "account empty": pages.account(Account(said, "", "", said, 0, [], [], [], said)),
        "everything": pages.everything(Everything(said, 2, 1, said)),
        "logout": pages.logout(LogoutAsked(said, said, said, [("state", said)])),
        "logged_out": pages.logged_out(LoggedOut(said, said)),
    }


def an_account(said: str) -> Account:
    """Somebody with one of everything."""
    grants = [GrantShown(said, said, said, said, 1, 2, 3, kind, here) for kind, here in KINDS]
    browsers = [SessionShown(said, said, said, said, 1, 2, here) for here in (True, False)]
    return Account(said, said, said, said, 0, [GroupShown(said, said, said)], grants, browsers, said, "grant")


KINDS = (("code", True), ("code", False), ("offline", False), ("device", False))


class Outline(HTMLParser):
    """Every element with its attributes, every text, and what is open."""

    VOID = {"meta", "link", "img", "input", "br"}

    def __init__(self, response: HTMLResponse) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(bytes(response.body).decode())
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def fields(self) -> dict[str, list[str]]:
        """What the form can send: values by name."""
        found: dict[str, list[str]] = {}
        for attributes in self.all("input") + self.all("button"):
            if "name" in attributes:
                found.setdefault(attributes["name"], []).append(attributes.get("value", ""))
        return found


NAMES = list(every_page(Pages(), "x"))


@pytest.mark.parametrize("name", NAMES)
def test_each_page_has_language_title_heading_and_names_for_its_fields(name: str) -> None:
    page = Outline(every_page(Pages(), "word")[name])
    assert page.all("html") == [{"lang": "en"}]
    assert re.fullmatch(r".+ · Gatehouse", page.texts["title"][0])
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.all("meta")[1]["content"] == "width=device-width, initial-scale=1"
    labelled = {attributes["for"] for attributes in page.all("label") if "for" in attributes}
    for field in page.all("input"):
        assert field["type"] in {"hidden", "radio"} or field["id"] in labelled
    assert all(form["method"] == "post" for form in page.all("form"))
    assert {form["action"] for form in page.all("form")} <= {
        *("device", "login/confirm", "everything", "logout/confirm", "account/grant", "account/session"),
    }
    assert page.fields().get("csrf", []) == ["word"] * len(page.all("form"))


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_stays_a_name(name: str) -> None:
    response = every_page(Pages(demo=True), HOSTILE)[name]
    body = bytes(response.body).decode()
    page = Outline(response)
    assert page.elements
    shape = [(tag, set(found)) for tag, found in page.elements]
    assert shape == [(t, set(f)) for t, f in Outline(every_page(Pages(demo=True), "x")[name]).elements]
    assert "<script" not in body.lower()
    assert "onerror" not in str([attributes.keys() for _, attributes in page.elements])
    if name != "choose_provider none":  # which says nothing from outside
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body
        assert "{{7*7}}" in body


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_and_nothing_comes_from_elsewhere(name: str) -> None:
    response = every_page(Pages(static="/gh/auth/static"), "word")[name]
    page = Outline(response)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "style", "iframe", "object", "embed", "base"}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for place in ("src", "href", "action"):
            assert not re.match(r"[a-z]+:|//", attributes.get(place, ""))
    assert "://" not in bytes(response.body).decode()
    assert {found["href"].split("?")[0] for found in page.all("link")} == {
        "/gh/auth/static/logo.svg",
        "/gh/auth/static/gatehouse.css",
    }


@pytest.mark.parametrize("name", NAMES)
def test_each_page_is_sent_with_the_strict_headers(name: str) -> None:
    headers = every_page(Pages(), "word")[name].headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["content-type"] == "text/html; charset=utf-8"


def test_the_statuses_are_those_asked_for() -> None:
    pages = every_page(Pages(), "word")
    assert {name: page.status_code for name, page in pages.items() if page.status_code != 200} == {
        "enter_code again": 400,
        "refused": 403,
        "refused shortly": 400,
    }


def test_confirming_sends_the_code_and_one_of_two_answers() -> None:
    pages = every_page(Pages(), "TRJF-CDQR")
    here, elsewhere = Outline(pages["confirm"]), Outline(pages["confirm elsewhere"])
    assert here.fields()["action"] == ["confirm", "deny"]
    assert elsewhere.fields()["action"] == ["deny", "confirm"]
    assert here.fields()["user_code"] == ["TRJF-CDQR"]
    assert ENGLISH["confirm.elsewhere.title"] not in str(here.texts)
    assert ENGLISH["confirm.elsewhere.title"] in str(elsewhere.texts)
    assert ENGLISH["confirm.nothing"] in str(elsewhere.texts)
    for page in (here, elsewhere):
        assert "22 November 2026, 19:16 UTC" in page.texts["dd"]
        assert any("Continue only if you started it yourself" in text for text in page.texts["p"])


def test_only_groups_of_theirs_can_be_chosen() -> None:
    groups = [
        GroupChoice("fusion_user", "fusion", [], "You are not a member of fusion.", entitled=False),
        GroupChoice("training_user", "training", ["Submit jobs."], "You are a member of training."),
        GroupChoice("training_pilot", "training", ["Run pilots.", "See pilots."], "You have the role pilot."),
    ]
    page = Outline(Pages().choose_group(ChooseGroup("alice", groups, "c", action="choose?walk=7")))
    assert page.fields()["group"] == ["training_user", "training_pilot"]
    assert [found["value"] for found in page.all("input") if "checked" in found] == ["training_user"]
    assert page.all("form") == [{"method": "post", "action": "choose?walk=7"}]
    shown = str(page.texts)
    assert all(group.reason in shown for group in groups)
    assert "See pilots." in shown


def test_providers_are_links() -> None:
    choice = ProviderChoice("checkin", "EGI Check-in", "device?provider=checkin&walk=1", "EGI")
    page = Outline(Pages().choose_provider(ChooseProvider("DIRAC command line", [choice])))
    assert [link["href"] for link in page.all("a")] == ["#main", "device?provider=checkin&walk=1"]
    assert not page.all("form")


def test_the_banner_is_there_in_a_demo_only() -> None:
    demo, real = (Outline(Pages(demo=demo).complete(Complete("a", "g", "c"))) for demo in (True, False))
    assert ENGLISH["demo.banner"] in demo.texts["p"]
    assert ENGLISH["demo.banner"] not in real.texts["p"]


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "Chrome on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1",
            "Safari on an iPhone",
        ),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "A browser that did not say its name"),
    ],
)
def test_a_browser_has_a_name_that_people_know(agent: str, words: str) -> None:
    assert browser(agent) == words


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil", "a\nb"],
)
def test_a_page_links_to_nobody_else(link: str) -> None:
    pages = Pages()
    shown: list[Callable[[], HTMLResponse]] = [
        lambda: pages.enter_code(EnterCode("c", action=link)),
        lambda: pages.choose_provider(ChooseProvider("c", [ProviderChoice("n", "t", link, "l")])),
        lambda: pages.choose_group(ChooseGroup("u", [], "c", action=link)),
        lambda: pages.refused(Refused("t", "m", again=link)),
        lambda: pages.home(Home("i", links=[Link("t", link)])),
        lambda: pages.home(Home("i", account=link)),
    ]
    for show in shown:
        with pytest.raises(ValueError, match="only link to this service"):
            show()


def test_a_form_may_lead_to_a_named_origin_and_nothing_more() -> None:
    def policy(*origins: str) -> str:
        page = ChooseGroup("u", [], "c", leads_to=origins)
        return Pages().choose_group(page).headers["content-security-policy"]

    assert "form-action 'self' https://idp.example.org:8443; frame" in policy("https://idp.example.org:8443")
    wrong = (
        "https://a.example/path",
        "*",
        "https://*.example",
        "https://a; script-src *",
        "data:",
        "https://",
    )
    for origin in wrong:
        with pytest.raises(ValueError, match="origin"):
            policy(origin)


def test_every_sentence_is_used_and_every_language_has_them_all() -> None:
    folder = assets._FOLDER.parent / "templates"
    sources = {path.stem: path.read_text() for path in folder.glob("*.html")}
    used = set(re.findall(r't\("([a-z_.]+)"', "".join(sources.values())))
    used |= {f"{name}.title" for name in sources if name not in {"base", "pages", "refused"}}
    assert used == set(ENGLISH)
    for sentences in LANGUAGES.values():
        assert set(sentences) == used
    assert Texts("en")("confirm.lead", client="<b>").startswith("<strong>&lt;b&gt;</strong>")
    with pytest.raises(KeyError):
        Texts("en")("no.such")


def test_the_assets_are_served_for_good_under_their_version_only() -> None:
    async def asset(request: Request) -> Response:
        return assets.serve(request)

    async def fetch(*urls: str) -> list[httpx.Response]:
        served = Starlette(routes=[Route("/auth/static/{name}", asset)])
        transport = httpx.ASGITransport(served)
        async with httpx.AsyncClient(transport=transport, base_url="http://gatehouse") as http:
            return [await http.get(url) for url in urls]

    css, logo = assets.ASSETS["gatehouse.css"], assets.ASSETS["logo.svg"]
    found = asyncio.run(
        fetch(css.url("/auth/static"), "/auth/static/gatehouse.css?v=old", logo.url("/auth/static"))
    )
    assert [answer.status_code for answer in found] == [200, 200, 200]
    assert [("immutable" in answer.headers["cache-control"]) for answer in found] == [True, False, True]
    assert found[0].headers["content-type"] == "text/css; charset=utf-8"
    assert found[2].headers["content-type"] == "image/svg+xml"
    assert b"<script" not in found[2].content


# --- contrast -------------------------------------------------------------------------------------------------

# text (or a mark that carries meaning), what it stands on, and the least ratio: WCAG 2.2 §1.4.3 and §1.4.11
TEXT, MARK = 4.5, 3.0
PAIRS = [
    *(("ink", ground, TEXT) for ground in ("card", "paper", "tint")),
    *(("soft", ground, TEXT) for ground in ("card", "paper", "tint")),
    *(("accent", ground, TEXT) for ground in ("card", "paper", "tint")),
    *(("accent-strong", ground, TEXT) for ground in ("card", "tint")),
    *(("on-accent", ground, TEXT) for ground in ("accent", "accent-strong")),
    *(("bad", ground, TEXT) for ground in ("card", "bad-tint")),
    *(("on-bad", ground, TEXT) for ground in ("bad", "bad-strong")),
    ("warn-ink", "warn", TEXT),
    ("good", "good-tint", TEXT),
    ("demo-ink", "demo", TEXT),
    ("line", "card", MARK),
    ("line", "paper", MARK),
    ("warn-line", "warn", MARK),
]


def colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6})\b", css))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def themes() -> tuple[dict[str, str], dict[str, str], str]:
    """The variables by day, by night, and the rules after them."""
    css = assets.ASSETS["gatehouse.css"].content.decode()
    day, night, rules = re.split(r"@media \(prefers-color-scheme: dark\)|(?<=\n)\* \{", css, maxsplit=2)
    return colours(day), colours(night), rules


def test_the_contrast_is_enough_by_day_and_by_night() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for theme in themes()[:2]:
        weak = [
            (ink, ground, round(ratio, 2))
            for ink, ground, least in PAIRS
            if (ratio := contrast(theme[ink], theme[ground])) < least
        ]
        assert weak == []


def test_every_colour_is_a_variable_that_both_themes_have_and_the_pairs_judge() -> None:
    day, night, rules = themes()
    assert set(day) == set(night)
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl|opacity", rules)
    judged = {name for ink, ground, _ in PAIRS for name in (ink, ground)}
    # a hairline only decorates
    assert set(re.findall(r"var\(--([a-z-]+)\)", rules)) - {"hair"} == judged == set(day) - {"hair"}


def test_the_keyboard_focus_is_visible_and_no_rule_hides_it() -> None:
    rules = themes()[2]
    assert re.search(r":focus-visible \{ outline: 3px solid var\(--accent\)", rules)
    assert not re.search(r"outline:\s*(none|0)", rules)
    assert "url(" not in rules
    assert "@import" not in rules
