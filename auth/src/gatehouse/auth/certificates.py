"""Who a certificate stands for here: the person whose name the Registry has, in the groups that it lists them in."""

from typing import NamedTuple

from gatehouse.registry import directory
from gatehouse.registry.database import Tx
from gatehouse.registry.directory import Belonging, Person
from gatehouse.tokenmanager.badcertificate import BadCertificate
from gatehouse.tokenmanager.certificates import Presented

# what stands for a provider's name; a blank keeps it apart from those of the settings
PROVIDER = "X.509 certificate"
ASK = "Ask the manager of your community to enter it for you."


class Known(NamedTuple):
    """A person, their groups by the Registry, and what they showed."""

    person: Person
    groups: tuple[Belonging, ...]
    shown: Presented


def recognise(tx: Tx, shown: Presented | BadCertificate | None) -> Known | str:
    """Who it is, or why it is nobody: a sentence for people."""
    if shown is None:
        return "No certificate came with this connection."
    if isinstance(shown, BadCertificate):
        return shown.sentence
    if why := shown.no_login():
        return why
    person = directory.by_dn(tx, shown.identity)
    if person is None:
        return f"Nobody in the Registry has the name {shown.identity}. {ASK}"
    if person.status != "active":
        return f"The account {person.username} is {person.status}. Ask the operator of this service."
    return Known(person, directory.listed(tx, person.id), shown)


def one_group(known: Known, wanted: str) -> str | None:
    """The group to act for: the one wanted, the one that a proxy names, or the only one; None to be asked."""
    names = [one.group for one in known.groups]
    chosen = wanted or known.shown.group
    if not chosen:
        return names[0] if len(names) == 1 else None
    return chosen


def why_not(known: Known, wanted: str) -> str:
    """Why a person does not get a group, or none at all."""
    who = known.person.username
    names = ", ".join(sorted(one.group for one in known.groups))
    if not names:
        return f"The Registry lists {who} in no group, or every community suspended them."
    if not wanted:
        return f"Say which group you act for, as in g:{known.groups[0].group}. Groups of {who}: {names}."
    return f"The Registry does not list {who} in {wanted}. Groups of {who}: {names}."
