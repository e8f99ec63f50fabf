"""The sentences of the pages, by key. Another language is another mapping with the same keys.

They are ours, so they may hold markup; what is put into `{}` is always escaped.
"""

from collections.abc import Mapping

from markupsafe import Markup

ENGLISH: Mapping[str, str] = {
    "demo.banner": "Demo: nothing here is real. Do not use it for anything that matters.",
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


class Texts:
    """The sentences of one language: `texts("confirm.lead", client=name)`."""

    def __init__(self, language: str) -> None:
        self._sentences = LANGUAGES[language]

    def __call__(self, key: str, **values: object) -> Markup:
        """The sentence with its values put in, escaped. KeyError if it does not exist."""
        return Markup(self._sentences[key]).format(**values)  # noqa: S704 - our own sentence
