"""The browser pages: one frozen dataclass with what a page shows, one method of `Pages` that shows it.

Everything is rendered here, without script and without foreign assets, under a policy that forbids both.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from gatehouse.auth.pages.account import Account, Everything, LoggedOut, LogoutAsked
from gatehouse.auth.pages.assets import ASSETS
from gatehouse.auth.pages.texts import LANGUAGES, Texts, chosen


@dataclass(frozen=True)
class EnterCode:
    """The form for a user code; `error` is a sentence about the code tried before, `user_code` that code."""

    csrf: str
    error: str = ""
    user_code: str = ""
    action: str = "device"


@dataclass(frozen=True)
class Confirm:
    """Who asks for what, from where. `asked` are plain sentences, `asked_at` epoch seconds.

    A request by redirect has no `user_code`, but a `back_to`: the host that the browser returns to.
    `leads_to`: origins that the answer to the form may redirect to.
    """

    client_name: str
    user_code: str
    asked: Sequence[str]
    from_address: str
    from_agent: str
    asked_at: int
    same_address: bool
    csrf: str
    action: str = "login/confirm"
    leads_to: Sequence[str] = ()
    back_to: str = ""
    username: str = ""
    who: str = ""


@dataclass(frozen=True)
class ProviderChoice:
    """An identity provider and where its login starts; `logo_text` is about three letters."""

    name: str
    title: str
    href: str
    logo_text: str


@dataclass(frozen=True)
class ChooseProvider:
    """The providers, in the order of the configuration."""

    client_name: str
    providers: Sequence[ProviderChoice]


@dataclass(frozen=True)
class GroupChoice:
    """A group, what it allows as plain sentences, and why it is (or, not `entitled`, is not) theirs."""

    name: str
    vo: str
    properties: Sequence[str]
    reason: str
    entitled: bool = True


@dataclass(frozen=True)
class ChooseGroup:
    """The groups of a person; the first entitled one is chosen beforehand. `leads_to` as in Confirm."""

    username: str
    groups: Sequence[GroupChoice]
    csrf: str
    action: str = "device"
    leads_to: Sequence[str] = ()

    @property
    def open(self) -> list[GroupChoice]:
        """Those that can be chosen."""
        return [group for group in self.groups if group.entitled]

    @property
    def closed(self) -> list[GroupChoice]:
        """Those that are only explained."""
        return [group for group in self.groups if not group.entitled]


@dataclass(frozen=True)
class Complete:
    """It is done."""

    username: str
    group: str
    client_name: str


@dataclass(frozen=True)
class Refused:
    """Why not, in the person's words, and what to do next. `facts` are label and value; `again` is a link."""

    title: str
    message: str
    hint: str = ""
    facts: Sequence[tuple[str, str]] = ()
    error_id: str = ""
    again: str = ""
    # the client's own address with the error, checked before it was stored, and the client's name
    back: str = ""
    back_to: str = ""


@dataclass(frozen=True)
class Link:
    """A link to a page or document of this service."""

    title: str
    href: str


@dataclass(frozen=True)
class Home:
    """The start page: our issuer, the titles of the providers, documents to look at."""

    issuer: str
    providers: Sequence[str] = ()
    links: Sequence[Link] = ()
    device: str = "device"
    account: str = ""


Page = (
    EnterCode
    | Confirm
    | ChooseProvider
    | ChooseGroup
    | Complete
    | Refused
    | Home
    | Account
    | Everything
    | LogoutAsked
    | LoggedOut
)


class Pages:
    """All pages, each in the language of the request. `static` is the path under which `assets.serve` answers."""

    def __init__(self, *, static: str = "/auth/static", demo: bool = False) -> None:
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        environment.filters["moment"] = _moment
        environment.globals.update(
            demo=demo,
            account=f"{static.removesuffix('/static')}/account",
            css=ASSETS["gatehouse.css"].url(static),
            logo=ASSETS["logo.svg"].url(static),
        )
        self._texts = {language: Texts(language) for language in LANGUAGES}
        self._templates = {
            name: environment.get_template(f"{name}.html")
            for name in (
                *("enter_code", "confirm", "choose_provider", "choose_group"),
                *("complete", "refused", "home"),
                *("account", "everything", "logout", "logged_out"),
            )
        }

    def enter_code(self, page: EnterCode, status: int = 200) -> HTMLResponse:
        """The form for the user code."""
        return self._show("enter_code", page, status, links=(page.action,))

    def confirm(self, page: Confirm) -> HTMLResponse:
        """Did you start this? Posts `action=confirm` or `action=deny` with `csrf` and `user_code`."""
        return self._show("confirm", page, links=(page.action,), leads_to=page.leads_to)

    def choose_provider(self, page: ChooseProvider) -> HTMLResponse:
        """Links to the providers' logins."""
        return self._show("choose_provider", page, links=[provider.href for provider in page.providers])

    def choose_group(self, page: ChooseGroup) -> HTMLResponse:
        """Posts `group` with `csrf`."""
        return self._show("choose_group", page, links=(page.action,), leads_to=page.leads_to)

    def complete(self, page: Complete) -> HTMLResponse:
        """The last page of a login."""
        return self._show("complete", page)

    def refused(self, page: Refused, status: int = 403) -> HTMLResponse:
        """Any refusal."""
        return self._show("refused", page, status, links=(page.again,))

    def home(self, page: Home) -> HTMLResponse:
        """The start page."""
        links = (page.device, page.account, *(link.href for link in page.links))
        return self._show("home", page, links=links)

    def account(self, page: Account) -> HTMLResponse:
        """My sessions and tokens. Posts `csrf` with `grant` or `session`, or to the logout."""
        return self._show("account", page)

    def everything(self, page: Everything) -> HTMLResponse:
        """Ask once more. Posts `action=confirm` with `csrf`."""
        return self._show("everything", page)

    def logout(self, page: LogoutAsked) -> HTMLResponse:
        """Ask whether to log out. Posts `action=confirm` or `action=stay` with `csrf` and the fields."""
        return self._show("logout", page, leads_to=page.leads_to)

    def logged_out(self, page: LoggedOut) -> HTMLResponse:
        """The end of a session."""
        return self._show("logged_out", page)

    def _show(
        self,
        name: str,
        page: Page,
        status: int = 200,
        *,
        links: Sequence[str] = (),
        leads_to: Sequence[str] = (),
    ) -> HTMLResponse:
        for link in links:
            _require_local(link)
        language = chosen()
        shown = self._templates[name].render(name=name, page=page, language=language, t=self._texts[language])
        return HTMLResponse(shown, status, headers=_headers(leads_to))


def _headers(leads_to: Sequence[str]) -> dict[str, str]:
    """What every page is sent with. Browsers hold `form-action` against redirects after a form too."""
    for origin in leads_to:
        _require_origin(origin)
    form_action = " ".join(("'self'", *leads_to))
    return {
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
        f"form-action {form_action}; frame-ancestors 'none'; base-uri 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def _require_local(link: str) -> None:
    """Escaping does not stop `javascript:` nor another host; ValueError for anything but a path of ours."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or link.startswith(("//", "\\", "/\\")) or not link.isprintable():
        raise ValueError("a page may only link to this service")


def _require_origin(origin: str) -> None:
    parts = urlsplit(origin)
    if "." in parts.scheme and origin == f"{parts.scheme}:":
        return  # the private-use scheme of a native app (RFC 8252 §7.1)
    if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("a form may lead to an origin such as https://idp.example.org")
    if not parts.hostname or any(c in origin for c in " ;,'\"\r\n*"):
        raise ValueError("an origin in a policy must not carry anything else")


def _moment(at: int) -> str:
    """Epoch seconds in words that mean the same everywhere: `22 November 2026, 19:16 UTC`."""
    return time.strftime("%-d %B %Y, %H:%M UTC", time.gmtime(at))
