"""The sentences of the pages, by key. Another language is another mapping with the same keys.

They are ours, so they may hold markup; what is put into `{}` is always escaped.
"""

from collections.abc import Collection, Mapping
from contextvars import ContextVar

from markupsafe import Markup

ENGLISH: Mapping[str, str] = {
    "demo.banner": "Demo: nothing here is real. Do not use it for anything that matters.",
    "skip": "Skip to content",
    "footer": "Gatehouse checks who you are and what you may do. It never sees your password.",
    "enter_code.title": "Enter your code",
    "enter_code.lead": "Your terminal shows a code of eight letters. Type it here to go on with the login.",
    "enter_code.label": "Code",
    "enter_code.help": "Capital or small letters, with or without the dash.",
    "enter_code.submit": "Continue",
    "confirm.title": "Did you just start this login?",
    "confirm.lead": "<strong>{client}</strong> wants to act for you. It should be showing this code:",
    "confirm.warning": (
        "Continue only if you started it yourself, just now, and see the same code there. "
        "If somebody sent you this link or this code, it was not you."
    ),
    "confirm.elsewhere.title": "It was started from another network",
    "confirm.elsewhere": (
        "The request came from {there}, but you are not there now. That is normal if you work on a remote "
        "machine. If you do not, somebody may be trying to log in as you."
    ),
    "confirm.asked": "What it asks for",
    "confirm.nothing": "Only to know who you are.",
    "confirm.details": "Where it comes from",
    "confirm.address": "Network address",
    "confirm.same": "the same as yours",
    "confirm.agent": "Program",
    "confirm.agent.unknown": "did not say",
    "confirm.time": "Started",
    "confirm.yes": "Yes, continue",
    "confirm.no": "This was not me",
    "consent.title": "Let {client} act for you?",
    "consent.lead": "<strong>{client}</strong> sent you here. Afterwards you return to <strong>{host}</strong>.",
    "consent.as": "You are logged in as <strong>{username}</strong>.",
    "consent.warning": "Continue only if you came from there just now, and trust it with this:",
    "consent.yes": "Allow",
    "consent.no": "Do not allow",
    "choose_provider.title": "Who can tell us who you are?",
    "choose_provider.lead": (
        "Choose the organisation where you have an account. You log in there, then come back here to finish "
        "the login of <strong>{client}</strong>."
    ),
    "choose_provider.none": "No identity provider is set up. Please tell the people who run this service.",
    "choose_group.title": "Choose a group",
    "choose_group.lead": "Welcome, <strong>{username}</strong>. As a member of which group do you want to work?",
    "choose_group.submit": "Continue with this group",
    "choose_group.vo": "community {vo}",
    "choose_group.why": "Why you have it:",
    "choose_group.why_not": "Why not:",
    "choose_group.others": "Groups that you cannot use now",
    "choose_group.none": "None of the groups here is open to you now.",
    "complete.title": "Authorization complete",
    "complete.lead": "You may close this window. <strong>{client}</strong> goes on by itself.",
    "complete.username": "You are",
    "complete.group": "Group",
    "refused.next": "What you can do",
    "refused.facts": "Details",
    "refused.error_id": "If you ask for help, mention this number:",
    "refused.again": "Start again",
    "refused.back": "Back to {client}",
    "account.title": "Your sessions and tokens",
    "account.nav": "Your pages",
    "account.nav.account": "Sessions and tokens",
    "account.nav.home": "Start page",
    "account.done.grant": "That login has ended. Its tokens stop working within five seconds.",
    "account.done.session": "That browser is logged out.",
    "account.who": "Who you are here",
    "account.username": "User name",
    "account.name": "Name",
    "account.email": "E-mail",
    "account.vouched": "Vouched for by",
    "account.since": "Logged in since",
    "account.groups": "Your groups",
    "account.groups.lead": "What this login opens to you, and why.",
    "account.groups.none": "This login opens no group to you. Ask the manager of your community to add you.",
    "account.grants": "Programs that may act for you",
    "account.grants.lead": (
        "Each has a login of its own. Ending one stops its tokens within five seconds; your jobs go on."
    ),
    "account.grants.none": "None. No program holds a token that it could renew for you.",
    "account.here": "this browser",
    "account.group": "Group",
    "account.used": "Last used",
    "account.used.from": "{moment}, from {address}",
    "account.first": "Since",
    "account.until": "Until",
    "account.kind": "When you log out",
    "account.kind.here": "ends with this browser",
    "account.kind.code": "ends with the browser that it came from",
    "account.kind.offline": "stays: you allowed it to",
    "account.kind.device": "stays: it was not started in a browser",
    "account.grant.end": "End this login",
    "account.grant.end.label": "End this login: {client}, {group}",
    "account.sessions": "Browsers in which you are logged in",
    "account.session.from": "From",
    "account.session.by": "By",
    "account.session.end": "Log out there",
    "account.session.end.label": "Log out there: {browser}, since {moment}",
    "account.leave": "If something is wrong",
    "account.logout": "Log out of this browser",
    "account.everything.help": "A computer or a token of yours may be in other hands?",
    "account.everything": "End everything…",
    "everything.title": "End everything?",
    "everything.lead": (
        "This ends every login of <strong>{username}</strong>: {grants} that programs have and {sessions} of browsers, "
        "this one too. Do it if a token or a computer of yours may be in other hands."
    ),
    "everything.after": "Jobs that you have submitted go on. Afterwards, log in again where you need it.",
    "everything.yes": "End everything",
    "everything.no": "Leave it as it is",
    "logout.title": "Log out?",
    "logout.lead": "You are logged in here as <strong>{username}</strong>.",
    "logout.asked": "<strong>{client}</strong> asks to log you out of this browser.",
    "logout.help": (
        "Programs that you let in with this browser lose their access, but for those that you allowed to stay. "
        "What was started in a terminal stays logged in."
    ),
    "logout.yes": "Log out",
    "logout.no": "Stay logged in",
    "logged_out.title": "You are logged out",
    "logged_out.lead": "This browser is no longer logged in here.",
    "logged_out.provider": (
        "The organisation where you logged in may still know this browser. If others use this computer, log out there "
        "too, or close the browser."
    ),
    "logged_out.back": "Back to {client}",
    "logged_out.again": "Log in again",
    "home.account": "My sessions and tokens",
    "home.title": "Welcome to Gatehouse",
    "home.lead": (
        "This is the gate to a computing grid. Log in with the account of your own organisation; your community "
        "groups come with you."
    ),
    "home.terminal": "Log in from a terminal",
    "home.code": "I have a code",
    "home.providers": "Accounts you can use",
    "home.links": "For programs and the curious",
    "home.issuer": "Issuer",
}

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": ENGLISH}
DEFAULT = "en"
_chosen: ContextVar[str] = ContextVar("language", default=DEFAULT)


def choose(accepted: str, wanted: str = "") -> None:
    """Choose the language for the rest of this request: `ui_locales`, then the header `Accept-Language`."""
    _chosen.set(best(accepted, wanted, LANGUAGES))


def chosen() -> str:
    """The language of this request."""
    return _chosen.get()


def best(accepted: str, wanted: str, known: Collection[str]) -> str:
    """The language that suits best (RFC 9110 §12.5.4; OpenID Connect Core §3.1.2.1, `ui_locales`)."""
    for tag in wanted[:256].split():
        if _primary(tag) in known:
            return _primary(tag)
    weighed = [_weighed(one) for one in accepted[:256].split(",")]
    for weight, tag in sorted(weighed, key=lambda one: -one[0]):
        if weight > 0 and tag in known:
            return tag
    return DEFAULT


def _weighed(text: str) -> tuple[float, str]:
    tag, _, parameter = text.partition(";")
    name, _, value = parameter.partition("=")
    try:
        weight = float(value) if name.strip() == "q" else 1.0
    except ValueError:
        weight = 0.0
    return (weight if 0.0 <= weight <= 1.0 else 0.0), _primary(tag)


def _primary(tag: str) -> str:
    return tag.strip().lower().partition("-")[0]


class Texts:
    """The sentences of one language: `texts("confirm.lead", client=name)`."""

    def __init__(self, language: str) -> None:
        self._sentences = LANGUAGES[language]

    def __call__(self, key: str, **values: object) -> Markup:
        """The sentence with its values put in, escaped. KeyError if it does not exist."""
        return Markup(self._sentences[key]).format(**values)  # noqa: S704 - our own sentence
